"""Write the workflow files in workflows/ anew; run it after a change of a task's name, inputs or outputs."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import install_plugins

FOLDER = install_plugins.ROOT / "workflows"
STANDINS = install_plugins.ROOT / "tests" / "standins"
INFER, TRAIN, SEARCH = install_plugins.PLUGINS
FOLDER_INPUT, PHOTO_INPUT = 0, 1  # of the whole workflow, where it has both
IMAGE, OBJECTS, MODEL = 0, 1, 2  # inputs of the inference task


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ["HOME"] = os.environ["USERPROFILE"] = home  # Ikomia reads it when it is imported
        os.environ["IKOMIA_AUTO_COMPLETION"] = "false"
        install_plugins.install(Path(home))
        plugins = Path(home) / "Ikomia" / "Plugins" / "Python"
        (plugins / "standin_detector").symlink_to(STANDINS / "standin_detector", target_is_directory=True)
        write_all(FOLDER)


def write_all(folder: Path) -> None:
    """Build each workflow in Ikomia and save it: what differs from the defaults, without this machine's paths."""
    for name, (meaning, build) in WORKFLOWS.items():
        from ikomia.dataprocess.workflow import Workflow

        workflow = Workflow(name)
        workflow.description = meaning
        workflow.keywords = "classification,mnasnet"
        build(workflow)
        path = folder / f"{name}.json"
        workflow.save(str(path))
        kept = portable(json.loads(path.read_text(encoding="utf-8")))
        path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(path)


def classify(workflow: Any) -> None:
    add(workflow, INFER, {}, [(0, IMAGE)])


def detect_then_classify(workflow: Any) -> None:
    detector = add(workflow, "standin_detector", {"boxes": "10,10,80,100;120,20,60,90"}, [(0, 0)])
    infer = add(workflow, INFER)
    workflow.connect_tasks(detector, infer, [(0, IMAGE), (1, OBJECTS)])


def train_then_infer(workflow: Any) -> None:
    model_then_infer(workflow, TRAIN, {})


def search_then_infer(workflow: Any) -> None:
    model_then_infer(workflow, SEARCH, {"target_latency_ms": "1.5", "minutes": "60"})


def model_then_infer(workflow: Any, name: str, parameters: dict[str, str]) -> None:
    """A folder in, a model out of it; the photo goes to inference, which takes the model."""
    make_folder_and_photo(workflow)
    maker = add(workflow, name, parameters, [(FOLDER_INPUT, 0)])
    infer = add(workflow, INFER, {}, [(PHOTO_INPUT, IMAGE)])
    workflow.connect_tasks(maker, infer, [(0, MODEL)])


def make_folder_and_photo(workflow: Any) -> None:
    import numpy as np

    workflow.set_directory_input(folder=str(FOLDER), index=FOLDER_INPUT)
    workflow.set_image_input(array=np.zeros((8, 8, 3), np.uint8), index=PHOTO_INPUT)


def add(
    workflow: Any,
    name: str,
    parameters: dict[str, str] | None = None,
    connections: list[tuple[int, int]] | None = None,
) -> Any:
    """The task in the workflow; ``connections`` are pairs of an input of the workflow and one of the task."""
    task = workflow.add_task(name=name, auto_connect=False, public_hub=False)
    if parameters:
        task.set_parameters(parameters)
    if connections:
        workflow.connect_tasks(workflow.root(), task, connections)
    return task


WORKFLOWS: dict[str, tuple[str, Callable[[Any], None]]] = {
    "classify": ("Name what is in an image, a video or a folder of images", classify),
    "detect_then_classify": (
        "Name each object that a detector finds",
        detect_then_classify,
    ),
    "train_then_infer": ("Train on a folder of images, then classify a photo with the result", train_then_infer),
    "search_then_infer": ("Search the best network for a folder of images, then classify with it", search_then_infer),
}


def portable(workflow: dict[str, Any]) -> dict[str, Any]:
    """A saved workflow without default values, which later releases may better, and without this machine's paths."""
    from ikomia.dataprocess.registry import ik_registry

    for task in workflow["tasks"]:
        data = task["task_data"]
        defaults = ik_registry.create_algorithm(data["name"], public_hub=False).get_parameters()
        data["parameters"] = [one for one in data["parameters"] if one["value"] != defaults[one["name"]]]
        data.pop("url", None)
    return workflow


if __name__ == "__main__":
    main()
