"""The command line, as a user types it."""

import argparse
import csv
import errno
import importlib
import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mnasnet
from mnasnet import modelfile
from mnasnet.cli import COMMANDS, main
from mnasnet.data.folder import scan
from mnasnet.testing import random_model, write_image_folder
from mnasnet.zoo import open_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    modelfile.save(random_model(class_names=("cat", "dog", "ship <&>")), path)
    return str(path)


@pytest.fixture
def photos(tmp_path):
    return write_image_folder(tmp_path / "photos", per_class=2)


def write_film(path, frames=10):
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for index in range(frames):
        writer.write(np.full((48, 64, 3), 10 * index, np.uint8))
    writer.release()


def test_a_folder_becomes_a_table_and_a_count(model, photos, capsys):
    assert main(["classify", str(photos), "--model", model]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert "blue" in lines[0] and "%" in lines[0]
    assert lines[-1] == "6 of 6 classified"


def test_json_lines_end_with_the_summary(model, photos, capsys):
    (photos / "red" / "bad.jpg").write_bytes(b"")

    assert main(["classify", str(photos), "--model", model, "--json", "--top-k", "2"]) == 0

    *rows, summary = map(json.loads, capsys.readouterr().out.splitlines())
    assert len(rows) == 7
    assert {len(row["predictions"]) for row in rows if "predictions" in row} == {2}
    assert summary["classified"] == 6 and summary["failed"] == 1
    assert summary["failures"][0]["path"].endswith("bad.jpg") and "empty" in summary["failures"][0]["error"]


def test_csv_and_annotated_copies(model, photos, tmp_path, capsys):
    out = tmp_path / "out"

    assert main(["classify", str(photos), "--model", model, f"csv={out / 'l.csv'}", "--annotate", str(out)]) == 0

    rows = list(csv.DictReader((out / "l.csv").open(encoding="utf-8")))
    assert len(rows) == 6 * 3
    assert {row["class"] for row in rows} == {"cat", "dog", "ship <&>"}
    pictures = sorted(out.rglob("*.jpg"))
    names = [path.relative_to(out).as_posix() for path in pictures]
    assert names == [f"{name}/00{i}_labelled.jpg" for name in ("blue", "green", "red") for i in (0, 1)]
    original = np.asarray(Image.open(photos / "blue" / "000.jpg")).astype(int)
    assert np.abs(np.asarray(Image.open(pictures[0])).astype(int) - original).max() > 60


def test_all_failing_is_exit_code_one_and_some_failing_is_zero(model, tmp_path, capsys):
    (tmp_path / "a.jpg").write_bytes(b"")

    assert main(["classify", str(tmp_path / "a.jpg"), "--model", model]) == 1


def test_a_path_that_is_not_there_is_one_line(model, capsys):
    assert main(["classify", "/not/there", "--model", model]) == 1

    captured = capsys.readouterr()
    assert "/not/there" in captured.out + captured.err
    assert "Traceback" not in captured.err


def test_a_model_that_is_not_there_is_one_line(capsys):
    assert main(["classify", "x.jpg", "--model", "/not/there.safetensors"]) == 2

    assert "/not/there.safetensors" in capsys.readouterr().err


def test_low_confidence_is_unknown(model, photos, capsys):
    main(["classify", str(photos / "red" / "000.jpg"), "--model", model, "--threshold", "1.0", "--json"])

    row = json.loads(capsys.readouterr().out.splitlines()[0])
    assert row["label"] == "unknown"
    assert {found["class"] for found in row["predictions"]} == {"cat", "dog", "ship <&>"}


def test_the_table_says_unknown_before_the_classes_it_is_unsure_about(model, photos, capsys):
    main(["classify", str(photos / "red" / "000.jpg"), "--model", model, "--threshold", "1.0"])

    line = capsys.readouterr().out.splitlines()[0]
    assert ": unknown (" in line and "cat" in line and "dog" in line


def test_the_longest_file_name_costs_no_other_file_its_result(model, photos, tmp_path, capsys):
    (photos / "red" / "000.jpg").rename(photos / "red" / f"{'a' * 250}.jpg")

    outputs = ["--csv", str(tmp_path / "all.csv"), "--annotate", str(tmp_path / "out")]
    assert main(["classify", str(photos), "z" * 300, "--model", model, *outputs]) == 0

    text = capsys.readouterr().out
    assert "6 of 7 classified" in text and "there is no such file" in text
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 6


def test_a_folder_in_place_of_the_csv_file_is_refused_before_the_work(model, photos, tmp_path, capsys):
    assert main(["classify", str(photos), "--model", model, "--csv", str(tmp_path)]) == 2

    captured = capsys.readouterr()
    assert "--csv takes a file to write" in captured.err and "blue" not in captured.out


def test_a_photo_named_after_csv_is_not_overwritten(model, photos, capsys):
    """As when the table's own name is forgotten: classify --csv 000.jpg 001.jpg."""
    photo, other = photos / "red" / "000.jpg", photos / "red" / "001.jpg"
    before = photo.read_bytes()

    assert main(["classify", "--model", model, "--csv", str(photo), str(other)]) == 2

    assert "is the name of a picture or video; name a table, such as labels.csv" in capsys.readouterr().err
    assert photo.read_bytes() == before


@pytest.mark.parametrize("older", ["older", None])
def test_a_run_that_breaks_off_leaves_the_csv_file_as_it_was(older, model, photos, tmp_path, monkeypatch):
    table = tmp_path / "all.csv"
    if older:
        table.write_text(older)
    monkeypatch.setattr("mnasnet.commands.outputs.Table.write", lambda self, result: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        main(["classify", str(photos), "--model", model, "--csv", str(table)])

    assert (table.read_text() if table.exists() else None) == older
    assert (tmp_path / "all.csv.part").read_text().startswith("path,frame,rank")


def test_videos_of_a_folder_follow_the_rules_of_its_images(model, photos, tmp_path, capsys):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_film(elsewhere / "film.avi", frames=1)
    (photos / "linked").symlink_to(elsewhere)
    (photos / "__MACOSX").mkdir()
    write_film(photos / "__MACOSX" / "film.avi", frames=1)

    assert main(["classify", str(photos), "--model", model]) == 0

    films = [line for line in capsys.readouterr().out.splitlines() if "film.avi" in line]
    assert len(films) == 1 and "linked" in films[0]


def test_video_frames_are_classified_and_annotated(model, tmp_path, capsys):
    film = tmp_path / "film.avi"
    write_film(film)

    arguments = ["classify", str(film), "--model", model, "--every", "3", "--json", "--annotate", str(tmp_path / "out")]
    assert main(arguments) == 0

    *rows, summary = map(json.loads, capsys.readouterr().out.splitlines())
    assert [row["frame"] for row in rows] == [0, 3, 6, 9]
    assert summary["classified"] == 4
    assert (tmp_path / "out" / "film_labelled.mp4").stat().st_size > 0


def test_classify_takes_the_names_of_the_tasks_parameters(model, photos, capsys):
    assert main(["classify", str(photos), "--model-name", model, "--confidence-threshold", "1"]) == 0

    assert capsys.readouterr().out.count("unknown (") == 6

    assert main(["classify", str(photos), "--model-weight-file", model, "--model-name", "ignored then"]) == 0


def test_a_table_of_rows_goes_into_no_pipe(model, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert main(["classify", str(photos), "--model", model, "--csv", "-"]) == 2

    assert "got -; name a file, or give --json" in capsys.readouterr().err and not (tmp_path / "-").exists()


@pytest.mark.parametrize("command", ["classify", "check"])
def test_commands_run_in_programs_that_have_no_standard_error(command, model, photos, tmp_path):
    folder = write_image_folder(tmp_path / "data", per_class=2) if command == "check" else photos
    line = [
        sys.executable,
        "-m",
        "mnasnet",
        command,
        str(folder),
        *(["--model", model] if command == "classify" else []),
    ]

    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *line], capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0 and done.stdout


def test_version_tells_what_a_report_of_a_fault_needs(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    first, *others = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0 and first == f"mnasnet {mnasnet.__version__}"
    assert [line.split()[0] for line in others[:3]] == ["Python", "torch", "onnxruntime"] and len(others) == 5


def test_models_lists_every_network_with_its_counts(capsys):
    assert main(["models", "--json"]) == 0

    rows = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["mnasnet1_0"]["parameters"] == 4_383_312
    assert rows["mnasnet1_0"]["imagenet_top1_percent"] == pytest.approx(73.456)
    assert rows["mnasnet_140"]["imagenet_top1_percent"] is None


def test_models_names_the_bundled_one_and_what_the_size_is_of(capsys):
    assert main(["models", "--input-size", "64"]) == 0

    shown = capsys.readouterr().out
    assert "photos10 is the bundled model: no download" in shown
    assert shown.splitlines()[0].endswith("at 64 px: M multiply-adds  peak MB  ImageNet top-1")


def test_info_shows_nothing_that_a_terminal_obeys(tmp_path, capsys):
    model = open_model("photos10")
    names = ("red \x1b[31m\n", *model.class_names[1:])
    modelfile.save(replace(model, class_names=names), tmp_path / "m.safetensors")

    assert main(["info", str(tmp_path / "m.safetensors")]) == 0

    assert r"red \x1b[31m\n, " in capsys.readouterr().out


def test_info_tells_of_a_published_network_without_downloading_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MNASNET_CACHE", str(tmp_path / "nothing"))

    assert main(["info", "mnasnet1_0"]) == main(["info", "semnasnet_140"]) == 0
    told = capsys.readouterr().out
    assert main(["info", "mnasnet0_75", "--json"]) == 0
    as_json = json.loads(capsys.readouterr().out)

    assert "4,383,312 parameters, 314.4 M multiply-adds at 224 px" in told
    assert "classes      1000: tench" in told and "imagenet_top1_percent: 73.456" in told
    assert "weights      not downloaded yet; classify --model mnasnet1_0 does" in told
    assert "classes      1000 are counted here" in told and "weights      none published" in told
    assert as_json["preprocess"]["resize"] == 232 and len(as_json["class_names"]) == 1000
    assert as_json["weights"].startswith("not downloaded yet")
    assert not (tmp_path / "nothing").exists()


def test_info_tells_what_a_file_holds(model, capsys):
    assert main(["info", model]) == 0

    text = capsys.readouterr().out
    assert "cat, dog, ship <&>" in text and "64 x 64 px" in text


def test_help_names_every_command():
    text = subprocess.run(
        [sys.executable, "-m", "mnasnet", "--help"], capture_output=True, text=True, check=True
    ).stdout

    for command in ("classify", "models", "info"):
        assert command in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_words_for_every_option(command):
    parser = argparse.ArgumentParser()

    importlib.import_module(COMMANDS[command][0]).add_arguments(parser)

    assert [action.dest for action in parser._actions if not action.help] == []


def test_what_torch_says_when_its_import_was_stopped_is_not_printed():
    ended = (
        "import logging; from mnasnet.cli import main; main([]);"
        "logging.getLogger('torch._subclasses.fake_tensor').info('FakeTensor cache stats:')"
    )

    done = subprocess.run([sys.executable, "-c", ended], capture_output=True, text=True, check=True)

    assert "FakeTensor" not in done.stderr


def test_annotating_into_the_photos_own_folder_leaves_every_original_alone(model, photos, capsys):
    before = {path: path.read_bytes() for path in photos.rglob("*.jpg")}
    folder = photos / "red"

    for _ in range(2):
        assert main(["classify", str(folder), "--model", model, "--annotate", str(folder)]) == 0

    assert {path: path.read_bytes() for path in before} == before
    assert sorted(path.name for path in folder.glob("*_labelled*")) == ["000_labelled.jpg", "001_labelled.jpg"]


def test_annotated_copies_among_photos_are_no_photos(model, photos, capsys, caplog):
    assert main(["classify", str(photos), "--model", model, "--annotate", str(photos)]) == 0
    assert len(list(photos.rglob("*_labelled.jpg"))) == 6
    capsys.readouterr()

    with caplog.at_level(logging.INFO):
        assert main(["classify", str(photos), "--model", model]) == 0

    assert "6 of 6 classified" in capsys.readouterr().out and "2 annotated copies of ours left out" in caplog.text
    found = scan(photos)
    assert len(found.train) == 6 and found.ignored["annotated pictures of classify"] == 6


def test_a_photo_of_ones_own_that_is_called_labelled_is_a_photo(model, photos, capsys):
    folder = photos / "red"
    (folder / "001.jpg").rename(folder / "000_labelled.jpg")
    before = (folder / "000_labelled.jpg").read_bytes()

    for _ in range(2):
        assert main(["classify", str(folder), "--model", model, "--annotate", str(folder)]) == 0

    assert capsys.readouterr().out.count("2 of 2 classified") == 2
    assert (folder / "000_labelled.jpg").read_bytes() == before
    assert len(list(folder.iterdir())) == 4


def test_a_video_of_ones_own_that_is_called_labelled_is_not_replaced_and_a_copy_is(model, tmp_path, capsys):
    write_film(tmp_path / "film.avi")
    write_film(tmp_path / "own.avi")
    own = (tmp_path / "own.avi").rename(tmp_path / "film_labelled.mp4")
    before = own.read_bytes()

    for _ in range(2):
        assert main(["classify", str(tmp_path), "--model", model, "--annotate", str(tmp_path), "--every", "5"]) == 0

    assert own.read_bytes() == before
    names = {path.name for path in tmp_path.glob("*.mp4")}
    assert names == {"film_labelled.mp4", "film_2_labelled.mp4", "film_labelled_labelled.mp4"}


def test_two_videos_of_one_name_give_two_copies(model, tmp_path, capsys):
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        write_film(tmp_path / part / "f.avi")

    assert main(["classify", str(tmp_path), "--model", model, "--annotate", str(tmp_path / "out"), "--every", "5"]) == 0

    assert sorted(path.parent.name for path in (tmp_path / "out").rglob("*.mp4")) == ["a", "b"]


def test_a_copy_of_every_second_frame_lasts_as_long_as_the_original(model, tmp_path, capsys):
    from mnasnet.data.video import Video

    write_film(tmp_path / "f.avi", frames=20)

    main(["classify", str(tmp_path / "f.avi"), "--model", model, "--annotate", str(tmp_path), "--every", "2"])

    with Video(tmp_path / "f_labelled.mp4") as copy:
        assert copy.frame_count / copy.frames_per_second == pytest.approx(2.0)


def test_a_missing_path_is_one_failure_among_results(model, photos, capsys):
    arguments = ["classify", str(photos / "red" / "000.jpg"), "/not/there.jpg", "--model", model, "--json"]

    assert main(arguments) == 0

    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["classified"] == 1
    assert summary["failures"] == [{"path": "/not/there.jpg", "error": "there is no such file or folder"}]


def test_a_picture_too_large_to_decode_whole_is_annotated_from_a_draft(model, tmp_path, capsys, monkeypatch):
    Image.new("RGB", (6000, 4000), (200, 30, 30)).save(tmp_path / "huge.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6_000_000)

    assert main(["classify", str(tmp_path), "--model", model, "--annotate", str(tmp_path / "out")]) == 0

    assert Image.open(tmp_path / "out" / "huge_labelled.jpg").size == (3000, 2000)


def test_strict_tells_a_script_that_some_failed(model, photos):
    (photos / "red" / "bad.jpg").write_bytes(b"")

    assert main(["classify", str(photos), "--model", model]) == 0
    assert main(["classify", str(photos), "--model", model, "--strict"]) == 1


def test_a_folder_that_cannot_be_opened_is_a_failure_told_once(model, photos, capsys, monkeypatch):
    scandir = os.scandir

    def closed(folder):
        if os.fspath(folder).endswith("red"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", closed)

    assert main(["classify", str(photos), "--model", model, "--strict"]) == 1

    said = capsys.readouterr()
    assert "4 of 5 classified, 1 failed" in said.out
    assert said.out.splitlines()[-1].endswith("red: this folder cannot be opened: Permission denied")
    assert "red" not in said.err


def test_a_file_that_cannot_be_reached_is_not_called_missing(model, tmp_path, capsys):
    (tmp_path / "round.jpg").symlink_to(tmp_path / "round.jpg")

    assert main(["classify", str(tmp_path / "round.jpg"), "--model", model]) == 1

    assert "round.jpg: not classified: cannot be opened: Too many levels" in capsys.readouterr().out


def test_names_that_a_terminal_would_obey_are_shown_as_escapes(model, photos, capsys):
    (photos / "red" / "000.jpg").rename(photos / "red" / "two\nlines \x1b[31mred.jpg")
    (photos / "red" / "bad\n.jpg").write_bytes(b"")

    assert main(["classify", str(photos / "red"), "--model", model]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert any("two\\nlines \\x1b[31mred.jpg: " in line for line in lines)


def test_a_pattern_that_the_shell_left_alone_is_expanded(model, photos, capsys):
    assert main(["classify", str(photos / "red" / "*.jpg"), "--model", model]) == 0

    assert "2 of 2 classified" in capsys.readouterr().out


def test_two_stars_in_a_pattern_are_any_number_of_folders(model, photos, capsys):
    assert main(["classify", str(photos.parent / "**" / "00?.jpg"), "--model", model]) == 0

    assert "6 of 6 classified" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "reason"), [("-", "standard input is not read"), ("https://a.org/cat.jpg", "download the image first")]
)
def test_what_is_no_file_says_what_it_is(model, word, reason, capsys):
    assert main(["classify", word, "--model", model]) == 1

    assert reason in capsys.readouterr().out


def test_a_copy_cannot_go_into_a_file(model, photos, tmp_path, capsys):
    (tmp_path / "film.mp4").write_bytes(b"x")

    assert main(["classify", str(photos), "--model", model, "--annotate", str(tmp_path / "film.mp4")]) == 2

    assert "--annotate takes a folder to write into" in capsys.readouterr().err


def test_a_folder_for_copies_that_cannot_be_written_is_refused_before_the_work(model, photos, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    assert main(["classify", str(photos), "--model", model, "--annotate", str(photos)]) == 2

    captured = capsys.readouterr()
    assert "cannot be written: Permission denied; name another folder" in captured.err and "blue" not in captured.out


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["clasify", "x.jpg"], "there is no command 'clasify', did you mean classify?"),
        (["classify", "x.jpg", "--topk", "2"], "unknown option --topk, did you mean --top-k?"),
        (["classify", "x.jpg", "--modle=a"], "unknown option --modle=a, did you mean --model?"),
        (["train", "x", "--resume"], "unknown option --resume, resume is a command: python -m mnasnet resume;"),
        (["train", "x", "--resume=y"], "unknown option --resume=y, resume is a command: python -m mnasnet resume;"),
        (["train", "x", "--resume-folder", "y"], "--resume-folder, resume is a command: python -m mnasnet resume;"),
        (["search", "x", "resume_folder=y"], "resume_folder=y, resume is a command: python -m mnasnet resume;"),
        (["check", ""], "must be a path, got an empty one"),
    ],
)
def test_a_slip_of_the_keyboard_is_one_line_with_the_nearest_word(words, answer, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(words)

    error = capsys.readouterr().err
    assert exit_info.value.code == 2
    assert error.startswith("error: ") and answer in error and error.count("\n") == 1


def test_the_folder_of_a_run_means_its_best_model(model, photos, tmp_path, capsys):
    (tmp_path / "run" / "weights").mkdir(parents=True)
    shutil.copy(model, tmp_path / "run" / "weights" / "best.safetensors")

    assert main(["classify", str(photos), "--model", str(tmp_path / "run")]) == 0
    assert main(["info", str(tmp_path / "run")]) == 0


def test_an_empty_folder_is_said_to_be_empty(model, tmp_path, capsys):
    assert main(["classify", str(tmp_path), "--model", model]) == 1

    assert "nothing to classify" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("--every", "0", "must be a whole number from 1"),
        ("--batch", "-1", "must be a whole number from 1 to 1024, got '-1'"),
        ("--top-k", "0", "must be a whole number from 1 to 1000, got '0'"),
        ("--threshold", "7", "must be a number from 0 to 1, got '7'"),
        ("--input-size", "5000000", "must be a whole number from 32 to 2048"),
        ("--threads", "many", "must be a whole number from 1 to 1024, got 'many'"),
    ],
)
def test_a_number_out_of_bounds_names_the_rule(option, value, rule, capsys):
    with pytest.raises(SystemExit):
        main(["classify", "x.jpg", f"{option}={value}"])

    assert rule in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_one_line(model, photos, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")

    assert main(["classify", str(photos), "--model", model, "--csv", str(tmp_path / "file" / "x.csv")]) == 2

    error = capsys.readouterr().err
    assert error.startswith("error: ") and "file" in error and "Traceback" not in error


def test_a_run_that_cannot_start_leaves_an_older_table_alone(tmp_path, capsys):
    (tmp_path / "keep.csv").write_text("mine")

    assert main(["classify", "x.jpg", "--model", "/not/there.safetensors", "--csv", str(tmp_path / "keep.csv")]) == 2

    assert (tmp_path / "keep.csv").read_text() == "mine"


def test_names_that_the_terminal_cannot_show_do_not_end_the_run(model, tmp_path):
    import os

    (tmp_path / "中.jpg").write_bytes(b"")
    command = [sys.executable, "-m", "mnasnet", "classify", str(tmp_path), "--model", model, "--json"]

    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "cp1252"})

    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["path"].endswith("中.jpg")


