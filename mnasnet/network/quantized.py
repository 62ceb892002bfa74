"""The network as 8-bit files compute it, to be trained so (quantization-aware: arXiv 1712.05877, section 3).

Weights and activations are rounded at the places where our exporters round: weights per output channel and symmetric,
with batch normalisation merged in, activations per tensor to the 256 numbers that an int8 file has. Weights are rounded
to the 129 numbers that ONNX and OpenVINO files keep of theirs, 7 bits (:func:`mnasnet.export.quantize.calibrated_onnx`
tells why); the 255 of LiteRT files lie closer to the weights. Gradients pass the rounding unchanged (straight-through)
and end where a value was cut off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnasnet.network.build import MnasNet
from mnasnet.network.layers import ConvBN, Layer, SqueezeExcite, pooled_skip, same_conv2d
from mnasnet.network.seeded import seeded
from mnasnet.preprocess import Preprocess
from mnasnet.spec import ArchitectureSpec

Range = tuple[float, float]
"""The smallest and largest number of a value; numbers beyond are cut off."""

RANGES = "int8_ranges"
BATCHES_SEEN = "int8_batches_seen"
SLOWEST_MOVE = 0.01  # of a range towards the newest batch: averaging_constant of torch's MovingAverageMinMaxObserver
GATE: Range = (0.0, 1.0)
WEIGHT_STEPS = 64  # up and as many down: the coarsest of our files, onnxruntime's reduce_range


class QuantizedMnasNet(MnasNet):
    """A MnasNet whose forward pass is rounded as in int8; its weights have the names of a plain one.

    The first ``observed_batches`` in training mode set the ranges of the activations: the mean of what they reach,
    from the hundredth batch on a moving average. Then the ranges stay, so that weights learn to live with them.
    Statistics of batch normalisation never change, as files have them merged (arXiv 1806.08342 freezes them in the
    end too). ``image_range`` is that of the normalised input.
    """

    int8_ranges: Tensor  # places x 2, in the order of observed_values(spec)
    int8_batches_seen: Tensor

    def __init__(
        self,
        spec: ArchitectureSpec,
        num_classes: int,
        in_channels: int = 3,
        *,
        image_range: Range,
        observed_batches: int,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(spec, num_classes, in_channels, dropout=dropout)
        self.image_range = image_range
        self.observed_batches = observed_batches
        self._places = {name: place for place, name in enumerate(observed_values(spec))}
        self.register_buffer(RANGES, torch.zeros(len(self._places), 2))
        self.register_buffer(BATCHES_SEEN, torch.zeros((), dtype=torch.int64))
        self._move = 0.0  # of the ranges, in this pass
        self._rounding = Rounding()

    def forward(self, x: Tensor) -> Tensor:
        """Class scores before softmax, N x ``num_classes``."""
        with torch.autocast(x.device.type, enabled=False):  # half precision would round again
            observes = self.training and int(self.int8_batches_seen) < self.observed_batches
            self._move = max(SLOWEST_MOVE, 1 / (1 + int(self.int8_batches_seen))) if observes else 0.0
            features = self.dropout(self.embed(x.float()))
            weight = rounded_weight(self.classifier.weight)
            logits = self._value("scores", F.linear(features, weight, self.classifier.bias))
            self.int8_batches_seen += int(observes)
            return logits

    def embed(self, x: Tensor) -> Tensor:
        """Pooled features, N x ``spec.head_channels``."""
        x = _rounded(x, *self.image_range)
        x = self._conv_bn("stem", self.stem, x)
        for b, block in enumerate(self.blocks):
            for i, layer in enumerate(cast("Iterator[Layer]", block)):
                x = self._layer(f"blocks.{b}.{i}", layer, x)
        x = self._conv_bn("head", self.head, x)
        return self._value("pooled", x.mean((2, 3)))

    def _layer(self, name: str, layer: Layer, x: Tensor) -> Tensor:
        out = x
        for part, module in layer.named_children():
            if isinstance(module, SqueezeExcite):
                out = self._squeeze_excite(f"{name}.{part}", module, out)
            else:
                assert isinstance(module, ConvBN)
                out = self._conv_bn(f"{name}.{part}", module, out)
        if layer.spec.skip == "identity":
            return self._value(f"{name}.sum", out + x)
        if layer.spec.skip == "pool":
            return self._value(f"{name}.sum", out + self._value(f"{name}.skip", pooled_skip(x, layer.spec)))
        return out

    def _squeeze_excite(self, name: str, module: SqueezeExcite, x: Tensor) -> Tensor:
        gate = self._value(f"{name}.pooled", x.mean((2, 3), keepdim=True))
        gate = F.relu(F.conv2d(gate, rounded_weight(module.reduce.weight), module.reduce.bias))
        gate = self._value(f"{name}.reduce", gate)
        gate = F.conv2d(gate, rounded_weight(module.restore.weight), module.restore.bias)
        gate = _rounded(torch.sigmoid(self._value(f"{name}.restore", gate)), *GATE)
        return self._value(name, x * gate)

    def _conv_bn(self, name: str, module: ConvBN, x: Tensor) -> Tensor:
        conv, has_relu = module.get_submodule("conv"), "relu" in dict(module.named_children())
        assert isinstance(conv, nn.Conv2d)
        weight, bias = _merged(conv, module.get_submodule("bn"))
        weight = rounded_weight(weight)
        out = same_conv2d(x, weight, bias, conv.stride, conv.groups)
        return self._value(name, F.relu(out) if has_relu else out)

    def _value(self, name: str, x: Tensor) -> Tensor:
        """An activation rounded to its range, which moves while ranges are observed."""
        own = self.int8_ranges[self._places[name]]
        if self._move:
            with torch.no_grad():
                low, high = torch.aminmax(x.detach())
                own.lerp_(torch.stack([low.clamp(max=0), high.clamp(min=0)]), self._move)
        return cast("Tensor", self._rounding(x, own[0], own[1]))


class Rounding(nn.Module):
    """:func:`_rounded` as a module, where hooks hear of every activation: no other module of the network is called."""

    def forward(self, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """``x`` as 256 numbers from ``low`` to ``high``."""
        return _rounded(x, low, high)


def observed_values(spec: ArchitectureSpec) -> Iterator[str]:
    """The names of the activations that have a range of their own; exported files call them the same."""
    yield "stem"
    for b, block in enumerate(spec.layers()):
        for i, layer in enumerate(block):
            name = f"blocks.{b}.{i}"
            if layer.operator == "inverted":
                yield f"{name}.expand"
            yield f"{name}.full" if layer.operator == "conv" else f"{name}.depthwise"
            if layer.se_channels:
                yield from (f"{name}.se.pooled", f"{name}.se.reduce", f"{name}.se.restore", f"{name}.se")
            if layer.operator != "conv":
                yield f"{name}.project"
            if layer.skip == "pool":
                yield f"{name}.skip"
            if layer.skip != "none":
                yield f"{name}.sum"
    yield from ("head", "pooled", "scores")


def quantized(network: MnasNet, preprocess: Preprocess, *, observed_batches: int) -> QuantizedMnasNet:
    """``network``'s weights in a :class:`QuantizedMnasNet` for images prepared by ``preprocess``."""
    ends = [(end - mean) / std for mean, std in zip(preprocess.mean, preprocess.std, strict=True) for end in (0, 1)]
    with seeded(0):
        rounded = QuantizedMnasNet(
            network.spec,
            network.num_classes,
            network.in_channels,
            image_range=(min(ends), max(ends)),
            observed_batches=observed_batches,
            dropout=network.dropout.p,
        )
    rounded.load_state_dict(network.state_dict(), strict=False)
    return rounded


