"""What every meter must keep, as a test class to subclass: give a fixture ``meter``, get the whole suite."""

from __future__ import annotations

import json
import math
from typing import ClassVar

import pytest

from mnasnet.errors import LatencyError, MnasNetError
from mnasnet.latency.meter import Latency, LatencyMeter
from mnasnet.spec import ArchitectureSpec
from mnasnet.testing import TINY


class LatencyMeterContract:
    """Subclass it as ``TestMyMeter`` with a fixture ``meter``; override the attributes where yours differs.

    ``network`` at ``input_size`` pixels is one that the meter can measure.
    """

    network: ArchitectureSpec = TINY
    input_size: int = 64

    _measured: ClassVar[dict[type, Latency]] = {}

    @pytest.fixture
    def latency(self, meter: LatencyMeter) -> Latency:
        """The time of ``network``, measured once for all tests of a class."""
        if type(self) not in self._measured:
            self._measured[type(self)] = meter.measure(self.network, self.input_size)
        return self._measured[type(self)]

    def test_times_are_ordered_numbers_above_zero(self, latency: Latency) -> None:
        """Undisturbed, median and 90th percentile."""
        assert 0 < latency.undisturbed_ms <= latency.median_ms <= latency.p90_ms < math.inf

    def test_says_everything_that_the_number_depends_on(self, latency: Latency) -> None:
        """A latency without its device, runtime and settings is meaningless."""
        assert latency.device and latency.runtime and latency.runtime_version and latency.precision
        assert latency.threads >= 1 and latency.batch >= 1 and latency.input_size == self.input_size

    def test_measured_means_at_least_fifty_runs_and_predicted_none(self, latency: Latency) -> None:
        """A prediction never passes for a measurement."""
        assert latency.n == 0 if latency.predicted else latency.n >= 50

    def test_disturbance_comes_with_its_reason(self, latency: Latency) -> None:
        """A number that cannot be trusted says why."""
        assert latency.quiet or "not quiet" in latency.note

    def test_survives_json(self, latency: Latency) -> None:
        """Model files and tables keep latencies."""
        assert Latency.from_dict(json.loads(json.dumps(latency.to_dict()))) == latency

    def test_what_cannot_be_measured_is_an_error_and_never_fast(self, meter: LatencyMeter) -> None:
        """One pixel is no image."""
        with pytest.raises(LatencyError) as raised:
            meter.measure(self.network, 1)

        assert isinstance(raised.value, MnasNetError) and str(raised.value)
