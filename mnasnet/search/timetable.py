"""How the minutes of a search are spent: what is foreseen at the start, and what still fits after each stage."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mnasnet.errors import SettingsError
from mnasnet.search.plan import SearchPlan
from mnasnet.search.references import REFERENCES
from mnasnet.search.searching import Searching
from mnasnet.search.short_training import OVERHEAD_S
from mnasnet.words import amount

LEAST_TRIALS = 10  # no choice at all among fewer

LONGER = 4  # times the epochs of a trial for a finalist where minutes do not decide
FULL = 10  # and for the winner
LEAST_FINALIST = 2  # times the images of a trial for a finalist, at least
LEAST_FULL = 2  # times the epochs of a trial for the winner, at least
MOST = 4  # times LONGER or FULL, at most, where there is time to spare

LATER_SHARE = 0.35  # of the minutes for what comes after the trials; published networks get no more
FINALISTS_SHARE = 3 / 7  # of that for the finalists, where no published networks are trained
COMPARED_FINALISTS_SHARE = 3 / 11

MARGIN = 0.95  # of the time left is given away, after the trials: epochs are not all alike
SETTING_UP_S = 6.0  # of a longer training besides reading and epochs: latency, checkpoints, pictures
SCALING_S = 10.0  # to find the width of a published network
ANSWER_S = 6.0  # tables, pictures, page


@dataclass(frozen=True, slots=True)
class Timetable:
    """The seconds foreseen for each stage, and the finalists and epochs that fit into them.

    ``search_s`` is what the trials are likely to take, ``search_limit_s`` what they may; nothing where only what comes
    after them is planned. ``compared`` says whether the published networks are trained too.
    """

    finalists: int
    finalist_epochs: int
    final_epochs: int
    compared: bool
    supernet_s: float
    finalists_s: float
    final_s: float
    references_s: float
    search_s: float = 0.0
    search_limit_s: float = 0.0
    ranking_s: float = 0.0

    @property
    def after_search_s(self) -> float:
        """What comes after the trials."""
        return self.finalists_s + self.final_s + self.references_s + self.ranking_s

    @property
    def total_s(self) -> float:
        """Everything together."""
        return self.supernet_s + self.search_s + self.after_search_s

    def share_before(self, stage: str) -> float:
        """The share of everything that lies before ``stage``, 0 to 1."""
        stages = self.seconds()
        names = list(stages)
        before = names[: names.index(stage)] if stage in names else names
        return sum(stages[name] for name in before) / max(self.total_s, 1e-9)

    def seconds(self) -> dict[str, float]:
        """The seconds of each stage, in their order."""
        return {
            "forecast": 0.0,
            "supernet": self.supernet_s,
            "searching": self.search_s,
            "finalists": self.finalists_s,
            "training": self.final_s,
            "references": self.references_s,
            "ranking": self.ranking_s,
        }


def timetable(searching: Searching, plan: SearchPlan, *, spent_s: float = 0.0) -> Timetable:
    """How the time is spent, ``spent_s`` of it being gone already.

    Epochs that the user set are kept. What does not fit is left out, the comparison with published networks first,
    then finalists.
    """
    ranking_s = _ranking_s(searching, plan)
    by_trials_s = searching.trials * plan.trial_s / searching.workers if searching.trials else math.inf
    if not searching.minutes:
        later = _in_full(searching, plan)
        return replace(later, search_s=by_trials_s, search_limit_s=math.inf, ranking_s=ranking_s)
    left_s = 60 * searching.minutes - spent_s - ranking_s - ANSWER_S - plan.supernet_s
    for finalists, compared in _courses(searching):
        most_s = left_s - min(LEAST_TRIALS * plan.trial_s / searching.workers, by_trials_s)
        if compared:
            most_s = min(most_s, LATER_SHARE * left_s)
        least_s = _least(searching, plan, finalists, compared).after_search_s
        if least_s <= most_s:
            room_s = min(most_s, max(least_s, LATER_SHARE * left_s))
            later = _divided(searching, plan, room_s, finalists, compared)
            limit_s = left_s - later.after_search_s  # what the later stages do not need is searched with
            return replace(later, search_s=min(limit_s, by_trials_s), search_limit_s=limit_s, ranking_s=ranking_s)
    later = _least(searching, plan, 0, False)
    limit_s = max(0.0, left_s - later.after_search_s)
    return replace(later, search_s=min(limit_s, by_trials_s), search_limit_s=limit_s, ranking_s=ranking_s)


def require_time(searching: Searching, plan: SearchPlan, *, spent_s: float = 0.0, extends: bool = False) -> None:
    """Raise SettingsError when the minutes do not hold even the least: some networks and a short full training.

    A search that ``extends`` an earlier one needs one network more, and its settings are what they are.
    """
    if not searching.minutes:
        return
    few = 1 if extends else LEAST_TRIALS
    trials = min(few, searching.trials or few)
    least, ranking_s = _least(searching, plan, 0, False), _ranking_s(searching, plan)
    search_s = trials * plan.trial_s / searching.workers
    needed_s = spent_s + plan.supernet_s + search_s + least.after_search_s + ranking_s + ANSWER_S
    if needed_s <= 60 * searching.minutes:
        return
    stages = [f"preparing {spent_s:.0f} s"] if spent_s else []
    if plan.supernet_s:
        stages.append(f"{amount(plan.shared_epochs, 'epoch')} of shared weights {plan.supernet_s:.0f} s")
    stages += [
        f"{amount(trials, 'network')} {search_s:.0f} s",
        f"{amount(least.final_epochs, 'epoch')} of the winner {least.final_s:.0f} s",
    ]
    stages += [f"check_ranking {ranking_s:.0f} s"] if ranking_s else []
    instead = "" if extends else ", or less work by input_size, proxy_epochs or final_epochs"
    if plan.teacher_s and not extends:
        instead += (
            f"; of the winner's training the teacher takes {plan.teacher_s / plan.epoch_s:.0%}, a smaller one less"
        )
    raise SettingsError(
        f"minutes must be at least {math.ceil(needed_s / 6) / 10:g} for these images on this machine "
        f"({', '.join(stages)}), got {searching.minutes:g}; give more minutes{instead}"
    )


def after_trials(searching: Searching, plan: SearchPlan, left_s: float, epoch_s: float) -> Timetable:
    """What is done in the ``left_s`` seconds after the trials when an epoch takes ``epoch_s``: never more than fits.

    Epochs that the user set are kept, whatever they take.
    """
    plan = replace(plan, epoch_s=epoch_s)
    room_s = MARGIN * left_s
    for finalists, compared in _courses(searching):
        if _least(searching, plan, finalists, compared).after_search_s <= room_s:
            return _divided(searching, plan, room_s, finalists, compared)
    return _later(plan, 0, 1, searching.final_epochs or max(1, _fitting(plan, room_s)), False)


def holds_another_finalist(searching: Searching, plan: SearchPlan, left_s: float, epoch_s: float, epochs: int) -> bool:
    """Whether ``left_s`` hold one more finalist and the least training of the winner, at the speed seen by now."""
    plan = replace(plan, epoch_s=epoch_s)
    return training_s(plan, epochs) + _least(searching, plan, 0, False).final_s <= left_s


def compared_networks(plan: SearchPlan) -> int:
    """How many networks are trained for the comparison: the published ones and, where the winner started from shared
    weights, its own design from fresh ones like theirs."""
    return len(REFERENCES) + (plan.evaluator == "shared")


def training_s(plan: SearchPlan, epochs: int) -> float:
    """The seconds of a longer training."""
    return _setup_s(plan) + epochs * plan.epoch_s


def _setup_s(plan: SearchPlan) -> float:
    return SETTING_UP_S + plan.read_s


def _ranking_s(searching: Searching, plan: SearchPlan) -> float:
    """Of networks trained alone on the images of the shared weights, after these."""
    epoch_s = (searching.proxy_share or 1.0) * (plan.epoch_s - plan.teacher_s)
    return searching.check_ranking * (OVERHEAD_S + searching.proxy_epochs * epoch_s)


def _courses(searching: Searching) -> Iterator[tuple[int, bool]]:
    """Numbers of finalists, and whether published networks are trained too: the best answer first."""
    most = min(searching.finalists, searching.trials or searching.finalists)  # each was a trial
    most = most if most > 1 else 0
    if searching.references:
        yield most, True
    yield from ((count, False) for count in range(most, 1, -1))
    yield 0, False


def _in_full(searching: Searching, plan: SearchPlan) -> Timetable:
    finalists, compared = next(_courses(searching))
    return _later(
        plan,
        finalists,
        searching.finalist_epochs or LONGER * searching.proxy_epochs,
        searching.final_epochs or FULL * searching.proxy_epochs,
        compared,
    )


def _least(searching: Searching, plan: SearchPlan, finalists: int, compared: bool) -> Timetable:
    least_full = LONGER if compared else LEAST_FULL  # a comparison of what has hardly begun to learn tells nothing
    return _later(
        plan,
        finalists,
        searching.finalist_epochs or _least_finalist_epochs(searching, plan),
        searching.final_epochs or least_full * searching.proxy_epochs,
        compared,
    )


def _least_finalist_epochs(searching: Searching, plan: SearchPlan) -> int:
    """Epochs on all images that are longer than a trial; what goes on from shared weights is so after any number."""
    times = 1.0 if plan.evaluator == "shared" else max(1.0, LEAST_FINALIST * plan.proxy_share)
    return math.ceil(times * searching.proxy_epochs)


def _divided(searching: Searching, plan: SearchPlan, room_s: float, finalists: int, compared: bool) -> Timetable:
    """``room_s``, which holds the least, divided between finalists and full trainings."""
    least = _least(searching, plan, finalists, compared)
    finalist_epochs, final_epochs = least.finalist_epochs, least.final_epochs
    if finalists and not searching.finalist_epochs:
        share = COMPARED_FINALISTS_SHARE if compared else FINALISTS_SHARE
        part_s = min(share * room_s, room_s - least.final_s - least.references_s)
        fitting = _fitting(plan, part_s / finalists)
        finalist_epochs = min(MOST * LONGER * searching.proxy_epochs, max(finalist_epochs, fitting))
    if not searching.final_epochs:
        trained = 1 + (compared_networks(plan) if compared else 0)
        part_s = room_s - finalists * training_s(plan, finalist_epochs) - (trained - 1) * SCALING_S
        final_epochs = min(MOST * FULL * searching.proxy_epochs, max(final_epochs, _fitting(plan, part_s / trained)))
    return _later(plan, finalists, finalist_epochs, final_epochs, compared)


def _fitting(plan: SearchPlan, seconds: float) -> int:
    """The epochs of a longer training that fit into ``seconds``."""
    return math.floor((seconds - _setup_s(plan)) / max(plan.epoch_s, 1e-9))


def _later(plan: SearchPlan, finalists: int, finalist_epochs: int, final_epochs: int, compared: bool) -> Timetable:
    final_s = training_s(plan, final_epochs)
    return Timetable(
        finalists=finalists,
        finalist_epochs=finalist_epochs,
        final_epochs=final_epochs,
        compared=compared,
        supernet_s=plan.supernet_s,
        finalists_s=finalists * training_s(plan, finalist_epochs),
        final_s=final_s,
        references_s=compared_networks(plan) * (final_s + SCALING_S) if compared else 0.0,
    )
