"""Our log lines on standard output while a task runs."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def lines_on_stdout() -> Iterator[None]:
    """Meanwhile print what our package logs, from INFO up; a line comes once where several tasks run at the same time.

    STUDIO shows standard output in its log panel; of the logging module Ikomia shows its own logger only.
    """
    _PRINTING.begin()
    try:
        yield
    finally:
        _PRINTING.end()


class _Printing(logging.Handler):
    """Prints to what standard output is at the moment, since STUDIO replaces it."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks, self._change = 0, threading.Lock()

    def begin(self) -> None:
        """Listen, where no other task has begun that."""
        with self._change:
            self._tasks += 1
            if self._tasks == 1:
                self._before = _LOGGER.level, _LOGGER.propagate
                _LOGGER.addHandler(self)
                _LOGGER.setLevel(logging.INFO)
                _LOGGER.propagate = False  # else a program that set up logging would see each line twice

    def end(self) -> None:
        """Listen no longer, where no other task needs it."""
        with self._change:
            self._tasks -= 1
            if self._tasks == 0:
                _LOGGER.removeHandler(self)
                level, _LOGGER.propagate = self._before
                _LOGGER.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        with contextlib.suppress(OSError, ValueError):  # a closed output must not cost the user the training
            print(f"{prefix}{record.getMessage()}", file=sys.stdout, flush=True)


_LOGGER = logging.getLogger("mnasnet")
_PRINTING = _Printing()
