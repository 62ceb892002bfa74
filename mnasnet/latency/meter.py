"""What a latency says of itself, and what a meter is, who tells it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from mnasnet.checks import is_number, make_plain, require_kinds
from mnasnet.errors import LatencyError, SettingsError
from mnasnet.machine import without_cores
from mnasnet.words import amount

if TYPE_CHECKING:  # an agent on a small device needs latencies, but nothing of these
    from mnasnet.export.exported import ExportedModel
    from mnasnet.modelfile import ModelFile
    from mnasnet.spec import ArchitectureSpec

MeterPrecision = Literal["fp32", "bf16", "int8"]
WAKE_S = 0.5  # how often a waiting caller looks up


@dataclass(frozen=True, slots=True)
class Latency:
    """How long one forward pass takes, with everything the number depends on.

    ``device`` is the processor in words. The times are of a whole batch, from what the graph takes (prepared pixels, or
    in an exported file normalised numbers) to scores, over ``n`` passes: the median and the 90th percentile as the
    clock saw them, and ``undisturbed_ms``, the best guess at a quiet machine (processor time where one thread works,
    else the fastest pass). ``spread`` is the width from the 10th to the 90th percentile of passes, each relative to the
    median of its engine. When something disturbed the measurement ``quiet`` is False and ``note`` says what.
    ``predicted`` marks a number that a table made: nothing ran, and ``n`` is 0.
    """

    device: str
    runtime: str
    runtime_version: str
    precision: str
    threads: int
    batch: int
    input_size: int
    n: int
    undisturbed_ms: float
    median_ms: float
    p90_ms: float
    spread: float = 0.0
    quiet: bool = True
    predicted: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        make_plain(self)
        try:
            require_kinds(Latency, asdict(self))
        except SettingsError as error:
            raise LatencyError(f"not a latency: {error}; measure again") from error
        for name in ("undisturbed_ms", "median_ms", "p90_ms"):
            require_time(getattr(self, name), name)
        if not is_number(self.spread):
            raise LatencyError(f"not a latency: spread must be a finite number, got {self.spread!r}; measure again")
        if not self.predicted and self.n < 1:
            raise LatencyError(f"a measured latency needs at least one run, got n {self.n}")

    @property
    def sentence(self) -> str:
        """The latency in one line for people."""
        kind = "predicted" if self.predicted else f"n={self.n}"
        text = (
            f"{self.undisturbed_ms:.2f} ms (median {self.median_ms:.2f}, p90 {self.p90_ms:.2f}, {kind}) "
            f"on {self.measured_on}, {self.input_size} px"
        )
        return f"{text}; {self.note}" if self.note else text

    @property
    def measured_on(self) -> str:
        """The device, its runtime and how they were set, for people."""
        return (
            f"{self.device}, {self.runtime} {self.runtime_version} {self.precision}, "
            f"{amount(self.threads, 'thread')}, batch {self.batch}"
        )

    def with_note(self, text: str) -> Latency:
        """This latency, its note telling ``text`` too."""
        return replace(self, note="; ".join(part for part in (self.note, text) if part))

    def is_comparable(self, other: Latency) -> bool:
        """Whether the same kind of device measured both in the same way; runtimes may be of different versions."""
        return self._conditions == other._conditions

    @property
    def _conditions(self) -> tuple[object, ...]:
        return without_cores(self.device), self.runtime, self.precision, self.threads, self.batch

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as model files and tables keep them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Latency:
        """The inverse of :meth:`to_dict`; raises LatencyError when fields are missing, unknown or of another kind."""
        try:
            return cls(**values)
        except TypeError as error:
            known = ", ".join(item.name for item in fields(cls))
            raise LatencyError(f"not a latency ({error}); a latency has {known}") from error


def require_time(value: object, name: str) -> None:
    """Raise LatencyError unless ``value`` is a time in milliseconds: a finite number above 0."""
    if not (is_number(value) and 0 < value < sys.float_info.max):
        raise LatencyError(f"a latency must be a number of milliseconds above 0, got {name} {value!r}")


def require_rgb(name: str, model: ModelFile | ExportedModel) -> None:
    """Raise SettingsError unless ``model``, called ``name``, takes RGB images, on which all networks are timed."""
    if model.in_channels != 3:
        raise SettingsError(
            f"networks are timed on RGB images, {name} takes {model.in_channels} channels; time it as a torch network "
            "by modelfile.network_of"
        )


class NotAllowedError(LatencyError):
    """A device that does not answer this caller at all: more networks are no use before that is mended."""


class AwayError(LatencyError):
    """A device that could not be reached in the time it was given; it may come back."""


class LatencyMeter(Protocol):
    """Anything that can say how fast an architecture runs."""

    def measure(self, architecture: ArchitectureSpec, input_size: int) -> Latency:
        """The time of one pass at ``input_size`` pixels.

        Raises LatencyError when the device is away, lacks an operator or fails: what could not be measured is
        never fast.
        """
        ...


class RunnableMeter(LatencyMeter, Protocol):
    """A meter that also takes a model file's or an exported file's network."""

    def measure_model(self, model: ModelFile | ExportedModel) -> Latency:
        """The time of one pass of ``model`` at its own input size; raises LatencyError."""
        ...
