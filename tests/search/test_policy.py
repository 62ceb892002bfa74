"""The controller's policy: it samples what its network says, and learns from rewards as PPO does."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import optuna
import pytest
import torch

from mnasnet.reward import Reward
from mnasnet.search.controller import ControllerSampler
from mnasnet.search.policy import ControllerSettings, Policy
from mnasnet.search.problem import FunctionEvaluator, FunctionMeter, Report, SearchProblem
from mnasnet.search.records import records
from mnasnet.search.study import Budget, create_study, search
from mnasnet.space import Candidate
from mnasnet.spaces import space

EVENLY = (np.arange(200) + 0.5) / 200  # random numbers that share out a decision by its chances


def policy_of(counts: list[int], **chosen: Any) -> Policy:
    """A small policy that learns fast, without a pull to entropy unless an update asks for it."""
    return Policy(counts, 0, ControllerSettings(**{"hidden": 16, "learning_rate": 1e-2, **chosen}))


def chance_of(policy: Policy, token: int) -> float:
    """The share of first decisions for ``token``."""
    rest = 0.5
    return float(np.mean([policy.sample(np.array([uniform, rest]))[0] == token for uniform in EVENLY]))


def tell(policy: Policy, told: list[tuple[int, float]], entropy: float = 0.0) -> None:
    """One update with first tokens and their rewards; the second token is always 0."""
    tokens = np.array([[token, 0] for token, _ in told])
    policy.update(tokens, np.array([reward for _, reward in told]), entropy)


def test_samples_come_with_the_chances_that_are_learned_from():
    policy, rng, counts = policy_of([2, 4, 3, 2], learning_rate=5e-2), np.random.default_rng(0), [2, 4, 3, 2]
    for _ in range(20):  # away from even chances
        tokens = np.array([policy.sample(rng.random(4)) for _ in range(10)])
        policy.update(tokens, rng.random(10), 0.0)
    sequences = np.array(list(itertools.product(*map(range, counts))))

    with torch.no_grad():
        logs, entropies = policy.network(torch.from_numpy(sequences))
    chances = {tuple(map(int, row)): log.exp().double().numpy() for row, log in zip(sequences, logs, strict=True)}

    for sequence, found in chances.items():
        low = np.zeros(4)  # where the interval of each token begins
        for place, token in enumerate(sequence):
            before = [(*sequence[:place], other, *[0] * (3 - place)) for other in range(token)]
            low[place] = sum(chances[other][place] for other in before)
        for inside in (0.02, 0.5, 0.98):
            assert policy.sample(low + inside * found) == sequence
    assert sum(float(found.prod()) for found in chances.values()) == pytest.approx(1.0, abs=1e-5)
    assert max(map(float, (found.max() for found in chances.values()))) > 0.6
    first = {row[0]: chances[row][0] for row in chances}
    assert float(entropies[0, 0]) == pytest.approx(-sum(p * np.log(p) for p in first.values()), abs=1e-4)


def test_what_is_rewarded_becomes_likely_also_where_it_depends_on_what_came_before():
    policy, rng = policy_of([3, 3]), np.random.default_rng(0)

    for _ in range(100):
        tokens = np.array([policy.sample(rng.random(2)) for _ in range(10)])
        policy.update(tokens, (tokens[:, 0] == tokens[:, 1]).astype(float), 0.02)
    drawn = [policy.sample(rng.random(2)) for _ in range(300)]

    assert np.mean([first == second for first, second in drawn]) > 0.9


def test_entropy_pulls_a_policy_back_to_even_chances():
    policy = policy_of([2, 2])
    for _ in range(5):
        tell(policy, [(1, 1.0), (0, 0.0)] * 5)
    assert chance_of(policy, 1) > 0.9

    for _ in range(30):
        tell(policy, [(1, 0.7)] * 10, entropy=1.0)

    assert chance_of(policy, 1) == pytest.approx(0.5, abs=0.1)


def test_equal_rewards_teach_nothing():
    policy = policy_of([2, 2])
    before = [chance_of(policy, token) for token in (0, 1)]

    for reward in (0.7, 0.9):  # also where all are better than those before
        tell(policy, [(1, reward)] * 10)

    assert [chance_of(policy, token) for token in (0, 1)] == before


def test_a_batch_of_one_network_leaves_the_say_to_entropy():
    """Ten such numbers have a spread of 1e-16, as their mean is rounded."""
    policy = Policy([3, 3], 0, ControllerSettings())
    tell(policy, [(1, 0.9), (0, 0.7)] * 5, entropy=0.15)

    for _ in range(60):
        tell(policy, [(1, 0.7950463696325935)] * 10, entropy=0.15)

    chances = np.array([chance_of(policy, token) for token in range(3)])
    assert -np.sum(chances * np.log(chances)) > 1.0  # of log 3, which is 1.0986


@pytest.mark.parametrize(("decay", "rises"), [(1.0, True), (0.0, False)])
def test_rewards_count_by_how_far_they_lie_above_those_before(decay, rises):
    policy = policy_of([2, 2], baseline_decay=decay)
    tell(policy, [(1, 0.0)] * 10)  # with decay 1 the baseline stays at this batch's, with 0 it is the last one's
    tell(policy, [(1, 1.0)] * 10)
    before = chance_of(policy, 1)

    # less than the last batch and more than the first; the token that is rare here has the higher reward here
    tell(policy, [(1, 0.50)] * 9 + [(0, 0.51)])

    after = chance_of(policy, 1)
    assert after > before if rises else after < before


def test_one_update_moves_no_chance_further_than_the_clip_allows():
    slow = {"epochs": 100, "learning_rate": 2e-3}
    clipped, free = policy_of([2, 2], **slow), policy_of([2, 2], **slow, clip=1000.0)

    for policy in (clipped, free):
        tell(policy, [(1, 1.0), (0, 0.0)] * 5)

    assert 0.6 < chance_of(clipped, 1) < 0.75  # 0.5 times 1.2, and how far the optimiser's momentum carries on
    assert chance_of(free, 1) > 0.9


@pytest.mark.parametrize("first_above", [1, 9, 10])
def test_networks_above_a_limit_never_look_better_than_one_that_was_judged(first_above):
    """With the absolute reward far from the target all rewards lie below 0, also below those of nothing judged yet."""
    batch, first = 10, space("small").choices[1]
    small, large = first.options
    problem = SearchProblem(
        space("small"),
        FunctionEvaluator(lambda candidate: 0.5),
        meters={
            "ms": FunctionMeter(lambda candidate: 9.0),
            "bytes": FunctionMeter(lambda candidate: 2.0 if candidate.values[1] == large else 1.0),
        },
        reward=Reward(1.0, "absolute", slope=-1.0),
        reward_cost="ms",
        limits={"bytes": 1.5},
    )
    study = create_study(problem, algorithm="ppo", seed=0)
    study.sampler = ControllerSampler(seed=0, settings=ControllerSettings(learning_rate=1e-2, entropy=0.0, batch=batch))
    for number in range(2 * batch):
        study.enqueue_trial({first.name: large if number < first_above else small})

    search(study, problem, Budget(evaluations=2 * batch - first_above))
    search(study, problem, Budget(evaluations=4 * batch - first_above))

    above = [record.state == "infeasible" for record in records(study)]
    assert above[: 2 * batch] == [True] * first_above + [False] * (2 * batch - first_above)
    assert np.mean(above[2 * batch :]) < 0.5


class Reporting:
    """Reports the accuracy once before the end: a tenth for networks with a certain option, a half for all others."""

    def __init__(self, bad: object) -> None:
        self.bad = bad

    def evaluate(self, candidate: Candidate, report: Report) -> float:
        accuracy = 0.1 if candidate.values[1] == self.bad else 0.5
        report(1, accuracy)
        return accuracy


def test_a_network_that_a_pruner_ended_is_heard_of_as_often_as_it_is_proposed(monkeypatch):
    heard: list[list[float]] = []
    monkeypatch.setattr(Policy, "update", lambda policy, tokens, rewards, entropy: heard.append(rewards.tolist()))
    first = space("small").choices[1]
    good, bad = first.options
    problem = SearchProblem(space("small"), Reporting(bad))
    study = create_study(problem, algorithm="ppo", seed=0, pruner=optuna.pruners.ThresholdPruner(lower=0.3))
    for number in range(11):
        study.enqueue_trial({first.name: bad if number == 10 else good})
    search(study, problem, Budget(evaluations=11))

    pruned = study.trials[-1].params
    for _ in range(9):
        study.enqueue_trial(pruned)
    search(study, problem, Budget(evaluations=12))
    study.sampler = ControllerSampler(seed=0)  # as a search that goes on makes it anew
    search(study, problem, Budget(evaluations=13))

    assert [record.state for record in records(study)][10:20] == ["pruned"] * 10
    assert heard == [[0.5] * 10, [0.1] * 10] * 2


def test_entropy_weighs_more_while_most_networks_of_a_batch_were_judged_before(monkeypatch):
    weights: list[float] = []
    monkeypatch.setattr(Policy, "update", lambda policy, tokens, rewards, entropy: weights.append(entropy))
    options = {"x": optuna.distributions.CategoricalDistribution(range(7))}
    settings = ControllerSettings(batch=2, entropy=0.1, entropy_step=2.0)
    study = optuna.create_study(direction="maximize", sampler=ControllerSampler(seed=0, settings=settings))
    for option in (0, 1, 0, 1, 0, 0, 2, 0, 3, 4, 5, 6):
        study.add_trial(optuna.trial.create_trial(params={"x": option}, distributions=options, value=0.5))

    study.ask(options)

    assert weights == [0.1, 0.2, 0.4, 0.2, 0.1, 0.1]


def test_the_controller_keeps_away_from_networks_above_a_limit():
    problem = SearchProblem(
        space("small"),
        FunctionEvaluator(lambda candidate: 0.5),
        meters={"large": FunctionMeter(lambda candidate: 1.0 + sum(value == 5 for value in candidate.values))},
        reward=Reward(10.0, "product", beta=0.0),
        reward_cost="large",
        limits={"large": 3.0},
    )
    study = create_study(problem, algorithm="ppo", seed=0)
    study.sampler = ControllerSampler(seed=0, settings=ControllerSettings(learning_rate=5e-3, entropy=0.05))

    search(study, problem, Budget(evaluations=150))

    above = [record.state == "infeasible" for record in records(study)]
    assert np.mean(above[:80]) > 2 * np.mean(above[-80:])
