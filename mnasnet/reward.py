"""What a search maximises: accuracy traded against cost, as pure functions of numbers.

Accuracy lies in 0 to 1; cost and target share any unit (milliseconds, multiply-adds, bytes).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from mnasnet.checks import is_number, make_plain, require_words
from mnasnet.errors import SettingsError

RewardForm = Literal["hard", "soft", "absolute", "product"]

# alpha = beta = -0.07: doubling the latency buys about 5 % relative accuracy (arXiv 1807.11626, section 3).
SOFT_EXPONENT = -0.07
# Below it rewards of networks ten times too slow vanish beside those of others, and numbers overflow.
STEEPEST_EXPONENT = -10.0
# The absolute form's slope in TuNAS (google-research/tunas, mobile_architecture_search.py).
ABSOLUTE_SLOPE = -0.10


def product_reward(accuracy: float, cost: float, target: float, *, alpha: float, beta: float) -> float:
    """accuracy x (cost / target)^w, w = alpha up to the target and beta above (eqs. 2 and 3 of arXiv 1807.11626).

    With alpha = beta the target only scales the reward: which network is best does not depend on it.
    """
    _require(accuracy, cost, target)
    exponent = alpha if cost <= target else beta
    try:
        return float(accuracy * (cost / target) ** exponent)
    except OverflowError as error:
        raise SettingsError(
            f"target must be near to what networks cost, got {target:g} for a cost of {cost:g}: the reward would be "
            "larger than any number"
        ) from error


def absolute_reward(accuracy: float, cost: float, target: float, *, slope: float = ABSOLUTE_SLOPE) -> float:
    """accuracy + slope x |cost / target - 1| (eq. 2 of arXiv 2008.06120): steers to the target from both sides."""
    _require(accuracy, cost, target)
    return float(accuracy + slope * abs(cost / target - 1.0))


@dataclass(frozen=True, slots=True)
class Reward:
    """A form with its numbers: call it with accuracy and cost.

    A subclass with a ``__call__`` of its own is another reward; of the fields only ``target`` then has a meaning.

    ``alpha`` and ``beta`` are the exponents of the form ``product``; ``slope`` that of ``absolute``. The
    other forms are the paper's and need neither.
    """

    target: float
    form: RewardForm = "hard"
    alpha: float = 0.0
    beta: float = -1.0
    slope: float = ABSOLUTE_SLOPE

    def __post_init__(self) -> None:
        make_plain(self)
        require_words(self)
        if not (is_number(self.target) and self.target > 0):
            raise SettingsError(f"the target must be a number above 0 in the unit of the cost, got {self.target!r}")
        for name in ("alpha", "beta", "slope"):
            value = getattr(self, name)
            if not (is_number(value) and value <= 0):
                raise SettingsError(f"{name} must be 0 or negative, so that cost is a loss, got {value!r}")
            if name != "slope" and value < STEEPEST_EXPONENT:
                raise SettingsError(f"{name} must be {STEEPEST_EXPONENT:g} or more, got {value!r}; -1 is steep already")

    def __call__(self, accuracy: float, cost: float) -> float:
        """The reward of a network; raises SettingsError for an accuracy or a cost that cannot be."""
        if self.form == "absolute":
            return absolute_reward(accuracy, cost, self.target, slope=self.slope)
        alpha, beta = self._exponents
        return product_reward(accuracy, cost, self.target, alpha=alpha, beta=beta)

    @property
    def ignores_target(self) -> bool:
        """Whether the best network is the same for every target, as with the soft form."""
        if type(self) is not Reward:
            return False
        return self.slope == 0 if self.form == "absolute" else len(set(self._exponents)) == 1

    @property
    def _exponents(self) -> tuple[float, float]:
        return _EXPONENTS.get(self.form, (self.alpha, self.beta))

    def explain(self) -> str:
        """One sentence for the user on what this form does with the target."""
        if type(self) is not Reward:
            return f"this reward is {type(self).__name__}, a class of your own"
        if self.ignores_target and (self.form == "absolute" or not any(self._exponents)):
            return "this reward is the accuracy alone: what a network costs changes nothing"
        if self.ignores_target:
            return (
                "this reward fixes how much accuracy a slower network must gain and ignores the target: the same "
                "network wins for every target; use the hard form to meet a target"
            )
        if self.form == "absolute":
            return "this reward pulls the cost to the target from both sides: a cheaper network also loses"
        alpha, beta = self._exponents
        within = "raises cheaper networks within the target" if alpha else "leaves networks within the target alone"
        above = "marks down those above it" if beta else "leaves those above it alone"
        return f"this reward {within} and {above}"

    def explain_above(self) -> str:
        """What decides among networks that all lie above the target, in words."""
        if self.form == "absolute":
            return f"a tenth of the target more must bring an accuracy {-0.1 * self.slope:.1%} higher"
        beta = self._exponents[1]
        return f"twice the cost must bring {2**-beta:.3g} times the accuracy" if beta else "accuracy alone decides"


#: form -> alpha, beta: hard scales by target / cost above the target alone, soft trades at one rate everywhere
_EXPONENTS: dict[str, tuple[float, float]] = {"hard": (0.0, -1.0), "soft": (SOFT_EXPONENT, SOFT_EXPONENT)}


def _require(accuracy: float, cost: float, target: float) -> None:
    if not 0.0 <= accuracy <= 1.0:
        raise SettingsError(f"accuracy must lie in 0 to 1, got {accuracy!r}")
    if not (math.isfinite(cost) and cost > 0):
        raise SettingsError(f"cost must be a number above 0, got {cost!r}")
    if not (math.isfinite(target) and target > 0):
        raise SettingsError(f"target must be a number above 0, got {target!r}")
