"""What a search found, as plain values: all that files, pictures and the page tell of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mnasnet.errors import SpecError
from mnasnet.reward import Reward
from mnasnet.search.costs import LATENCY
from mnasnet.space import Candidate, SearchSpace

if TYPE_CHECKING:  # they start Optuna and torch, which values do not need
    from mnasnet.search.ranking import Ranking
    from mnasnet.search.records import TrialRecord

WORST_RECALL = "worst-class recall"

#: RUN stands for the search's folder, which may be moved: whoever shows the command says where the folder is then
PROMOTE = "python -m mnasnet promote RUN"
EXPECTED = "expected "  # before the name of an accuracy that probabilities give, those of shared weights
EXTEND = "python -m mnasnet extend RUN"
EXPORT = "python -m mnasnet export RUN"

ContenderKind = Literal["finalist", "promoted", "reference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A network that was trained longer than a trial: a finalist, a promoted trial, or a published reference.

    Accuracies lie in 0 to 1. ``proxy_accuracy`` is what the search had thought; ``val_accuracy`` and
    ``test_accuracy`` come after ``epochs`` of training, each from so many images; with ``from_shared`` that began with
    its part of the shared weights, which had learned from the same images. ``costs`` are by meter name,
    the latency measured anew; ``latency`` is that measurement, as ``Latency.to_dict`` has it. ``model`` is the
    model file relative to the run folder, "" for none.
    """

    name: str
    kind: ContenderKind
    trial: int | None = None
    epochs: int = 0
    from_shared: bool = False
    proxy_accuracy: float | None = None
    val_accuracy: float | None = None
    val_images: int = 0
    test_accuracy: float | None = None
    test_images: int = 0
    costs: Mapping[str, float] = field(default_factory=dict)
    latency: Mapping[str, Any] | None = None
    model: str = ""


def ranked_finalists(contenders: Sequence[Contender]) -> list[tuple[float, float]]:
    """What the search had thought of each finalist and what it reached, where both are known; tau is of these."""
    return [
        (one.proxy_accuracy, one.val_accuracy)
        for one in contenders
        if one.kind == "finalist" and one.proxy_accuracy is not None and one.val_accuracy is not None
    ]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A whole search, finished or not.

    ``winner_reward`` chose the winner of a search for trade-offs, which has no ``reward`` that was maximised.
    ``evaluator`` is one sentence on how accuracy was judged, ``accuracy_name`` says of what, and ``val_images``
    from how many images each trial's accuracy comes (0: unknown, or not from images). ``measured`` says of each
    cost whether it was measured on ``device``; the others were predicted or counted. ``extrapolated`` is the
    accuracy, by trial, that trainings which were ended early were heading for. ``ranking`` is the check
    of the shared weights. ``notes`` are sentences that the reader must see, such as a prediction's error or a gain that
    levelled off.
    """

    name: str
    space: SearchSpace
    algorithm: str
    seed: int
    evaluator: str
    reward: Reward | None
    reward_cost: str
    objectives: tuple[str, ...]
    limits: Mapping[str, float]
    device: str
    measured: Mapping[str, bool]
    records: Sequence[TrialRecord]
    winner: TrialRecord | None
    pareto: Sequence[TrialRecord]
    status: str
    reason: str
    minutes: float
    extrapolated: Mapping[int, float] = field(default_factory=dict)
    winner_reward: Reward | None = None
    contenders: Sequence[Contender] = ()
    kendall_tau: float | None = None
    ranking: Ranking | None = None
    accuracy_name: str = "top-1 accuracy"
    val_images: int = 0
    made_on: str = ""
    notes: Sequence[str] = ()

    @property
    def cost_names(self) -> tuple[str, ...]:
        """Every cost that a trial has, the one that mattered most first."""
        found = {name: None for record in self.records for name in record.costs}
        first = [name for name in (*self.objectives, self.reward_cost, *self.limits) if name in found]
        return tuple(dict.fromkeys([*first, *found]))

    @property
    def front_cost(self) -> str:
        """The one cost over which the Pareto set is a line; "" where several were traded."""
        costs = self.objectives or (self.reward_cost,)
        return costs[0] if len(costs) == 1 else ""

    @property
    def measured_when_trained(self) -> Mapping[str, bool]:
        """``measured`` for those trained longer, whose latency is always measured anew."""
        return {**self.measured, LATENCY: True}

    @property
    def is_of_worst_class(self) -> bool:
        """Whether accuracy stands for the recall of the class recognised worst, which few images decide."""
        return self.accuracy_name.endswith(WORST_RECALL)

    def trained(self, trial: int) -> Contender | None:
        """What a trial's network came to after a full training; None where it had none."""
        return next((one for one in self.contenders if one.kind == "promoted" and one.trial == trial), None)

    def role_of(self, contender: Contender) -> str:
        """What a contender is for people: its kind, or ``winner`` for what was trained fully for the search."""
        is_winner = self.winner is not None and contender is self.trained(self.winner.number)
        return "winner" if is_winner else contender.kind

    def candidate(self, record: TrialRecord) -> Candidate | None:
        """The network of a trial; None while its choices are not all made."""
        try:
            return self.space.candidate(record.params)
        except SpecError:
            return None

    def state_of(self, record: TrialRecord) -> str:
        """A trial's state in words; what was at work when the search stopped is ``unfinished``."""
        if record.duplicate_of is not None:
            return "repeated"
        return "unfinished" if record.state == "running" and self.status != "running" else record.state

    def counts(self) -> dict[str, int]:
        """How many trials are in each state, as :meth:`state_of` has it."""
        totals: dict[str, int] = {}
        for record in self.records:
            state = self.state_of(record)
            totals[state] = totals.get(state, 0) + 1
        return totals
