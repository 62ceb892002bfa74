"""What is made of a :class:`Searching` once data and machine are known: sizes, shares, how long things take."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any, Literal

from mnasnet.data.split import Split
from mnasnet.errors import SearchError
from mnasnet.network.count import count
from mnasnet.search.evaluator import OVERHEAD_S, VALIDATION_COST, ShortTraining
from mnasnet.search.images import SearchImages
from mnasnet.search.problem import SearchProblem
from mnasnet.search.searching import Searching
from mnasnet.search.study import TrialRecord
from mnasnet.space import Candidate, SearchSpace

WANTED_TRIALS = 40  # below, no algorithm is better than chance; the share of the images is chosen for so many
FEWEST_IMAGES = 40  # of a class in a short training, where the share is ours: of fewer a network learns too little
DRAWS = 200  # random networks among which the cheapest and the dearest are timed
READ_IMAGES = 100  # whose reading is timed
LOOKING = 2  # times the reading of images that looking for faulty ones takes, reading included


@dataclass(frozen=True, slots=True)
class Plan:
    """Decided at the start of a search; a resumed one uses it as it stands.

    ``small_s`` and ``large_s`` are the seconds of a trial of a small and a large network as timed at the start,
    ``epoch_s`` those of an epoch of a full training of a middling one on all images, ``read_s`` those of reading all
    images before it. The ``shared`` numbers are those of shared weights: epochs, seconds of one, and of judging a
    network.
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

    @property
    def short_trial_s(self) -> float:
        """The seconds of a short training of a middling network."""
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
    def from_dict(cls, values: Mapping[str, Any]) -> Plan:
        """The inverse of :meth:`to_dict`; raises SearchError when fields are missing."""
        try:
            needed = {field.name: values[field.name] for field in fields(cls) if field.default is MISSING}
            known = needed | {field.name: values[field.name] for field in fields(cls) if field.name in values}
            return cls(**{**known, "class_names": tuple(known["class_names"])})
        except (KeyError, TypeError) as error:
            raise SearchError(f"the search's args.yaml is not complete ({error}); start a new search") from error


def typical_candidates(
    space: SearchSpace, problem: SearchProblem, *, input_size: int, seed: int = 0
) -> tuple[Candidate, Candidate]:
    """The cheapest and the dearest, in multiply-adds, of some random networks that are not known to break a limit."""
    rng = random.Random(seed)
    drawn = [space.random(rng) for _ in range(DRAWS)]

    def multiply_adds(candidate: Candidate) -> int:
        return count(candidate.architecture, candidate.input_size or input_size).multiply_adds

    def may_be_trained(candidate: Candidate) -> bool:
        costs = {name: float(meter.measure(candidate)) for name, meter in problem.estimates.items()}
        return all(excess <= 0 for excess in problem.excess(costs).values())

    drawn.sort(key=multiply_adds)
    allowed = [candidate for candidate in drawn if may_be_trained(candidate)] or drawn[:1]
    return allowed[0], allowed[-1]


@dataclass(frozen=True, slots=True)
class Speeds:
    """Seconds of one training image in a short training, of a small and a large network, and in a full training."""

    small_s: float
    large_s: float
    full_s: float


def timed(evaluator: ShortTraining, small: Candidate, large: Candidate) -> Speeds:
    """Train both networks for a few steps on noise."""
    images = len(evaluator.images.parts.train)
    seconds = [
        evaluator.seconds_per_image(candidate, evaluator.size_of(candidate), images=images)
        for candidate in (small, large)
    ]
    full_px = large.input_size or evaluator.input_size
    scale = (full_px / evaluator.size_of(large)) ** 2  # time goes with the number of pixels
    return Speeds(seconds[0], seconds[1], scale * (seconds[0] + seconds[1]) / 2)


def chosen_share(searching: Searching, parts: Split, speeds: Speeds) -> float:
    """The share of the training images of a short training: the user's, else what lets enough networks be tried."""
    if searching.proxy_share:
        return searching.proxy_share
    if not searching.minutes:
        return 1.0
    wanted = searching.trials or WANTED_TRIALS
    per_trial_s = 60 * searching.minutes * 0.6 * searching.workers / wanted - OVERHEAD_S
    per_image_s = (speeds.small_s + speeds.large_s) / 2
    images = per_trial_s / searching.proxy_epochs / per_image_s - VALIDATION_COST * len(parts.val)
    fewest = min(1.0, FEWEST_IMAGES * len(parts.class_names) / len(parts.train))
    return round(min(1.0, max(fewest, images / len(parts.train))), 3)


def with_speeds(plan: Plan, searching: Searching, parts: Split, speeds: Speeds) -> Plan:
    """``plan`` with the seconds of trials and epochs that follow from the speeds."""
    train, val = plan.proxy_share * len(parts.train), VALIDATION_COST * len(parts.val)
    return replace(
        plan,
        small_s=round(OVERHEAD_S + searching.proxy_epochs * speeds.small_s * (train + val), 2),
        large_s=round(OVERHEAD_S + searching.proxy_epochs * speeds.large_s * (train + val), 2),
        epoch_s=round(speeds.full_s * (len(parts.train) + val), 3),
    )


def seconds_to_read(images: SearchImages) -> float:
    """How long reading all images before a longer training takes, by reading some of them."""
    samples = [sample for part in images.parts.parts.values() for sample in part]
    chosen = samples[:: max(1, len(samples) // READ_IMAGES)]
    began = time.perf_counter()
    images.read(chosen)
    return LOOKING * (time.perf_counter() - began) * len(samples) / len(chosen)


def epoch_s_of(trial: TrialRecord, searching: Searching, plan: Plan, parts: Split, input_size: int) -> float:
    """The seconds of an epoch of a trial's network on all images, by how long its short training took."""
    if plan.evaluator == "shared" or trial.seconds <= OVERHEAD_S:
        return plan.epoch_s
    val = VALIDATION_COST * len(parts.val)
    images = searching.proxy_epochs * (plan.proxy_share * len(parts.train) + val)
    scale = (input_size / (searching.proxy_input_size or input_size)) ** 2
    return scale * (trial.seconds - OVERHEAD_S) / images * (len(parts.train) + val)
