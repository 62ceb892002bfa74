"""Names of weights: ours, torchvision's and timm's, each translated to the others by the names alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from mnasnet.errors import WeightsError

Layout = Literal["mnasnet", "torchvision", "timm"]

# Our modules of one layer against timm's, by operator: DepthwiseSeparableConv, InvertedResidual and ConvBnAct of
# timm/models/_efficientnet_blocks.py.
_GATE = {"se.reduce": "se.conv_reduce", "se.restore": "se.conv_expand"}
_TIMM_LAYER: dict[str, dict[str, str]] = {
    "conv": {"full.conv": "conv", "full.bn": "bn1"},
    "separable": {
        "depthwise.conv": "conv_dw",
        "depthwise.bn": "bn1",
        "project.conv": "conv_pw",
        "project.bn": "bn2",
        **_GATE,
    },
    "inverted": {
        "expand.conv": "conv_pw",
        "expand.bn": "bn1",
        "depthwise.conv": "conv_dw",
        "depthwise.bn": "bn2",
        "project.conv": "conv_pwl",
        "project.bn": "bn3",
        **_GATE,
    },
}
_TIMM_ENDS = {"stem.conv": "conv_stem", "stem.bn": "bn1", "head.conv": "conv_head", "head.bn": "bn2"}

# torchvision/models/mnasnet.py: one nn.Sequential holds the stem, the first block's single layer, the other blocks
# (numbers 8 to 13 in its own networks) and the head.
_TORCHVISION_START = {
    "stem.conv": "layers.0",
    "stem.bn": "layers.1",
    "blocks.0.0.depthwise.conv": "layers.3",
    "blocks.0.0.depthwise.bn": "layers.4",
    "blocks.0.0.project.conv": "layers.6",
    "blocks.0.0.project.bn": "layers.7",
}
_TORCHVISION_LAYER = {
    "expand.conv": "layers.0",
    "expand.bn": "layers.1",
    "depthwise.conv": "layers.3",
    "depthwise.bn": "layers.4",
    "project.conv": "layers.6",
    "project.bn": "layers.7",
}
_TORCHVISION_BEFORE_BLOCKS = 7  # block b, from 1 on, is layers.{7 + b}

_LAYER = re.compile(r"blocks\.(\d+)\.(\d+)\.(.+)")
_CLASSIFIER = re.compile(r"classifier(\.\d+)?")
_SIGNS: dict[Layout, re.Pattern[str]] = {
    "mnasnet": re.compile(r"stem\.(conv|bn)|blocks\.\d+\.\d+\.(full|expand|depthwise|project)\.(conv|bn)"),
    "timm": re.compile(r"conv_stem|blocks\.\d+\.\d+\.conv_(pw|dw|pwl)"),
    "torchvision": re.compile(r"layers\.\d+(\.\d+\.layers\.\d+)?"),
}


def layout_of(names: Iterable[str]) -> Layout | None:
    """Whose names these are, by the modules that only one of the three has; None when nobody's."""
    modules = {_split(name)[0] for name in names}
    for layout, sign in _SIGNS.items():
        if any(sign.fullmatch(module) for module in modules):
            return layout
    return None


def to_our_names(names: Iterable[str], layout: Layout) -> dict[str, str]:
    """Each of ``layout``'s names with ours; a name that no MnasNet has keeps itself, so that it shows up as unknown."""
    names = list(names)
    modules = {_split(name)[0] for name in names}
    if layout == "torchvision":
        table = _from_torchvision(modules)
    elif layout == "timm":
        table = _from_timm(modules)
    else:
        table = {}
    heads = [module for module in modules if _CLASSIFIER.fullmatch(module)]
    if len(heads) == 1:  # people replace the classifier: alone, or behind a dropout
        table[heads[0]] = "classifier"
    return {name: _renamed(name, table) for name in names}


def from_our_names(names: Iterable[str], layout: Layout) -> dict[str, str]:
    """Each of our names with ``layout``'s; raises WeightsError when that library has no such module."""
    names = list(names)
    modules = {_split(name)[0] for name in names}
    if layout == "torchvision":
        table = _to_torchvision(modules)
    elif layout == "timm":
        table = _to_timm(modules)
    else:
        table = {module: module for module in modules}
    lacking = sorted(modules - set(table))
    if lacking:
        raise WeightsError(
            f"{layout} has no names for {', '.join(lacking[:3])}{' ...' if len(lacking) > 3 else ''}; "
            "keep this network in a model file of this package"
        )
    return {name: _renamed(name, table) for name in names}


def _to_torchvision(modules: set[str]) -> dict[str, str]:
    table = {module: name for module, name in _TORCHVISION_START.items() if module in modules}
    last = 0
    for module in modules:
        if (match := _LAYER.fullmatch(module)) and int(match[1]) > 0 and match[3] in _TORCHVISION_LAYER:
            last = max(last, int(match[1]))
            number = _TORCHVISION_BEFORE_BLOCKS + int(match[1])
            table[module] = f"layers.{number}.{match[2]}.{_TORCHVISION_LAYER[match[3]]}"
    head = _TORCHVISION_BEFORE_BLOCKS + last + 1
    return {**table, "head.conv": f"layers.{head}", "head.bn": f"layers.{head + 1}", "classifier": "classifier.1"}


def _from_torchvision(modules: set[str]) -> dict[str, str]:
    layer_names = _inverse(_TORCHVISION_LAYER)
    table = _inverse(_TORCHVISION_START)
    last = 0
    for module in modules:
        if match := re.fullmatch(r"layers\.(\d+)\.(\d+)\.(layers\.\d+)", module):
            block = int(match[1]) - _TORCHVISION_BEFORE_BLOCKS
            if block > 0 and match[3] in layer_names:
                last = max(last, block)
                table[module] = f"blocks.{block}.{match[2]}.{layer_names[match[3]]}"
    head = _TORCHVISION_BEFORE_BLOCKS + last + 1
    return {**table, f"layers.{head}": "head.conv", f"layers.{head + 1}": "head.bn"}


def _to_timm(modules: set[str]) -> dict[str, str]:
    table = {**_TIMM_ENDS, "classifier": "classifier"}
    for module in modules:
        if match := _LAYER.fullmatch(module):
            layer = f"blocks.{match[1]}.{match[2]}"
            operator = _operator(f"{layer}.expand.conv" in modules, f"{layer}.depthwise.conv" in modules)
            name = _TIMM_LAYER[operator].get(match[3])
            if name is not None:
                table[module] = f"{layer}.{name}"
    return table


def _from_timm(modules: set[str]) -> dict[str, str]:
    table = _inverse(_TIMM_ENDS)
    for module in modules:
        if match := _LAYER.fullmatch(module):
            layer = f"blocks.{match[1]}.{match[2]}"
            operator = _operator(f"{layer}.conv_pwl" in modules, f"{layer}.conv_dw" in modules)
            name = _inverse(_TIMM_LAYER[operator]).get(match[3])
            if name is not None:
                table[module] = f"{layer}.{name}"
    return table


def _operator(expands: bool, has_depthwise: bool) -> str:
    if expands:
        return "inverted"
    return "separable" if has_depthwise else "conv"


def _inverse(table: Mapping[str, str]) -> dict[str, str]:
    return {value: key for key, value in table.items()}


def _split(name: str) -> tuple[str, str]:
    module, _, leaf = name.rpartition(".")
    return module, leaf


def _renamed(name: str, table: Mapping[str, str]) -> str:
    module, leaf = _split(name)
    return f"{table[module]}.{leaf}" if module in table else name
