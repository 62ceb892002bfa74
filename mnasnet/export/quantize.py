"""Whole numbers of 8 bits instead of float32, calibrated on images: for ONNX Runtime and OpenVINO."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnasnet.data.transforms import normalise
from mnasnet.errors import ExportError
from mnasnet.export.exported import INT8_KEY
from mnasnet.export.onnx import to_onnx, write_onnx
from mnasnet.export.openvino import write_ir
from mnasnet.modelfile import HEADER_KEY, ModelFile, header_text
from mnasnet.packages import require

if TYPE_CHECKING:
    import onnx

FEWEST_IMAGES = 8
BATCH = 16
QUANTISED = ("Conv", "Gemm", "Add", "Mul", "GlobalAveragePool", "AveragePool", "Relu")
# OpenVINO 2026.4 fails on the scales of an average pool that channels are added to, and is wrong about the sum of two
# values in 8 bits: on digits that ONNX Runtime reads from the same graph it is no better than chance.
FOR_OPENVINO = tuple(operator for operator in QUANTISED if operator not in ("AveragePool", "Add"))

Images = Sequence[NDArray[np.uint8]]


class Int8OnnxExporter:
    """Writes one ``.onnx`` with 8-bit weights (per channel) and activations.

    ``images`` are prepared pixels, S x S x 3, like those that the model will see: their activations set the ranges,
    except those that quantization-aware training has learned.
    """

    suffix = ".int8.onnx"
    package = "onnxruntime"

    def __init__(self, images: Iterable[NDArray[np.uint8]]) -> None:
        self.images = enough(images)

    def quantise(self, model: ModelFile, *, pixels: bool, softmax: bool) -> QuantisedOnnx:
        """The graph, to be written as ``.onnx``."""
        graph = calibrated_onnx(model, self.images, pixels=pixels, softmax=softmax)
        return QuantisedOnnx(model, graph, write_onnx)


class Int8OpenvinoExporter:
    """Writes ``.xml`` and ``.bin`` of the 8-bit ONNX graph, whose scales OpenVINO computes with as they are."""

    suffix = ".int8.xml"
    package = "openvino"

    def __init__(self, images: Iterable[NDArray[np.uint8]]) -> None:
        self.images = enough(images)

    def quantise(self, model: ModelFile, *, pixels: bool, softmax: bool) -> QuantisedOnnx:
        """The graph, to be written as ``.xml`` and ``.bin``."""
        graph = calibrated_onnx(model, self.images, pixels=pixels, softmax=softmax, operators=FOR_OPENVINO)
        return QuantisedOnnx(model, graph, write_ir)


@dataclass(frozen=True, eq=False)
class QuantisedOnnx:
    """``model`` as an ONNX graph in 8 bits, and what makes files of it."""

    model: ModelFile
    graph: onnx.ModelProto
    write_graph: Callable[[onnx.ModelProto, Path], tuple[Path, ...]]

    def write(self, path: Path, metrics: Mapping[str, float]) -> tuple[Path, ...]:
        """Write the graph with ``metrics`` in its header."""
        header = header_text(replace(self.model, metrics={**self.model.metrics, **metrics}))
        for item in self.graph.metadata_props:
            if item.key == HEADER_KEY:
                item.value = header
        return self.write_graph(self.graph, path)


def enough(images: Iterable[NDArray[np.uint8]]) -> Images:
    """The calibration images; raises ExportError when they are too few to set ranges."""
    found = list(images)
    if len(found) < FEWEST_IMAGES:
        raise ExportError(
            f"int8 needs {FEWEST_IMAGES} or more images to calibrate on, those that judge not counted, better some "
            f"hundred, got {len(found)}; give more"
        )
    return found


def calibrated_onnx(
    model: ModelFile, images: Images, *, pixels: bool, softmax: bool, operators: Sequence[str] = QUANTISED
) -> onnx.ModelProto:
    """The graph with ``operators`` in 8 bits, the range of each value taken from the model or else from ``images``.

    Weights keep 7 of their 8 bits (-64 to 64). x86 processors without VNNI add two products of an activation and a
    weight in 16 bits (``vpmaddubsw``) and cut off what is larger: 2 x 255 x 64 fits, 2 x 255 x 127 does not. Of
    photos10's 89.5 % such a processor kept 83.6 % in ONNX Runtime and 82.1 % in OpenVINO with 8 bits, 89.8 % in both
    with 7. A file is made on one machine and run on another, so all are made so; other processors lose nothing by it.
    ONNX Runtime calls this ``reduce_range``, OpenVINO the overflow fix (docs.openvino.ai, "Saturation (overflow) issue
    workaround"). LiteRT multiplies in 16 bits and needs none.
    """
    require("onnxruntime")
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    graph = to_onnx(model, pixels=pixels, softmax=softmax)
    with tempfile.TemporaryDirectory() as name, quiet():
        made = Path(name) / "int8.onnx"
        quantize_static(
            graph,
            str(made),
            _Calibration(images, model, pixels=pixels),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(operators),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"TensorQuantOverrides": _learned(model, graph)},
        )
        small = onnx.load(made)
    return _with_metadata(small, graph, f"{len(images)} images")


def _learned(model: ModelFile, graph: onnx.ModelProto) -> dict[str, list[dict[str, Any]]]:
    """The ranges that quantization-aware training left in ``model``, as ONNX Runtime takes them."""
    ranges = dict(model.int8_ranges)
    for node in graph.graph.node:  # what is only laid out anew, or ends the graph, has the range of what it was
        if node.op_type in ("Flatten", "Pad") and node.input[0] in ranges:
            ranges[node.output[0]] = ranges[node.input[0]]
    if "scores" in ranges:
        ranges["logits"] = ranges["scores"]
    made = {output for node in graph.graph.node for output in node.output}
    return {
        name: [{"rmin": np.float32(low), "rmax": np.float32(high)}]
        for name, (low, high) in ranges.items()
        if name in made
    }


def _with_metadata(small: onnx.ModelProto, graph: onnx.ModelProto, note: str) -> onnx.ModelProto:
    known = {item.key for item in small.metadata_props}
    for key, value in ({item.key: item.value for item in graph.metadata_props} | {INT8_KEY: note}).items():
        if key not in known:
            small.metadata_props.add(key=key, value=value)
    return small


class _Calibration:
    """Hands batches to ONNX Runtime's calibration, which asks until it gets None."""

    def __init__(self, images: Images, model: ModelFile, *, pixels: bool) -> None:
        self._batches = (
            {"images": batch if pixels else normalise(batch, model.preprocess)}
            for batch in (np.stack(images[start : start + BATCH]) for start in range(0, len(images), BATCH))
        )

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._batches, None)

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        return self._batches


@contextmanager
def quiet() -> Iterator[None]:
    """ONNX Runtime's advice to preprocess the graph, which is done already, is not for our users.

    It goes to the root logger itself, so no other logger falls silent, and no other thread.
    """
    own = threading.get_ident()

    def is_for_users(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR or record.thread != own

    logging.root.addFilter(is_for_users)
    try:
        yield
    finally:
        logging.root.removeFilter(is_for_users)
