"""A study as a sampler may see it: the best and the latest of its trials, however many there are."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Container
from typing import Any, cast

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from mnasnet.search.history import excess_of
from mnasnet.search.pareto import pareto_front

BEST = 25  # as many as Optuna's TPE of one objective ever calls good
LATEST = 200


def best_and_latest(study: optuna.Study, best: int = BEST, latest: int = LATEST) -> optuna.Study:
    """``study`` reduced to its ``best`` trials, or Pareto set, and its ``latest``; the same study while it is short.

    What is written to it is written to ``study``. For samplers whose time for a proposal grows with every trial.
    """
    trials = study.get_trials(deepcopy=False)
    if len(trials) <= best + latest:
        return study
    numbers = {trial.number for trial in _best_of(study, trials, best) + trials[-latest:]}
    reduced = _Reduced(study._storage, [trial for trial in trials if trial.number in numbers])
    return optuna.load_study(study_name=study.study_name, storage=cast(BaseStorage, reduced))


class _Reduced:
    """A ``storage`` that tells of ``trials`` alone."""

    def __init__(self, storage: BaseStorage, trials: list[FrozenTrial]) -> None:
        self._storage = storage
        self._trials = trials

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials kept, in the order of their numbers."""
        trials = [trial for trial in self._trials if states is None or trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


def _best_of(study: optuna.Study, trials: list[FrozenTrial], count: int) -> list[FrozenTrial]:
    """The ``count`` best finished trials within the limits, the earlier of equal ones; or the whole Pareto set."""
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if len(study.directions) > 1:  # Optuna's best_trials copies the whole study
        within = [trial for trial in finished if not excess_of(trial)]
        signs = [1.0 if direction == StudyDirection.MAXIMIZE else -1.0 for direction in study.directions]
        points = [[sign * value for sign, value in zip(signs, trial.values, strict=True)] for trial in within]
        return [within[place] for place in pareto_front(points)]
    finished.sort(key=lambda trial: cast(float, trial.value), reverse=study.direction == StudyDirection.MAXIMIZE)
    return list(itertools.islice((trial for trial in finished if not excess_of(trial)), count))
