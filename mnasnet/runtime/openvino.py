"""OpenVINO on the CPU: fp32, or bf16 where it is asked for."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from mnasnet.export.exported import ExportedModel, in_memory
from mnasnet.modelfile import ModelFile
from mnasnet.telemetry import import_openvino


class OpenvinoSession:
    """The network as an ONNX graph, or an exported file, compiled by OpenVINO."""

    fills_caches = True

    def __init__(self, model: ModelFile | ExportedModel, *, device: str, precision: str, threads: int) -> None:
        ov = import_openvino()
        core = ov.Core()
        graph = self._model = in_memory(model)
        compiled = core.compile_model(
            core.read_model(graph.content, ov.Tensor(np.frombuffer(graph.weights, np.uint8)))
            if graph.weights
            else core.read_model(graph.content),
            "CPU",
            {
                # without the hint OpenVINO takes bf16 by itself where the processor has it
                "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
                "INFERENCE_NUM_THREADS": threads,
                "PERFORMANCE_HINT": "LATENCY",
                "NUM_STREAMS": 1,
            },
        )
        self._compiled = compiled
        precision = "int8" if graph.precision == "int8" else precision
        self._local = threading.local()  # an infer request serves one thread at a time
        self.description = f"openvino {ov.__version__.split('-')[0]} {device} {precision} threads={threads}"

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """N x S x S x 3 RGB pixels to N x classes scores before softmax."""
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        results = self._local.request.infer({0: self._model.as_input(batch)})
        return self._model.as_scores(np.array(results[0], np.float32))
