"""What is made of a :class:`Searching` once data and machine are known: sizes, shares, how long things take."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any, Literal

from mnasnet.data.split import Split
from mnasnet.network.count import count
from mnasnet.search.images import SearchImages
from mnasnet.search.problem import SearchProblem
from mnasnet.search.records import TrialRecord
from mnasnet.search.searching import Searching
from mnasnet.search.short_training import OVERHEAD_S, VALIDATION_COST, ShortTraining
from mnasnet.space import Candidate, SearchSpace
from mnasnet.train.recipe import batch_size_for

WANTED_TRIALS = 40  # the share of the images is chosen so that so many fit
FEWEST_PER_CLASS = 40  # of a class in a short training, where the share is ours: of fewer a network learns too little
SHARES = 100  # shares of the training images that are considered
DRAWS = 200  # random networks among which the cheapest and the dearest are timed
READ_IMAGES = 100  # whose reading is timed
LOOKING = 2  # times the reading of images that looking for faulty ones takes, reading included


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """Decided at the start of a search; a resumed one uses it as it stands.

    ``small_s`` and ``large_s`` are the seconds of a trial of a small and a large network as timed at the start,
    ``epoch_s`` those of an epoch of a full training of a middling one on all images, ``read_s`` those of reading all
    images before it. ``teacher`` is the model whose answers longer trainings learn, which take ``teacher_s`` of an
    epoch. ``measure_s`` of a trial's seconds measure its latency and energy, 0 where nothing is measured. The
    ``shared`` numbers are those of shared weights: epochs, seconds of one, and of judging a network.
    """

    class_names: tuple[str, ...]
    short_side: int
    input_size: int
    proxy_share: float
    threads: int
    device: str
    study: str
    small_s: float
    large_s: float
    epoch_s: float
    version: str
    evaluator: Literal["short", "shared"] = "short"
    shared_epochs: int = 0
    shared_epoch_s: float = 0.0
    shared_trial_s: float = 0.0
    read_s: float = 0.0
    measure_s: float = 0.0
    teacher: str = ""
    teacher_s: float = 0.0

    @property
    def short_trial_s(self) -> float:
        """The seconds of a trial of a middling network with a short training."""
        return (self.small_s + self.large_s) / 2

    @property
    def trial_s(self) -> float:
        """The seconds of a trial of a middling network."""
        return self.shared_trial_s if self.evaluator == "shared" else self.short_trial_s

    @property
    def supernet_s(self) -> float:
        """The seconds of the training of shared weights; 0 where each network is trained."""
        return self.shared_epochs * self.shared_epoch_s if self.evaluator == "shared" else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML."""
        return {**asdict(self), "class_names": list(self.class_names)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SearchPlan:
        """The inverse of :meth:`to_dict`; raises KeyError when fields are missing."""
        needed = {field.name: values[field.name] for field in fields(cls) if field.default is MISSING}
        known = needed | {field.name: values[field.name] for field in fields(cls) if field.name in values}
        return cls(**{**known, "class_names": tuple(known["class_names"])})


def typical_candidates(
    space: SearchSpace, problem: SearchProblem, *, input_size: int, seed: int = 0
) -> tuple[Candidate, Candidate]:
    """The cheapest and the dearest, in multiply-adds, of some random networks that are not known to break a limit."""
    rng = random.Random(seed)
    drawn = [space.random(rng) for _ in range(DRAWS)]

    def multiply_adds(candidate: Candidate) -> int:
        return count(candidate.architecture, candidate.input_size or input_size).multiply_adds

    def may_be_trained(candidate: Candidate) -> bool:
        return all(excess <= 0 for excess in problem.excess(problem.estimated(candidate)).values())

    drawn.sort(key=multiply_adds)
    allowed = [candidate for candidate in drawn if may_be_trained(candidate)] or drawn[:1]
    return allowed[0], allowed[-1]


@dataclass(frozen=True, slots=True)
class Speeds:
    """Seconds of one training image in a short training, of a small and a large network, and in a full training.

    They are those of batches as for all training images, of which there are ``images``. With fewer images batches are
    smaller, and a step takes ``step_s`` however few images are in it.
    """

    small_s: float
    large_s: float
    full_s: float
    images: int
    step_s: float = 0.0

    def more_s(self, images: float) -> float:
        """How much longer one image takes in a training on so many."""
        return self.step_s * (1 / batch_size_for(round(images)) - 1 / batch_size_for(self.images))


def timed(evaluator: ShortTraining, small: Candidate, large: Candidate) -> Speeds:
    """Train both networks for a few steps on noise, with the batches of all training images and of the fewest."""
    parts = evaluator.images.parts
    images, few = len(parts.train), min(len(parts.train), FEWEST_PER_CLASS * len(parts.class_names))

    def middling(count: int) -> tuple[float, float, float]:
        seconds = [
            evaluator.seconds_per_image(candidate, evaluator.size_of(candidate), images=count)
            for candidate in (small, large)
        ]
        return seconds[0], seconds[1], sum(seconds) / 2

    small_s, large_s, middling_s = middling(images)
    full_px = large.input_size or evaluator.input_size
    scale = (full_px / evaluator.size_of(large)) ** 2  # time goes with the number of pixels
    batches = batch_size_for(few), batch_size_for(images)
    step_s = 0.0
    if batches[0] < batches[1]:
        step_s = max(0.0, middling(few)[2] - middling_s) / (1 / batches[0] - 1 / batches[1])
    return Speeds(small_s, large_s, scale * middling_s, images, step_s)


def chosen_share(searching: Searching, parts: Split, speeds: Speeds, *, measure_s: float = 0.0) -> float:
    """The share of the training images of a short training: the user's, else what lets enough networks be tried.

    Of shares that take equally long the largest is taken: with few images a training takes hardly less time.
    """
    if searching.proxy_share:
        return searching.proxy_share
    if not searching.minutes:
        return 1.0
    wanted = searching.trials or WANTED_TRIALS
    per_trial_s = 60 * searching.minutes * 0.6 * searching.workers / wanted
    fewest = min(1.0, FEWEST_PER_CLASS * len(parts.class_names) / len(parts.train))
    shares = [max(fewest, step / SHARES) for step in range(SHARES, 0, -1)]
    seconds = [sum(_trial_s(searching, parts, speeds, share, measure_s)) / 2 for share in shares]
    fitting = next((share for share, each_s in zip(shares, seconds, strict=True) if each_s <= per_trial_s), None)
    return round(fitting or shares[seconds.index(min(seconds))], 3)


def _trial_s(searching: Searching, parts: Split, speeds: Speeds, share: float, measure_s: float) -> tuple[float, float]:
    """The seconds of a trial of a small and a large network with a short training."""
    train, val = share * len(parts.train), VALIDATION_COST * len(parts.val)
    more_s = speeds.more_s(train)
    small, large = (each_s * (train + val) + more_s * train for each_s in (speeds.small_s, speeds.large_s))
    besides_s = OVERHEAD_S + measure_s
    return besides_s + searching.proxy_epochs * small, besides_s + searching.proxy_epochs * large


def with_speeds(plan: SearchPlan, searching: Searching, parts: Split, speeds: Speeds) -> SearchPlan:
    """``plan`` with the seconds of trials and epochs that follow from the speeds."""
    small_s, large_s = _trial_s(searching, parts, speeds, plan.proxy_share, plan.measure_s)
    return replace(
        plan,
        small_s=round(small_s, 2),
        large_s=round(large_s, 2),
        epoch_s=round(plan.teacher_s + speeds.full_s * (len(parts.train) + VALIDATION_COST * len(parts.val)), 3),
    )


def seconds_to_read(images: SearchImages) -> float:
    """How long reading all images before a longer training takes, by reading some of them."""
    samples = images.parts.samples
    chosen = samples[:: max(1, len(samples) // READ_IMAGES)]
    began = time.perf_counter()
    images.read(chosen)
    return LOOKING * (time.perf_counter() - began) * len(samples) / len(chosen)


def epoch_s_of(trial: TrialRecord, plan: SearchPlan) -> float:
    """The seconds of an epoch of a trial's network on all images: its short training against a middling one's."""
    took_s = trial.judged_s or trial.seconds  # trials of earlier versions tell the whole alone
    foreseen_s = plan.short_trial_s - plan.measure_s
    if plan.evaluator == "shared" or min(took_s, foreseen_s) <= OVERHEAD_S:
        return plan.epoch_s
    own_s = (plan.epoch_s - plan.teacher_s) * (took_s - OVERHEAD_S) / (foreseen_s - OVERHEAD_S)
    return plan.teacher_s + own_s
