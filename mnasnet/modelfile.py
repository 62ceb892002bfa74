"""The model file: one safetensors file that holds a network and everything needed to use it.

Weights are the tensors; the header carries architecture, class names, preprocessing, metrics, training summary
and latencies as JSON under the key ``mnasnet``, with a schema number.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnasnet.checks import is_whole
from mnasnet.errors import NewerSchemaError, WeightsError
from mnasnet.files import expanded, write_atomic
from mnasnet.locks import locked
from mnasnet.network.shapes import expected_shapes
from mnasnet.network.weights_file import (
    BOOKKEEPING,
    is_negative_variance,
    read_safetensors,
    safetensors_header,
    without_prefixes,
)
from mnasnet.openmp import import_torch
from mnasnet.preprocess import MAX_INPUT_SIZE, MIN_INPUT_SIZE, Preprocess
from mnasnet.spec import ArchitectureSpec

if TYPE_CHECKING:
    from torch import nn

    from mnasnet.network.build import MnasNet

SCHEMA = 1
HEADER_KEY = "mnasnet"

Weights = Mapping[str, NDArray[np.float32]]
Latencies = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A trained network with its class names and preprocessing.

    ``weights`` are float32 arrays under the names of :mod:`mnasnet.network.build`, batch statistics included.
    ``metrics``, ``training`` and each of ``latencies`` hold plain JSON values. ``int8_ranges`` are the smallest and
    largest number of each activation, by its name, where quantization-aware training learned them.
    """

    architecture: ArchitectureSpec
    weights: Weights = field(repr=False)
    class_names: tuple[str, ...]
    preprocess: Preprocess = field(default_factory=Preprocess)
    in_channels: int = 3
    metrics: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    latencies: Latencies = ()
    int8_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        if "classifier.weight" not in self.weights:
            raise WeightsError(
                "a model needs the weights of its network, classifier.weight is not among those given; take them by "
                "modelfile.weights_of"
            )
        classes = self.weights["classifier.weight"].shape[0]
        if classes != len(self.class_names):
            raise WeightsError(
                f"a model needs one class name for each output, got {len(self.class_names)} names for {classes} outputs"
            )

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change with any weight and with the architecture."""
        digest = hashlib.sha256(self.architecture.fingerprint.encode())
        for key in sorted(self.weights):
            digest.update(key.encode())
            digest.update(np.ascontiguousarray(self.weights[key]).data)
        return digest.hexdigest()[:16]


def save(model: ModelFile, path: str | Path, *, half: bool = False) -> None:
    """Write ``model`` atomically; ``half`` stores weights in 16 bits, half the size.

    Raises WeightsError, a file that is there left as it was, for what :func:`load` would refuse.
    """
    from safetensors.numpy import save as to_bytes

    path = expanded(path)
    kind = np.float16 if half else np.float32
    with np.errstate(over="ignore"):  # told by what follows
        tensors = {key: np.ascontiguousarray(value, dtype=kind) for key, value in model.weights.items()}
    try:
        require_header(header_of(model), path)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"this model cannot be saved: {error}") from error
    if misfit := _misfit(tensors, model.architecture, len(model.class_names), model.in_channels):
        raise WeightsError(
            f"this model cannot be saved: {misfit}; take its weights by modelfile.weights_of from a network of its "
            f"architecture with in_channels {model.in_channels}{', or save without half' if half else ''}"
        )
    write_atomic(path, to_bytes(tensors, metadata={HEADER_KEY: header_text(model)}))


def replace_latencies(path: Path, latencies: Latencies) -> None:
    """Write ``latencies`` into the header of a model file in place of those it has; its weights keep every bit."""
    update_latencies(path, lambda there: latencies)


def update_latencies(path: Path, update: Callable[[Latencies], Latencies]) -> None:
    """Write what ``update`` makes of the latencies in the header of a model file; its weights keep every bit.

    Those in the file count, not those of a model that was loaded before: another process may have added some.
    """
    path = Path(os.path.realpath(path))  # a link to it stays one
    with locked(path.with_name(f".{path.name[:40]}.lock")):
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        outer = json.loads(content[8 : 8 + size])
        inner = json.loads(outer["__metadata__"][HEADER_KEY])
        inner["latencies"] = [dict(latency) for latency in update(tuple(inner["latencies"]))]
        outer["__metadata__"][HEADER_KEY] = json.dumps(inner, ensure_ascii=False)
        header = json.dumps(outer, ensure_ascii=False).encode()
        header += b" " * (-len(header) % 8)  # safetensors aligns the weights to 8 bytes
        write_atomic(path, len(header).to_bytes(8, "little") + header + content[8 + size :])


def header_of(model: ModelFile) -> dict[str, Any]:
    """Everything but the weights, as plain JSON values; exported files carry it too."""
    return {
        "schema": SCHEMA,
        "name": model.name,
        "architecture": model.architecture.to_dict(),
        "class_names": list(model.class_names),
        "preprocess": model.preprocess.to_dict(),
        "in_channels": model.in_channels,
        "metrics": dict(model.metrics),
        "training": dict(model.training),
        "latencies": [dict(latency) for latency in model.latencies],
        **(
            {"int8_ranges": {name: list(ends) for name, ends in model.int8_ranges.items()}} if model.int8_ranges else {}
        ),
    }


def header_text(model: ModelFile) -> str:
    """The header as the JSON that files carry under HEADER_KEY."""
    return json.dumps(header_of(model), ensure_ascii=False)


def load(path: str | Path) -> ModelFile:
    """Read a model file; raises WeightsError when it is damaged, of a newer schema or not a model file."""
    path = expanded(path)
    tensors, metadata = read_safetensors(path)
    if HEADER_KEY not in metadata:
        raise WeightsError(f"{path} holds weights but is not a model file of this package; open it by zoo.open_model")
    return with_header(metadata[HEADER_KEY], tensors, path)


def with_header(text: str, tensors: Weights, path: Path) -> ModelFile:
    """The model of a header and tensors that were read from ``path``; raises WeightsError as :func:`load` does."""
    try:
        header = json.loads(text)
        require_header(header, path)
        architecture = ArchitectureSpec.from_dict(header["architecture"])
        class_names = tuple(header["class_names"])
        if misfit := _misfit(tensors, architecture, len(class_names), header["in_channels"]):
            raise WeightsError(f"{path} is damaged: {misfit}; copy or download the file again")
        return ModelFile(
            architecture=architecture,
            weights=tensors,
            class_names=class_names,
            preprocess=Preprocess.from_dict(header["preprocess"]),
            in_channels=header["in_channels"],
            metrics=header["metrics"],
            training=header["training"],
            latencies=tuple(header["latencies"]),
            int8_ranges=_ranges(header.get("int8_ranges", {})),
            name=header["name"],
        )
    except NewerSchemaError as error:
        raise WeightsError(f"{path}: {error}") from error
    except WeightsError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise WeightsError(f"the header of {path} is damaged ({error}); copy or download the file again") from error


_KINDS = {"name": str, "class_names": list, "metrics": dict, "training": dict, "latencies": list}


def require_header(header: Mapping[str, Any], path: Path) -> None:
    """Raise KeyError or TypeError unless the header of ``path`` has the kinds of values that :func:`header_of` writes.

    Raises WeightsError for a newer schema.
    """
    if not is_whole(header["schema"]) or header["schema"] < 1:
        raise TypeError("schema is a whole number from 1")
    if header["schema"] > SCHEMA:
        raise WeightsError(
            f"{path} has model file schema {header['schema']}, newer than {SCHEMA}; update the mnasnet package"
        )
    for key, kind in _KINDS.items():
        if not isinstance(header[key], kind):
            raise TypeError(f"{key} is no {kind.__name__}")
    if not all(isinstance(name, str) for name in header["class_names"]):
        raise TypeError("class names must be text")
    "".join(
        [header["name"], *header["class_names"]]
    ).encode()  # raises ValueError for halves of characters, which no file could hold
    if not all(isinstance(card, dict) for card in header["latencies"]):
        raise TypeError("each of latencies is a mapping")
    if not is_whole(header["in_channels"]):
        raise TypeError("in_channels is a whole number")
    sizes = header["training"].get("input_sizes", [MIN_INPUT_SIZE, MAX_INPUT_SIZE])
    if not isinstance(sizes, list) or len(sizes) != 2 or not all(map(is_whole, sizes)) or sizes[0] > sizes[1]:
        raise TypeError("input_sizes of training are the smallest and the largest size in pixels")


def _misfit(
    weights: Mapping[str, NDArray[Any]], architecture: ArchitectureSpec, num_classes: int, in_channels: int
) -> str:
    """The first tensor that is missing, unknown, of a wrong shape or without usable numbers; empty for none."""
    shapes = expected_shapes(architecture, num_classes, in_channels)
    wrong = [f"{name} is missing" for name in shapes if name not in weights]
    wrong += [f"{name} is unknown" for name in weights if name not in shapes]
    wrong += [
        f"{name} must have shape {shape}, has {weights[name].shape}"
        for name, shape in shapes.items()
        if name in weights and weights[name].shape != shape
    ]
    wrong = wrong or [f"{name} holds values that are no numbers" for name in shapes if not _is_finite(weights[name])]
    wrong = wrong or [
        f"{name} holds negative variances" for name in shapes if is_negative_variance(name, weights[name])
    ]
    return f"{wrong[0]} and {len(wrong) - 1} more" if len(wrong) > 1 else "".join(wrong)


def _ranges(values: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    try:
        ranges = {str(name): (float(low), float(high)) for name, (low, high) in values.items()}
    except (ValueError, OverflowError) as error:
        raise TypeError(f"int8_ranges are pairs of numbers: {error}") from error
    if not all(-np.inf < low <= 0 <= high < np.inf for low, high in ranges.values()):
        raise TypeError("int8_ranges must be finite and hold zero")
    return ranges


def _is_finite(values: NDArray[Any]) -> bool:
    return bool(np.isfinite(values).all())


def is_model_file(path: str | Path) -> bool:
    """Whether ``path`` is a safetensors file with this package's header; reads only the header."""
    metadata = safetensors_header(expanded(path)).get("__metadata__")
    return isinstance(metadata, dict) and HEADER_KEY in metadata


