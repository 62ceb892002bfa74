"""Torch: the reference, and the way to a GPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mnasnet.data.transforms import normalise
from mnasnet.modelfile import ModelFile, network_of
from mnasnet.openmp import import_torch, threads_are_left_behind


class TorchSession:
    """The network in evaluation mode, batch normalisation merged into its convolutions."""

    fills_caches = False  # what it spends on each call outweighs them, and a GPU has none to fill

    def __init__(self, model: ModelFile, *, device: str, precision: str, threads: int) -> None:
        torch = import_torch()
        self._torch = torch
        self._preprocess = model.preprocess
        self._device = torch.device(device)
        self._kind = torch.bfloat16 if precision == "bf16" else torch.float32
        from mnasnet.network.layers import merge_batch_norms  # after torch has been imported with care

        network = network_of(model).eval()
        merge_batch_norms(network)
        self._network = network.to(self._device, self._kind).to(memory_format=torch.channels_last)
        self._threads = threads
        self.description = f"torch {torch.__version__} {device} {precision} threads={threads}"

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """N x S x S x 3 RGB pixels to N x classes scores before softmax."""
        torch = self._torch
        images = torch.from_numpy(normalise(batch, self._preprocess))
        images = images.to(self._device, self._kind, memory_format=torch.channels_last)
        before = torch.get_num_threads()  # belongs to the calling thread, so it is given back
        torch.set_num_threads(1 if threads_are_left_behind() else self._threads)
        try:
            with torch.inference_mode():
                logits: NDArray[np.float32] = self._network(images).float().cpu().numpy()
        finally:
            torch.set_num_threads(before)
        return logits
