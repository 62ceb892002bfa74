"""``classify`` as a user types it: tables, JSON, CSV, annotated copies, videos, and files that cannot be read."""

import csv
import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from work import calls_in

from mnasnet import modelfile
from mnasnet.cli import main
from mnasnet.commands.outputs import AnnotatedCopies, CsvFile
from mnasnet.data.folder import scan
from mnasnet.testing import random_model, write_image_folder


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


def test_a_picture_within_the_limit_of_pixels_comes_without_a_warning(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # twice as many are refused
    Image.new("RGB", (12, 12)).save(tmp_path / "large.png")

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert main(["classify", str(tmp_path / "large.png"), "--model", model]) == 0

    assert [str(one.message) for one in told if "exceeds limit" in str(one.message)] == []


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
    assert [row["rank"] for row in rows] == ["1", "2", "3"] * 6
    assert {len(row["confidence"]) for row in rows} == {len("0.123456")}
    pictures = sorted(out.rglob("*.jpg"))
    names = [path.relative_to(out).as_posix() for path in pictures]
    assert names == [f"{name}/00{i}_labelled.jpg" for name in ("blue", "green", "red") for i in (0, 1)]
    original = np.asarray(Image.open(photos / "blue" / "000.jpg")).astype(int)
    assert np.abs(np.asarray(Image.open(pictures[0])).astype(int) - original).max() > 60


def test_all_failing_is_exit_code_one_and_some_failing_is_zero(model, tmp_path, capsys):
    (tmp_path / "a.jpg").write_bytes(b"")

    assert main(["classify", str(tmp_path / "a.jpg"), "--model", model]) == 1


def test_low_confidence_is_unknown(model, photos, capsys):
    main(["classify", str(photos / "red" / "000.jpg"), "--model", model, "--threshold", "1.0", "--json"])

    row = json.loads(capsys.readouterr().out.splitlines()[0])
    assert row["label"] == "unknown"
    assert {found["class"] for found in row["predictions"]} == {"cat", "dog", "ship <&>"}


def test_a_copy_of_low_confidence_is_labelled_unknown(model, photos, tmp_path):
    photo = photos / "red" / "000.jpg"
    for threshold in ("0", "1"):
        words = ["--threshold", threshold, "--annotate", str(tmp_path / threshold)]
        assert main(["classify", str(photo), "--model", model, *words]) == 0

    sure, unsure = (Image.open(tmp_path / threshold / "000_labelled.jpg") for threshold in ("0", "1"))
    assert sure.tobytes() != unsure.tobytes()


def test_a_frame_of_low_confidence_is_unknown(model, tmp_path, capsys):
    write_film(tmp_path / "film.avi", frames=1)

    main(["classify", str(tmp_path / "film.avi"), "--model", model, "--threshold", "1.0", "--json"])

    assert json.loads(capsys.readouterr().out.splitlines()[0])["label"] == "unknown"


def test_a_file_whose_name_reads_as_a_pattern_is_that_file(model, photos, capsys):
    other, named = photos / "red" / "1.jpg", photos / "red" / "[1].jpg"
    (photos / "red" / "000.jpg").rename(other)
    (photos / "red" / "001.jpg").rename(named)

    main(["classify", str(named), "--model", model, "--json"])

    assert json.loads(capsys.readouterr().out.splitlines()[0])["path"] == str(named)


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


def test_a_table_that_a_spreadsheet_keeps_is_named_and_the_rows_stay_beside_it(
    model, photos, tmp_path, monkeypatch, capsys
):
    table = tmp_path / "all.csv"
    table.write_text("older")

    def kept(*_):
        raise PermissionError(errno.EACCES, "The process cannot access the file because it is being used")

    monkeypatch.setattr(Path, "replace", kept)

    assert main(["classify", str(photos), "--model", model, "--csv", str(table)]) == 2

    assert f"cannot write {table}: The process cannot access" in capsys.readouterr().err
    assert (table.read_text(), (tmp_path / "all.csv.part").exists()) == ("older", True)


def test_a_folder_in_place_of_the_csv_file_is_refused_before_the_work(model, photos, tmp_path, capsys):
    assert main(["classify", str(photos), "--model", model, "--csv", str(tmp_path)]) == 2

    captured = capsys.readouterr()
    assert "--csv takes a file to write" in captured.err and "blue" not in captured.out


@pytest.mark.parametrize("name", ["000.jpg", "000.JPG"])
def test_a_photo_named_after_csv_is_not_overwritten(name, model, photos, capsys):
    """As when the table's own name is forgotten: classify --csv 000.jpg 001.jpg."""
    photo, other = photos / "red" / name, photos / "red" / "001.jpg"
    (photos / "red" / "000.jpg").rename(photo)
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


@pytest.mark.parametrize("ends", [KeyboardInterrupt, SystemExit, BrokenPipeError])  # Ctrl-C, SIGTERM, `| head`
def test_a_run_that_ends_early_says_where_the_rows_of_its_table_are(ends, tmp_path, caplog):
    with pytest.raises(ends), CsvFile(tmp_path / "all.csv"):
        raise ends

    assert f"the rows so far are in {tmp_path / 'all.csv.part'}" in caplog.text


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


def test_a_copy_is_named_as_quickly_after_many_of_its_name(tmp_path):
    copies = AnnotatedCopies(tmp_path)
    frames = [tmp_path / f"{video}" / "frame1.jpg" for video in range(300)]

    first, *_, last = (calls_in(partial(copies.path_for, frame, ".jpg")) for frame in frames)

    assert last < 4 * first
    assert copies.path_for(tmp_path / "300" / "Frame1.jpg", ".jpg").name == "Frame1_301_labelled.jpg"


def test_a_copy_is_placed_as_quickly_among_many_folders(tmp_path):
    folders = [tmp_path / f"class{number}" for number in range(200)]
    for folder in folders:
        folder.mkdir()
    few, many = AnnotatedCopies(tmp_path / "few", folders[:1]), AnnotatedCopies(tmp_path / "many", folders)

    alone = calls_in(lambda: few.path_for(folders[0] / "1.jpg", ".jpg"))

    assert calls_in(lambda: many.path_for(folders[-1] / "1.jpg", ".jpg")) < 2 * alone


def test_of_folders_in_each_other_the_one_given_first_tells_where_a_copy_lies(tmp_path):
    outer, inner = tmp_path / "photos", tmp_path / "photos" / "cat"
    inner.mkdir(parents=True)

    for given, below in (([outer, inner], "cat"), ([inner, outer], "."), ([inner, outer, inner], ".")):
        copies = AnnotatedCopies(tmp_path / "out", given)
        assert copies.path_for(inner / "1.jpg", ".jpg").parent == tmp_path / "out" / below


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


def test_a_copy_shows_the_frame_before_broken_ones_for_as_long_as_they_would_be(model, tmp_path, capsys):
    from mnasnet.data.video import Video

    write_film(tmp_path / "f.avi", frames=6)
    whole = (tmp_path / "f.avi").read_bytes()
    begin, end = (whole.replace(b"00dc", b"____", frame).find(b"00dc") for frame in (2, 3))
    (tmp_path / "f.avi").write_bytes(whole[: begin + 8] + bytes(end - begin - 8) + whole[end:])

    main(["classify", str(tmp_path / "f.avi"), "--model", model, "--annotate", str(tmp_path)])

    with Video(tmp_path / "f_labelled.mp4") as copy:
        assert copy.frame_count == 6


def test_a_video_is_one_however_its_ending_is_written(model, tmp_path, capsys):
    write_film(tmp_path / "film.avi", frames=1)
    (tmp_path / "film.avi").rename(tmp_path / "FILM.AVI")

    for given in (tmp_path / "FILM.AVI", tmp_path):
        assert main(["classify", str(given), "--model", model, "--json"]) == 0
        assert json.loads(capsys.readouterr().out.splitlines()[0])["frame"] == 0


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


def test_the_folder_of_a_run_means_its_best_model(model, photos, tmp_path, capsys):
    (tmp_path / "run" / "weights").mkdir(parents=True)
    shutil.copy(model, tmp_path / "run" / "weights" / "best.safetensors")

    assert main(["classify", str(photos), "--model", str(tmp_path / "run")]) == 0
    assert main(["info", str(tmp_path / "run")]) == 0


def test_an_empty_folder_is_said_to_be_empty(model, tmp_path, capsys):
    assert main(["classify", str(tmp_path), "--model", model]) == 1

    assert "nothing to classify" in capsys.readouterr().out


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


def test_a_table_that_cannot_be_written_is_named_as_the_user_did(model, photos, tmp_path, capsys):
    (tmp_path / "file").touch()

    assert main(["classify", str(photos), "--model", model, "--csv", str(tmp_path / "file" / "x.csv")]) == 2

    shown = capsys.readouterr().err
    assert f"cannot write {tmp_path / 'file' / 'x.csv'}: " in shown and ".part" not in shown


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
    assert done.stdout.splitlines()[-1] == "1 annotated copy could not be written"
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="the limit stands in for a kill")
def test_a_copy_that_a_kill_cut_off_is_not_taken_for_a_users_own(model, tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)).save(tmp_path / "noise.png")
    killed = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL); " + "; ".join(
        f"resource.setrlimit(resource.RLIMIT_{what}, ({most}, {most}))" for what, most in (("CORE", 0), ("FSIZE", 10))
    )
    words = ["classify", str(tmp_path / "noise.png"), "--model", model, "--annotate", str(tmp_path / "out")]

    assert run_apart(words, before=killed, PYTHONDONTWRITEBYTECODE="1").returncode == -signal.SIGXFSZ
    assert main(words) == 0

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["noise_labelled.jpg"]


@pytest.mark.skipif(sys.platform == "win32", reason="the limit stands in for a full disk")
@pytest.mark.parametrize("images", [10, 40])  # the rows come to the disk at the end, or before it
def test_a_table_that_a_full_disk_cuts_short_is_told_with_its_file_and_the_way_on(images, model, tmp_path):
    write_image_folder(tmp_path / "photos", colours={"red": (200, 40, 40)}, per_class=images)
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))"

    table = tmp_path / "all.csv"
    done = run_apart(["classify", str(tmp_path / "photos"), "--model", model, "--csv", str(table)], before=full)

    assert done.returncode == 2
    assert f"error: cannot write {table}: File too large; name another file, or make room" in done.stderr
    assert not table.exists()


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
