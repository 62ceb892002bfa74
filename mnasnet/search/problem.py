"""What is searched: a space, who judges accuracy, who prices networks, what is maximised within which limits."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol

from mnasnet.checks import is_number, plain
from mnasnet.errors import LatencyError, SearchError, SettingsError
from mnasnet.reward import Reward
from mnasnet.space import Candidate, SearchSpace
from mnasnet.words import kind_and_line

Direction = Literal["maximize", "minimize"]
Report = Callable[[int, float], None]


class Evaluator(Protocol):
    """Anything that can say how accurate a network becomes; short training is one."""

    def evaluate(self, candidate: Candidate, report: Report) -> float:
        """The accuracy in 0 to 1. ``report(step, accuracy so far)`` may end a hopeless one by raising."""
        ...


class Meter(Protocol):
    """Anything that can say what a network costs, in one unit, more being worse."""

    def measure(self, candidate: Candidate) -> float:
        """The cost, a number above 0; raises LatencyError when it cannot be measured."""
        ...


class RewardError(SearchError):
    """A reward of a user's own that fails, or is no number, for one network."""


@dataclass(frozen=True)
class FunctionEvaluator:
    """Takes any function of a candidate for the evaluator: a benchmark, a table, a remote service."""

    function: Callable[[Candidate], float]

    def evaluate(self, candidate: Candidate, report: Report) -> float:
        """The function's answer; it has no steps to report."""
        return self.function(candidate)


@dataclass(frozen=True)
class FunctionMeter:
    """Takes any function of a candidate for a meter."""

    function: Callable[[Candidate], float]

    def measure(self, candidate: Candidate) -> float:
        """The function's answer."""
        return self.function(candidate)


