from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from equal_runs import checkpoint_digest

pytest.importorskip("ikomia")

import ikomia  # noqa: F401  # before cv2, as in every Ikomia program
from ikomia.dataprocess import workflow as ikomia_workflow
from ikomia.dataprocess.workflow import Workflow

from mnasnet.classify import Classifier
from mnasnet.data.images import read_image
from mnasnet.modelfile import load, save
from mnasnet.plugin.long_task import PROGRESS_STEPS
from mnasnet.settings import TrainSettings
from mnasnet.testing import coloured_image, random_model, write_image_folder
from mnasnet.train.checkpoint import CheckpointStore
from mnasnet.train.run_folder import asked_of
from tests.workflows.outputs import details_of, table_of

pytestmark = pytest.mark.ikomia

UNCURED = ("OMP_NUM_THREADS", "OPENCV_FOR_OPENMP_DYNAMIC_DISABLE")  # taken out: as users start Python
ROOT = Path(__file__).parent.parent.parent
NAME = "train_torchvision_mnasnet"
ODD_NAMES = {"café & co": (200, 40, 40), "C#": (40, 200, 40), "cat (indoor)": (40, 40, 200)}


@pytest.fixture(scope="session")
def start(tmp_path_factory) -> Path:
    """A very small network to start from, so that a training takes a second."""
    path = tmp_path_factory.mktemp("start") / "tiny.safetensors"
    save(random_model(class_names=("a", "b")), path)
    return path


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Three colours, split as a dataset task leaves them."""
    return write_image_folder(tmp_path_factory.mktemp("colours") / "colours", per_class=16, splits=("train", "val"))


@pytest.fixture
def small(start):
    """Settings of a short training with two threads, as many as make an uncured training hang."""
    return {
        "model_weight_file": str(start),
        "use_pretrained": False,
        "input_size": 32,
        "batch_size": 8,
        "epochs": 2,
        "threads": 2,
    }


def add_train(workflow, parameters):
    task = workflow.add_task(name=NAME, auto_connect=True, public_hub=False)
    task.set_parameters(parameters)
    return task


def train_on(folder, parameters, name="train"):
    workflow = Workflow(name)
    task = add_train(workflow, parameters)
    workflow.set_directory_input(folder=str(folder))
    workflow.run()
    return task


def model_of(task):
    return Path(task.get_output(0).get_path())


@pytest.fixture(scope="module")
def trained(start, data):
    """One training whose every output is looked at."""
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    steps = []
    workflow = Workflow("everything")
    parameters = {"model_weight_file": str(start), "use_pretrained": False, "input_size": 32, "threads": 2}
    task = add_train(workflow, {**parameters, "epochs": 6, "batch_size": 8, "export_pth": True, "export_onnx": True})
    task.emit_step_progress = lambda: steps.append(1)  # shadows the C++ method
    workflow.set_directory_input(folder=str(data))
    workflow.run()
    after = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    return SimpleNamespace(workflow=workflow, task=task, steps=steps, before=before, after=after)


# ------------------------------------------------------------------ what a training leaves


def test_training_inside_a_workflow_learns_and_does_not_hang(trained):
    """After ``import ikomia`` the first backward pass of the main thread would wait for ever."""
    assert details_of(trained.task)["status"] == "done"
    assert details_of(trained.task)["val_accuracy"] > 0.8


def test_the_model_file_lies_in_ikomias_data_folder_and_classifies(trained, data):
    path = model_of(trained.task)

    assert path == Path.home() / "Ikomia" / "Data" / NAME / "colours" / "weights" / "best.safetensors"
    assert load(path).class_names == ("blue", "green", "red")
    assert Classifier.load(path).predict([data / "val" / "red" / "000.jpg"])[0].label == "red"


def test_exports_lie_beside_the_model(trained):
    assert model_of(trained.task).with_suffix(".pth").is_file()
    assert model_of(trained.task).with_suffix(".onnx").is_file()


def test_curves_and_confusion_matrix_are_images(trained):
    run = Path(details_of(trained.task)["run"])

    np.testing.assert_array_equal(read_image(run / "results.png"), trained.task.get_output(1).get_image())
    np.testing.assert_array_equal(read_image(run / "confusion_matrix.png"), trained.task.get_output(2).get_image())


def test_metrics_are_a_table_and_agree_with_the_model_file(trained):
    metrics = table_of(trained.task.get_output(3))["validation"]

    assert float(metrics["accuracy"]) == pytest.approx(load(model_of(trained.task)).metrics["accuracy"], abs=1e-5)
    assert int(float(metrics["images"])) == 48


def test_each_class_has_a_line_in_the_table(trained):
    classes = table_of(trained.task.get_output(4))

    assert list(classes) == ["images", "precision", "recall", "F1"]
    assert classes["images"] == {"blue": "16", "green": "16", "red": "16"}
    assert all(0 <= float(value) <= 1 for value in classes["recall"].values())


def test_the_json_output_tells_the_whole_story(trained):
    details = details_of(trained.task)

    assert [row["epoch"] for row in details["history"]] == [1, 2, 3, 4, 5, 6]
    assert np.sum(details["confusion"]) == 48
    assert Path(details["report"]).is_file()
    with (Path(details["run"]) / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 6


def test_the_progress_bar_ends_exactly_full(trained):
    assert trained.task.get_progress_steps() == PROGRESS_STEPS == sum(trained.steps)


def test_the_dataset_is_not_touched(trained):
    assert trained.before == trained.after


def test_nothing_is_written_into_the_plugin(trained):
    left = [path for path in (ROOT / NAME).rglob("*") if path.suffix not in (".py", ".pyc", ".md", ".txt")]

    assert [path.name for path in left if path.name != "__pycache__"] == []


def test_a_second_run_makes_a_second_folder(trained, data, small):
    first = model_of(trained.task)

    second = model_of(train_on(data, small))

    assert first.is_file() and second.is_file()
    assert second.parent.parent.name == "colours2"


# ------------------------------------------------------------------ where the folder comes from


def test_a_dataset_task_hands_over_its_folder(data, small):
    workflow = Workflow("dataset")
    dataset = workflow.add_task(name="standin_dataset", public_hub=False)
    dataset.set_parameters({"dataset_folder": str(data)})
    task = add_train(workflow, {**small, "epochs": 1})

    workflow.run()

    assert load(model_of(task)).class_names == ("blue", "green", "red")


def test_a_flat_folder_is_split_and_the_split_kept(small, tmp_path):
    folder = write_image_folder(tmp_path / "flat ü", per_class=10)

    task = train_on(folder, {**small, "epochs": 1, "output_folder": str(tmp_path / "out" / "deep")})

    assert model_of(task).parent.parent.parent == tmp_path / "out" / "deep"
    split = json.loads((Path(details_of(task)["run"]) / "split.json").read_text())
    assert sum(map(len, split["val"])) > 0 if isinstance(split.get("val"), list) else split
    assert table_of(task.get_output(4))["images"] == {"blue": "2", "green": "2", "red": "2"}


def test_images_of_a_test_folder_are_a_second_column(small, tmp_path):
    folder = write_image_folder(tmp_path / "three", per_class=6, splits=("train", "val", "test"))

    task = train_on(folder, {**small, "epochs": 1})

    assert list(table_of(task.get_output(3))) == ["validation", "test"]


# ------------------------------------------------------------------ the next step


def chained(data, parameters):
    """Folder and photo in, the photo's class by the freshly trained model out."""
    workflow = Workflow("chain")
    workflow.set_directory_input(folder=str(data))
    workflow.set_image_input(array=np.array(coloured_image((200, 40, 40), seed=99)))
    train = add_train(workflow, parameters)
    infer = workflow.add_task(name="infer_torchvision_mnasnet", auto_connect=True, public_hub=False)
    return workflow, train, infer


