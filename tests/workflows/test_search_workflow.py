from __future__ import annotations

import builtins
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("ikomia")

import ikomia  # noqa: F401  # before cv2, as in every Ikomia program
from ikomia.dataprocess import workflow as ikomia_workflow
from ikomia.dataprocess.workflow import Workflow

from mnasnet.data.images import read_image
from mnasnet.modelfile import load
from mnasnet.plugin.long_task import PROGRESS_STEPS
from mnasnet.testing import coloured_image, write_image_folder
from tests.tiny_search import SPACE_FILE
from tests.workflows.outputs import details_of, table_of

pytestmark = [pytest.mark.ikomia, pytest.mark.usefixtures("quick_latencies")]

ROOT = Path(__file__).parent.parent.parent
NAME = "search_mnasnet"
STOP_S = 10.0  # after a stop the search has ended
SMALL = {
    "space": str(SPACE_FILE),
    "minutes": 0,
    "cost": "multiply_adds",
    "target_cost": 1e9,
    "input_size": 32,
    "proxy_epochs": 1,
    "finalists": 2,
    "finalist_epochs": 1,
    "final_epochs": 2,
    "references": False,
    "profile": False,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Three colours without a split."""
    return write_image_folder(tmp_path_factory.mktemp("colours") / "colours", per_class=10)


def add_search(workflow, **parameters):
    task = workflow.add_task(name=NAME, auto_connect=True, public_hub=False)
    task.set_parameters({**SMALL, **parameters})
    return task


def chained(data, **parameters):
    """Folder and photo in, the photo's class by the network that was found out."""
    workflow = Workflow("chain")
    workflow.set_directory_input(folder=str(data))
    workflow.set_image_input(array=np.array(coloured_image((200, 40, 40), seed=99)))
    search = add_search(workflow, **parameters)
    infer = workflow.add_task(name="infer_torchvision_mnasnet", auto_connect=True, public_hub=False)
    return workflow, search, infer


@pytest.fixture(scope="module")
def searched(data):
    """One search whose every output is looked at, and the inference behind it."""
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    steps = []
    workflow, search, infer = chained(data, trials=3, cost="latency", target_cost=0, target_latency_ms=1000)
    workflow.connect_tasks(workflow.root(), infer, [(1, 0)])
    search.emit_step_progress = lambda: steps.append(1)  # shadows the C++ method
    workflow.run()
    after = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    folder = Path(details_of(search)["run"])
    return SimpleNamespace(search=search, infer=infer, steps=steps, before=before, after=after, folder=folder)


# ------------------------------------------------------------------ what a search leaves


def test_inference_in_the_next_step_classifies_with_the_winner(searched):
    model = load(Path(searched.search.get_output(0).get_path()))

    names = [name for name, _ in searched.infer.get_results()]
    assert sorted(names) == list(model.class_names) == ["blue", "green", "red"]
    assert json.loads(searched.infer.get_output(4).to_json())["model"] == model.name


def test_the_model_file_lies_in_ikomias_data_folder(searched):
    expected = Path.home() / "Ikomia" / "Data" / NAME / "colours" / "weights" / "best.safetensors"

    assert Path(searched.search.get_output(0).get_path()) == expected


def test_trade_offs_and_curve_are_images(searched):
    for index, name in ((1, "pareto.png"), (2, "progress.png")):
        np.testing.assert_array_equal(read_image(searched.folder / name), searched.search.get_output(index).get_image())


def test_the_best_trade_offs_are_a_table(searched):
    table = table_of(searched.search.get_output(3))

    assert list(table)[:2] == ["top-1 accuracy", "latency"]
    networks = details_of(searched.search)["pareto"]["networks"]
    assert set(table["latency"]) == {f"trial {network['trial']}" for network in networks}
    assert all(text.endswith(" ms") for text in table["latency"].values())


def test_finalists_and_winner_are_a_table_that_keeps_validation_and_test_apart(searched):
    table = table_of(searched.search.get_output(4))

    winners = [name for name in table["test"] if name.endswith("(winner)")]
    finalists = [name for name in table["test"] if name.endswith("(finalist)")]
    assert (len(winners), len(finalists)) == (1, 2)
    assert table["test"][winners[0]].endswith("%")
    assert {table["test"][name] for name in finalists} == {"-"}


def test_the_json_output_tells_the_whole_story(searched):
    details = details_of(searched.search)

    assert (details["status"], details["trials"]) == ("done", 3)
    assert Path(details["report"]).is_file()


def test_the_progress_bar_ends_exactly_full(searched):
    assert searched.search.get_progress_steps() == PROGRESS_STEPS == sum(searched.steps)


def test_neither_dataset_nor_plugin_is_written_to(searched):
    assert searched.before == searched.after
    left = [path for path in (ROOT / NAME).rglob("*") if path.suffix not in (".py", ".pyc", ".md", ".txt")]
    assert [path.name for path in left if path.name != "__pycache__"] == []


# ------------------------------------------------------------------ workflows


def test_a_finished_search_in_a_loaded_workflow_answers_at_once(searched, data, tmp_path):
    workflow, _, infer = chained(data, resume_folder=str(searched.folder))
    workflow.connect_tasks(workflow.root(), infer, [(1, 0)])
    workflow.save(str(tmp_path / "chain.json"))

    loaded = ikomia_workflow.load(str(tmp_path / "chain.json"))
    loaded.set_directory_input(folder=str(data), index=0)
    loaded.set_image_input(array=np.array(coloured_image((40, 40, 200))), index=1)
    loaded.run()

    assert len(loaded.find_task("infer_torchvision_mnasnet", 0).get_results()) == 3


def test_an_image_in_the_place_of_the_folder_is_no_folder():
    workflow = Workflow("image")
    add_search(workflow, trials=1)

    with pytest.raises(RuntimeError, match="there is no folder to train on; connect a dataset task"):
        workflow.run_on(array=np.zeros((20, 20, 3), np.uint8))


def test_a_chart_is_not_mistaken_for_a_photo(searched, data):
    """Ikomia's automatic connection takes the picture of the trade-offs for the image to classify."""
    workflow, search, _ = chained(data, resume_folder=str(searched.folder))

    with pytest.raises(RuntimeError) as caught:
        workflow.run()

    assert "wf.connect_tasks(wf.root(), task, [(1, 0)])" in str(caught.value).splitlines()[0]
    assert Path(search.get_output(0).get_path()).is_file()


def test_without_a_folder_the_next_step_is_told():
    workflow = Workflow("nothing")
    add_search(workflow, trials=1)

    with pytest.raises(RuntimeError, match=r"there is no folder to train on; connect a dataset task or call"):
        workflow.run()


def test_a_search_that_finds_nothing_still_shows_what_it_tried(data):
    workflow = Workflow("nothing")
    workflow.set_directory_input(folder=str(data))
    task = add_search(workflow, trials=2, target_cost=1000, algorithm="random", name="nothing")

    with pytest.raises(RuntimeError, match=r"no network met the limits; the nearest is trial \d+ with multiply-adds"):
        workflow.run()

    details = details_of(task)
    tried = {row.split(",")[1] for row in (Path(details["run"]) / "trials.csv").read_text().splitlines()[1:]}
    assert details["status"] == "infeasible" and tried == {"infeasible"}
    assert details["counts"]["infeasible"] > 0 and sum(details["counts"].values()) == details["trials"]
    assert details["model"] is None
    assert task.get_output(0).get_path() == ""
    for output, name in ((1, "pareto.png"), (2, "progress.png")):
        np.testing.assert_array_equal(read_image(Path(details["run"]) / name), task.get_output(output).get_image())
    assert table_of(task.get_output(3)) == table_of(task.get_output(4)) == {}


# ------------------------------------------------------------------ stop, go on


def test_a_search_stopped_before_its_first_trial_runs_when_the_workflow_runs_again(data, capsys):
    workflow = Workflow("stopped early")
    workflow.set_directory_input(folder=str(data))
    task = add_search(workflow, trials=1, finalists=0, final_epochs=1, name="stopped early")

    def stop_at_once(begin=task.begin_task_run):
        begin()
        del task.begin_task_run
        stopper = threading.Thread(target=workflow.stop)
        stopper.start()
        stopper.join()

    task.begin_task_run = stop_at_once
    with pytest.raises(RuntimeError, match="Stop workflow requested"):
        workflow.run()
    assert "stopped before the first trial; nothing is left behind, start again" in capsys.readouterr().out

    workflow.run()

    assert details_of(task)["status"] == "done"


def test_a_stop_while_torch_is_being_loaded_is_heard(data, monkeypatch):
    """The first search of a session takes seconds for that."""
    workflow = Workflow("stopped while loading")
    workflow.set_directory_input(folder=str(data))
    task = add_search(workflow, trials=1, finalists=0, final_epochs=1, name="stopped while loading")
    load, stopped = builtins.__import__, []

    def stop_while_loading(name, *rest):
        if name == "mnasnet.search.run" and not stopped:
            stopped.append(name)
            task.stop()
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", stop_while_loading)
    workflow.run()

    assert stopped
    assert not details_of(task)


def test_a_stop_keeps_every_trial_and_running_again_goes_on(data):
    workflow = Workflow("stopped")
    workflow.set_directory_input(folder=str(data))
    task = add_search(workflow, trials=2, finalists=0, final_epochs=1, name="stopped")
    stopped_at: list[float] = []

    def stop_in_the_second_trial(step=task.emit_step_progress):
        step()
        if not stopped_at:
            stopped_at.append(time.monotonic())
            threading.Thread(target=workflow.stop).start()

    task.emit_step_progress = stop_in_the_second_trial  # the first step is the end of a trial
    with pytest.raises(RuntimeError, match="Stop workflow requested"):
        workflow.run()
    took_s = time.monotonic() - stopped_at[0]
    stopped = details_of(task)

    workflow.run()

    assert took_s < STOP_S
    assert (stopped["status"], stopped["model"]) == ("stopped", None)
    assert stopped["trials"] == 1
    finished = details_of(task)
    assert (finished["status"], finished["trials"], finished["run"]) == ("done", 2, stopped["run"])


def stopped_at_the_first_step(workflow, task):
    """What ``task`` reports of a search that was stopped at its first step."""
    step = task.emit_step_progress

    def stop():
        step()
        task.emit_step_progress = step
        threading.Thread(target=workflow.stop).start()

    task.emit_step_progress = stop
    with pytest.raises(RuntimeError, match="Stop workflow requested"):
        workflow.run()
    return details_of(task)


@pytest.mark.slow
def test_a_stopped_search_whose_images_went_gives_way_to_a_new_one(data, tmp_path, capsys):
    images = Path(shutil.copytree(data, tmp_path / "images"))
    workflow = Workflow("changed images")
    workflow.set_directory_input(folder=str(images))
    task = add_search(workflow, trials=1, finalists=0, final_epochs=1, name="changed")
    stopped = stopped_at_the_first_step(workflow, task)

    for folder in images.rglob("red"):
        shutil.rmtree(folder)
    workflow.run()

    assert details_of(task)["status"] == "done"
    assert details_of(task)["run"] != stopped["run"]
    assert f"a new run begins, {stopped['run']} cannot go on: the classes in" in capsys.readouterr().out


@pytest.mark.slow
def test_a_stopped_search_with_other_parameters_gives_way_to_a_new_one_and_says_how_it_goes_on(data, capsys):
    workflow = Workflow("changed parameters")
    workflow.set_directory_input(folder=str(data))
    task = add_search(workflow, trials=1, finalists=0, final_epochs=1, name="changed")
    stopped = stopped_at_the_first_step(workflow, task)

    task.set_parameters({"seed": 1})
    workflow.run()

    assert details_of(task)["status"] == "done"
    assert details_of(task)["run"] != stopped["run"]
    assert f"to go on with {stopped['run']} set resume_folder to it" in capsys.readouterr().out


@pytest.mark.slow
def test_a_search_in_a_fresh_ikomia_does_not_hang(data, tmp_path):
    """After ``import ikomia`` the first backward pass of the main thread would wait for ever."""
    code = (
        "import ikomia\n"
        "from ikomia.dataprocess.workflow import Workflow\n"
        "workflow = Workflow('w')\n"
        f"task = workflow.add_task(name='{NAME}', auto_connect=True, public_hub=False)\n"
        f"task.set_parameters({ {**SMALL, 'trials': 2, 'train_threads': 2, 'output_folder': str(tmp_path)}!r})\n"
        f"workflow.set_directory_input(folder={str(data)!r})\n"
        "workflow.run()\n"
        "print('MODEL', task.get_output(0).get_path())\n"
    )
    uncured = ("OMP_NUM_THREADS", "OPENCV_FOR_OPENMP_DYNAMIC_DISABLE")
    environment = {name: value for name, value in os.environ.items() if name not in uncured}
    environment["PYTHONPATH"] = str(ROOT)

    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=240, check=False
    )

    assert f"MODEL {tmp_path}" in done.stdout, done.stdout + done.stderr
