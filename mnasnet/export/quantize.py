"""Whole numbers of 8 bits instead of float32: static quantisation for ONNX Runtime, calibrated on images."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnasnet.data.transforms import normalise
from mnasnet.errors import ExportError
from mnasnet.export.exported import INT8_KEY
from mnasnet.export.exporter import require
from mnasnet.export.onnx import to_onnx
from mnasnet.files import write_atomic
from mnasnet.modelfile import ModelFile

FEWEST_IMAGES = 8
BATCH = 16


class Int8OnnxExporter:
    """Writes one ``.onnx`` with 8-bit weights (per channel) and activations.

    ``images`` are prepared pixels, S x S x 3, like those that the model will see: their activations set the ranges.
    """

    suffix = ".int8.onnx"
    package = "onnxruntime"

    def __init__(self, images: Iterable[NDArray[np.uint8]]) -> None:
        self._images = list(images)
        if len(self._images) < FEWEST_IMAGES:
            raise ExportError(
                f"int8 needs {FEWEST_IMAGES} or more calibration images, better some hundred, got {len(self._images)}"
            )

    def export(self, model: ModelFile, path: Path, *, pixels: bool, softmax: bool) -> tuple[Path, ...]:
        """Write ``model`` to ``path``."""
        require(self.package)
        import onnx
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        graph = to_onnx(model, pixels=pixels, softmax=softmax)
        with tempfile.TemporaryDirectory() as name, _quiet():
            made = Path(name) / "int8.onnx"
            quantize_static(
                graph,
                str(made),
                _Calibration(self._images, model, pixels=pixels),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "Gemm", "Add", "Mul", "GlobalAveragePool", "AveragePool", "Relu"],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
            small = onnx.load(made)
        known = {item.key for item in small.metadata_props}
        props = {item.key: item.value for item in graph.metadata_props} | {INT8_KEY: f"{len(self._images)} images"}
        for key, value in props.items():
            if key not in known:
                small.metadata_props.add(key=key, value=value)
        write_atomic(path, small.SerializeToString())
        return (path,)


class _Calibration:
    """Hands batches to ONNX Runtime's calibration, which asks until it gets None."""

    def __init__(self, images: list[NDArray[np.uint8]], model: ModelFile, *, pixels: bool) -> None:
        self._batches = self._made(images, model, pixels)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._batches, None)

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        return self._batches

    @staticmethod
    def _made(images: list[NDArray[np.uint8]], model: ModelFile, pixels: bool) -> Iterator[dict[str, NDArray[Any]]]:
        for start in range(0, len(images), BATCH):
            batch = np.stack(images[start : start + BATCH])
            yield {"images": batch if pixels else normalise(batch, model.preprocess)}


class _quiet:  # noqa: N801
    """ONNX Runtime's advice to preprocess the graph, which is done already, is not for our users."""

    def __enter__(self) -> None:
        self._level = logging.root.level
        logging.root.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        logging.root.setLevel(self._level)
