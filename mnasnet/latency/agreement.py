"""How well predicted latencies agree with measured ones, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnasnet.checks import is_number, is_whole
from mnasnet.errors import LatencyError

RESAMPLES = 1000
FEW = 200  # networks
TAIL = 0.025  # of the cases lie beyond each end of an interval

Numbers = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Error of predictions on ``networks`` networks that had no part in the fit.

    ``mape_percent`` is the mean absolute error in percent of the measured value, ``kendall_tau`` says how well the
    order is kept (1 is perfectly, 0 not at all). Both with the interval that holds the true value in 95 of 100 cases,
    by resampling networks; that of a perfect order is :func:`widened`.
    """

    networks: int
    mape_percent: float
    mape_interval: Interval
    kendall_tau: float
    tau_interval: Interval

    @property
    def sentence(self) -> str:
        """The agreement in one line for people."""
        return (
            f"mean error {self.mape_percent:.1f}% (95%: {self.mape_interval[0]:.1f} to {self.mape_interval[1]:.1f}), "
            f"Kendall tau {self.kendall_tau:.3f} (95%: {self.tau_interval[0]:.3f} to {self.tau_interval[1]:.3f}) "
            f"on {self.networks} held-out networks"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Agreement:
        """The inverse of :meth:`to_dict`; raises LatencyError when fields are missing or unknown."""
        try:
            pairs = {name: tuple(values[name]) for name in ("mape_interval", "tau_interval")}
            numbers = (values["mape_percent"], values["kendall_tau"], *sum(pairs.values(), ()))
            if not is_whole(values["networks"]) or not all(map(is_number, numbers)):
                raise TypeError("its values are finite numbers, networks a whole one")
            if {len(pair) for pair in pairs.values()} != {2}:
                raise TypeError("an interval has two ends")
            return cls(**{**values, **pairs})
        except (KeyError, TypeError) as error:
            raise LatencyError(f"not an agreement of predictions: {error}") from error


def agreement(predicted: Sequence[float], measured: Sequence[float]) -> Agreement:
    """Compare two lists of the same networks; raises LatencyError below three networks."""
    guess, truth = np.asarray(predicted, np.float64), np.asarray(measured, np.float64)
    if len(guess) != len(truth) or len(guess) < 3:
        raise LatencyError(
            f"agreement needs three or more networks on both sides, got {len(guess)} predicted "
            f"and {len(truth)} measured"
        )
    rng = np.random.default_rng(0)
    tau = kendall_tau(guess, truth)
    mape_interval = _interval(mape_percent, guess, truth, rng)
    return Agreement(
        networks=len(guess),
        mape_percent=mape_percent(guess, truth),
        mape_interval=mape_interval,
        kendall_tau=tau,
        tau_interval=widened(_interval(kendall_tau, guess, truth, rng), tau, len(guess)),
    )


def mape_percent(predicted: Numbers, measured: Numbers) -> float:
    """Mean absolute error in percent of the measured values."""
    return float(100 * np.mean(np.abs(predicted / measured - 1)))


def kendall_tau(predicted: Numbers, measured: Numbers) -> float:
    """Tau-b: pairs in the same order less pairs in the opposite order, ties left out; 0 where all are tied."""
    a, b = (np.sign(values[:, None] - values[None, :]) for values in (predicted, measured))
    scale = np.sqrt(np.sum(a * a) * np.sum(b * b))
    return float(np.sum(a * b) / scale) if scale else 0.0


def widened(interval: Interval, tau: float, networks: int) -> Interval:
    """The interval of a tau by resampling; of a perfect order, which every resample keeps, by Mallows' model instead.

    There an order is less likely by the same factor for each discordant pair (C. L. Mallows, Biometrika 44, 1957). The
    end is the tau at which so many networks still come in perfect order in 2.5 of 100 cases.
    """
    if abs(tau) < 1.0:
        return interval
    least = _least_tau(networks)
    return (least, 1.0) if tau > 0 else (-1.0, -least)


def _least_tau(networks: int) -> float:
    low, high = -30.0, 2.0  # logarithms of the factor: nearly always the perfect order, and hardly ever even of three
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _perfect_and_tau(middle, networks)[0] > TAIL else (low, middle)
    return _perfect_and_tau(low, networks)[1]


def _perfect_and_tau(log_factor: float, networks: int) -> tuple[float, float]:
    """By Mallows' model, how likely the perfect order is, and the mean tau.

    The i-th network is put before 0 to i - 1 of those that came earlier, each a discordant pair.
    """
    likely, discordant = 1.0, 0.0
    for count in range(2, networks + 1):
        pairs = np.arange(count)
        weights = np.exp(log_factor * pairs)
        likely *= float(weights[0] / weights.sum())
        discordant += float((pairs * weights).sum() / weights.sum())
    return likely, 1.0 - 4.0 * discordant / (networks * (networks - 1))


def _interval(
    statistic: Callable[[Numbers, Numbers], float], predicted: Numbers, measured: Numbers, rng: np.random.Generator
) -> Interval:
    resamples = RESAMPLES if len(measured) <= FEW else RESAMPLES // 5  # tau takes the square of the networks
    picks = rng.integers(0, len(measured), (resamples, len(measured)))
    values = [statistic(predicted[pick], measured[pick]) for pick in picks]
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
