"""How far shared weights can be trusted: their order of networks against that of the same networks trained alone."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnasnet.errors import SearchError
from mnasnet.files import write_atomic
from mnasnet.latency.agreement import Interval, kendall_tau, widened
from mnasnet.search.counts import CountMeter
from mnasnet.search.problem import Evaluator
from mnasnet.search.searching import FEWEST_RANKED
from mnasnet.search.verdict import judge
from mnasnet.search.zero_cost import synaptic_flow
from mnasnet.space import Candidate, Option, SearchSpace
from mnasnet.words import amount

RESAMPLES = 2000
SURE = 0.95  # of the resamples agree on who keeps the order better; fewer tell nobody apart
DRAWS_PER_PICK = 20

#: what foretells accuracy -> what people call it
PREDICTORS = {
    "shared": "shared weights",
    "parameters": "parameter count",
    "multiply_adds": "multiply-adds",
    "synaptic_flow": "synaptic flow (zero-cost)",
}


@dataclass(frozen=True, slots=True)
class RankedNetwork:
    """One network's foretold and true standing: accuracies in 0 to 1, seconds that each took."""

    values: Mapping[str, Option]
    fingerprint: str
    shared: float
    alone: float
    parameters: float
    multiply_adds: float
    synaptic_flow: float
    shared_s: float
    alone_s: float


@dataclass(frozen=True, slots=True)
class PredictorScore:
    """How well a predictor keeps the order of networks, with the interval that holds the truth in 95 of 100 cases.

    ``shared_is_better`` is the share of resamples in which the shared weights keep it better, equal ones by half.
    """

    kendall_tau: float
    interval: Interval
    regret: float
    shared_is_better: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """The networks and, for each of :data:`PREDICTORS`, how well it foretells ``alone``.

    ``regret`` is the accuracy lost by taking the network that the predictor puts first instead of the best.
    """

    networks: tuple[RankedNetwork, ...]
    scores: Mapping[str, PredictorScore]

    @property
    def kendall_tau(self) -> float:
        """That of the shared weights."""
        return self.scores["shared"].kendall_tau

    def sentence(self, epochs: int) -> str:
        """What it means for the user; the networks were trained alone for so many epochs."""
        shared, count = self.scores["shared"], self.scores["parameters"]
        if 1 - SURE < count.shared_is_better < SURE:
            verdict = "cannot be told apart from"
        else:
            verdict = f"keep the order {'better' if count.shared_is_better >= SURE else 'worse'} than"
        low, high = shared.interval
        return (
            f"on {len(self.networks)} networks trained alone for {amount(epochs, 'epoch')} shared weights reach "
            f"Kendall tau {shared.kendall_tau:.2f} (95% interval {low:.2f} to {high:.2f}) and {verdict} "
            f"the parameter count ({count.kendall_tau:.2f}); choosing by them loses {100 * shared.regret:.1f} points "
            "of accuracy against the best of these networks"
        )

    @property
    def named_scores(self) -> dict[str, PredictorScore]:
        """The scores by what people call the predictors."""
        return {PREDICTORS[name]: score for name, score in self.scores.items()}

    def table(self) -> str:
        """The scores as text, one predictor a line."""
        lines = [f"{'':28}{'tau':>7}{'95% interval':>18}{'regret':>9}{'shared better':>15}"]
        for name, score in self.named_scores.items():
            low, high = score.interval
            better = "" if name == PREDICTORS["shared"] else f"{score.shared_is_better:.0%}"
            lines.append(
                f"{name:28}{score.kendall_tau:7.2f}{f'{low:.2f} to {high:.2f}':>18}"
                f"{100 * score.regret:8.1f}%{better:>15}"
            )
        return "\n".join(lines)


