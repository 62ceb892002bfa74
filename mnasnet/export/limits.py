"""Which exported files are opened: graphs of plain operators whose values have a size that is known and bounded.

Whoever made a file may have meant harm, or a disk did. So it is judged before an engine computes anything of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from mnasnet.errors import LatencyError, WeightsError
from mnasnet.export.formats import Format, recognise

if TYPE_CHECKING:
    import onnx

MOST_VALUE_BYTES = 1 << 30  # of one image; a network of 2,048 pixels takes half of it

#: types of layers that OpenVINO writes for image networks; none of them loops, branches or keeps a state
OPENVINO_LAYERS = frozenset([
    "Add", "AvgPool", "BatchNormInference", "Broadcast", "Clamp", "Concat", "Const", "Convert", "ConvertLike",
    "Convolution", "Divide", "Elu", "FakeConvert", "FakeQuantize", "Floor", "Gather", "GroupConvolution", "HSigmoid",
    "HSwish", "HardSigmoid", "MatMul", "MaxPool", "Maximum", "Minimum", "Mod", "Multiply", "PReLU", "Pad", "Parameter",
    "Power", "Range", "ReLU", "ReduceMax", "ReduceMean", "ReduceSum", "Reshape", "Result", "ShapeOf", "Sigmoid",
    "Slice", "SoftMax", "Split", "Sqrt", "Squeeze", "StridedSlice", "Subtract", "Swish", "Tanh", "Transpose",
    "Unsqueeze", "VariadicSplit",
])  # fmt: skip


_NEXT = "export the model again with `python -m mnasnet export`"


def require_plain(content: bytes, kind: Format, path: Path) -> None:
    """Raise WeightsError unless ``content`` is a graph of ``kind``, of plain operators and with all weights inside."""
    try:
        found = recognise(content).format
    except LatencyError as error:
        raise WeightsError(f"{path} is not opened: {error}; {_NEXT}") from error
    if found != kind:  # it was judged as what another engine would read in it
        raise WeightsError(f"{path} is not opened: by its name it is {kind}, by its content {found}; {_NEXT}")


def require_plain_ir(content: bytes, path: Path) -> None:
    """Raise WeightsError unless ``content`` is the XML of an OpenVINO model of plain layers.

    OpenVINO itself takes whatever it can read, an ONNX file too, and then opens the files that this one names.
    """

    def refuse(*_: object) -> None:
        raise WeightsError(f"{path} is not opened: it declares entities, which OpenVINO does not write; {_NEXT}")

    def look_at(name: str, attributes: dict[str, str]) -> None:
        kind = attributes.get("type", "")
        if name == "layer" and kind not in OPENVINO_LAYERS:
            raise WeightsError(f"{path} is not opened: its layer {kind[:60]!r} is none of an image network; {_NEXT}")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = look_at
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise WeightsError(f"{path} is damaged or no OpenVINO model ({error}); export the model again") from error


def require_bounded(shapes: Iterable[tuple[str, Sequence[int | None]]], path: Path) -> None:
    """Raise WeightsError unless each value's shape is known, but for the number of images, and not too large."""
    for name, shape in shapes:
        sides = [1 if place == 0 and side is None else side for place, side in enumerate(shape)]
        known = [side for side in sides if side is not None and side >= 0]
        if len(known) < len(sides):
            raise WeightsError(f"{path} is not opened: the size of its value {name[:60]!r} is unknown; {_NEXT}")
        if 4 * math.prod(known) > MOST_VALUE_BYTES:
            raise WeightsError(
                f"{path} is not opened: a value of one image may have {MOST_VALUE_BYTES >> 20} MiB, its "
                f"{name[:60]!r} has {4 * math.prod(known) >> 20}; {_NEXT}"
            )


def onnx_shapes(model: onnx.ModelProto) -> Iterable[tuple[str, Sequence[int | None]]]:
    """The shape of each value that ``model`` computes, found without computing; raises what ONNX raises."""
    import onnx

    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]  # what the file says of them may be wrong
    for output in bare.graph.output:
        output.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(bare).graph
    found: dict[str, Sequence[int | None]] = {
        value.name: [side.dim_value or None for side in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }
    unknown: Sequence[int | None] = (None, None)
    return [(name, found.get(name, unknown)) for node in graph.node for name in node.output if name]


def openvino_shapes(model: Any) -> Iterable[tuple[str, Sequence[int | None]]]:
    """The shape of each value of OpenVINO's ``model``, which is not compiled yet."""
    for operator in model.get_ordered_ops():
        for output in operator.outputs():
            shape = output.get_partial_shape()
            if shape.rank.is_dynamic:
                yield operator.get_friendly_name(), (None, None)
            else:
                sides = [side.get_length() if side.is_static else None for side in shape]
                yield operator.get_friendly_name(), sides
