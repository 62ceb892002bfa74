"""Real Ikomia workflows with a small model whose answers depend on the pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("ikomia")

import ikomia  # noqa: F401  # before cv2, as in every Ikomia program
from ikomia.dataprocess.workflow import Workflow

from mnasnet.classify import Classifier
from mnasnet.modelfile import ModelFile, save
from mnasnet.runtime.onnxruntime import OnnxRuntimeSession
from mnasnet.testing import random_model

NAMES = ("cat", "dog", "ship", "naïve café", "鳥")


@pytest.fixture(scope="session")
def model() -> ModelFile:
    """Random weights; the last layer is strong, so that other pixels mean clearly other confidences."""
    model = random_model(class_names=NAMES)
    return replace(model, weights={**model.weights, "classifier.weight": 30 * model.weights["classifier.weight"]})


@pytest.fixture(scope="session")
def model_path(model: ModelFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    save(model, path)
    return path


@pytest.fixture(scope="session")
def classifier(model: ModelFile) -> Classifier:
    """What the task should agree with."""
    return Classifier(model)


@pytest.fixture
def image() -> NDArray[np.uint8]:
    """A picture with different content everywhere, 200 x 300."""
    rows, columns = np.mgrid[0:200, 0:300]
    waves = [128 + 120 * np.sin(rows / period + columns / (period + 11)) for period in (9, 23, 41)]
    return np.stack(waves, axis=2).astype(np.uint8)


@pytest.fixture
def add_infer(model_path: Path) -> Callable[..., Any]:
    """Adds the inference task with the small model to a workflow."""

    def add(workflow: Any, **parameters: Any) -> Any:
        task = workflow.add_task(name="infer_torchvision_mnasnet", auto_connect=True, public_hub=False)
        task.set_parameters({"model_weight_file": str(model_path), **parameters})
        return task

    return add


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images of each pass through a network, as it begins."""
    run, sizes = OnnxRuntimeSession.run, []

    def noted(session: OnnxRuntimeSession, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        sizes.append(len(batch))
        return run(session, batch)

    monkeypatch.setattr(OnnxRuntimeSession, "run", noted)
    return sizes


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Classifier]:
    """The models that tasks have loaded."""
    load, models = Classifier.load, []

    def noted(*arguments: Any, **options: Any) -> Classifier:
        models.append(load(*arguments, **options))
        return models[-1]

    monkeypatch.setattr(Classifier, "load", noted)
    return models


def with_detector(boxes: str) -> tuple[Any, Any]:
    """A workflow that begins with the stand-in for a detector, which finds these boxes; and that task."""
    workflow = Workflow("objects")
    detector = workflow.add_task(name="standin_detector", auto_connect=True, public_hub=False)
    detector.set_parameters({"boxes": boxes})
    return workflow, detector
