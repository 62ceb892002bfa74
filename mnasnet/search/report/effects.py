"""Which choices mattered: what each option adds to accuracy and cost, from a model fitted to the trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnasnet.search.answer import Answer
from mnasnet.search.records import TrialRecord
from mnasnet.space import Choice, Option
from mnasnet.words import amount

FEWEST_NETWORKS = 12  # below, a fit would only repeat chance

_PENALTIES = np.logspace(-3, 3, 25)
_Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OptionEffect:
    """What taking ``option`` adds: accuracy in 0 to 1, cost as a share of itself. ``tried`` counts networks."""

    option: Option
    accuracy: float
    cost: float | None
    tried: int


@dataclass(frozen=True, slots=True)
class ChoiceEffect:
    """A choice with its options; ``weight`` is its share, 0 to 1, of the accuracy's variance over the space."""

    choice: str
    weight: float
    options: tuple[OptionEffect, ...]


@dataclass(frozen=True, slots=True)
class Effects:
    """The choices, the weightiest first, and how far the fit can be trusted.

    ``explained`` is the share of the accuracy's variance that the fit predicts for networks left out of it, at
    most 1; ``cost_name`` is "" when no cost could be fitted. ``choices`` is empty below FEWEST_NETWORKS networks.
    ``extrapolated`` of the networks ended early and count with what they were heading for; of ``left_out`` more
    nothing tells where they were heading.
    """

    choices: tuple[ChoiceEffect, ...]
    networks: int
    explained: float
    cost_name: str
    extrapolated: int = 0
    left_out: int = 0

    @property
    def note(self) -> str:
        """How it was computed and how far it can be trusted, in words."""
        left_out = f" ({self.left_out:,} more ended early and are left out)" if self.left_out else ""
        if not self.choices:
            return (
                f"Which choices mattered cannot be told from {amount(self.networks, 'judged network')}{left_out}; it "
                f"takes {FEWEST_NETWORKS} whose accuracies differ."
            )
        counted = f", {self.extrapolated:,} of which ended early and count with what they were heading for"
        return (
            f"Ridge regression of accuracy on the single options of {self.networks} judged networks"
            f"{counted if self.extrapolated else ''}{left_out}. Its penalty was chosen by leave-one-out error; it "
            f"predicts {max(0.0, self.explained):.0%} of the variance of networks that it was not fitted to. Each dot "
            "is what the option adds to the mean over all options of its choice; effects of combinations are not "
            "shown, and options that the search tried seldom are drawn towards zero"
            f"{', as are those that made networks end early' if self.left_out else ''}."
        )


def effects(answer: Answer) -> Effects:
    """The effect of every option on accuracy and on the cost that mattered, from the networks that were judged.

    Both are additive models of centred options (the main effects of a functional analysis of variance under evenly
    drawn options); the cost is fitted on its logarithm, so that its effects are shares.
    """
    results = {record.number: record.accuracy for record in answer.records if record.is_result}
    found = {**results, **answer.extrapolated}
    judged = [record for record in answer.records if found.get(record.number) is not None]
    ended = sum(record.state == "pruned" and record.was_judged for record in answer.records)
    early = {"extrapolated": len(answer.extrapolated), "left_out": ended - len(answer.extrapolated)}
    accuracy = np.array([found[record.number] for record in judged], dtype=np.float64)
    if len(judged) < FEWEST_NETWORKS or np.ptp(accuracy) == 0.0 or not answer.space.choices:
        return Effects((), len(judged), 0.0, "", **early)
    choices = answer.space.choices
    options = _options(answer, judged)
    weights, explained = _ridge(options, accuracy)
    cost_name = next((name for name in answer.cost_names if all(r.costs.get(name, 0.0) > 0 for r in judged)), "")
    cost_weights: _Reals | None = None
    if cost_name:
        cost_weights = np.expm1(_ridge(options, np.log([record.costs[cost_name] for record in judged]))[0])
    tried = (options > 0).sum(0)
    by_weight = sorted(_by_choice(choices, weights, cost_weights, tried), key=lambda effect: -effect.weight)
    return Effects(tuple(by_weight), len(judged), explained, cost_name, **early)


def _options(answer: Answer, records: Sequence[TrialRecord]) -> _Reals:
    """One row a network, one column an option: 1 where taken, less the option's even share."""
    points = np.array([answer.space.indices_of(record.params) for record in records])
    columns = []
    for place, choice in enumerate(answer.space.choices):
        count = len(choice.options)
        columns.append((points[:, place, None] == np.arange(count)) - 1.0 / count)
    return np.hstack(columns)


def _ridge(features: _Reals, target: _Reals) -> tuple[_Reals, float]:
    """Weights with the best leave-one-out error over the penalties, and the share of variance it then predicts."""
    mean = features.mean(0)
    left, scales, right = np.linalg.svd(features - mean, full_matrices=False)
    residual = target - target.mean()
    projected = left.T @ residual
    best: tuple[float, float] | None = None
    for penalty in _PENALTIES:
        shrink = scales**2 / (scales**2 + penalty)
        leverage = 1.0 / len(target) + (left**2) @ shrink
        left_out = (residual - left @ (shrink * projected)) / np.maximum(1.0 - leverage, 1e-9)
        error = float((left_out**2).sum())
        if best is None or error < best[0]:
            best = (error, float(penalty))
    assert best is not None
    error, penalty = best
    weights = right.T @ (scales / (scales**2 + penalty) * projected)
    variance = float(((residual / (1.0 - 1.0 / len(target))) ** 2).sum())  # of the mean alone, also left one out
    return weights, 1.0 - error / variance if variance else 0.0


def _by_choice(
    choices: Sequence[Choice], weights: _Reals, cost_weights: _Reals | None, tried: NDArray[np.int64]
) -> list[ChoiceEffect]:
    """The fitted weights cut into choices; those of a choice add up to zero, for the features are centred."""
    shares = [1.0 / len(choice.options) for choice in choices for _ in choice.options]
    total = float((np.array(shares) * weights**2).sum()) or 1.0
    found, start = [], 0
    for choice in choices:
        options = []
        for place, option in enumerate(choice.options, start):
            cost = None if cost_weights is None else float(cost_weights[place])
            options.append(OptionEffect(option, float(weights[place]), cost, int(tried[place])))
        weight = sum(effect.accuracy**2 for effect in options) / len(options) / total
        found.append(ChoiceEffect(choice.name, weight, tuple(options)))
        start += len(choice.options)
    return found
