"""Processes that share a study know which of them is alive: nobody's trial stays `running` for ever."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from mnasnet.search.problem import FunctionEvaluator, SearchProblem
from mnasnet.search.records import records
from mnasnet.search.storage import open_storage
from mnasnet.search.study import Budget, Proposal, Search, create_study, search
from mnasnet.search.study_flags import mark_joined, set_over
from mnasnet.search.verdict import Verdict
from mnasnet.space import Candidate
from mnasnet.spaces import space
from tests.search.test_postgresql import server, url  # noqa: F401  # a fixture
from tests.search.workers_evaluators import accuracy_of

BEAT_S = 1  # instead of a minute; dead after two

DRIVER = """
import sys
sys.path[:0] = ["tests/search", "tests"]  # as pytest has it
from tests.search.test_heartbeat import drive
drive(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
"""


def problem_of(seconds: float = 0.0) -> SearchProblem:
    def judge(candidate: Candidate) -> float:
        time.sleep(seconds)  # a training
        return accuracy_of(candidate)

    return SearchProblem(space("small"), FunctionEvaluator(judge))


def study_in(location: str) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(location, heartbeat_s=BEAT_S)
    return create_study(problem_of(), algorithm="evolution", seed=3, storage=storage)


def drive(location: str, seconds: float, evaluations: int) -> None:
    """One of several processes on the study, whose trainings take so long."""
    study = study_in(location)
    print("ready", flush=True)
    search(study, problem_of(seconds), Budget(evaluations=evaluations), alone=False)


def started(location: str, seconds: float, root: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, location, str(seconds), "8"], cwd=root, stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    return process


def is_judging(study: optuna.Study) -> bool:
    """Whether a process has a network in hand, all its choices made."""
    running = [record for record in records(study) if record.state == "running"]
    return any(len(record.params) == len(space("small").choices) for record in running)


def assert_the_dead_ones_network_is_judged_by_another(location: str, root: Path) -> None:
    study = study_in(location)
    killed = started(location, 600.0, root)
    while not is_judging(study):
        time.sleep(0.05)  # until it trains
    killed.kill()
    killed.wait()

    search(study, problem_of(0.5), Budget(evaluations=8), alone=False)

    found = records(study)
    lost = found[0]
    assert (lost.state, lost.reason) == ("failed", "the process that worked on it has ended")
    again = [record for record in found[1:] if record.params == lost.params]
    assert [record.state for record in again] == ["done"]
    assert {record.state for record in found[1:]} == {"done"}


@pytest.mark.slow
def test_a_killed_process_leaves_its_network_to_the_others_of_a_file(tmp_path, pytestconfig):
    assert_the_dead_ones_network_is_judged_by_another(str(tmp_path / "journal"), pytestconfig.rootpath)


@pytest.mark.slow
def test_a_killed_process_leaves_its_network_to_the_others_of_a_database(server, pytestconfig):  # noqa: F811
    assert_the_dead_ones_network_is_judged_by_another(url(server), pytestconfig.rootpath)


@pytest.mark.slow
def test_a_long_training_is_not_taken_for_a_dead_process(tmp_path, pytestconfig):
    location = str(tmp_path / "journal")
    busy = started(location, 5 * BEAT_S, pytestconfig.rootpath)
    study = study_in(location)
    while not is_judging(study):
        time.sleep(0.05)  # until it trains

    search(study, problem_of(BEAT_S), Budget(evaluations=8), alone=False)

    assert busy.wait(60) == 0
    assert {record.state for record in records(study)} == {"done"}


def test_a_process_that_was_only_asleep_finds_its_trial_given_up_and_goes_on(tmp_path):
    study, other = study_in(str(tmp_path / "journal")), study_in(str(tmp_path / "journal"))
    steps = Search(study, problem_of(), alone=False)
    proposal = steps.propose()
    assert isinstance(proposal, Proposal)
    other._storage.set_trial_state_values(proposal.trial._trial_id, optuna.trial.TrialState.FAIL)

    record = steps.settle(proposal, Verdict("done", 0.5))
    steps.close()

    assert (record.state, record.accuracy) == ("failed", None)
    assert search(study, problem_of(), Budget(evaluations=2), alone=False) == "budget"


def test_a_process_that_leads_takes_up_what_it_left_though_others_have_joined_since(tmp_path):
    study, helping = study_in(str(tmp_path / "journal")), study_in(str(tmp_path / "journal"))
    Search(study, problem_of()).propose()  # and is killed
    mark_joined(helping)
    other = Search(helping, problem_of(), alone=False)
    other.propose()

    again = Search(study_in(str(tmp_path / "journal")), problem_of())

    assert [trial.number for trial in again.left_running()] == [0]
    assert again.in_work_elsewhere() == 0  # it is alone for all it knows until it proposes
    again.propose(again.left_running()[0])
    assert again.in_work_elsewhere() == 1
    again.close()
    other.close()


def test_a_trial_from_before_others_joined_is_not_taken_for_a_dead_ones(tmp_path):
    study, helping = study_in(str(tmp_path / "journal")), study_in(str(tmp_path / "journal"))
    Search(study, problem_of()).propose()  # takes longer than all beats
    mark_joined(helping)
    other = Search(helping, problem_of(), alone=False)

    until = time.monotonic() + 3 * BEAT_S
    while time.monotonic() < until:
        assert other.in_work_elsewhere() == 1
        time.sleep(BEAT_S / 4)


@pytest.mark.parametrize(("over", "left"), [(False, 1), (True, 0)])
def test_a_helper_that_ends_gives_its_network_back_at_once_while_the_search_goes_on(tmp_path, over, left):
    helping = study_in(str(tmp_path / "journal"))
    mark_joined(helping)
    steps = Search(helping, problem_of(), alone=False)
    proposal = steps.propose()
    set_over(helping, over)

    steps.close()

    waiting = helping.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,))
    assert records(helping)[proposal.trial.number].state == "failed"
    assert len(waiting) == left
    for _ in range(3 * left):  # however often a helper ends
        assert steps.propose().candidate == proposal.candidate
        steps.close()