def test_json_is_json_on_a_terminal_that_cannot_show_its_letters(tmp_path):
    modelfile.save(random_model(class_names=("café", "🐶", "c")), tmp_path / "m.safetensors")
    command = [sys.executable, "-m", "mnasnet", "info", str(tmp_path / "m.safetensors"), "--json"]

    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "latin-1"})

    assert json.loads(done.stdout)["class_names"] == ["café", "🐶", "c"]


def test_a_path_with_an_equals_sign_stays_a_path(model, photos, tmp_path, capsys):
    assert main(["classify", str(photos), "--model", model, "--annotate", str(tmp_path / "out=1")]) == 0

    assert (tmp_path / "out=1").is_dir()


def test_a_tilde_behind_an_equals_sign_is_the_home_folder(model, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("USERPROFILE" if os.name == "nt" else "HOME", str(tmp_path))

    assert main(["classify", str(photos), "--model", model, "--csv=~/l.csv"]) == 0

    assert (tmp_path / "l.csv").is_file()


def test_names_that_begin_with_a_tilde_are_names(model, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("~old").mkdir()
    shutil.copy(next(photos.rglob("*.jpg")), "~a.jpg")
    named = shutil.copy(model, "~old/m.safetensors")

    assert main(["classify", "~a.jpg", "--model", str(named), "--csv", "~no-such-user/l.csv"]) == 0

    assert "~a.jpg: " in capsys.readouterr().out
    assert Path("~no-such-user/l.csv").is_file()


def test_a_path_may_keep_the_quotes_it_was_copied_with(model, photos, tmp_path, capsys):
    assert main(["classify", f'"{photos}"', "--model", model, "--csv", f"'{tmp_path / 'l.csv'}'"]) == 0

    assert (tmp_path / "l.csv").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_a_terminal_shows_how_many_images_of_how_many(model, photos):
    import fcntl
    import pty
    import struct
    import termios

    keeper, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "mnasnet", "classify", str(photos), "--model", model]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=terminal, check=True, timeout=120)
    os.set_blocking(keeper, False)
    shown = os.read(keeper, 100_000)

    os.close(terminal)
    os.close(keeper)
    assert b"/6 [" in shown