def test_inference_in_the_next_step_takes_the_model(data, small):
    workflow, train, infer = chained(data, {**small, "epochs": 6})
    workflow.connect_tasks(workflow.root(), infer, [(1, 0)])

    workflow.run()

    assert infer.get_results()[0][0] == "red"
    assert json.loads(infer.get_output(4).to_json())["model"] == load(model_of(train)).name


def test_a_training_in_the_next_step_goes_on_from_the_model(data, small):
    workflow = Workflow("twice")
    workflow.set_directory_input(folder=str(data))
    first = add_train(workflow, {**small, "epochs": 1})
    second = add_train(workflow, {"input_size": 32, "epochs": 1, "threads": 2})
    workflow.connect_tasks(workflow.root(), second, [(0, 0)])

    workflow.run()

    start, end = load(model_of(first)), load(model_of(second))
    assert end.training["started_from"] == f"{start.name} ({start.fingerprint})"
    assert end.architecture == start.architecture and end.fingerprint != start.fingerprint


def test_a_training_in_the_next_step_takes_the_images_behind_the_model_it_gets(data, small, capsys):
    """Ikomia connects the model, and the workflow's folder to the first task alone."""
    workflow = Workflow("twice")
    workflow.set_directory_input(folder=str(data))
    add_train(workflow, {**small, "epochs": 1})
    second = add_train(workflow, {"input_size": 32, "epochs": 1, "threads": 2})

    workflow.run()

    assert load(model_of(second)).class_names == ("blue", "green", "red")
    assert f"no folder is connected: the images are those of the model that is, {data}" in capsys.readouterr().out


