from __future__ import annotations

import math
import os
from pathlib import Path
from typing import ClassVar, Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet.draw import LabelStyle
from mnasnet.errors import SettingsError
from mnasnet.latency.meters import METERS
from mnasnet.presets import PRESETS, WITH_WEIGHTS
from mnasnet.runtime.session import RUNTIMES, Precision
from mnasnet.search.costs import CountName
from mnasnet.settings import InferSettings, SearchSettings, Settings, TrainSettings, markdown_table, setting
from mnasnet.settings.search import OBJECTIVES
from mnasnet.spaces import SPACES


class Oven(Settings):
    """One setting of each kind, as training and search will have them."""

    minutes: float | None = setting(None, "How long.", gt=0, le=90)
    degrees: int = setting(180, "How hot.", old_names=("temperature", "heat"), ge=50, le=300)
    fan: bool = setting(False, "Whether air moves.", advanced=True)
    mode: Literal["top", "bottom"] = setting("top", "Which heating.")
    recipe: str = setting("", "A file.", path="file")

    RETIRED: ClassVar[dict[str, str]] = {}


def test_text_and_typed_values_give_equal_settings():
    text = InferSettings.parse({"top_k": "3", "confidence_threshold": "0.25", "input_size": "96", "device": "cpu"})
    typed = InferSettings.parse({"top_k": 3, "confidence_threshold": 0.25, "input_size": 96, "device": "cpu"})

    assert text == typed


@given(
    st.fixed_dictionaries(
        {
            "minutes": st.none() | st.floats(0.001, 90),
            "degrees": st.integers(50, 300),
            "fan": st.booleans(),
            "mode": st.sampled_from(["top", "bottom"]),
            "recipe": st.text(st.characters(exclude_categories=("Cs",))).map(str.strip),
        }
    )
)
def test_settings_survive_the_way_through_text(values):
    settings = Oven.parse(values)

    assert Oven.parse(settings.to_text()) == settings


def test_a_path_object_is_kept_as_text():
    assert Oven.parse({"recipe": Path("a/b.txt")}).recipe == str(Path("a/b.txt"))


@pytest.mark.parametrize("value", ["~/cake.txt", Path("~/cake.txt")])
def test_a_tilde_is_the_home_folder_in_every_setting_of_a_file(value, tmp_path, monkeypatch):
    monkeypatch.setenv("USERPROFILE" if os.name == "nt" else "HOME", str(tmp_path))

    assert Path(Oven.parse({"recipe": value}).recipe) == tmp_path / "cake.txt"
    assert Path(InferSettings.parse({"class_file": value}).class_file) == tmp_path / "cake.txt"
    assert Path(SearchSettings.parse({"space": value}).space) == tmp_path / "cake.txt"


@pytest.mark.parametrize("nothing", ["", "None", None])
def test_a_setting_of_a_file_takes_no_value(nothing):
    """Ikomia's workflow makes the text None of it."""
    assert Oven.parse({"recipe": nothing}).recipe == ""


@pytest.mark.parametrize("pasted", ['"C:\\new cakes\\é.txt"', "'C:\\new cakes\\é.txt'", ' "C:\\new cakes\\é.txt" '])
def test_a_path_is_taken_out_of_the_quotes_it_was_copied_with(pasted):
    assert Oven.parse({"recipe": pasted}).recipe == "C:\\new cakes\\é.txt"
    assert SearchSettings.parse({"space": pasted}).space == "C:\\new cakes\\é.txt"


@pytest.mark.parametrize("path", ['"', '"big" cake.txt', "'half"])
def test_quotes_that_are_no_pair_around_a_path_stay(path):
    assert Oven.parse({"recipe": path}).recipe == path


@pytest.mark.parametrize("text, value", [("yes", True), ("On", True), ("1", True), ("FALSE", False), ("no", False)])
def test_booleans_are_read_as_ikomia_reads_them(text, value):
    assert Oven.parse({"fan": text}).fan is value


