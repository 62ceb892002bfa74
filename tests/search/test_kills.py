"""A search killed by SIGKILL at random moments goes on to exactly the trials of the uninterrupted one."""

import random
import subprocess
import sys
import time

import optuna
import pytest

from mnasnet.reward import Reward
from mnasnet.search.counts import CountMeter
from mnasnet.search.problem import FunctionEvaluator, SearchProblem
from mnasnet.search.storage import open_storage
from mnasnet.search.study import Budget, create_study, records, search
from mnasnet.space import Candidate, space

WORKER = """
import sys
from tests.search.test_kills import go_on
go_on(sys.argv[1], int(sys.argv[2]))
"""


def problem_of() -> SearchProblem:
    meter = CountMeter("parameters", num_classes=10)

    def accuracy(candidate: Candidate) -> float:
        time.sleep(0.005)  # so that kills also fall into evaluations
        return 0.5 + 0.03 * sum(value == 5 for value in candidate.values)

    return SearchProblem(
        space("small"),
        FunctionEvaluator(accuracy),
        meters={"parameters": meter},
        reward=Reward(1.5e6),
        reward_cost="parameters",
        estimates={"parameters": meter},
    )


def go_on(path: str, evaluations: int) -> None:
    """Take up the search stored at ``path`` and bring it to ``evaluations``."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = create_study(problem_of(), algorithm="guided", seed=11, storage=open_storage(path))
    print("ready", flush=True)
    search(study, problem_of(), Budget(evaluations=evaluations))


@pytest.mark.parametrize(("kills", "evaluations"), [(2, 30), pytest.param(30, 200, marks=pytest.mark.slow)])
def test_a_killed_search_ends_like_the_uninterrupted_one(kills, evaluations, tmp_path, pytestconfig):
    rng = random.Random(kills)
    path = str(tmp_path / "journal")
    command = [sys.executable, "-c", WORKER, path, str(evaluations)]
    for _ in range(kills):
        worker = subprocess.Popen(command, cwd=pytestconfig.rootpath, stdout=subprocess.PIPE)
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0.0, 0.3))  # the random moment of the kill, not a wait for something
        worker.kill()
        worker.wait()

    subprocess.run(command, cwd=pytestconfig.rootpath, check=True, stdout=subprocess.DEVNULL)

    whole = create_study(problem_of(), algorithm="guided", seed=11)
    search(whole, problem_of(), Budget(evaluations=evaluations))
    resumed = create_study(problem_of(), algorithm="guided", seed=11, storage=open_storage(path))
    assert [(r.params, r.values) for r in records(resumed)] == [(r.params, r.values) for r in records(whole)]
    assert {record.state for record in records(resumed)} == {"done"}
