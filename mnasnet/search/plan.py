"""What is made of a :class:`Searching` once data and machine are known: sizes, shares, how the minutes are spent."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from mnasnet.data.split import Split
from mnasnet.errors import SearchError
from mnasnet.network.count import count
from mnasnet.search.evaluator import OVERHEAD_S, VALIDATION_COST, ShortTraining
from mnasnet.search.problem import SearchProblem
from mnasnet.search.references import REFERENCES
from mnasnet.search.searching import Searching
from mnasnet.search.study import TrialRecord
from mnasnet.space import Candidate, SearchSpace

WANTED_TRIALS = 40  # below, no algorithm is better than chance; the share of the images is chosen for so many
FEWEST_IMAGES = 40  # of a class in a short training, where the share is ours: of fewer a network learns too little
DRAWS = 200  # random networks among which the cheapest and the dearest are timed

LONGER = 4  # times the epochs of a trial for a finalist where minutes do not decide
FULL = 10  # and for the winner


@dataclass(frozen=True, slots=True)
class Plan:
    """Decided at the start of a search; a resumed one uses it as it stands.

    ``small_s`` and ``large_s`` are the seconds of a trial of a small and a large network as timed at the start,
    ``epoch_s`` those of an epoch of a full training of a middling one on all images. The ``shared`` numbers are those
    of shared weights: epochs, seconds of one, and of judging a network.
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
            known = {field.name: values[field.name] for field in fields(cls)}
            return cls(**{**known, "class_names": tuple(known["class_names"])})
        except (KeyError, TypeError) as error:
            raise SearchError(f"the search's args.yaml is not complete ({error}); start a new search") from error


@dataclass(frozen=True, slots=True)
class Timetable:
    """The seconds foreseen for each stage, and the epochs that fit into them.

    Where ``minutes`` are given they are divided: two thirds for the search, the rest for finalists and full
    trainings; with references the search gets less than half. ``search_limit_s`` ends the search, ``search_s`` is
    what it is likely to take. Epochs that the user set are kept, whatever they take.
    """

    supernet_s: float
    search_s: float
    search_limit_s: float
    finalists_s: float
    final_s: float
    references_s: float
    finalist_epochs: int
    final_epochs: int

    @property
    def total_s(self) -> float:
        """Everything together."""
        return self.supernet_s + self.search_s + self.finalists_s + self.final_s + self.references_s

    def share_before(self, stage: str) -> float:
        """The share of everything that lies before ``stage``, 0 to 1."""
        stages = {
            "supernet": self.supernet_s,
            "searching": self.search_s,
            "finalists": self.finalists_s,
            "training": self.final_s,
            "references": self.references_s,
        }
        names = list(stages)
        before = names[: names.index(stage)] if stage in names else names
        return sum(stages[name] for name in before) / max(self.total_s, 1e-9)


def timetable(searching: Searching, plan: Plan) -> Timetable:
    """How the time is spent."""
    finalists = searching.finalists if searching.finalists > 1 else 0
    trained = 1 + (len(REFERENCES) if searching.references else 0)
    total_s = searching.minutes * 60
    if searching.references:
        shares = (0.45, 0.15, 0.40) if finalists else (0.55, 0.0, 0.45)
    else:
        shares = (0.65, 0.15, 0.20) if finalists else (0.75, 0.0, 0.25)
    finalist_epochs = searching.finalist_epochs or _epochs(
        total_s * shares[1], max(1, finalists) * plan.epoch_s, searching.proxy_epochs, LONGER * searching.proxy_epochs
    )
    final_epochs = searching.final_epochs or _epochs(
        total_s * shares[2], trained * plan.epoch_s, 2 * searching.proxy_epochs, FULL * searching.proxy_epochs
    )
    finalists_s = finalists * finalist_epochs * plan.epoch_s
    final_s = final_epochs * plan.epoch_s
    # what the later stages will not need is searched with; a little is always searched
    search_s = max(total_s * min(shares[0], 0.3), total_s - finalists_s - trained * final_s)
    search_s = max(0.2 * search_s, search_s - plan.supernet_s)
    by_trials_s = searching.trials * plan.trial_s / searching.workers if searching.trials else math.inf
    return Timetable(
        supernet_s=plan.supernet_s,
        search_s=min(search_s, by_trials_s) if total_s else by_trials_s,
        search_limit_s=search_s if total_s else math.inf,
        finalists_s=finalists_s,
        final_s=final_s,
        references_s=(trained - 1) * final_s,
        finalist_epochs=finalist_epochs,
        final_epochs=final_epochs,
    )


def as_fast_as_it_was(plan: Plan, found: Sequence[TrialRecord]) -> Plan:
    """``plan`` with the seconds of an epoch corrected by how long trials took, on a machine that others use too."""
    seconds = [record.seconds for record in found if record.state == "done" and record.duplicate_of is None]
    if not seconds or not plan.trial_s:
        return plan
    slower = statistics.mean(seconds) / plan.trial_s
    return replace(plan, epoch_s=plan.epoch_s * min(10.0, max(0.5, slower)))


def _epochs(seconds: float, epoch_s: float, fewest: int, most: int) -> int:
    """As many epochs as fit, between ``fewest`` and, where no time is given, ``most``."""
    if not seconds:
        return most
    return max(fewest, min(4 * most, int(seconds / max(epoch_s, 1e-9))))


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
