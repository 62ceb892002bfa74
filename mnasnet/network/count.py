"""Parameters, multiply-adds and peak activation memory, computed from the spec alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from mnasnet.spec import ArchitectureSpec, LayerSpec

FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class Counts:
    """What a network costs on any device; ``peak_activation_bytes`` is for one image in float32.

    ``statistics`` are the means and variances that batch normalisation keeps: no parameters, but in every model file,
    whose ``tensors`` hold both.
    """

    parameters: int
    multiply_adds: int
    peak_activation_bytes: int
    statistics: int
    tensors: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of a forward pass, batch normalisation and activation merged into its convolution.

    ``live_elements`` are the values that must exist while it runs: its input, its output and, inside
    a layer with a skip or a gate, what waits to be added or scaled.
    """

    name: str
    parameters: int
    multiply_adds: int
    live_elements: int
    statistics: int = 0
    tensors: int = 0


def count(spec: ArchitectureSpec, input_size: int, num_classes: int = 1000, in_channels: int = 3) -> Counts:
    """The costs of ``spec`` for one square image of ``input_size`` pixels.

    Multiply-adds are those of convolutions and the classifier, the convention of the paper's tables.
    """
    blocks = spec.layers()
    around, sides = _around_layers(spec, blocks, input_size, num_classes, in_channels)
    layers = [layer for block in blocks for layer in block]
    parts = [_total(around), *(_layer_total(layer, side) for layer, side in zip(layers, sides, strict=True))]
    return Counts(
        parameters=sum(part.parameters for part in parts),
        multiply_adds=sum(part.multiply_adds for part in parts),
        peak_activation_bytes=max(part.peak_activation_bytes for part in parts),
        statistics=sum(part.statistics for part in parts),
        tensors=sum(part.tensors for part in parts),
    )


@lru_cache(maxsize=65_536)
def _layer_total(layer: LayerSpec, side: int) -> Counts:
    """A search counts thousands of networks that are made of the same few layers."""
    return _total(_layer_operations("", layer, side))


def _total(operations: Iterable[Operation]) -> Counts:
    known = list(operations)
    return Counts(
        parameters=sum(operation.parameters for operation in known),
        multiply_adds=sum(operation.multiply_adds for operation in known),
        peak_activation_bytes=FLOAT32_BYTES * max(operation.live_elements for operation in known),
        statistics=sum(operation.statistics for operation in known),
        tensors=sum(operation.tensors for operation in known),
    )


def _around_layers(
    spec: ArchitectureSpec,
    blocks: tuple[tuple[LayerSpec, ...], ...],
    input_size: int,
    num_classes: int,
    in_channels: int,
) -> tuple[list[Operation], list[int]]:
    """The steps before and after the layers, and each layer's input side in pixels."""
    side = _strided(input_size, spec.stem_stride)
    sides = []
    for block in blocks:
        for layer in block:
            sides.append(side)
            side = _strided(side, layer.stride)
    weights = spec.head_channels * num_classes
    return [
        _conv("stem", in_channels, spec.stem_channels, 3, input_size, spec.stem_stride),
        _conv("head", spec.blocks[-1].channels, spec.head_channels, 1, side, 1),
        Operation("pool", 0, 0, spec.head_channels * (side * side + 1)),
        Operation("classifier", weights + num_classes, weights, spec.head_channels + num_classes, tensors=2),
    ], sides


def _layer_operations(name: str, layer: LayerSpec, side: int) -> Iterator[Operation]:
    out_side = _strided(side, layer.stride)
    hidden, out_elements = layer.hidden_channels, layer.out_channels * out_side * out_side
    # the input stays alive to the layer's end when it will be added
    waiting = layer.in_channels * side * side if layer.skip != "none" else 0
    if layer.operator == "conv":
        yield _conv(f"{name}.full", layer.in_channels, hidden, layer.kernel, side, layer.stride)
    else:
        if layer.operator == "inverted":
            yield _conv(f"{name}.expand", layer.in_channels, hidden, 1, side, 1)
        # with expansion 1 the depthwise convolution's own input is the one that waits
        held = waiting if layer.operator == "inverted" else 0
        yield _conv(f"{name}.depthwise", hidden, hidden, layer.kernel, side, layer.stride, depthwise=True, held=held)
    if layer.se_channels:
        yield from _gate_operations(f"{name}.se", hidden, layer.se_channels, out_side, waiting)
    if layer.operator != "conv":
        yield _conv(f"{name}.project", hidden, layer.out_channels, 1, out_side, 1, held=waiting)
    if layer.skip == "pool":
        pooled = layer.in_channels * out_side * out_side
        yield Operation(f"{name}.pool", 0, 0, out_elements + waiting + pooled)
    if layer.skip != "none":
        yield Operation(f"{name}.add", 0, 0, 3 * out_elements)  # two terms, a pooled one with its zeros, and the sum


def _gate_operations(name: str, channels: int, reduced: int, side: int, waiting: int) -> Iterator[Operation]:
    elements = channels * side * side
    weights = channels * reduced
    yield Operation(f"{name}.pool", 0, 0, waiting + elements + channels)
    yield Operation(f"{name}.reduce", weights + reduced, weights, waiting + elements + channels + reduced, tensors=2)
    yield Operation(f"{name}.restore", weights + channels, weights, waiting + elements + reduced + channels, tensors=2)
    yield Operation(f"{name}.scale", 0, 0, waiting + 2 * elements + channels)


def _conv(
    name: str,
    in_channels: int,
    out_channels: int,
    kernel: int,
    side: int,
    stride: int,
    *,
    depthwise: bool = False,
    held: int = 0,
) -> Operation:
    out_side = _strided(side, stride)
    weights = (1 if depthwise else in_channels) * out_channels * kernel * kernel
    return Operation(
        name,
        parameters=weights + 2 * out_channels,  # the batch normalisation's scale and shift
        multiply_adds=weights * out_side * out_side,
        live_elements=in_channels * side * side + out_channels * out_side * out_side + held,
        statistics=2 * out_channels,
        tensors=5,  # the kernel, and of the batch normalisation scale, shift, mean and variance
    )


def _strided(side: int, stride: int) -> int:
    return -(-side // stride)
