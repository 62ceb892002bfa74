"""What a training starts from: its features, its classes, and the images that it has learned from."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from tiny import tiny_training

from mnasnet import modelfile
from mnasnet.errors import SettingsError, SpecError, WeightsError
from mnasnet.network.statedict import state_dict_of
from mnasnet.presets import PRESETS
from mnasnet.testing import coloured_image, random_model, write_image_folder
from mnasnet.train.events import EpochEnded, Event
from mnasnet.train.plan import start_model
from mnasnet.train.run import TrainedRun, train
from mnasnet.train.run_folder import RunFolder
from mnasnet.train.validate import validate


def test_fine_tuning_replaces_the_classifier_and_keeps_it_where_classes_are_the_same(
    data: Path, done: TrainedRun, tmp_path: Path
) -> None:
    start = random_model(class_names=("a", "b"), input_size=32)
    modelfile.save(start, tmp_path / "start.safetensors")

    tuned = train(
        tiny_training(data, tmp_path, model=str(tmp_path / "start.safetensors"), pretrained=True, feature_extract=True)
    )
    again = train(tiny_training(data, tmp_path, model=str(done.model), pretrained=True, epochs=1, learning_rate=1e-9))

    weights = modelfile.load(tuned.model).weights
    assert weights["classifier.weight"].shape[0] == 3
    assert np.array_equal(weights["stem.conv.weight"], start.weights["stem.conv.weight"])
    assert np.array_equal(weights["stem.bn.running_mean"], start.weights["stem.bn.running_mean"])
    assert again.evaluation.accuracy == done.evaluation.accuracy


def test_imagenet_weights_in_a_pth_file_get_a_head_for_the_folders_classes(data: Path, tmp_path: Path) -> None:
    imagenet = random_model(PRESETS["mnasnet0_5"], [str(number) for number in range(1000)], input_size=224)
    state = dict(state_dict_of(imagenet.weights, ""))  # plain tensors by torchvision's names, as it is downloaded
    assert state["classifier.1.weight"].shape[0] == 1000
    torch.save(state, tmp_path / "mnasnet0.5_top1.pth")

    start = {"model": str(tmp_path / "mnasnet0.5_top1.pth"), "pretrained": True}
    tuned = train(tiny_training(data, tmp_path, epochs=1, feature_extract=True, **start))

    model = modelfile.load(tuned.model)
    assert (model.class_names, model.preprocess.input_size) == (("blue", "green", "red"), 32)
    assert model.weights["classifier.weight"].shape[0] == 3
    assert np.array_equal(model.weights["stem.conv.weight"], imagenet.weights["stem.conv.weight"])


def test_weights_with_their_class_names_beside_them_keep_their_classifier(data: Path, tmp_path: Path) -> None:
    network = torchvision.models.mnasnet0_5(num_classes=3)
    torch.save(network.state_dict(), tmp_path / "mnasnet.pth")
    training = tiny_training(data, tmp_path / "runs", model=str(tmp_path / "mnasnet.pth"), pretrained=True)
    nameless = start_model(training)
    (tmp_path / "classes.txt").write_text("blue\ngreen\nred\n")

    start = start_model(training)

    assert nameless is not None and nameless.class_names == ("class 0", "class 1", "class 2")
    assert start is not None and start.class_names == ("blue", "green", "red")


def test_a_checkpoint_is_told_from_the_model_beside_it(done: TrainedRun, data: Path, tmp_path: Path) -> None:
    checkpoint = RunFolder(done.folder).store.last

    with pytest.raises(WeightsError, match="is the checkpoint of a training; give best.safetensors beside it"):
        start_model(tiny_training(data, tmp_path, model=str(checkpoint), pretrained=True))


def test_frozen_features_stay_to_the_bit_and_then_learn(data: Path, tmp_path: Path) -> None:
    start = random_model(class_names=("a", "b", "c"), input_size=32)
    modelfile.save(start, tmp_path / "start.safetensors")
    run, after_one = RunFolder(tmp_path / "run"), []

    class Look:
        def hear(self, event: Event) -> None:
            if isinstance(event, EpochEnded) and event.row["epoch"] == 1:
                after_one.append(modelfile.load(run.best).weights)

    chosen = {"model": str(tmp_path / "start.safetensors"), "pretrained": True, "epochs": 2, "frozen_epochs": 1}
    train(tiny_training(data, tmp_path, **chosen), listeners=[Look()])

    frozen, learned = after_one[0], modelfile.load(run.last).weights
    backbone = [name for name in start.weights if not name.startswith("classifier")]
    assert all(np.array_equal(frozen[name], start.weights[name]) for name in backbone)
    assert not np.array_equal(frozen["classifier.weight"], learned["classifier.weight"])
    assert [name for name in backbone if np.array_equal(learned[name], start.weights[name])] == []


def test_a_class_that_the_start_knows_keeps_its_row_among_new_ones(data: Path, tmp_path: Path) -> None:
    start = random_model(class_names=("red", "zebra", "blue"), input_size=32, seed=1)
    modelfile.save(start, tmp_path / "start.safetensors")

    tuned = train(
        tiny_training(data, tmp_path, model=str(tmp_path / "start.safetensors"), pretrained=True, learning_rate=1e-12)
    )

    after = modelfile.load(tuned.model)
    for old_row, name in ((0, "red"), (2, "blue")):
        row = after.class_names.index(name)
        for part in ("classifier.weight", "classifier.bias"):
            np.testing.assert_allclose(after.weights[part][row], start.weights[part][old_row], atol=1e-8)
    green = after.weights["classifier.weight"][after.class_names.index("green")]
    assert not np.allclose(green, start.weights["classifier.weight"][1], atol=1e-3)


def test_a_design_without_weights_starts_from_fresh_ones(data: Path, done: TrainedRun, tmp_path: Path) -> None:
    fresh = tiny_training(data, tmp_path, epochs=1)  # of a file such as the winner.json of a search

    as_told = train(replace(fresh, pretrained=True, name="as told"))

    model = modelfile.load(as_told.model)
    assert model.training["started_from"] == "fresh weights"
    assert model.fingerprint == modelfile.load(train(fresh).model).fingerprint
    with pytest.raises(SettingsError, match="feature_extract needs trained features"):
        start_model(replace(fresh, pretrained=True, feature_extract=True))


@pytest.mark.parametrize(("text", "cause"), [("{", "Expecting property name"), ("[1]", "dict"), ("{}", "'blocks'")])
def test_a_file_that_holds_no_design_is_told(data: Path, tmp_path: Path, text: str, cause: str) -> None:
    file = tmp_path / "pareto.json"
    file.write_text(text)

    with pytest.raises(SpecError, match=f"pareto.json holds no architecture: .*{cause}.*; take the winner.json"):
        train(tiny_training(data, tmp_path, model=str(file), pretrained=True))


def test_feature_extract_without_trained_features_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="feature_extract needs trained features"):
        train(tiny_training(data, tmp_path, feature_extract=True))


def test_more_frozen_epochs_than_epochs_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="frozen_epochs must be at most epochs, which is 2, got 3"):
        train(tiny_training(data, tmp_path, epochs=2, frozen_epochs=3))


def test_a_start_that_learned_from_these_images_is_judged_on_those_it_has_not_seen(
    done: TrainedRun, data: Path, tmp_path: Path
) -> None:
    further = train(tiny_training(data, tmp_path, model=str(done.model), pretrained=True, seed=5, epochs=1))

    assert (further.folder / "split.json").read_text() == (done.folder / "split.json").read_text()


def test_a_start_that_learned_from_a_part_of_these_images_learns_from_all_and_is_judged_on_none_it_knows(
    tmp_path: Path,
) -> None:
    data = write_image_folder(tmp_path / "data", per_class=10)
    first = train(tiny_training(data, tmp_path, epochs=1, seed=3))
    for number in range(10):  # a class more, other images more, one less
        for name in ("red", "white"):
            (data / name).mkdir(exist_ok=True)
            coloured_image((200, 200, 20 * number), seed=number).save(data / name / f"new{number}.png")
    (data / "blue" / "000.jpg").unlink()

    further = train(tiny_training(data, tmp_path, model=str(first.model), pretrained=True, epochs=1))

    before, after = (json.loads((run.folder / "split.json").read_bytes()) for run in (first, further))
    learned = {path for paths in before["train"].values() for path in paths}
    trains, validates = ({path for paths in after[side].values() for path in paths} for side in ("train", "val"))
    assert not learned & validates
    assert len(trains) + len(validates) == 49
    assert len(after["val"]["white"]) == 2 and any("new" in path for path in after["train"]["red"])


def images_of(run: TrainedRun, data: Path, side: str) -> set[bytes]:
    """The content of the images that are on a side of the run's division."""
    paths = json.loads((run.folder / "split.json").read_bytes())[side].values()
    return {(data / path).read_bytes() for of_class in paths for path in of_class}


