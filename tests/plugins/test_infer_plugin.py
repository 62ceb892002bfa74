from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest

pytest.importorskip("ikomia")

import ikomia  # noqa: F401  # before cv2, as in every Ikomia program
from ikomia.dataprocess.registry import ik_registry
from PIL import Image

from mnasnet.modelfile import save
from mnasnet.settings import InferSettings, markdown_old_names, markdown_table
from mnasnet.testing import coloured_image, random_model
from tests.plugins.own_process import ROOT, run_python

pytestmark = pytest.mark.ikomia

NAME = "infer_torchvision_mnasnet"
FOLDER = ROOT / NAME
README = (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def task():
    return ik_registry.create_algorithm(NAME, public_hub=False)


# ------------------------------------------------------------------ README


def test_the_readmes_blocks_run_one_after_another(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("ikomia.utils.displayIO.display", shown.append)  # a window, which tests do not have
    save(random_model(class_names=("red", "green", "blue")), tmp_path / "model.safetensors")
    for name in ("image.jpg", "image.gif"):
        coloured_image((200, 40, 40), width=64, height=48).save(tmp_path / name)
    blocks = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    namespace: dict = {}

    for block in blocks:
        if '"mnasnet1_0"' in block:  # would be downloaded
            continue
        code = block.replace("path/to/your/image.jpg", str(tmp_path / "image.jpg"))
        code = code.replace("path/to/your/image.gif", str(tmp_path / "image.gif"))
        code = code.replace("infer_yolo_v11", "standin_detector")
        exec(code.replace("path/to/your/model.safetensors", str(tmp_path / "model.safetensors")), namespace)
    namespace["detector"].set_parameters({"boxes": "4,4,20,20"})
    namespace["wf"].run_on(path=str(tmp_path / "image.jpg"))

    assert len(blocks) == 6
    assert len(shown) == 1
    found = json.loads(namespace["algo"].get_output(4).to_json())
    assert {one["label"] for one in found["objects"]} <= {"red", "green", "blue"} and found["objects"]


def test_the_readmes_parameter_table_is_the_settings_model():
    assert markdown_table(InferSettings) in README
    assert markdown_old_names(InferSettings) in README


def test_the_readmes_parameters_are_those_of_the_task(task):
    documented = dict(re.findall(r"^\| \*\*(\w+)\*\* \| \w+ \| `'(.*?)'` \|", README, flags=re.MULTILINE))
    old_names = set(InferSettings.old_names())

    values = {name: text for name, text in task.get_parameters().items() if name not in old_names}

    assert values == documented


def test_the_readmes_example_parameters_are_accepted(task):
    for block in re.findall(r"set_parameters\(\s*(\{.*?\})\s*\)", README, flags=re.DOTALL):
        values = eval(block, {})  # our own README

        task.set_parameters(values)

        assert {name: task.get_parameters()[name] for name in values} == {name: str(v) for name, v in values.items()}


# ------------------------------------------------------------------ loading


def test_creating_the_task_loads_no_engine_and_starts_nothing():
    """``import ikomia`` creates every installed task when it refreshes its completion file."""
    output = run_python(
        "import sys, ikomia\n"
        "from ikomia.dataprocess.registry import ik_registry\n"
        "starts = ('subprocess.Popen', 'os.fork', 'os.posix_spawn', 'os.system', 'socket.bind', 'socket.connect')\n"
        "started = []\n"
        "sys.addaudithook(lambda event, _: started.append(event) if event in starts else None)\n"
        f"task = ik_registry.create_algorithm('{NAME}', public_hub=False)\n"
        "heavy = ('torch', 'torchvision', 'onnxruntime', 'openvino', 'onnx', 'mlflow', 'cv2', 'matplotlib', 'optuna')\n"
        "print('loaded', [name for name in heavy if name in sys.modules])\n"
        "print('started', started)\n"
    )

    assert "loaded []" in output
    assert "started []" in output


def test_a_cpu_image_is_classified_without_torch(tmp_path):
    save(random_model(), tmp_path / "small.safetensors")

    output = run_python(
        "import sys, ikomia, numpy\n"
        "from ikomia.dataprocess.workflow import Workflow\n"
        "workflow = Workflow('light')\n"
        f"task = workflow.add_task(name='{NAME}', auto_connect=True, public_hub=False)\n"
        f"task.set_parameters({{'model_weight_file': r'{tmp_path / 'small.safetensors'}', 'device': 'cpu'}})\n"
        "workflow.run_on(array=numpy.zeros((64, 64, 3), numpy.uint8))\n"
        "print('classes', len(task.get_results()), 'torch' in sys.modules)\n"
    )

    assert "classes 3 False" in output


def test_a_reload_of_all_plugins_leaves_the_task_working(tmp_path):
    save(random_model(), tmp_path / "small.safetensors")

    output = run_python(
        "import ikomia, numpy\n"
        "from ikomia.dataprocess.registry import ik_registry\n"
        "from ikomia.dataprocess.workflow import Workflow\n"
        f"ik_registry.create_algorithm('{NAME}', public_hub=False)\n"
        "ik_registry.load_algorithms()\n"
        "workflow = Workflow('reloaded')\n"
        f"task = workflow.add_task(name='{NAME}', auto_connect=True, public_hub=False)\n"
        f"task.set_parameters({{'model_weight_file': r'{tmp_path / 'small.safetensors'}'}})\n"
        "workflow.run_on(array=numpy.zeros((64, 64, 3), numpy.uint8))\n"
        "print('classes', len(task.get_results()))\n"
    )

    assert "classes 3" in output


def test_ikomias_completion_class_is_valid_python_and_takes_old_names(task):
    """What Ikomia writes into its own package for ``from ikomia.utils import ik``."""
    from ikomia.utils.autocomplete import AutoComplete

    written = io.StringIO()
    unregistered = AutoComplete.__new__(AutoComplete)  # its constructor would rewrite Ikomia's package from then on
    unregistered._write_auto_complete(written, task=task, local=True)
    namespace = {"ik_registry": ik_registry}
    exec(written.getvalue(), namespace)

    created = namespace[NAME](model_path="net.pth", top_k="2")

    assert created.get_param_object().settings == InferSettings(model_weight_file="net.pth", top_k=2)


# ------------------------------------------------------------------ HUB CI


def test_the_hubs_test_entry_passes(task, tmp_path):
    from infer_torchvision_mnasnet.infer_torchvision_mnasnet_test import test as hub_entry

    save(random_model(), tmp_path / "small.safetensors")
    task.set_parameters({"model_weight_file": str(tmp_path / "small.safetensors")})
    Image.fromarray(np.zeros((80, 120, 3), np.uint8)).save(tmp_path / "image.png")
    data = {"images": {"detection": {"coco": str(tmp_path / "image.png")}}}

    results = list(hub_entry(task, data))

    assert [status for _, status in results] == ["OK"] * 4
