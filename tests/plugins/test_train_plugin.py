from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ikomia")

import ikomia  # noqa: F401  # before cv2, as in every Ikomia program
from ikomia.dataprocess.registry import ik_registry

from mnasnet.errors import SettingsError
from mnasnet.modelfile import save
from mnasnet.plugin.long_task import output_folder
from mnasnet.plugin.printing import lines_on_stdout
from mnasnet.plugin.training import (
    CLASSES,
    DETAILS,
    MODEL,
    Tracking,
    clear_outputs,
    local_mlflow_uri,
    show_run,
    tracking,
)
from mnasnet.settings import TrainSettings, markdown_old_names, markdown_table
from mnasnet.testing import coloured_image, random_model, write_image_folder
from mnasnet.train.evaluate import evaluate
from mnasnet.train.events import Ended, EpochEnded, Opened, Started, failures_told
from mnasnet.train.listeners import MlflowRun, metric_name
from mnasnet.train.run import TrainedRun
from mnasnet.train.run_folder import write_yaml
from tests.plugins.own_process import ROOT, run_python

pytestmark = pytest.mark.ikomia

NAME = "train_torchvision_mnasnet"
FOLDER = ROOT / NAME
README = (FOLDER / "README.md").read_text(encoding="utf-8")
OLD_PARAMETERS = {
    "model_name": "mnasnet",
    "batch_size": "8",
    "epochs": "15",
    "learning_rate": "0.001",
    "momentum": "0.9",
    "weight_decay": "0.0001",
    "num_workers": "2",
    "input_size": "224",
    "use_pretrained": "True",
    "feature_extract": "True",
    "export_pth": "True",
    "export_onnx": "True",
    "output_folder": "/models",
}


@pytest.fixture
def task():
    return ik_registry.create_algorithm(NAME, public_hub=False)


# ------------------------------------------------------------------ README


def test_the_readmes_parameter_table_is_the_settings_model():
    assert markdown_table(TrainSettings) in README
    assert markdown_old_names(TrainSettings) in README


def test_the_readmes_parameters_are_those_of_the_task(task):
    documented = dict(re.findall(r"^\| \*\*(\w+)\*\* \| \w+ \| `'(.*?)'` \|", README, flags=re.MULTILINE))
    old_names = set(TrainSettings.old_names())

    values = {name: text for name, text in task.get_parameters().items() if name not in old_names}

    assert values == documented


def test_the_readmes_example_parameters_are_accepted(task):
    (block,) = re.findall(r"train\.set_parameters\(\s*(\{.*?\})\s*\)", README, flags=re.DOTALL)
    values = eval(block, {})  # our own README

    task.set_parameters(values)

    assert {name: task.get_parameters()[name] for name in values} == {name: str(v) for name, v in values.items()}


def test_the_readmes_parameters_for_what_release_1_trained_are_those_of_release_1(task):
    (text,) = re.findall(r"^`(\{.*?\})`", README, flags=re.MULTILINE)
    values = eval(text, {})  # our own README

    task.set_parameters(OLD_PARAMETERS)

    assert values == {name: getattr(task.get_param_object().settings, name) for name in values}


def test_the_readmes_workflows_run_with_nothing_but_the_two_paths(tmp_path, capsys):
    folder = write_image_folder(tmp_path / "data", per_class=6)
    coloured_image((200, 40, 40)).save(tmp_path / "photo.jpg")
    blocks = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    namespace: dict = {}

    for block in blocks:
        if "set_parameters(\n" in block:  # would fetch published weights
            continue
        code = block.replace("path/to/your/folder", str(folder))
        exec(code.replace("path/to/your/image.jpg", str(tmp_path / "photo.jpg")), namespace)

    assert len(blocks) == 5
    assert len(namespace["infer"].get_results()) == 3


# ------------------------------------------------------------------ loading


def test_creating_the_task_starts_nothing_even_without_mlflow_on_the_path():
    """``import ikomia`` creates every installed task when it refreshes its completion file."""
    output = run_python(
        "import sys, ikomia\n"
        "from ikomia.dataprocess.registry import ik_registry\n"
        "starts = ('subprocess.Popen', 'os.fork', 'os.posix_spawn', 'os.system', 'socket.bind', 'socket.connect')\n"
        "started = []\n"
        "sys.addaudithook(lambda event, _: started.append(event) if event in starts else None)\n"
        f"task = ik_registry.create_algorithm('{NAME}', public_hub=False)\n"
        "heavy = ('torch', 'torchvision', 'optuna', 'mlflow', 'pandas')\n"  # mlflow alone takes seconds
        "print('loaded', [name for name in heavy if name in sys.modules])\n"
        "print('started', started)\n",
        PATH="",
    )

    assert "loaded []" in output
    assert "started []" in output


