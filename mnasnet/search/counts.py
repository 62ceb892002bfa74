"""Costs counted from the spec alone: exact, the same on every machine, and cheap enough to be estimates too."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from mnasnet.errors import SettingsError
from mnasnet.network.count import FLOAT32_BYTES, Counts, count
from mnasnet.search.costs import CountName
from mnasnet.space import Candidate
from mnasnet.spec import ArchitectureSpec


@dataclass(frozen=True, slots=True)
class CountMeter:
    """Multiply-adds, parameters, bytes of the weights or of the largest activations (float32, one image).

    ``input_size`` (pixels) is for spaces that leave it open.
    """

    name: CountName
    input_size: int = 224
    num_classes: int = 1000

    def __post_init__(self) -> None:
        if self.name not in _COUNTS:
            raise SettingsError(f"a count is one of {', '.join(_COUNTS)}, got {self.name!r}")

    @property
    def settings(self) -> str:
        """What a study remembers of it, so that it does not mix counts of different kinds."""
        weight = ", 4 bytes" if self.name == "model_bytes" else ""
        return f" at {self.input_size} px, {self.num_classes} classes, 3 channels{weight}"

    def measure(self, candidate: Candidate) -> float:
        """The count; it never fails."""
        size = candidate.input_size or self.input_size
        counts = _count(candidate.architecture, size, self.num_classes)
        scale = FLOAT32_BYTES if self.name == "model_bytes" else 1
        return float(scale * getattr(counts, _COUNTS[self.name]))


_COUNTS: dict[str, str] = {
    "multiply_adds": "multiply_adds",
    "parameters": "parameters",
    "model_bytes": "parameters",
    "peak_activation_bytes": "peak_activation_bytes",
}


@lru_cache(maxsize=4096)
def _count(spec: ArchitectureSpec, input_size: int, num_classes: int) -> Counts:
    return count(spec, input_size, num_classes)
