"""What a search tells while it works, and to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from mnasnet.search.records import TrialRecord
from mnasnet.train.events import Audience, EpochEnded, Event

Stage = Literal[
    "preparing", "forecast", "supernet", "searching", "finalists", "training", "references", "ranking", "answering"
]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a search stands.

    ``share`` is how much of everything is done, 0 to 1, and never falls; ``eta_s`` the seconds left, None while
    nobody knows. ``text`` is one line for people. After a trial ``record`` is that trial and ``best`` the best so far;
    ``rewards`` of both are those by which the winner is chosen, None without a result; ``sought``
    names the costs that the search trades or limits, while ``record`` has them all.
    ``repeats`` trials repeated known networks in a row; of the first alone there was a record.
    """

    stage: Stage
    share: float
    text: str
    eta_s: float | None = None
    record: TrialRecord | None = None
    best: TrialRecord | None = None
    rewards: tuple[float | None, float | None] = (None, None)
    sought: tuple[str, ...] = ()
    repeats: int = 0


class SearchListener(Protocol):
    """Anything that wants to hear how a search goes."""

    def hear(self, progress: Progress) -> None:
        """Take notice; called between and within trials, so it must be quick."""
        ...


def audience_of(listeners: Iterable[SearchListener]) -> Audience[Progress]:
    """Passes a search's progress on to ``listeners``; raises SettingsError for one that cannot hear."""
    return Audience(listeners, "search")


@dataclass(frozen=True, eq=False)
class EpochListener:
    """Hears of a training's epochs and passes on their number and validation accuracy."""

    heard: Callable[[int, float], None]

    def hear(self, event: Event) -> None:
        """Take notice of an epoch that ended."""
        if isinstance(event, EpochEnded):
            self.heard(int(event.row["epoch"]), float(event.row["val_accuracy"]))
