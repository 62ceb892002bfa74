"""How the words of a command line are read: options, values with a ``=``, files with strange names."""

import importlib
import json

import pytest

from mnasnet.cli import main
from mnasnet.testing import coloured_image, write_image_folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the user stands."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def classified(capsys, *words):
    """The paths that are classified, or that could not be."""
    assert main(["classify", "--json", *words]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [row["path"] for row in rows if "path" in row]


@pytest.mark.parametrize("words", [["every=2", "a.jpg"], ["a.jpg", "every=2"]])
def test_a_word_with_an_equals_sign_sets_the_option_of_that_name(words, folder, capsys):
    coloured_image((1, 2, 3)).save(folder / "a.jpg")

    assert classified(capsys, *words) == ["a.jpg"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("batch=4.jpg", []), ("top-k=3", []), ("every=2", ["--"]), ("-dash.jpg", []), ("--dash=1.jpg", [])],
)
def test_a_photo_is_a_photo_whatever_its_name(name, words, folder, capsys):
    coloured_image((1, 2, 3)).save(folder / name, "JPEG")

    assert classified(capsys, *words, name) == [name]


def test_a_dataset_may_be_called_like_an_option(folder, capsys):
    write_image_folder(folder / "seed=1", per_class=2)

    assert main(["check", "seed=1"]) == 0
    assert "blue" in capsys.readouterr().out


def test_the_value_of_an_option_may_look_like_another_option(folder, capsys):
    coloured_image((1, 2, 3)).save(folder / "a.jpg")

    assert main(["classify", "a.jpg", "--csv", "top-k=3"]) == 0
    assert (folder / "top-k=3").is_file()


def test_what_is_wrong_with_the_words_is_told_as_json_too(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["classify", "--json"])

    told = json.loads(capsys.readouterr().out)
    assert told["status"] == "failed" and "PATH" in told["error"]


def test_ctrl_c_while_a_command_is_still_being_loaded_is_no_traceback(monkeypatch, capsys):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)

    assert main(["train", "photos"]) == 130
    assert capsys.readouterr().err == "stopped\n"


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["--input-size", "-5"], "must be a whole number from 32 to"),
        (["--threads", "0"], "must be a whole number from 1 to"),
        (["--out", "file/below"], "cannot be written: Not a directory; name another folder"),
    ],
)
def test_val_refuses_nonsense_before_it_works(words, rule, folder, capsys):
    (folder / "file").touch()

    with pytest.raises(SystemExit, match="2"):
        main(["val", "photos10", "photos", *words])
    assert rule in capsys.readouterr().err
