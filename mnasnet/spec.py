"""Architectures as values: what a network is, before any tensor exists.

A published network, a searched network and a random network are the same kind of thing, an
:class:`ArchitectureSpec`. Equal specs are the same network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal, get_args

from mnasnet.checks import is_number, is_whole, make_plain, plain, shown
from mnasnet.errors import NewerSchemaError, SpecError

SCHEMA = 1

MOST_CHANNELS = 65_536
#: field of a block -> its largest value: far above any network that runs, far below what a slip of the keyboard costs
LARGEST = {"channels": MOST_CHANNELS, "kernel": 31, "repeats": 64, "expansion": 64}

Operator = Literal["conv", "separable", "inverted"]
Skip = Literal["none", "identity", "pool"]


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """A run of layers of one design; only the first layer changes stride and width.

    The choices are those of arXiv 1807.11626, section 4.1. ``conv`` is a regular convolution,
    ``separable`` a depthwise convolution and a linear 1x1, ``inverted`` the mobile inverted
    bottleneck whose depthwise convolution works on ``expansion`` times the input channels.
    ``se_ratio`` is the squeeze-and-excitation width relative to the layer's *input* channels; 0 is none.
    ``identity`` adds the input where shapes allow; ``pool`` adds its 3x3 average, with zeros for
    channels the input lacks, so it also works in the layer that changes stride or widens.
    """

    operator: Operator
    channels: int
    kernel: int = 3
    stride: int = 1
    repeats: int = 1
    expansion: int = 1
    se_ratio: float = 0.0
    skip: Skip = "identity"

    def __post_init__(self) -> None:
        make_plain(self)
        if self.operator not in get_args(Operator):
            raise SpecError(f"operator must be one of {', '.join(get_args(Operator))}, got {self.operator!r}")
        if self.skip not in get_args(Skip):
            raise SpecError(f"skip must be one of {', '.join(get_args(Skip))}, got {self.skip!r}")
        for name, most in LARGEST.items():
            _require_positive_int(name, getattr(self, name), most)
        if self.kernel % 2 == 0:
            raise SpecError(f"kernel must be odd to keep the image centred, got {self.kernel}")
        if not is_whole(self.stride) or self.stride not in (1, 2):
            raise SpecError(f"stride must be 1 or 2, got {self.stride!r}")
        if not is_number(self.se_ratio) or not 0 <= self.se_ratio <= 1:
            raise SpecError(f"se_ratio must lie in 0 to 1, got {self.se_ratio!r}")
        # 0, 0.0 and -0.0 are equal, but three texts in a fingerprint
        object.__setattr__(self, "se_ratio", abs(float(self.se_ratio)))
        if self.operator == "inverted" and self.expansion < 2:
            raise SpecError("an inverted block needs expansion >= 2; with expansion 1 write operator 'separable'")
        if self.operator != "inverted" and self.expansion != 1:
            raise SpecError(
                f"only inverted blocks expand; {self.operator!r} must have expansion 1, got {self.expansion}"
            )


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One layer with everything resolved: what is built, counted and exported.

    ``se_channels`` is 0 without squeeze-and-excitation; ``skip`` is what really happens in this layer.
    """

    operator: Operator
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    expansion: int
    se_channels: int
    skip: Skip

    @property
    def hidden_channels(self) -> int:
        """Channels of the k x k convolution's output, where squeeze-and-excitation acts."""
        return self.out_channels if self.operator == "conv" else self.in_channels * self.expansion


