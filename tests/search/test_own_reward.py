"""A reward that a user made: any function of accuracy and cost, searched like ours and never the end of a search."""

import math
from dataclasses import dataclass

import optuna
import pytest

from mnasnet.errors import SearchError
from mnasnet.reward import Reward
from mnasnet.search.counts import CountMeter
from mnasnet.search.problem import FunctionEvaluator, Report, SearchProblem
from mnasnet.search.records import records, winner
from mnasnet.search.study import Budget, create_study, search
from mnasnet.space import Candidate
from mnasnet.spaces import space

TARGET = 6_437_184.0  # half of the networks cost more


class WorthlessAbove(Reward):
    """Flat in the accuracy above the target."""

    def __call__(self, accuracy: float, cost: float) -> float:
        return accuracy if cost <= self.target else 0.0


class Cubed(Reward):
    def __call__(self, accuracy: float, cost: float) -> float:
        return accuracy**3 * min(1.0, self.target / cost)


class Logarithm(Reward):
    """Of the paper's own reward; it fails for an accuracy of 0."""

    def __call__(self, accuracy: float, cost: float) -> float:
        return math.log(accuracy) - 0.07 * math.log(cost / self.target)


class Boosted(Reward):
    """Asks ours, which refuses accuracies above 1."""

    def __call__(self, accuracy: float, cost: float) -> float:
        return super().__call__(3 * accuracy, cost)


@dataclass(frozen=True, slots=True)
class Slotted(Reward):
    gamma: float = 0.02

    def __call__(self, accuracy: float, cost: float) -> float:
        return accuracy - self.gamma * cost / self.target


class NoNumberAbove(Reward):
    def __call__(self, accuracy: float, cost: float) -> float:
        return accuracy if cost <= self.target else math.nan


@dataclass(frozen=True)
class Weighted(Reward):
    gamma: float = 0.02

    def __call__(self, accuracy: float, cost: float) -> float:
        return accuracy - self.gamma * cost / self.target


class StepByStep:
    """Judges by the number of 5x5 kernels, in three steps; after the first it knows nothing yet."""

    def evaluate(self, candidate: Candidate, report: Report) -> float:
        accuracy = 0.08 * sum(value == 5 for value in candidate.values)
        for step in (1, 2, 3):
            report(step, accuracy * (step - 1) / 2)
        return accuracy


def problem_of(reward: Reward, evaluator=None) -> SearchProblem:
    size = CountMeter("multiply_adds", input_size=64)
    return SearchProblem(
        space("tiny"),
        evaluator or StepByStep(),
        meters={"multiply_adds": size},
        estimates={"multiply_adds": size},
        reward=reward,
        reward_cost="multiply_adds",
    )


@pytest.mark.parametrize("algorithm", ["guided", "evolution", "ppo"])
@pytest.mark.parametrize("reward", [WorthlessAbove, Cubed, Logarithm, Boosted, Slotted, NoNumberAbove, Weighted])
def test_any_function_of_accuracy_and_cost_is_searched_to_the_end(reward, algorithm):
    problem = problem_of(reward(TARGET))
    study = create_study(problem, algorithm=algorithm, pruner=optuna.pruners.MedianPruner(n_startup_trials=4))

    assert search(study, problem, Budget(evaluations=60)) == "budget"

    assert winner(study, problem).accuracy > 0


def test_a_network_of_which_the_reward_says_nothing_fails_and_the_search_goes_on(tmp_path):
    problem = problem_of(Logarithm(TARGET), FunctionEvaluator(lambda candidate: 0.5 * (candidate.values[0] == 5)))
    study = create_study(problem, algorithm="random", storage=tmp_path / "study.journal")

    assert search(study, problem, Budget(evaluations=10)) == "budget"

    failed = {record.reason for record in records(study) if record.state == "failed"}
    assert failed == {"the reward failed: ValueError: math domain error"}
    assert {record.state for record in records(study)} == {"done", "failed"}


def test_a_reward_that_is_no_number_says_for_what():
    problem = problem_of(NoNumberAbove(1.0), FunctionEvaluator(lambda candidate: 0.5))
    study = create_study(problem, algorithm="random")
    search(study, problem, Budget(evaluations=1))

    assert records(study)[0].reason.startswith("the reward must be a number, it answered nan to accuracy 0.5 and cost ")


def test_no_algorithm_takes_it_for_the_hard_reward():
    problem = problem_of(Weighted(TARGET))
    study = create_study(problem, algorithm="evolution")
    search(study, problem, Budget(evaluations=30))

    assert sum(record.costs["multiply_adds"] > TARGET for record in records(study)) > 5
    assert not Weighted(TARGET, form="soft").ignores_target
    assert Weighted(TARGET).explain() == "this reward is Weighted, a class of your own"


def test_its_own_numbers_are_part_of_the_problem(tmp_path):
    file = tmp_path / "study.journal"
    create_study(problem_of(Weighted(TARGET, gamma=0.1)), storage=file)
    create_study(problem_of(Weighted(TARGET, gamma=0.1)), storage=file)

    with pytest.raises(SearchError, match="was made with another reward"):
        create_study(problem_of(Weighted(TARGET, gamma=0.9)), storage=file)
