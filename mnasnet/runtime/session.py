"""Which engine runs a network, and what every engine offers: pixels in, class scores out."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from mnasnet.checks import is_whole
from mnasnet.errors import MnasNetError, SettingsError, WeightsError
from mnasnet.export.exported import ExportedModel, Written, in_memory
from mnasnet.machine import usable_cores
from mnasnet.modelfile import ModelFile
from mnasnet.openmp import import_torch
from mnasnet.packages import is_installed, require
from mnasnet.runtime.onnx_graph import CUDA
from mnasnet.words import one_line

Runtime = Literal["torch", "onnxruntime", "openvino", "litert", "executorch"]
Device = Literal["cpu", "cuda"]
Precision = Literal["fp32", "bf16"]

#: runtime -> the class that opens it; the module is imported only when chosen
RUNTIMES: dict[str, tuple[str, str]] = {
    "onnxruntime": ("mnasnet.runtime.onnxruntime", "OnnxRuntimeSession"),
    "openvino": ("mnasnet.runtime.openvino", "OpenvinoSession"),
    "litert": ("mnasnet.runtime.litert", "LitertSession"),
    "executorch": ("mnasnet.runtime.executorch", "ExecutorchSession"),
    "torch": ("mnasnet.runtime.torch", "TorchSession"),
}

ON_CUDA = ("torch", "onnxruntime")
IN_BF16 = ("openvino", "torch")


class Session(Protocol):
    """A network loaded into an engine; may be called from several threads at once."""

    @property
    def description(self) -> str:
        """Runtime and version, device, precision, threads."""
        ...

    @property
    def fills_caches(self) -> bool:
        """Whether the maps of a large batch leave the processor's caches and slow it down."""
        ...

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """N x S x S x 3 RGB pixels, or what an exported file's ``as_input`` made of them, to N x classes scores.

        Scores are those before softmax.
        """
        ...


def open_session(
    model: ModelFile | ExportedModel,
    *,
    runtime: Runtime | Literal["auto"] = "auto",
    device: Device | Literal["auto"] = "auto",
    precision: Precision = "fp32",
    threads: int | None = None,
) -> Session:
    """``model`` ready to run.

    ``auto`` takes CUDA through torch where a GPU answers, else ONNX Runtime on the CPU, which takes CUDA only where
    ``device`` says so; reduced precision is never chosen by itself. An exported file runs through the engines that
    read it. ``threads`` defaults to the cores this process may use. Raises RuntimeMissingError with the install line
    when the runtime is not installed and SettingsError for a combination that cannot be.
    """
    _require_one_of("runtime", runtime, ("auto", *RUNTIMES))
    _require_one_of("device", device, ("auto", *get_args(Device)))
    _require_one_of("precision", precision, get_args(Precision))
    if threads is not None and (not is_whole(threads) or threads < 1):
        raise SettingsError(f"threads must be a whole number >= 1, got {threads!r}")
    if isinstance(model, ExportedModel):
        runtime, device = _engine_of_file(model, runtime, device, precision)
    chosen_device = device if device != "auto" else ("cuda" if runtime in ("auto", "torch") and has_cuda() else "cpu")
    if runtime == "auto":
        runtime = _runtime_for(chosen_device, precision)
    require_possible(runtime, chosen_device, precision)
    module, name = RUNTIMES[runtime]
    require(runtime)
    engine = getattr(importlib.import_module(module), name)
    options: dict[str, Any] = {"device": chosen_device, "precision": precision}
    options["threads"] = usable_cores() if threads is None else threads
    return (
        _proved(model, runtime, engine, options)
        if isinstance(model, ExportedModel)
        else cast("Session", engine(model, **options))
    )


