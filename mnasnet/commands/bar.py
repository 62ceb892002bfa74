"""The bar of commands that count what they do."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator

from tqdm import tqdm

from mnasnet.machine import has_terminal
from mnasnet.progress import Counted

_log = logging.getLogger(__name__)

TELL_EVERY_S = 30.0  # into a file or a pipe


@contextlib.contextmanager
def counting_bar(unit: str) -> Iterator[Counted]:
    """A bar in ``unit``, without a terminal a line now and then; what it gives hears what is done, and of how many."""
    told_at = time.monotonic()
    with tqdm(unit=f" {unit}", disable=not has_terminal(), leave=False) as bar:

        def show(done: int, total: int) -> None:
            nonlocal told_at
            bar.total = total
            bar.update(done - bar.n)
            if bar.disable and time.monotonic() - told_at >= TELL_EVERY_S:
                told_at = time.monotonic()
                _log.info("%d of %d %s", done, total, unit)

        yield show
