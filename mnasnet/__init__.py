"""MnasNet: small, fast image classifiers for a device of your own.

``from mnasnet import Classifier`` is all that classifying needs; see the README for training and search.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnasnet.telemetry import disable_onnxruntime

disable_onnxruntime()

__version__ = "1.0.0"
__all__ = ["Classifier", "Prediction", "__version__", "architecture"]

if TYPE_CHECKING:
    from mnasnet.classify import Classifier, Prediction
    from mnasnet.presets import architecture


_HOMES = {"Classifier": "mnasnet.classify", "Prediction": "mnasnet.classify", "architecture": "mnasnet.presets"}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that ``import mnasnet`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mnasnet' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names too that were not used yet."""
    return sorted({*globals(), *_HOMES})