def test_the_first_chart_of_a_machine_is_no_news(tmp_path):
    chart = "from mnasnet.cli import main; main(['models']); import matplotlib.font_manager"

    done = subprocess.run(
        [sys.executable, "-c", chart],
        env={**os.environ, "MPLCONFIGDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert list(tmp_path.glob("fontlist*"))
    assert "fontManager" not in done.stderr


@pytest.mark.parametrize(
    "command", [["train", "nowhere"], ["search", "nowhere", "--target-ms", "5"], ["info", "nowhere"]]
)
def test_a_program_that_asked_for_json_hears_of_a_failure_there_too(command, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert main([*command, "--json"]) == 2

    shown = capsys.readouterr()
    told = json.loads(shown.out.splitlines()[-1])
    assert told["status"] == "failed" and "nowhere" in told["error"]
    assert shown.err.splitlines()[-1] == f"error: {told['error']}"


def test_a_package_that_an_installation_left_out_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)  # importing it fails, as on a board that has numpy and a runtime
    monkeypatch.delitem(sys.modules, "mnasnet.commands.classify", raising=False)
    monkeypatch.delitem(sys.modules, "mnasnet.commands.outputs", raising=False)

    assert main(["classify", "photo.jpg"]) == 2

    told = "error: this needs the package tqdm, which is not installed; run: pip install tqdm\n"
    assert capsys.readouterr().err == told


def test_a_library_that_does_not_load_is_one_line_with_its_reason(tmp_path, monkeypatch, capsys):
    (tmp_path / "tqdm.py").write_text("raise ImportError('libtqdm.so: failed to map segment from shared object')")
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("tqdm", "mnasnet.commands.classify", "mnasnet.commands.outputs"):
        monkeypatch.delitem(sys.modules, module, raising=False)

    assert main(["classify", "photo.jpg", "--json"]) == 2

    shown = capsys.readouterr()
    told = json.loads(shown.out)["error"]
    assert told.startswith("tqdm cannot be loaded: libtqdm.so: failed to map segment from shared object; ")
    assert "ulimit -v" in told and shown.err == f"error: {told}\n"


def test_memory_that_ran_out_is_told_without_the_file_where_it_did(monkeypatch, capsys):
    def fail(options):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), "/tmp/tmpn_oxdn9f")

    monkeypatch.setattr("mnasnet.commands.models.run", fail)

    assert main(["models"]) == 2

    told = "error: memory ran out; close other programs, or raise the limit that this one has (ulimit -v)\n"
    assert capsys.readouterr().err == told


