"""A predictor with honest doubt for points of categorical choices: Bayesian linear regression in closed form.

The prediction is linear in four groups of features: each option, what is known of a network beforehand (its size),
pairs of options within a block, and pairs across blocks. How much each group may weigh, how noisy the answers are and
on which scale of the error the effects add up are found by maximising the evidence (MacKay, "Bayesian Interpolation",
1992).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.int64]  # n x choices, the place of each option
Reals = NDArray[np.float64]

MAX_CROSS_FEATURES = 4000  # beyond, pairs across blocks are left out
MAX_EVIDENCE_POINTS = 300  # the youngest points decide on the scales

# Powers p of the scale error^-p on which effects may add up; 0 is the logarithm, None the accuracy itself.
# Errors multiply more than they add, and less so near the floor; the evidence picks what the data show.
ERROR_SCALES: tuple[int | None, ...] = (None, 0, 1, 2, 3, 4)
_ERROR_FLOOR = 0.002  # keeps a perfect accuracy finite

_SIZES = (0.0, 0.3, 1.0, 3.0, 10.0)  # prior variance of what is known beforehand, relative to single options
_WITHIN = (0.1, 0.3, 1.0)  # prior variance of pairs within a block, relative to single options
_ACROSS = (0.0, 0.01, 0.03, 0.1, 0.3)
_SAMPLE = 1024  # random points from which what is known beforehand is learned
_SIGNALS = np.logspace(-2, 4, 13)  # prior variance of single options, relative to the noise


class Features:
    """Turns points into features: centred one-hot options, then their products within and across groups.

    A group is what comes before the last dot of a choice's name, else before the last underscore, so the choices of a
    block belong together. ``sizes``, where given, tells what is known of points beforehand (n x quantities): each
    quantity is one more feature, as far as options and their pairs within a block express it, with mean 0 and spread 1
    over the space.
    """

    def __init__(self, names: Sequence[str], counts: Sequence[int], sizes: Callable[[Points], Reals] | None = None):
        self.counts = np.asarray(counts, dtype=np.int64)
        self._offsets = np.concatenate([[0], np.cumsum(self.counts)[:-1]]).astype(np.int64)
        self._centre = np.concatenate([np.full(count, 1.0 / count) for count in counts]) if counts else np.zeros(0)
        groups = [_group(name) for name in names]
        within: list[tuple[int, int]] = []
        across: list[tuple[int, int]] = []
        for i in range(len(counts)):
            for j in range(i + 1, len(counts)):
                pairs = within if groups[i] == groups[j] else across
                # all but the first option: the products with the first follow from the others
                pairs += [
                    (int(self._offsets[i]) + a, int(self._offsets[j]) + b)
                    for a in range(1, counts[i])
                    for b in range(1, counts[j])
                ]
        if len(across) > MAX_CROSS_FEATURES:
            across = []
        self.singles, self.within, self.across = 1 + len(self._centre), len(within), len(across)
        self._pairs = np.asarray(within + across, dtype=np.int64).reshape(-1, 2)
        self._directions = np.zeros((self.singles + self.within, 0))
        if sizes is not None:
            self._directions = self._learn(sizes)
        self.sizes = self._directions.shape[1]

    def _learn(self, sizes: Callable[[Points], Reals]) -> Reals:
        """For each quantity its weights on options and pairs within groups: so a product prices a thousand points."""
        points = np.random.default_rng(0).integers(0, self.counts, size=(_SAMPLE, len(self.counts)))
        known = sizes(points)
        centred = known - known.mean(axis=0)
        design = self._options(points, self._pairs[: self.within])
        gram = design.T @ design + np.eye(design.shape[1])  # options of a choice are dependent: their ridge is 1
        weights = np.linalg.solve(gram, design.T @ (centred / np.maximum(centred.std(axis=0), 1e-12)))
        return np.asarray(weights, dtype=np.float64)

    def __call__(self, points: Points, *, across: bool) -> Reals:
        """n x features, group by group; ``across`` says whether pairs across groups are wanted."""
        basic = self._options(points, self._pairs if across else self._pairs[: self.within])
        ends = self.singles, self.singles + self.within
        known = basic[:, : ends[1]] @ self._directions
        return np.hstack([basic[:, : ends[0]], known, basic[:, ends[0] :]])

    def _options(self, points: Points, pairs: NDArray[np.int64]) -> Reals:
        """n x features: the constant, each option, and the given pairs."""
        options = np.zeros((len(points), len(self._centre)))
        options[np.arange(len(points))[:, None], points + self._offsets] = 1.0
        options -= self._centre
        # the constant: options alone, being centred, could not make up for a sample whose mean is not the space's
        constant = np.ones((len(points), 1))
        return np.hstack([constant, options, options[:, pairs[:, 0]] * options[:, pairs[:, 1]]])


@dataclass(frozen=True)
class Scales:
    """What the evidence decided: prior variances relative to the noise, and the scale on which effects add up."""

    signal: float
    within: float
    across: float
    power: int | None
    sizes: float = 0.0


@dataclass(frozen=True)
class Surrogate:
    """A fitted predictor: its best guess and functions drawn from what it still holds possible."""

    features: Features
    scales: Scales
    _weights: Reals
    _offset: float
    _noise: float
    _prior: Reals  # variance of each weight, in units of the noise variance
    _design: Reals  # the features of the points fitted
    _inverse: Reals  # dual: inverse of the kernel matrix; primal: inverse of the Cholesky factor of the precision

    def mean(self, points: Points) -> Reals:
        """The best guess for each point."""
        return self._predict(points, self._weights)

    def draw(self, rng: np.random.Generator, doubt: float) -> Callable[[Points], Reals]:
        """One function out of those still possible, its distance from the mean scaled by ``doubt``."""
        if len(self._inverse) == len(self._design):  # Matheron's rule: a draw from the prior, corrected by the data
            n = len(self._design)
            prior = rng.standard_normal(len(self._prior)) * np.sqrt(self._prior)
            residual = self._inverse @ (self._design @ prior + rng.standard_normal(n))
            deviation = prior - self._prior * (residual @ self._design)
        else:
            deviation = rng.standard_normal(len(self._prior)) @ self._inverse
        weights = self._weights + doubt * self._noise * deviation
        return lambda points: self._predict(points, weights)

    def _predict(self, points: Points, weights: Reals) -> Reals:
        across = self.scales.across > 0.0
        return _from_scale(self.features(points, across=across) @ weights + self._offset, self.scales.power)


def choose_scales(
    features: Features, points: Points, values: Reals, powers: Sequence[int | None] = ERROR_SCALES
) -> Scales:
    """The scales of highest evidence for ``values`` at ``points`` (the last MAX_EVIDENCE_POINTS of them)."""
    points, values = points[-MAX_EVIDENCE_POINTS:], values[-MAX_EVIDENCE_POINTS:]
    design = features(points, across=True)
    ends = np.cumsum([features.singles, features.sizes, features.within])
    parts = [part @ part.T for part in np.split(design, ends, axis=1)]
    best, best_evidence = Scales(1.0, 1.0, 0.0, powers[0]), -np.inf
    groups = itertools.product(
        _SIZES if features.sizes else (0.0,),
        _WITHIN if features.within else (1.0,),
        _ACROSS if features.across else (0.0,),
    )
    for sizes, within, across in groups:
        spectrum, basis = np.linalg.eigh(parts[0] + sizes * parts[1] + within * parts[2] + across * parts[3])
        damped = np.outer(_SIGNALS, np.maximum(spectrum, 0.0)) + 1.0
        complexity = 0.5 * np.log(damped).sum(axis=1)
        for power in powers:
            scaled = _to_scale(values, power)
            power_of = (basis.T @ (scaled - scaled.mean())) ** 2
            noise = np.maximum((power_of / damped).mean(axis=1), 1e-12 * max(1e-12, float(scaled.var())))
            evidence = -0.5 * len(values) * np.log(noise) - complexity + _log_slope(values, power)
            place = int(evidence.argmax())
            if evidence[place] > best_evidence:
                best_evidence = evidence[place]
                best = Scales(float(_SIGNALS[place]), within, across, power, sizes)
    return best


def fit(features: Features, points: Points, values: Reals, scales: Scales) -> Surrogate:
    """The posterior given ``values`` at ``points``, in whichever of its two forms is smaller."""
    across = scales.across > 0.0
    design = features(points, across=across)
    prior = scales.signal * np.concatenate(
        [
            np.ones(features.singles),
            np.full(features.sizes, max(scales.sizes, 1e-12)),  # never quite 0: the primal form divides by it
            np.full(features.within, scales.within),
            np.full(features.across if across else 0, scales.across),
        ]
    )
    scaled = _to_scale(values, scales.power)
    offset = float(scaled.mean())
    centred = scaled - offset
    if len(points) < len(prior):
        inverse = np.asarray(np.linalg.inv((design * prior) @ design.T + np.eye(len(points))), dtype=np.float64)
        weights: Reals = prior * ((inverse @ centred) @ design)
        noise = np.sqrt(max(float(centred @ inverse @ centred), 1e-18) / len(points))
    else:
        factor = np.linalg.cholesky(design.T @ design + np.diag(1.0 / prior))
        inverse = np.asarray(np.linalg.inv(factor), dtype=np.float64)
        weights = inverse.T @ (inverse @ (design.T @ centred))
        noise = np.sqrt(max(float(centred @ (centred - design @ weights)), 1e-18) / len(points))
        design = design[:0]  # the primal form needs no data any more
    return Surrogate(features, scales, weights, offset, float(noise), prior, design, inverse)


def _group(name: str) -> str:
    for separator in (".", "_"):
        if separator in name:
            return name.rpartition(separator)[0]
    return name


def _to_scale(values: Reals, power: int | None) -> Reals:
    if power is None:
        return values
    error = 1.0 - values + _ERROR_FLOOR
    return -np.log(error) if power == 0 else error**-power


def _from_scale(scaled: Reals, power: int | None) -> Reals:
    if power is None:
        return scaled
    if power == 0:
        return np.asarray(1.0 + _ERROR_FLOOR - np.exp(-scaled))
    return np.asarray(1.0 + _ERROR_FLOOR - np.maximum(scaled, 1e-3) ** (-1.0 / power))


def _log_slope(values: Reals, power: int | None) -> float:
    """The logarithm of the scale's derivative, summed: makes evidences on different scales comparable."""
    if power is None:
        return 0.0
    logs = np.log(1.0 - values + _ERROR_FLOOR)
    return float((-logs if power == 0 else np.log(power) - (power + 1) * logs).sum())
