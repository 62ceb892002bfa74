"""A small real search to write reports of: networks of the tiny space, judged by a function of their choices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mnasnet.reward import Reward
from mnasnet.search.answer import Answer, Contender
from mnasnet.search.counts import CountMeter
from mnasnet.search.problem import FunctionEvaluator, FunctionMeter, SearchProblem
from mnasnet.search.records import pareto_set, records, winner
from mnasnet.search.study import Budget, create_study, search
from mnasnet.space import Candidate
from mnasnet.spaces import space

_MULTIPLY_ADDS = CountMeter("multiply_adds", input_size=64, num_classes=10)


def milliseconds(candidate: Candidate) -> float:
    return _MULTIPLY_ADDS.measure(candidate) / 1e6


def accuracy(candidate: Candidate) -> float:
    kernels = sum(value == 5 for value in candidate.values)
    if kernels == 3 and candidate.values[0] == 3:
        raise RuntimeError("the loss became <nan>")
    return 0.5 + 0.03 * kernels


def searched(evaluations: int = 40, limit_ms: float = 5.4, **changes: Any) -> Answer:
    """A search of random networks with a limit, its failures and its two contenders."""
    problem = SearchProblem(
        space("tiny"),
        FunctionEvaluator(accuracy),
        meters={"latency_ms": FunctionMeter(milliseconds), "multiply_adds": _MULTIPLY_ADDS},
        reward=Reward(5.0),
        reward_cost="latency_ms",
        limits={"latency_ms": limit_ms},
    )
    study = create_study(problem, algorithm="random", seed=3)
    search(study, problem, Budget(evaluations=evaluations))
    found, best = records(study), winner(study, problem)
    answer = Answer(
        name="leaves",
        space=problem.space,
        algorithm="random",
        seed=3,
        evaluator="a function of the kernels",
        reward=problem.reward,
        reward_cost="latency_ms",
        objectives=(),
        limits=problem.limits,
        device="this processor",
        measured={"latency_ms": True},
        records=found,
        winner=best,
        pareto=pareto_set(found, ["latency_ms"]),
        status="done",
        reason="",
        minutes=1.5,
        contenders=[
            Contender(
                name="trial winner",
                kind="promoted",
                trial=best.number,
                epochs=30,
                proxy_accuracy=best.accuracy,
                val_accuracy=0.9,
                val_images=100,
                test_accuracy=0.88,
                test_images=50,
                costs=best.costs,
                model="weights/winner.safetensors",
            ),
            Contender(name="mnasnet_small", kind="reference", epochs=30, val_accuracy=0.85, val_images=100,
                      costs={"latency_ms": 5.1}),
        ],
        kendall_tau=0.6,
        val_images=200,
    )  # fmt: skip
    return replace(answer, **changes)
