"""Regularized evolution: who may have children, who wins a tournament, how children differ."""

from __future__ import annotations

from collections import Counter
from typing import Any

import optuna
import pytest

from mnasnet.search.evolution import EvolutionSampler

CHOICES = 10
OPTIONS = optuna.distributions.CategoricalDistribution(tuple(range(8)))
PLACES = {f"x{place}": OPTIONS for place in range(CHOICES)}


def children(values: list[float], direction: str = "maximize", count: int = 60, **chosen: Any) -> list[dict[str, int]]:
    """What is proposed after one trial for each of ``values``, the oldest first; trial i has option i everywhere."""
    settings = {"population": 5, "sample": 5, "initial": 2, "second_mutation": 0.0, **chosen}
    study = optuna.create_study(direction=direction, sampler=EvolutionSampler(seed=0, **settings))
    for number, value in enumerate(values):
        params = dict.fromkeys(PLACES, number)
        study.add_trial(optuna.trial.create_trial(params=params, distributions=PLACES, value=value))
    return [study.ask(PLACES).params for _ in range(count)]


def parents(found: list[dict[str, int]]) -> Counter[int]:
    """How many children each trial has: most of a child's options are its parent's."""
    return Counter(Counter(child.values()).most_common(1)[0][0] for child in found)


def test_the_oldest_dies_though_it_is_the_best_and_the_worst_lives_on():
    found = parents(children([9.0, 8.0, 1.0, 2.0, 3.0, 4.0, 5.0], sample=1))

    assert set(found) == {2, 3, 4, 5, 6}


@pytest.mark.parametrize(("direction", "best"), [("maximize", 2), ("minimize", 4)])
def test_the_best_of_the_living_wins_a_tournament_of_all(direction, best):
    found = parents(children([9.0, -9.0, 8.0, 1.0, -7.0, 3.0, 4.0], direction))

    assert set(found) == {best}


def test_in_a_tournament_of_two_the_worst_never_wins_and_the_best_in_two_of_five():
    found = parents(children([1.0, 2.0, 3.0, 4.0, 5.0], sample=2, count=200))

    assert found[0] == 0
    assert 0.3 < found[4] / 200 < 0.5
    assert found[4] > found[3] > found[2] > found[1] > 0


@pytest.mark.parametrize(("second", "changed"), [(0.0, {1}), (1.0, {1, 2})])
def test_children_differ_in_one_choice_or_two(second, changed):
    found = [
        sum(value != 4 for value in child.values()) for child in children([1.0] * 4 + [2.0], second_mutation=second)
    ]

    assert set(found) == changed
    assert Counter(found).most_common(1)[0][0] == max(changed)


def test_every_choice_and_option_turns_up_in_children():
    found = children([1.0] * 4 + [2.0], count=70)

    assert len({tuple(child.values()) for child in found}) == 70  # all there are: 10 choices of 7 other options


def test_the_first_trials_are_random():
    found = children([1.0] * 4 + [2.0], initial=6)

    assert min(sum(value != 4 for value in child.values()) for child in found) > 2
