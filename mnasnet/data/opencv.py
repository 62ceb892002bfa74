"""OpenCV, where it starts: some systems have it without the libraries that it loads."""

from __future__ import annotations

import functools
import logging
import threading
from types import ModuleType

from mnasnet.errors import DataError
from mnasnet.words import one_line

_log = logging.getLogger(__name__)
_lock = threading.Lock()  # while one thread's import fails, another would be given half a module


def opencv() -> ModuleType | None:
    """OpenCV, or None; importing it takes a quarter of a second, which only who needs it should pay."""
    return _found()[0]


def require_opencv() -> ModuleType:
    """OpenCV; raises DataError with the cure where there is none."""
    module, reason = _found()
    if module is None:
        raise DataError(f"this needs OpenCV, which {reason}")
    return module


@functools.cache  # once it is known nobody takes the lock, which a process that forks meanwhile would inherit locked
def _found() -> tuple[ModuleType | None, str]:
    with _lock:
        return _imported()


@functools.cache
def _imported() -> tuple[ModuleType | None, str]:
    try:
        import cv2
    except ModuleNotFoundError:
        return None, "is not installed; run: pip install opencv-python-headless"
    except ImportError as error:
        _log.warning("OpenCV does not start here (%s), so images are resized without it, more slowly", one_line(error))
        return None, (
            f"does not start here ({one_line(error)}); install what it lacks (libGL.so.1 is in libgl1), or "
            "opencv-python-headless in its place"
        )
    return cv2, ""
