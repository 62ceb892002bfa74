"""What a study says of its trials, and what follows from them: the winner and the Pareto set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import optuna
from optuna.trial import FrozenTrial, TrialState

from mnasnet.errors import SearchError
from mnasnet.search.extrapolation import Extrapolation
from mnasnet.search.history import FINISHED, outcome_of
from mnasnet.search.pareto import pareto_front
from mnasnet.search.problem import SearchProblem
from mnasnet.space import Option

State = Literal["running", "done", "failed", "pruned", "infeasible", "unmeasured"]


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial as the search tells it: what was tried, what it costs, how good it is, or why there is no answer.

    ``values`` are the study's: the reward, or accuracy and the objectives. ``accuracy`` lies in 0 to 1.
    ``duplicate_of`` is the trial that was evaluated in place of this one. Of its ``seconds`` judging the
    accuracy took ``judged_s``. ``so_far`` is what the study was told after each step of the training.
    ``trials.csv`` has neither of the two.
    """

    number: int
    state: State
    params: Mapping[str, Option]
    fingerprint: str = ""
    costs: Mapping[str, float] = field(default_factory=dict)
    accuracy: float | None = None
    values: tuple[float, ...] = ()
    reason: str = ""
    seconds: float = 0.0
    judged_s: float = 0.0
    duplicate_of: int | None = None
    so_far: Mapping[int, float] = field(default_factory=dict)

    @property
    def is_result(self) -> bool:
        """Whether the trial has an accuracy of its own and keeps the limits."""
        return self.state == "done" and self.duplicate_of is None

    @property
    def was_judged(self) -> bool:
        """Whether its accuracy was judged, or an attempt was made; what is no network of the space never is."""
        return self.state in ("done", "pruned", "failed") and self.duplicate_of is None and bool(self.fingerprint)


def records(study: optuna.Study) -> list[TrialRecord]:
    """All trials of the study, in their order."""
    return [record_of(trial) for trial in study.get_trials(deepcopy=False)]


def record_of(trial: FrozenTrial) -> TrialRecord:
    """The trial of a study as a record."""
    outcome = outcome_of(trial)
    state: State = outcome.get("state", "running") if trial.state.is_finished() else "running"
    reason = outcome.get("reason", "")
    if not outcome and trial.state in FINISHED:
        state, reason = "unmeasured", "told by somebody else: its costs and accuracy are not known here"
    if trial.state == TrialState.FAIL and state in ("running", "done", "infeasible"):
        state, reason = "failed", "the process that worked on it has ended"
    return TrialRecord(
        number=trial.number,
        state=state,
        params=dict(trial.params),
        fingerprint=outcome.get("fingerprint", ""),
        costs=outcome.get("costs", {}),
        accuracy=outcome.get("accuracy"),
        values=tuple(trial.values or ()),
        reason=reason,
        seconds=outcome.get("seconds", 0.0),
        judged_s=outcome.get("judged_s", 0.0),
        duplicate_of=outcome.get("duplicate_of"),
        so_far=dict(trial.intermediate_values),
    )


def winner(study: optuna.Study, problem: SearchProblem) -> TrialRecord:
    """The best network found: of highest reward, or of highest accuracy when the search was for a Pareto set.

    Of equal ones the cheapest, which no other beats, and of those the first.
    Raises SearchError when no trial was finished: with the nearest network if the limits were never met.
    """
    finished = records(study)
    done = [record for record in finished if record.is_result]
    if done:
        names = problem.objectives or ((problem.reward_cost,) if problem.reward else ())
        return max(done, key=lambda record: (*merit(record.values[0], record.costs, names), -record.number))
    raise SearchError(nothing_found(finished, problem))


def nothing_found(finished: Sequence[TrialRecord], problem: SearchProblem) -> str:
    """Why none of these trials is a result, with the nearest network if the limits were never met."""
    infeasible = [record for record in finished if record.state == "infeasible"]
    if infeasible:
        nearest = min(infeasible, key=lambda record: problem.total_excess(record.costs))
        return (
            f"no network met the limits; the nearest is trial {nearest.number} with {nearest.reason}; "
            "raise the limit or take a space with smaller networks"
        )
    reasons = [record.reason for record in finished if record.reason]
    return (
        f"all {len(finished)} trials failed; the last reason: {reasons[-1]}; fix that and search again"
        if reasons
        else "no trial was finished; give the search more trials or minutes"
    )


def extrapolated_accuracies(found: Sequence[TrialRecord], problem: SearchProblem) -> dict[int, float]:
    """By trial, the accuracy that trainings which the pruner ended were heading for, where enough others tell."""
    extrapolation = Extrapolation()
    for record in found:
        if record.is_result and record.accuracy is not None:
            extrapolation.learn(_accuracies(record, problem), record.accuracy)
    ended = [record for record in found if record.state == "pruned" and record.was_judged]
    expected = {record.number: extrapolation.of(_accuracies(record, problem)) for record in ended}
    return {number: min(1.0, max(0.0, value)) for number, value in expected.items() if value is not None}


def _accuracies(record: TrialRecord, problem: SearchProblem) -> dict[int, float]:
    """The accuracy after each step, as far as what the study was told gives it."""
    told = {step: problem.accuracy_of(value, record.costs) for step, value in record.so_far.items()}
    return {step: accuracy for step, accuracy in told.items() if accuracy is not None}


def merit(reward: float, costs: Mapping[str, float], names: Sequence[str]) -> tuple[float, ...]:
    """Higher for a higher reward, and of equal ones for less of the costs called ``names``, the first before others."""
    return reward, *(-costs.get(name, 0.0) for name in names)


def pareto_set(found: Sequence[TrialRecord], costs: Sequence[str]) -> list[TrialRecord]:
    """The finished networks that no other beats in accuracy and all ``costs``, by rising first cost."""
    done = [record for record in found if record.is_result]
    points = [(record.accuracy or 0.0, *(-record.costs[name] for name in costs)) for record in done]
    front = [done[place] for place in sorted(pareto_front(points), key=points.__getitem__, reverse=True)]
    return sorted(front, key=lambda record: record.costs[costs[0]]) if costs else front