def test_the_chain_can_be_saved_and_loaded(data, small, tmp_path):
    workflow, _, infer = chained(data, {**small, "epochs": 1})
    workflow.connect_tasks(workflow.root(), infer, [(1, 0)])
    workflow.save(str(tmp_path / "chain.json"))

    loaded = ikomia_workflow.load(str(tmp_path / "chain.json"))
    loaded.set_directory_input(folder=str(data), index=0)
    loaded.set_image_input(array=np.array(coloured_image((40, 40, 200))), index=1)
    loaded.run()

    assert len(loaded.find_task("infer_torchvision_mnasnet", 0).get_results()) == 3


def test_an_image_in_the_place_of_the_folder_is_no_folder(small):
    workflow = Workflow("image")
    add_train(workflow, small)

    with pytest.raises(RuntimeError, match="there is no folder to train on; connect a dataset task"):
        workflow.run_on(array=np.zeros((20, 20, 3), np.uint8))


def test_a_chart_is_not_mistaken_for_a_photo(data, small):
    """Ikomia's automatic connection takes the training's curves for the image to classify."""
    workflow, train, _ = chained(data, {**small, "epochs": 1})

    with pytest.raises(RuntimeError) as caught:
        workflow.run()

    told = str(caught.value).splitlines()[0]
    assert "wf.connect_tasks(wf.root(), task, [(1, 0)]) where a folder is the workflow's first input" in told
    assert "[(0, 0)] where the photo is the only one" in told
    assert f"the model is kept, {model_of(train)}: as model_weight_file of this task alone" in told
    assert model_of(train).is_file()


def test_behind_a_dataset_task_the_photo_is_the_only_input(data, small):
    workflow = Workflow("dataset chain")
    workflow.set_image_input(array=np.array(coloured_image((200, 40, 40))))
    dataset = workflow.add_task(name="standin_dataset", auto_connect=False, public_hub=False)
    dataset.set_parameters({"dataset_folder": str(data)})
    train = add_train(workflow, {**small, "epochs": 1})
    workflow.connect_tasks(dataset, train)
    infer = workflow.add_task(name="infer_torchvision_mnasnet", auto_connect=True, public_hub=False)

    workflow.connect_tasks(workflow.root(), infer, [(0, 0)])
    workflow.run()

    assert len(infer.get_results()) == 3


# ------------------------------------------------------------------ stop, resume


