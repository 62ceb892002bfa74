"""What a search tells while it works, and to whom."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from mnasnet.errors import MnasNetError
from mnasnet.search.records import TrialRecord
from mnasnet.train.listeners import EpochEnded, Event
from mnasnet.words import kind_and_line

_log = logging.getLogger(__name__)

Stage = Literal[
    "preparing", "forecast", "supernet", "searching", "finalists", "training", "references", "ranking", "answering"
]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a search stands.

    ``share`` is how much of everything is done, 0 to 1, and never falls; ``eta_s`` the seconds left, None while
    nobody knows. ``text`` is one line for people. After a trial ``record`` is that trial and ``best`` the best so far;
    ``rewards`` of both are those by which the winner is chosen, None without a result.
    ``repeats`` trials repeated known networks in a row; of the first alone there was a record.
    """

    stage: Stage
    share: float
    text: str
    eta_s: float | None = None
    record: TrialRecord | None = None
    best: TrialRecord | None = None
    rewards: tuple[float | None, float | None] = (None, None)
    repeats: int = 0


class SearchListener(Protocol):
    """Anything that wants to hear how a search goes."""

    def hear(self, progress: Progress) -> None:
        """Take notice; called between and within trials, so it must be quick."""
        ...


class SearchAudience:
    """Passes progress on; a listener that fails is reported once and heard no more."""

    def __init__(self, listeners: Iterable[SearchListener]) -> None:
        self._listeners = list(listeners)

    def hear(self, progress: Progress) -> None:
        """Tell every listener."""
        for listener in list(self._listeners):
            try:
                listener.hear(progress)
            except MnasNetError:
                raise
            except Exception as error:  # a faulty listener must not cost the user the search
                self._listeners.remove(listener)
                _log.warning("%s stopped listening: %s", type(listener).__name__, kind_and_line(error))


@dataclass(frozen=True, eq=False)
class EpochListener:
    """Hears of a training's epochs and passes on their number and validation accuracy."""

    heard: Callable[[int, float], None]

    def hear(self, event: Event) -> None:
        """Take notice of an epoch that ended."""
        if isinstance(event, EpochEnded):
            self.heard(int(event.row["epoch"]), float(event.row["val_accuracy"]))
