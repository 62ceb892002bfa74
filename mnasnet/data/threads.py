"""Work in threads: a function over many items, in order and few held at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from mnasnet.machine import usable_cores

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_threads(
    function: Callable[[_Item], _Result], items: Iterable[_Item], threads: int | None = None
) -> Iterator[_Result]:
    """``map`` in threads; worth it where the function waits for files or decodes images, which frees the others.

    The first exception of ``function`` is raised in its turn. Leaving early cancels what has not begun.
    """
    workers = threads or usable_cores()
    remaining = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix="images") as pool:
        pending: deque[Future[_Result]] = deque(pool.submit(function, item) for item in islice(remaining, 4 * workers))
        try:
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(function, item) for item in islice(remaining, 1))
                yield result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