def stop_after_an_epoch(workflow, task):
    """Run ``workflow`` and stop it from another thread after the first epoch; seconds from stop to end."""
    stopped_at = []

    def stop_when_an_epoch_is_done():
        folder = Path.home() / "Ikomia" / "Data" / NAME
        known = set(folder.glob("*/results.csv"))
        while not set(folder.glob("*/results.csv")) - known:
            time.sleep(0.02)
        stopped_at.append(time.monotonic())
        workflow.stop()

    stopper = threading.Thread(target=stop_when_an_epoch_is_done, daemon=True)
    stopper.start()
    with pytest.raises(RuntimeError, match="Stop workflow requested"):
        workflow.run()
    return time.monotonic() - stopped_at[0]


def test_a_stop_is_quick_keeps_the_best_and_running_again_goes_on_to_the_same_bits(data, small, capsys):
    parameters = {**small, "epochs": 6}
    whole = train_on(data, parameters, "whole")
    workflow = Workflow("stopped")
    task = add_train(workflow, parameters)
    workflow.set_directory_input(folder=str(data))

    seconds = stop_after_an_epoch(workflow, task)

    stopped = details_of(task)
    assert seconds < 5
    assert stopped["status"] == "stopped" and 1 <= stopped["epochs"] < 6
    assert load(model_of(task)).class_names == ("blue", "green", "red")
    assert "everything is kept; run again to go on" in capsys.readouterr().out

    workflow.run()

    assert details_of(task)["run"] == stopped["run"]
    assert details_of(task)["epochs"] == 6
    assert checkpoint_digest(store_of(task)) == checkpoint_digest(store_of(whole))


def store_of(task):
    return CheckpointStore(model_of(task).parent)


@pytest.mark.parametrize(("limit", "another"), [(0, 60), (60, 0)])
def test_a_run_that_was_stopped_goes_on_with_another_time_limit(limit, another, data, small):
    workflow = Workflow("another limit")
    task = add_train(workflow, {**small, "epochs": 6, "max_minutes": limit})
    workflow.set_directory_input(folder=str(data))
    stop_after_an_epoch(workflow, task)
    stopped = details_of(task)["run"]

    task.set_parameters({"max_minutes": another})
    workflow.run()

    assert (details_of(task)["run"], details_of(task)["epochs"]) == (stopped, 6)
    assert asked_of(Path(stopped))["max_minutes"] == another


def test_a_run_of_another_session_that_ends_leaves_the_stopped_one_to_go_on(data, small):
    names, stopped = ("here", "elsewhere"), {}
    workflows = {name: Workflow(name) for name in names}
    for name, workflow in workflows.items():
        workflow.set_directory_input(folder=str(data))
        task = add_train(workflow, {**small, "epochs": 3})
        stop_after_an_epoch(workflow, task)
        stopped[name] = task, details_of(task)["run"]
    (task, own), (_, another) = stopped["here"], stopped["elsewhere"]

    runs = []
    for folder in (another, ""):
        task.set_parameters({"resume_folder": folder})
        workflows["here"].run()
        runs.append((details_of(task)["run"], details_of(task)["epochs"]))

    assert runs == [(another, 3), (own, 3)]


def test_a_run_that_was_stopped_is_not_continued_with_other_settings(data, small, capsys):
    workflow = Workflow("changed")
    task = add_train(workflow, {**small, "epochs": 200})
    workflow.set_directory_input(folder=str(data))
    stop_after_an_epoch(workflow, task)
    stopped = details_of(task)["run"]

    task.set_parameters({"epochs": 1})
    workflow.run()

    assert details_of(task)["run"] != stopped
    assert details_of(task)["epochs"] == 1
    assert f"to go on with {stopped} set resume_folder to it" in capsys.readouterr().out