def check_ranking(
    space: SearchSpace,
    count: int,
    *,
    shared: Evaluator,
    alone: Evaluator,
    input_size: int,
    num_classes: int,
    clock: Callable[[], float],
    seed: int = 0,
    record: Path | None = None,
    on_network: Callable[[RankedNetwork], object] = lambda network: None,
    goes_on: Callable[[], bool] = lambda: True,
) -> Ranking | None:
    """Judge ``count`` networks of ``space``, evenly spread over their multiply-adds, by both evaluators and compare.

    A space of fewer networks gives all that it has.
    With ``record``, a file, each network is written there when it is judged, and those that lie there already are
    not judged again. ``goes_on`` is asked before each network; those for which it says no are left out, as are those
    whose judging fails, and with fewer than three left there is no ranking. ``input_size`` in pixels is for spaces
    that leave it open. Raises SearchError for a ``count`` below three.
    """
    known = recorded(record)
    networks: list[RankedNetwork] = []
    candidates = spread(space, count, input_size=input_size, seed=seed)
    random.Random(seed).shuffle(candidates)  # so that the first ones are of every size, should time end it
    for candidate in candidates:
        network = known.get(candidate.fingerprint)
        if network is None and not goes_on():
            continue
        if network is None:
            began = clock()
            foretold = judge(shared, candidate, _deaf)
            between = clock()
            true = judge(alone, candidate, _deaf)
            after = clock()
            if foretold.kind != "done" or true.kind != "done":
                continue
            size = candidate.input_size or input_size
            network = RankedNetwork(
                values=space.named_values(candidate),
                fingerprint=candidate.fingerprint,
                shared=foretold.accuracy,
                alone=true.accuracy,
                parameters=CountMeter("parameters", size, num_classes).measure(candidate),
                multiply_adds=CountMeter("multiply_adds", size, num_classes).measure(candidate),
                synaptic_flow=synaptic_flow(candidate.architecture, size, num_classes=num_classes, seed=seed),
                shared_s=round(between - began, 3),
                alone_s=round(after - between, 3),
            )
            known[candidate.fingerprint] = network
            if record is not None:
                rows = [asdict(one) for one in sorted(known.values(), key=_by_cost)]
                write_atomic(record, json.dumps(rows, indent=1).encode())
        networks.append(network)
        on_network(network)
    return rank(sorted(networks, key=_by_cost), seed=seed) if len(networks) >= FEWEST_RANKED else None


def spread(space: SearchSpace, count: int, *, input_size: int, seed: int = 0) -> list[Candidate]:
    """Different networks drawn by ``seed`` and picked so that their multiply-adds lie evenly among those drawn.

    They are fewer than ``count`` where the space has no more.
    """
    if count < FEWEST_RANKED:
        raise SearchError(f"a ranking needs {FEWEST_RANKED} or more networks, got {count}")
    rng, meter = random.Random(seed), CountMeter("multiply_adds", input_size)
    drawn = {
        candidate.fingerprint: candidate for candidate in (space.random(rng) for _ in range(count * DRAWS_PER_PICK))
    }
    by_cost = sorted(drawn.values(), key=lambda candidate: (meter.measure(candidate), candidate.fingerprint))
    return [by_cost[round(place)] for place in np.linspace(0, len(by_cost) - 1, min(count, len(by_cost)))]


def rank(networks: Sequence[RankedNetwork], *, seed: int = 0) -> Ranking:
    """The comparison; intervals by resampling networks, the same resamples for every predictor.

    Networks that are all equally accurate have no order: nothing is known of any tau.
    """
    if len(networks) < FEWEST_RANKED:
        raise SearchError(f"a ranking needs {FEWEST_RANKED} or more networks, got {len(networks)}")
    truth = np.array([network.alone for network in networks])
    foretold = {name: np.array([getattr(network, name) for network in networks], np.float64) for name in PREDICTORS}
    picks = np.random.default_rng(seed).integers(0, len(truth), (RESAMPLES, len(truth)))
    resampled = {
        name: np.array([kendall_tau(values[pick], truth[pick]) for pick in picks]) for name, values in foretold.items()
    }
    scores = {}
    for name, values in foretold.items():
        low, high = np.percentile(resampled[name], (2.5, 97.5))
        tau = kendall_tau(values, truth)
        scores[name] = PredictorScore(
            kendall_tau=tau,
            interval=widened((float(low), float(high)), tau, len(networks)) if np.ptp(truth) else (-1.0, 1.0),
            regret=_regret(values, truth),
            shared_is_better=float(np.mean(np.sign(resampled["shared"] - resampled[name]) / 2 + 0.5)),
        )
    return Ranking(tuple(networks), scores)


def _by_cost(network: RankedNetwork) -> tuple[float, str]:
    return network.multiply_adds, network.fingerprint


def _regret(foretold: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """What the first choice loses; the mean where several share the first place."""
    return float(truth.max() - truth[foretold == foretold.max()].mean())


def recorded(record: Path | None) -> dict[str, RankedNetwork]:
    """The networks that :func:`check_ranking` wrote, by fingerprint; none where there is no such file."""
    if record is None or not record.exists():
        return {}
    networks = [RankedNetwork(**values) for values in json.loads(record.read_text(encoding="utf-8"))]
    return {network.fingerprint: network for network in networks}


def _deaf(step: int, accuracy: float) -> None:
    """Hears of the steps of a training that is never cut short."""
