"""Ikomia classifies with exported files as it does with the model they came from."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("ikomia")

import ikomia  # noqa: F401  # before cv2, as in every Ikomia program
from ikomia.dataprocess.workflow import Workflow

from mnasnet.deploy.export import export_model
from mnasnet.deploy.pictures import test_pictures as built_in_pictures
from mnasnet.export.exporter import EXPORTERS
from mnasnet.testing import random_model

pytestmark = pytest.mark.ikomia


@pytest.mark.parametrize("name", [name for name in EXPORTERS if name != "executorch"])  # half a minute each
def test_an_exported_file_is_a_model_weight_file(name, tmp_path):
    model = random_model()
    (done,) = export_model(model, tmp_path, [name])
    workflow = Workflow("exported")
    task = workflow.add_task(name="infer_torchvision_mnasnet", auto_connect=True)
    task.set_parameters({"model_weight_file": str(done.files[0])})

    workflow.run_on(array=built_in_pictures()[0][1])

    found = json.loads(task.get_output(4).to_json())
    assert found["model"] == model.name and found["label"] in model.class_names
    assert found["engine"].startswith({"onnx": "onnxruntime"}.get(name, name))
