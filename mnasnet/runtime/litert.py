"""LiteRT (TFLite) on the CPU with XNNPACK: the engine of phones."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnasnet.export.exported import ExportedModel, in_memory
from mnasnet.modelfile import ModelFile
from mnasnet.packages import version


class LitertSession:
    """The network as a LiteRT graph: written in memory, or an exported file."""

    fills_caches = True

    def __init__(self, model: ModelFile | ExportedModel, *, device: str, precision: str, threads: int) -> None:
        self._model = in_memory(model, "litert")
        self._threads = threads
        self._local = threading.local()  # an interpreter serves one thread at a time
        self._local.interpreter = self._opened()  # here, so that a file that cannot run says so at once
        self.description = f"litert {version('litert')} {device} {self._model.precision} threads={threads}"

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """N x S x S x 3 RGB pixels to N x classes scores before softmax."""
        if not hasattr(self._local, "interpreter"):
            self._local.interpreter = self._opened()
        interpreter = self._local.interpreter
        images = self._model.as_input(batch)
        source = interpreter.get_input_details()[0]
        if tuple(source["shape"]) != images.shape:
            interpreter.resize_tensor_input(source["index"], images.shape, strict=True)
            interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], images)
        interpreter.invoke()
        return self._model.as_scores(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))

    def _opened(self) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        # XNNPACK is what it takes by itself
        interpreter = Interpreter(model_content=self._model.content, num_threads=self._threads)
        interpreter.allocate_tensors()
        return interpreter
