"""Search spaces as values: named choices, and a pure function from choices to an architecture.

A space is a network with holes: every field of :class:`BlockChoices` is a tuple of options, and a tuple of
one option is not a choice. The paper's factorized hierarchical space, its published variants and a user's
YAML file are the same kind of thing, a :class:`SearchSpace`: see :mod:`mnasnet.spaces` and :mod:`mnasnet.space_file`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from typing import Any

from mnasnet.checks import is_number, is_whole, make_plain, shown
from mnasnet.errors import SpecError
from mnasnet.preprocess import MAX_INPUT_SIZE, MIN_INPUT_SIZE
from mnasnet.spec import LARGEST, SCHEMA, ArchitectureSpec, BlockSpec, round_channels

Option = str | int | float

OPERATORS = ("conv", "separable", "inverted", "inverted3", "inverted6")


@dataclass(frozen=True, slots=True)
class Choice:
    """One decision of a search: a name such as ``block3.kernel`` and two or more different options."""

    name: str
    options: tuple[Option, ...]

    def __post_init__(self) -> None:
        make_plain(self)
        if (
            any(isinstance(option, bool) or not isinstance(option, str | int | float) for option in self.options)
            or not len(self.options) == len(set(self.options)) >= 2
        ):
            raise SpecError(
                f"choice {self.name!r} needs two or more different options, numbers or words, got {list(self.options)}"
            )

    def index(self, option: Option) -> int:
        """The place of ``option`` among the options; raises SpecError when it is not one of them."""
        try:
            return self.options.index(option)
        except ValueError:
            raise SpecError(f"{self.name} must be one of {listed(self.options)}, got {option!r}") from None


@dataclass(frozen=True, slots=True)
class BlockChoices:
    """One block and what may vary in it: each field holds the options, a single one being fixed.

    ``operator``: conv, separable, inverted3 and inverted6 (the mobile inverted bottleneck with expansion 3 or
    6), or a bare ``inverted`` whose expansion is the separate choice ``expansion``. The block has
    ``channels`` x ``filters`` channels, rounded as the space says, and ``repeats`` + ``layers`` layers.

    Every combination means a network: ``expansion`` is ignored by all but a bare ``inverted``, which is a
    separable convolution at expansion 1; a block never falls below one layer; a skip that no layer of the
    block can take is none.
    """

    operator: tuple[str, ...] = ("inverted6",)
    expansion: tuple[int, ...] = (1,)
    kernel: tuple[int, ...] = (3,)
    se_ratio: tuple[float, ...] = (0.0,)
    skip: tuple[str, ...] = ("identity",)
    channels: tuple[int, ...] = ()
    filters: tuple[float, ...] = (1.0,)
    repeats: tuple[int, ...] = (1,)
    layers: tuple[int, ...] = (0,)
    stride: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        make_plain(self)
        _make_tuples(self, BLOCK_FIELDS)
        for name in BLOCK_FIELDS:
            options = getattr(self, name)
            if not options:
                raise SpecError(f"a block needs at least one option for {name}, got none")
            if len(set(options)) != len(options):
                raise SpecError(f"the options of {name} must differ, got {list(options)}")
        unknown = set(self.operator) - set(OPERATORS)
        if unknown:
            raise SpecError(f"operator must be one of {', '.join(OPERATORS)}, got {sorted(unknown)}")
        if self.expansion != (1,) and "inverted" not in self.operator:
            raise SpecError(
                f"expansion needs operator: inverted beside it, got {listed(self.operator)}, which ignores it"
            )
        if self.expansion == (1,) and "inverted" in self.operator:
            raise SpecError(
                "operator inverted needs expansion beside it, such as [3, 6], got none above 1; with expansion 1 write "
                "separable"
            )
        for name in ("channels", "repeats", "expansion"):
            if any(not is_whole(option) or option < 1 for option in getattr(self, name)):
                raise SpecError(f"{name} must be whole numbers >= 1, got {list(getattr(self, name))}")
            if any(option > LARGEST[name] for option in getattr(self, name)):
                raise SpecError(f"{name} must be at most {LARGEST[name]:,}, got {shown(max(getattr(self, name)))}")
        if any(not is_whole(option) for option in self.layers):
            raise SpecError(f"layers are whole numbers added to repeats, got {list(self.layers)}")
        if max(self.layers) + max(self.repeats) > LARGEST["repeats"]:
            raise SpecError(
                f"a block has at most {LARGEST['repeats']} layers, got repeats up to {shown(max(self.repeats))} and "
                f"layers up to {shown(max(self.layers))}"
            )
        if any(not is_number(option) or not 0 < option <= 10 for option in self.filters):
            raise SpecError(f"filters must lie between 0 and 10, they multiply channels, got {list(self.filters)}")
        for values in itertools.product(*(getattr(self, name) for name in ("kernel", "se_ratio", "skip", "stride"))):
            BlockSpec("conv", 8, kernel=values[0], se_ratio=values[1], skip=values[2], stride=values[3])
        for name in ("se_ratio", "filters"):  # so that 0 and 0.0 are one space, also in its fingerprint
            object.__setattr__(self, name, tuple(abs(float(option)) for option in getattr(self, name)))

    @classmethod
    def fixed(cls, block: BlockSpec) -> BlockChoices:
        """``block`` with nothing left to choose."""
        named = {3: "inverted3", 6: "inverted6"}.get(block.expansion, "inverted")
        return cls(
            operator=(named if block.operator == "inverted" else block.operator,),
            expansion=(block.expansion if named == "inverted" else 1,),
            kernel=(block.kernel,),
            se_ratio=(block.se_ratio,),
            skip=(block.skip,),
            channels=(block.channels,),
            repeats=(block.repeats,),
            stride=(block.stride,),
        )


BLOCK_FIELDS = tuple(item.name for item in fields(BlockChoices))


def _make_tuples(value: object, names: Sequence[str]) -> None:
    """Let a single option stand for a tuple of one, as in files."""
    for name in names:
        options = getattr(value, name)
        if not isinstance(options, tuple):
            object.__setattr__(value, name, (options,))


@dataclass(frozen=True, slots=True)
class Candidate:
    """One point of a space: the options taken, in the order of the space's choices, and what they build.

    ``input_size`` is None where the space leaves the image size to the search's settings.
    """

    values: tuple[Option, ...]
    architecture: ArchitectureSpec
    input_size: int | None = None

    @property
    def fingerprint(self) -> str:
        """A short text that is equal exactly for the same design at the same input size."""
        size = "" if self.input_size is None else f"@{self.input_size}"
        return f"{self.architecture.fingerprint}{size}"


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """A network with holes. ``choices`` lists them; :meth:`candidate` fills them.

    ``input_sizes`` (pixels) and ``widths`` (channel multipliers of stem and blocks) become the choices
    ``input_size`` and ``width`` when they have several options. ``channel_multiple`` is what
    ``channels`` x ``filters`` is rounded to.
    """

    blocks: tuple[BlockChoices, ...]
    name: str = ""
    source: str = ""
    stem_channels: int = 32
    stem_stride: int = 2
    head_channels: int = 1280
    input_sizes: tuple[int, ...] = ()
    widths: tuple[float, ...] = (1.0,)
    channel_multiple: int = 8
    choices: tuple[Choice, ...] = field(init=False, repr=False, compare=False)
    _layout: _Layout = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        make_plain(self)
        _make_tuples(self, ("blocks", "input_sizes", "widths"))
        if not self.blocks:
            raise SpecError("a search space needs at least one block, got none")
        for size in self.input_sizes:
            if not is_whole(size) or not MIN_INPUT_SIZE <= size <= MAX_INPUT_SIZE:
                raise SpecError(
                    f"input_sizes must be whole numbers of pixels, {MIN_INPUT_SIZE} to {MAX_INPUT_SIZE}, got {size!r}"
                )
        if not self.widths or any(not is_number(width) or not 0 < width <= 10 for width in self.widths):
            raise SpecError(f"widths are one or more numbers above 0 and up to 10, got {list(self.widths)}")
        object.__setattr__(self, "widths", tuple(map(float, self.widths)))
        if not is_whole(self.channel_multiple) or self.channel_multiple < 1:
            raise SpecError(f"channel_multiple must be a whole number >= 1, got {self.channel_multiple!r}")
        choices, layout = _lay_out(self)
        object.__setattr__(self, "choices", choices)
        object.__setattr__(self, "_layout", layout)
        ArchitectureSpec(  # checks stem and head
            (BlockSpec("conv", 8),), self.stem_channels, self.stem_stride, self.head_channels
        )

    @property
    def size(self) -> int:
        """The number of combinations of choices; several may mean the same network."""
        return math.prod(len(choice.options) for choice in self.choices)

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits, equal exactly for spaces of equal choices and networks."""
        values = {key: value for key, value in self.to_dict().items() if key not in ("name", "source", "schema")}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def candidate(self, values: Mapping[str, Option] | Sequence[Option]) -> Candidate:
        """The network that ``values`` stand for, by choice name or in the order of ``choices``.

        Raises SpecError naming the missing, unknown or wrong choice.
        """
        indices = self.indices_of(values)
        return self.candidate_at(indices)

    def candidate_at(self, indices: Sequence[int]) -> Candidate:
        """Like :meth:`candidate`, from the place of each option; nothing is checked, so it is fast."""
        layout = self._layout
        width = self.widths[indices[layout.width]] if layout.width is not None else self.widths[0]
        size: int | None = self.input_sizes[0] if self.input_sizes else None
        if layout.input_size is not None:
            size = self.input_sizes[indices[layout.input_size]]
        channels = stem = self.stem_at(width)
        blocks = []
        for block, (start, stop) in zip(self.blocks, layout.spans, strict=True):
            spec = _block_at(block, tuple(indices[start:stop]), width, self.channel_multiple, channels)
            blocks.append(spec)
            channels = spec.channels
        architecture = ArchitectureSpec(tuple(blocks), stem, self.stem_stride, self.head_channels)
        values = tuple(choice.options[i] for choice, i in zip(self.choices, indices, strict=True))
        return Candidate(values, architecture, size)

    def architecture(self, values: Mapping[str, Option] | Sequence[Option]) -> ArchitectureSpec:
        """The network that ``values`` stand for; see :meth:`candidate`."""
        return self.candidate(values).architecture

    def indices_of(self, values: Mapping[str, Option] | Sequence[Option]) -> tuple[int, ...]:
        """The place of each option; raises SpecError naming the missing, unknown or wrong choice."""
        names = [choice.name for choice in self.choices]
        if isinstance(values, Mapping):
            unknown, missing = [n for n in values if n not in names], [n for n in names if n not in values]
            if unknown or missing:
                raise SpecError(
                    f"the choices of space {self.name!r} do not fit: missing {listed(missing) or 'none'}, "
                    f"unknown {listed(unknown) or 'none'}"
                )
            values = [values[name] for name in names]
        if len(values) != len(names):
            raise SpecError(f"space {self.name!r} has {len(names)} choices, got {len(values)} values")
        return tuple(choice.index(value) for choice, value in zip(self.choices, values, strict=True))

    def named_values(self, candidate: Candidate) -> dict[str, Option]:
        """The options of ``candidate`` by choice name."""
        return {choice.name: value for choice, value in zip(self.choices, candidate.values, strict=True)}

    def values_of(self, architecture: ArchitectureSpec, input_size: int | None = None) -> dict[str, Option]:
        """Choices that build ``architecture``, the first ones where several do.

        Raises SpecError naming the first block, and its field, that the space does not hold.
        """
        picks: dict[str, Option] = {}
        if len(self.input_sizes) > 1:
            wanted = self.input_sizes[0] if input_size is None else input_size
            Choice("input_size", self.input_sizes).index(wanted)
            picks["input_size"] = wanted
        failures = []
        for width in self.widths:
            try:
                blocks = self._blocks_of(architecture, width)
            except SpecError as error:
                failures.append((self.stem_at(width) == architecture.stem_channels, error))
                continue
            return ({"width": width} if len(self.widths) > 1 else {}) | picks | blocks
        raise max(failures, key=lambda failure: failure[0])[1]  # a width with the right stem tells most

    def neighbours(self, values: Mapping[str, Option] | Sequence[Option]) -> Iterator[Candidate]:
        """Every candidate that differs from ``values`` in one choice."""
        indices = self.indices_of(values)
        for place, choice in enumerate(self.choices):
            for other in range(len(choice.options)):
                if other != indices[place]:
                    yield self.candidate_at((*indices[:place], other, *indices[place + 1 :]))

    def random(self, rng: random.Random) -> Candidate:
        """A candidate whose choices are drawn independently and evenly by ``rng``."""
        return self.candidate_at([rng.randrange(len(choice.options)) for choice in self.choices])

    def count_networks(self) -> int:
        """The number of different networks (times input sizes), at most :attr:`size`.

        Exact, by counting block designs for each width of the block before, unless two ``widths`` round to
        the same network, which is then counted twice.
        """
        total = 0
        for width in self.widths:
            ways = {self.stem_at(width): 1}  # channels going into a block -> networks up to there
            for block in self.blocks:
                ways = _extend(ways, block, width, self.channel_multiple)
            total += sum(ways.values())
        return total * max(1, len(self.input_sizes))

    def block_designs(self, b: int, *, in_channels: int, width: float = 1.0) -> list[BlockSpec]:
        """Every different design that block ``b`` can have after ``in_channels`` channels."""
        designs = _designs(self.blocks[b], width, self.channel_multiple, in_channels)
        return list(dict.fromkeys(design for _, design in designs))

    def stem_at(self, width: float) -> int:
        """The stem's channels at a width multiplier."""
        return self.stem_channels if width == 1.0 else round_channels(self.stem_channels * width)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as space files have them; :func:`mnasnet.space_file.space_of` is the inverse."""
        values = {key: value for key, value in asdict(self).items() if key not in ("choices", "_layout")}
        return {"schema": SCHEMA, **json.loads(json.dumps(values))}

    def _blocks_of(self, architecture: ArchitectureSpec, width: float) -> dict[str, Option]:
        frame = self.candidate_at([0] * len(self.choices)).architecture
        for name, mine, theirs in (
            ("stem_channels", self.stem_at(width), architecture.stem_channels),
            ("stem_stride", frame.stem_stride, architecture.stem_stride),
            ("head_channels", frame.head_channels, architecture.head_channels),
            ("bn_epsilon", frame.bn_epsilon, architecture.bn_epsilon),
            ("the number of blocks", len(self.blocks), len(architecture.blocks)),
        ):
            if mine != theirs:
                raise SpecError(f"space {self.name!r} does not hold this network: {name} is {theirs}, not {mine}")
        picks: dict[str, Option] = {}
        channels = architecture.stem_channels
        for b, (block, target) in enumerate(zip(self.blocks, architecture.blocks, strict=True)):
            found = _find_block(block, target, width, self.channel_multiple, channels)
            if found is None:
                reason = _explain(block, target, width, self.channel_multiple, channels)
                raise SpecError(f"space {self.name!r} does not hold this network: block {b} {reason}")
            picks |= {f"block{b}.{name}": option for name, option in found.items()}
            channels = target.channels
        return picks


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where each part of a network finds its choices."""

    width: int | None
    input_size: int | None
    spans: tuple[tuple[int, int], ...]  # first and past-the-last choice of each block


