"""The layers of MnasNet as torch modules; each is built from one :class:`LayerSpec`."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from mnasnet.spec import LayerSpec


class ConvBN(nn.Sequential):
    """Convolution without bias, batch normalisation and, unless ``linear``, a ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        *,
        groups: int = 1,
        linear: bool = False,
        bn_momentum: float = 0.1,
        bn_epsilon: float = 1e-5,
    ) -> None:
        make_conv = nn.Conv2d if groups == 1 else DepthwiseConv2d
        conv = make_conv(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        parts: list[tuple[str, nn.Module]] = [
            ("conv", conv),
            ("bn", nn.BatchNorm2d(out_channels, eps=bn_epsilon, momentum=bn_momentum)),
        ]
        if not linear:
            parts.append(("relu", nn.ReLU(inplace=True)))
        super().__init__(OrderedDict(parts))


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution whose output is ceil(size / stride); in training mode by :func:`same_conv2d`."""

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to N x C x ceil(H / stride) x ceil(W / stride)."""
        if not self.training:  # so that what is exported is the plain layer
            return super().forward(x)
        return same_conv2d(x, self.weight, self.bias, self.stride, self.groups)


def same_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], groups: int) -> Tensor:
    """``x`` (N x C x H x W) convolved with odd kernels as if zeros lay around it: H and W become ceil(size / stride).

    Where the image is smaller than a depthwise kernel, torch takes far longer for the gradient of ``weight`` on a CPU
    than for all else, unless there are no zeros to imagine. So to learn they are added first, and what of the kernel
    meets nothing else is left out.
    """
    kernel, size = weight.shape[2:], x.shape[2:]
    padding = [side // 2 for side in kernel]
    learns = torch.is_grad_enabled() and weight.requires_grad
    if learns and x.device.type == "cpu" and min(size) < max(kernel):
        padding = [min(reach, side - 1) for reach, side in zip(padding, size, strict=True)]
        for dim, (whole, reach) in enumerate(zip(kernel, padding, strict=True), start=2):
            weight = weight.narrow(dim, whole // 2 - reach, 2 * reach + 1)
        x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
        padding = [0, 0]
    return F.conv2d(x, weight, bias, stride, padding, groups=groups)


# torch.fx, behind torchvision's feature extractor among others, takes it for one step and does not look inside
torch.fx.wrap("same_conv2d")


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from all channels' means (arXiv 1709.01507)."""

    def __init__(self, channels: int, reduced_channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced_channels, 1)
        self.restore = nn.Conv2d(reduced_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to the same."""
        gate = x.mean((2, 3), keepdim=True)  # N x C x 1 x 1
        return x * torch.sigmoid_(self.restore(F.relu(self.reduce(gate), inplace=True)))


class Layer(nn.Module):
    """One layer: k x k part, optional squeeze-and-excitation, linear projection, skip."""

    def __init__(self, spec: LayerSpec, *, bn_momentum: float, bn_epsilon: float) -> None:
        super().__init__()
        self.spec = spec
        conv_bn = partial(ConvBN, bn_momentum=bn_momentum, bn_epsilon=bn_epsilon)
        hidden = spec.hidden_channels
        path: OrderedDict[str, nn.Module] = OrderedDict()
        if spec.operator == "conv":
            path["full"] = conv_bn(spec.in_channels, hidden, spec.kernel, spec.stride)
        else:
            if spec.operator == "inverted":
                path["expand"] = conv_bn(spec.in_channels, hidden, 1)
            path["depthwise"] = conv_bn(hidden, hidden, spec.kernel, spec.stride, groups=hidden)
        if spec.se_channels:
            path["se"] = SqueezeExcite(hidden, spec.se_channels)
        if spec.operator != "conv":
            path["project"] = conv_bn(hidden, spec.out_channels, 1, linear=True)
        for name, module in path.items():
            self.add_module(name, module)
        self._path = tuple(path)

    def forward(self, x: Tensor) -> Tensor:
        """N x in x H x W to N x out x ceil(H / stride) x ceil(W / stride)."""
        out = x
        for name in self._path:
            out = self.get_submodule(name)(out)
        if self.spec.skip == "identity":
            return out + x
        if self.spec.skip == "pool":
            return out + pooled_skip(x, self.spec)
        return out


def pooled_skip(x: Tensor, spec: LayerSpec) -> Tensor:
    """The 3x3 average of the input at the layer's stride, with zeros for the channels it lacks."""
    pooled = F.avg_pool2d(x, 3, spec.stride, padding=1, count_include_pad=False)
    return F.pad(pooled, (0, 0, 0, 0, 0, spec.out_channels - spec.in_channels))


def merge_batch_norms(network: nn.Module) -> None:
    """Merge each batch normalisation into its convolution, in place; for a network in evaluation mode."""
    for module in network.modules():
        if isinstance(module, ConvBN):
            conv, bn = module.get_submodule("conv"), module.get_submodule("bn")
            assert isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d)
            module.conv = nn.utils.fusion.fuse_conv_bn_eval(conv, bn)
            module.bn = nn.Identity()
