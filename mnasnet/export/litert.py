"""LiteRT (TFLite) files for phones, written straight from the architecture and its weights, without any converter.

The header travels in the file's metadata. Batch normalisation is merged into the convolutions in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnasnet.errors import WeightsError
from mnasnet.export.exporter import require_rgb
from mnasnet.export.limits import require_bounded, require_plain
from mnasnet.export.litert_graph import Array, LitertGraph
from mnasnet.export.onnx import merge_batch_norm
from mnasnet.files import write_atomic
from mnasnet.modelfile import HEADER_KEY, ModelFile, Weights, header_text
from mnasnet.packages import require
from mnasnet.spec import LayerSpec
from mnasnet.words import one_line

PACKAGE = "ai_edge_litert"

Ranges = Mapping[str, tuple[float, float]]


class LitertExporter:
    """Writes one ``.tflite`` file in float32."""

    suffix = ".tflite"
    package = PACKAGE

    def export(self, model: ModelFile, path: Path, *, pixels: bool, softmax: bool) -> tuple[Path, ...]:
        """Write ``model`` to ``path``."""
        write_atomic(path, to_litert(model, pixels=pixels, softmax=softmax))
        return (path,)


def to_litert(
    model: ModelFile,
    *,
    pixels: bool = False,
    softmax: bool = False,
    ranges: Ranges | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """The file of ``model`` with a free batch size.

    The input ``images`` is N x S x S x C float32, normalised as the model's recipe says; with ``pixels`` it is uint8
    RGB and the graph normalises. The output ``logits`` is N x classes, or ``probabilities`` with ``softmax``.
    ``ranges``, the smallest and largest number of each value by name, makes 8-bit whole numbers of it all.
    ``metadata`` is kept beside the header.
    """
    if pixels:
        require_rgb(model)
    require(PACKAGE)
    graph = LitertGraph(ranges)
    side = model.preprocess.input_size
    value = graph.input("images", (1, side, side, model.in_channels), pixels=pixels)
    stem_scale: Array | None = None
    if pixels:
        value = graph.subtract("centred", value, np.asarray(model.preprocess.mean).reshape(1, 1, 1, 3) * 255)
        stem_scale = 1 / (np.asarray(model.preprocess.std, np.float64) * 255)
    value = _features(graph, model, value, stem_scale)
    value = graph.mean("pooled", value, keep=False)
    output = "probabilities" if softmax else "logits"
    scores = output if not (softmax or graph.is_int8) else "scores"
    value = graph.linear(scores, value, *_linear(model.weights, "classifier"))
    result = graph.output(output, value, softmax=softmax)
    texts = {HEADER_KEY: header_text(model), **(metadata or {})}
    return graph.content(model.name or "mnasnet", "images", result, {key: text.encode() for key, text in texts.items()})


def _features(graph: LitertGraph, model: ModelFile, value: str, stem_scale: Array | None) -> str:
    spec = model.architecture
    value = _conv_bn(graph, model, "stem", value, stride=spec.stem_stride, in_scale=stem_scale)
    for b, block in enumerate(spec.layers()):
        for i, layer in enumerate(block):
            value = _layer(graph, model, f"blocks.{b}.{i}", layer, value)
    return _conv_bn(graph, model, "head", value)


def _layer(graph: LitertGraph, model: ModelFile, name: str, layer: LayerSpec, value: str) -> str:
    out = value
    if layer.operator == "conv":
        out = _conv_bn(graph, model, f"{name}.full", out, stride=layer.stride)
    else:
        if layer.operator == "inverted":
            out = _conv_bn(graph, model, f"{name}.expand", out)
        out = _conv_bn(graph, model, f"{name}.depthwise", out, stride=layer.stride, depthwise=True)
    if layer.se_channels:
        gate = graph.mean(f"{name}.se.pooled", out, keep=True)
        gate = graph.convolution(f"{name}.se.reduce", gate, *_linear(model.weights, f"{name}.se.reduce"), relu=True)
        gate = graph.convolution(f"{name}.se.restore", gate, *_linear(model.weights, f"{name}.se.restore"))
        out = graph.multiply(f"{name}.se", out, graph.sigmoid(f"{name}.se.gate", gate))
    if layer.operator != "conv":
        out = _conv_bn(graph, model, f"{name}.project", out, relu=False)
    if layer.skip == "identity":
        return graph.add(f"{name}.sum", out, value)
    if layer.skip == "pool":
        skip = graph.average3(f"{name}.skip", value, stride=layer.stride)
        if layer.out_channels > layer.in_channels:
            skip = graph.pad(f"{name}.skip.wide", skip, channels=layer.out_channels - layer.in_channels)
        return graph.add(f"{name}.sum", out, skip)
    return out


def _conv_bn(
    graph: LitertGraph,
    model: ModelFile,
    name: str,
    value: str,
    *,
    stride: int = 1,
    depthwise: bool = False,
    relu: bool = True,
    in_scale: Array | None = None,
) -> str:
    weight, bias = merge_batch_norm(model.weights, name, model.architecture.bn_epsilon)
    if in_scale is not None:
        weight = weight * in_scale.reshape(1, -1, 1, 1)
    return graph.convolution(name, value, weight, bias, stride=stride, relu=relu, depthwise=depthwise)


def _linear(weights: Weights, name: str) -> tuple[Array, Array]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


@dataclass(frozen=True, slots=True)
class Ends:
    """What a LiteRT file says of itself: its input's type, its output's name and classes, its metadata texts."""

    takes_pixels: bool
    output: str
    classes: int | None
    metadata: Mapping[str, str]


def read_ends(content: bytes, path: Path) -> Ends:
    """The ends of the graph in ``content``, read from ``path``, once it was judged.

    Raises WeightsError when it is no whole LiteRT file of plain operators and bounded values, RuntimeMissingError
    without LiteRT.
    """
    require(PACKAGE)
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    require_plain(content, "litert", path)
    try:
        # checks every offset of the file, which the generated reader below does not
        graph = Interpreter(
            model_content=content,
            num_threads=1,
            # an engine's delegate would take the memory for all values at once
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        graph.allocate_tensors()  # which finds the shape of each value for one image
        values = graph.get_tensor_details()
        source, result = graph.get_input_details()[0], graph.get_output_details()[0]
        model = schema.Model.GetRootAs(content)
        metadata = {}
        for index in range(model.MetadataLength()):
            entry = model.Metadata(index)
            data = model.Buffers(entry.Buffer()).DataAsNumpy()
            metadata[entry.Name().decode()] = data.tobytes().decode()
    except Exception as error:  # each layer has its own errors
        raise WeightsError(
            f"{path} is damaged or no LiteRT file ({one_line(error)}); export the model again"
        ) from error
    require_bounded(((value["name"], value["shape"].tolist()) for value in values), path)
    shape = result["shape_signature"]
    classes = int(shape[1]) if len(shape) == 2 and shape[1] > 0 else None
    return Ends(source["dtype"] == np.uint8, result["name"], classes, metadata)


def litert_weights(content: bytes) -> Iterator[bytes]:
    """Each constant of a file whose offsets were checked, in the order of its buffers."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content)
    texts = {model.Metadata(index).Buffer() for index in range(model.MetadataLength())}
    for index in range(model.BuffersLength()):
        if index not in texts:
            buffer = model.Buffers(index)
            yield buffer.DataAsNumpy().tobytes() if buffer.DataLength() else b""
