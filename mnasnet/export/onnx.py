"""ONNX graphs written straight from the architecture and its weights, without torch.

Batch normalisation is merged into the convolutions in float64. The graph's header carries class names and
preprocessing, so the file is complete without a second one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnasnet.export.checksum import FILE_KEY, NOT_YET, with_checksum
from mnasnet.export.exporter import require_rgb
from mnasnet.files import write_atomic
from mnasnet.modelfile import HEADER_KEY, ModelFile, Weights, header_text
from mnasnet.spec import ArchitectureSpec, LayerSpec

if TYPE_CHECKING:
    import onnx

OPSET = 17  # read by ONNX Runtime from 1.12 on and by OpenVINO
IR_VERSION = 8

Array = NDArray[Any]


class OnnxExporter:
    """Writes one ``.onnx`` file that ONNX Runtime, OpenVINO and most converters read."""

    suffix = ".onnx"
    package = "onnx"

    def export(self, model: ModelFile, path: Path, *, pixels: bool, softmax: bool) -> tuple[Path, ...]:
        """Write ``model`` to ``path``."""
        return write_onnx(to_onnx(model, pixels=pixels, softmax=softmax), path)


def write_onnx(graph: onnx.ModelProto, path: Path) -> tuple[Path, ...]:
    """Write a graph with the file's checksum; returns ``path`` alone."""
    graph.metadata_props.add(key=FILE_KEY, value=NOT_YET)
    content = with_checksum(graph.SerializeToString())
    del graph.metadata_props[-1]
    write_atomic(path, content)
    return (path,)


def onnx_weights(graph: onnx.ModelProto) -> Iterator[bytes]:
    """Name and numbers of each constant of ``graph``."""
    from onnx import numpy_helper

    for tensor in graph.graph.initializer:
        yield tensor.name.encode()
        yield numpy_helper.to_array(tensor).tobytes()


def to_onnx(model: ModelFile, *, pixels: bool = False, softmax: bool = False) -> onnx.ModelProto:
    """The graph of ``model`` with a free batch size.

    The input ``images`` is N x C x H x W float32, normalised as the model's recipe says; with ``pixels`` it is
    N x H x W x 3 uint8 RGB and the graph normalises. The output ``logits`` is N x classes, or ``probabilities``
    with ``softmax``.
    """
    if pixels:
        require_rgb(model)
    graph = _Graph(model.weights, model.architecture.bn_epsilon)
    value = _input(graph, model) if pixels else "images"
    value = _features(graph, model.architecture, value, stem_scale=_pixel_scale(model) if pixels else None)
    value = graph.node("GlobalAveragePool", [value], output="pooled")
    value = graph.node("Flatten", [value], output="flat", axis=1)
    weight, bias = (graph.constant(f"classifier.{part}", model.weights[f"classifier.{part}"]) for part in _LINEAR)
    last = graph.node("Gemm", [value, weight, bias], output="scores" if softmax else "logits", transB=1)
    if softmax:
        graph.node("Softmax", [last], output="probabilities", axis=1)
    return graph.model(model, pixels=pixels, output="probabilities" if softmax else "logits")


_LINEAR = ("weight", "bias")


def _input(graph: _Graph, model: ModelFile) -> str:
    """uint8 N x H x W x 3 to centred float N x 3 x H x W; the division is merged into the stem."""
    planes = graph.node("Transpose", ["images"], output="planes", perm=[0, 3, 1, 2])
    planes = graph.node("Cast", [planes], output="float_planes", to=1)  # 1 is float32
    mean = np.asarray(model.preprocess.mean, np.float32).reshape(1, 3, 1, 1) * 255
    return graph.node("Sub", [planes, graph.constant("pixel_mean", mean)], output="centred")


def _pixel_scale(model: ModelFile) -> Array:
    return 1 / (np.asarray(model.preprocess.std, np.float64) * 255)


def _features(graph: _Graph, spec: ArchitectureSpec, value: str, stem_scale: Array | None) -> str:
    value = graph.conv_bn("stem", value, spec.stem_stride, in_scale=stem_scale)
    for b, block in enumerate(spec.layers()):
        for i, layer in enumerate(block):
            value = _layer(graph, f"blocks.{b}.{i}", layer, value)
    return graph.conv_bn("head", value)


