"""What the processes that share a study tell each other through it: that others have joined, and that it is over."""

from __future__ import annotations

import optuna

_JOINED = "joined"  # how many trials there were when the first other process came
_OVER = "over"


def mark_joined(study: optuna.Study) -> None:
    """Say that other processes work on the study from now on."""
    if joined_at(study) is None:
        study.set_user_attr(_JOINED, 0)  # before counting: of later trials their process says that it is alive
        study.set_user_attr(_JOINED, len(study.get_trials(deepcopy=False)))


def joined_at(study: optuna.Study) -> int | None:
    """The number of trials that are older than the first other process; None where there was none."""
    count: int | None = study.user_attrs.get(_JOINED)
    return count


def set_over(study: optuna.Study, over: bool) -> None:
    """Say that no network is to be judged any more, or that the search goes on."""
    if is_over(study) != over:
        study.set_user_attr(_OVER, over)


def is_over(study: optuna.Study) -> bool:
    """Whether the process that leads the search has ended it."""
    return bool(study.user_attrs.get(_OVER, False))
