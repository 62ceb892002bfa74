"""Search spaces as values: named choices, and a pure function from choices to an architecture.

A space is a network with holes: every field of :class:`BlockChoices` is a tuple of options, and a tuple of
one option is not a choice. The paper's factorized hierarchical space, its published variants and a user's
YAML file are the same kind of thing, a :class:`SearchSpace`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from mnasnet.errors import NewerSchemaError, SpecError
from mnasnet.presets import MNASNET_A1, MNASNET_SMALL
from mnasnet.spec import SCHEMA, ArchitectureSpec, BlockSpec, round_channels

Option = str | int | float

OPERATORS = ("conv", "separable", "inverted", "inverted3", "inverted6")
MIN_INPUT_SIZE = 32


@dataclass(frozen=True, slots=True)
class Choice:
    """One decision of a search: a name such as ``block3.kernel`` and two or more different options."""

    name: str
    options: tuple[Option, ...]

    def __post_init__(self) -> None:
        if len(self.options) < 2 or len(set(self.options)) != len(self.options):
            raise SpecError(f"choice {self.name!r} needs two or more different options, got {list(self.options)}")

    def index(self, option: Option) -> int:
        """The place of ``option`` among the options; raises SpecError when it is not one of them."""
        try:
            return self.options.index(option)
        except ValueError:
            raise SpecError(f"{self.name} must be one of {_listed(self.options)}, got {option!r}") from None


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
        for name in BLOCK_FIELDS:
            options = getattr(self, name)
            if not options:
                raise SpecError(f"a block needs at least one option for {name}, got none")
            if len(set(options)) != len(options):
                raise SpecError(f"the options of {name} must differ, got {list(options)}")
        unknown = set(self.operator) - set(OPERATORS)
        if unknown:
            raise SpecError(f"operator must be one of {', '.join(OPERATORS)}, got {sorted(unknown)}")
        if len(self.expansion) > 1 and "inverted" not in self.operator:
            raise SpecError("a choice of expansion needs the operator 'inverted'; inverted3 and inverted6 fix it")
        for name in ("channels", "repeats", "expansion"):
            if any(not _is_whole(option) or option < 1 for option in getattr(self, name)):
                raise SpecError(f"{name} must be whole numbers >= 1, got {list(getattr(self, name))}")
        if any(not _is_whole(option) for option in self.layers):
            raise SpecError(f"layers are whole numbers added to repeats, got {list(self.layers)}")
        if any(not _is_number(option) or not 0 < option <= 10 for option in self.filters):
            raise SpecError(f"filters must lie between 0 and 10, they multiply channels, got {list(self.filters)}")
        for values in itertools.product(*(getattr(self, name) for name in ("kernel", "se_ratio", "skip", "stride"))):
            BlockSpec("conv", 8, kernel=values[0], se_ratio=values[1], skip=values[2], stride=values[3])


BLOCK_FIELDS = tuple(item.name for item in fields(BlockChoices))


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
        """A short text that is equal exactly for the same network at the same input size."""
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
        if not self.blocks:
            raise SpecError("a search space needs at least one block, got none")
        for size in self.input_sizes:
            if not _is_whole(size) or size < MIN_INPUT_SIZE:
                raise SpecError(f"input_sizes must be whole numbers of pixels >= {MIN_INPUT_SIZE}, got {size!r}")
        if not self.widths or any(not _is_number(width) or not 0 < width <= 10 for width in self.widths):
            raise SpecError(f"widths must lie between 0 and 10, got {list(self.widths)}")
        if not _is_whole(self.channel_multiple) or self.channel_multiple < 1:
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
                    f"the choices of space {self.name!r} do not fit: missing {_listed(missing) or 'none'}, "
                    f"unknown {_listed(unknown) or 'none'}"
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
        """Plain values, as :meth:`from_dict` and space files have them."""
        values = {key: value for key, value in asdict(self).items() if key not in ("choices", "_layout")}
        return {"schema": SCHEMA, **json.loads(json.dumps(values))}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SearchSpace:
        """A space from plain values; raises SpecError naming the field at fault. See :func:`load_space`."""
        return _parse(values)

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


def space(name: str) -> SearchSpace:
    """The built-in space called ``name``; raises SpecError with the list of names."""
    if name not in SPACES:
        raise SpecError(f"no search space is called {name!r}; there are {', '.join(SPACES)}, or give a YAML file")
    return SPACES[name]()


def load_space(path: Path) -> SearchSpace:
    """A space from a YAML or JSON file; raises SpecError naming the file and the field at fault.

    The file has ``blocks``, a list with the fields of :class:`BlockChoices` each as one option or a list of
    options, or ``start: <preset>`` to take the blocks of a published network; ``vary`` gives options to
    every block that does not name them itself. The other fields are those of :class:`SearchSpace`.
    """
    import yaml  # the only use of it, and not needed for the built-in spaces

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"the space file {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"the space file {path} is neither YAML nor JSON: {error}") from error
    try:
        return _parse(values, default_name=Path(path).stem)
    except SpecError as error:
        raise SpecError(f"space file {path}: {error}") from error


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
    first, *others = (_fixed(block) for block in MNASNET_A1.blocks)
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
    """For some hours on one machine: kernel and expansion of six blocks, three widths; 12,288 combinations."""
    return SearchSpace(_light_blocks(MNASNET_A1), name="small", source="MnasNet-A1", widths=(0.35, 0.5, 0.75))


def tiny_space() -> SearchSpace:
    """For minutes: MnasNet-small with the kernel of each block and the depth of three; 512 combinations."""
    blocks = [_fixed(block) for block in MNASNET_SMALL.blocks]
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
    first, *others = (_fixed(block) for block in start.blocks)
    return (first, *(replace(block, operator=("inverted3", "inverted6"), kernel=(3, 5)) for block in others))


def _fixed(block: BlockSpec) -> BlockChoices:
    """``block`` with nothing left to choose."""
    named = {3: "inverted3", 6: "inverted6"}.get(block.expansion, "inverted")
    return BlockChoices(
        operator=(named if block.operator == "inverted" else block.operator,),
        expansion=(block.expansion if named == "inverted" else 1,),
        kernel=(block.kernel,),
        se_ratio=(block.se_ratio,),
        skip=(block.skip,),
        channels=(block.channels,),
        repeats=(block.repeats,),
        stride=(block.stride,),
    )


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
            return f"has {item.name} {getattr(wanted, item.name)}, the space offers {_listed(offered)}"
    return "is a combination that the space does not offer"


_SPACE_FIELDS = ("name", "source", "stem_channels", "stem_stride", "head_channels", "input_sizes", "widths",
                 "channel_multiple")  # fmt: skip
_FILE_FIELDS = (*_SPACE_FIELDS, "blocks", "start", "vary", "schema")


def _parse(values: object, default_name: str = "") -> SearchSpace:
    if not isinstance(values, Mapping):
        raise SpecError(f"a search space is a mapping with 'blocks' or 'start', got {type(values).__name__}")
    unknown = [str(key) for key in values if key not in _FILE_FIELDS]
    if unknown:
        raise SpecError(f"unknown field {_listed(unknown)}; a space has {', '.join(_FILE_FIELDS)}")
    schema = values.get("schema", SCHEMA)
    if not _is_whole(schema) or schema > SCHEMA:
        raise NewerSchemaError(f"space schema {schema!r} is newer than {SCHEMA}; update the mnasnet package")
    arguments = {key: values[key] for key in _SPACE_FIELDS if key in values}
    start = _start(values)
    if start is not None:
        arguments.setdefault("stem_channels", start.stem_channels)
        arguments.setdefault("stem_stride", start.stem_stride)
        arguments.setdefault("head_channels", start.head_channels)
    for key in ("input_sizes", "widths"):
        if key in arguments:
            arguments[key] = _options(key, arguments[key])
    arguments.setdefault("name", default_name)
    for key in ("name", "source"):
        if not isinstance(arguments.get(key, ""), str):
            raise SpecError(f"{key} must be text, got {arguments[key]!r}")
    return SearchSpace(_parse_blocks(values, start), **arguments)


def _start(values: Mapping[str, Any]) -> ArchitectureSpec | None:
    from mnasnet.presets import architecture

    if "start" not in values:
        return None
    if "blocks" in values:
        raise SpecError("a space has either 'blocks' or 'start', got both; put changes to all blocks under 'vary'")
    return architecture(str(values["start"]))


def _parse_blocks(values: Mapping[str, Any], start: ArchitectureSpec | None) -> tuple[BlockChoices, ...]:
    vary = _block_options("vary", values.get("vary", {}))
    if start is not None:
        # what the start's blocks are is the default; vary opens it
        return tuple(_checked(b, asdict(_fixed(block)) | vary) for b, block in enumerate(start.blocks))
    listed = values.get("blocks")
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not listed:
        raise SpecError("a search space needs 'blocks', a list of blocks, or 'start', the name of a network")
    return tuple(_checked(b, vary | _block_options(f"block {b}", block)) for b, block in enumerate(listed))


def _checked(b: int, options: Mapping[str, tuple[Any, ...]]) -> BlockChoices:
    try:
        return BlockChoices(**options)
    except (SpecError, TypeError) as error:
        raise SpecError(f"block {b}: {error}") from error


def _block_options(where: str, values: object) -> dict[str, tuple[Any, ...]]:
    if not isinstance(values, Mapping):
        raise SpecError(f"{where} must be a mapping such as {{kernel: [3, 5]}}, got {values!r}")
    unknown = [str(key) for key in values if key not in BLOCK_FIELDS]
    if unknown:
        raise SpecError(f"{where} has the unknown field {_listed(unknown)}; a block has {', '.join(BLOCK_FIELDS)}")
    return {key: _options(f"{where}, {key}", value) for key, value in values.items()}


def _options(where: str, value: object) -> tuple[Any, ...]:
    options = tuple(value) if isinstance(value, list | tuple) else (value,)
    for option in options:
        if isinstance(option, bool) or not isinstance(option, str | int | float):
            raise SpecError(f"{where}: an option is a number or a word, got {option!r}")
        if isinstance(option, float) and not math.isfinite(option):
            raise SpecError(f"{where}: an option must be a finite number, got {option!r}")
    return options


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _listed(values: Sequence[object]) -> str:
    return ", ".join(str(value) for value in values)