def test_a_fault_of_our_own_imports_is_no_library_that_does_not_load(monkeypatch):
    monkeypatch.delattr("mnasnet.words.printable")
    for module in ("mnasnet.commands.classify", "mnasnet.commands.outputs"):
        monkeypatch.delitem(sys.modules, module, raising=False)

    with pytest.raises(ImportError, match="printable"):
        main(["classify", "photo.jpg"])


@pytest.mark.parametrize(
    "command", [["benchmark"], ["export", "photos10", "--to", "onnx"], ["val", "photos10", "."], ["check", "."]]
)
def test_an_out_that_is_a_file_is_told_before_anything_runs(command, tmp_path, capsys):
    (tmp_path / "file.txt").touch()

    with pytest.raises(SystemExit):
        main([*command, "--out", str(tmp_path / "file.txt")])

    assert "argument --out: takes a folder to write into" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["val", "photos10", "."], ["check", "."]])
def test_an_out_that_is_the_folder_of_a_run_is_refused(command, tmp_path, capsys):
    (tmp_path / "args.yaml").touch()

    with pytest.raises(SystemExit):
        main([*command, "--out", str(tmp_path)])

    assert f"{tmp_path} is that of a run, whose files would be replaced; name another" in capsys.readouterr().err


def test_a_table_that_cannot_be_written_is_named_as_the_user_did(model, photos, tmp_path, capsys):
    (tmp_path / "file").touch()

    assert main(["classify", str(photos), "--model", model, "--csv", str(tmp_path / "file" / "x.csv")]) == 2

    shown = capsys.readouterr().err
    assert f"cannot write {tmp_path / 'file' / 'x.csv'}: " in shown and ".part" not in shown


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            ["train", "{photos}", "--model", "runs/train/frist"],
            "got 'runs/train/frist', and no such file exists; check the path",
        ),
        (["profile", "smal"], "no space, network or file is called 'smal'; did you mean small?"),
        (["profile", "small", "--out", "{photos}"], "takes a file to write"),
    ],
)
def test_a_typing_mistake_is_named_with_what_was_meant(command, told, photos, capsys):
    try:
        code = main([word.format(photos=photos) for word in command])
    except SystemExit as ended:
        code = ended.code

    assert code == 2 and told in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="no links and pipes there")
