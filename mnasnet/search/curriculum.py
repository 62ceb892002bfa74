"""Which networks of a space learn in each step of a supernet's training.

Everything is a pure function of the seed and the step, so that a training that was killed goes on as if it had not
been.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np

from mnasnet.checks import require_words
from mnasnet.errors import SettingsError
from mnasnet.network.count import count
from mnasnet.space import OPERATORS, Candidate, Choice, Option, SearchSpace

Rule = Literal["sandwich", "single"]
Corner = Literal["largest", "smallest"]

# Choices that order networks by size, with the share of the training after the warm-up from which on a shrinking
# curriculum offers less than the largest option: kernel, then depth, then width (arXiv 1908.09791, section 3.3).
# The input size varies from the start there too.
SIZES = {
    "input_size": 0.0,
    "kernel": 0.0,
    "se_ratio": 0.0,
    "stride": 0.0,
    "repeats": 0.25,
    "layers": 0.25,
    "expansion": 0.5,
    "operator": 0.5,  # where all options are bottlenecks, which differ in their expansion alone
    "channels": 0.5,
    "filters": 0.5,
    "width": 0.5,
}

_SKIPS = ("none", "pool", "identity")  # from the plainest to the one that the largest network has


@dataclass(frozen=True, slots=True)
class Curriculum:
    """How the steps of a supernet's training are shared among the networks.

    ``single``: one network a step, from the labels (arXiv 1904.00420). ``sandwich``: in each step the largest network
    learns from the labels, the smallest and ``between`` others learn from its answers (sandwich rule with in-place
    distillation, arXiv 1903.05134); a step takes about twice as long, and in the same time networks come into a better
    order (``benchmarks/README.md``). In both the drawing is fair: among as many draws as a choice has options, each
    option comes once (arXiv 1907.01845). Operators and skips have no order of size: the largest network has
    bottlenecks with identity skips, so that all others learn from one steady teacher, the smallest draws them fairly.

    For the first ``warmup`` share of all steps only the largest network learns: the others start from what it finds.
    With ``shrinking`` smaller options are offered one kind after the other: see :data:`SIZES`.
    """

    rule: Rule = "sandwich"
    between: int = 1
    warmup: float = 0.2
    shrinking: bool = False

    def __post_init__(self) -> None:
        require_words(self)
        if self.between < 1:
            raise SettingsError(f"between must be >= 1, else most networks never learn, got {self.between}")
        if not 0 <= self.warmup < 1:
            raise SettingsError(f"warmup must be at least 0 and below 1, got {self.warmup!r}")

    def networks(self, space: SearchSpace, *, seed: int, step: int, steps: int) -> tuple[Candidate, ...]:
        """Those that learn in ``step`` of ``steps``; the first one teaches the others."""
        warmup = round(self.warmup * steps)
        if step < warmup:
            return (extreme(space, "largest"),)
        step, share = step - warmup, (step - warmup) / max(1, steps - warmup)
        closed = {field for field, start in SIZES.items() if self.shrinking and share < start}
        if self.rule == "single":
            return (drawn(space, seed=seed, number=step, closed=closed),)
        others = [drawn(space, seed=seed, number=step * self.between + i, closed=closed) for i in range(self.between)]
        return (extreme(space, "largest"), _smallest(space, seed=seed, number=step, closed=closed), *others)

    def seconds_per_image(self, *, largest: float, smallest: float, middling: float) -> float:
        """The mean seconds of an image in a step, from those that networks of these sizes take alone."""
        later = middling if self.rule == "single" else largest + smallest + self.between * middling
        return self.warmup * largest + (1 - self.warmup) * later

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def drawn(space: SearchSpace, *, seed: int, number: int, closed: set[str] | frozenset[str] = frozenset()) -> Candidate:
    """Draw ``number`` of a fair sequence; choices of the ``closed`` fields take their largest option."""
    return space.candidate_at(
        [
            _extreme(choice, "largest") if _field(choice) in closed and _is_size(choice) else turn
            for choice, turn in zip(space.choices, _turns(space, seed, number, stream=5), strict=True)
        ]
    )


def extreme(space: SearchSpace, which: Corner) -> Candidate:
    """The one network that counts as the largest or smallest: bottlenecks with identity skips, or none of that."""
    return space.candidate_at([_extreme(choice, which) for choice in space.choices])


@lru_cache(maxsize=8)
def cheapest_and_dearest(space: SearchSpace, input_size: int) -> tuple[Candidate, Candidate]:
    """The smallest and the largest network by multiply-adds, of those that have one operator in all blocks.

    At ``input_size``, where the space leaves it open. Which operator costs least depends on kernels and expansions.
    """
    operators = {str(option) for choice in space.choices if _field(choice) == "operator" for option in choice.options}
    corners: list[Candidate] = [extreme(space, which) for which in get_args(Corner)]
    for which, operator in itertools.product(get_args(Corner), sorted(operators)):
        places = [
            choice.options.index(operator) if operator in choice.options else _extreme(choice, which)
            for choice in space.choices
        ]
        corners.append(space.candidate_at(places))

    def work(candidate: Candidate) -> int:
        return count(candidate.architecture, candidate.input_size or input_size).multiply_adds

    return min(corners, key=work), max(corners, key=work)


def mixes_operators(space: SearchSpace) -> bool:
    """Whether a block may have one operator or another, be it by its expansion: 1 makes a bottleneck separable.

    Operators share nothing, so each combination of them is news to the weights around it: with some hundred steps,
    where every other kind of choice is learned, networks of mixed operators stay at chance.
    """
    designs = (space.block_designs(b, in_channels=space.stem_channels) for b in range(len(space.blocks)))
    return any(len({design.operator for design in block}) > 1 for block in designs)


def _smallest(space: SearchSpace, *, seed: int, number: int, closed: set[str]) -> Candidate:
    """The smallest network, operators and skips drawn fairly; ``closed`` as for :func:`drawn`."""
    return space.candidate_at(
        [
            turn if not _is_size(choice) else _extreme(choice, "largest" if _field(choice) in closed else "smallest")
            for choice, turn in zip(space.choices, _turns(space, seed, number, stream=6), strict=True)
        ]
    )


def _turns(space: SearchSpace, seed: int, number: int, *, stream: int) -> list[int]:
    """The place of an option for each choice: in every round of as many draws as options each has its turn."""
    turns = []
    for place, choice in enumerate(space.choices):
        count = len(choice.options)
        order = np.random.default_rng([seed, place, number // count, stream]).permutation(count)
        turns.append(int(order[number % count]))
    return turns


def _field(choice: Choice) -> str:
    return choice.name.rpartition(".")[2]


def _is_size(choice: Choice) -> bool:
    field = _field(choice)
    return field in SIZES and (
        field != "operator" or all(str(option).startswith("inverted") for option in choice.options)
    )


def _extreme(choice: Choice, which: Corner) -> int:
    ranks = [_rank(_field(choice), option) for option in choice.options]
    return ranks.index(max(ranks) if which == "largest" else min(ranks))


def _rank(field: str, option: Option) -> float:
    if field == "operator":
        return OPERATORS.index(str(option))
    if field == "skip":
        return _SKIPS.index(str(option))
    return -float(option) if field == "stride" else float(option)
