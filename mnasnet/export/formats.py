"""Which ONNX and LiteRT files are run, here and by an agent: graphs of the plain operators of image networks alone.

A file is judged before any runtime sees it. Only its structure is read; weights are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mnasnet.errors import LatencyError
from mnasnet.export import flatbuffer, protobuf
from mnasnet.export.flatbuffer import Table
from mnasnet.export.protobuf import Message

Format = Literal["onnx", "litert"]

#: runtime of an agent -> the files it runs
FORMATS: Mapping[str, Format] = {"onnxruntime": "onnx", "litert": "litert"}

#: operators of ONNX's own domain; none of them loops or branches. Of a small number Pad alone makes a large tensor,
#: which networks need and the memory of a measurement limits
ONNX_OPERATORS = frozenset([
    "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant", "Conv", "DequantizeLinear",
    "Div", "Dropout", "Flatten", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity",
    "LeakyRelu", "MatMul", "Max", "MaxPool", "Min", "Mul", "Pad", "PRelu", "QuantizeLinear", "ReduceMean",
    "ReduceSum", "Relu", "Reshape", "Sigmoid", "Softmax", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Transpose",
    "Unsqueeze",
])  # fmt: skip

#: codes of builtin operators, from the enumeration BuiltinOperator of LiteRT's schema.fbs
LITERT_OPERATORS = {
    0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 6: "DEQUANTIZE",
    9: "FULLY_CONNECTED", 14: "LOGISTIC", 17: "MAX_POOL_2D", 18: "MUL", 19: "RELU", 21: "RELU6", 22: "RESHAPE",
    25: "SOFTMAX", 28: "TANH", 34: "PAD", 39: "TRANSPOSE", 40: "MEAN", 41: "SUB", 42: "DIV", 43: "SQUEEZE",
    53: "CAST", 55: "MAXIMUM", 57: "MINIMUM", 60: "PADV2", 74: "SUM", 114: "QUANTIZE", 117: "HARD_SWISH",
}  # fmt: skip

MOST_NODES = 5000
LEAST_SCALE, MOST_SCALE = 2.0**-64, 2.0**64  # of a value in 8 bits; those of networks lie well between
MOST_SUMMAND_SCALE = 2.0**19  # times that of the sum
_ADD, _CUSTOM = 0, 32  # BuiltinOperator
_8_BITS = (3, 9)  # TensorType.UINT8 and INT8
_GRAPHS_AND_SPARSE = (6, 11, 22, 23)  # AttributeProto
_EXTERNAL = 1  # TensorProto.DataLocation


@dataclass(frozen=True, slots=True)
class Graph:
    """What is known of a file before it runs."""

    format: Format
    operators: frozenset[str]


def recognise(content: bytes) -> Graph:
    """The graph in ``content``; raises LatencyError, saying why, for anything that is not run.

    What to do about it is told by who asks.
    """
    if content[4:8] == b"TFL3":
        try:
            return _litert(flatbuffer.root(content))
        except flatbuffer.DamagedError as error:
            raise LatencyError(f"the LiteRT file is damaged ({error})") from error
    if content[4:8] == b"ORTM":  # an ONNX file too, maybe, but ONNX Runtime would run what this format holds
        raise LatencyError("the file is of ONNX Runtime's own format, which is not run")
    try:
        return _onnx(protobuf.read(content))
    except protobuf.DamagedError as error:
        raise LatencyError(f"the file is damaged or neither ONNX nor LiteRT ({error})") from error


def _onnx(model: Message) -> Graph:
    """Field numbers are those of onnx.proto3."""
    graphs = model.messages(7)
    if not model.has(1) or not model.messages(8) or len(graphs) != 1:
        raise LatencyError("the file is neither ONNX nor LiteRT")
    if model.has(25):
        raise LatencyError("the graph defines functions of its own, which are not run")
    (graph,) = graphs
    nodes = graph.messages(1)
    if not 0 < len(nodes) <= MOST_NODES:
        raise LatencyError(f"a graph has 1 to {MOST_NODES} nodes, got {len(nodes)}")
    operators = set()
    for node in nodes:
        operator, domain = node.text(4), node.text(7)
        if domain not in ("", "ai.onnx"):
            raise LatencyError(f"the operator {operator!r} is of the domain {domain!r}; only ONNX's own are run")
        if operator not in ONNX_OPERATORS:
            raise LatencyError(f"only operators of image networks are run, got {operator!r}")
        operators.add(operator)
        for attribute in node.messages(5):
            if any(attribute.has(number) for number in _GRAPHS_AND_SPARSE):
                raise LatencyError(f"the operator {operator!r} holds a graph or sparse tensors, which are not run")
            for tensor in (*attribute.messages(5), *attribute.messages(10)):
                _require_inside(tensor)
    if graph.has(15):
        raise LatencyError("the graph has sparse tensors, which are not run")
    for tensor in graph.messages(5):
        _require_inside(tensor)
    return Graph("onnx", frozenset(operators))


def _require_inside(tensor: Message) -> None:
    if tensor.has(13) or tensor.number(14) == _EXTERNAL:
        raise LatencyError(f"the tensor {tensor.text(8)!r} lies in another file; no other file is opened")


def _litert(model: Table) -> Graph:
    """Field numbers are the order of fields in schema.fbs."""
    codes = [_code(entry) for entry in model.tables(1)]
    subgraphs = model.tables(2)
    nodes = subgraphs[0].tables(3) if subgraphs else []  # of one: thousands may lie in the same bytes
    if len(subgraphs) != 1 or not 0 < len(nodes) <= MOST_NODES:
        raise LatencyError(
            f"a file has one graph of 1 to {MOST_NODES} nodes, got {len(subgraphs)} graphs, the first of {len(nodes)} "
            "nodes"
        )
    for code in codes:
        if code == _CUSTOM:
            raise LatencyError("the file has an operator of its own (CUSTOM); only LiteRT's own are run")
        if code not in LITERT_OPERATORS:
            raise LatencyError(f"only operators of image networks are run, got LiteRT's number {code}")
    additions = [node for node in nodes if codes[node.int32(0) : node.int32(0) + 1] == [_ADD]]
    _require_scales(subgraphs[0].tables(0), additions)
    return Graph("litert", frozenset(LITERT_OPERATORS[code] for code in codes))


def _require_scales(tensors: Sequence[Table], additions: Sequence[Table]) -> None:
    """Raise LatencyError for scales of 8-bit values at which LiteRT ends the whole process without a word."""
    scales = {place: scale for place, tensor in enumerate(tensors) if (scale := _scale(tensor)) is not None}
    for scale in scales.values():
        if not LEAST_SCALE < scale < MOST_SCALE:
            raise LatencyError(f"the LiteRT file is damaged: {scale:g} is no scale of a value in 8 bits")
    for addition in additions:
        summands, sums = (
            [scales[place] for place in addition.int32s(field, most=2) if place in scales] for field in (1, 2)
        )
        if summands and sums and max(summands) >= MOST_SUMMAND_SCALE * min(sums):
            raise LatencyError(
                f"the LiteRT file is damaged: a sum in 8 bits has the scale {min(sums):g}, of a value of the scale "
                f"{max(summands):g}"
            )


def _scale(tensor: Table) -> float | None:
    """Of a value in 8 bits; weights have one for each channel."""
    quantization = tensor.table(4)
    return quantization.only_float(2) if quantization and tensor.int8(1) in _8_BITS else None


def _code(entry: Table) -> int:
    """Codes above 126 are in a second field, added later; the greater one counts."""
    return max(entry.int8(0), entry.int32(3))
