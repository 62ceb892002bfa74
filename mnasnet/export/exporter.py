"""The file formats a model can be exported to."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from mnasnet.errors import ExportError
from mnasnet.modelfile import ModelFile
from mnasnet.packages import require


class Exporter(Protocol):
    """One file format."""

    suffix: str  # of the file that is opened again
    package: str  # that must be installed

    def export(self, model: ModelFile, path: Path, *, pixels: bool, softmax: bool) -> tuple[Path, ...]:
        """Write ``model``, complete with its header, and return the files, the one to open first.

        ``pixels`` puts normalisation inside the graph, ``softmax`` the last step to probabilities.
        """
        ...


def require_rgb(model: ModelFile) -> None:
    """Raise ExportError unless ``model`` takes RGB images: a graph that takes pixels is of these alone."""
    if model.in_channels != 3:
        raise ExportError(f"pixels=True needs a network with 3 input channels, this one has {model.in_channels}")


class Quantised(Protocol):
    """A network in 8 bits, calibrated and not yet written."""

    def write(self, path: Path, metrics: Mapping[str, float]) -> tuple[Path, ...]:
        """Write it with ``metrics`` beside the model's own in the header; return the files, the one to open first."""
        ...


class Int8Exporter(Protocol):
    """One file format in 8 bits, made from calibration images."""

    suffix: str  # of the file that is opened again
    package: str  # that must be installed

    def quantise(self, model: ModelFile, *, pixels: bool, softmax: bool) -> Quantised:
        """Run ``model`` on the calibration images, once for however many files are written of the result.

        ``pixels`` and ``softmax`` are those of :class:`Exporter`.
        """
        ...


#: format -> the class that writes it; the module is imported only when chosen
EXPORTERS: dict[str, tuple[str, str]] = {
    "onnx": ("mnasnet.export.onnx", "OnnxExporter"),
    "openvino": ("mnasnet.export.openvino", "OpenvinoExporter"),
    "litert": ("mnasnet.export.litert", "LitertExporter"),
    "executorch": ("mnasnet.export.executorch", "ExecutorchExporter"),
}

MAX_DROP = 0.01  # of accuracy, that 8 bits may cost unless told otherwise

#: format -> the Int8Exporter of it
INT8_EXPORTERS: dict[str, tuple[str, str]] = {
    "onnx": ("mnasnet.export.quantize", "Int8OnnxExporter"),
    "openvino": ("mnasnet.export.quantize", "Int8OpenvinoExporter"),
    "litert": ("mnasnet.export.litert_int8", "Int8LitertExporter"),
}


_MAKERS = {"tflite": "litert", "onnxruntime": "onnx", "xml": "openvino", "pte": "executorch"}


def open_exporter(name: str) -> Exporter:
    """The exporter of a format; raises ExportError for an unknown one and RuntimeMissingError with the install line."""
    if name not in EXPORTERS:
        near = difflib.get_close_matches(name.lower(), EXPORTERS, n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]}?" if near else ""
        if name.lower() in _MAKERS:
            hint = f"; {name} files are made by {_MAKERS[name.lower()]}"
        raise ExportError(f"a model can be exported to {', '.join(EXPORTERS)}, got {name!r}{hint}")
    return cast("Exporter", _opened(*EXPORTERS[name]))


def open_int8_exporter(name: str, images: Iterable[NDArray[np.uint8]]) -> Int8Exporter:
    """The 8-bit exporter of a format, calibrated on ``images``, S x S x 3 prepared pixels each.

    Raises ExportError for an unknown format or too few images and RuntimeMissingError with the install line.
    """
    require_int8([name])
    return cast("Int8Exporter", _opened(*INT8_EXPORTERS[name], images))


def require_int8(formats: Iterable[str], max_drop: float = MAX_DROP) -> None:
    """Raise ExportError unless each of ``formats`` can be written in 8 bits and ``max_drop`` is a share."""
    if not 0 <= max_drop < 1:
        raise ExportError(f"max_drop is a share of images, 0 or more and below 1, such as {MAX_DROP}, got {max_drop}")
    for name in formats:
        if name not in INT8_EXPORTERS:
            raise ExportError(f"int8 is written for {', '.join(INT8_EXPORTERS)}, got {name!r}")


def _opened(module: str, class_name: str, *arguments: Any) -> Any:
    exporter = getattr(importlib.import_module(module), class_name)(*arguments)
    require(exporter.package)
    return exporter