def test_images_that_were_moved_or_renamed_with_their_class_stay_on_their_side(tmp_path: Path) -> None:
    data = write_image_folder(tmp_path / "data", per_class=10)
    first = train(tiny_training(data, tmp_path, epochs=1))
    learned, kept_aside = (images_of(first, data, side) for side in ("train", "val"))
    (data / "blue").rename(data / "azure")
    for file in (data / "red" / "005.jpg", data / "red" / "006.jpg"):  # as a person mends labels
        (data / "yellow").mkdir(exist_ok=True)
        file.rename(data / "yellow" / file.name)

    further = train(tiny_training(data, tmp_path, model=str(first.model), pretrained=True, epochs=1))

    assert not learned & images_of(further, data, "val")
    assert not kept_aside & images_of(further, data, "train")


def test_images_that_a_start_knows_and_that_cannot_be_found_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_image_folder(tmp_path / "data", per_class=10)
    first = train(tiny_training(data, tmp_path, epochs=1))
    for file in (data / "red").iterdir():
        file.rename(file.with_stem(f"a_{file.stem}"))

    train(tiny_training(data, tmp_path, model=str(first.model), pretrained=True, epochs=1))

    assert "8 images that this model has learned from cannot be found in" in caplog.text
    assert "may be among 2 new images that validate" in caplog.text


