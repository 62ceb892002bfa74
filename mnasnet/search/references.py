"""The published networks that a winner is compared with, scaled until they cost what it costs."""

from __future__ import annotations

from collections.abc import Callable

from mnasnet.presets import MNASNET_A1, MNASNET_B1, MNASNET_SMALL, MOBILENET_V2
from mnasnet.spec import ArchitectureSpec

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