def network_of(model: ModelFile, *, dropout: float = 0.2, bn_momentum: float = 0.1) -> MnasNet:
    """The torch network of ``model`` with its weights, in training mode as torch makes it."""
    torch = import_torch()
    from mnasnet.network.build import build  # after torch has been imported with care
    from mnasnet.network.seeded import seeded

    with seeded(0):  # numbers that are replaced at once must not be drawn from those of a training beside us
        network = build(
            model.architecture, len(model.class_names), model.in_channels, dropout=dropout, bn_momentum=bn_momentum
        )
    state = {key: torch.from_numpy(np.array(value)) for key, value in model.weights.items()}
    missing, unexpected = network.load_state_dict(state, strict=False)
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise WeightsError(
            f"weights do not fit their architecture: {len(missing)} missing {missing[:3]}, "
            f"{len(unexpected)} unknown {unexpected[:3]}"
        )
    return network


def weights_of(network: nn.Module) -> dict[str, NDArray[np.float32]]:
    """The network's weights and batch statistics as float32 arrays of their own.

    One that was compiled, or wrapped by torch to be averaged or to run in parallel, gives those of the network within.
    """
    return {
        without_prefixes(key): value.detach().cpu().float().numpy().copy()
        for key, value in network.state_dict().items()
        if not key.endswith(BOOKKEEPING)
    }
