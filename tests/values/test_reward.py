"""Rewards: the paper's equations as numbers, and what each form does with the target."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet.errors import SettingsError
from mnasnet.reward import Reward, absolute_reward, product_reward

accuracies = st.floats(0.01, 1.0)
costs = st.floats(0.1, 1000.0)


def test_the_soft_form_trades_five_percent_accuracy_for_double_latency():
    # section 3 of the paper: 1.05 x 2^beta = 1 gives beta = -0.07
    reward = Reward(80.0, "soft")

    assert reward(0.5 * 1.05, 160.0) == pytest.approx(reward(0.5, 80.0), rel=1e-3)


def test_the_hard_form_is_the_accuracy_up_to_the_target():
    reward = Reward(80.0, "hard")

    assert reward(0.5, 79.0) == reward(0.5, 20.0) == 0.5
    assert (reward(0.0, 80.0), reward(1.0, 80.0)) == (0.0, 1.0)


def test_the_hard_form_above_the_target_scales_by_target_over_cost():
    assert Reward(80.0, "hard")(0.5, 160.0) == 0.25


def test_the_absolute_form_loses_on_both_sides_of_the_target():
    at, below, above = (absolute_reward(0.75, cost, 80.0) for cost in (80.0, 40.0, 120.0))

    assert at == 0.75
    assert below == above == pytest.approx(0.75 - 0.10 * 0.5)


def test_any_exponents_are_allowed():
    assert product_reward(0.7, 20.0, 10.0, alpha=-0.15, beta=-0.15) == pytest.approx(0.7 * 2**-0.15)


@given(accuracies, accuracies, costs, costs, costs, costs)
def test_with_equal_exponents_the_order_of_networks_ignores_the_target(a, b, cost_a, cost_b, target, other):
    def gain(t):
        reward = Reward(t, "soft")
        return math.log(reward(a, cost_a)) - math.log(reward(b, cost_b))

    # the logarithms' difference does not contain the target; 1e-9 is rounding
    assert gain(target) == pytest.approx(gain(other), abs=1e-9)


def test_the_product_says_that_soft_ignores_the_target():
    assert Reward(80.0, "soft").ignores_target
    assert Reward(80.0, "product", alpha=-0.1, beta=-0.1).ignores_target
    assert not Reward(80.0).ignores_target
    assert "ignores the target" in Reward(80.0, "soft").explain()


@pytest.mark.parametrize("number", [np.float32, np.float64, np.int64, np.uint8])
def test_numbers_of_numpy_are_taken_for_python_s_own(number):
    reward = Reward(number(8), "product", beta=-float(number(1)))

    assert reward == Reward(8, "product", beta=-1)
    assert {type(reward.target), type(reward.beta)} <= {int, float}


def test_hard_is_the_default():
    assert Reward(80.0)(0.5, 160.0) == 0.25


@pytest.mark.parametrize(
    ("form", "expected"), [("hard", 0.25), ("soft", 0.5 * 2**-0.07), ("absolute", 0.4), ("product", 0.25)]
)
def test_a_reward_value_agrees_with_its_function(form, expected):
    assert Reward(80.0, form)(0.5, 160.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": 0.0}, "target must be a number above 0"),
        ({"target": math.nan}, "target must be a number above 0"),
        ({"target": np.float32("nan")}, "target must be a number above 0"),
        ({"target": True}, "target must be a number above 0 .*, got True"),
        ({"target": np.True_}, "target must be a number above 0 .*, got True"),
        ({"target": 8.0, "form": "steep"}, "form must be one of hard, soft, absolute, product"),
        ({"target": 8.0, "beta": 1.0}, "beta must be 0 or negative"),
        ({"target": 8.0, "form": "product", "alpha": -2000.0}, "alpha must be -10 or more, got -2000.0"),
    ],
)
def test_impossible_rewards_are_refused(arguments, message):
    with pytest.raises(SettingsError, match=message):
        Reward(**arguments)


@pytest.mark.parametrize(
    "reward_of", [lambda *numbers: product_reward(*numbers, alpha=0.0, beta=-1.0), absolute_reward]
)
@pytest.mark.parametrize(
    ("accuracy", "cost", "target"),
    [(75.0, 10, 8), (-0.1, 10, 8), (math.nan, 10, 8), (0.5, 0, 8), (0.5, math.inf, 8), (0.5, 10, 0), (0.5, 10, -8)],
)
def test_impossible_measurements_are_refused(accuracy, cost, target, reward_of):
    with pytest.raises(SettingsError, match="must"):
        reward_of(accuracy, cost, target)


def test_a_reward_beyond_all_numbers_is_refused():
    with pytest.raises(SettingsError, match=r"target must be near to what networks cost, got 1e\+40 for a cost of 1"):
        Reward(1e40, "product", -10.0, -10.0)(0.5, 1.0)


@pytest.mark.parametrize(
    ("reward", "ignores", "words"),
    [
        (Reward(2.0), False, "leaves networks within the target alone and marks down those above it"),
        (Reward(2.0, "product", -0.07, -1.0), False, "raises cheaper networks within the target and marks down"),
        (Reward(2.0, "product", -1.0, 0.0), False, "within the target and leaves those above it alone"),
        (Reward(2.0, "product", 0.0, 0.0), True, "the accuracy alone"),
        (Reward(2.0, "absolute", slope=0.0), True, "the accuracy alone"),
        (Reward(2.0, "absolute", slope=-20.0), False, "pulls the cost to the target from both sides"),
        (Reward(2.0, "soft"), True, "the same network wins for every target"),
    ],
)
def test_what_a_reward_says_of_itself_is_what_it_does(reward, ignores, words):
    assert reward.ignores_target == ignores
    assert words in reward.explain()


@pytest.mark.parametrize(
    ("reward", "words", "costs", "accuracies"),
    [
        (Reward(2.0), "twice the cost must bring 2 times the accuracy", (4.0, 8.0), (0.3, 0.6)),
        (Reward(2.0, "product", beta=0.0, alpha=-1.0), "accuracy alone decides", (4.0, 8.0), (0.3, 0.3)),
        (
            Reward(2.0, "absolute"),
            "a tenth of the target more must bring an accuracy 1.0% higher",
            (4, 4.2),
            (0.3, 0.31),
        ),
    ],
)
def test_what_a_reward_says_of_networks_above_the_target_makes_them_equal(reward, words, costs, accuracies):
    assert reward.explain_above() == words
    assert reward(accuracies[0], costs[0]) == pytest.approx(reward(accuracies[1], costs[1]))


@pytest.mark.parametrize("wrong", [{"target": "8"}, {"target": True}, {"target": 2.0, "alpha": "a"}])
def test_what_is_no_number_is_refused(wrong):
    with pytest.raises(SettingsError, match="must be"):
        Reward(**wrong)
