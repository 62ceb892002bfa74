"""Large batches in passes that fit the processor's caches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnasnet.runtime.session import Session

# Four images of 224 px, 22 of 96 px. MnasNet 1.0 runs 16 or 64 images of 224 px 1.1 to 1.5 times as fast this way
# in ONNX Runtime, OpenVINO and LiteRT; 64 images of 64 px lose a tenth at most (benchmarks/inference.py).
PASS_PIXELS = 4 * 224 * 224


@dataclass(frozen=True)
class InPasses:
    """``session``, given at most ``images`` at once; its answers are the same."""

    session: Session
    images: int

    @property
    def description(self) -> str:
        """That of the session."""
        return self.session.description

    @property
    def fills_caches(self) -> bool:
        """No batch does any longer."""
        return False

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """N x S x S x 3 RGB pixels to N x classes scores before softmax."""
        if len(batch) <= self.images:
            return self.session.run(batch)
        firsts = range(0, len(batch), self.images)
        return np.concatenate([self.session.run(batch[first : first + self.images]) for first in firsts])


def in_passes(session: Session, input_size: int) -> Session:
    """``session`` in passes where a large batch of images of ``input_size`` would slow it down, else as it is."""
    if not session.fills_caches:
        return session
    return InPasses(session, max(1, PASS_PIXELS // input_size**2))
