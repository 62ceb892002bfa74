"""Files that stand for a lock between processes."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mnasnet.files import patiently

_log = logging.getLogger(__name__)

POLL_S = 0.1  # how often is looked whether a lock is free


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file ``path`` as a lock between processes and threads; it is gone when nobody holds it.

    The system frees it when its holder dies. A file system without locks keeps nobody out. Raises OSError.
    """
    has_waited = False
    try:
        while True:
            with patiently(lambda: path.open("ab")) as file:
                if _took(file, path):
                    try:
                        yield
                        return
                    finally:
                        if sys.platform != "win32":  # while it is ours, or another's would be removed
                            path.unlink(missing_ok=True)
                        with contextlib.suppress(OSError):
                            unlock(file)
            if not has_waited:
                _log.info("waiting for another process that holds %s", path.name)
                has_waited = True
            time.sleep(POLL_S)
    finally:
        if sys.platform == "win32":  # where no file is removed that anybody has open
            with contextlib.suppress(OSError):
                path.unlink()


def _took(file: BinaryIO, path: Path) -> bool:
    """Lock ``file``; False where another holds it, or its holder before removed it since it was opened."""
    try:
        is_ours = try_lock(file)
    except OSError:  # a file system without locks
        is_ours = True
    try:
        return is_ours and os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def try_lock(file: BinaryIO) -> bool:
    """Lock an open file against other processes unless one has it; the system lifts the lock at any death."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def unlock(file: BinaryIO) -> None:
    """Let other processes have a file that :func:`try_lock` locked."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_UN)
