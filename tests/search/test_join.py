"""Several processes on one search, as users start them: one leads, others join from other terminals or machines."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from optuna.trial import TrialState
from tiny_search import Hearing, tiny_searching

from mnasnet.data.folder import scan
from mnasnet.errors import SearchError
from mnasnet.search.folder import SearchFolder
from mnasnet.search.images import divide
from mnasnet.search.join import join_search
from mnasnet.search.open_search import opened
from mnasnet.search.prepare import begin
from mnasnet.search.progress import Progress
from mnasnet.search.run import report_search, run_search
from mnasnet.testing import write_image_folder
from tests.search.test_postgresql import server, url  # noqa: F401  # a fixture

pytestmark = pytest.mark.usefixtures("quick_latencies")

TRIALS = 24  # of some seconds each, so that processes that begin at the same time meet


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_folder(tmp_path_factory.mktemp("data"), per_class=20)


def started(command: str, run: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "mnasnet", command, str(run), "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def begun(data: Path, parent: Path, **chosen: object) -> Path:
    """A search that was stopped after its first trial."""
    hearing = Hearing()
    searching = tiny_searching(data, parent, trials=TRIALS, proxy_epochs=12, pruning=False, **chosen)
    stopped = run_search(searching, listeners=[hearing], stop=lambda: hearing.trials > 0)
    assert (stopped.status, len(stopped.answer.records)) == ("stopped", 1)
    return stopped.folder


def wait_until_one_is_in_work(run: Path) -> None:
    for _ in range(200):
        with opened(run) as here:
            if here.study().get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                return
        time.sleep(0.05)
    raise AssertionError("no network in work")


def ended(process: subprocess.Popen[str]) -> str:
    """What it printed at its end."""
    out, told = process.communicate(timeout=280)
    assert process.returncode == 0, told
    return out


def assert_two_processes_share_the_trials(run: Path, joined_as: Path) -> None:
    leading, helping = started("resume", run), started("join", joined_as)

    searched, helped = (json.loads(ended(process).splitlines()[-1]) for process in (leading, helping))

    assert helped["status"] == "over" and searched["status"] == "done"
    assert Path(searched["model"]).is_file()
    rows = trials_of(run)
    judged = [row for row in rows if row["state"] == "done" and not row["duplicate_of"]]
    assert len(judged) in (TRIALS, TRIALS + 1)  # both may take the last one at the same moment
    assert len({row["fingerprint"] for row in judged}) == len(judged)
    assert {row["state"] for row in rows} <= {"done", "pruned", "failed"}
    by_helper = {row["trial"] for row in judged} & {str(number) for number in helped["trials"]}
    assert 1 <= len(by_helper) < TRIALS - 1


def trials_of(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "trials.csv").open(encoding="utf-8")))


def test_a_helper_judges_until_the_trials_of_the_search_are_spent(data: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    stopped = run_search(
        tiny_searching(data, tmp_path, trials=3, proxy_epochs=1),
        listeners=[SimpleNamespace(hear=told.append)],
        stop=lambda: any(one.record for one in told),
    )

    joined = join_search(stopped.folder)

    assert joined.status == "over"
    judged = [one for one in report_search(stopped.folder).answer.records if one.state == "done"]
    assert len(judged) == 3 and {one.number for one in judged[1:]} <= set(joined.trials)


def test_a_helper_tells_of_repeats_in_a_row_as_the_search_does(data: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    helped: list[Progress] = []
    stopped = run_search(
        tiny_searching(data, tmp_path, trials=2, proxy_epochs=1),
        listeners=[SimpleNamespace(hear=told.append)],
        stop=lambda: any(one.record for one in told),
    )
    with opened(stopped.folder) as here:
        for _ in range(3):
            here.study().enqueue_trial(dict(stopped.answer.records[0].params))

    join_search(stopped.folder, listeners=[SimpleNamespace(hear=helped.append)])

    shown = [(one.record.number if one.record else one.text, one.repeats) for one in helped]
    assert shown[:3] == [(1, 0), ("2 more trials repeated networks that are known already", 3), (4, 0)]
    assert all(one.best for one in helped)


def test_a_helper_of_a_search_by_minutes_tells_how_many_of_them_are_gone(data: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    helped: list[Progress] = []
    stopped = run_search(
        tiny_searching(data, tmp_path, trials=0, minutes=10, proxy_epochs=1),
        listeners=[SimpleNamespace(hear=told.append)],
        stop=lambda: any(one.record for one in told),
    )
    SearchFolder(stopped.folder).write_state(seconds=240.0)

    join_search(stopped.folder, listeners=[SimpleNamespace(hear=helped.append)], stop=lambda: bool(helped))

    assert helped[0].share == 0.4


@pytest.mark.slow
def test_two_processes_share_a_file(data: Path, tmp_path: Path) -> None:
    run = begun(data, tmp_path)

    assert_two_processes_share_the_trials(run, run)


@pytest.mark.slow
def test_two_processes_share_a_database_and_one_has_a_copy_of_the_folder(
    data: Path,
    tmp_path: Path,
    server: int,  # noqa: F811
) -> None:
    run = begun(data, tmp_path, storage=url(server))

    assert_two_processes_share_the_trials(run, Path(shutil.copytree(run, tmp_path / "elsewhere" / "tiny")))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent by Unix's kill")
def test_a_stopped_helper_ends_within_ten_seconds_and_gives_its_network_back(data: Path, tmp_path: Path) -> None:
    run = begun(data, tmp_path)
    helping = started("join", run)
    for line in helping.stderr:
        if " done " in line:
            break
    wait_until_one_is_in_work(run)
    helping.send_signal(signal.SIGINT)

    out, _ = helping.communicate(timeout=10)

    helped = json.loads(out.splitlines()[-1])
    assert helped["status"] == "stopped" and len(helped["trials"]) >= 1
    with opened(run) as here:
        trials = here.study().get_trials(deepcopy=False)
    assert not [trial for trial in trials if trial.state == TrialState.RUNNING]
    assert [trial for trial in trials if trial.state == TrialState.WAITING]


def test_a_search_that_is_over_cannot_be_joined(data: Path, tmp_path: Path) -> None:
    searched = run_search(tiny_searching(data, tmp_path, trials=1, proxy_epochs=1))

    with pytest.raises(SearchError, match=r"judges no more networks; `python -m mnasnet extend` goes on"):
        join_search(searched.folder)


def test_a_search_without_trials_cannot_be_joined_yet(data: Path, tmp_path: Path) -> None:
    folder = begin(tiny_searching(data, tmp_path), tell=lambda text: None, stop=lambda: False)

    with pytest.raises(SearchError, match="has no trials yet; join when the search shows its first one"):
        join_search(folder.path)


def test_a_machine_that_would_measure_other_latencies_cannot_join(data: Path, tmp_path: Path) -> None:
    asked = tiny_searching(data, tmp_path, cost="latency", target_latency_ms=50.0, profile=False, target_cost=0.0)
    folder = begin(asked, tell=lambda text: None, stop=lambda: False)
    with opened(folder.path) as here:
        here.study()
    row = json.loads(folder.latencies.read_text().split("\n")[1])
    row["latency"]["device"] = "another board"
    folder.latencies.write_text(f"{json.dumps(row)}\n")

    with pytest.raises(SearchError, match="measures latency on another board, this is .*; use that machine"):
        join_search(folder.path)


def test_a_database_that_goes_away_is_told_in_a_sentence(data: Path, tmp_path: Path) -> None:
    asked = tiny_searching(data, tmp_path, proxy_epochs=1, storage=f"sqlite:///{tmp_path / 'study.db'}?timeout=1")
    busy = sqlite3.connect(tmp_path / "study.db")

    def hear(progress: Progress) -> None:
        if progress.record:
            busy.execute("BEGIN EXCLUSIVE")

    for go_on in (partial(run_search, asked), partial(join_search, tmp_path / "runs" / "tiny")):
        with pytest.raises(SearchError, match="the database does not let us in any more: database is locked; once it"):
            go_on(listeners=[SimpleNamespace(hear=hear)])
        busy.rollback()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_image_that_cannot_be_read_fails_no_trial_of_any_process(tmp_path: Path, workers: int) -> None:
    data = write_image_folder(tmp_path / "data", per_class=10)
    asked = tiny_searching(data, tmp_path, cache_mb=0, workers=workers, trials=2, max_bad=0.1)
    parts = divide(scan(data))  # as the search does
    bad = data / parts.train[5].path
    bad.write_bytes(bad.read_bytes()[:300])

    searched = run_search(asked)

    assert searched.status == "done"
    assert not [record.reason for record in searched.answer.records if record.state == "failed"]
    with opened(searched.folder) as here:  # as who resumes or joins opens it
        candidate = here.problem.space.candidate(searched.answer.records[0].params)
        assert here.training.evaluate(candidate, lambda step, accuracy: None) == searched.answer.records[0].accuracy
