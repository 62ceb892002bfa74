"""The workflow files of this repository load in Ikomia and run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ikomia")

import ikomia  # noqa: F401  # before cv2, as in every Ikomia program
from ikomia.dataprocess import workflow as ikomia_workflow

from mnasnet.modelfile import save
from mnasnet.testing import coloured_image, random_model, write_image_folder

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tools"))

import write_workflows

pytestmark = pytest.mark.ikomia

PHOTO = np.array(coloured_image((200, 40, 40), seed=99))


def load(name):
    return ikomia_workflow.load(str(write_workflows.FOLDER / f"{name}.json"))


def model_then_photo(workflow, folder):
    workflow.set_directory_input(folder=str(folder), index=0)
    workflow.set_image_input(array=PHOTO, index=1)
    workflow.run()
    return workflow.find_task("infer_torchvision_mnasnet", 0).get_results()


def contents(folder):
    """The workflows in ``folder``, without the versions of Python and Ikomia that saved them."""
    files = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    return {name: {key: value for key, value in file.items() if key != "api"} for name, file in files.items()}


def test_the_files_are_what_ikomia_saves_today(tmp_path):
    write_workflows.write_all(tmp_path)

    assert contents(write_workflows.FOLDER) == contents(tmp_path)


def test_no_file_holds_a_path_of_some_machine():
    for path in write_workflows.FOLDER.iterdir():
        assert "file://" not in path.read_text(encoding="utf-8")


def test_classify(image):
    workflow = load("classify")

    workflow.run_on(array=image)

    assert len(workflow.find_task("infer_torchvision_mnasnet", 0).get_results()) == 5


def test_detect_then_classify(image):
    workflow = load("detect_then_classify")

    workflow.run_on(array=image)

    infer = workflow.find_task("infer_torchvision_mnasnet", 0)
    assert len(infer.get_output(1).get_objects()) == 2


def test_train_then_infer(tmp_path):
    workflow = load("train_then_infer")
    save(random_model(class_names=("a", "b")), tmp_path / "tiny.safetensors")
    workflow.find_task("train_torchvision_mnasnet", 0).set_parameters(
        {"model_weight_file": str(tmp_path / "tiny.safetensors"), "input_size": 32, "epochs": 1}
    )

    results = model_then_photo(workflow, write_image_folder(tmp_path / "colours", per_class=8))

    assert sorted(name for name, _ in results) == ["blue", "green", "red"]


@pytest.mark.slow
def test_train_then_infer_as_it_is(tmp_path):
    results = model_then_photo(load("train_then_infer"), write_image_folder(tmp_path / "colours", per_class=12))

    assert sorted(name for name, _ in results) == ["blue", "green", "red"]
    assert results[0][0] == "red"


@pytest.mark.slow
def test_search_then_infer(tmp_path):
    workflow = load("search_then_infer")
    workflow.find_task("search_mnasnet", 0).set_parameters(
        {
            "space": "tiny",
            "minutes": 0,
            "trials": 2,
            "target_latency_ms": 1000,
            "input_size": 32,
            "proxy_epochs": 1,
            "finalists": 0,
            "final_epochs": 1,
            "references": False,
            "profile": False,
        }
    )

    results = model_then_photo(workflow, write_image_folder(tmp_path / "colours", per_class=10))

    assert sorted(name for name, _ in results) == ["blue", "green", "red"]