@pytest.mark.parametrize("text", ["TOP", " Top ", "top"])
def test_a_word_is_read_in_any_case(text):
    assert Oven.parse({"mode": text}).mode == "top"
    assert InferSettings.parse({"device": "CPU", "runtime": "Torch"}) == InferSettings(device="cpu", runtime="torch")


def test_the_beginning_of_a_word_is_answered_with_the_word():
    with pytest.raises(SettingsError, match="runtime must be one of .*, got 'ONNX'; did you mean onnxruntime"):
        InferSettings.parse({"runtime": "ONNX"})


@pytest.mark.parametrize("nothing", ["", "None", None])
def test_an_optional_setting_takes_no_value(nothing):
    assert Oven.parse({"minutes": nothing}).minutes is None


@pytest.mark.parametrize("nothing", ["", " "])
def test_tracking_without_a_value_is_off(nothing):
    assert TrainSettings.parse({"tracking": nothing}).tracking == "off"


@pytest.mark.parametrize("old", ["temperature", "heat"])
def test_an_old_name_means_the_setting_of_today(old):
    assert Oven.parse({old: "200"}).degrees == 200


def test_a_setting_given_under_both_names_must_agree():
    assert Oven.parse({"heat": "200", "degrees": 200}).degrees == 200
    with pytest.raises(SettingsError, match="degrees was given twice, also under its old name: 200 and 220"):
        Oven.parse({"degrees": 200, "heat": 220})


@pytest.mark.parametrize(
    "values, message",
    [
        ({"degrees": "hot"}, "degrees must be a whole number from 50 to 300, got 'hot'"),
        ({"degrees": 20}, "degrees must be a whole number from 50 to 300, got 20"),
        ({"degrees": 99.5}, "degrees must be a whole number from 50 to 300, got 99.5"),
        ({"degrees": None}, "degrees must be a whole number from 50 to 300, got None"),
        ({"minutes": 0}, "minutes must be a number above 0 and up to 90, or empty, got 0"),
        ({"minutes": "nan"}, "minutes must be a number above 0 and up to 90, or empty, got 'nan'"),
        ({"fan": "maybe"}, "fan must be True or False, got 'maybe'"),
        ({"mode": "botom"}, "mode must be one of top, bottom, got 'botom'; did you mean bottom?"),
        ({"recipe": 5}, "recipe must be text, got 5"),
    ],
)
def test_a_wrong_value_is_told_with_its_rule(values, message):
    with pytest.raises(SettingsError) as caught:
        Oven.parse(values)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    "values, message",
    [
        ({"meter": "gpu"}, "meter must be one of onnxruntime, .*, adb, got 'gpu'"),
        ({"objectives": "speed"}, "objectives must be some of latency, .*, separated by commas, got 'speed'"),
        ({"objectives": ","}, "objectives must name a cost such as latency, got ','"),
        ({"space": "big"}, "space must be one of paper, .*, or a YAML or JSON file, got 'big'"),
        ({"space": "smal"}, "space must be .*, got 'smal'; did you mean small"),
        ({"minutes": "inf"}, "minutes must be a number, 0 or more, got 'inf'"),
        ({"ray_gpus": "1e400"}, "ray_gpus must be a number, 0 or more, got '1e400'"),
    ],
)
def test_a_wrong_value_of_a_search_is_told_before_it_starts(values, message):
    with pytest.raises(SettingsError, match=message):
        SearchSettings.parse(values)


@pytest.mark.parametrize("settings", [InferSettings, TrainSettings, SearchSettings])
def test_no_number_is_without_end(settings):
    fractions = [parameter.name for parameter in settings.parameters() if parameter.kind is float]

    for name in fractions:
        for endless in (math.inf, "-inf", "nan"):
            with pytest.raises(SettingsError, match=f"{name} must be a number"):
                settings.parse({name: endless})


@pytest.mark.parametrize("space", [*SPACES, "mine.yaml", "spaces/mine", "C:\\spaces\\mine"])
def test_a_space_has_a_known_name_or_is_a_file(space):
    assert SearchSettings.parse({"space": space}).space == space


def test_a_space_file_that_is_there_needs_no_suffix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine").touch()

    assert SearchSettings.parse({"space": "mine"}).space == "mine"


