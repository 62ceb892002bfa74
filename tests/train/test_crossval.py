"""Cross-validation: every image is judged once, by a training that had not seen it."""

import json
from collections import Counter

import pytest

from mnasnet.cli import main
from mnasnet.data.folder import scan
from mnasnet.data.folds import folds
from mnasnet.errors import DataError
from mnasnet.testing import coloured_image, write_image_folder


@pytest.fixture
def few(tmp_path):
    """Three classes of four images, and one of a single image."""
    folder = write_image_folder(tmp_path / "few", per_class=4)
    (folder / "lone").mkdir()
    coloured_image((9, 9, 9)).save(folder / "lone" / "only.png")
    return folder


def test_every_image_validates_once_and_a_lone_one_always_trains(few):
    dataset = scan(few)

    splits = folds(dataset, 3)

    judged = Counter(sample.path for parts in splits for sample in parts.val)
    assert set(judged.values()) == {1} and len(judged) == 12
    for parts in splits:
        assert sorted((*parts.train, *parts.val)) == sorted(dataset.train)
        assert "lone/only.png" in {sample.path for sample in parts.train}
        assert {sample.class_name for sample in parts.val} == {"red", "green", "blue"}


def test_the_choice_depends_on_the_seed_alone(few):
    assert folds(scan(few), 3, seed=1) == folds(scan(few), 3, seed=1) != folds(scan(few), 3, seed=2)


@pytest.mark.parametrize("count", [1, 5])
def test_a_number_of_folds_that_cannot_be_is_refused(few, count):
    with pytest.raises(DataError, match=f"folds must be from 2 to 4.* got {count}"):
        folds(scan(few), count)


def test_the_command_says_the_accuracy_over_all_images(few, tmp_path, capsys):
    options = ["--epochs", "1", "--folds", "2", "--input-size", "32", "--output-folder", str(tmp_path / "runs")]

    assert main(["crossval", str(few), *options, "--name", "mine", "--json"]) == 0

    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["images"] == 12 and said["folds"] == 2 and said["accuracy_low"] < said["accuracy"] < 1.0001
    folder = tmp_path / "runs" / "mine_folds"
    assert json.loads((folder / "folds.json").read_text()) == said
    assert (folder / "fold1" / "weights" / "best.safetensors").exists() and (folder / "fold2" / "split.json").exists()
