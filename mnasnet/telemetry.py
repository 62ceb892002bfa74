"""Engines that report to their makers are told not to, before their first import: afterwards it is too late."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any, cast


def disable_onnxruntime() -> None:
    """ONNX Runtime asks the network and keeps a database of events in the home folder otherwise."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def import_openvino() -> Any:
    """OpenVINO without its telemetry, which asks the network at each import and keeps a number in the home folder."""
    sys.modules.setdefault("openvino_telemetry", cast("ModuleType", None))  # OpenVINO does without what is not there
    return importlib.import_module("openvino")
