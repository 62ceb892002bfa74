"""Work in threads: a function over many items, in order and few held at a time; one job beside one's own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar
from weakref import finalize

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


class Companion:
    """A waiting thread that takes over one half of a job of about a millisecond.

    An executor would do; a queue hands the work over in less time, which at this length counts. The thread ends with
    the companion.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        Thread(target=_work, args=(self._jobs,), name=name, daemon=True).start()
        finalize(self, self._jobs.put, None)

    def beside(self, theirs: Callable[[], Any], ours: Callable[[], Any]) -> None:
        """Call ``theirs`` in the companion's thread and ``ours`` in this one; raises what either of them raises."""
        done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._jobs.put((theirs, done))
        try:
            ours()
        finally:
            error = done.get()
        if error is not None:
            raise error


_Job = tuple[Callable[[], Any], "SimpleQueue[BaseException | None]"]


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        function, done = job
        try:
            function()
        except BaseException as error:
            done.put(error)
        else:
            done.put(None)
        del job, function, done  # nothing of a finished job is kept while waiting for the next
