"""The bar of commands that count what they do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tqdm import tqdm

from mnasnet.machine import has_terminal
from mnasnet.progress import Counted


@contextlib.contextmanager
def counting_bar(unit: str = "it") -> Iterator[Counted]:
    """A bar in ``unit`` while there is a terminal to show it in; what it gives hears what is done, and of how many."""
    with tqdm(unit=unit, disable=not has_terminal(), leave=False) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
