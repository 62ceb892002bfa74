"""``train``, ``resume`` and ``val`` as a user types them, in processes of their own."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import tiny_training

from mnasnet import modelfile
from mnasnet.cli import main
from mnasnet.runtime.onnxruntime import OnnxRuntimeSession
from mnasnet.runtime.session import open_session
from mnasnet.testing import coloured_image, random_model, write_image_folder
from mnasnet.train import validate
from mnasnet.train.run_folder import RunFolder
from mnasnet.zoo import imagenet_class_names

RED = (200, 40, 40)


def words(data: Path, parent: Path, *more: str) -> list[str]:
    tiny_training(data, parent)  # writes the architecture file
    return [
        "train",
        str(data),
        f"--model={parent / 'tiny.json'}",
        "use_pretrained=false",
        "--batch=8",
        "--imgsz=32",
        "--threads=1",
        f"project={parent}",
        "--name=run",
        "--json",
        *more,
    ]


def test_a_training_ends_with_one_line_of_json(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(words(data, tmp_path, "--epochs=2"))

    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == 0
    assert result["status"] == "done"
    assert result["epochs"] == 2
    assert Path(result["model"]).is_file()
    assert 0 <= result["val_accuracy_low"] <= result["val_accuracy"] <= result["val_accuracy_high"] <= 1


def test_val_prints_every_class_and_the_same_accuracy_as_the_run(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_image_folder(tmp_path / "data", per_class=8, splits=("train", "val"))
    main(words(folder, tmp_path, "--epochs=2"))
    trained = json.loads(capsys.readouterr().out.splitlines()[-1])

    assert main(["val", trained["model"], str(folder), "--json", "--out", str(tmp_path / "out")]) == 0

    assert json.loads(capsys.readouterr().out)["accuracy"] == trained["val_accuracy"]
    assert (tmp_path / "out" / "confusion_matrix.png").is_file()
    main(["val", trained["model"], str(folder)])
    assert all(name in capsys.readouterr().out for name in ("blue",))


def test_the_table_that_val_writes_says_which_images_were_judged(tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    modelfile.save(random_model(class_names=("red", "green", "blue")), model)
    folder = write_image_folder(tmp_path / "data", per_class=2, splits=("val", "test"))

    for split in ("val", "test"):
        assert main(["val", str(model), str(folder), "--split", split, "--out", str(tmp_path / split)]) == 0

    of_val, of_test = (
        {line.split(",")[0] for line in (tmp_path / split / "per_class.csv").read_text().splitlines()[1:]}
        for split in ("val", "test")
    )
    assert (of_val, of_test) == ({"validation"}, {"test"})


def test_val_works_on_as_many_threads_as_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "model.safetensors"
    modelfile.save(random_model(class_names=("red", "green", "blue")), model)
    folder = write_image_folder(tmp_path / "data", per_class=2)
    given = []

    def opening(model: Any, *, threads: int | None) -> Any:
        given.append(threads)
        return open_session(model, threads=threads)

    monkeypatch.setattr(validate, "open_session", opening)

    for words in ([], ["--threads", "3"]):
        assert main(["val", str(model), str(folder), *words]) == 0

    assert given == [None, 3]


def test_val_keeps_its_columns_below_each_other_whatever_classes_are_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.safetensors"
    names = ("cat 🐱", "猫", "dog", "long" * 50)
    modelfile.save(random_model(class_names=names), model)
    folder = write_image_folder(tmp_path / "data", colours=dict.fromkeys(names, (200, 1, 1)))

    assert main(["val", str(model), str(folder)]) == 0

    head, cat, kanji, dog, long, *_ = capsys.readouterr().out.splitlines()
    assert len(head) == len(long) == len(dog) == len(cat) + 1 == len(kanji) + 1  # each picture is two columns wide
    assert len(head) <= 80


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_val_shows_class_names_that_a_terminal_would_obey_as_escapes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, names = tmp_path / "model.safetensors", ("cat \x1b[31m\n", "dog")
    modelfile.save(random_model(class_names=names), model)
    folder = write_image_folder(tmp_path / "data", colours=dict.fromkeys(names, (200, 1, 1)))

    assert main(["val", str(model), str(folder)]) == 0

    head, cat, dog, *_ = capsys.readouterr().out.splitlines()
    assert cat.startswith(r"cat \x1b[31m\n ") and len(head) == len(cat) == len(dog)


def test_val_of_the_folder_that_was_trained_on_judges_by_the_images_kept_aside(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    main(words(data, tmp_path, "--epochs=2"))
    trained = json.loads(capsys.readouterr().out.splitlines()[-1])

    def judged(model: str, folder: Path, *more: str) -> dict[str, float]:
        assert main(["val", model, str(folder), "--json", *more]) == 0
        summary: dict[str, float] = json.loads(capsys.readouterr().out)
        return summary

    beside = judged(trained["model"], data)
    assert (beside["images"], beside["accuracy"]) == (6, trained["val_accuracy"])  # a fifth of three times ten
    assert judged(trained["run"], data) == beside  # the folder means its best model
    moved = tmp_path / "elsewhere.safetensors"
    shutil.copy(trained["model"], moved)
    assert judged(str(moved), data) == beside  # divided once more by the same seed
    assert judged(str(moved), data, "--split", "train")["images"] == 24
    fewer = Path(shutil.copytree(data, tmp_path / "fewer" / data.name))
    (fewer / "red" / "000.jpg").unlink()
    assert judged(trained["model"], fewer)["images"] in (5, 6)
    other = write_image_folder(tmp_path / data.name, per_class=4)
    assert judged(str(moved), other)["images"] == 12
    assert "cannot be told" in caplog.text


@pytest.mark.parametrize(
    ("folders", "images"),
    [
        (["val/red", "val/blue", "val/green"], 9),
        (["red"], 3),
        (["test/red", "test/blue"], 6),
        (["RED", "Blue "], 6),
        (["red", "blue", "green/empty"], 6),
        (["train/red", "val/blue"], 3),
        (["train/red", "train/blue", "test/red"], 3),
    ],
)
def test_val_judges_by_any_images_of_classes_that_the_model_knows(
    folders: list[str], images: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.safetensors"
    modelfile.save(random_model(class_names=("blue", "green", "red")), model)
    for folder in folders:
        (tmp_path / "judged" / folder).mkdir(parents=True)
        for number in range(0 if folder.endswith("empty") else 3):
            coloured_image((200, 30, 30 + number)).save(tmp_path / "judged" / folder / f"{number}.png")

    assert main(["val", str(model), str(tmp_path / "judged"), "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["images"] == images


def imagenet_model(file: Path, favourite: int, **renamed: str) -> Path:
    """A network of ImageNet's classes that takes every image for the ``favourite``, by its number."""
    names = imagenet_class_names()
    model = random_model(class_names=[renamed.get(name.replace(" ", "_"), name) for name in names])
    biased = {**model.weights, "classifier.bias": 100 * np.eye(1000, dtype=np.float32)[favourite]}
    modelfile.save(replace(model, weights=biased), file)
    return file