def test_a_table_goes_where_a_link_leads_and_never_replaces_a_device(model, photos, tmp_path, capsys):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.csv").symlink_to("real/labels.csv")
    os.mkfifo(tmp_path / "pipe")

    assert main(["classify", str(photos), "--model", model, "--csv", str(tmp_path / "link.csv")]) == 0
    assert main(["classify", str(photos), "--model", model, "--csv", str(tmp_path / "pipe")]) == 2

    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "real" / "labels.csv").stat().st_size > 100
    assert (tmp_path / "pipe").is_fifo() and "is a device or a pipe; name a file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["profile", "tiny", "--out", str(tmp_path / "pipe")])
    assert "is a device or a pipe" in capsys.readouterr().err


def test_strict_counts_copies_that_could_not_be_written(model, photos, tmp_path, capsys):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "red").write_bytes(b"a file where a folder should be")

    words = ["classify", str(photos), "--model", model, "--annotate", str(folder), "--strict", "--json"]
    assert main(words) == 1

    assert len(json.loads(capsys.readouterr().out.splitlines()[-1])["without_copy"]) == 2


def test_a_video_whose_copy_cannot_be_written_is_classified_all_the_same(model, photos, tmp_path, capsys):
    (photos / "films").mkdir()
    write_film(photos / "films" / "b.avi", frames=4)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "films").write_bytes(b"a file where a folder should be")

    assert main(["classify", str(photos), "--model", model, "--annotate", str(folder), "--json"]) == 0

    *results, summary = map(json.loads, capsys.readouterr().out.splitlines())
    assert [result["frame"] for result in results if result["path"].endswith("b.avi")] == [0, 1, 2, 3]
    assert [one["path"] for one in summary["without_copy"]] == [str(photos / "films" / "b.avi")]
    assert "File exists" in summary["without_copy"][0]["error"] and summary["failed"] == 0


