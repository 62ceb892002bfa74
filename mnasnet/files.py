"""How this package writes files, whole or not at all, and where it keeps what it downloads."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shlex
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mnasnet.errors import SettingsError

_Result = TypeVar("_Result")

WINDOWS_WAITS_S = (0.05, 0.1, 0.2, 0.6)
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")  # as write_atomic names what is not whole yet


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` so that a reader, or a power cut, sees the old file or the new one, never a part.

    Raises OSError as the system does, for example when the disk is full; the old file is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.tmp")
    # O_BINARY exists, and matters, on Windows only
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(OSError):  # there is none yet
            temporary.chmod(stat.S_IMODE(path.stat().st_mode))  # who may read the old file may read the new one
        patiently(lambda: temporary.replace(path))
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def patiently(act: Callable[[], _Result]) -> _Result:
    """What ``act`` does to a file; on Windows others who read it, or remove it just now, are given a second to end."""
    for wait_s in WINDOWS_WAITS_S if sys.platform == "win32" else ():
        try:
            return act()
        except PermissionError:
            time.sleep(wait_s)
    return act()


def reader_has_gone(error: OSError) -> bool:
    """Whether writing failed since nobody reads the pipe any more, which Windows calls an invalid argument."""
    is_windows_word = sys.platform == "win32" and error.errno == errno.EINVAL and error.filename is None
    return isinstance(error, BrokenPipeError) or is_windows_word


def is_full(error: OSError) -> bool:
    """Whether a disk has no room left, or who writes may not take more of it."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def as_text(name: str) -> str:
    """A file's name as text; Linux allows names that are none, whose bytes of no character become U+FFFD."""
    return os.fsencode(name).decode(errors="replace")


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write lines of JSON in UTF-8, or with escapes where a file name is no valid text, as Linux allows."""
    try:
        content = json.dumps(values, ensure_ascii=False, indent=1).encode()
    except UnicodeEncodeError:
        content = json.dumps(values, indent=1).encode()
    write_atomic(path, content)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left half written in ``folder`` and the folders in it.

    For who alone writes there: a file that another process is writing would go as well. Raises OSError.
    """
    for path in (*folder.glob(".*.tmp"), *folder.glob("*/.*.tmp")):
        if _LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)


def user_cache() -> Path:
    """The folder for downloads and derived files: ``MNASNET_CACHE``, else the system's user cache.

    Raises SettingsError for a user without a home folder, as some containers have.
    """
    try:
        return _user_cache()
    except RuntimeError as error:
        raise SettingsError(
            "MNASNET_CACHE must name the folder for downloads, since this user has no home folder; set it"
        ) from error


def _user_cache() -> Path:
    if chosen := os.environ.get("MNASNET_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "mnasnet"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/mnasnet"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mnasnet"


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable where the system can; the file is in place either way."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):  # some network file systems refuse
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def expanded(path: Path | str) -> Path:
    """``path`` from the home folder that a ``~`` at its beginning means, as a shell would have it.

    As it is where no such user or home is known, and where ``~name`` is the name of a file that is there.
    """
    path = Path(path)
    if path.parts[:1] != ("~",) and exists(path):
        return path
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; a name longer than file systems know, or not to be a name, is none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether there is such a file."""
    return exists(path) and path.is_file()


def obstacle(path: Path, *, is_folder: bool = False) -> str:
    """Why a file, or files in a folder, could not be written there, in the system's words; "" as far as is known.

    Nothing is made to find out.
    """
    there = next((place for place in (path.absolute(), *path.absolute().parents) if exists(place)), None)
    if there is None:
        return os.strerror(errno.ENOENT)
    should_be_folder = is_folder or there != path.absolute()
    if there.is_dir() != should_be_folder:
        return os.strerror(errno.ENOTDIR if should_be_folder else errno.EISDIR)
    wanted = os.W_OK | (os.X_OK if should_be_folder else os.R_OK)
    return "" if os.access(there, wanted) else os.strerror(errno.EACCES)


def quoted(path: Path) -> str:
    """``path`` as one word of a command line, whatever its characters."""
    return subprocess.list2cmdline([str(path)]) if sys.platform == "win32" else shlex.quote(str(path))


def unquoted(path: str) -> str:
    """``path`` out of the quotes that a file manager put around it when it was copied."""
    bare = path.strip()
    while len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'":
        path = bare[1:-1]
        bare = path.strip()
    return path
