"""When memory does not suffice the work is divided and the step stays the same; shown with real limits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCARCE = """
import logging, resource, sys
logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
import numpy as np, torch
torch.set_num_threads(1)
from mnasnet.network.build import build
from mnasnet.preprocess import Preprocess
from mnasnet.presets import architecture
from mnasnet.train.batches import StoredImages
from mnasnet.train.recipe import Recipe
from mnasnet.train.trainer import fit

labels = np.arange(int(sys.argv[1])) % 3
noise = np.random.default_rng(0).integers(0, 256, (len(labels), 32, 32, 3), dtype=np.uint8)
images = StoredImages(noise, labels)
few = StoredImages(images.pixels[:4], labels[:4])
recipe = Recipe("r", "sgd", 0.01, len(labels), augment="none")
network = build(architecture("mnasnet_a1"), 3)
warm_up = fit(network, few, few, Recipe("w", "sgd", 0.01, 2, augment="none"), Preprocess(32, 32), epochs=1)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = used + int(sys.argv[2]) * 1_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
result = fit(network, images, few, recipe, Preprocess(32, 32), epochs=1)
print(result.status, len(result.history))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited by Linux's setrlimit")
def test_a_batch_that_does_not_fit_is_divided(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", SCARCE, "256", "400"], capture_output=True, text=True, timeout=120, check=False
    )

    assert "memory does not suffice for the whole batch; going on with" in finished.stdout, finished.stderr
    assert finished.stdout.splitlines()[-1] == "done 1"
