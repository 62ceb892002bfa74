"""The built-in search spaces: the paper's, its published variants, and small ones for small budgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from mnasnet.errors import SpecError
from mnasnet.presets import MNASNET_A1, MNASNET_SMALL
from mnasnet.space import BlockChoices, SearchSpace
from mnasnet.spec import ArchitectureSpec


def space(name: str) -> SearchSpace:
    """The built-in space called ``name``; raises SpecError with the list of names."""
    if name not in SPACES:
        raise SpecError(
            f"no search space and no file is called {name!r}; there are {', '.join(SPACES)}, or give a YAML file"
        )
    return SPACES[name]()


# The MobileNetV2 reference of the paper's filters and layers, and its strides (arXiv 1801.04381, table 2).
_MOBILENET_V2_FILTERS = (16, 24, 32, 64, 96, 160, 320)
_MOBILENET_V2_LAYERS = (1, 2, 3, 4, 3, 3, 1)
_STRIDES = (1, 2, 2, 2, 1, 2, 1)
_FILTERS = (0.75, 1.0, 1.25)
_LAYERS = (-1, 0, 1)
_SE = (0.0, 0.25)


def paper_space() -> SearchSpace:
    """The factorized hierarchical space of arXiv 1807.11626, section 4.1.

    Its 432 designs per block are 4 x 2 x 2 x 3 x 3 x 3: the literal list has three operators and makes 324,
    so the bottleneck's expansions 3 and 6, which the paper's networks use, are two operators.
    """
    blocks = tuple(
        BlockChoices(
            operator=("conv", "separable", "inverted3", "inverted6"),
            kernel=(3, 5),
            se_ratio=_SE,
            skip=("none", "identity", "pool"),
            channels=(channels,),
            filters=_FILTERS,
            repeats=(repeats,),
            layers=_LAYERS,
            stride=(stride,),
        )
        for channels, repeats, stride in zip(_MOBILENET_V2_FILTERS, _MOBILENET_V2_LAYERS, _STRIDES, strict=True)
    )
    return SearchSpace(blocks, name="paper", source="arXiv 1807.11626, section 4.1, on MobileNetV2")


def published_space() -> SearchSpace:
    """Google's later published variant without the skip choice: 216^5 x 144^2 = 9.7e15 combinations."""
    return _published("published", _MOBILENET_V2_FILTERS, _MOBILENET_V2_LAYERS)


def published_a1_space() -> SearchSpace:
    """The published variant with MnasNet-A1's filters and layers as reference; A1 is a point of it."""
    filters = tuple(block.channels for block in MNASNET_A1.blocks)
    return _published("published_a1", filters, tuple(block.repeats for block in MNASNET_A1.blocks))


def around_a1_space() -> SearchSpace:
    """MnasNet-A1 and its surroundings: the first block is kept, the others vary in all but operator family."""
    first, *others = (BlockChoices.fixed(block) for block in MNASNET_A1.blocks)
    blocks = [
        replace(
            block,
            operator=("inverted3", "inverted6"),
            kernel=(3, 5),
            se_ratio=_SE,
            filters=_FILTERS,
            layers=_LAYERS if block.repeats[0] > 1 else (0, 1),
        )
        for block in others
    ]
    return SearchSpace((first, *blocks), name="around_a1", source="MnasNet-A1 and its surroundings")


def resolution_width_space() -> SearchSpace:
    """Input size and width multiplier as choices, with kernel and expansion of A1's blocks."""
    return SearchSpace(
        _light_blocks(MNASNET_A1),
        name="resolution_width",
        source="MnasNet-A1; input sizes and widths of the official scaling table (tensorflow/tpu, mnasnet)",
        input_sizes=(96, 128, 160, 192, 224),
        widths=(0.35, 0.5, 0.75, 1.0, 1.4),
    )


def small_space() -> SearchSpace:
    """For some hours on one machine: kernel and expansion of six blocks, three widths; 98,304 combinations.

    Squeeze-and-excitation is a choice where MnasNet-A1 has it: networks of 0.3 ms take a quarter more time with it,
    and a recorded search that could not leave it out lost to networks without (``benchmarks/README.md``).
    """
    blocks = tuple(
        replace(block, se_ratio=_SE) if any(block.se_ratio) else block for block in _light_blocks(MNASNET_A1)
    )
    return SearchSpace(blocks, name="small", source="MnasNet-A1", widths=(0.35, 0.5, 0.75))


def tiny_space() -> SearchSpace:
    """For minutes: MnasNet-small with the kernel of each block and the depth of three; 512 combinations."""
    blocks = [BlockChoices.fixed(block) for block in MNASNET_SMALL.blocks]
    blocks[1:] = [replace(block, kernel=(3, 5)) for block in blocks[1:]]
    for b in (3, 4, 5):
        blocks[b] = replace(blocks[b], layers=(-1, 0))
    return SearchSpace(tuple(blocks), name="tiny", source="mnasnet_small", stem_channels=MNASNET_SMALL.stem_channels)


SPACES: dict[str, Callable[[], SearchSpace]] = {
    "paper": paper_space,
    "published": published_space,
    "published_a1": published_a1_space,
    "around_a1": around_a1_space,
    "resolution_width": resolution_width_space,
    "small": small_space,
    "tiny": tiny_space,
}


def _published(name: str, filters: Sequence[int], repeats: Sequence[int]) -> SearchSpace:
    blocks = tuple(
        BlockChoices(
            operator=("conv", "inverted"),
            expansion=(1, 3, 6),
            kernel=(3, 5),
            se_ratio=_SE,
            channels=(channels,),
            filters=_FILTERS,
            repeats=(count,),
            layers=(0, -1, 1) if count > 1 else (0, 1),
            stride=(stride,),
        )
        for channels, count, stride in zip(filters, repeats, _STRIDES, strict=True)
    )
    source = "google/vertex-ai-nas, nas_architecture/tunable_mnasnet_search_space.py"
    return SearchSpace(blocks, name=name, source=source, channel_multiple=1)  # its filters are not rounded


def _light_blocks(start: ArchitectureSpec) -> tuple[BlockChoices, ...]:
    """The blocks of ``start`` with kernel and expansion of all but the first left open."""
    first, *others = (BlockChoices.fixed(block) for block in start.blocks)
    return (first, *(replace(block, operator=("inverted3", "inverted6"), kernel=(3, 5)) for block in others))
