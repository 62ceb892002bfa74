"""Engines in processes: what they leave in a home folder, and children of a fork."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mnasnet.packages import is_installed

ROOT = Path(__file__).parent.parent.parent
CLASSIFY = """
import numpy as np
from mnasnet import Classifier
Classifier.load(runtime={runtime!r}).predict(np.zeros((64, 64, 3), np.uint8))
"""
FORK = """
import os, signal
import numpy as np
from mnasnet import Classifier
image = np.zeros((64, 64, 3), np.uint8)
classifier = Classifier.load(runtime="torch", threads=2)
classifier.predict(image)
child = os.fork()
if child == 0:
    signal.alarm(30)
    classifier.predict(image)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def run(code: str, **more: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "ORT_"))}
    subprocess.run([sys.executable, "-c", code], env={**environment, "PYTHONPATH": str(ROOT), **more}, check=True)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "litert", "torch"])
def test_no_engine_reports_to_its_maker(runtime, tmp_path):
    """ONNX Runtime and OpenVINO would, and keep a number of this user in the home folder for it."""
    if not is_installed(runtime):
        pytest.skip(f"{runtime} is not installed")

    run(CLASSIFY.format(runtime=runtime), HOME=str(tmp_path), USERPROFILE=str(tmp_path))

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")
def test_torch_answers_in_the_child_of_a_fork():
    run(FORK)
