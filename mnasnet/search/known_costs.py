"""What is known of a network before it is trained: its estimated costs, and so whether it meets the limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mnasnet.reward import Reward
from mnasnet.search.counts import CountMeter
from mnasnet.search.problem import SearchProblem

MAX_REMEMBERED = 100_000  # about 50 MB
_SIZE_METERS = CountMeter("multiply_adds"), CountMeter("parameters", num_classes=1)


@dataclass
class KnownCosts:
    """The networks and estimates of a problem; costs without an estimate stay unknown."""

    problem: SearchProblem
    _known: dict[tuple[int, ...], dict[str, float]] = field(default_factory=dict, repr=False)
    _networks: dict[tuple[int, ...], str] = field(default_factory=dict, repr=False)

    def costs(self, indices: tuple[int, ...]) -> Mapping[str, float]:
        """The estimated costs by name of the network at ``indices``, the place of each option."""
        costs = self._known.get(indices)
        if costs is None:
            candidate = self.problem.space.candidate_at(indices)
            costs = self.problem.estimated(candidate)
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[indices] = costs
        return costs

    def fingerprint(self, indices: tuple[int, ...]) -> str:
        """The network's fingerprint: equal for combinations of choices that mean the same network."""
        network = self._networks.get(indices)
        if network is None:
            if len(self._networks) >= MAX_REMEMBERED:
                self._networks.clear()
            network = self._networks[indices] = self.problem.space.candidate_at(indices).fingerprint
        return network

    def sizes(self, points: NDArray[np.int64]) -> NDArray[np.float64]:
        """The logarithms of multiply-adds and parameters of each point: known of every network, whatever it costs."""
        candidates = [self.problem.space.candidate_at(tuple(point)) for point in points.tolist()]
        return np.log([[meter.measure(candidate) for meter in _SIZE_METERS] for candidate in candidates])

    def is_promising(self, indices: tuple[int, ...]) -> bool:
        """False only when an estimate lies above its limit, or above the target of a hard reward."""
        problem = self.problem
        if not problem.estimates:
            return True
        costs = self.costs(indices)
        if any(excess > 0.0 for excess in problem.excess(costs).values()):
            return False
        if type(problem.reward) is not Reward or problem.reward.form != "hard":  # of a user's own nothing is known
            return True
        return costs.get(problem.reward_cost, 0.0) <= problem.reward.target
