"""How the C library holds memory, where that is glibc: left alone, it makes each step of a training slower."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # from glibc's malloc.h; described in man mallopt
_MOST = 2**31 - 1
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # that glibc comes to by itself


def one_arena() -> None:
    """Let all threads take memory from one place, for the rest of the process; to be called before there are threads.

    A thread's own place has no room for pieces above 64 MiB, such as a batch's maps at 224 pixels: those are asked of
    the system and given back to it in every step.
    """
    if (glibc := _glibc()) is not None:
        glibc.mallopt(_ARENA_MAX, 1)


def keep_memory() -> Callable[[], None]:
    """Let memory that is given back stay for what comes next; what is returned lets the system have it again.

    Left alone, glibc gives large pieces back at once, and each step of a training has its pages made anew. Afterwards
    its thresholds are the largest that it comes to by itself.
    """
    glibc = _glibc()
    if glibc is None:
        return lambda: None
    glibc.mallopt(_TRIM_THRESHOLD, _MOST)
    if not glibc.mallopt(_MMAP_THRESHOLD, _MOST):  # older ones take no more than the largest
        glibc.mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)

    def undo() -> None:
        glibc.mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        glibc.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST_MMAP_THRESHOLD)
        glibc.malloc_trim(0)

    return undo


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    try:
        os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError):  # Windows; another C library
        return None
    return ctypes.CDLL(None)
