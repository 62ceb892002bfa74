"""Milliseconds of one core that an image takes in evaluation by torch, for batches of several sizes.

    python benchmarks/evaluation_batch.py

Batches are told apart by the processor time of one thread, each in turn, the fastest of ``--turns`` counting. The
last column is the batch that validation takes (``mnasnet.train.objective``).
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from mnasnet.data.transforms import normalise
from mnasnet.network.build import build
from mnasnet.network.layers import merge_batch_norms
from mnasnet.preprocess import Preprocess
from mnasnet.presets import architecture
from mnasnet.train.objective import EVALUATION_BATCH, evaluation_batch

NETWORKS = (("mnasnet1_0", 224), ("mnasnet1_0", 96), ("semnasnet_050", 128), ("semnasnet_050", 64))
BATCHES = (4, 8, 16, 32, 64, EVALUATION_BATCH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=4)
    turns = parser.parse_args().turns
    torch.set_num_threads(1)
    print(f"{'network':14}{'px':>5}" + "".join(f"{count:>9}" for count in BATCHES) + "   validation takes")
    for name, size in NETWORKS:
        network = build(architecture(name), 10).eval()
        merge_batch_norms(network)
        network = network.to(memory_format=torch.channels_last)
        pixels = np.random.default_rng(0).integers(0, 256, (EVALUATION_BATCH, size, size, 3), np.uint8)
        best = dict.fromkeys(BATCHES, float("inf"))
        for _ in range(turns):
            for count in BATCHES:
                best[count] = min(best[count], ms_an_image(network, pixels, count))
        chosen = evaluation_batch(size, "cpu")
        print(f"{name:14}{size:5}" + "".join(f"{best[count]:9.2f}" for count in BATCHES) + f"   {chosen}", flush=True)


@torch.inference_mode()
def ms_an_image(network: torch.nn.Module, pixels: np.ndarray, count: int) -> float:
    began = time.thread_time()
    for first in range(0, len(pixels), count):
        x = torch.from_numpy(normalise(pixels[first : first + count], Preprocess()))
        network(x.contiguous(memory_format=torch.channels_last))
    return (time.thread_time() - began) * 1e3 / len(pixels)


if __name__ == "__main__":
    main()