def test_a_start_whose_images_were_put_into_train_and_val_since_is_told_to_know_some(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_image_folder(tmp_path / "data", per_class=10)
    first = train(tiny_training(data, tmp_path, epochs=1))
    for number, file in enumerate(sorted(data.glob("*/*.jpg"))):
        place = data / ("val" if number % 3 == 0 else "train") / file.parent.name
        place.mkdir(parents=True, exist_ok=True)
        file.rename(place / file.name)
    for name in ("red", "green", "blue"):
        (data / name).rmdir()

    train(tiny_training(data, tmp_path, model=str(first.model), pretrained=True, epochs=1))

    assert "may have learned from images of this folder, and from which cannot be told" in caplog.text


def test_a_model_file_alone_knows_its_images_again_in_a_folder_that_has_grown_and_has_another_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_image_folder(tmp_path / "data", per_class=10)
    alone = shutil.copy(train(tiny_training(data, tmp_path, epochs=1)).model, tmp_path / "alone.safetensors")
    coloured_image((200, 20, 20)).save(data / "red" / "new.png")
    renamed = data.rename(tmp_path / "renamed")
    others = write_image_folder(
        tmp_path / "others", colours={"red": (9, 9, 9), "green": (99, 9, 9), "blue": (9, 9, 99)}
    )

    validate(alone, others)
    assert "cannot be told" not in caplog.text

    validate(alone, renamed)
    assert "which of them this model was trained on cannot be told" in caplog.text
    train(tiny_training(renamed, tmp_path, model=str(alone), pretrained=True, epochs=1))
    assert "may have learned from images of this folder" in caplog.text


def test_a_validation_counts_what_was_learned_from_without_what_came_since(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_image_folder(tmp_path / "data", per_class=10)
    done = train(tiny_training(data, tmp_path, epochs=1))
    coloured_image((200, 20, 20)).save(data / "red" / "new.png")
    caplog.set_level(logging.INFO)

    validate(done.model, data)

    assert "training has learned from 24 of these 31 images; 6 are val" in caplog.text


def test_images_that_came_to_a_dataset_with_its_own_validation_are_learned_from_its_own_model(tmp_path: Path) -> None:
    data = write_image_folder(tmp_path / "data", per_class=4, splits=("train", "val"))
    first = train(tiny_training(data, tmp_path, epochs=1))
    coloured_image((200, 20, 20)).save(data / "train" / "red" / "new.png")

    further = train(tiny_training(data, tmp_path, model=str(first.model), pretrained=True, epochs=1))

    assert modelfile.load(further.model).training["images"] == {"train": 13, "val": 12}


def test_images_that_cannot_be_read_are_not_counted_as_learned(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "data", per_class=10)
    for name in ("train", "val"):
        for label in ("red", "green", "blue"):
            (folder / name / label).mkdir(parents=True)
    for label in ("red", "green", "blue"):
        files = sorted((folder / label).iterdir())
        for file in files:
            file.rename(folder / ("val" if file in files[:3] else "train") / label / file.name)
        (folder / label).rmdir()
    next((folder / "train" / "red").iterdir()).write_bytes(b"")

    run = train(tiny_training(folder, tmp_path / "runs", epochs=1, max_bad=0.2, report=True))

    assert modelfile.load(run.model).training["images"] == {"train": 20, "val": 9}
    assert "20 train" in (run.folder / "model_card.md").read_text(encoding="utf-8")


def test_a_grey_network_is_not_judged_on_images_which_have_three_channels(tmp_path: Path) -> None:
    grey = tmp_path / "grey.safetensors"
    modelfile.save(random_model(class_names=("red", "green", "blue"), in_channels=1), grey)

    with pytest.raises(
        SettingsError, match=r"images have 3 channels, .*grey\.safetensors takes 1; choose another model"
    ):
        validate(grey, write_image_folder(tmp_path / "data", per_class=2))