@pytest.mark.parametrize("lost", ["red", "checkpoints"])
def test_a_stopped_run_whose_images_or_checkpoints_went_gives_way_to_a_new_one(lost, data, small, tmp_path, capsys):
    images = Path(shutil.copytree(data, tmp_path / "images"))
    workflow = Workflow("changed images")
    task = add_train(workflow, {**small, "epochs": 200})
    workflow.set_directory_input(folder=str(images))
    stop_after_an_epoch(workflow, task)
    stopped = details_of(task)["run"]

    for gone in images.rglob("red") if lost == "red" else [Path(stopped) / "weights"]:
        shutil.rmtree(gone)
    stop_after_an_epoch(workflow, task)

    assert details_of(task)["run"] != stopped
    assert f"a new run begins, {stopped} cannot go on: " in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_of_another_session_goes_on_with_its_folder(data, small):
    workflow = Workflow("first session")
    task = add_train(workflow, {**small, "epochs": 12})
    workflow.set_directory_input(folder=str(data))
    stop_after_an_epoch(workflow, task)
    folder = details_of(task)["run"]

    workflow = Workflow("second session")
    task = add_train(workflow, {"resume_folder": folder})
    workflow.run()

    assert details_of(task)["run"] == folder
    assert details_of(task)["epochs"] == 12


@pytest.mark.slow
def test_a_run_that_goes_on_keeps_its_time_limit_until_it_gets_another(data, small):
    ended = details_of(train_on(data, {**small, "max_minutes": 0.0001}))
    assert ended["status"] == "time"

    again = train_on(data, {"resume_folder": ended["run"]}, "again")
    assert details_of(again)["status"] == "time"

    longer = train_on(data, {"resume_folder": ended["run"], "max_minutes": 60}, "longer")
    assert (details_of(longer)["status"], details_of(longer)["epochs"]) == ("done", 2)


# ------------------------------------------------------------------ what can go wrong


def first_line_of_error(workflow):
    with pytest.raises(RuntimeError) as caught:
        workflow.run()
    assert str(caught.value).count('File "') == 1
    return str(caught.value).splitlines()[0]


def test_a_missing_folder_is_told_with_the_call_that_mends_it(small, data):
    workflow = Workflow("nothing")
    task = add_train(workflow, {**small, "epochs": 1})

    told = first_line_of_error(workflow)

    assert "there is no folder to train on; connect a dataset task or call wf.set_directory_input(folder=..., " in told
    workflow.set_directory_input(folder=str(data), index=0)
    workflow.run()
    assert model_of(task).is_file()


def test_where_an_image_is_in_the_folders_place_the_call_that_is_told_puts_the_folder_there(small, tmp_path):
    workflow = Workflow("image first")
    add_train(workflow, small)
    workflow.set_image_input(array=np.zeros((20, 20, 3), np.uint8))
    workflow.set_directory_input(folder=str(tmp_path))

    assert "call wf.set_directory_input(folder=..., index=0)" in first_line_of_error(workflow)

    workflow.set_directory_input(folder=str(tmp_path), index=0)
    assert "a dataset needs one folder per class" in first_line_of_error(workflow)


@pytest.mark.parametrize(
    "classes, told",
    [(("cat",), "found 1"), ((), "a dataset needs one folder per class")],
    ids=["one class", "an empty folder"],
)
def test_a_folder_that_cannot_be_trained_on_ends_in_one_line(classes, told, small, tmp_path):
    (tmp_path / "data").mkdir()
    if classes:
        write_image_folder(tmp_path / "data", colours=dict.fromkeys(classes, (9, 9, 9)))
    workflow = Workflow("bad")
    add_train(workflow, small)
    workflow.set_directory_input(folder=str(tmp_path / "data"))

    assert told in first_line_of_error(workflow)


def test_an_earlier_result_does_not_outlive_a_failure(trained, tmp_path, data):
    trained.workflow.set_directory_input(folder=str(tmp_path), index=0)

    first_line_of_error(trained.workflow)

    assert trained.task.get_output(0).get_path() == ""
    assert details_of(trained.task) == {}