def test_the_words_of_a_search_are_those_that_exist():
    choices = {parameter.name: parameter.choices for parameter in SearchSettings.parameters()}

    assert set(choices["meter"]) == set(METERS) - {"table"}
    assert set(OBJECTIVES) == {"latency", *get_args(CountName)}
    assert set(choices["cost"]) == {*OBJECTIVES, "energy"}


def test_every_wrong_value_is_told_in_one_line():
    with pytest.raises(SettingsError) as caught:
        Oven.parse({"degrees": 20, "fan": "maybe"})

    assert str(caught.value).count(" must be ") == 2
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_answered_with_the_nearest_and_all_valid_ones():
    with pytest.raises(SettingsError) as caught:
        InferSettings.parse({"topk": 3})

    assert "unknown parameter 'topk' (did you mean top_k?)" in str(caught.value)
    assert all(parameter.name in str(caught.value) for parameter in InferSettings.parameters())


@pytest.mark.parametrize(
    "wrong, today",
    [
        ("model", "model_name or model_weight_file"),
        ("modelpath", "model_weight_file"),
        ("classfile", "class_file"),
        ("datset", "dataset"),
    ],
)
def test_a_name_that_never_was_is_answered_with_names_of_today(wrong, today):
    """But for those without a name of today, such as the old dataset."""
    with pytest.raises(SettingsError) as caught:
        InferSettings.parse({wrong: "x"})

    assert f"unknown parameter '{wrong}' (did you mean {today}?)" in str(caught.value)


@pytest.mark.parametrize("values", [None, "top_k=3", 3, ["top_k", 3], [("top_k", 3)], {"top_k"}])
def test_parameters_that_are_no_dict_are_refused_in_one_line(values):
    with pytest.raises(SettingsError, match=r"^parameters must be a dict such as \{'model_name': 'auto'\}, got .+$"):
        InferSettings.parse(values)
    with pytest.raises(SettingsError, match="parameters must be a dict"):
        InferSettings().changed(values)


def test_changing_settings_makes_new_ones_and_leaves_the_old():
    before = InferSettings()

    after = before.changed({"top_k": "2"})

    assert (before.top_k, after.top_k) == (5, 2)
    assert after.changed({"top_k": 5}) == before


def test_settings_cannot_be_edited_in_place():
    with pytest.raises(ValueError, match="frozen"):
        InferSettings().top_k = 2  # type: ignore[misc]


def test_input_size_auto_is_the_models_own():
    assert InferSettings.parse({"input_size": "auto"}).input_size == 0


@pytest.mark.parametrize("size", [1, 31, 2049, -1, "big"])
def test_input_size_has_bounds(size):
    with pytest.raises(
        SettingsError, match=r"input_size must be 0 \(the model's own size\) or .* from 32 to 2048, got"
    ):
        InferSettings.parse({"input_size": size})


@pytest.mark.parametrize("name", ["auto", "photos10", *WITH_WEIGHTS])
def test_every_network_with_weights_is_a_model_name(name):
    assert InferSettings.parse({"model_name": name}).model_name == name


@pytest.mark.parametrize("name", sorted({*PRESETS} - {*WITH_WEIGHTS}))
def test_a_network_without_published_weights_can_be_trained_but_not_inferred_with(name):
    assert TrainSettings.parse({"model_name": name}).model_name == name
    with pytest.raises(SettingsError, match="published weights, mnasnet0_5.* got .*train it first"):
        InferSettings.parse({"model_name": name})


def test_a_misspelt_model_name_is_answered_with_the_nearest():
    with pytest.raises(SettingsError, match="did you mean mnasnet1_0"):
        InferSettings.parse({"model_name": "mnasnet10"})


def test_a_path_as_model_name_is_sent_to_the_right_parameter():
    with pytest.raises(SettingsError, match="for a file set model_weight_file"):
        InferSettings.parse({"model_name": "runs/best.safetensors"})


