"""What a search will take, as its preparation foresees it: told before it begins, and before it goes on."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from mnasnet.errors import LatencyError
from mnasnet.search.costs import LATENCY, UNITS, digits
from mnasnet.search.curriculum import cheapest_and_dearest
from mnasnet.search.open_search import OpenSearch
from mnasnet.search.plan import SearchPlan
from mnasnet.search.problem import SearchProblem
from mnasnet.search.timetable import Timetable, timetable
from mnasnet.words import amount


@dataclass(frozen=True, slots=True)
class Missed:
    """A limit, or a target that is none, which even the smallest network of the space does not meet."""

    cost: str
    smallest: float
    bound: float
    is_limit: bool = True

    @property
    def text(self) -> str:
        """Such as "parameters 562,437, limit 400,000"."""
        return f"{self.cost} {digits(self.smallest)}, {'limit' if self.is_limit else 'target'} {digits(self.bound)}"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a search will take, told before it begins; of one that goes on the seconds left, too."""

    networks: int
    plan: SearchPlan
    times: Timetable
    trials: int
    short_epochs: int
    workers: int
    costs: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # of the smallest and the largest network
    latency_is_measured: bool = True
    missed: tuple[Missed, ...] = ()
    above_target: str = ""  # what decides where no network keeps the target
    target: tuple[str, float] | None = None  # the cost that is aimed at, and the aim
    judged_px: tuple[int, ...] = ()  # the input sizes at which networks are judged, where they are not the plan's
    left_s: float | None = None

    @property
    def told_of_target(self) -> str:
        """A sentence where no network of the space comes near the target, "" else."""
        cost, target = self.target or ("", 0.0)
        if max(self.costs.get(cost, (math.inf,))) >= target:
            return ""
        return (
            f"{digits(target)} {UNITS[cost]} is more than the largest network takes, so it decides nothing; take "
            f"{_range(sorted(self.costs[cost]))} {UNITS[cost]}, or a larger space or input_size"
        )

    def _told_of(self, cost: str) -> str:
        """A line of what the ends of the space cost, with a word where the larger one costs less."""
        title, how, order = "cost", "", "takes less"
        if cost == LATENCY and self.latency_is_measured:
            title, how = "latency", " on the device"
        elif cost == LATENCY:
            title, how, order = "latency", " predicted by the table of the device", "the table does not order"
        small, large = self.costs[cost]
        ends = "the smallest and the largest network of the space"
        if small > large:
            ends += f" by multiply-adds, which {order}"
        return f"{title:10}{_range((small, large))} {UNITS[cost]}{how}, {ends}"

    @property
    def is_hopeless(self) -> bool:
        """Whether the smallest network costs more than twice a limit, so that no other is likely to meet it."""
        return any(one.is_limit and one.smallest > 2 * one.bound for one in self.missed)

    @property
    def told_of_missed(self) -> str:
        """A sentence where even the smallest network misses a limit or the target, "" else."""
        limits = "; ".join(one.text for one in self.missed if one.is_limit)
        if self.is_hopeless:
            return f"even the smallest network is far above the limits: {limits}; stop, or wait for the nearest"
        if limits:
            return f"even the smallest network is above the limits: {limits}; hardly one meets them, or none"
        targets = "; ".join(one.text for one in self.missed)
        return f"even the smallest network is above the target: {targets}; {self.above_target}" if targets else ""

    @property
    def short_minutes(self) -> float:
        """The minutes that short trainings of so many trials would take."""
        return self.trials * self.plan.short_trial_s / self.workers / 60

    @property
    def shared_minutes(self) -> float:
        """The minutes that shared weights would take for so many trials, their own training included."""
        plan = self.plan
        return (plan.shared_epochs * plan.shared_epoch_s + self.trials * plan.shared_trial_s / self.workers) / 60

    @property
    def _judged_at(self) -> str:
        sizes = self.judged_px or (self.plan.input_size,)
        return _span(map(str, (min(sizes), max(sizes))))

    @property
    def text(self) -> str:
        """Lines for people."""
        plan, times = self.plan, self.times
        stages = [f"shared weights {_minutes(times.supernet_s)}"] if times.supernet_s else []
        stages.append(f"search {_minutes(times.search_s)}")
        if times.finalists_s:
            epochs = f"{times.finalists} for {amount(times.finalist_epochs, 'epoch')}"
            stages.append(f"finalists {_minutes(times.finalists_s)} ({epochs})")
        stages.append(f"full training {_minutes(times.final_s)} ({amount(times.final_epochs, 'epoch')})")
        if times.compared:
            stages.append(f"comparison {_minutes(times.references_s)}")
        if times.ranking_s:
            stages.append(f"check of the ranking {_minutes(times.ranking_s)}")
        costs = [self._told_of(cost) for cost in self.costs]
        if self.told_of_target:
            costs.append(f"target    {self.told_of_target}")
        if self.told_of_missed:
            costs.append(f"limits    {self.told_of_missed}")
        short = _span(map(_seconds, sorted((plan.small_s, plan.large_s))))
        taught = (
            f"teacher   its answers take {_seconds(plan.teacher_s)} of the {_seconds(plan.epoch_s)} s of a longer "
            "training's epoch"
        )
        left_s = None if self.left_s is None else min(self.left_s, times.total_s)  # fewer trials where networks run out
        still = " from now on" if left_s is None else f", {_minutes(left_s)} left"
        return "\n".join(
            [
                f"space     {amount(self.networks, 'network')}",
                *costs,
                f"short     {amount(self.short_epochs, 'epoch')} for each network, {short} s: "
                f"{_minutes(60 * self.short_minutes)} for {self.trials}",
                f"shared    {amount(plan.shared_epochs, 'epoch')} once for all, then {_seconds(plan.shared_trial_s)} s "
                f"for each: {_minutes(60 * self.shared_minutes)} for {self.trials}",
                f"judged    by {'shared weights' if plan.evaluator == 'shared' else 'short training'}, on "
                f"{plan.proxy_share:.0%} of the training images at {self._judged_at} px",
                f"trials    about {self.trials}",
                *([taught] if plan.teacher else []),
                f"time      {', '.join(stages)}; together {_minutes(times.total_s)}{still}",
            ]
        )


