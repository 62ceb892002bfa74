"""What a training that the pruner ended would have reached: samplers learn from that, not from where it stood."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

_MIN_GAINS = 4  # trainings to the end before one that was ended early is completed in thought


@dataclass
class Extrapolation:
    """Where trainings that were ended early would have arrived, by what those that were not gained after that step."""

    _gains: dict[int, list[float]] = field(default_factory=dict)
    _worst: float = np.inf

    def learn(self, so_far: Mapping[int, float], value: float) -> None:
        """Note what a training that went on to its end, where it had ``value``, gained after each step."""
        self._worst = min(self._worst, value)
        for step, known in so_far.items():
            self._gains.setdefault(step, []).append(value - known)

    def of(self, so_far: Mapping[int, float]) -> float | None:
        """The value to expect of a training with these steps; None while too few went on from its last."""
        gains = self._gains.get(max(so_far, default=0), [])
        if not so_far or len(gains) < _MIN_GAINS:
            return None
        return so_far[max(so_far)] + float(np.median(gains))

    def at_most_of(self, so_far: Mapping[int, float]) -> float:
        """The same; while too few went on, what it had, and no more than the worst of those that came to their end."""
        value = self.of(so_far)
        return min(so_far[max(so_far)], self._worst) if value is None else value