def test_ikomias_completion_class_is_valid_python_and_takes_old_names(task):
    """What Ikomia writes into its own package for ``from ikomia.utils import ik``."""
    from ikomia.utils.autocomplete import AutoComplete

    written = io.StringIO()
    unregistered = AutoComplete.__new__(AutoComplete)  # its constructor would rewrite Ikomia's package from then on
    unregistered._write_auto_complete(written, task=task, local=True)
    namespace = {"ik_registry": ik_registry}
    exec(written.getvalue(), namespace)

    created = namespace[NAME](**OLD_PARAMETERS)

    assert created.get_param_object().settings.model_name == "mnasnet1_0"
    assert created.get_param_object().settings.input_size == 224


# ------------------------------------------------------------------ parameters


def test_every_parameter_of_release_1_is_understood(task):
    task.set_parameters(OLD_PARAMETERS)

    assert task.get_param_object().settings == TrainSettings(
        model_name="mnasnet1_0",
        batch_size=8,
        learning_rate=0.001,
        momentum=0.9,
        weight_decay=0.0001,
        input_size=224,
        feature_extract=True,
        export_pth=True,
        export_onnx=True,
        output_folder="/models",
    )


def test_unknown_and_wrong_parameters_raise_and_change_nothing(task):
    before = task.get_parameters()

    with pytest.raises(
        SettingsError, match=r"unknown parameter 'epoch' \(did you mean epochs\?\); valid are model_name"
    ):
        task.set_parameters({"epoch": 3})
    with pytest.raises(SettingsError, match="learning_rate must be a number from 0 to 10, got 'fast'"):
        task.set_parameters({"epochs": "2", "learning_rate": "fast"})

    assert task.get_parameters() == before


# ------------------------------------------------------------------ folders, log lines, tracking


def test_run_folders_go_to_ikomias_data_folder(tmp_path):
    default = Path.home() / "Ikomia" / "Data" / NAME

    assert output_folder(TrainSettings(), FOLDER) == default
    assert output_folder(TrainSettings(output_folder="~/models"), FOLDER) == Path.home() / "models"
    assert output_folder(TrainSettings(output_folder="~no-such-user/models"), FOLDER) == Path("~no-such-user/models")
    assert output_folder(TrainSettings(output_folder=str(tmp_path)), FOLDER) == tmp_path


@pytest.mark.parametrize("inside", ["", "models", "models/deep"])
def test_the_plugin_is_no_place_for_models(inside):
    linked = Path.home() / "Ikomia" / "Plugins" / "Python" / NAME

    for plugin in (FOLDER, linked):
        settings = TrainSettings(output_folder=str(plugin / inside))

        assert output_folder(settings, linked) == Path.home() / "Ikomia" / "Data" / NAME


@pytest.mark.parametrize(
    "inside", ["Python/infer_torchvision_mnasnet/models", "Python/train_yolo", "C++/x", "Python/../mine", ""]
)
def test_no_folder_of_ikomias_plugins_is_a_place_for_models(caplog, inside):
    chosen = Path("~/Ikomia/Plugins") / inside

    folder = output_folder(TrainSettings(output_folder=str(chosen)), FOLDER)

    assert folder == Path.home() / "Ikomia" / "Data" / NAME
    assert str(chosen.expanduser()) in caplog.text and str(folder) in caplog.text


def test_a_folder_beside_ikomias_plugins_may_be_chosen():
    chosen = Path.home() / "Ikomia" / "Plugins of mine"

    assert output_folder(TrainSettings(output_folder=str(chosen)), FOLDER) == chosen


def test_our_log_lines_are_printed_while_a_task_runs_and_not_after(capsys):
    import logging

    logger = logging.getLogger("mnasnet.train")
    with lines_on_stdout():
        logger.info("epoch 1")
        logger.warning("beware")
    logger.info("epoch 2")

    assert capsys.readouterr().out == "epoch 1\nwarning: beware\n"


def test_our_log_lines_are_printed_once_while_two_tasks_run_and_until_the_last_ends(capsys):
    import logging

    logger = logging.getLogger("mnasnet.train")
    first, second = lines_on_stdout(), lines_on_stdout()
    first.__enter__()
    second.__enter__()
    logger.info("both")
    first.__exit__(None, None, None)  # begun first, ended first: as threads do
    logger.info("the second")
    second.__exit__(None, None, None)
    logger.info("none")

    assert capsys.readouterr().out == "both\nthe second\n"
    assert logging.getLogger("mnasnet").propagate and not logging.getLogger("mnasnet").level


