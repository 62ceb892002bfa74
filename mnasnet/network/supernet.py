"""One network that holds every candidate of a search space: its parts are shared, each candidate uses some of them.

A smaller part is the beginning of a larger one: the first channels, the first layers of a block, the middle of a
kernel. Operators have weights of their own; those of bottlenecks of different expansion are shared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

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
    candidate: a network that was cut out needs its own from some images.
    Not to be run by two threads at once.
    """

    def __init__(self, space: SearchSpace, num_classes: int, *, dropout: float = 0.2) -> None:
        super().__init__()
        if num_classes < 1:
            raise SpecError(f"num_classes must be >= 1, got {num_classes}")
        self.space = space
        self.num_classes = num_classes
        stems = [space.stem_at(width) for width in space.widths]
        smallest, largest = shared_layers(space, min), shared_layers(space, max)
        self.stem = ConvBN(3, max(stems), 3, space.stem_stride)
        self.blocks = nn.ModuleList(_shared_block(largest, b) for b in range(len(space.blocks)))
        last = max(spec.out_channels for (b, _, _), spec in largest.items() if b == len(space.blocks) - 1)
        self.head = ConvBN(last, space.head_channels, 1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(space.head_channels, num_classes)
        initialise(self)
        _start_as_one(self, smallest)
        self._skeletons: dict[object, nn.Module] = {}

    def forward(self, x: Tensor, architecture: ArchitectureSpec) -> Tensor:
        """Class scores of one of the space's networks before softmax, N x ``num_classes``."""
        stem, head = architecture.stem_channels, architecture.head_channels
        channels = architecture.blocks[-1].channels
        make_stem = partial(ConvBN, 3, stem, 3, architecture.stem_stride)
        x = self._run(("stem", stem), make_stem, self.stem, x)
        for b, layers in enumerate(architecture.layers()):
            for i, spec in enumerate(layers):
                make = partial(Layer, spec, bn_momentum=0.1, bn_epsilon=architecture.bn_epsilon)
                x = self._run(spec, make, self.blocks.get_submodule(f"{b}.{i}.{spec.operator}"), x)
        x = self._run(("head", channels), partial(ConvBN, channels, head, 1), self.head, x)
        logits: Tensor = self.classifier(self.dropout(x.mean((2, 3))))
        return logits

    def cut_out(self, architecture: ArchitectureSpec) -> MnasNet:
        """One of the space's networks as an ordinary one with weights of its own, in the supernet's mode.

        Raises SpecError for a network that the space does not hold.
        """
        self.space.values_of(architecture)
        with torch.device("meta"):  # no time and no random numbers are spent on weights that are replaced
            network = MnasNet(architecture, self.num_classes, dropout=self.dropout.p)
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


def shared_layers(space: SearchSpace, of: Callable[[int, int], int]) -> dict[LayerPlace, LayerSpec]:
    """For each place and operator the layer whose sizes are the ``of``, min or max, of all that candidates have there.

    Its skip is "none" unless all have the same.
    """
    found: dict[LayerPlace, LayerSpec] = {}
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
                        found[place] = _joined(found.get(place, spec), spec, of)
            inputs = outputs
    return found


def _joined(one: LayerSpec, other: LayerSpec, of: Callable[[int, int], int]) -> LayerSpec:
    names = ("in_channels", "out_channels", "kernel", "expansion", "se_channels")
    sizes: dict[str, Any] = {name: of(getattr(one, name), getattr(other, name)) for name in names}
    return replace(one, skip=one.skip if one.skip == other.skip else "none", **sizes)


@torch.no_grad()
def _start_as_one(supernet: Supernet, smallest: Mapping[LayerPlace, LayerSpec]) -> None:
    """Let all networks that have the same operators and skips be one function before anything is learned.

    With plain random weights networks of different kernels, widths or gates have unrelated outputs: what one learns
    is noise to the others, and none learns. So what lies beyond ``smallest`` counts for nothing at first: weights of
    further inputs and of the rim of kernels are 0, gates are even, and layers that can be left out add nothing
    (for the last see arXiv 2003.11142, section 3). All of these get gradients from the first step on.
    """
    for (b, i, operator), spec in smallest.items():
        layer = supernet.blocks.get_submodule(f"{b}.{i}.{operator}")
        with torch.device("meta"):
            sizes = {name: value.shape for name, value in _layer(spec).state_dict().items()}
        for name, weight in layer.named_parameters():
            if name == "se.restore.weight":
                weight.zero_()
            elif name in sizes and weight.ndim == 4:
                _keep(weight, sizes[name][1:])
        if i > 0 and spec.skip != "none" and operator != "conv":  # a convolution's ReLU would never wake up again
            layer.get_parameter("project.bn.weight").zero_()
    last = len(supernet.blocks) - 1
    fewest = min(spec.out_channels for (b, _, _), spec in smallest.items() if b == last)
    _keep(supernet.head.get_parameter("conv.weight"), (fewest, 1, 1))


def _keep(weight: Tensor, sizes: Sequence[int]) -> None:
    """Make all of a convolution's weights 0 but those for the first inputs and the middle of the kernel."""
    kept = part(weight, (weight.shape[0], *sizes))
    values = kept.clone()
    weight.zero_()
    kept.copy_(values)


def _shared_block(largest: dict[LayerPlace, LayerSpec], b: int) -> nn.ModuleList:
    """The shared layers of one block, each a set of operators by name."""
    depth = 1 + max(i for block, i, _ in largest if block == b)
    return nn.ModuleList(
        nn.ModuleDict(
            {operator: _layer(spec) for (block, layer, operator), spec in largest.items() if (block, layer) == (b, i)}
        )
        for i in range(depth)
    )


def _layer(spec: LayerSpec) -> Layer:
    return Layer(spec, bn_momentum=0.1, bn_epsilon=1e-5)
