"""Where a study is kept: a file by default, a database by URL."""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

# A process killed while it writes leaves its lock behind; a write takes milliseconds, so a lock of this age is dead.
LOCK_GRACE_S = 5


def open_storage(location: str | Path) -> optuna.storages.BaseStorage:
    """The storage at ``location``: a database URL such as postgresql://..., or the path of a journal file."""
    if "://" in str(location):
        return optuna.storages.RDBStorage(str(location))
    path = Path(location)
    path.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(path), JournalFileOpenLock(str(path), grace_period=LOCK_GRACE_S)))