def test_the_outputs_tell_the_true_class_by_row_and_are_cleared_for_the_next_run(task, tmp_path):
    (tmp_path / "weights").mkdir()
    save(random_model(class_names=("cat", "dog", "fox")), tmp_path / "weights/best.safetensors")
    called_cat = np.tile(np.float32([1, 0, 0]), (3, 1))
    evaluation = evaluate(called_cat, np.array([0, 1, 1]), ("cat", "dog", "fox"))

    show_run(task, TrainedRun(tmp_path, "done", "", (), evaluation, evaluation.class_names))

    assert json.loads(task.get_output(DETAILS).to_json())["confusion"] == [[1, 0, 0], [2, 0, 0], [0, 0, 0]]
    assert json.loads(task.get_output(CLASSES).to_json())["values"][2] == ["1.000", "0.000", "-"]  # recall
    assert task.get_output(MODEL).get_path() == str(tmp_path / "weights/best.safetensors")

    clear_outputs(task)

    assert task.get_output(MODEL).get_path() == "" and task.get_output(DETAILS).data == {}
    assert "cat" not in task.get_output(CLASSES).to_json()


def test_a_training_that_failed_is_marked_as_failed(tmp_path):
    from mlflow.tracking import MlflowClient  # here, since its import would take most of the time that a service gets

    row = {"epoch": 1, "café & co": 0.5, "val_loss": float("nan"), "learning_rate": 0.1}
    services = Tracking([lambda _: MlflowRun(tmp_path.as_uri(), "e", "café & co: C# (50 %)")])

    with pytest.raises(RuntimeError), failures_told([services]):
        services.hear(Opened(tmp_path / "run"))
        services.hear(Started(2, 0, (), {"C#": "x" * 900}))
        services.hear(EpochEnded(row, 2, True, (row,)))
        raise RuntimeError("boom")

    client = MlflowClient(tmp_path.as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    assert run.info.status == "FAILED"
    assert run.data.metrics[metric_name("café & co")] == 0.5


def test_a_training_that_never_began_tells_nobody(tmp_path):
    services = Tracking([lambda _: MlflowRun(tmp_path.as_uri(), "e", "r")])

    with pytest.raises(RuntimeError), failures_told([services]):
        raise RuntimeError("no such folder")

    assert list(tmp_path.iterdir()) == []


def test_a_resumed_training_goes_on_in_its_folder_of_tensorboard(tmp_path):
    for name in ("meadow", "meadow2"):  # the images, then the run
        sitting = tracking(TrainSettings(tensorboard=True), tmp_path / name)
        for event in (Opened(tmp_path / "meadow2"), Started(2, 0, (), {}), Ended("stopped", "stopped on request", ())):
            sitting.hear(event)

    (kept,) = (Path.home() / "Ikomia" / "Tensorboard").glob("meadow*")
    assert kept.name.startswith("meadow_")


def test_a_training_is_called_by_its_name_in_mlflow_and_tensorboard(tmp_path):
    from mlflow.tracking import MlflowClient

    uri = (tmp_path / "mlruns").as_uri()
    services = tracking(TrainSettings(name="poppies", tracking=uri, tensorboard=True), tmp_path / "data")
    for event in (Opened(tmp_path / "poppies"), Started(2, 0, (), {}), Ended("done", "all epochs", ())):
        services.hear(event)

    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("train_torchvision_mnasnet").experiment_id])
    assert run.info.run_name.startswith("poppies_")
    assert list((Path.home() / "Ikomia" / "Tensorboard").glob("poppies_*"))


def test_a_resumed_training_that_mlflow_first_hears_of_is_logged_with_its_settings(tmp_path):
    from mlflow.tracking import MlflowClient

    uri = (tmp_path / "mlruns").as_uri()
    write_yaml(tmp_path / "meadow" / "args.yaml", {"asked": {"data": "photos", "epochs": 7, "output_folder": "runs"}})
    settings = TrainSettings(resume_folder=str(tmp_path / "meadow"), tracking=uri)
    services = tracking(settings, tmp_path / "meadow")
    for event in (Opened(tmp_path / "meadow"), Started(2, 0, (), {}), Ended("done", "all epochs", ())):
        services.hear(event)

    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("train_torchvision_mnasnet").experiment_id])
    assert {"data": "photos", "epochs": "7"}.items() <= run.data.params.items()


def test_ikomias_own_mlflow_files_are_meant_by_local():
    assert local_mlflow_uri() == (Path.home() / "Ikomia" / "MLflow").as_uri()


# ------------------------------------------------------------------ HUB CI


def test_the_hubs_test_entry_passes(task, tmp_path):
    from train_torchvision_mnasnet.train_torchvision_mnasnet_test import test as hub_entry

    save(random_model(class_names=("a", "b")), tmp_path / "small.safetensors")
    task.set_parameters({"model_weight_file": str(tmp_path / "small.safetensors")})
    folder = write_image_folder(tmp_path / "data", splits=("train", "val"))

    results = list(hub_entry(task, {"datasets": {"classification": {"dataset_classification": str(folder)}}}))

    assert [status for _, status in results] == ["OK"] * 2
