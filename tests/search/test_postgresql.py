"""A study in a PostgreSQL database: a real server of this machine, its data in a temporary folder."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from ports import free_port

from mnasnet.errors import RuntimeMissingError, SearchError
from mnasnet.search.records import records
from mnasnet.search.storage import open_storage
from mnasnet.search.study import Budget, create_study, search
from tests.search.test_workers import problem_of

PASSWORD = "open-sesame-75"


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """The port of a server on the loopback address whose user ``searcher`` has a password."""
    pytest.importorskip("psycopg", reason="the driver psycopg is not installed")
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed")
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="mnasnet-pg-"))
    run_as = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
    if run_as:
        os.chown(folder, pwd.getpwnam(run_as).pw_uid, -1)
    data, secret = folder / "data", folder / "secret"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)

    def call(*command: object) -> None:
        subprocess.run(
            [str(part) for part in command],
            check=True,
            user=run_as,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    call(programs / "initdb", "-D", data, "-U", "searcher", "-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync")
    options = f"-p {port} -h 127.0.0.1 -k {folder} -F"
    call(programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
    yield port
    call(programs / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    shutil.rmtree(folder)


def binaries() -> Path | None:
    """Debian keeps the server's programs beside the search path."""
    found = shutil.which("postgres")
    if found:
        return Path(found).resolve().parent
    return next(
        (path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)), None
    )


def url(port: int, password: str = PASSWORD) -> str:
    return f"postgresql://searcher:{password}@127.0.0.1:{port}/postgres"


@pytest.mark.slow
class TestServer:
    def test_a_search_in_the_database_is_resumed_from_it(self, server):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = create_study(problem_of(), algorithm="evolution", seed=3, storage=open_storage(url(server)))
        search(study, problem_of(), Budget(evaluations=6))
        study.ask()  # the process dies with a network proposed

        again = create_study(problem_of(), algorithm="evolution", seed=3, storage=open_storage(url(server)))
        search(again, problem_of(), Budget(evaluations=12))

        whole = create_study(problem_of(), algorithm="evolution", seed=3)
        search(whole, problem_of(), Budget(evaluations=12))
        assert [(r.params, r.values) for r in records(again)] == [(r.params, r.values) for r in records(whole)]

    def test_a_wrong_password_is_told_without_showing_it(self, server):
        with pytest.raises(SearchError, match="password authentication failed") as caught:
            open_storage(url(server, "wrong-horse"))

        assert "wrong-horse" not in str(caught.value)
        assert "searcher:***@" in str(caught.value)


def test_a_server_that_is_away_is_named_without_the_password():
    pytest.importorskip("psycopg", reason="the driver psycopg is not installed")
    port = free_port()

    with pytest.raises(SearchError, match="does not let us in: .*[Cc]onnection.* refused") as caught:
        open_storage(url(port))

    assert str(port) in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("key", ["password", "sslpassword"])
def test_a_password_among_a_url_s_options_is_hidden_too(key):
    pytest.importorskip("psycopg", reason="the driver psycopg is not installed")

    with pytest.raises(SearchError, match="does not let us in") as caught:
        open_storage(f"postgresql://searcher@127.0.0.1:{free_port()}/study?{key}=wrong-horse")

    assert "wrong-horse" not in str(caught.value)


def test_a_missing_driver_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(RuntimeMissingError, match=r'pip install "psycopg\[binary\]"') as caught:
        open_storage(url(1))

    assert PASSWORD not in str(caught.value)


def test_the_missing_driver_of_another_database_is_named_with_what_is_at_hand(monkeypatch):
    monkeypatch.setitem(sys.modules, "MySQLdb", None)

    with pytest.raises(RuntimeMissingError) as caught:
        open_storage(f"mysql://searcher:{PASSWORD}@host/study")

    assert str(caught.value) == (
        "the driver for mysql://searcher:***@host/study, the Python module MySQLdb, is not installed; install it, or "
        "take postgresql://... or a path"
    )


@pytest.mark.parametrize("location", ["oracle9://x:hidden@host/db", "postgresql://x:hidden@host:port/db"])
def test_a_url_of_no_database_is_refused_without_the_password(location):
    with pytest.raises(SearchError) as caught:
        open_storage(location)

    assert "hidden" not in str(caught.value)
