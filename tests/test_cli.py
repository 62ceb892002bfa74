"""The command line, as a user types it."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mnasnet import modelfile
from mnasnet.cli import main
from mnasnet.testing import random_model, write_image_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    modelfile.save(random_model(class_names=("cat", "dog", "ship <&>")), path)
    return str(path)


@pytest.fixture
def photos(tmp_path):
    return write_image_folder(tmp_path / "photos", per_class=2)


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
    # six pictures although three folders hold the same two names
    pictures = sorted(out.glob("*.jpg"))
    assert len(pictures) == 6
    original = np.asarray(Image.open(photos / "blue" / "000.jpg")).astype(int)
    assert np.abs(np.asarray(Image.open(pictures[0])).astype(int) - original).max() > 60


def test_all_failing_is_exit_code_one_and_some_failing_is_zero(model, tmp_path, capsys):
    (tmp_path / "a.jpg").write_bytes(b"")

    assert main(["classify", str(tmp_path / "a.jpg"), "--model", model]) == 1


def test_a_path_that_is_not_there_is_one_line(model, capsys):
    assert main(["classify", "/not/there", "--model", model]) in (1, 2)

    captured = capsys.readouterr()
    assert "/not/there" in captured.out + captured.err
    assert "Traceback" not in captured.err


def test_a_model_that_is_not_there_is_one_line(capsys):
    assert main(["classify", "x.jpg", "--model", "/not/there.safetensors"]) == 2

    assert "/not/there.safetensors" in capsys.readouterr().err


def test_low_confidence_is_unknown(model, photos, capsys):
    main(["classify", str(photos / "red" / "000.jpg"), "--model", model, "--threshold", "1.0", "--json"])

    row = json.loads(capsys.readouterr().out.splitlines()[0])
    assert row["predictions"][0]["class"] == "unknown"


def test_video_frames_are_classified_and_annotated(model, tmp_path, capsys):
    import cv2

    film = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for shade in range(0, 250, 25):
        writer.write(np.full((48, 64, 3), shade, np.uint8))
    writer.release()

    arguments = ["classify", str(film), "--model", model, "--every", "3", "--json", "--annotate", str(tmp_path / "out")]
    assert main(arguments) == 0

    *rows, summary = map(json.loads, capsys.readouterr().out.splitlines())
    assert [row["frame"] for row in rows] == [0, 3, 6, 9]
    assert summary["classified"] == 4
    assert (tmp_path / "out" / "film.mp4").stat().st_size > 0


def test_models_lists_every_network_with_its_counts(capsys):
    assert main(["models", "--json"]) == 0

    rows = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["mnasnet1_0"]["parameters"] == 4_383_312
    assert rows["mnasnet1_0"]["imagenet_top1_percent"] == pytest.approx(73.456)
    assert rows["mnasnet_140"]["imagenet_top1_percent"] is None


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
