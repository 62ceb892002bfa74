"""Which trials of a search are the best, and which are trained longer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, zip_longest

from mnasnet.search.records import TrialRecord, merit
from mnasnet.search.searching import Searching


def best_trials(records: Sequence[TrialRecord], searching: Searching, count: int) -> list[TrialRecord]:
    """The ``count`` finished trials of highest reward, of equal ones the cheapest first, each network once."""
    done = [record for record in records if record.is_result]
    names = searching.traded_costs

    def rank(record: TrialRecord) -> tuple[float, ...]:
        return *merit(trial_reward(record, searching), record.costs, names), -record.number

    return sorted(done, key=rank, reverse=True)[:count]


def finalist_trials(
    records: Sequence[TrialRecord],
    searching: Searching,
    count: int,
    size: Callable[[TrialRecord], float],
) -> list[TrialRecord]:
    """The ``count`` trials to train longer: by turns those of highest reward and the largest within the target.

    Where the reward ignores the target all are within it.

    Neither way of judging tells good networks apart well: by size alone networks were ordered better than by shared
    weights (``benchmarks/shared_weights.py``), and a short training ends before large networks have caught up. So
    the longer training decides between both kinds.
    """
    best = best_trials(records, searching, len(records))
    cost = searching.reward_cost
    target = math.inf if searching.reward_function.ignores_target else searching.target
    largest = sorted(
        (record for record in best if record.costs.get(cost, 0.0) <= target),
        key=lambda record: (-size(record), record.number),
    )
    turns = chain.from_iterable(zip_longest(best, largest))
    chosen = {record.number: record for record in turns if record is not None}
    return list(chosen.values())[:count]


def trial_reward(record: TrialRecord, searching: Searching) -> float:
    """The reward of a finished trial, also of a search for trade-offs, which stores none."""
    if not searching.objective_names:
        return record.values[0]
    return reward_of(searching, record.accuracy or 0.0, record.costs)


def told_rewards(
    record: TrialRecord | None, best: TrialRecord | None, searching: Searching
) -> tuple[float | None, float | None]:
    """The rewards of a trial and of the best one so far; None for one without a result."""
    own, highest = (trial_reward(one, searching) if one and one.values else None for one in (record, best))
    return own, highest


def reward_of(searching: Searching, accuracy: float, costs: Mapping[str, float]) -> float:
    """The reward of an accuracy at these costs; plain accuracy where the target's cost is unknown."""
    if searching.reward_cost not in costs:
        return accuracy
    return searching.reward_function(accuracy, costs[searching.reward_cost])
