"""Costs counted from the spec alone: exact, the same on every machine, and cheap enough to be estimates too."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import get_args

from mnasnet.errors import SettingsError
from mnasnet.network.count import FLOAT32_BYTES, Counts, count
from mnasnet.search.costs import CountName
from mnasnet.space import Candidate
from mnasnet.spec import ArchitectureSpec

#: room in the header of a model file: for each tensor, for the name of each class, and for all else that it tells
TENSOR_BYTES, CLASS_BYTES, HEADER_BYTES = 120, 32, 8_000


@dataclass(frozen=True, slots=True)
class CountMeter:
    """Multiply-adds, parameters, bytes of the model file or of the largest activations (float32, one image).

    A model file is counted with its batch statistics and with room for its header, so that it is no larger than told.
    ``input_size`` (pixels) is for spaces that leave it open.
    """

    name: CountName
    input_size: int = 224
    num_classes: int = 1000

    def __post_init__(self) -> None:
        if self.name not in get_args(CountName):
            raise SettingsError(f"a count is one of {', '.join(get_args(CountName))}, got {self.name!r}")

    @property
    def settings(self) -> str:
        """What a study remembers of it, so that it does not mix counts of different kinds."""
        weight = ", 4 bytes, whole file" if self.name == "model_bytes" else ""
        return f" at {self.input_size} px, {self.num_classes} classes, 3 channels{weight}"

    def measure(self, candidate: Candidate) -> float:
        """The count; it never fails."""
        size = candidate.input_size or self.input_size
        counts = _count(candidate.architecture, size, self.num_classes)
        return float(self._model_bytes(counts) if self.name == "model_bytes" else getattr(counts, self.name))

    def _model_bytes(self, counts: Counts) -> int:
        numbers = counts.parameters + counts.statistics
        header = HEADER_BYTES + CLASS_BYTES * self.num_classes + TENSOR_BYTES * counts.tensors
        return FLOAT32_BYTES * numbers + header


@lru_cache(maxsize=4096)
def _count(spec: ArchitectureSpec, input_size: int, num_classes: int) -> Counts:
    return count(spec, input_size, num_classes)
