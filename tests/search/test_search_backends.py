"""The command `search` as users type it, its trials in a PostgreSQL database, its trainings on a Ray cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from test_search_commands import words

from mnasnet.search.storage import open_storage
from tests.search.test_cluster import client_port, cluster  # noqa: F401  # a fixture
from tests.search.test_postgresql import PASSWORD, server, url  # noqa: F401  # a fixture

pytestmark = pytest.mark.slow


def mnasnet(*arguments: str, **environment: str) -> dict[str, object]:
    """The last line of one of our commands, in a process of its own."""
    process = subprocess.run(
        [sys.executable, "-m", "mnasnet", *arguments, "--json"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return dict(json.loads(process.stdout.splitlines()[-1]))


def test_trials_in_a_database_are_told_extended_and_reported(server: int, data: Path, tmp_path: Path) -> None:  # noqa: F811
    location, secret = url(server).replace(f":{PASSWORD}", ""), {"PGPASSWORD": PASSWORD}

    searched = mnasnet(*words(data, tmp_path, f"--storage={location}"), **secret)
    extended = mnasnet("extend", str(searched["run"]), "--trials=1", **secret)
    reported = mnasnet("report", str(searched["run"]), **secret)

    run = Path(str(searched["run"]))
    storage = open_storage(url(server))
    names = [study.study_name for study in storage.get_all_studies() if study.study_name.startswith("search-")]
    (study,) = [optuna.load_study(study_name=name, storage=storage) for name in names]
    assert searched["status"] == extended["status"] == "done"
    assert extended["trials"] == reported["trials"] == len(study.trials) >= 4
    assert not (run / "study.journal").exists()
    assert PASSWORD not in "".join(path.read_text() for path in run.glob("*.yaml"))


def test_two_searches_in_one_database_do_not_meet(server: int, data: Path, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    first = mnasnet(*words(data, tmp_path / "a", f"--storage={url(server)}"))
    second = mnasnet(*words(data, tmp_path / "b", f"--storage={url(server)}"))

    assert first["trials"] == second["trials"]
    assert first["winner_trial_accuracy"] == second["winner_trial_accuracy"]  # as alone


def test_networks_are_trained_on_a_cluster_as_they_are_here(cluster: str, data: Path, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "here").mkdir()

    far = mnasnet(*words(data, tmp_path, f"--ray={cluster}", "--algorithm=random"), RAY_AUTH_MODE="disabled")
    near = mnasnet(*words(data, tmp_path / "here", "--algorithm=random"))

    assert far["status"] == near["status"] == "done"
    accuracies = [json.loads((Path(str(one["run"])) / "pareto.json").read_text())["networks"] for one in (far, near)]
    assert accuracies[0] == accuracies[1]


def test_a_cluster_and_a_database_go_together(cluster: str, server: int, data: Path, tmp_path: Path) -> None:  # noqa: F811
    asked = words(data, tmp_path, f"--ray={cluster}", f"--storage={url(server)}")

    searched = mnasnet(*asked, RAY_AUTH_MODE="disabled")

    assert searched["status"] == "done" and Path(str(searched["model"])).is_file()