@dataclass(frozen=True)
class SearchProblem:
    """Maximise the reward (or find the trade-offs) over the networks of ``space`` that meet all ``limits``.

    ``meters`` are the costs by name, for example ``latency_ms``. With ``objectives``, names of costs, the
    search looks for the Pareto set of accuracy against them; else it maximises ``reward`` of accuracy and the
    cost called ``reward_cost``, or plain accuracy without a reward. ``limits`` are upper bounds on costs that
    hold without exception: no evaluation is spent on a network above one.

    ``estimates`` price networks without touching a device, thousands of times: a table of the device, a count
    from the spec, or the meter itself where it is a cheap function. They only steer the proposals; what
    is recorded, compared and limited is measured.
    """

    space: SearchSpace
    evaluator: Evaluator
    meters: Mapping[str, Meter] = field(default_factory=dict)
    reward: Reward | None = None
    reward_cost: str = ""
    objectives: tuple[str, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    estimates: Mapping[str, Meter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.objectives, str):
            object.__setattr__(self, "objectives", (self.objectives,))
        if not callable(getattr(self.evaluator, "evaluate", None)):
            raise SettingsError(
                f"the evaluator must have a method evaluate(candidate, report), got {self.evaluator!r:.80}; wrap a "
                "function in FunctionEvaluator"
            )
        for name, meter in (*self.meters.items(), *self.estimates.items()):
            if not callable(getattr(meter, "measure", None)):
                raise SettingsError(
                    f"the meter of {name} must have a method measure(candidate), got {meter!r:.80}; wrap a function in "
                    "FunctionMeter"
                )
        if not isinstance(self.reward, Reward | None):
            raise SettingsError(f"the reward must be a Reward or a subclass of it, got {self.reward!r:.80}")
        limits: Any = {name: plain(limit) for name, limit in self.limits.items()}
        object.__setattr__(self, "limits", limits)
        if self.reward is not None and self.objectives:
            raise SettingsError("a search has either a reward or objectives for a Pareto set, got both")
        if self.reward is not None and self.reward_cost not in self.meters:
            raise SettingsError(
                f"the reward's cost must be one of the meters {_names(self.meters)}, got {self.reward_cost!r}"
            )
        if len(set(self.objectives)) < len(self.objectives):
            raise SettingsError(f"each objective counts once, got {', '.join(self.objectives)}")
        for kind, names in (("objective", self.objectives), ("limit", self.limits), ("estimate", self.estimates)):
            for name in names:
                if name not in self.meters:
                    raise SettingsError(f"the {kind} {name!r} has no meter; there are {_names(self.meters)}")
        for name, limit in self.limits.items():
            if not (is_number(limit) and limit > 0):
                raise SettingsError(f"the limit on {name} must be a number above 0, got {limit!r}")

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Optuna's directions: the reward, or accuracy up and every objective down."""
        down: tuple[Direction, ...] = ("minimize",)
        return ("maximize", *(down * len(self.objectives)))

    def values(self, accuracy: float, costs: Mapping[str, float]) -> tuple[float, ...]:
        """What is told to the study for a network of this accuracy (0 to 1) and these costs.

        Raises RewardError where a reward of a user's own says nothing.
        """
        if self.objectives:
            return (accuracy, *(costs[name] for name in self.objectives))
        return (accuracy if self.reward is None else _rewarded(self.reward, accuracy, costs[self.reward_cost]),)

    def accuracy_of(self, value: float, costs: Mapping[str, float]) -> float | None:
        """The accuracy that gives this first value with these costs, as our rewards are lines in the accuracy.

        None where the value does not tell: of a reward of a user's own.
        """
        if type(self.reward) not in (Reward, type(None)):
            return None
        none, full = self.values(0.0, costs)[0], self.values(1.0, costs)[0]
        return (value - none) / (full - none) if full > none else None

    def excess(self, costs: Mapping[str, float]) -> dict[str, float]:
        """For each limit how far above it the cost lies, relative to the limit; 0 or less meets it."""
        return {name: costs[name] / limit - 1.0 for name, limit in self.limits.items() if name in costs}

    def total_excess(self, costs: Mapping[str, float]) -> float:
        """The sum of what lies above the limits, each relative to its limit; 0 meets them all."""
        return sum(max(0.0, excess) for excess in self.excess(costs).values())

    def estimated(self, candidate: Candidate) -> dict[str, float]:
        """The estimated costs by name; one that cannot be told, such as that of a piece no table has, is left out."""
        costs = {}
        for name, meter in self.estimates.items():
            with contextlib.suppress(LatencyError):
                costs[name] = priced(name, meter, candidate)
        return costs

    def fingerprint(self) -> dict[str, object]:
        """Plain values that a resumed study must agree with: space, reward, objectives and limits."""
        return {
            "space": self.space.fingerprint,
            "meters": sorted(f"{name}{_settings_of(meter)}" for name, meter in self.meters.items()),
            "reward": None if self.reward is None else [*_settings_of_reward(self.reward), self.reward_cost],
            "objectives": list(self.objectives),
            "limits": dict(sorted(self.limits.items())),
        }


def _settings_of(meter: Meter) -> str:
    """What of a meter changes its costs, where it tells."""
    return str(getattr(meter, "settings", ""))


def _rewarded(reward: Reward, accuracy: float, cost: float) -> float:
    try:
        answer = reward(accuracy, cost)
        value = number_of(answer)
    except Exception as error:
        if type(reward) is Reward:  # ours says what is wrong with the target, which is so for all networks
            raise
        # as with a meter, whatever is wrong costs a trial and not the search
        raise RewardError(f"the reward failed: {kind_and_line(error)}") from error
    if value is None or not math.isfinite(value):
        raise RewardError(
            f"the reward must be a number, it answered {answer!r:.80} to accuracy {accuracy:g} and cost {cost:g}"
        )
    return value


def _settings_of_reward(reward: Reward) -> list[Any]:
    """What rewards must agree in to be compared; of one that a user made also its class, numbers and words."""
    shared: list[Any] = [reward.target, reward.alpha, reward.beta, reward.slope]
    if type(reward) is Reward:
        return [reward.form, *shared]
    names = {*(one.name for one in fields(reward)), *getattr(reward, "__dict__", {})} - {
        one.name for one in fields(Reward)
    }
    own = {name: plain(getattr(reward, name)) for name in sorted(names)}
    told = [f"{name}={value!r}" for name, value in own.items() if isinstance(value, bool | int | float | str)]
    return [reward.form, type(reward).__qualname__, *shared, *told]


def _names(meters: Mapping[str, Meter]) -> str:
    return ", ".join(sorted(meters)) or "none"


def priced(name: str, meter: Meter, candidate: Candidate) -> float:
    """The network's cost; raises LatencyError for a meter that fails or answers with no number above 0."""
    try:
        answer = meter.measure(candidate)
        cost = number_of(answer)
    except LatencyError:
        raise
    except Exception as error:  # as with an evaluator, whatever is wrong costs a trial and not the search
        raise LatencyError(f"the meter of {name} failed: {kind_and_line(error)}") from error
    if cost is None or not (math.isfinite(cost) and cost > 0):
        instead = "; add 1 to a count that may be 0" if cost == 0 else ""
        raise LatencyError(f"{name} must be a number above 0, its meter returned {answer!r:.80}{instead}")
    return cost


def number_of(answer: object) -> float | None:
    """What a user's function answered as a number, NumPy's and torch's scalars too; None for what is none."""
    try:
        return float(answer)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
