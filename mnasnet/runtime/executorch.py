"""ExecuTorch on the CPU with XNNPACK: torch's own engine of phones."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from mnasnet.export.executorch import open_program
from mnasnet.export.exported import ExportedModel, in_memory
from mnasnet.modelfile import ModelFile
from mnasnet.runtime.packages import version
from mnasnet.runtime.session import import_torch

_ALONE = threading.Lock()  # its pool of threads belongs to the whole process, and may change only while nothing runs


class ExecutorchSession:
    """The network as an ExecuTorch program: made in memory, which takes half a minute, or an exported file."""

    def __init__(self, model: ModelFile | ExportedModel, *, device: str, precision: str, threads: int) -> None:
        self._torch = import_torch()
        self._model = in_memory(model, "executorch")
        self._program = open_program(self._model.content)
        self._forward = self._program.load_method("forward")
        self._threads = threads
        self.description = f"executorch {version('executorch')} {device} {precision} threads={threads}"

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """N x S x S x 3 RGB pixels to N x classes scores before softmax; raises ValueError above 256 images."""
        from executorch.extension.pybindings import portable_lib

        images = self._torch.from_numpy(np.array(self._model.as_input(batch)))  # torch warns of read-only pixels
        with _ALONE:
            if portable_lib._threadpool_get_thread_count() != self._threads:
                portable_lib._unsafe_reset_threadpool(self._threads)
            scores: NDArray[np.float32] = self._forward.execute([images])[0].numpy().copy()
        return self._model.as_scores(scores)
