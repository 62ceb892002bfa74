"""ONNX Runtime on the CPU: the default, about three times as fast as torch with the same numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mnasnet.export.onnx import to_onnx
from mnasnet.modelfile import ModelFile


class OnnxRuntimeSession:
    """The network as an ONNX graph that takes pixels."""

    def __init__(self, model: ModelFile, *, device: str, precision: str, threads: int) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # waiting threads sleep: a busy neighbour then costs its share of the cores and no more
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = to_onnx(model, pixels=True).SerializeToString()
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.description = f"onnxruntime {ort.__version__} {device} {precision} threads={threads}"

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """N x S x S x 3 RGB pixels to N x classes scores before softmax."""
        logits: NDArray[np.float32] = self._session.run(None, {"images": batch})[0]
        return logits
