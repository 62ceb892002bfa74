"""Whether two engines give the same answers: an exported file beside its original, image by image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnasnet.classify import softmax
from mnasnet.errors import ExportError
from mnasnet.runtime.session import Session

TIE = 1e-4  # of probability: two classes this close are one answer; float32 differs by about 1e-6
SHOWN = 10


@dataclass(frozen=True, slots=True)
class Parity:
    """What was found on ``images`` images; ``max_difference`` is of class probabilities.

    ``disagreeing`` names the images whose most likely class changed; ``kind`` says what images they were.
    """

    images: int
    max_difference: float
    disagreeing: tuple[str, ...] = ()
    kind: str = "images"

    @property
    def same(self) -> bool:
        """Whether every image has the same answer."""
        return not self.disagreeing

    @property
    def sentence(self) -> str:
        """The result in one line for people."""
        of_all, most = f"{self.images} {self.kind}", f"{self.max_difference:.1e}"
        if self.same:
            return f"same answer on all {of_all}, probabilities differ by at most {most}"
        shown = ", ".join(self.disagreeing[:SHOWN]) + (", ..." if len(self.disagreeing) > SHOWN else "")
        return f"another answer on {len(self.disagreeing)} of {of_all} ({shown}), probabilities differ by up to {most}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "same": self.same}


def compare(
    original: Session, other: Session, images: Iterable[tuple[str, NDArray[np.uint8]]], kind: str = "images"
) -> Parity:
    """Run both on ``images`` of this ``kind``, each with its name, S x S x 3 prepared pixels.

    Raises ExportError where ``original`` gives scores that are no numbers, which nothing can be compared with.
    """
    count, largest, disagreeing = 0, 0.0, []
    for name, image in images:
        expected, found = (softmax(session.run(image[np.newaxis]))[0] for session in (original, other))
        count += 1
        if not np.isfinite(expected).all():
            raise ExportError(
                f"an export is compared with the model's answers, which for {name} are no numbers; take an earlier "
                "checkpoint, or train the model again"
            )
        if not np.isfinite(found).all():
            disagreeing.append(name)
            largest = float("inf")
            continue
        largest = max(largest, float(np.abs(expected - found).max()))
        if expected.max() - expected[found.argmax()] > TIE:
            disagreeing.append(name)
    return Parity(count, largest, tuple(disagreeing), kind)
