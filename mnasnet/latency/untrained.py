"""Networks with random weights, made by numpy alone: speed does not depend on what was learned."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mnasnet.errors import LatencyError, MnasNetError
from mnasnet.modelfile import ModelFile
from mnasnet.preprocess import Preprocess
from mnasnet.spec import ArchitectureSpec, LayerSpec

Shape = tuple[int, ...]


def untrained_model(
    architecture: ArchitectureSpec, input_size: int, num_classes: int = 1000, *, seed: int = 0
) -> ModelFile:
    """``architecture`` with weights that keep the scale of activations, so that no arithmetic slows down.

    Values fading into denormal numbers would make a processor many times slower than any trained network does.
    """
    rng = np.random.default_rng(seed)
    weights: dict[str, NDArray[np.float32]] = {}
    for name, shape in weight_shapes(architecture, num_classes):
        weights[name] = _filled(name, shape, rng)
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


def weight_shapes(architecture: ArchitectureSpec, num_classes: int) -> Iterator[tuple[str, Shape]]:
    """The name and shape of every tensor of a model file, in the order of the network."""
    yield from _conv_bn("stem", (architecture.stem_channels, 3, 3, 3))
    for b, block in enumerate(architecture.layers()):
        for i, layer in enumerate(block):
            yield from _layer(f"blocks.{b}.{i}", layer)
    yield from _conv_bn("head", (architecture.head_channels, architecture.blocks[-1].channels, 1, 1))
    yield "classifier.weight", (num_classes, architecture.head_channels)
    yield "classifier.bias", (num_classes,)


def _layer(name: str, layer: LayerSpec) -> Iterator[tuple[str, Shape]]:
    hidden, k = layer.hidden_channels, layer.kernel
    if layer.operator == "conv":
        yield from _conv_bn(f"{name}.full", (hidden, layer.in_channels, k, k))
    else:
        if layer.operator == "inverted":
            yield from _conv_bn(f"{name}.expand", (hidden, layer.in_channels, 1, 1))
        yield from _conv_bn(f"{name}.depthwise", (hidden, 1, k, k))
    if layer.se_channels:
        yield f"{name}.se.reduce.weight", (layer.se_channels, hidden, 1, 1)
        yield f"{name}.se.reduce.bias", (layer.se_channels,)
        yield f"{name}.se.restore.weight", (hidden, layer.se_channels, 1, 1)
        yield f"{name}.se.restore.bias", (hidden,)
    if layer.operator != "conv":
        yield from _conv_bn(f"{name}.project", (layer.out_channels, hidden, 1, 1))


def _conv_bn(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.conv.weight", shape
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.bn.{part}", shape[:1]


def _filled(name: str, shape: Shape, rng: np.random.Generator) -> NDArray[np.float32]:
    if len(shape) > 1:  # variance 2 / fan-in keeps the scale through ReLUs (arXiv 1502.01852, eq. 10)
        scale = math.sqrt(2 / math.prod(shape[1:]))
        return (rng.standard_normal(shape, np.float32) * np.float32(scale)).astype(np.float32)
    is_scale = name.endswith(("bn.weight", "bn.running_var"))
    return np.full(shape, 1.0 if is_scale else 0.0, np.float32)
