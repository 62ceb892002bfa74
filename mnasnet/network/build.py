"""One builder turns every architecture, published or searched, into a torch network."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from mnasnet.checks import is_whole, plain
from mnasnet.errors import SpecError
from mnasnet.network.layers import ConvBN, Layer
from mnasnet.spec import ArchitectureSpec


class MnasNet(nn.Module):
    """A network of the MnasNet family; ``spec`` says which one.

    The input is N x ``in_channels`` x H x W float, normalised; H and W are at least 32 pixels.
    """

    def __init__(
        self,
        spec: ArchitectureSpec,
        num_classes: int,
        in_channels: int = 3,
        *,
        dropout: float = 0.2,
        bn_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        if not isinstance(spec, ArchitectureSpec):
            raise SpecError(
                f"a network is built of an ArchitectureSpec, got {spec!r:.80}; presets.architecture gives one"
            )
        num_classes, in_channels = plain(num_classes), plain(in_channels)
        for name, count in (("num_classes", num_classes), ("in_channels", in_channels)):
            if not is_whole(count) or count < 1:
                raise SpecError(f"{name} must be a whole number >= 1, got {count!r}")
        self.spec = spec
        self.in_channels = in_channels
        self.num_classes = num_classes
        conv_bn = partial(ConvBN, bn_momentum=bn_momentum, bn_epsilon=spec.bn_epsilon)
        self.stem = conv_bn(in_channels, spec.stem_channels, 3, spec.stem_stride)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(Layer(layer, bn_momentum=bn_momentum, bn_epsilon=spec.bn_epsilon) for layer in block))
            for block in spec.layers()
        )
        self.head = conv_bn(spec.blocks[-1].channels, spec.head_channels, 1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(spec.head_channels, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores before softmax, N x ``num_classes``."""
        logits: Tensor = self.classifier(self.dropout(self.embed(x)))
        return logits

    def embed(self, x: Tensor) -> Tensor:
        """Pooled features, N x ``spec.head_channels``: a description of the image for other uses."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        features: Tensor = self.head(x)
        return features.mean((2, 3))

    def feature_maps(self, x: Tensor, least_stride: int = 4) -> dict[int, Tensor]:
        """The deepest map at each stride from ``least_stride`` on, keyed by stride, for use as a backbone.

        Those are N x channels x height x width at strides 4 to 32 in MnasNet, and 2 where asked for.
        """
        stride = self.spec.stem_stride
        x = self.stem(x)
        maps = {stride: x}
        for block, block_spec in zip(self.blocks, self.spec.blocks, strict=True):
            x = block(x)
            stride *= block_spec.stride
            maps[stride] = x
        return {stride: features for stride, features in maps.items() if stride >= least_stride}


def build(
    spec: ArchitectureSpec,
    num_classes: int,
    in_channels: int = 3,
    *,
    dropout: float = 0.2,
    bn_momentum: float = 0.1,
    identity_start: bool = False,
) -> MnasNet:
    """The network of ``spec`` with fresh weights drawn from torch's global generator.

    With ``identity_start`` layers with a skip add nothing to it at first (:func:`start_as_identity`).
    """
    network = MnasNet(spec, num_classes, in_channels, dropout=dropout, bn_momentum=bn_momentum)
    if identity_start:
        start_as_identity(network)
    return network


def initialise(network: nn.Module) -> None:
    """Fresh weights as in the official code: normal by fan-out for convolutions, uniform for the classifier."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            # conv_kernel_initializer of tensorflow/tpu's mnasnet_model.py; a depthwise kernel has one output there
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            # dense_kernel_initializer of the same file for its 1000 classes; with fewer classes its range
            # would grow and the first epochs be lost, so the input width bounds it
            limit = 1.0 / math.sqrt(max(module.in_features, module.out_features))
            nn.init.uniform_(module.weight, -limit, limit)
            nn.init.zeros_(module.bias)


@torch.no_grad()
def start_as_identity(network: nn.Module) -> None:
    """Let every linear layer with a skip begin as its skip alone: its last normalisation scales by 0.

    A deep network then begins as a shallow one, which learns faster (arXiv 1706.02677, section 5.1). A dense
    convolution ends in a ReLU, which would never wake up again, and keeps its weights.
    """
    for module in network.modules():
        if isinstance(module, Layer) and module.spec.skip != "none" and module.spec.operator != "conv":
            module.get_parameter("project.bn.weight").zero_()
