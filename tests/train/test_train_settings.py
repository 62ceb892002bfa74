"""The settings that people type and the value that trains say the same."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yaml

from mnasnet.errors import SettingsError
from mnasnet.settings import TrainSettings
from mnasnet.train.plan import Training


def test_every_default_of_the_settings_is_that_of_a_training() -> None:
    assert Training(data=Path("x"), **TrainSettings().arguments()) == Training(data=Path("x"))


def test_every_choice_of_a_training_can_be_typed() -> None:
    typed = {*TrainSettings().arguments(), "data", "output_folder", "report"}

    assert {field.name for field in fields(Training)} == typed


def test_the_parameters_of_the_first_release_are_understood() -> None:
    old = {
        "model_name": "mnasnet",
        "batch_size": "8",
        "epochs": "15",
        "input_size": "224",
        "momentum": "0.9",
        "learning_rate": "0.001",
        "weight_decay": "1e-4",
        "num_workers": "0",
        "use_pretrained": "True",
        "feature_extract": "False",
        "export_pth": "True",
        "export_onnx": "False",
        "output_folder": "",
    }

    settings = TrainSettings.parse(old)

    assert (settings.batch_size, settings.momentum, settings.export_pth) == (8, 0.9, True)


@pytest.mark.parametrize("called", ["flowers", "mnasnet_v2", "mnasnet_cats", "mnasnet10"])
def test_what_release_1_called_its_model_is_the_name_of_the_run(called: str) -> None:
    settings = TrainSettings.parse({"model_name": called, "num_workers": "0"})

    assert (settings.model_name, settings.name) == ("mnasnet1_0", called)


def test_a_network_that_is_named_beside_a_parameter_of_release_1_is_trained() -> None:
    settings = TrainSettings.parse({"model_name": "mnasnet0_5", "num_workers": "0"})

    assert (settings.model_name, settings.name) == ("mnasnet0_5", "")


def test_a_file_of_weights_goes_before_a_name() -> None:
    settings = TrainSettings.parse({"model_name": "mnasnet1_0", "model_weight_file": "mine.safetensors"})

    assert settings.arguments()["model"] == "mine.safetensors"


def test_a_batch_of_one_is_refused_with_the_rule() -> None:
    with pytest.raises(SettingsError, match="batch_size must be 0 .* or a whole number from 2 to 4096, got"):
        TrainSettings.parse({"batch_size": "1"})


@pytest.mark.parametrize("name", ["epochs", "batch_size", "val_fraction", "max_bad", "recipe"])
def test_values_out_of_bounds_name_their_parameter(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        TrainSettings.parse({name: "-1"})


def test_a_training_survives_its_dictionary() -> None:
    training = Training(data=Path("/data/x"), epochs=3, mixup=0.5, output_folder=Path("/runs"))

    assert Training.from_dict(training.to_dict()) == training


def test_numbers_of_numpy_texts_and_paths_are_what_they_mean() -> None:
    training = Training(
        data="~/photos",  # type: ignore[arg-type]
        model=Path("runs/best.safetensors"),  # type: ignore[arg-type]
        epochs=np.int64(4),
        batch_size=20.0,  # type: ignore[arg-type]
        learning_rate=np.float32(0.5),
        flip=np.bool_(False),  # type: ignore[arg-type]
        output_folder="~/runs",  # type: ignore[arg-type]
    )

    assert (training.data, training.output_folder) == (Path.home() / "photos", Path.home() / "runs")
    assert training.model == str(Path("runs/best.safetensors"))
    kept = yaml.safe_load(yaml.safe_dump(training.to_dict()))
    assert (kept["epochs"], kept["batch_size"], kept["learning_rate"], kept["flip"]) == (4, 20, 0.5, False)
    assert Training.from_dict(kept) == training


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("flip", "False", "flip must be true or false, got 'False'"),
        ("epochs", 1.5, "epochs must be a whole number, got 1.5"),
        ("epochs", True, "epochs must be a whole number, got True"),
        ("name", 5, "name must be text, got 5"),
        ("data", 5, "data must be a path, got 5"),
        ("weight_decay", -1.0, "weight_decay must not be negative, got -1.0"),
        ("max_minutes", float("nan"), "max_minutes must be a finite number, got nan"),
    ],
)
def test_a_training_takes_no_other_kind_of_value(name: str, value: object, rule: str) -> None:
    with pytest.raises(SettingsError, match=rule):
        Training(**{"data": Path("photos"), name: value})  # type: ignore[arg-type]
