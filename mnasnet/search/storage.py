"""Where a study is kept: a file by default, a database by URL."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning
from sqlalchemy import create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from mnasnet.errors import RuntimeMissingError, SearchError
from mnasnet.files import exists, obstacle
from mnasnet.search.journal import GRACE_BEATS, HEARTBEAT_S, Journal, JournalFile, retry_callback

_DATABASE_ERRORS = (SQLAlchemyError, optuna.exceptions.StorageInternalError)

MOST_OPENINGS = 10  # of a database that several processes begin together; Optuna looks for tables and then makes them
OPENING_S = 0.2  # in which another process makes its tables

_BEGINNING = b'{"op_code":'  # of each journal, Optuna's own among them
_BEGINNING_OF_SQLITE = b"SQLite format 3"


def open_storage(location: str | Path, *, heartbeat_s: int = HEARTBEAT_S) -> optuna.storages.BaseStorage:
    """The storage at ``location``: a database URL such as postgresql://..., or the path of a journal file.

    Processes that share a study must agree on ``heartbeat_s``. Raises RuntimeMissingError without the database's
    driver, and SearchError when it does not let us in, or the file cannot be written or is none of ours.
    """
    if "://" in str(location):
        return _open_database(str(location), heartbeat_s)
    path = Path(location)
    _require_file(path)
    try:
        file = JournalFile(path)
    except OSError as error:
        raise _not_kept(path, error.strerror or str(error)) from error
    return Journal(file, heartbeat_s)


def require_storage(location: str) -> None:
    """Raise what :func:`open_storage` would, as far as that shows without making a file or a table."""
    if "://" not in location:
        _require_file(Path(location))
        return
    with _database(location) as url:
        file = Path(url.database or "")
        if url.get_backend_name() == "sqlite" and not exists(file):  # connecting would make it
            if not file.parent.is_dir() or obstacle(file):
                raise SQLAlchemyError("unable to open database file")  # as SQLite says it
            return
        engine = create_engine(url)
        try:
            engine.connect().close()
        finally:
            engine.dispose()


def storage_with_study(location: str | Path, name: str) -> optuna.storages.BaseStorage | None:
    """The storage where it has a study of this name, None where it has not; no file is made to find out.

    Raises what :func:`open_storage` does.
    """
    if _lacks_its_file(str(location)):
        return None
    storage = open_storage(location)
    try:
        storage.get_study_id_from_name(name)
    except KeyError:
        return None
    return storage


def _lacks_its_file(location: str) -> bool:
    if "://" not in location:
        return not exists(Path(location))
    with _database(location) as url:
        return url.get_backend_name() == "sqlite" and not exists(Path(url.database or ""))


def without_password(location: str | Path) -> str:
    """``location`` as it may be shown."""
    return _shown(make_url(str(location))) if "://" in str(location) else str(location)


def _require_file(path: Path) -> None:
    """Raise SearchError where no journal can be written, or where another file would be spoilt by one."""
    if reason := obstacle(path):
        raise _not_kept(path, reason)
    if not path.absolute().parent.is_dir():
        raise _not_kept(path, f"there is no folder {path.parent}")
    if not exists(path):
        return
    with path.open("rb") as file:
        beginning = file.read(len(_BEGINNING_OF_SQLITE))
    if beginning == _BEGINNING_OF_SQLITE:
        raise SearchError(f"{path} is no journal of trials but a database; set storage to sqlite:///{path}")
    if not _BEGINNING.startswith(beginning[: len(_BEGINNING)]):  # a disk that was full may have cut the first line
        raise SearchError(f"{path} is no journal of trials; set storage to a new file")


def _not_kept(path: Path, reason: str) -> SearchError:
    return SearchError(f"trials cannot be kept in {path}: {reason}; set storage to a file that you may write to")


class _Database(optuna.storages.RDBStorage):
    """A database that may be away for a moment: a beat that does not reach it does not end those to come."""

    def record_heartbeat(self, trial_id: int) -> None:
        """Say that the trial is being worked on."""
        with contextlib.suppress(*_DATABASE_ERRORS):
            super().record_heartbeat(trial_id)


def _open_database(location: str, heartbeat_s: int) -> optuna.storages.BaseStorage:
    with _database(location) as url, warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        attempts = 0
        while True:
            attempts += 1
            try:
                return _Database(
                    url.render_as_string(hide_password=False),
                    heartbeat_interval=heartbeat_s,
                    grace_period=GRACE_BEATS * heartbeat_s,
                    heartbeat_stale_trial_callback=retry_callback(),
                )
            except DatabaseError as error:
                if attempts == MOST_OPENINGS or not _was_made_meanwhile(error):
                    raise
            time.sleep(OPENING_S)


def _was_made_meanwhile(error: DatabaseError) -> bool:
    """Whether a table, or the row of one, was there when it was to be made: another process makes them now too."""
    return isinstance(error, IntegrityError) or "already exists" in str(error)


@contextlib.contextmanager
def _database(location: str) -> Iterator[URL]:
    """The database's URL with our driver; raises what is wrong with it, or with who opens it, without its password."""
    try:
        url = make_url(location)
    except (ArgumentError, ValueError):
        raise SearchError(
            "storage must be a path or a URL such as postgresql://user@host/database, got one that cannot be read"
        ) from None  # the text could show a password
    secrets = [url.password, *(str(url.query[key]) for key in _secret_keys(url))]
    shown = _shown(url)
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    try:
        yield url
    except ImportError as error:
        if not url.drivername.startswith("postgresql"):
            module = getattr(error.__cause__, "name", error.name)  # Optuna tells no more than that one is missing
            raise RuntimeMissingError(
                f"the driver for {shown}, the Python module {module}, is not installed; install it, or take "
                "postgresql://... or a path"
            ) from None
        raise RuntimeMissingError(
            f'the driver for {shown} is not installed; run: pip install "psycopg[binary]"'
        ) from None
    except NoSuchModuleError:
        raise SearchError(
            f"no database is called {url.drivername}; take postgresql://... or a path, got {shown}"
        ) from None
    except _DATABASE_ERRORS as error:
        raise SearchError(f"the database {shown} does not let us in: {_without(secrets, _cause(error))}") from None


def _shown(url: URL) -> str:
    return url.update_query_dict(dict.fromkeys(_secret_keys(url), "hidden")).render_as_string(hide_password=True)


def _secret_keys(url: URL) -> list[str]:
    return [key for key in url.query if "password" in key.lower()]


@contextlib.contextmanager
def telling_of_database() -> Iterator[None]:
    """Raises SearchError, with the server's words, when the database of a study that is open goes away."""
    try:
        yield
    except _DATABASE_ERRORS as error:
        raise SearchError(
            f"the database does not let us in any more: {_cause(error)}; once it does, resume or join goes on"
        ) from error


def _cause(error: BaseException) -> str:
    """The server's or driver's own words."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(getattr(error, "orig", error)).split())


def _without(secrets: Iterable[str | None], text: str) -> str:
    """``text`` with stars in place of each secret."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text
