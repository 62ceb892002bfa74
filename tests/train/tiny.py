"""A training small enough for tests: thirty coloured images, a network of a few thousand weights; and who hears it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnasnet.testing import TINY
from mnasnet.train.events import Event, Stepped
from mnasnet.train.plan import Training


def tiny_training(data: Path, parent: Path, **chosen: Any) -> Training:
    """Three epochs at 32 pixels on one thread; run folders go into ``parent``, without pictures."""
    parent.mkdir(parents=True, exist_ok=True)
    spec = parent / "tiny.json"
    spec.write_text(json.dumps(TINY.to_dict()))
    training = Training(
        data=data,
        model=str(spec),
        pretrained=False,
        epochs=3,
        batch_size=8,
        input_size=32,
        threads=1,
        output_folder=parent,
        name="run",
        report=False,
    )
    return replace(training, **chosen)


class Ear:
    """Keeps what it hears and asks to stop at a given event."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.events: list[Event] = []
        self._stop_after = stop_after

    def hear(self, event: Event) -> None:
        self.events.append(event)

    def wants_to_stop(self) -> bool:
        return sum(isinstance(event, Stepped) for event in self.events) >= self._stop_after