def run_apart(words, *, before="pass", **environment):
    """The command in a process of its own, after the statements ``before``."""
    code = f"import sys, mnasnet.cli; {before}; sys.exit(mnasnet.cli.main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, *words], env={**os.environ, **environment}, capture_output=True, text=True
    )


@pytest.mark.skipif(sys.platform == "win32", reason="the limit stands in for a full disk")
def test_a_copy_that_a_full_disk_cut_off_is_told_and_does_not_stay(model, tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)).save(tmp_path / "noise.png")
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))"

    words = ["classify", str(tmp_path / "noise.png"), "--model", model, "--annotate", str(tmp_path / "out"), "--strict"]
    done = run_apart(words, before=full)

    assert done.returncode == 1 and "noise.png: no annotated copy: File too large" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="names are Unicode there")
def test_where_file_names_are_ascii_others_have_their_copies_too(model, tmp_path):
    write_image_folder(tmp_path / "photos", per_class=1)
    (tmp_path / "photos" / "red" / "000.jpg").rename(tmp_path / "photos" / "red" / "bild ü.jpg")

    words = ["classify", str(tmp_path / "photos"), "--model", model, "--csv", str(tmp_path / "all.csv")]
    ascii_names = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run_apart([*words, "--annotate", str(tmp_path / "out")], **ascii_names)

    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert "3 of 3 classified" in done.stdout
    assert (tmp_path / "out" / "red" / "bild ü_labelled.jpg").is_file()
    assert len(list(csv.DictReader((tmp_path / "all.csv").open(encoding="utf-8", errors="replace")))) == 9