def test_unreadable_images_are_named_in_the_log(small, tmp_path, capsys):
    folder = write_image_folder(tmp_path / "data", per_class=10)
    (folder / "red" / "broken.jpg").write_bytes(b"")

    train_on(folder, {**small, "epochs": 1, "max_bad": 0.5})

    assert re.search(r"broken\.jpg.*empty", capsys.readouterr().out)


# ------------------------------------------------------------------ parameters


@pytest.mark.parametrize(("called", "name"), [("mnasnet", ""), ("resnet18", "resnet18")])
def test_a_workflow_file_of_release_1_still_loads(called, name, tmp_path):
    """All its parameters are understood; its output folder, which updates delete, is not used any more. The name of its
    model only named the file."""
    workflow = Workflow("old")
    add_train(workflow, {})
    file = tmp_path / "old.json"
    workflow.save(str(file))
    content = json.loads(file.read_text())
    plugin = Path.home() / "Ikomia" / "Plugins" / "Python" / NAME
    old = {
        "model_name": called,
        "batch_size": "8",
        "epochs": "15",
        "learning_rate": "0.001",
        "momentum": "0.9",
        "weight_decay": "0.0001",
        "num_workers": "0",
        "input_size": "224",
        "use_pretrained": "True",
        "feature_extract": "True",
        "export_pth": "True",
        "export_onnx": "False",
        "output_folder": f"{plugin}/models/",
    }
    for task in content["tasks"]:
        if task["task_data"]["name"] == NAME:
            task["task_data"]["parameters"] = [{"name": name, "value": value} for name, value in old.items()]
    file.write_text(json.dumps(content))

    loaded = ikomia_workflow.load(str(file))

    settings = loaded.find_task(NAME, 0).get_param_object().settings
    assert settings == TrainSettings(
        model_name="mnasnet1_0",
        batch_size=8,
        learning_rate=0.001,
        momentum=0.9,
        weight_decay=0.0001,
        input_size=224,
        feature_extract=True,
        export_pth=True,
        output_folder=f"{plugin}/models/",
        name=name,
    )


@pytest.mark.slow
def test_another_folder_takes_the_place_of_the_first_by_its_index_and_the_log_names_it(data, small, tmp_path, capfd):
    other = write_image_folder(tmp_path / "others", per_class=8)
    workflow = Workflow("twice")
    task = add_train(workflow, {**small, "epochs": 1})
    workflow.set_directory_input(folder=str(data))
    workflow.set_directory_input(folder=str(other))  # Ikomia adds a second input, the task keeps its first
    workflow.run()
    assert f"\n{data}: 3 classes" in capfd.readouterr().out

    workflow.set_directory_input(folder=str(other), index=0)
    workflow.run()
    assert f"\n{other}: 3 classes" in capfd.readouterr().out

    workflow.clear_inputs()
    workflow.set_directory_input(folder=str(data))
    workflow.run()
    assert f"\n{data}: 3 classes" in capfd.readouterr().out
    assert model_of(task).parent.parent.name.startswith(data.name)


def test_models_are_never_kept_in_the_plugin_which_updates_delete(data, small):
    plugin = Path.home() / "Ikomia" / "Plugins" / "Python" / NAME

    task = train_on(data, {**small, "epochs": 1, "output_folder": f"{plugin}/models/"})

    assert model_of(task).is_relative_to(Path.home() / "Ikomia" / "Data")
    assert not (plugin / "models").exists()


# ------------------------------------------------------------------ tracking


def mlflow_runs(uri, experiment=NAME):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    return [] if found is None else client.search_runs([found.experiment_id])