@dataclass(frozen=True, slots=True)
class ArchitectureSpec:
    """A whole network without its weights: 3x3 stem, blocks, 1x1 head, pooling, classifier.

    ``bn_epsilon`` belongs here because the output depends on it. ``name`` and ``source`` are labels:
    two specs that differ only there are equal and have the same fingerprint.
    """

    blocks: tuple[BlockSpec, ...]
    stem_channels: int = 32
    stem_stride: int = 2
    head_channels: int = 1280
    bn_epsilon: float = 1e-5
    name: str = field(default="", compare=False)
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        numbers = (self.stem_channels, self.stem_stride, self.head_channels, self.bn_epsilon)
        if type(self.blocks) is not tuple or [*map(type, numbers)] != [int, int, int, float]:
            make_plain(self)  # a search makes thousands of architectures, which are plain already
        _require_positive_int("stem_channels", self.stem_channels)
        _require_positive_int("head_channels", self.head_channels)
        if not is_whole(self.stem_stride) or self.stem_stride not in (1, 2):
            raise SpecError(f"stem_stride must be 1 or 2, got {self.stem_stride!r}")
        if not self.blocks:
            raise SpecError("an architecture needs at least one block, got none")
        for block in self.blocks:
            if not isinstance(block, BlockSpec):
                raise SpecError(
                    f"each block must be a BlockSpec, got {block!r:.80}; ArchitectureSpec.from_dict reads plain values"
                )
        if not is_number(self.bn_epsilon) or not 0 < self.bn_epsilon < 1:
            raise SpecError(f"bn_epsilon must lie between 0 and 1, got {self.bn_epsilon!r}")

    def layers(self) -> tuple[tuple[LayerSpec, ...], ...]:
        """The layers of each block, in order, with channels, strides and skips resolved."""
        channels = self.stem_channels
        blocks = []
        for block in self.blocks:
            layers = []
            for index in range(block.repeats):
                layers.append(_resolve(block, channels, block.stride if index == 0 else 1))
                channels = block.channels
            blocks.append(tuple(layers))
        return tuple(blocks)

    def scaled(self, width: float) -> ArchitectureSpec:
        """The same design with ``width`` times the channels of stem and blocks; the head is never scaled."""
        width = plain(width)
        if not is_number(width) or not 0 < width <= 10:
            raise SpecError(f"width must lie between 0 and 10, got {width!r}")
        return replace(
            self,
            blocks=tuple(replace(block, channels=round_channels(block.channels * width)) for block in self.blocks),
            stem_channels=round_channels(self.stem_channels * width),
        )

    def named(self, name: str, source: str = "") -> ArchitectureSpec:
        """The same network under another name."""
        return replace(self, name=name, source=source or self.source)

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that are equal exactly for equal networks, also between processes."""
        values = {key: value for key, value in self.to_dict().items() if key not in ("name", "source", "schema")}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with the schema number that :meth:`from_dict` checks."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ArchitectureSpec:
        """The inverse of :meth:`to_dict`; raises SpecError on a newer schema, unknown or missing fields."""
        values = dict(values)
        schema = values.pop("schema", SCHEMA)
        if not isinstance(schema, int) or schema > SCHEMA:
            raise NewerSchemaError(f"architecture schema {schema!r} is newer than {SCHEMA}; update the mnasnet package")
        try:
            blocks = tuple(BlockSpec(**block) for block in values.pop("blocks"))
            return cls(blocks=blocks, **values)
        except (KeyError, TypeError, AttributeError) as error:
            raise SpecError(f"not an architecture: {error}") from error


def round_channels(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of ``divisor``, never below 90 % of ``channels``.

    ``round_filters`` of the official MnasNet code (tensorflow/tpu, models/official/mnasnet).
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


@lru_cache(maxsize=65_536)
def _resolve(block: BlockSpec, in_channels: int, stride: int) -> LayerSpec:
    skip = block.skip
    same_shape = stride == 1 and in_channels == block.channels
    if (skip == "identity" and not same_shape) or (skip == "pool" and in_channels > block.channels):
        skip = "none"
    return LayerSpec(
        operator=block.operator,
        in_channels=in_channels,
        out_channels=block.channels,
        kernel=block.kernel,
        stride=stride,
        expansion=block.expansion,
        se_channels=max(1, int(in_channels * block.se_ratio)) if block.se_ratio else 0,
        skip=skip,
    )


def _require_positive_int(name: str, value: object, most: int = MOST_CHANNELS) -> None:
    if not is_whole(value) or value < 1:
        raise SpecError(f"{name} must be a whole number >= 1, got {value!r}")
    if value > most:
        raise SpecError(f"{name} must be at most {most:,}, got {shown(value)}")
