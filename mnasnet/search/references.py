"""The published networks that a winner is compared with, scaled until they cost what it costs."""

from __future__ import annotations

from collections.abc import Callable

from mnasnet.presets import MNASNET_A1, MNASNET_B1, MNASNET_SMALL
from mnasnet.spec import ArchitectureSpec, BlockSpec

#: table 2 of arXiv 1801.04381; its ReLU6 is ReLU here, so that only the design is compared
MOBILENET_V2 = ArchitectureSpec(
    name="mobilenet_v2",
    source="arXiv 1801.04381, table 2",
    blocks=(
        BlockSpec("separable", 16),
        BlockSpec("inverted", 24, stride=2, repeats=2, expansion=6),
        BlockSpec("inverted", 32, stride=2, repeats=3, expansion=6),
        BlockSpec("inverted", 64, stride=2, repeats=4, expansion=6),
        BlockSpec("inverted", 96, repeats=3, expansion=6),
        BlockSpec("inverted", 160, stride=2, repeats=3, expansion=6),
        BlockSpec("inverted", 320, expansion=6),
    ),
)

REFERENCES: dict[str, ArchitectureSpec] = {
    "MnasNet-A1": MNASNET_A1,
    "MnasNet-B1": MNASNET_B1,
    "MnasNet-small": MNASNET_SMALL,
    "MobileNetV2": MOBILENET_V2,
}

WIDTHS = tuple(round(0.1 + 0.05 * step, 2) for step in range(79))  # 0.1 to 4.0


def at_cost(
    spec: ArchitectureSpec, wanted: float, cost_of: Callable[[ArchitectureSpec], float]
) -> tuple[ArchitectureSpec, float]:
    """``spec`` at the width multiplier whose cost is nearest to ``wanted``, and that width.

    Costs rise with the width, so halving finds it with some seven calls of ``cost_of``.
    """
    low, high = 0, len(WIDTHS) - 1
    costs: dict[int, float] = {}

    def cost(index: int) -> float:
        if index not in costs:
            costs[index] = cost_of(spec.scaled(WIDTHS[index]))
        return costs[index]

    while high - low > 1:
        middle = (low + high) // 2
        if cost(middle) <= wanted:
            low = middle
        else:
            high = middle
    best = min((low, high), key=lambda index: abs(cost(index) - wanted))
    width = WIDTHS[best]
    return spec.scaled(width).named(f"{spec.name}_x{width:g}"), width
