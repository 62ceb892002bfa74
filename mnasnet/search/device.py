"""A device's latency as the cost of a search: measured, or predicted from its table."""

from __future__ import annotations

from dataclasses import dataclass

from mnasnet.latency.meter import LatencyMeter
from mnasnet.space import Candidate


@dataclass(frozen=True)
class LatencyCost:
    """Milliseconds by any latency meter, undisturbed ones so that a busy moment decides nothing.

    Of a table it is an estimate, of a device the truth. ``input_size`` (pixels) is for spaces that leave it open.
    """

    meter: LatencyMeter
    input_size: int = 224

    def measure(self, candidate: Candidate) -> float:
        """The milliseconds; raises LatencyError when they cannot be told."""
        return self.meter.measure(candidate.architecture, candidate.input_size or self.input_size).undisturbed_ms
