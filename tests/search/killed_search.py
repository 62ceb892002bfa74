"""A search of some seconds that trains nothing, for processes that are killed; it imports no torch."""

import time

import optuna

from mnasnet.reward import Reward
from mnasnet.search.counts import CountMeter
from mnasnet.search.problem import FunctionEvaluator, SearchProblem
from mnasnet.search.storage import open_storage
from mnasnet.search.study import Budget, create_study, search
from mnasnet.space import Candidate
from mnasnet.spaces import space


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
