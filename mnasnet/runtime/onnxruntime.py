"""ONNX Runtime: on the CPU the default, about three times as fast as torch with the same numbers; also on CUDA."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mnasnet.errors import RuntimeMissingError, SettingsError
from mnasnet.export.exported import ExportedModel, in_memory
from mnasnet.modelfile import ModelFile
from mnasnet.runtime.onnx_graph import CUDA, open_graph

if TYPE_CHECKING:
    import onnxruntime as ort

INSTEAD = "set runtime to torch, or device to cpu"


class OnnxRuntimeSession:
    """The network as an ONNX graph: written in memory, or an exported file."""

    def __init__(self, model: ModelFile | ExportedModel, *, device: str, precision: str, threads: int) -> None:
        import onnxruntime as ort

        self._model = in_memory(model)
        self._session = (
            _on_cuda(self._model.content, threads) if device == "cuda" else open_graph(self._model.content, threads)
        )
        self.fills_caches = device == "cpu"
        precision = "int8" if self._model.precision == "int8" else precision
        self.description = f"onnxruntime {ort.__version__} {device} {precision} threads={threads}"

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """N x S x S x 3 RGB pixels to N x classes scores before softmax."""
        (output,) = self._session.run(None, {"images": self._model.as_input(batch)})
        return self._model.as_scores(output)


def _on_cuda(content: bytes, threads: int) -> ort.InferenceSession:
    """The graph on an NVIDIA GPU; an ONNX Runtime that would quietly compute on the CPU instead is refused."""
    import onnxruntime as ort

    if CUDA not in ort.get_available_providers():
        raise RuntimeMissingError(
            f"device cuda through onnxruntime needs its other package, here is one for the CPU; "
            f"run: pip uninstall onnxruntime; pip install onnxruntime-gpu; or {INSTEAD}"
        )
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA's libraries from the packages that came with torch
    # TF32 would round to 10 bits without being asked
    session = open_graph(content, threads, [(CUDA, {"use_tf32": "0"}), "CPUExecutionProvider"])
    if CUDA not in session.get_providers():
        raise SettingsError(
            "onnxruntime could not start CUDA on this machine; its own lines above say which library or driver it "
            f"missed; {INSTEAD}"
        )
    return session
