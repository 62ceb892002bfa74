"""The lock of a journal file: one process writes at a time, also where several machines share a folder."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
import time
import uuid
from pathlib import Path

from mnasnet.files import patiently
from mnasnet.locks import try_lock

# A process killed while it writes leaves its lock behind. On this machine that shows at once. On another only age can
# tell: a write takes milliseconds, on a busy or shared disk now and then many seconds.
GRACE_S = 60

_MAX_PAUSE_S = 0.1
_TELL_AFTER_S = 10
_MOST_BYTES = 200  # of what an owner writes into its lock
_IS_SIGNED = os.name == "posix"  # on Windows nobody can remove a file while somebody reads it

_Owner = tuple[bytes, int]  # what stands in the lock, and since when in nanoseconds

_log = logging.getLogger(__name__)


class JournalLock:
    """A file that only one process can make, as Optuna's own lock, with the name of its owner in it.

    The lock of a process of this machine that is no more is taken over at once, any other when it stood for
    ``grace_s`` seconds. Optuna's locks of the same journal and this one respect each other.
    """

    def __init__(self, journal: Path, grace_s: float = GRACE_S) -> None:
        self._journal = journal
        self._path = journal.with_name(f"{journal.name}.lock")
        self._grace_s = grace_s
        self._mine = b""

    def acquire(self) -> None:
        """Wait until the lock is ours; raises OSError where no file can be made."""
        pause_s, told, seen, since = 0.001, False, None, time.monotonic()
        while not self._made():
            owner = self._owner()
            if owner is None:  # it has just been given back
                continue
            if owner != seen:
                seen, since = owner, time.monotonic()
            waited_s = time.monotonic() - since
            if waited_s > self._grace_s or _is_gone(owner[0]):
                self._take_away(owner)
                continue
            if waited_s > _TELL_AFTER_S and not told:
                told = True
                _log.warning(
                    "%s is locked by another process for %d s; it is taken over after %d s",
                    self._journal,
                    waited_s,
                    self._grace_s,
                )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)

    def release(self) -> None:
        """Give the lock back; where others took it away, after a write of minutes, theirs stays."""
        owner = self._owner()
        if owner is not None and owner[0] == self._mine:
            patiently(lambda: self._path.unlink(missing_ok=True))

    def _made(self) -> bool:
        mine = f"{_here()} {os.getpid()} {uuid.uuid4().hex}".encode() if _IS_SIGNED else b""
        try:
            patiently(lambda: _make(self._path, mine))  # Windows refuses it while another removes his
        except FileExistsError:
            return False
        self._mine = mine
        return True

    def _owner(self) -> _Owner | None:
        """None where there is no lock."""
        try:
            since_ns = patiently(self._path.lstat).st_mtime_ns
            is_read = _IS_SIGNED and not self._path.is_symlink()  # one kind of Optuna's is a link to the journal
            return _start_of(self._path) if is_read else b"", since_ns
        except FileNotFoundError:
            return None

    def _take_away(self, owner: _Owner) -> None:
        """Remove the lock of ``owner`` and no other's, should somebody have taken it away meanwhile."""
        with self._journal.open("rb") as file:
            is_alone = True
            with contextlib.suppress(OSError):  # a file system without such locks
                is_alone = try_lock(file)
            if is_alone and self._owner() == owner:
                patiently(lambda: self._path.unlink(missing_ok=True))


def _make(path: Path, content: bytes) -> None:
    """Make a file; raises FileExistsError where there is one.

    Where the system can it appears with its content, so that a kill leaves none without.
    """
    if hasattr(os, "O_TMPFILE"):
        with contextlib.ExitStack() as opened:
            try:
                nameless = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o666)
                opened.callback(os.close, nameless)
                os.write(nameless, content)
                descriptors = os.open("/proc/self/fd", os.O_RDONLY)
                opened.callback(os.close, descriptors)
                os.link(str(nameless), path, src_dir_fd=descriptors, follow_symlinks=True)
                return
            except FileExistsError:
                raise
            except OSError:
                pass  # this folder has no such files
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        os.write(descriptor, content)
    except OSError:  # a full disk: a lock without a name would outlive us
        path.unlink()
        raise
    finally:
        os.close(descriptor)


def _start_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except PermissionError:  # of another user, who keeps it to himself
        return b""


@functools.cache
def _here() -> str:
    """Where a number means one process: this machine, since it was switched on, in this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux
        return socket.gethostname().replace(" ", "-")


def _is_gone(owner: bytes) -> bool:
    """Whether a lock names a process of this machine that is no more."""
    place, _, rest = owner.decode(errors="replace").partition(" ")
    number = rest.partition(" ")[0]
    if place != _here() or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):  # another user's, or no number of a process
        pass
    return False
