from __future__ import annotations

import json
import re
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

pytest.importorskip("ikomia")

import ikomia  # noqa: F401  # before cv2, as in every Ikomia program
from ikomia.dataprocess.registry import ik_registry
from ikomia.dataprocess.workflow import Workflow

from mnasnet.errors import DataError, SettingsError
from mnasnet.plugin.long_task import PROGRESS_STEPS, StepBar, output_folder, resumed
from mnasnet.plugin.searching import DETAILS, NETWORKS, TRAINED, SearchBar, clear_outputs, show_search
from mnasnet.search.folder import SearchFolderError
from mnasnet.search.progress import Progress
from mnasnet.search.records import TrialRecord
from mnasnet.search.run import SearchedRun
from mnasnet.settings import SearchSettings, markdown_table
from mnasnet.testing import coloured_image, write_image_folder
from mnasnet.train.run_folder import RunFolderError
from tests.plugins.own_process import ROOT, run_python
from tests.search.answers import searched

pytestmark = pytest.mark.ikomia

NAME = "search_mnasnet"
FOLDER = ROOT / NAME
README = (FOLDER / "README.md").read_text(encoding="utf-8")
SHORT = (
    '{"space": "tiny", "trials": 2, "minutes": 0, "target_latency_ms": 1000, "input_size": 32, "proxy_epochs": 1, '
    '"finalists": 0, "final_epochs": 1, "references": False, "profile": False}'
)


@pytest.fixture
def task():
    return ik_registry.create_algorithm(NAME, public_hub=False)


# ------------------------------------------------------------------ README


def test_the_readmes_parameter_table_is_the_settings_model():
    assert markdown_table(SearchSettings) in README


def test_the_readmes_parameters_are_those_of_the_task(task):
    documented = dict(re.findall(r"^\| \*\*(\w+)\*\* \| \w+ \| `'(.*?)'` \|", README, flags=re.MULTILINE))

    assert task.get_parameters() == documented


@pytest.mark.slow
def test_the_readmes_workflows_run_with_nothing_but_paths_and_a_small_budget(tmp_path):
    folder = write_image_folder(tmp_path / "data", per_class=10)
    coloured_image((200, 40, 40)).save(tmp_path / "photo.jpg")
    blocks = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    namespace: dict = {}

    for block in blocks:
        code = block.replace("path/to/your/folder", str(folder))
        code = code.replace('{"target_latency_ms": 1.5, "minutes": 60}', SHORT)
        exec(code.replace("path/to/your/image.jpg", str(tmp_path / "photo.jpg")), namespace)

    assert len(blocks) == 4
    assert len(namespace["infer"].get_results()) == 3


# ------------------------------------------------------------------ loading


def test_creating_the_task_starts_nothing():
    """``import ikomia`` creates every installed task when it refreshes its completion file."""
    output = run_python(
        "import sys, ikomia\n"
        "from ikomia.dataprocess.registry import ik_registry\n"
        f"task = ik_registry.create_algorithm('{NAME}', public_hub=False)\n"
        "print('loaded', [name for name in ('torch', 'torchvision', 'optuna', 'matplotlib') if name in sys.modules])\n"
    )

    assert "loaded []" in output


# ------------------------------------------------------------------ parameters, folders, progress


def test_typed_parameters_are_taken(task):
    task.set_parameters({"target_latency_ms": 7.5, "minutes": 30, "flip": False, "space": "tiny"})

    assert task.get_param_object().settings == SearchSettings(
        target_latency_ms=7.5, minutes=30, flip=False, space="tiny"
    )


def test_unknown_and_wrong_parameters_raise_and_change_nothing(task):
    before = task.get_parameters()

    with pytest.raises(SettingsError, match=r"unknown parameter 'minute' \(did you mean minutes\?\)"):
        task.set_parameters({"minute": 3})
    with pytest.raises(SettingsError, match="algorithm must be one of guided, ppo, .*, got 'magic'"):
        task.set_parameters({"minutes": "2", "algorithm": "magic"})
    for name, wrong in {"meter": "gpu", "objectives": "speed", "space": "big", "minutes": "inf"}.items():
        with pytest.raises(SettingsError, match=f"{name} must be .*, got '{wrong}'"):
            task.set_parameters({"trials": "2", name: wrong})

    assert task.get_parameters() == before


def test_none_as_the_workflow_hands_it_over_is_no_folder():
    workflow = Workflow("none")
    task = workflow.add_task(name=NAME, auto_connect=True, public_hub=False)
    task.set_parameters({"resume_folder": "/runs/first"})

    workflow.set_parameters({"resume_folder": None}, task_name=NAME)

    assert task.get_parameters()["resume_folder"] == ""


def test_run_folders_go_to_ikomias_data_folder_and_never_into_the_plugin():
    default = Path.home() / "Ikomia" / "Data" / NAME

    assert output_folder(SearchSettings(), FOLDER) == default
    assert output_folder(SearchSettings(output_folder=str(FOLDER / "runs")), FOLDER) == default


def test_the_bar_moves_with_the_share_and_leaves_the_last_step_to_the_end_of_the_run():
    steps = []
    bar = StepBar(lambda: steps.append(1))
    search_bar = SearchBar(bar)

    search_bar.hear(Progress("searching", 0.25, "trial 3"))
    assert len(steps) == 25
    search_bar.hear(Progress("searching", 0.2, "trial 4"))
    assert len(steps) == 25
    bar.finish()
    assert len(steps) == PROGRESS_STEPS - 1