def eventually(condition, seconds=60.0):
    """The first true answer of ``condition``, asked until time is over."""
    end = time.monotonic() + seconds
    while not (answer := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return answer


def test_mlflow_files_of_ikomia_hold_parameters_and_curves_whatever_classes_are_called(small, tmp_path):
    from mlflow.tracking import MlflowClient

    from mnasnet.plugin.training import local_mlflow_uri

    folder = write_image_folder(tmp_path / "C# & café", colours=ODD_NAMES, per_class=8)

    task = train_on(folder, {**small, "tracking": "local"})

    runs = eventually(lambda: [run for run in mlflow_runs(local_mlflow_uri()) if run.info.status == "FINISHED"])
    assert set(load(model_of(task)).class_names) == set(ODD_NAMES)
    assert runs[0].data.metrics["val_accuracy"] == pytest.approx(details_of(task)["history"][-1]["val_accuracy"])
    parameters = runs[0].data.params
    assert (parameters["epochs"], parameters["batch_size"], parameters["input_size"]) == ("2", "8", "32")
    assert (parameters["data"], parameters["model"]) == (str(folder), small["model_weight_file"])
    assert float(parameters["learning_rate"]) > 0
    of_classes = {name for name in runs[0].data.metrics if name.startswith("recall/")}
    assert len(of_classes) == len(ODD_NAMES)
    kept = {file.path for file in MlflowClient(local_mlflow_uri()).list_artifacts(runs[0].info.run_id)}
    assert {"best.safetensors", "report.html", "results.png", "confusion_matrix.png", "classes.txt"} <= kept


@pytest.mark.slow
def test_a_dead_server_neither_stops_nor_slows_a_training(small, data):
    quiet = train_on(data, small)

    began = time.monotonic()
    task = train_on(data, {**small, "tracking": "http://127.0.0.1:9"})

    assert details_of(task)["status"] == "done"
    assert details_of(task)["val_accuracy"] == details_of(quiet)["val_accuracy"]
    assert time.monotonic() - began < 60  # MLflow's client itself tries for minutes


def test_a_stop_with_a_dead_server_is_quick_too(small, data):
    workflow = Workflow("dead")
    task = add_train(workflow, {**small, "epochs": 200, "tracking": "http://127.0.0.1:9"})
    workflow.set_directory_input(folder=str(data))

    assert stop_after_an_epoch(workflow, task) < 5


@pytest.mark.slow
def test_a_tracking_uri_that_means_nothing_costs_one_warning(small, data, capsys):
    task = train_on(data, {**small, "epochs": 1, "tracking": "nonsense://there"})

    assert details_of(task)["status"] == "done"
    assert capsys.readouterr().out.count("MLflow hears no more of this training") == 1


def test_tensorboard_files_lie_where_ikomia_looks_for_them(small, data):
    train_on(data, {**small, "epochs": 1, "tensorboard": True})

    files = eventually(lambda: list((Path.home() / "Ikomia" / "Tensorboard").glob("colours*/events.out.tfevents*")))
    assert len(files) == 1


def test_without_mlflow_on_the_path_a_process_of_its_own_trains_and_starts_nothing(small, data):
    """A plain script: no pytest, PATH empty, the main thread trains with two threads right after import ikomia."""
    code = (
        "import sys, ikomia\n"
        "from ikomia.dataprocess.workflow import Workflow\n"
        "starts = ('subprocess.Popen', 'os.fork', 'os.posix_spawn', 'os.system', 'socket.bind', 'socket.connect')\n"
        "started = []\n"
        "def hear(event, about):\n"
        # torch asks where libraries are, Matplotlib for fonts
        "    if event in starts and not any(name in str(about) for name in ('ldconfig', 'fc-list')):\n"
        "        started.append((event, str(about[:2])))\n"
        "sys.addaudithook(hear)\n"
        "workflow = Workflow('script')\n"
        f"task = workflow.add_task(name='{NAME}', auto_connect=True, public_hub=False)\n"
        f"task.set_parameters({small!r})\n"
        f"workflow.set_directory_input(folder={str(data)!r})\n"
        "workflow.run()\n"
        "print('started', started)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in UNCURED}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment["PATH"] = ""

    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "started []" in done.stdout
    assert re.search(r"^epoch 2/2: train loss .* val accuracy", done.stdout, re.MULTILINE)
    assert re.search(r"^model: .*best\.safetensors$", done.stdout, re.MULTILINE)
