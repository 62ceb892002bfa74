"""ExecuTorch on the CPU with XNNPACK: torch's own engine of phones."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnasnet.export.executorch import open_program
from mnasnet.export.exported import ExportedModel, in_memory
from mnasnet.modelfile import ModelFile
from mnasnet.openmp import import_torch
from mnasnet.packages import version

_ALONE = threading.Lock()  # its pool of threads belongs to the whole process, and may change only while nothing runs


class ExecutorchSession:
    """The network as an ExecuTorch program: made in memory, which takes half a minute, or an exported file."""

    fills_caches = True

    def __init__(self, model: ModelFile | ExportedModel, *, device: str, precision: str, threads: int) -> None:
        self._torch = import_torch()
        self._model = in_memory(model, "executorch")
        self._threads = threads
        self._forward: Any = None
        self._pool = -1
        with _ALONE:
            self._load_for_pool()  # here, so that a file that cannot run says so at once
        self.description = f"executorch {version('executorch')} {device} {precision} threads={threads}"

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """N x S x S x 3 RGB pixels to N x classes scores before softmax; raises ValueError above 256 images."""
        images = self._torch.from_numpy(np.array(self._model.as_input(batch)))  # torch warns of read-only pixels
        with _ALONE:
            self._load_for_pool()
            scores: NDArray[np.float32] = self._forward.execute([images])[0].numpy().copy()
        return self._model.as_scores(scores)

    def _load_for_pool(self) -> None:
        """Load the network for a pool of our number of threads: one that was loaded for another pool never returns."""
        pool = _pool_of(self._threads)
        if self._pool != pool:
            self._program = open_program(self._model.content)  # an open one would give the method it loaded before
            self._forward, self._pool = self._program.load_method("forward"), pool


_pools = 0  # how often the process's pool was made anew


def _pool_of(threads: int) -> int:
    """The number of the pool, which has ``threads`` now."""
    from executorch.extension.pybindings import portable_lib

    global _pools
    if portable_lib._threadpool_get_thread_count() != threads:
        portable_lib._unsafe_reset_threadpool(threads)
        _pools += 1
    return _pools