def test_each_trial_and_each_stage_is_one_line_in_the_log(caplog):
    caplog.set_level("INFO", "mnasnet")
    bar = SearchBar(StepBar(lambda: None))

    for text, stage in (("measuring", "preparing"), ("begin", "searching"), ("epoch 1", "searching")):
        bar.hear(Progress(stage, 0.5, text))

    assert [record.getMessage() for record in caplog.records] == [" 50%  measuring", " 50%  begin"]


def test_a_trials_line_in_the_log_tells_its_costs_or_why_it_has_no_answer_and_the_best_so_far(caplog):
    caplog.set_level("INFO", "mnasnet")
    bar = SearchBar(StepBar(lambda: None))
    first = TrialRecord(1, "done", {}, costs={"latency_ms": 0.413, "parameters": 1.1e6}, accuracy=0.694)
    above = TrialRecord(2, "infeasible", {}, costs={"latency_ms": 9.0}, reason="latency_ms 9 > 8")
    broken = TrialRecord(3, "failed", {}, reason="the loss became\n<nan>")
    again = TrialRecord(4, "done", {}, costs={"latency_ms": 0.413}, accuracy=0.694, duplicate_of=1)

    for record, best, left_s in ((above, None, None), (first, first, 90.0), (broken, first, 60.0), (again, first, inf)):
        bar.hear(Progress("searching", 0.5, "a trial", left_s, record=record, best=best))

    assert [record.getMessage() for record in caplog.records] == [
        " 50%  trial 2: infeasible, latency_ms 9 > 8",
        " 50%  trial 1: done, accuracy 69.4%, latency 0.413 ms, parameters 1.1 M; best trial 1 with 69.4%; "
        "1 min 30 s left",
        " 50%  trial 3: failed, the loss became <nan>; best trial 1 with 69.4%; 1 min 0 s left",
        " 50%  trial 4: the same network as trial 1; best trial 1 with 69.4%",
    ]


def test_the_number_of_repeats_is_a_line_in_the_log(caplog):
    caplog.set_level("INFO", "mnasnet")
    bar = SearchBar(StepBar(lambda: None))
    again = TrialRecord(4, "done", {}, accuracy=0.694, duplicate_of=1)

    bar.hear(Progress("searching", 0.5, "a trial", record=again))
    bar.hear(Progress("searching", 0.5, "7 more trials repeated networks that are known already", repeats=8))

    assert caplog.records[-1].getMessage() == " 50%  7 more trials repeated networks that are known already"


def test_every_line_of_what_a_search_will_take_is_in_the_log(caplog):
    caplog.set_level("INFO", "mnasnet")
    bar = SearchBar(StepBar(lambda: None))

    for text in ("space     512 networks", "trials    about 3"):
        bar.hear(Progress("forecast", 0.0, text))

    assert [record.getMessage() for record in caplog.records] == [
        "  0%  space     512 networks",
        "  0%  trials    about 3",
    ]


@pytest.mark.parametrize(("measured", "said"), [({"latency_ms": True}, ""), ({}, ", predicted")])
def test_the_tables_say_which_latency_was_predicted(task, tmp_path, measured, said):
    show_search(task, SearchedRun(tmp_path, "done", "", searched(measured=measured)))

    assert f"latency{said}" in json.loads(task.get_output(NETWORKS).to_json())["headers"]
    assert "latency" in json.loads(task.get_output(TRAINED).to_json())["headers"]  # measured anew in any case


@pytest.mark.parametrize("error", [DataError("images"), RunFolderError("files"), SearchFolderError("files")])
def test_where_images_or_files_are_not_as_they_were_a_new_run_begins_and_says_so(error, tmp_path, caplog):
    def resume():
        raise error

    assert resumed(tmp_path, resume) is None
    assert f"a new run begins, {tmp_path} cannot go on: {error}" in caplog.text


def test_nothing_of_an_earlier_search_stays_in_the_outputs(task, tmp_path):
    empty = [task.get_output(index).to_json() for index in (NETWORKS, TRAINED)]
    show_search(task, SearchedRun(tmp_path, "done", "", searched()))
    assert [task.get_output(index).to_json() for index in (NETWORKS, TRAINED)] != empty

    clear_outputs(task)

    assert [task.get_output(index).to_json() for index in (NETWORKS, TRAINED)] == empty
    assert task.get_output(DETAILS).data == {}


def test_the_json_output_names_each_network_that_was_trained_longer_and_its_model(task, tmp_path):
    answer = searched()
    winner, reference = answer.contenders
    other = replace(
        winner, name="trial 0, fully trained", trial=0, model="trained/trial0_30epochs/weights/best.safetensors"
    )

    show_search(task, SearchedRun(tmp_path, "done", "", replace(answer, contenders=[winner, other, reference])))

    trained = json.loads(task.get_output(DETAILS).to_json())["trained"]
    assert [(one["trial"], one["kind"]) for one in trained] == [
        (winner.trial, "winner"),
        (0, "promoted"),
        (None, "reference"),
    ]
    assert trained[1]["model"] == str(tmp_path / other.model)
    assert (trained[1]["val_accuracy"], trained[1]["test_accuracy"]) == (0.9, 0.88)
    assert trained[2]["model"] is None


# ------------------------------------------------------------------ HUB CI


@pytest.mark.slow
def test_the_hubs_test_entry_passes(task, tmp_path):
    from search_mnasnet.search_mnasnet_test import test as hub_entry

    folder = write_image_folder(tmp_path / "data", splits=("train", "val"))

    results = list(hub_entry(task, {"datasets": {"classification": {"dataset_classification": str(folder)}}}))

    assert [status for _, status in results] == ["OK"]
