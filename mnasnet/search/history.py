"""The finished trials of a study, in the order in which they finished: all that a sampler may learn from."""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from mnasnet.search.categorical import Categories, indices_of

OUTCOME = "outcome"  # the one user attribute of a trial: state, costs, accuracy and what else the search knows

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)

_Key = tuple[int, datetime.datetime | None]


@dataclass
class History:
    """The finished trials seen so far. What is folded over them is a pure function of the storage.

    Trials come in order of completion, so a fold that has been carried along equals one made anew from the
    storage, also with parallel workers whose trials finish out of order.
    """

    trials: list[FrozenTrial] = field(default_factory=list)
    _known: set[_Key] = field(default_factory=set, repr=False)
    _failed: dict[int, tuple[int, ...] | None] = field(default_factory=dict, repr=False)  # points by trial
    _failed_of: Categories = field(default_factory=dict, repr=False)

    def update(self, study: optuna.Study) -> tuple[list[FrozenTrial], bool]:
        """The trials finished since the last call, and whether the fold must start anew.

        A new start happens when the study is another one or a trial of an earlier time turned up.
        """
        finished = study.get_trials(deepcopy=False, states=FINISHED)
        lacking = len(finished) - len(self.trials)
        unknown = (trial for trial in reversed(finished) if _key(trial) not in self._known)  # the latest are last
        new = sorted(itertools.islice(unknown, max(0, lacking)), key=_completion)
        same = (
            len(new) == lacking
            and (not self.trials or _key(finished[0]) in self._known)
            and not (new and self.trials and _completion(new[0]) < _completion(self.trials[-1]))
        )
        if not same:
            new = self.trials = sorted(finished, key=_completion)
            self._known = set(map(_key, new))
            self._failed.clear()
            return list(new), True
        self.trials += new
        self._known.update(map(_key, new))
        return new, False

    def unavailable(self, study: optuna.Study, categories: Categories) -> set[tuple[int, ...]]:
        """The points in work now, and those that failed or could not be measured.

        No sampler proposes those again by itself; a failed one comes back where somebody enqueues it, as a retry does.
        """
        if self._failed_of != categories:
            self._failed, self._failed_of = {}, dict(categories)
        running = []
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.FAIL)):
            if trial.state == TrialState.RUNNING:
                running.append(indices_of(trial, categories))
            elif trial._trial_id not in self._failed:
                self._failed[trial._trial_id] = indices_of(trial, categories)
        return {point for point in (*running, *self._failed.values()) if point is not None}


def outcome_of(trial: FrozenTrial) -> Mapping[str, Any]:
    """What our search wrote on the trial; empty in a study of somebody else."""
    outcome: Mapping[str, Any] = trial.user_attrs.get(OUTCOME, {})
    return outcome


def is_copy(trial: FrozenTrial) -> bool:
    """Whether the trial repeats an earlier one, which was not evaluated again."""
    return "duplicate_of" in outcome_of(trial)


def excess_of(trial: FrozenTrial) -> float:
    """By how much the trial breaks its constraints, which Optuna's users set too; 0 where it meets them all."""
    return math.fsum(max(0.0, float(value)) for value in trial.constraints.values())


def _key(trial: FrozenTrial) -> _Key:
    """Storages number from 0, so the moment tells trials of several studies apart."""
    return trial._trial_id, trial.datetime_complete


def _completion(trial: FrozenTrial) -> tuple[int, float, int]:
    """By what was known at the end, since clocks are set back; the clock tells apart what ended at once."""
    finished = trial.datetime_complete
    after = int(outcome_of(trial).get("after", 0))  # trials of others, and of older releases, do not have it
    return (after, finished.timestamp() if finished is not None else 0.0, trial.number)
