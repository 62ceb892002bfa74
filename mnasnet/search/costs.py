"""The costs of a network: how they are called, in which unit they are counted, and in which people read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

LATENCY = "latency_ms"  # the meter's name in studies and tables
ENERGY = "energy_mj"

CountName = Literal["multiply_adds", "parameters", "model_bytes", "peak_activation_bytes"]
COUNTS: tuple[CountName, ...] = get_args(CountName)

#: the setting's word -> the meter's name, where they differ
METERS = {"latency": LATENCY, "energy": ENERGY}

#: cost -> what it is counted in, and typed
UNITS: dict[str, str] = {
    "latency": "ms",
    LATENCY: "ms",
    "energy": "millijoules",
    ENERGY: "millijoules",
    "multiply_adds": "operations",
    "parameters": "weights",
    "model_bytes": "bytes",
    "peak_activation_bytes": "bytes",
}


def digits(value: float) -> str:
    """Three significant digits, or all before the point where they are more; never an exponent for a large number."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A cost as it is shown: ``scale`` turns the meter's number into ``unit``."""

    title: str
    unit: str
    scale: float = 1.0

    def text(self, value: float) -> str:
        """The value with its unit, in :func:`digits`."""
        return f"{digits(value * self.scale)} {self.unit}".strip()

    @property
    def label(self) -> str:
        """Title and unit, as an axis or a column names them."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


_KNOWN = {
    "multiply_adds": Quantity("multiply-adds", "M", 1e-6),
    "parameters": Quantity("parameters", "M", 1e-6),
    "model_bytes": Quantity("model size", "MB", 1e-6),
    "peak_activation_bytes": Quantity("peak activations", "MB", 1e-6),
}

_UNITS: Mapping[str, tuple[str, float]] = {
    "_ms": ("ms", 1.0),
    "_mj": ("mJ", 1.0),
    "_bytes": ("MB", 1e-6),
}


def how(name: str, measured: Mapping[str, bool]) -> str:
    """Where a cost's numbers come from: measured, counted from the network exactly, or predicted."""
    if measured.get(name):
        return "measured"
    return "counted" if name in _KNOWN else "predicted"


def quantity(name: str) -> Quantity:
    """How the cost called ``name`` is shown; a name that nobody knows is shown as it is."""
    if name in _KNOWN:
        return _KNOWN[name]
    for ending, (unit, scale) in _UNITS.items():
        if name.endswith(ending) and name != ending:
            return Quantity(name.removesuffix(ending).replace("_", " "), unit, scale)
    return Quantity(name.replace("_", " "), "")


def above_limit(name: str, value: float, limit: float) -> str:
    """Such as "latency 10.8 ms, 100.00% above the limit of 5.4 ms"."""
    shown = quantity(name)
    return f"{shown.title} {shown.text(value)}, {value / limit - 1:.2%} above the limit of {shown.text(limit)}"