@pytest.mark.parametrize(
    "old, today",
    [
        ({"model_path": "net.pth", "dataset": "Custom"}, {"model_weight_file": "net.pth"}),
        ({"dataset": "ImageNet"}, {"model_name": "mnasnet1_0"}),
        ({"dataset": "ImageNet", "model_path": "Not used"}, {"model_name": "mnasnet1_0"}),
        ({"dataset": "ImageNet", "model_path": "net.pth"}, {"model_name": "mnasnet1_0"}),
        ({"dataset": "ImageNet", "model_weight_file": "net.pth"}, {"model_weight_file": "net.pth"}),
        ({"dataset": "ImageNet", "model_name": "semnasnet_100"}, {"model_name": "semnasnet_100"}),
        ({"dataset": "ImageNet", "class_file": "models/imagenet_classes.txt"}, {"model_name": "mnasnet1_0"}),
        ({"model_name": "mnasnet"}, {"model_name": "mnasnet1_0"}),
        ({"cuda": "False"}, {"device": "cpu"}),
        ({"cuda": True}, {"device": "auto"}),
    ],
)
def test_parameters_of_release_2_keep_their_meaning(old, today):
    assert InferSettings.parse(old) == InferSettings.parse(today)


def test_imagenet_takes_the_place_of_a_file_and_its_names():
    own = InferSettings(model_weight_file="net.pth", class_file="names.txt")

    assert own.changed({"dataset": "ImageNet"}) == InferSettings(model_name="mnasnet1_0")


def test_imagenet_keeps_a_file_of_names_that_is_given_with_it(tmp_path):
    names = tmp_path / "de.txt"
    names.write_text("Schleie\n", encoding="utf-8")

    settings = InferSettings.parse({"dataset": "ImageNet", "class_file": str(names)})

    assert (settings.model_name, settings.class_file) == ("mnasnet1_0", str(names))


def test_the_class_file_of_release_1_keeps_its_meaning(tmp_path):
    names = tmp_path / "de.txt"
    names.write_text("Schleie\n", encoding="utf-8")
    gone = "/old/plugin/models/imagenet_classes.txt"

    assert InferSettings.parse({"dataset": "Custom", "classes_path": gone}) == InferSettings(class_file=gone)
    assert InferSettings.parse({"dataset": "ImageNet", "classes_path": str(names)}).class_file == str(names)
    assert InferSettings.parse({"dataset": "ImageNet", "classes_path": gone}) == InferSettings(model_name="mnasnet1_0")


@pytest.mark.parametrize("old", [{"dataset": "COCO"}, {"cuda": "maybe"}])
def test_wrong_values_of_retired_parameters_are_told(old):
    with pytest.raises(SettingsError, match=f"{next(iter(old))} must be .*; today set "):
        InferSettings.parse(old)


def test_the_word_gpu_is_answered_with_cuda():
    with pytest.raises(SettingsError, match="device must be one of auto, cpu, cuda, got 'GPU'; did you mean cuda"):
        InferSettings.parse({"device": "GPU"})


def test_runtimes_and_precisions_are_those_that_exist():
    choices = {parameter.name: parameter.choices for parameter in InferSettings.parameters()}

    assert set(choices["runtime"]) == {"auto", *RUNTIMES}
    assert choices["precision"] == get_args(Precision)
    assert choices["label_style"] == get_args(LabelStyle)


def test_the_table_has_every_parameter_with_default_and_choices():
    table = markdown_table(Oven)

    assert "| **degrees** | int | `'180'` | How hot. |" in table
    assert "| **mode** | str | `'top'` | Which heating. One of `top`, `bottom`. |" in table
    assert table.count("\n") == 1 + len(Oven.parameters())


@pytest.mark.parametrize("parameter", InferSettings.parameters(), ids=lambda parameter: parameter.name)
def test_every_parameter_is_explained_and_harmless_to_ikomia(parameter):
    """A double quote, newline or backslash in a default makes every later ``import ikomia`` a syntax error."""
    assert parameter.help.endswith(".")
    assert parameter.name.isidentifier() and parameter.name not in ("name", "cls")
    assert not set(str(parameter.default)) & set('"\n\\')
