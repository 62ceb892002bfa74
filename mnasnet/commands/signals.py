"""Ctrl-C and SIGTERM, as the wish to stop where everything is kept."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second one ends the process at once."""
    stop = threading.Event()

    def hear(number: int, _: Any) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()
        _log.warning("stopping after this batch; press Ctrl-C again to leave at once")

    previous = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