def without_ranges(spec: ArchitectureSpec, state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Range]]:
    """The plain network's part of a :class:`QuantizedMnasNet`'s state, and its ranges by the values' names.

    A plain network's state has no ranges.
    """
    plain = {name: value for name, value in state.items() if name not in (RANGES, BATCHES_SEEN)}
    if RANGES not in state:
        return plain, {}
    pairs = zip(observed_values(spec), state[RANGES], strict=True)
    return plain, {name: (float(low), float(high)) for name, (low, high) in pairs}


def _merged(conv: nn.Conv2d, bn: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weight and bias with the normalisation, as its statistics stand, merged in; it may be merged already."""
    if not isinstance(bn, nn.BatchNorm2d):
        return conv.weight, conv.bias
    assert bn.running_mean is not None and bn.running_var is not None
    factor = bn.weight * torch.rsqrt(bn.running_var + bn.eps)
    return conv.weight * factor.reshape(-1, 1, 1, 1), bn.bias - bn.running_mean * factor


def rounded_weight(weight: Tensor) -> Tensor:
    """A weight in steps of its own for each output channel, -64 to 64 of them, as many up as down."""
    largest = weight.detach().abs().flatten(1).amax(1)
    scale = torch.where(largest > 0, largest, 1.0) / WEIGHT_STEPS
    zeros = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -WEIGHT_STEPS, WEIGHT_STEPS)


def _rounded(x: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """256 numbers from ``low`` <= 0 to ``high`` >= 0, zero being one of them."""
    low, high = torch.as_tensor(low, device=x.device), torch.as_tensor(high, device=x.device)
    scale = (high - low) / 255
    scale = torch.where(scale > 0, scale, 1.0)
    zero = torch.round(-low / scale).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 255)