def test_where_opencv_does_not_start_images_are_classified_and_videos_tell_the_cure(model, photos, tmp_path):
    write_film(tmp_path / "photos" / "film.avi")
    (tmp_path / "stub").mkdir()
    broken = "import time\ntime.sleep(0.05)\nraise ImportError('libGL.so.1: cannot open shared object file')\n"
    (tmp_path / "stub" / "cv2.py").write_text(broken)
    path = os.pathsep.join([str(tmp_path / "stub"), os.environ.get("PYTHONPATH", "")])

    done = run_apart(["classify", str(photos), "--model", model, "--batch", "1"], PYTHONPATH=path)

    assert done.returncode == 0 and "6 of 7 classified, 1 failed" in done.stdout
    assert "OpenCV, which does not start here (libGL.so.1" in done.stdout and "libgl1" in done.stdout
    assert done.stderr.count("images are resized without it") == 1


def test_a_user_without_a_home_folder_is_told_what_to_set(monkeypatch, capsys):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    for name in ("MNASNET_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    assert main(["classify", "x.jpg", "--model", "mnasnet1_0"]) == 2

    assert "MNASNET_CACHE must name the folder for downloads" in capsys.readouterr().err


def test_a_benchmark_that_could_not_be_written_is_refused_before_it_measures(model, tmp_path, capsys):
    (tmp_path / "file").touch()

    assert main(["benchmark", model, "--only", "--out", str(tmp_path / "file" / "below")]) == 2

    assert "--out must be a folder that can be written to" in capsys.readouterr().err
