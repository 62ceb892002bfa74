"""The command line, as a user types it."""

import argparse
import errno
import importlib
import io
import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import mnasnet
from mnasnet import modelfile
from mnasnet.cli import COMMANDS, main
from mnasnet.commands import bar
from mnasnet.network.count import count
from mnasnet.testing import random_model, write_image_folder
from mnasnet.zoo import open_model


def test_a_path_that_is_not_there_is_one_line(model, capsys):
    assert main(["classify", "/not/there", "--model", model]) == 1

    captured = capsys.readouterr()
    assert "/not/there" in captured.out + captured.err
    assert "Traceback" not in captured.err


def test_a_model_that_is_not_there_is_one_line(capsys):
    assert main(["classify", "x.jpg", "--model", "/not/there.safetensors"]) == 2

    assert "/not/there.safetensors" in capsys.readouterr().err


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


def test_without_a_terminal_long_commands_tell_now_and_then_how_far_they_are(tmp_path, monkeypatch, caplog):
    folder = write_image_folder(tmp_path / "data", per_class=2)
    caplog.set_level(logging.INFO)

    assert main(["check", str(folder)]) == 0
    assert "6 images" not in caplog.text

    monkeypatch.setattr(bar, "TELL_EVERY_S", 0.0)
    assert main(["check", str(folder)]) == 0
    assert "1 of 6 images" in caplog.text and "6 of 6 images" in caplog.text


class _Unread(io.StringIO):
    """Standard output that nobody reads any more, as Windows tells it."""

    def write(self, text):
        raise OSError(errno.EINVAL, "Invalid argument")

    def fileno(self):
        return self.descriptor


def test_a_reader_that_has_gone_is_no_failure_on_windows(monkeypatch, capsys):
    out = _Unread()
    out.descriptor = os.open(os.devnull, os.O_WRONLY)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(sys, "stdout", out)

    assert main(["models"]) == 0

    os.close(out.descriptor)
    assert capsys.readouterr().err == ""


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


def test_info_counts_the_images_that_a_file_remembers(tmp_path, capsys):
    remembers = replace(open_model("photos10"), training={"images_sketch": {"0123": "4567", "89ab": "cdef"}})
    modelfile.save(remembers, tmp_path / "m.safetensors")

    assert main(["info", str(tmp_path / "m.safetensors")]) == 0

    assert "images_sketch: hashes of 2 training images\n" in capsys.readouterr().out


def test_info_shows_numbers_and_recipes_for_people(tmp_path, capsys):
    told = replace(
        open_model("photos10"),
        metrics={"val_accuracy": 23 / 30},
        training={"images": {"train": 1140, "val": 30}, "recipe": {"optimizer": "sgd", "ema": 9 / 14}},
    )
    modelfile.save(told, tmp_path / "m.safetensors")

    assert main(["info", str(tmp_path / "m.safetensors")]) == 0

    shown = capsys.readouterr().out
    assert "val_accuracy: 0.766667\n" in shown
    assert "images: train 1140, val 30\n" in shown and "recipe: optimizer sgd, ema 0.642857\n" in shown


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


@pytest.mark.parametrize("count, name", [(10, "photos10"), (1000, "mnasnet1_0"), (3, "semnasnet_140")])
def test_info_shows_the_classes_of_a_class_file_and_downloads_nothing(count, name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MNASNET_CACHE", str(tmp_path / "nothing"))
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"thing {number}" for number in range(count)))

    assert main(["info", name, "--class-file", str(names)]) == 0

    assert f"classes      {count}: thing 0, thing 1, thing 2" in capsys.readouterr().out
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("name", ["photos10", "mnasnet1_0"])
def test_info_refuses_a_class_file_of_other_classes(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MNASNET_CACHE", str(tmp_path / "nothing"))
    (tmp_path / "names.txt").write_text("one\ntwo\n")

    assert main(["info", name, "--class-file", str(tmp_path / "names.txt")]) == 2

    assert f"error: {name}: weights have {10 if name == 'photos10' else 1000} classes, class file 2" in (
        capsys.readouterr().err
    )


def test_info_tells_what_a_file_holds(model, capsys):
    assert main(["info", model]) == 0

    text = capsys.readouterr().out
    assert "cat, dog, ship <&>" in text and "64 x 64 px" in text


def test_info_counts_the_parameters_that_a_file_has(tmp_path, capsys):
    grey = random_model(in_channels=1)
    modelfile.save(grey, tmp_path / "grey.safetensors")

    assert main(["info", str(tmp_path / "grey.safetensors")]) == 0

    assert f" {count(grey.architecture, 64, 3, 1).parameters:,} parameters" in capsys.readouterr().out


def test_help_names_every_command_in_one_line_of_a_terminal():
    text = subprocess.run(
        [sys.executable, "-m", "mnasnet", "--help"],
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.startswith("    ")]
    assert [[command, told] for command, (_, told) in COMMANDS.items() if [command, told] not in lines] == []


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


def test_a_pattern_that_the_shell_left_alone_is_expanded(model, photos, capsys):
    assert main(["classify", str(photos / "red" / "*.jpg"), "--model", model]) == 0

    assert "2 of 2 classified" in capsys.readouterr().out


def test_what_a_pattern_matches_comes_in_the_order_of_names(model, tmp_path, capsys):
    for letter in "fbeadc":
        (tmp_path / f"{letter}.jpg").write_bytes(b"")

    main(["classify", str(tmp_path / "*.jpg"), "--model", model, "--json"])

    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()[:-1]]
    assert [Path(row["path"]).stem for row in rows] == list("abcdef")


def test_two_stars_in_a_pattern_are_any_number_of_folders(model, photos, capsys):
    assert main(["classify", str(photos.parent / "**" / "00?.jpg"), "--model", model]) == 0

    assert "6 of 6 classified" in capsys.readouterr().out


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
        (["train", "--data", "x"], "--data, DATA is given without an option: python -m mnasnet train DATA;"),
        (["info", "x", "--model=x"], "--model=x, MODEL is given without an option: python -m mnasnet info MODEL;"),
        (["val", "x", "--model", "x"], "--model, MODEL is given without an option: python -m mnasnet val MODEL DATA;"),
        (["check", ""], "must be a path, got an empty one"),
        (["check", " "], "must be a path, got an empty one"),
    ],
)
def test_a_slip_of_the_keyboard_is_one_line_with_the_nearest_word(words, answer, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(words)

    error = capsys.readouterr().err
    assert exit_info.value.code == 2
    assert error.startswith("error: ") and answer in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("--every", "0", "must be a whole number from 1"),
        ("--batch", "-1", "must be a whole number from 1 to 1024, got '-1'"),
        ("--top-k", "0", "must be a whole number from 1 to 1000, got '0'"),
        ("--threshold", "7", "must be a number from 0 to 1, got '7'"),
        ("--threshold", "nan", "must be a number from 0 to 1, got 'nan'"),
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
