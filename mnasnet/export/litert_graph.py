"""A LiteRT (TFLite) graph under construction: operators, constants and, for 8 bits, their scales; then its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnasnet.export.checksum import FILE_KEY, NOT_YET, with_checksum

Array = NDArray[Any]
Shape = tuple[int, ...]
Scale = tuple[float, int]
"""real number = scale x (stored number - zero point)."""

FILE_VERSION = 3
ALIGNMENT = 16  # bytes; schema.fbs: Buffer.data is force_align 16
LARGEST_BIAS = 2**30  # as a whole number of 32 bits, which leaves room for the products that are added to it
PIXEL_SCALE: Scale = (1.0, -128)  # uint8 pixels as int8 without loss
SIGMOID_SCALE: Scale = (1 / 256, -128)  # the one scale that LOGISTIC may have, by LiteRT's 8-bit specification

#: lowest operator versions that know 8 bits (per-channel weights for FULLY_CONNECTED); the others are version 1
INT8_VERSIONS = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 12,
    "ADD": 2,
    "SUB": 2,
    "MUL": 2,
    "MEAN": 2,
    "PAD": 2,
    "AVERAGE_POOL_2D": 2,
    "LOGISTIC": 2,
    "DEQUANTIZE": 2,
}


class LitertGraph:
    """Collects operators; every method returns the name of the value it made, N x height x width x channels.

    ``ranges`` is the smallest and largest number that each value takes, by name: with it activations and weights
    become 8-bit whole numbers, without it everything is float32.
    """

    def __init__(self, ranges: Mapping[str, tuple[float, float]] | None = None) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._ranges = ranges
        self._tensors: list[Any] = []
        self._buffers: list[Any] = [schema.BufferT()]  # buffer 0 is empty by definition
        self._operators: list[Any] = []
        self._codes: dict[str, int] = {}
        self._index: dict[str, int] = {}
        self._scales: dict[str, Scale] = {}
        self.shapes: dict[str, Shape] = {}

    @property
    def is_int8(self) -> bool:
        """Whether activations are 8-bit whole numbers."""
        return self._ranges is not None

    def input(self, name: str, shape: Shape, *, pixels: bool) -> str:
        """The graph's input, uint8 or float32, and for 8 bits its conversion; returns what the network computes on."""
        schema = self._schema
        if pixels:
            self._add(name, shape, "UINT8", (1.0, 0) if self.is_int8 else None)
        else:
            self._add(name, shape, "FLOAT32")
        if self.is_int8:
            value = self._activation("int8_images", shape, PIXEL_SCALE if pixels else None, range_of="images")
            return self._operator("QUANTIZE", [name], value, "QuantizeOptions", schema.QuantizeOptionsT())
        if not pixels:
            return name
        options = schema.CastOptionsT(schema.TensorType.UINT8, schema.TensorType.FLOAT32)
        return self._operator("CAST", [name], self._activation("float_images", shape), "CastOptions", options)

    def convolution(
        self,
        name: str,
        value: str,
        weight: Array,
        bias: Array,
        *,
        stride: int = 1,
        relu: bool = False,
        depthwise: bool = False,
    ) -> str:
        """k x k convolution, symmetric zeros around the image; ``weight`` is out x in x k x k, as torch has it."""
        schema, kernel = self._schema, weight.shape[-1]
        value, padding = self._padded(value, kernel, stride)
        batch, height, width, _ = self.shapes[value]
        reach = kernel if padding == schema.Padding.VALID else 1
        out = (batch, -(-(height - reach + 1) // stride), -(-(width - reach + 1) // stride), weight.shape[0])
        stored = weight.transpose(1, 2, 3, 0) if depthwise else weight.transpose(0, 2, 3, 1)
        inputs = [value, *self._weights(name, value, stored, bias, axis=3 if depthwise else 0)]
        activation = schema.ActivationFunctionType.RELU if relu else schema.ActivationFunctionType.NONE
        common = {"padding": padding, "strideW": stride, "strideH": stride, "fusedActivationFunction": activation}
        made = self._activation(name, out)
        if depthwise:
            options = schema.DepthwiseConv2DOptionsT(depthMultiplier=1, **common)
            return self._operator("DEPTHWISE_CONV_2D", inputs, made, "DepthwiseConv2DOptions", options)
        return self._operator("CONV_2D", inputs, made, "Conv2DOptions", schema.Conv2DOptionsT(**common))

    def linear(self, name: str, value: str, weight: Array, bias: Array) -> str:
        """N x in to N x out; ``weight`` is out x in."""
        inputs = [value, *self._weights(name, value, weight, bias, axis=0)]
        made = self._activation(name, (1, weight.shape[0]))
        options = self._schema.FullyConnectedOptionsT()
        return self._operator("FULLY_CONNECTED", inputs, made, "FullyConnectedOptions", options)

    def mean(self, name: str, value: str, *, keep: bool) -> str:
        """The average over height and width, which stay as 1 x 1 with ``keep``."""
        batch, _, _, channels = self.shapes[value]
        made = self._activation(name, (batch, 1, 1, channels) if keep else (batch, channels))
        axes = self._numbers("spatial_axes", np.array([1, 2], np.int32))
        return self._operator("MEAN", [value, axes], made, "ReducerOptions", self._schema.ReducerOptionsT(keep))

    def add(self, name: str, one: str, other: str) -> str:
        """The sum of two values of one shape."""
        made = self._activation(name, self.shapes[one])
        return self._operator("ADD", [one, other], made, "AddOptions", self._schema.AddOptionsT())

    def subtract(self, name: str, value: str, constant: Array) -> str:
        """``value`` less a constant that broadcasts over it."""
        made = self._activation(name, self.shapes[value])
        inputs = [value, self._factor(f"{name}.constant", constant)]
        return self._operator("SUB", inputs, made, "SubOptions", self._schema.SubOptionsT())

    def multiply(self, name: str, value: str, factor: str | Array) -> str:
        """``value`` times another value, or times a constant, that broadcasts over it."""
        other = factor if isinstance(factor, str) else self._factor(f"{name}.constant", factor)
        made = self._activation(name, self.shapes[value])
        return self._operator("MUL", [value, other], made, "MulOptions", self._schema.MulOptionsT())

    def sigmoid(self, name: str, value: str) -> str:
        """1 / (1 + exp(-x))."""
        return self._operator("LOGISTIC", [value], self._activation(name, self.shapes[value], SIGMOID_SCALE))

    def average3(self, name: str, value: str, *, stride: int) -> str:
        """The 3 x 3 average around each place, of what lies inside the image."""
        schema = self._schema
        batch, height, width, channels = self.shapes[value]
        inside = None
        if stride > 1 and height % 2 == 0:  # SAME would begin its windows at the first pixel, not one before it
            value, inside = self.pad(f"{name}.pad", value, before=1, after=0), _inverse_shares(height, stride)
        padding = schema.Padding.SAME if inside is None else schema.Padding.VALID
        out = (batch, -(-height // stride), -(-width // stride), channels)
        made = self._activation(f"{name}.sum" if inside is not None else name, out, self._scales.get(value))
        options = schema.Pool2DOptionsT(padding, stride, stride, 3, 3)
        made = self._operator("AVERAGE_POOL_2D", [value], made, "Pool2DOptions", options)
        return made if inside is None else self.multiply(name, made, inside)

    def pad(self, name: str, value: str, *, before: int = 0, after: int = 0, channels: int = 0) -> str:
        """Zeros ``before`` and ``after`` in height and width, and as ``channels`` more."""
        batch, height, width, old = self.shapes[value]
        side = before + after
        made = self._activation(name, (batch, height + side, width + side, old + channels), self._scales.get(value))
        sizes = np.array([[0, 0], [before, after], [before, after], [0, channels]], np.int32)
        inputs = [value, self._numbers(f"pads_{before}_{after}_{channels}", sizes)]
        return self._operator("PAD", inputs, made, "PadOptions", self._schema.PadOptionsT())

    def output(self, name: str, value: str, *, softmax: bool) -> str:
        """The float32 output ``name``: the scores ``value``, which may be it already, or their probabilities."""
        schema, shape = self._schema, self.shapes[value]
        if self.is_int8:
            made = self._add("float_scores" if softmax else name, shape, "FLOAT32")
            value = self._operator("DEQUANTIZE", [value], made, "DequantizeOptions", schema.DequantizeOptionsT())
        if not softmax:
            return value
        made = self._add(name, shape, "FLOAT32")
        return self._operator("SOFTMAX", [value], made, "SoftmaxOptions", schema.SoftmaxOptionsT(1.0))

    def content(self, name: str, source: str, result: str, metadata: Mapping[str, bytes]) -> bytes:
        """The file of the graph from the input ``source`` to ``result``, with ``metadata`` by its keys."""
        schema = self._schema
        entries = []
        for key, value in {**metadata, FILE_KEY: NOT_YET.encode()}.items():
            entries.append(schema.MetadataT(key, len(self._buffers)))
            self._buffers.append(schema.BufferT(np.frombuffer(value, np.uint8)))
        inputs, outputs = ([np.int32(self._index[end])] for end in (source, result))
        graph = schema.SubGraphT(self._tensors, inputs, outputs, self._operators, name)
        model = schema.ModelT(
            version=FILE_VERSION,
            operatorCodes=[self._code(operator) for operator in self._codes],
            subgraphs=[graph],
            description="written by the mnasnet package",
            buffers=self._buffers,
            metadata=entries,
        )
        return with_checksum(_packed(model))

    def _padded(self, value: str, kernel: int, stride: int) -> tuple[str, int]:
        """What to convolve and LiteRT's name for the zeros around it; its SAME is symmetric only in these cases."""
        kinds = self._schema.Padding
        if kernel == 1:
            return value, int(kinds.VALID)
        if stride == 1 or self.shapes[value][1] % 2 == 1:
            return value, int(kinds.SAME)
        half = kernel // 2
        return self.pad(f"{value}.pad{half}", value, before=half, after=half), int(kinds.VALID)

    def _weights(self, name: str, value: str, weight: Array, bias: Array, *, axis: int) -> tuple[str, str]:
        if not self.is_int8:
            return self._numbers(f"{name}.weight", weight, "FLOAT32"), self._numbers(f"{name}.bias", bias, "FLOAT32")
        others = tuple(index for index in range(weight.ndim) if index != axis)
        largest = np.abs(weight).max(axis=others)
        scale = np.where(largest > 0, largest, 1.0) / 127
        # weights of almost nothing would leave their bias more whole numbers away than it has bits
        scale = np.maximum(scale, np.abs(bias) / (self._scales[value][0] * LARGEST_BIAS))
        shape = [-1 if index == axis else 1 for index in range(weight.ndim)]
        whole = np.clip(np.round(weight / scale.reshape(shape)), -127, 127)
        bias_scale = scale * self._scales[value][0]
        whole_bias = np.clip(np.round(bias / bias_scale), -(2**31) + 1, 2**31 - 1)
        return (
            self._numbers(f"{name}.weight", whole, "INT8", scale, axis),
            self._numbers(f"{name}.bias", whole_bias, "INT32", bias_scale),
        )

    def _factor(self, name: str, value: Array) -> str:
        """A constant beside an activation."""
        if not self.is_int8:
            return self._numbers(name, value, "FLOAT32")
        scale = float(np.abs(value).max()) / 127 or 1.0
        return self._numbers(name, np.round(value / scale), "INT8", np.array([scale]))

    def _activation(self, name: str, shape: Shape, scale: Scale | None = None, range_of: str = "") -> str:
        if self._ranges is None:
            return self._add(name, shape, "FLOAT32")
        if scale is None:
            scale = _scale(*self._ranges[range_of or name])
        return self._add(name, shape, "INT8", scale)

    def _add(self, name: str, shape: Shape, kind: str, scale: Scale | None = None) -> str:
        schema = self._schema
        quantization = None
        if scale is not None:
            self._scales[name] = scale
            quantization = schema.QuantizationParametersT(scale=[scale[0]], zeroPoint=[scale[1]])
        tensor = schema.TensorT(
            shape=list(shape),
            type=getattr(schema.TensorType, kind),
            name=name,
            quantization=quantization,
            shapeSignature=[-1, *shape[1:]],  # the batch is free
        )
        self._index[name] = len(self._tensors)
        self._tensors.append(tensor)
        self.shapes[name] = shape
        return name

    def _numbers(self, name: str, value: Array, kind: str = "INT32", scale: Array | None = None, axis: int = 0) -> str:
        """A constant; equal names are one."""
        if name in self._index:
            return name
        schema = self._schema
        stored = np.ascontiguousarray(value, _NUMPY[kind])
        quantization = None
        if scale is not None:
            quantization = schema.QuantizationParametersT(
                scale=np.asarray(scale, np.float32), zeroPoint=np.zeros(len(scale), np.int64), quantizedDimension=axis
            )
        tensor = schema.TensorT(
            shape=list(stored.shape),
            type=getattr(schema.TensorType, kind),
            buffer=len(self._buffers),
            name=name,
            quantization=quantization,
        )
        self._buffers.append(schema.BufferT(stored.reshape(-1).view(np.uint8)))
        self._index[name] = len(self._tensors)
        self._tensors.append(tensor)
        self.shapes[name] = stored.shape
        return name

    def _operator(self, code: str, inputs: Sequence[str], made: str, kind: str = "", options: Any = None) -> str:
        schema = self._schema
        self._operators.append(
            schema.OperatorT(
                opcodeIndex=self._codes.setdefault(code, len(self._codes)),
                inputs=[self._index[name] for name in inputs],
                outputs=[self._index[made]],
                builtinOptionsType=getattr(schema.BuiltinOptions, kind) if kind else 0,
                builtinOptions=options,
            )
        )
        return made

    def _code(self, name: str) -> Any:
        value = getattr(self._schema.BuiltinOperator, name)
        version = INT8_VERSIONS.get(name, 1) if self.is_int8 else 1
        # readers older than operator 127 look at the first field
        return self._schema.OperatorCodeT(deprecatedBuiltinCode=value, version=version, builtinCode=value)


_NUMPY = {"FLOAT32": np.float32, "INT32": np.int32, "INT8": np.int8}


def _scale(low: float, high: float) -> Scale:
    """256 whole numbers over a range that holds zero, zero being one of them."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255 or 1.0
    return scale, round(-128 - low / scale)


def _inverse_shares(side: int, stride: int) -> Array:
    """9 / the number of places that a 3 x 3 window has inside an even image, 1 x out x out x 1."""
    begins = np.arange(0, side, stride) - 1
    inside = np.minimum(begins + 3, side) - np.maximum(begins, 0)
    return np.asarray(9 / np.outer(inside, inside), np.float32)[np.newaxis, :, :, np.newaxis]


def _packed(model: Any) -> bytes:
    import flatbuffers

    class AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
        """Puts weights where processors read them fast, which the generated Python code forgets."""

        def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
            return super().StartVector(elemSize, numElems, max(alignment, ALIGNMENT if elemSize == 1 else 1))

    builder = AlignedBuilder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