def _lay_out(space: SearchSpace) -> tuple[tuple[Choice, ...], _Layout]:
    choices: list[Choice] = []
    width = input_size = None
    if len(space.widths) > 1:
        width = len(choices)
        choices.append(Choice("width", space.widths))
    if len(space.input_sizes) > 1:
        input_size = len(choices)
        choices.append(Choice("input_size", space.input_sizes))
    spans = []
    for b, block in enumerate(space.blocks):
        start = len(choices)
        choices += [Choice(f"block{b}.{name}", getattr(block, name)) for name in _open_fields(block)]
        spans.append((start, len(choices)))
    return tuple(choices), _Layout(width, input_size, tuple(spans))


@lru_cache(maxsize=1024)
def _open_fields(block: BlockChoices) -> tuple[str, ...]:
    return tuple(name for name in BLOCK_FIELDS if len(getattr(block, name)) > 1)


@lru_cache(maxsize=1 << 16)
def _block_at(
    block: BlockChoices, indices: tuple[int, ...], width: float, channel_multiple: int, in_channels: int
) -> BlockSpec:
    """The block that the options at ``indices`` of its open fields stand for, in canonical form."""
    picked = {name: getattr(block, name)[0] for name in BLOCK_FIELDS}
    for name, index in zip(_open_fields(block), indices, strict=True):
        picked[name] = getattr(block, name)[index]
    operator, expansion = picked["operator"], 1
    if operator in ("inverted3", "inverted6"):
        operator, expansion = "inverted", int(operator[-1])
    elif operator == "inverted":
        expansion = picked["expansion"]
        operator = "inverted" if expansion > 1 else "separable"
    channels = round_channels(picked["channels"] * picked["filters"], channel_multiple)
    if width != 1.0:
        channels = round_channels(channels * width)
    spec = BlockSpec(
        operator,
        channels,
        kernel=picked["kernel"],
        stride=picked["stride"],
        repeats=max(1, picked["repeats"] + picked["layers"]),
        expansion=expansion,
        se_ratio=picked["se_ratio"],
        skip=picked["skip"],
    )
    return _canonical(spec, in_channels)


