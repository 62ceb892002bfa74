"""What a training tells, to whom it tells it, and what becomes of a listener that fails."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from mnasnet.errors import MnasNetError, SettingsError
from mnasnet.words import kind_and_line

_log = logging.getLogger(__name__)

Row = Mapping[str, Any]

_Event = TypeVar("_Event", contravariant=True)


@dataclass(frozen=True, slots=True)
class Opened:
    """The run's folder is there, and the training is about to begin or to go on."""

    folder: Path


@dataclass(frozen=True, slots=True)
class Started:
    """Training begins, or goes on at ``epoch`` (from 0) with ``history`` behind it."""

    epochs: int
    epoch: int
    history: tuple[Row, ...]
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stepped:
    """An optimiser step is done; ``loss`` and ``accuracy`` are means over the epoch so far."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    images_per_second: float
    seconds_left: float


@dataclass(frozen=True, slots=True)
class EpochEnded:
    """An epoch is done and kept: its row and all rows up to it."""

    row: Row
    epochs: int
    is_best: bool
    history: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """Training is over; ``status`` is done, stopped, early or time, or failed with ``reason``."""

    status: str
    reason: str
    history: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Reported:
    """The run's results are written; comes before ``Ended``. ``scores`` are by name, those of classes too."""

    scores: Mapping[str, float]
    files: tuple[Path, ...]


Event = Opened | Started | Stepped | EpochEnded | Reported | Ended


class Hears(Protocol[_Event]):
    """Anything that hears of events of one kind."""

    def hear(self, event: _Event, /) -> None:
        """Take notice; called in the thread that does the work, so it must be quick."""
        ...


Listener = Hears[Event]
"""Anything that wants to hear of a training."""


@contextlib.contextmanager
def failures_told(listeners: Iterable[Listener]) -> Iterator[None]:
    """Tell those that are ``listeners`` by then of a training that fails; their threads and files would stay open."""
    try:
        yield
    except BaseException as error:
        for listener in listeners:
            listener.hear(Ended("failed", str(error), ()))
        raise


class Audience(Generic[_Event]):
    """Passes events on; a listener that fails is reported once and heard no more.

    ``work`` is what goes on without it. Our own errors pass through: they mean to end the work. Raises SettingsError
    for a listener that cannot hear.
    """

    def __init__(self, listeners: Iterable[Hears[_Event]], work: str = "training") -> None:
        self._listeners = list(listeners)
        self._work = work
        for one in self._listeners:
            if not callable(getattr(one, "hear", None)):
                raise SettingsError(
                    f"a listener has a method hear(event), got {one!r}; give it one, as in mnasnet.train.listeners"
                )

    def hear(self, event: _Event) -> None:
        """Tell every listener."""
        for listener in list(self._listeners):
            try:
                listener.hear(event)
            except MnasNetError:
                raise
            except Exception as error:  # a faulty listener must not cost the user the work
                self._listeners.remove(listener)
                warn_of(listener, error, self._work)


def warn_of(listener: object, error: Exception, work: str = "training") -> None:
    """Say why ``listener`` hears no more of ``work``."""
    _log.warning("%s hears no more of this %s, which goes on: %s", name_of(listener), work, kind_and_line(error))


def name_of(listener: object) -> str:
    """What a user knows ``listener`` by."""
    return str(getattr(listener, "title", type(listener).__name__))


class EndHeldBack:
    """Passes events on, but keeps the end of a training until its results are written: ``release`` tells it.

    The end of a training that was stopped goes on at once.
    """

    def __init__(self, audience: Audience[Event]) -> None:
        self._audience = audience
        self._ended: Ended | None = None

    def hear(self, event: Event) -> None:
        """Pass on or keep."""
        if isinstance(event, Ended) and event.status != "stopped":
            self._ended = event
        else:
            self._audience.hear(event)

    def release(self, *, stopped: str = "") -> None:
        """Tell the end, once; ``stopped`` is the reason where the results were not written to their end."""
        ended, self._ended = self._ended, None
        if ended is not None:
            self._audience.hear(Ended("stopped", stopped, ended.history) if stopped else ended)
