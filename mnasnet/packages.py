"""Which package a runtime is, whether it is there and in which version; small devices ask too, so it needs none."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from typing import Literal

from mnasnet.errors import RuntimeMissingError

AgentRuntime = Literal["onnxruntime", "litert"]  # what an agent on another device runs networks with

#: runtime -> the module that is imported, where that has another name
MODULES: dict[str, str] = {"litert": "ai_edge_litert"}


def is_installed(runtime: str) -> bool:
    """Whether ``runtime`` can be imported; it is not imported by the question."""
    module = MODULES.get(runtime, runtime)
    return module in sys.modules or importlib.util.find_spec(module) is not None


def require(runtime: str) -> None:
    """Raise RuntimeMissingError with the install line unless ``runtime`` can be imported."""
    if not is_installed(runtime):
        raise RuntimeMissingError(f"{runtime} is not installed; run: pip install {distribution(runtime)}")


def distribution(runtime: str) -> str:
    """What pip calls the runtime."""
    return MODULES.get(runtime, runtime).replace("_", "-")


def version(runtime: str) -> str:
    """The version of an installed runtime."""
    try:
        return importlib.metadata.version(distribution(runtime))
    except importlib.metadata.PackageNotFoundError:  # onnxruntime-gpu and -directml are the module onnxruntime too
        return str(importlib.import_module(MODULES.get(runtime, runtime)).__version__)