def forecast_of(search: OpenSearch) -> Forecast:
    """What a prepared search will take."""
    networks = search.problem.space.count_networks()
    asked = replace(search.searching, trials=min(search.searching.trials, networks))
    times = timetable(asked, search.plan, spent_s=search.folder.prepared_s)
    trials = round(times.search_s * asked.workers / max(search.plan.trial_s, 1e-9))
    trials = min(trials, asked.trials or trials, networks)
    return Forecast(
        networks=networks,
        plan=search.plan,
        times=times,
        trials=trials,
        short_epochs=asked.proxy_epochs,
        workers=asked.workers,
        costs=_costs(search),
        latency_is_measured=asked.latency == "measured",
        missed=tuple(_missed(search.problem, search.plan.input_size)),
        above_target=asked.reward_function.explain_above(),
        target=_target(search.problem),
        judged_px=(asked.proxy_input_size,) if asked.proxy_input_size else search.problem.space.input_sizes,
    )


def _missed(problem: SearchProblem, input_size: int) -> Iterator[Missed]:
    """What the smallest network misses; nothing where its costs cannot be told, as the trials will say."""
    bounds = {name: (limit, True) for name, limit in problem.limits.items()}
    if problem.reward is not None and not problem.reward.ignores_target:
        bounds.setdefault(problem.reward_cost, (problem.reward.target, False))
    smallest, _ = cheapest_and_dearest(problem.space, input_size)
    with contextlib.suppress(LatencyError):
        for name, (bound, is_limit) in bounds.items():
            cost = float(problem.meters[name].measure(smallest))
            if cost > bound:
                yield Missed(name, cost, bound, is_limit)


def _target(problem: SearchProblem) -> tuple[str, float] | None:
    """The cost that is aimed at, and the aim; None where there is none, or where one too large says something too."""
    reward = problem.reward
    if reward is None or reward.ignores_target or reward.form == "absolute":
        return None
    return problem.reward_cost, reward.target


def _costs(search: OpenSearch) -> dict[str, tuple[float, float]]:
    """Latency and what the target is about, of the smallest and the largest network; nothing that cannot be told."""
    small, large = cheapest_and_dearest(search.problem.space, search.plan.input_size)
    found = {}
    for name in dict.fromkeys((LATENCY, search.searching.reward_cost)):
        meter = search.problem.meters.get(name)
        with contextlib.suppress(LatencyError):  # the trials say so
            if meter is not None:
                found[name] = (float(meter.measure(small)), float(meter.measure(large)))
    return found


def _range(ends: Iterable[float]) -> str:
    return _span(digits(end) for end in ends)


def _span(ends: Iterable[str]) -> str:
    """Such as "12 to 33"; a single number where both ends read the same."""
    return " to ".join(dict.fromkeys(ends))


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 9.95 else f"{seconds:.1f}" if seconds >= 0.05 else "<0.1"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 600 else f"{seconds / 60:.1f} min"
