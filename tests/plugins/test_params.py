from __future__ import annotations

import copy

import pytest

pytest.importorskip("ikomia")

from mnasnet.errors import SettingsError
from mnasnet.plugin.params import SettingsParam, workflow_text
from mnasnet.settings import InferSettings

pytestmark = pytest.mark.ikomia


class InferParam(SettingsParam):
    kind = InferSettings


@pytest.fixture
def param() -> SettingsParam:
    return InferParam()


def test_values_are_text_and_hold_the_old_names_empty(param):
    values = param.get_values()

    assert values["top_k"] == "5"
    assert values["model_path"] == values["dataset"] == values["cuda"] == ""
    assert all(isinstance(text, str) for text in values.values())


def test_ikomias_complete_values_change_only_what_differs(param):
    param.set_values({**param.get_values(), "top_k": "2"})

    assert param.settings == InferSettings(top_k=2)


def test_an_old_name_among_complete_values_counts(param):
    param.set_values({**param.get_values(), "model_path": "net.pth"})

    assert param.settings == InferSettings(model_weight_file="net.pth")
    assert param.get_values()["model_path"] == ""


def test_a_wrong_value_changes_nothing(param):
    with pytest.raises(SettingsError, match="confidence_threshold must be a number from 0 to 1, got '7'"):
        param.set_values({**param.get_values(), "top_k": "2", "confidence_threshold": "7"})

    assert param.settings == InferSettings()


def test_a_copy_is_equal_and_independent(param):
    twin = copy.deepcopy(param)

    twin.set_values({"top_k": "2"})
    twin.cfg["confidence_threshold"] = 0.5

    assert param.settings == InferSettings()
    assert twin.settings == InferSettings(top_k=2, confidence_threshold=0.5)


def test_cfg_follows_the_settings_for_ikomias_training_base(param):
    param.set_values({"top_k": "2"})

    assert param.cfg["top_k"] == 2


def set_in_cfg(param, name, value):
    param.cfg[name] = value


def update_cfg(param, name, value):
    param.cfg.update({name: value})


as_ikomias_own_tasks_are_set = pytest.mark.parametrize("set_one", [set_in_cfg, update_cfg, setattr])


@as_ikomias_own_tasks_are_set
def test_what_is_set_in_cfg_or_as_an_attribute_becomes_a_setting(set_one, param):
    set_one(param, "top_k", 2)
    set_one(param, "model_path", "net.pth")  # an old name

    assert param.settings == InferSettings(top_k=2, model_weight_file="net.pth")
    assert param.top_k == param.cfg["top_k"] == 2


@as_ikomias_own_tasks_are_set
def test_what_is_set_in_cfg_or_as_an_attribute_is_checked(set_one, param):
    with pytest.raises(SettingsError, match="top_k must be a whole number from 1 to 1000, got 'all'"):
        set_one(param, "top_k", "all")

    assert param.settings == InferSettings()


def test_a_name_that_cfg_does_not_know_is_refused(param):
    with pytest.raises(SettingsError, match=r"unknown parameter 'topk' \(did you mean top_k\?\)"):
        param.cfg["topk"] = 2


def test_workflow_text_is_complete_and_checked(param):
    assert workflow_text(param, {"top_k": 2, "cuda": False}) == InferSettings(top_k=2, device="cpu").to_text()
    with pytest.raises(SettingsError, match="unknown parameter 'nope'"):
        workflow_text(param, {"nope": 1})


@pytest.mark.parametrize("values", [None, "top_k=3", ["top_k", 3]])
def test_parameters_that_are_no_dict_are_refused(param, values):
    with pytest.raises(SettingsError, match=r"parameters must be a dict such as \{'model_name': 'auto'\}, got"):
        workflow_text(param, values)


def test_an_old_name_beside_all_other_present_values_counts(param):
    """Ikomia's ``ik`` classes pass every parameter, most of them at their defaults."""
    everything = {**param.get_values(), "model_path": "net.pth"}

    assert workflow_text(param, everything) == InferSettings(model_weight_file="net.pth").to_text()


def test_imagenet_among_complete_values_takes_the_place_of_a_file(param):
    param.set_values({"model_path": "net.pth", "dataset": "Custom"})

    param.set_values({**param.get_values(), "dataset": "ImageNet"})

    assert param.settings == InferSettings(model_name="mnasnet1_0")


def test_an_empty_old_name_clears_what_todays_name_holds(param):
    param.set_values({"model_path": "net.pth"})

    assert workflow_text(param, {"model_path": ""}) == InferSettings().to_text()


def test_the_empty_old_names_among_complete_values_clear_nothing(param):
    param.set_values({"model_path": "net.pth"})

    param.set_values({**param.get_values(), "top_k": "2"})

    assert param.settings == InferSettings(model_weight_file="net.pth", top_k=2)