def _proved(model: ExportedModel, runtime: str, engine: Callable[..., Session], options: Mapping[str, Any]) -> Session:
    """The session of an exported file, which has answered for one black image; raises WeightsError."""
    side = model.preprocess.input_size
    try:
        session = engine(model, **options)
        scores = session.run(np.zeros((1, side, side, 3), np.uint8))
    except MnasNetError:
        raise
    except Exception as error:  # each engine has its own errors for what it cannot run
        own = READERS[model.format][0]
        cure = (
            "it is damaged or made for another version, so export the model again"
            if runtime == own
            else f"run it through {own}, which it is made for, or export the model to {runtime} too"
        )
        raise WeightsError(
            f"{model.name or 'this file'} cannot be run as {model.format} by {runtime} ({one_line(error)}); {cure}"
        ) from error
    if scores.shape != (1, len(model.class_names)):
        raise WeightsError(
            f"{model.name or 'this file'} gives scores of shape {scores.shape} for {len(model.class_names)} class "
            "names; export the model again"
        )
    return session


def require_possible(runtime: str, device: str, precision: str) -> None:
    """Raise SettingsError for a device or precision that ``runtime`` does not compute with."""
    if device == "cuda":
        if runtime not in ON_CUDA:
            raise SettingsError(
                f"device cuda runs through {' or '.join(ON_CUDA)}, got runtime {runtime!r}; choose one of them, or "
                "device cpu"
            )
        if runtime == "torch" and not has_cuda():
            raise SettingsError("device cuda was asked for but torch sees no GPU; set device to auto or cpu")
        if not _may_have_driver():
            raise SettingsError("device cuda was asked for but this machine has no NVIDIA driver; set device to cpu")
    if precision == "bf16" and runtime not in IN_BF16:
        raise SettingsError(
            f"bf16 is computed by {' and '.join(IN_BF16)}, got runtime {runtime!r}; choose one of them, or fp32"
        )


#: exported format -> the engines that read it, the first one being the default
READERS: dict[str, tuple[Runtime, ...]] = {
    "onnx": ("onnxruntime", "openvino"),
    "openvino": ("openvino",),
    "litert": ("litert",),
    "executorch": ("executorch",),
}


def as_graph(model: ModelFile | ExportedModel, runtime: str) -> ModelFile | ExportedModel:
    """``model`` as ``runtime`` reads it, written once for any number of sessions; for torch it stays as it is."""
    kind = next((kind for kind, readers in READERS.items() if runtime in readers), None)
    return model if kind is None else in_memory(model, cast("Written", kind))


def _engine_of_file(
    model: ExportedModel, runtime: Runtime | Literal["auto"], device: Device | Literal["auto"], precision: Precision
) -> tuple[Runtime, Device]:
    readers = READERS[model.format]
    able = [name for name in readers if precision == "fp32" or name in IN_BF16] or readers
    chosen = able[0] if runtime == "auto" else runtime
    if chosen not in readers:
        raise SettingsError(
            f"an exported {model.format} file runs through {' or '.join(readers)}, got runtime {runtime!r}; "
            f"choose {'one of them' if len(readers) > 1 else readers[0]}"
        )
    if device != "cuda":
        return chosen, "cpu"
    if chosen not in ON_CUDA or model.precision == "int8":
        raise SettingsError(
            f"an exported {model.format} file in {model.precision} runs on the CPU through {chosen}, got device "
            "'cuda'; give the model file instead"
        )
    return chosen, "cuda"


def _require_one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def has_cuda() -> bool:
    """Whether torch can use an NVIDIA GPU; torch is not even imported where no driver is present."""
    return _may_have_driver() and bool(import_torch().cuda.is_available())


def reaches_cuda(runtime: str) -> bool:
    """Whether ``runtime``, which is installed, was built for an NVIDIA GPU and a driver is here."""
    if runtime == "torch":
        return has_cuda()
    if runtime not in ON_CUDA or not _may_have_driver():
        return False
    return CUDA in importlib.import_module("onnxruntime").get_available_providers()


def _may_have_driver() -> bool:
    return Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists() or sys.platform == "win32"


def _runtime_for(device: str, precision: str) -> Runtime:
    if device == "cuda":
        return "torch"
    if precision == "bf16":
        return "openvino"
    return "onnxruntime" if is_installed("onnxruntime") else "torch"
