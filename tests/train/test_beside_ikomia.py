"""``import ikomia`` turns on OpenMP's dynamic teams, in which a plain training loop waits for ever; ours does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mnasnet.presets import architecture
from mnasnet.testing import write_image_folder

PROGRAM = """
import ctypes, sys
import ikomia.utils
from dataclasses import replace
from pathlib import Path
from mnasnet.train.plan import Training
from mnasnet.train.run import train

libgomp = next(line.split()[-1] for line in open("/proc/self/maps") if "libgomp" in line)
assert ctypes.CDLL(libgomp).omp_get_dynamic() == 1, "this Ikomia does not have the fault: the test proves nothing"
run = train(Training(
    data=Path(sys.argv[1]), model=sys.argv[2], pretrained=False, epochs=2, batch_size=16, input_size=64, threads=2,
    output_folder=Path(sys.argv[3]), report=False,
))
print(run.status)
"""

UNCURED = ("OMP_NUM_THREADS", "OMP_DYNAMIC", "OPENCV_FOR_OPENMP_DYNAMIC_DISABLE")  # as users start Python


@pytest.mark.ikomia
@pytest.mark.skipif(sys.platform != "linux", reason="libgomp is found by Linux's /proc")
def test_training_ends_in_a_process_that_imported_ikomia_first(tmp_path: Path) -> None:
    pytest.importorskip("ikomia")
    data = write_image_folder(tmp_path / "data", per_class=16)
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(architecture("mnasnet_b1", 0.35).to_dict()))
    environment = {name: value for name, value in os.environ.items() if name not in UNCURED}

    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(data), str(spec), str(tmp_path / "runs")],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
        check=False,
    )

    assert finished.stdout.splitlines()[-1:] == ["done"], finished.stderr
