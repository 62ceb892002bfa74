"""Networks with random weights, made by numpy alone: speed does not depend on what was learned."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mnasnet.errors import LatencyError, MnasNetError
from mnasnet.modelfile import ModelFile
from mnasnet.network.shapes import expected_shapes
from mnasnet.preprocess import Preprocess
from mnasnet.spec import ArchitectureSpec


def untrained_model(architecture: ArchitectureSpec, input_size: int, num_classes: int = 1000) -> ModelFile:
    """``architecture`` with weights that keep the scale of activations, so that no arithmetic slows down.

    Values fading into denormal numbers would make a processor many times slower than any trained network does.
    """
    rng = np.random.default_rng(0)
    shapes = expected_shapes(architecture, num_classes)
    weights = {name: _filled(name, shape, rng) for name, shape in shapes.items()}
    return ModelFile(
        architecture=architecture,
        weights=weights,
        class_names=tuple(f"class {number}" for number in range(num_classes)),
        preprocess=Preprocess(input_size, input_size),
        name=architecture.name or "untrained",
    )


def untrained_to_time(architecture: ArchitectureSpec, input_size: int, num_classes: int) -> ModelFile:
    """:func:`untrained_model` for a meter, which raises LatencyError alone."""
    try:
        return untrained_model(architecture, input_size, num_classes)
    except MnasNetError as error:
        raise LatencyError(f"this network cannot be measured at {input_size} px: {error}") from error


def _filled(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    if len(shape) > 1:  # variance 2 / fan-in keeps the scale through ReLUs (arXiv 1502.01852, eq. 10)
        scale = math.sqrt(2 / math.prod(shape[1:]))
        filled: NDArray[np.float32] = rng.standard_normal(shape, np.float32) * np.float32(scale)
        return filled
    is_scale = name.endswith(("bn.weight", "bn.running_var"))
    return np.full(shape, 1.0 if is_scale else 0.0, np.float32)
