"""The names and shapes of a network's weights, and the published design that weights of such names and shapes have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from mnasnet.network.naming import Layout
from mnasnet.presets import MNASNET_A1, MNASNET_B1, MNASNET_SMALL, PRESETS
from mnasnet.spec import ArchitectureSpec, BlockSpec, LayerSpec

TEMPLATES = (MNASNET_B1, MNASNET_A1, MNASNET_SMALL)
_USUAL_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)


def expected_shapes(spec: ArchitectureSpec, num_classes: int, in_channels: int = 3) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight and statistic of the network of ``spec``, in the network's order."""
    shapes = _conv_bn("stem", (spec.stem_channels, in_channels, 3, 3))
    for b, layers in enumerate(spec.layers()):
        for i, layer in enumerate(layers):
            shapes |= _layer_shapes(f"blocks.{b}.{i}", layer)
    shapes |= _conv_bn("head", (spec.head_channels, spec.blocks[-1].channels, 1, 1))
    return shapes | {"classifier.weight": (num_classes, spec.head_channels), "classifier.bias": (num_classes,)}


def recognise(weights: Mapping[str, NDArray[Any]], layout: Layout = "mnasnet") -> ArchitectureSpec | None:
    """The published design, at any width, that these weights (our names) belong to; None when there is none.

    Operators, kernels, repeats, expansions, gates and widths are read from names and shapes. Strides and skips
    leave no trace there, so they come from the design whose blocks are the same.
    """
    try:
        seen = _blocks_of(weights)
        stem, head = weights["stem.conv.weight"].shape[0], weights["head.conv.weight"].shape[0]
    except (KeyError, IndexError, ValueError):  # parts are missing, or have shapes that no block has
        return None
    for template in TEMPLATES:
        if [_design(block) for block in template.blocks] == [_design(block) for block in seen]:
            blocks = tuple(
                replace(block, channels=found.channels) for block, found in zip(template.blocks, seen, strict=True)
            )
            spec = replace(template, blocks=blocks, stem_channels=stem, head_channels=head)
            return spec.named(_name_of(spec, template, layout))
    return None


def _blocks_of(weights: Mapping[str, NDArray[Any]]) -> list[BlockSpec]:
    """The blocks as names and shapes show them; strides, skips and the exact gate width are not among that."""
    repeats: dict[int, int] = {}
    for name in weights:
        if match := re.match(r"blocks\.(\d+)\.(\d+)\.", name):
            block, layer = int(match[1]), int(match[2])
            repeats[block] = max(repeats.get(block, 0), layer + 1)
    return [_block_of(weights, f"blocks.{block}.0", repeats[block]) for block in range(len(repeats))]


def _block_of(weights: Mapping[str, NDArray[Any]], layer: str, repeats: int) -> BlockSpec:
    se_ratio = 0.25 if f"{layer}.se.reduce.weight" in weights else 0.0
    if f"{layer}.full.conv.weight" in weights:
        out, _, kernel, _ = weights[f"{layer}.full.conv.weight"].shape
        return BlockSpec("conv", out, kernel, repeats=repeats, se_ratio=se_ratio)
    kernel = weights[f"{layer}.depthwise.conv.weight"].shape[-1]
    out = weights[f"{layer}.project.conv.weight"].shape[0]
    if f"{layer}.expand.conv.weight" not in weights:
        return BlockSpec("separable", out, kernel, repeats=repeats, se_ratio=se_ratio)
    hidden, channels = weights[f"{layer}.expand.conv.weight"].shape[:2]
    return BlockSpec("inverted", out, kernel, repeats=repeats, expansion=hidden // channels, se_ratio=se_ratio)


def _design(block: BlockSpec) -> tuple[object, ...]:
    return block.operator, block.kernel, block.repeats, block.expansion, block.se_ratio


def _name_of(spec: ArchitectureSpec, template: ArchitectureSpec, layout: Layout) -> str:
    """The preset of the layout's library with these widths, else the design and its multiplier."""
    library = {"torchvision": "torchvision", "timm": "timm", "mnasnet": ""}[layout]
    equal = [name for name, preset in PRESETS.items() if preset == spec]
    own = [name for name in equal if library in PRESETS[name].source]
    if own or equal:
        return (own or equal)[0]
    for width in (*_USUAL_WIDTHS, *(percent / 100 for percent in range(10, 301, 5))):
        scaled = template.scaled(width)
        if scaled.blocks == spec.blocks and scaled.stem_channels == spec.stem_channels:
            return f"{template.name}_x{width:g}"
        # torchvision before 0.5 (state dict _version 1) scaled neither the stem nor the first block
        first = (template.blocks[0], *scaled.blocks[1:])
        if first == spec.blocks and template.stem_channels == spec.stem_channels:
            return f"{template.name}_x{width:g}_unscaled_stem"
    return f"{template.name}_custom"


def _layer_shapes(name: str, layer: LayerSpec) -> dict[str, tuple[int, ...]]:
    hidden, k = layer.hidden_channels, layer.kernel
    shapes: dict[str, tuple[int, ...]] = {}
    if layer.operator == "conv":
        shapes |= _conv_bn(f"{name}.full", (hidden, layer.in_channels, k, k))
    else:
        if layer.operator == "inverted":
            shapes |= _conv_bn(f"{name}.expand", (hidden, layer.in_channels, 1, 1))
        shapes |= _conv_bn(f"{name}.depthwise", (hidden, 1, k, k))
    if layer.se_channels:
        shapes |= _gate(f"{name}.se", hidden, layer.se_channels)
    if layer.operator != "conv":
        shapes |= _conv_bn(f"{name}.project", (layer.out_channels, hidden, 1, 1))
    return shapes


def _conv_bn(name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    leaves: Iterable[str] = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.conv.weight": shape} | {f"{name}.bn.{leaf}": shape[:1] for leaf in leaves}


def _gate(name: str, channels: int, reduced: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.reduce.weight": (reduced, channels, 1, 1),
        f"{name}.reduce.bias": (reduced,),
        f"{name}.restore.weight": (channels, reduced, 1, 1),
        f"{name}.restore.bias": (channels,),
    }
