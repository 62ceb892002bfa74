"""Engines in processes: what they leave in a home folder, children of a fork, and threads that wait."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mnasnet.packages import is_installed
from mnasnet.testing import write_image_folder

ROOT = Path(__file__).parent.parent.parent
CLASSIFY = """
import numpy as np
from mnasnet import Classifier
Classifier.load(runtime={runtime!r}).predict(np.zeros((64, 64, 3), np.uint8))
"""
IN_PARENT_AND_CHILD = """
import os, signal, sys
{begin}
{work}
child = os.fork()
if child == 0:
    signal.alarm(30)
    {work}
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
CLASSIFIED = {
    "begin": """
import numpy as np
from mnasnet import Classifier
image = np.zeros((64, 64, 3), np.uint8)
classifier = Classifier.load(runtime="torch", threads=2)
""",
    "work": "classifier.predict(image)",
}
TRAINED = {
    "begin": """
from pathlib import Path
from mnasnet.train.plan import Training
from mnasnet.train.run import train
data, runs = map(Path, sys.argv[1:])
training = Training(data=data, output_folder=runs, epochs=1, input_size=32, batch_size=8, threads=2, report=False)
""",
    "work": "train(training)",
}
BUILT = {
    "begin": """
import torch
from mnasnet.modelfile import network_of
from mnasnet.zoo import open_model
torch.set_num_threads(2)
images = torch.zeros(2, 3, 64, 64)
""",
    "work": "network_of(open_model())(images)",
}


def run(code: str, *arguments: Path, **more: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "ORT_"))}
    subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**environment, "PYTHONPATH": str(ROOT), **more},
        check=True,
    )


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "litert", "torch"])
def test_no_engine_reports_to_its_maker(runtime, tmp_path):
    """ONNX Runtime and OpenVINO would, and keep a number of this user in the home folder for it."""
    if not is_installed(runtime):
        pytest.skip(f"{runtime} is not installed")

    run(CLASSIFY.format(runtime=runtime), HOME=str(tmp_path), USERPROFILE=str(tmp_path))

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")
@pytest.mark.parametrize("steps", [CLASSIFIED, TRAINED, BUILT], ids=["classifies", "trains", "builds"])
def test_the_child_of_a_fork_does_what_its_parent_has_done(steps, tmp_path):
    data = write_image_folder(tmp_path / "photos", per_class=4)

    run(IN_PARENT_AND_CHILD.format(**steps), data, tmp_path / "runs")


@pytest.mark.parametrize("module", ["commands.search", "search.join", "search.supernet", "network.build", "train.run"])
def test_threads_of_torch_sleep_while_they_wait_whichever_module_brings_it(module):
    program = f"import os, sys, mnasnet.{module}\nassert 'torch' in sys.modules\nprint(os.environ['OMP_WAIT_POLICY'])"
    variables = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=variables, capture_output=True, text=True)

    assert done.stdout == "PASSIVE\n", done.stderr
