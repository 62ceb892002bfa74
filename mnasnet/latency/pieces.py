"""A network cut into pieces whose times add up: stem, layers at their image sides, head.

A piece cannot run alone in every engine, so it is timed as the difference of two small whole networks, with it and
without it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from mnasnet.preprocess import MIN_INPUT_SIZE, Preprocess
from mnasnet.space import SearchSpace
from mnasnet.spec import ArchitectureSpec, BlockSpec, LayerSpec

PROBE_CHANNELS = 8  # of the small networks around a piece
DRAWS_PER_NETWORK = 20  # small spaces repeat themselves; more draws would find no other network

Probe = tuple[ArchitectureSpec, int]
"""A network to be timed and its input size in pixels."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a network. ``key`` names it and everything its time depends on.

    Its time is that of the network ``probe`` less that of ``base``; the stem, with which a call begins, has no base.
    """

    key: str
    probe: Probe
    base: Probe | None = None


def pieces_of(architecture: ArchitectureSpec, input_size: int) -> Iterator[Piece]:
    """The pieces of one network, in order; equal pieces come as often as they run.

    Raises SpecError for an input size that no network takes.
    """
    Preprocess(input_size, input_size)  # which knows the sizes there are
    yield _stem(architecture, input_size)
    side = _strided(input_size, architecture.stem_stride)
    for block in architecture.layers():
        for layer in block:
            yield _layer(layer, side)
            side = _strided(side, layer.stride)
    yield _head(architecture.blocks[-1].channels, architecture.head_channels, side)


def pieces_of_space(space: SearchSpace, input_size: int) -> Iterator[Piece]:
    """Every distinct piece of every network of ``space`` at ``input_size`` and at the input sizes it has itself.

    Raises SpecError for an input size that no network takes.
    """
    Preprocess(input_size, input_size)
    seen: set[str] = set()
    for size in (*space.input_sizes, input_size):
        for width in space.widths:
            for piece in _pieces_at(space, size, width):
                if piece.key not in seen:
                    seen.add(piece.key)
                    yield piece


def random_probes(space: SearchSpace, count: int, input_size: int, rng: random.Random) -> list[Probe]:
    """Different random networks of ``space`` at their input sizes, or at ``input_size``; fewer where it has fewer."""
    found: dict[Probe, None] = {}
    for _ in range(count * DRAWS_PER_NETWORK):
        if len(found) < count:
            candidate = space.random(rng)
            found[candidate.architecture, candidate.input_size or input_size] = None
    return list(found)


def _pieces_at(space: SearchSpace, input_size: int, width: float) -> Iterator[Piece]:
    stem = space.stem_at(width)
    yield _stem(ArchitectureSpec((BlockSpec("conv", 8),), stem, space.stem_stride), input_size)
    ends = {(stem, _strided(input_size, space.stem_stride))}  # channels and side at a block's end
    for b in range(len(space.blocks)):
        next_ends: set[tuple[int, int]] = set()
        for channels, side in sorted(ends):
            for design in space.block_designs(b, in_channels=channels, width=width):
                after = side
                # the layers of a block alone: a stem of as many channels stands for what comes before
                for layer in ArchitectureSpec((design,), stem_channels=channels).layers()[0]:
                    yield _layer(layer, after)
                    after = _strided(after, layer.stride)
                next_ends.add((design.channels, after))
        ends = next_ends
    for channels, side in sorted(ends):
        yield _head(channels, space.head_channels, side)


def _stem(architecture: ArchitectureSpec, input_size: int) -> Piece:
    alone = ArchitectureSpec(
        (BlockSpec("conv", PROBE_CHANNELS, kernel=1, skip="none"),),
        architecture.stem_channels,
        architecture.stem_stride,
        head_channels=PROBE_CHANNELS,
    )
    key = f"stem 3>{architecture.stem_channels} s{architecture.stem_stride} @{input_size}"
    return Piece(key, (alone, input_size))


def stem_input_size(key: str) -> int | None:
    """The pixels of the images that a stem takes, read from its ``key``; None where the key is another piece's."""
    return int(key.rpartition("@")[2]) if key.startswith("stem ") else None


def _layer(layer: LayerSpec, side: int) -> Piece:
    blocks, size = _lead(layer.in_channels, side)
    key = (
        f"{layer.operator} {layer.in_channels}>{layer.out_channels} k{layer.kernel} s{layer.stride} "
        f"e{layer.expansion} se{layer.se_channels} {layer.skip} @{side}"
    )
    return Piece(key, (_small((*blocks, _block(layer))), size), (_small(blocks), size))


def _head(in_channels: int, head_channels: int, side: int) -> Piece:
    blocks, size = _lead(in_channels, side)
    whole = ArchitectureSpec(blocks, PROBE_CHANNELS, head_channels=head_channels)
    return Piece(f"head {in_channels}>{head_channels} @{side}", (whole, size), (_small(blocks), size))


def _small(blocks: tuple[BlockSpec, ...]) -> ArchitectureSpec:
    return ArchitectureSpec(blocks, PROBE_CHANNELS, head_channels=PROBE_CHANNELS)


def _lead(channels: int, side: int) -> tuple[tuple[BlockSpec, ...], int]:
    """Blocks that end in ``channels`` at ``side`` pixels at little cost, and the input size for them."""
    halvings = 1  # by the stem
    while side << halvings < MIN_INPUT_SIZE:
        halvings += 1
    shrinking = tuple(BlockSpec("conv", PROBE_CHANNELS, kernel=1, stride=2, skip="none") for _ in range(halvings - 1))
    return (*shrinking, BlockSpec("conv", channels, kernel=1, skip="none")), side << halvings


def _block(layer: LayerSpec) -> BlockSpec:
    """The block of this one layer."""
    return BlockSpec(
        layer.operator,
        layer.out_channels,
        kernel=layer.kernel,
        stride=layer.stride,
        expansion=layer.expansion,
        # half a channel more, because the width is rounded down
        se_ratio=min(1.0, (layer.se_channels + 0.5) / layer.in_channels) if layer.se_channels else 0.0,
        skip=layer.skip,
    )


def _strided(side: int, stride: int) -> int:
    return -(-side // stride)
