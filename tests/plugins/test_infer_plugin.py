from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ikomia")

import ikomia  # noqa: F401  # before cv2, as in every Ikomia program
from ikomia.core import AlgoType
from ikomia.dataprocess.registry import ik_registry
from PIL import Image

import mnasnet
from mnasnet.modelfile import save
from mnasnet.settings import InferSettings, markdown_old_names, markdown_table
from mnasnet.testing import coloured_image, random_model

pytestmark = pytest.mark.ikomia

NAME = "infer_torchvision_mnasnet"
ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / NAME
README = (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def task():
    return ik_registry.create_algorithm(NAME, public_hub=False)


def run_python(code: str) -> str:
    """Output of ``code`` in a process of its own, with this session's home and plugins."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout + done.stderr


# ------------------------------------------------------------------ README, metadata, requirements


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


def test_the_readme_has_the_hubs_sections_in_order():
    sections = re.findall(r"^## :(\w+):", README, flags=re.MULTILINE)

    assert sections == ["rocket", "sunny", "pencil", "mag", "fast_forward"]


def test_the_metadata_is_complete_and_true():
    ik_registry.create_algorithm(NAME, public_hub=False)
    info = ik_registry.get_algorithm_info(NAME)

    assert info.name == NAME
    for field in ("short_description", "authors", "article", "article_url", "journal", "repository", "keywords"):
        assert getattr(info, field), field
    assert info.algo_type == AlgoType.INFER
    assert info.algo_tasks == "CLASSIFICATION"
    assert info.license == "Apache-2.0"
    assert (ROOT / info.icon_path).is_file()
    with Image.open(ROOT / info.icon_path) as icon:
        assert icon.format == "PNG" and icon.size == (256, 256)


def test_requirements_have_floors_and_no_pins():
    lines = (FOLDER / "requirements.txt").read_text().split()

    assert all(re.fullmatch(r"[\w-]+>=[\d.]+", line) for line in lines)
    assert f"mnasnet>={mnasnet.__version__}" in lines


def test_the_plugin_has_no_python_sub_folder():
    """On reload Ikomia forgets every module whose name contains the name of such a folder."""
    assert list(FOLDER.glob("*/__init__.py")) == []


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


def test_a_missing_package_is_told_with_the_command_that_mends_it():
    output = run_python(
        "import sys, ikomia\n"
        "sys.modules['mnasnet'] = None\n"
        "from ikomia.dataprocess.registry import ik_registry\n"
        f"ik_registry.create_algorithm('{NAME}', public_hub=False)\n"
    )

    assert (
        f"{NAME}: the package mnasnet is missing or too old; run this command and restart Ikomia: "
        f'"{sys.executable}" -m pip install -e "{ROOT}"'
    ) in output


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
