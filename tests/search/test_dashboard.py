"""optuna-dashboard opens the storage of a search."""

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from tiny_search import tiny_searching

from mnasnet.search.run import run_search
from mnasnet.search.storage import open_storage
from mnasnet.search.study import Budget, create_study, search
from mnasnet.testing import write_image_folder
from tests.search.test_workers import problem_of


@pytest.mark.slow
def test_the_dashboard_lists_the_study_of_a_journal_file(tmp_path):
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = tmp_path / "study.log"
    study = create_study(problem_of(), algorithm="random", name="mine", storage=open_storage(journal))
    search(study, problem_of(), Budget(evaluations=3))

    with dashboard_of(journal) as (port, dashboard):
        answer = studies(port, dashboard)

    assert [found["study_name"] for found in answer] == ["mine"]


@pytest.mark.slow
def test_the_dashboard_shows_the_trials_of_a_search_on_images(tmp_path):
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    data = write_image_folder(tmp_path / "photos", per_class=10)
    searched = run_search(tiny_searching(data, tmp_path, trials=2, proxy_epochs=1))

    with dashboard_of(searched.folder / "study.journal") as (port, dashboard):
        (found,) = studies(port, dashboard)
        shown = ask(port, f"/api/studies/{found['study_id']}?after=0")

    assert [trial["number"] for trial in shown["trials"]] == [record.number for record in searched.answer.records]
    assert [trial["state"] for trial in shown["trials"]] == ["Complete"] * 2
    assert [trial["values"] for trial in shown["trials"]] == [list(r.values) for r in searched.answer.records]
    names = {param["name"] for trial in shown["trials"] for param in trial["params"]}
    assert names == set(searched.answer.records[0].params)


@contextlib.contextmanager
def dashboard_of(journal: Path) -> Iterator[tuple[int, subprocess.Popen]]:
    """The port of a dashboard of the file, and its process."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    program = Path(sys.executable).with_name("optuna-dashboard")
    dashboard = subprocess.Popen([program, journal, "--host", "127.0.0.1", "--port", str(port)], stderr=-3, stdout=-3)
    try:
        yield port, dashboard
    finally:
        dashboard.terminate()
        dashboard.wait()


def studies(port: int, dashboard: subprocess.Popen) -> list[dict]:
    """The studies that the dashboard shows, as soon as it listens."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return ask(port, "/api/studies")["study_summaries"]
        except ConnectionRefusedError:
            assert dashboard.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)  # until it listens


def ask(port: int, path: str) -> dict:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return json.load(connection.getresponse())
    finally:
        connection.close()
