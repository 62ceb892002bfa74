"""One network that holds every candidate of a search space: its parts are shared, each candidate uses some of them.

A smaller part is the beginning of a larger one: the first channels, the first layers of a block, the middle of a
kernel. Operators have weights of their own; those of bottlenecks of different expansion are shared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mnasnet.errors import SpecError
from mnasnet.network.build import MnasNet, initialise
from mnasnet.network.layers import ConvBN, Layer
from mnasnet.space import SearchSpace
from mnasnet.spec import ArchitectureSpec, LayerSpec, Operator

MAX_SKELETONS = 4096  # about 80 MB

LayerPlace = tuple[int, int, Operator]  # block, layer in it, operator


class Supernet(nn.Module):
    """The shared weights of ``space``; any of its architectures runs with its part of them.

    The input is as for :class:`MnasNet`. Running statistics of batch normalisation are shared too and so suit no
    candidate: a network that was cut out needs its own (:func:`mnasnet.search.shared.recalibrate`).
    Not to be run by two threads at once.
    """

    def __init__(self, space: SearchSpace, num_classes: int, in_channels: int = 3, *, dropout: float = 0.2) -> None:
        super().__init__()
        if num_classes < 1 or in_channels < 1:
            raise SpecError(f"num_classes and in_channels must be >= 1, got {num_classes} and {in_channels}")
        self.space = space
        self.num_classes = num_classes
        self.in_channels = in_channels
        stems = [space.stem_at(width) for width in space.widths]
        largest = largest_layers(space)
        self.stem = ConvBN(in_channels, max(stems), 3, space.stem_stride)
        self.blocks = nn.ModuleList(_shared_block(largest, b) for b in range(len(space.blocks)))
        last = max(spec.out_channels for (b, _, _), spec in largest.items() if b == len(space.blocks) - 1)
        self.head = ConvBN(last, space.head_channels, 1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(space.head_channels, num_classes)
        initialise(self)
        self._skeletons: dict[object, nn.Module] = {}

    def forward(self, x: Tensor, architecture: ArchitectureSpec) -> Tensor:
        """Class scores of one of the space's networks before softmax, N x ``num_classes``."""
        stem, head = architecture.stem_channels, architecture.head_channels
        channels = architecture.blocks[-1].channels
        make_stem = partial(ConvBN, self.in_channels, stem, 3, architecture.stem_stride)
        x = self._run(("stem", stem), make_stem, self.stem, x)
        for b, layers in enumerate(architecture.layers()):
            for i, spec in enumerate(layers):
                make = partial(Layer, spec, bn_momentum=0.1, bn_epsilon=architecture.bn_epsilon)
                x = self._run(spec, make, self.blocks.get_submodule(f"{b}.{i}.{spec.operator}"), x)
        x = self._run(("head", channels), partial(ConvBN, channels, head, 1), self.head, x)
        logits: Tensor = self.classifier(self.dropout(x.mean((2, 3))))
        return logits

    def cut_out(self, architecture: ArchitectureSpec) -> MnasNet:
        """One of the space's networks as an ordinary one with weights of its own, in the supernet's mode."""
        with torch.device("meta"):  # no time and no random numbers are spent on weights that are replaced
            network = MnasNet(architecture, self.num_classes, self.in_channels, dropout=self.dropout.p)
        mine = self.state_dict()
        state = {
            name: part(mine[self._shared_name(name, architecture)], like.shape).detach().clone()
            for name, like in network.state_dict().items()
        }
        network.load_state_dict(state, assign=True)
        return network.train(self.training)

    def _shared_name(self, name: str, architecture: ArchitectureSpec) -> str:
        """Where the tensor that an ordinary network calls ``name`` lies: an operator's tensors have its name in it."""
        if not name.startswith("blocks."):
            return name
        _, b, i, rest = name.split(".", 3)
        return f"blocks.{b}.{i}.{architecture.blocks[int(b)].operator}.{rest}"

    def _run(self, key: object, make: Callable[[], nn.Module], shared: nn.Module, x: Tensor) -> Tensor:
        """The module that ``make`` makes, with its part of the weights of ``shared``, applied to ``x``."""
        skeleton = self._skeletons.get(key)
        if skeleton is None:
            if len(self._skeletons) >= MAX_SKELETONS:
                self._skeletons.clear()
            with torch.device("meta"):
                skeleton = self._skeletons[key] = make()
        own = {**dict(shared.named_parameters()), **dict(shared.named_buffers())}
        parts = {name: part(own[name], like.shape) for name, like in skeleton.state_dict().items()}
        result: Tensor = functional_call(skeleton.train(self.training), parts, (x,))
        return result


def part(whole: Tensor, shape: Sequence[int]) -> Tensor:
    """The view of ``whole`` that a smaller tensor of ``shape`` shares: leading channels, the middle of kernels."""
    for dim, size in enumerate(shape):
        start = (whole.shape[dim] - size) // 2 if dim >= 2 else 0
        whole = whole.narrow(dim, start, size)
    return whole


def largest_layers(space: SearchSpace) -> dict[LayerPlace, LayerSpec]:
    """For each place and operator the layer that holds all layers which candidates can have there."""
    largest: dict[LayerPlace, LayerSpec] = {}
    for width in space.widths:
        inputs = {space.stem_at(width)}
        for b in range(len(space.blocks)):
            outputs = set()
            for in_channels in inputs:
                for design in space.block_designs(b, in_channels=in_channels, width=width):
                    outputs.add(design.channels)
                    (layers,) = ArchitectureSpec((design,), stem_channels=in_channels).layers()
                    for i, spec in enumerate(layers):
                        place = (b, i, spec.operator)
                        largest[place] = _larger(largest.get(place, spec), spec)
            inputs = outputs
    return largest


def _larger(one: LayerSpec, other: LayerSpec) -> LayerSpec:
    """The smallest layer that holds both."""
    sizes = ("in_channels", "out_channels", "kernel", "expansion", "se_channels")
    return replace(one, skip="none", **{name: max(getattr(one, name), getattr(other, name)) for name in sizes})


def _shared_block(largest: dict[LayerPlace, LayerSpec], b: int) -> nn.ModuleList:
    """The shared layers of one block, each a set of operators by name."""
    depth = 1 + max(i for block, i, _ in largest if block == b)
    return nn.ModuleList(
        nn.ModuleDict(
            {
                operator: Layer(spec, bn_momentum=0.1, bn_epsilon=1e-5)
                for (block, layer, operator), spec in largest.items()
                if (block, layer) == (b, i)
            }
        )
        for i in range(depth)
    )
