"""Graphs in 8 bits whose speed is measured and nothing else: ranges are made up, so no images are needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

import numpy as np

from mnasnet.export.exported import INT8_KEY, ExportedModel, in_memory
from mnasnet.export.litert import to_litert
from mnasnet.export.quantize import FOR_OPENVINO, QUANTISED, quiet
from mnasnet.modelfile import ModelFile

NEVER_NEGATIVE = ("Relu", "Sigmoid", "GlobalAveragePool")
MADE_UP = "8-bit numbers made up for timing"  # the note of such a latency


def int8_for_timing(model: ModelFile, runtime: str) -> ExportedModel:
    """``model`` in 8 bits as ``runtime`` reads it; it is as fast as a calibrated one, its scores are noise."""
    return INT8_RUNTIMES[runtime](model)


def is_made_up(model: ModelFile | ExportedModel, precision: str) -> TypeGuard[ModelFile]:
    """Whether ``model`` is timed in 8-bit numbers that tell of nothing else; an exported file has its own."""
    return precision == "int8" and not isinstance(model, ExportedModel)


def made_up_note(model: ModelFile | ExportedModel, precision: str) -> str:
    """What the latency of ``model`` says when its 8-bit numbers were made up; else empty."""
    return MADE_UP if is_made_up(model, precision) else ""


def without_made_up(cards: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """The latency cards of a model, as a file of it in real 8-bit numbers has them."""
    return tuple(card for card in cards if MADE_UP not in str(card.get("note", "")))


def _onnx(model: ModelFile, operators: tuple[str, ...]) -> ExportedModel:
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    plain = in_memory(model)
    graph = onnx.load_model_from_string(plain.content)
    one = np.float32(1)
    ranges = {
        # a value that is never below zero must say so: a ReLU then costs nothing, as in a calibrated graph
        output: (np.float32(0) if node.op_type in NEVER_NEGATIVE else -one, one)
        for node in graph.graph.node
        for output in node.output
    }
    with quiet():
        quantizer = QDQQuantizer(
            graph,
            True,  # per channel
            True,  # 7 of a weight's 8 bits, as in a calibrated graph
            QuantType.QInt8,
            QuantType.QUInt8,
            TensorsData(CalibrationMethod.MinMax, ranges),
            [],  # all nodes
            [],  # but none
            list(operators),
            {},  # options
        )
        quantizer.quantize_model()
    return replace(plain, content=quantizer.model.model.SerializeToString(), precision="int8")


def _litert(model: ModelFile) -> ExportedModel:
    anything: defaultdict[str, tuple[float, float]] = defaultdict(lambda: (-1.0, 1.0))
    content = to_litert(model, pixels=True, ranges=anything, metadata={INT8_KEY: "no images"})
    return replace(in_memory(model, "litert"), content=content, precision="int8")


#: runtimes that compute in 8 bits
INT8_RUNTIMES: dict[str, Callable[[ModelFile], ExportedModel]] = {
    "onnxruntime": lambda model: _onnx(model, QUANTISED),
    "openvino": lambda model: _onnx(model, FOR_OPENVINO),
    "litert": _litert,
}