def test_val_judges_by_imagenets_own_folders_which_are_called_by_wordnet_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_image_folder(
        tmp_path / "images", colours={"n01440764": RED, "n02012849": RED, "n03126707": RED}, per_class=2
    )
    model = imagenet_model(tmp_path / "model.safetensors", favourite=517)  # the crane that lifts loads

    assert main(["val", str(model), str(images)]) == 0

    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] + line.split()[3:4] for line in shown[1:4]] == [
        ["tench", "2", "0.000"],
        ["crane", "bird", "-"],
        ["crane", "2", "1.000"],
    ]
    assert shown[4] == "(997 other classes: without images, never answered)" and "33.3% of 6 images right" in shown[5]


def test_val_asks_which_of_imagenets_two_cranes_a_folder_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_image_folder(tmp_path / "images", colours={"crane": RED, "tench": RED})

    model = imagenet_model(tmp_path / "model.safetensors", 0, crane_bird="crane")  # as most lists call it

    assert main(["val", str(model), str(images)]) == 2

    error = capsys.readouterr().err
    assert "several classes called 'crane'; give the folder the WordNet id" in error
    assert error.rstrip().endswith("of n02012849 and n03126707")


def test_val_judges_under_the_names_of_a_class_file_at_the_size_that_is_asked_for(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, names = tmp_path / "model.safetensors", tmp_path / "names.txt"
    modelfile.save(random_model(class_names=("bleu", "jaune", "rouge")), model)
    names.write_text("blue\nyellow\nred\n", encoding="utf-8")
    shutil.copytree(data, tmp_path / "data", ignore=shutil.ignore_patterns("green"))
    command = ["val", str(model), str(tmp_path / "data"), "--class-file", str(names)]

    assert main([*command, "--json"]) == main([*command, "--input-size", "32", "--json"]) == 0

    own, small = map(json.loads, capsys.readouterr().out.splitlines())
    assert own["images"] == small["images"] == 20 and own["loss"] != small["loss"]
    assert main(command) == 0
    (yellow,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("yellow ")]
    assert yellow.split()[1] == "0" and yellow.split()[3] == "-"  # no image, so no recall


def test_val_says_which_images_it_judges_where_none_are_for_it(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    model = tmp_path / "model.safetensors"
    modelfile.save(random_model(class_names=("blue", "green", "red")), model)
    caplog.set_level("INFO")
    folder = write_image_folder(tmp_path / "data", per_class=1, splits=("train", "test"))

    main(["val", str(model), str(folder)])
    assert "has no val images: those of test are judged" in caplog.text
    shutil.rmtree(folder / "test")
    main(["val", str(model), str(folder)])
    assert "has no val images: those of train are judged" in caplog.text
    assert main(["val", str(model), str(data / "red")]) == 2
    assert "has no class folders, its 10 images lie directly in it" in capsys.readouterr().err


def test_val_of_large_images_takes_the_memory_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    run = OnnxRuntimeSession.run
    monkeypatch.setattr(
        OnnxRuntimeSession, "run", lambda session, batch: passes.append(len(batch)) or run(session, batch)
    )
    modelfile.save(random_model(class_names=("blue", "green", "red")), model := tmp_path / "model.safetensors")
    folder = write_image_folder(tmp_path / "data", per_class=2)

    assert main(["val", str(model), str(folder), "--input-size", "512", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["images"] == len(passes) == 6


@pytest.mark.filterwarnings("ignore:overflow")
def test_val_tells_no_accuracy_of_scores_that_are_no_numbers(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = random_model(class_names=("blue", "green", "red"))
    diverged = {**own.weights, "classifier.weight": np.full_like(own.weights["classifier.weight"], 3e38)}
    modelfile.save(replace(own, weights=diverged), model := tmp_path / "diverged.safetensors")

    assert main(["val", str(model), str(data), "--out", str(tmp_path / "out")]) == 2

    said = capsys.readouterr()
    assert "gives scores that are no numbers, so its weights are damaged" in said.err and not said.out
    assert not (tmp_path / "out").exists()


def test_a_run_folder_is_a_start_as_it_is_a_model(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(words(data, tmp_path, "--epochs=1"))
    first = json.loads(capsys.readouterr().out.splitlines()[-1])

    main(["train", str(data), "--model", first["run"], "--recipe=continue", "--epochs=1", "--imgsz=32", "--threads=1",
          f"project={tmp_path}", "--name=further", "--json"])  # fmt: skip

    further = json.loads(capsys.readouterr().out.splitlines()[-1])
    fingerprint = modelfile.load(Path(first["model"])).fingerprint
    assert modelfile.load(Path(further["model"])).training["started_from"].endswith(f"({fingerprint})")


@pytest.mark.parametrize("name", ["run", "Fotos von Jürgen's Ausflug"])
def test_a_run_that_time_ended_says_how_to_go_on_without_a_limit(
    name: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--epochs=2", "--max-minutes=0.0001", f"--name={name}"]
    told = [word for word in words(data, tmp_path, *options) if word not in ("--json", "--name=run")]

    assert main(told) == 0

    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("resume")]
    assert main(shlex.split(line, posix=os.name != "nt")[4:]) == 0  # as a shell takes it
    assert "trained: all epochs are done" in capsys.readouterr().out


def test_val_refuses_classes_that_the_model_does_not_know(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(words(data, tmp_path, "--epochs=1"))
    model = json.loads(capsys.readouterr().out.splitlines()[-1])["model"]
    other = write_image_folder(tmp_path / "other", colours={"red": (200, 40, 40), "pink": (200, 140, 140)})

    assert main(["val", model, str(other)]) == 2
    error = capsys.readouterr().err
    assert "does not know 1 of the folder's classes (pink)" in error and "or judge a folder without these" in error
    many = write_image_folder(tmp_path / "many", colours={f"class {n}": (9, 9, 9) for n in range(6)}, per_class=1)
    assert main(["val", model, str(many)]) == 2
    assert "6 of the folder's classes (class 0, class 1, class 2, class 3, class 4, ...)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("--epochs=0", "epochs must be"),
        ("--epochs=many", "epochs must be"),
        ("--batch=1", "batch_size must be"),
        ("--input-size=20", "input_size must be"),
        ("--recipe=best", "recipe must be"),
    ],
)
def test_a_wrong_value_is_one_line_with_the_rule(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str, complaint: str
) -> None:
    assert main([*words(data, tmp_path), word]) == 2

    error = capsys.readouterr().err.strip()
    assert complaint in error
    assert "\n" not in error


@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent by Unix's kill")
def test_a_signal_stops_within_five_seconds_and_resume_ends_the_run(
    data: Path, tmp_path: Path, how: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mnasnet", *words(data, tmp_path, "--epochs=400")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    run = RunFolder(tmp_path / "run")
    while not run.results.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(how)
    asked = time.monotonic()
    out, err = process.communicate(timeout=60)

    assert time.monotonic() - asked < 5
    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["status"] == "stopped"
    assert run.best.is_file() and run.last.is_file()
    assert main(["resume", str(run.path), "--max-minutes=0.0001", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["status"] == "time"


def test_a_run_whose_images_moved_goes_on_where_they_are(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = Path(shutil.copytree(data, tmp_path / "there"))
    main(words(there, tmp_path / "runs", "--epochs=2", "--max-minutes=0.0001"))
    run = json.loads(capsys.readouterr().out.splitlines()[-1])["run"]
    here = there.rename(tmp_path / "here")

    assert main(["resume", run, "--max-minutes=0"]) == 2
    assert "give --data their new place" in capsys.readouterr().err
    assert main(["resume", run, "--max-minutes=0", "--data", str(here), "--json"]) == 0

    assert json.loads(capsys.readouterr().out.splitlines()[-1])["status"] == "done"


def test_resume_of_a_finished_training_says_how_to_train_it_further(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    main(words(data, tmp_path, "--epochs=1"))
    run = json.loads(capsys.readouterr().out.splitlines()[-1])["run"]
    assert "already finished" not in caplog.text

    assert main(["resume", run]) == 0

    assert f"already finished; for more epochs: python -m mnasnet train {data} --model {run} --recipe" in caplog.text


def test_resume_without_a_run_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", str(tmp_path)]) == 2
    assert "is not the folder of a run: it has no args.yaml; give the one that the run named" in capsys.readouterr().err
    assert main(["resume", str(tmp_path / "nothere")]) == 2
    assert f"there is no folder {tmp_path / 'nothere'}; give the one that the run named" in capsys.readouterr().err


def test_resume_of_a_misspelt_folder_does_not_resume_the_run_above_it(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(words(data, tmp_path, "--epochs=1"))
    run = Path(json.loads(capsys.readouterr().out.splitlines()[-1])["run"])

    assert main(["resume", str(run / "wieghts")]) == 2

    assert f"there is no folder {run / 'wieghts'}" in capsys.readouterr().err


def test_a_training_that_is_first_tracked_when_it_goes_on_is_logged_with_its_settings(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = pytest.importorskip("mlflow.tracking").MlflowClient((tmp_path / "mlruns").as_uri())
    monkeypatch.chdir(tmp_path)
    assert main(words(data, tmp_path, "--epochs=1")) == 0

    assert main(["resume", str(tmp_path / "run"), "--tracking", "local", "--max-minutes", "9", "--json"]) == 0

    (run,) = client.search_runs([client.get_experiment_by_name("mnasnet").experiment_id])
    shown = {name: run.data.params[name] for name in ("data", "epochs", "input_size", "max_minutes")}
    assert shown == {"data": str(data), "epochs": "1", "input_size": "32", "max_minutes": "9.0"}


@pytest.mark.parametrize("command", ["train", "resume", "val"])
def test_help_reads_well(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main([command, "--help"])

    text = capsys.readouterr().out
    assert exit_info.value.code == 0
    assert text.startswith(f"usage: python -m mnasnet {command}")
