"""Any weights file of a MnasNet, recognised by its shapes and renamed to ours."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mnasnet.errors import SpecError, WeightsError
from mnasnet.network.naming import Layout, layout_of, to_our_names
from mnasnet.network.shapes import TEMPLATES, expected_shapes, recognise
from mnasnet.network.weights_file import (
    BOOKKEEPING,
    State,
    content_of,
    safetensors_header,
    state_header,
    unwrapped,
    without_prefixes,
)
from mnasnet.spec import ArchitectureSpec

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LoadedWeights:
    """Weights under our names, float32, with what their names and shapes say about the network.

    ``header`` is that of a model file, where a state dict of ours carries one.
    """

    weights: State
    architecture: ArchitectureSpec
    num_classes: int
    in_channels: int
    layout: Layout
    header: str = ""


def load_weights(path: Path, *, expected: ArchitectureSpec | None = None) -> LoadedWeights:
    """Read any weights file of a MnasNet.

    ``expected`` is the network asked for; it is also what gives a searched network, whose strides and skips no
    shape shows, its architecture. Raises WeightsError when the file is missing, damaged, unsafe, another network
    or incomplete.
    """
    if names := _names_of_weights(safetensors_header(path)):
        _layout(names, str(path))  # another network may be larger than the memory
    content = content_of(path)
    header = state_header(content)
    if header and expected is None:
        expected = _architecture_in(header, path)
    return replace(adopt(unwrapped(content, str(path)), str(path), expected=expected), header=header)


def _names_of_weights(header: Mapping[str, Any]) -> list[str]:
    names = [name for name in header if name != "__metadata__" and name.rpartition(".")[2] not in BOOKKEEPING]
    return [without_prefixes(name) for name in names]


def _architecture_in(header: str, path: Path) -> ArchitectureSpec:
    try:
        return ArchitectureSpec.from_dict(json.loads(header)["architecture"])
    except (SpecError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(f"the header of {path} is damaged ({error}); copy or download the file again") from error


def adopt(state: State, origin: str, *, expected: ArchitectureSpec | None = None) -> LoadedWeights:
    """Recognise and rename ``state``; raises WeightsError when it is another network or incomplete."""
    layout = _layout(state, origin)
    names = to_our_names(state, layout)
    weights = {names[name]: value for name, value in state.items()}
    if expected is not None and not _differences(weights, expected):
        return _loaded(weights, expected, layout, origin)
    recognised = recognise(weights, layout)
    if recognised is None:
        raise WeightsError(_unrecognised(weights, origin, layout, expected))
    if expected is not None and recognised != expected:
        raise WeightsError(
            f"{origin} is {recognised.name}, you asked {expected.name or 'for another architecture'}; "
            f"ask for {recognised.name} or auto"
        )
    if expected_shapes(recognised, 1).keys() ^ weights.keys() == {"classifier.weight", "classifier.bias"}:
        raise WeightsError(
            f"{origin} is {recognised.name} without its classifier; save the network with one (in timm num_classes "
            "above 0)"
        )
    differences = _differences(weights, recognised)
    if differences:
        raise WeightsError(f"{origin} is {recognised.name}, but {differences}; copy or export the file again")
    return _loaded(weights, recognised, layout, origin)


def _layout(names: Collection[str], origin: str) -> Layout:
    layout = layout_of(names)
    if layout is None:
        if {name.partition(".")[0] for name in names} >= {"network", "average"}:
            raise WeightsError(f"{origin} is the checkpoint of a training; give best.safetensors beside it")
        first = ", ".join(sorted(names)[:3])  # safetensors tells them in another order each time
        raise WeightsError(f"{origin} holds no MnasNet: its first weights are {first}; give MnasNet weights")
    return layout


def _loaded(weights: State, spec: ArchitectureSpec, layout: Layout, origin: str) -> LoadedWeights:
    num_classes, in_channels = _ends(weights)
    order = expected_shapes(spec, num_classes, in_channels)
    _log.info("%s: %s in %s layout, %d classes", origin, spec.name, layout, num_classes)
    return LoadedWeights({name: weights[name] for name in order}, spec, num_classes, in_channels, layout)


def _ends(weights: Mapping[str, NDArray[Any]]) -> tuple[int, int]:
    """Number of classes and of input channels; those of ImageNet where the weight itself is missing."""
    classifier, stem = weights.get("classifier.weight"), weights.get("stem.conv.weight")
    return (
        classifier.shape[0] if classifier is not None and classifier.ndim == 2 else 1000,
        stem.shape[1] if stem is not None and stem.ndim == 4 else 3,
    )


def _differences(weights: Mapping[str, NDArray[Any]], spec: ArchitectureSpec) -> str:
    """What keeps ``weights`` from fitting ``spec``, in one line; empty when they fit."""
    shapes = expected_shapes(spec, *_ends(weights))
    parts = []
    if missing := [name for name in shapes if name not in weights]:
        parts.append(_some("missing", missing))
    if extra := [name for name in weights if name not in shapes]:
        parts.append(_some("unknown", extra))
    wrong = [
        f"{name} {weights[name].shape} instead of {shape}"
        for name, shape in shapes.items()
        if name in weights and weights[name].shape != shape
    ]
    if wrong:
        parts.append(_some("of another shape", wrong))
    return "; ".join(parts)


def _some(what: str, names: list[str]) -> str:
    weights = "1 weight is" if len(names) == 1 else f"{len(names)} weights are"
    return f"{weights} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def _unrecognised(
    weights: Mapping[str, NDArray[Any]], origin: str, layout: Layout, expected: ArchitectureSpec | None
) -> str:
    if expected is not None:
        return (
            f"{origin} does not fit {expected.name or 'the architecture asked for'}: {_differences(weights, expected)}"
        )

    def distance(spec: ArchitectureSpec) -> int:
        return len(set(expected_shapes(spec, 1)) ^ set(weights))  # names do not depend on widths

    nearest = min(TEMPLATES, key=distance)
    names = expected_shapes(nearest, 1)
    missing = [name for name in names if name not in weights]
    extra = [name for name in weights if name not in names]
    is_damaged = 0 < len(missing) <= len(names) // 3 and not any(name.startswith("blocks.") for name in extra)
    if is_damaged:
        parts = [_some(what, found) for what, found in (("missing", missing), ("unknown", extra)) if found]
        return f"{origin} looks like {nearest.name}, but {'; '.join(parts)}; copy or export the file again"
    return (
        f"{origin} has {layout} names but no published MnasNet's blocks (A1, B1, small), and shapes do not show "
        "strides and skips; give the model file that the search or training wrote"
    )