def _layer(graph: _Graph, name: str, layer: LayerSpec, value: str) -> str:
    out = value
    if layer.operator == "conv":
        out = graph.conv_bn(f"{name}.full", out, layer.stride)
    else:
        if layer.operator == "inverted":
            out = graph.conv_bn(f"{name}.expand", out)
        out = graph.conv_bn(f"{name}.depthwise", out, layer.stride, groups=layer.hidden_channels)
    if layer.se_channels:
        gate = graph.node("GlobalAveragePool", [out], output=f"{name}.se.pooled")
        gate = graph.conv(f"{name}.se.reduce", gate, output=f"{name}.se.reduce.conv")
        gate = graph.node("Relu", [gate], output=f"{name}.se.reduce")
        gate = graph.conv(f"{name}.se.restore", gate, output=f"{name}.se.restore")
        out = graph.node("Mul", [out, graph.node("Sigmoid", [gate], output=f"{name}.se.gate")], output=f"{name}.se")
    if layer.operator != "conv":
        out = graph.conv_bn(f"{name}.project", out, linear=True)
    if layer.skip == "identity":
        return graph.node("Add", [out, value], output=f"{name}.sum")
    if layer.skip == "pool":
        return graph.node("Add", [out, _pooled_skip(graph, f"{name}.skip", layer, value)], output=f"{name}.sum")
    return out


def _pooled_skip(graph: _Graph, name: str, layer: LayerSpec, value: str) -> str:
    pooled = graph.node(
        "AveragePool",
        [value],
        output=name,
        kernel_shape=[3, 3],
        strides=[layer.stride, layer.stride],
        pads=[1, 1, 1, 1],
        count_include_pad=0,
    )
    lacking = layer.out_channels - layer.in_channels
    if not lacking:
        return pooled
    pads = graph.constant(f"channel_pads_{lacking}", np.array([0, 0, 0, 0, 0, lacking, 0, 0], np.int64))
    return graph.node("Pad", [pooled, pads], output=f"{name}.wide")


class _Graph:
    """Collects nodes and constants; every method returns the name of the value it made.

    Values are called as the part of the network that makes them, as in LiteRT files.
    """

    def __init__(self, weights: Weights, bn_epsilon: float) -> None:
        self._weights = weights
        self._bn_epsilon = bn_epsilon
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def node(self, operator: str, inputs: Sequence[str], *, output: str, **attributes: Any) -> str:
        from onnx import helper

        self._nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: Array) -> str:
        from onnx import numpy_helper

        if name not in self._constants:
            value = value if value.dtype == np.int64 else value.astype(np.float32)
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def conv(self, name: str, value: str, output: str) -> str:
        """A 1 x 1 convolution with bias."""
        weight, bias = (self.constant(f"{name}.{part}", self._weights[f"{name}.{part}"]) for part in _LINEAR)
        return self.node("Conv", [value, weight, bias], output=output, kernel_shape=[1, 1])

    def conv_bn(
        self,
        name: str,
        value: str,
        stride: int = 1,
        *,
        groups: int = 1,
        linear: bool = False,
        in_scale: Array | None = None,
    ) -> str:
        """A convolution with its batch normalisation merged in; ``in_scale`` multiplies its input channels."""
        weight, bias = merge_batch_norm(self._weights, name, self._bn_epsilon)
        if in_scale is not None:
            weight = weight * in_scale.reshape(1, -1, 1, 1)
        kernel = weight.shape[-1]
        out = self.node(
            "Conv",
            [value, self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)],
            output=name if linear else f"{name}.conv",
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
            group=groups,
        )
        return out if linear else self.node("Relu", [out], output=name)

    def model(self, model: ModelFile, *, pixels: bool, output: str) -> onnx.ModelProto:
        from onnx import TensorProto, helper

        size = model.preprocess.input_size
        shape: list[str | int] = ["N", size, size, 3] if pixels else ["N", model.in_channels, size, size]
        kind = TensorProto.UINT8 if pixels else TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            model.name or "mnasnet",
            [helper.make_tensor_value_info("images", kind, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", len(model.class_names)])],
            initializer=list(self._constants.values()),
        )
        proto = helper.make_model(
            graph, producer_name="mnasnet", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
        )
        helper.set_model_props(proto, {HEADER_KEY: header_text(model)})
        return proto


def merge_batch_norm(weights: Weights, name: str, epsilon: float) -> tuple[Array, Array]:
    """Weight and bias, in float64, of the one convolution that equals ``name``'s convolution and normalisation."""
    scale, shift, mean, variance = (
        weights[f"{name}.bn.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
    )
    factor = scale / np.sqrt(variance + epsilon)
    weight = weights[f"{name}.conv.weight"].astype(np.float64) * factor.reshape(-1, 1, 1, 1)
    return weight, shift - mean * factor
