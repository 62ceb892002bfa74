"""Several processes on one study: one storage, no network judged twice, every algorithm."""

import subprocess
import sys

import optuna
import pytest

from mnasnet.search.problem import FunctionEvaluator, SearchProblem
from mnasnet.search.samplers import SAMPLERS
from mnasnet.search.storage import open_storage
from mnasnet.search.study import Budget, Proposal, Search, create_study, records, search
from mnasnet.space import BlockChoices, Candidate, SearchSpace, space

WORKER = """
import sys
from tests.search.test_workers import problem_of
from mnasnet.search.storage import open_storage
from mnasnet.search.study import Budget, create_study, search

path, algorithm, evaluations = sys.argv[1:]
study = create_study(problem_of(), algorithm=algorithm, seed=5, storage=open_storage(path))
search(study, problem_of(), Budget(evaluations=int(evaluations)), alone=False)
"""


def accuracy_of(candidate: Candidate) -> float:
    return 0.5 + 0.05 * sum(value == 5 for value in candidate.values)


def problem_of() -> SearchProblem:
    return SearchProblem(space("small"), FunctionEvaluator(accuracy_of))


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", SAMPLERS)
def test_two_processes_share_one_study(algorithm, tmp_path, pytestconfig):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = str(tmp_path / "journal")
    create_study(problem_of(), algorithm=algorithm, seed=5, storage=open_storage(path))

    command = [sys.executable, "-c", WORKER, path, algorithm, "40"]
    workers = [subprocess.Popen(command, cwd=pytestconfig.rootpath) for _ in range(2)]

    assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    study = create_study(problem_of(), algorithm=algorithm, seed=5, storage=open_storage(path))
    judged = [record.fingerprint for record in records(study) if record.state == "done" and record.duplicate_of is None]
    assert len(set(judged)) == len(judged)
    assert 40 <= len(judged) <= 41  # each worker may have had one in hand when the budget was reached


def test_a_network_that_another_worker_is_judging_is_left_to_it():
    single = SearchSpace((BlockChoices(channels=(16,), kernel=(3, 5)),))
    problem = SearchProblem(single, FunctionEvaluator(accuracy_of))
    study = create_study(problem, algorithm="random", seed=0)
    steps = Search(study, problem)

    proposals = [steps.propose() for _ in range(6)]

    waiting = [proposal for proposal in proposals if isinstance(proposal, Proposal)]
    assert len({proposal.candidate.fingerprint for proposal in waiting}) == len(waiting) == 2
    left = [record for record in records(study) if record.state == "pruned"]
    assert "is judging this network" in left[0].reason


def test_a_search_that_is_not_alone_leaves_running_trials_to_their_workers():
    study = create_study(problem_of(), algorithm="random", seed=0)
    study.ask()

    search(study, problem_of(), Budget(evaluations=3), alone=False)

    assert [record.state for record in records(study)] == ["running", "done", "done", "done"]
