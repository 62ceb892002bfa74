"""The points that no other surpasses: what a search that trades several objectives is after."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from optuna._hypervolume import compute_hypervolume


def pareto_front(points: Sequence[Sequence[float]]) -> list[int]:
    """The places of those of ``points`` that no other equals or beats in all objectives, of equal ones the first.

    Larger is better. Places rise.
    """
    gains = np.array(points, dtype=np.float64)
    left, at = np.arange(len(gains)), 0
    while at < len(left):
        stays = (gains[left] > gains[left[at]]).any(1)  # the others are worse or equal in all objectives
        stays[at] = True
        at, left = int(stays[:at].sum()) + 1, left[stays]
    return [int(place) for place in left]


def hypervolume(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """The volume of all that some of ``points`` beats and that beats ``reference``; larger is better."""
    inside = [point for point in points if all(value > least for value, least in zip(point, reference, strict=True))]
    if not inside:
        return 0.0
    return float(compute_hypervolume(-np.array(inside, np.float64), -np.array(reference, np.float64)))
