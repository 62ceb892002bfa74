"""Where a study is kept: a file by default, a database by URL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from mnasnet.errors import RuntimeMissingError, SearchError

# A process killed while it writes leaves its lock behind; a write takes milliseconds, so a lock of this age is dead.
LOCK_GRACE_S = 5


def open_storage(location: str | Path) -> optuna.storages.BaseStorage:
    """The storage at ``location``: a database URL such as postgresql://..., or the path of a journal file.

    Raises RuntimeMissingError without the database's driver, and SearchError when it does not let us in.
    """
    if "://" in str(location):
        return _open_database(str(location))
    path = Path(location)
    path.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(_JournalFile(str(path), JournalFileOpenLock(str(path), grace_period=LOCK_GRACE_S)))


class _JournalFile(JournalFileBackend):
    """A journal that waits for the disk once a trial, not once a choice.

    A choice is in the file, for every process and after any kill, without the wait; only a power cut can lose
    it, and with it the running trial alone. The next waiting write brings it to the disk too.
    """

    def __init__(self, file_path: str, lock: JournalFileOpenLock) -> None:
        super().__init__(file_path, lock)
        self._path = Path(file_path)
        self._file_lock = lock

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add lines; those with more than choices are on the disk when this returns."""
        if not all("param_name" in log for log in logs):
            super().append_logs(logs)
            return
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        self._file_lock.acquire()
        try:
            with self._path.open("ab") as file:
                file.write(lines)
        finally:
            self._file_lock.release()


def _open_database(location: str) -> optuna.storages.BaseStorage:
    try:
        url = make_url(location)
    except (ArgumentError, ValueError):
        raise SearchError(
            "storage must be a path or a URL such as postgresql://user@host/database, got one that cannot be read"
        ) from None  # the text could show a password
    shown = url.render_as_string(hide_password=True)
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    try:
        return optuna.storages.RDBStorage(url.render_as_string(hide_password=False))
    except ImportError:
        raise RuntimeMissingError(
            f"the driver for {shown} is not installed; run: pip install 'mnasnet[postgresql]'"
        ) from None
    except NoSuchModuleError:
        raise SearchError(
            f"no database is called {url.drivername}; take postgresql://... or a path, got {shown}"
        ) from None
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise SearchError(f"the database {shown} does not let us in: {_cause(error, url.password)}") from None


def _cause(error: BaseException, password: str | None) -> str:
    """The server's or driver's own words, without the password."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(getattr(error, "orig", error)).split())
    return text.replace(password, "***") if password else text
