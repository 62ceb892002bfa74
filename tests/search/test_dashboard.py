"""optuna-dashboard opens the storage of a search."""

import http.client
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from mnasnet.search.storage import open_storage
from mnasnet.search.study import Budget, create_study, search
from tests.search.test_workers import problem_of


@pytest.mark.slow
def test_the_dashboard_lists_the_study_of_a_journal_file(tmp_path):
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = tmp_path / "study.log"
    study = create_study(problem_of(), algorithm="random", name="mine", storage=open_storage(journal))
    search(study, problem_of(), Budget(evaluations=3))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])

    program = Path(sys.executable).with_name("optuna-dashboard")
    dashboard = subprocess.Popen([program, journal, "--host", "127.0.0.1", "--port", str(port)], stderr=-3, stdout=-3)
    try:
        answer = studies(port, dashboard)
    finally:
        dashboard.terminate()
        dashboard.wait()

    assert [found["study_name"] for found in answer] == ["mine"]


def studies(port: int, dashboard: subprocess.Popen) -> list[dict]:
    """The studies that the dashboard shows, as soon as it listens."""
    deadline = time.monotonic() + 60
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", "/api/studies")
            return json.load(connection.getresponse())["study_summaries"]
        except ConnectionRefusedError:
            assert dashboard.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)  # until it listens
        finally:
            connection.close()