def _canonical(block: BlockSpec, in_channels: int) -> BlockSpec:
    """The same block, its skip called none when no layer can take it."""
    if block.repeats > 1 or block.skip == "none":
        return block
    fits = {
        "identity": block.stride == 1 and in_channels == block.channels,
        "pool": in_channels <= block.channels,
    }
    return block if fits[block.skip] else replace(block, skip="none")


def _designs(
    block: BlockChoices, width: float, channel_multiple: int, in_channels: int
) -> Iterator[tuple[dict[str, Option], BlockSpec]]:
    names = _open_fields(block)
    for indices in itertools.product(*(range(len(getattr(block, name))) for name in names)):
        options = {name: getattr(block, name)[i] for name, i in zip(names, indices, strict=True)}
        yield options, _block_at(block, indices, width, channel_multiple, in_channels)


def _extend(ways: Mapping[int, int], block: BlockChoices, width: float, channel_multiple: int) -> dict[int, int]:
    extended: dict[int, int] = {}
    for in_channels, count in ways.items():
        for design in {spec for _, spec in _designs(block, width, channel_multiple, in_channels)}:
            extended[design.channels] = extended.get(design.channels, 0) + count
    return extended


def _find_block(
    block: BlockChoices, target: BlockSpec, width: float, channel_multiple: int, in_channels: int
) -> dict[str, Option] | None:
    wanted = _canonical(target, in_channels)
    found = [options for options, design in _designs(block, width, channel_multiple, in_channels) if design == wanted]
    # rounding can make filters 0.75 and 1.0 the same: the reference itself is the plainest answer
    return min(
        found, key=lambda options: (options.get("filters", 1.0) != 1.0, options.get("layers", 0) != 0), default=None
    )


def _explain(block: BlockChoices, target: BlockSpec, width: float, channel_multiple: int, in_channels: int) -> str:
    """What of ``target`` the block cannot be: the first field whose value no design has."""
    wanted = _canonical(target, in_channels)
    designs = [design for _, design in _designs(block, width, channel_multiple, in_channels)]
    for item in fields(BlockSpec):
        offered = sorted({getattr(design, item.name) for design in designs})
        if getattr(wanted, item.name) not in offered:
            return f"has {item.name} {getattr(wanted, item.name)}, the space offers {listed(offered)}"
    return "is a combination that the space does not offer"


def listed(values: Sequence[object]) -> str:
    """The values in words."""
    return ", ".join(str(value) for value in values)
