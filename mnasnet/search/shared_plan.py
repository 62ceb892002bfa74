"""How long shared weights are trained, what that and judging by them takes here, and whether a search takes them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mnasnet.search.curriculum import Curriculum, Rule, extreme, mixes_operators
from mnasnet.search.plan import SearchPlan, Speeds
from mnasnet.search.searching import Searching
from mnasnet.search.short_training import OVERHEAD_S, VALIDATION_COST, ShortTraining
from mnasnet.search.supernet import CALIBRATION_IMAGES, SMALLEST_BATCH, WATCHED_IMAGES
from mnasnet.search.timetable import timetable
from mnasnet.space import SearchSpace

SHARE = 0.7  # of the time for searching that the training of shared weights takes; the rest judges
# An epoch of sandwiches takes about as long as two of single networks.
DEFAULT_EPOCHS: dict[Rule, int] = {"single": 50, "sandwich": 25}  # where no minutes decide
MOST_EPOCHS: dict[Rule, int] = {"single": 100, "sandwich": 50}
FEWEST_EPOCHS: dict[Rule, int] = {"single": 20, "sandwich": 10}  # fewer: most options of a choice have hardly learned

# With fewer images a short training takes seconds, so that trainings fit into an hour by the hundred, and an epoch of
# shared weights has some 30 steps or less, to be divided among all networks.
FEWEST_FOR_SHARED = 1000


@dataclass(frozen=True, slots=True)
class SharedTimes:
    """Seconds of an epoch of shared weights, and of a trial of a middling network by them."""

    epoch_s: float
    trial_s: float


def curriculum_of(searching: Searching) -> Curriculum:
    """How the search trains shared weights."""
    return Curriculum(searching.shared_rule, shrinking=searching.shrinking)


def shared_times(
    training: ShortTraining, space: SearchSpace, curriculum: Curriculum, speeds: Speeds, *, measure_s: float = 0.0
) -> SharedTimes:
    """Time the largest and the smallest network on noise and foresee an epoch and a trial, ``measure_s`` included.

    ``speeds`` are those of small and large networks among random ones, whose mean stands for all others. Shared
    weights learn in small batches, where an image takes longer; so they are timed, at the risk of foreseeing too much.
    """
    parts = training.images.parts
    learned = round(training.images.share * len(parts.train))
    few = min(learned, 16 * SMALLEST_BATCH)  # so many images get the smallest batches
    largest_s, smallest_s = (
        training.seconds_per_image(candidate, training.size_of(candidate), images=few)
        for candidate in (extreme(space, "largest"), extreme(space, "smallest"))
    )
    calibration = min(CALIBRATION_IMAGES, learned)
    watched = calibration + min(WATCHED_IMAGES, len(parts.val))
    step_s = curriculum.seconds_per_image(largest=largest_s, smallest=smallest_s, middling=(smallest_s + largest_s) / 2)
    judging_s = VALIDATION_COST * (speeds.small_s + speeds.large_s) / 2
    return SharedTimes(
        epoch_s=step_s * learned + VALIDATION_COST * largest_s * watched,
        trial_s=OVERHEAD_S + measure_s + judging_s * (calibration + len(parts.val)),
    )


def with_shared(
    plan: SearchPlan, searching: Searching, space: SearchSpace, times: SharedTimes, *, images: int, spent_s: float = 0.0
) -> SearchPlan:
    """``plan`` with the evaluator chosen, and the epochs of shared weights that fit into the minutes.

    ``auto`` takes shared weights from 1,000 training images on, where there is time for the fewest epochs and the
    space does not mix operators, which they learn too slowly. ``spent_s`` seconds of the minutes are gone already.
    """
    plan = replace(plan, shared_trial_s=round(times.trial_s, 3), shared_epoch_s=round(times.epoch_s, 3))
    rule = searching.shared_rule
    fitting = DEFAULT_EPOCHS[rule]
    if searching.minutes:
        judging = replace(plan, evaluator="shared") if searching.evaluator == "shared" else plan
        limit_s = timetable(searching, judging, spent_s=spent_s).search_limit_s
        fitting = int(SHARE * limit_s / max(times.epoch_s, 1e-9))
    has_time = (searching.shared_epochs or fitting) >= FEWEST_EPOCHS[rule]
    pays = images >= FEWEST_FOR_SHARED and has_time and not mixes_operators(space)
    is_shared = searching.evaluator == "shared" or (
        searching.evaluator == "auto" and (pays or searching.check_ranking > 0)
    )
    return replace(
        plan,
        evaluator="shared" if is_shared else "short",
        proxy_share=(searching.proxy_share or 1.0) if is_shared else plan.proxy_share,
        shared_epochs=searching.shared_epochs or max(1, min(MOST_EPOCHS[rule], fitting)),
    )
