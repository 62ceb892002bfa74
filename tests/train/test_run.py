"""A whole run: what it leaves, what inference makes of it, what it refuses, how it stops."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from equal_runs import checkpoint_digest
from PIL import Image
from tiny import Ear, tiny_training

from mnasnet import Classifier, modelfile
from mnasnet.errors import DataError, SettingsError, TrainingError
from mnasnet.testing import coloured_image, write_image_folder
from mnasnet.train.checkpoint import from_bytes
from mnasnet.train.events import Ended, EpochEnded, Event, Opened, Reported, Started, Stepped
from mnasnet.train.run import TrainedRun, resume, train
from mnasnet.train.run_folder import RunFolder, new_run_folder
from mnasnet.train.trainer import fit
from mnasnet.train.validate import validate
from mnasnet.zoo import open_model

NAMES_ARE_BYTES = os.name != "nt" and sys.platform != "darwin"


def test_a_run_leaves_everything_it_promises(done: TrainedRun) -> None:
    expected = """args.yaml split.json classes.txt results.csv results.png confusion_matrix.png
        confusion_matrix_normalized.png per_class.csv mistakes.csv most_wrong.png model_card.md report.html
        weights/best.safetensors weights/last.safetensors weights/best.pth weights/best.onnx
        weights/checkpoint.safetensors tensorboard dataset_report.json"""

    missing = [name for name in expected.split() if not (done.folder / name).exists()]

    assert missing == []
    assert done.status == "done"


def test_nothing_that_we_write_for_ourselves_is_a_pickle(done: TrainedRun) -> None:
    starts = {path.name: path.read_bytes()[:2] for path in done.folder.rglob("*") if path.is_file()}
    starts.pop("best.pth")  # asked for by export_pth

    assert [name for name, start in starts.items() if start == b"PK" or b"\x80\x02" <= start <= b"\x80\x05"] == []


def test_inference_sees_the_very_validation_accuracy_of_the_run(done: TrainedRun, data: Path) -> None:
    split = json.loads((done.folder / "split.json").read_text())
    files = [(data / path, name) for name, paths in split["val"].items() for path in paths]

    predictions = Classifier.load(done.model).predict([path for path, _ in files])

    right = sum(prediction.label == name for prediction, (_, name) in zip(predictions, files, strict=True))
    assert done.evaluation is not None
    assert right / len(files) == done.evaluation.accuracy
    assert done.history[-1]["val_accuracy"] == pytest.approx(
        modelfile.load(RunFolder(done.folder).last).metrics["val_accuracy"]
    )


def test_the_model_file_carries_classes_pixels_and_results(done: TrainedRun) -> None:
    model = modelfile.load(done.model)

    assert model.class_names == ("blue", "green", "red")
    assert model.preprocess.input_size == 32
    assert model.metrics["accuracy"] == pytest.approx(done.evaluation.accuracy, abs=1e-6)
    assert model.training["epochs"] == 3


def test_the_exported_state_dict_classifies_and_trains_like_the_model_file(
    done: TrainedRun, data: Path, tmp_path: Path
) -> None:
    alone = Path(shutil.copy(done.model.with_suffix(".pth"), tmp_path / "alone.pth"))

    model, original = open_model(alone), modelfile.load(done.model)

    assert (model.architecture, model.class_names) == (original.architecture, original.class_names)
    assert (model.preprocess, model.fingerprint) == (original.preprocess, original.fingerprint)
    assert validate(alone, data).summary() == validate(done.model, data).summary()
    further = train(tiny_training(data, tmp_path, model=str(alone), pretrained=True, epochs=1))
    assert modelfile.load(further.model).training["started_from"].endswith(f"({original.fingerprint})")


def test_results_have_a_line_for_each_epoch(done: TrainedRun) -> None:
    rows = list(csv.DictReader((done.folder / "results.csv").open()))

    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["val_accuracy"]) == done.history[-1]["val_accuracy"]


def test_what_was_asked_for_is_kept_as_plain_yaml(done: TrainedRun, data: Path) -> None:
    values = yaml.safe_load((done.folder / "args.yaml").read_text())

    assert values["asked"]["data"] == str(data)
    assert values["made_of_it"]["recipe"]["batch_size"] == 8


def test_exports_hold_the_same_weights(done: TrainedRun) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = modelfile.load(done.model)
    state = torch.load(done.model.with_suffix(".pth"), weights_only=True)
    images = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)

    network = modelfile.network_of(model).eval()
    network.load_state_dict(state, strict=False)
    (logits,) = onnxruntime.InferenceSession(done.model.with_suffix(".onnx")).run(None, {"images": images})

    with torch.inference_mode():
        assert np.allclose(network(torch.from_numpy(images)).numpy(), logits, atol=1e-4)


def test_a_second_run_never_touches_the_first(data: Path, tmp_path: Path) -> None:
    runs = [train(tiny_training(data, tmp_path, epochs=1)).folder.name for _ in range(2)]

    assert runs == ["run", "run2"]


def test_a_name_too_long_for_a_folder_is_told_to_be_shorter(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"File name too long \(300 characters\); set name to a shorter one"):
        train(tiny_training(data, tmp_path, name="x" * 300))


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(data: Path, tmp_path: Path) -> None:
    digests = [
        checkpoint_digest(RunFolder(train(tiny_training(data, tmp_path, epochs=1, seed=seed)).folder).store)
        for seed in (1, 1, 2)
    ]

    assert digests[0] == digests[1] != digests[2]


def test_a_gpu_is_told_to_repeat_itself_while_it_trains(data: Path, tmp_path: Path) -> None:
    told = []

    class Look:
        def hear(self, event: Event) -> None:
            if isinstance(event, Stepped):
                told.append((torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark))

    torch.backends.cudnn.benchmark = True
    try:
        train(tiny_training(data, tmp_path, epochs=1), listeners=[Look()])

        assert set(told) == {(True, False)}
        assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == (False, True)
    finally:
        torch.backends.cudnn.benchmark = False


def test_a_gpu_is_told_so_until_the_last_of_several_trainings_ends(data: Path, tmp_path: Path) -> None:
    second_learns, first_is_over = threading.Event(), threading.Event()

    class First:
        def hear(self, event: Event) -> None:
            if isinstance(event, Stepped) and not second.is_alive():
                second.start()
                assert second_learns.wait(60)

    class Second:
        def hear(self, event: Event) -> None:
            if isinstance(event, Stepped):
                second_learns.set()
                assert first_is_over.wait(60)
                told.append(torch.backends.cudnn.deterministic)

    told: list[bool] = []
    training = tiny_training(data, tmp_path, epochs=1)
    second = threading.Thread(target=train, args=(training,), kwargs={"listeners": [Second()]})
    train(training, listeners=[First()])
    first_is_over.set()
    second.join()

    assert set(told) == {True}
    assert not torch.backends.cudnn.deterministic


def test_a_run_stopped_in_its_first_epoch_leaves_a_model_that_loads(data: Path, tmp_path: Path) -> None:
    ear = Ear(1)

    stopped = train(tiny_training(data, tmp_path), listeners=[ear], stop=ear.wants_to_stop)

    assert Classifier.load(stopped.model).class_names == ("blue", "green", "red")


def test_a_stop_while_images_are_read_ends_at_once(data: Path, tmp_path: Path) -> None:
    assert train(tiny_training(data, tmp_path), stop=lambda: True).status == "stopped"


def test_listeners_hear_the_story_in_order(data: Path, tmp_path: Path) -> None:
    ear = Ear()

    trained = train(tiny_training(data, tmp_path, epochs=2), listeners=[ear])

    assert ear.events[0] == Opened(trained.folder)
    kinds = [type(event) for event in ear.events]
    steps = kinds.count(Stepped) // 2
    assert kinds == [Opened, Started, *[*[Stepped] * steps, EpochEnded] * 2, Reported, Ended]


def test_time_that_runs_out_keeps_the_best_and_can_be_extended(data: Path, tmp_path: Path) -> None:
    short = train(tiny_training(data, tmp_path, max_minutes=1e-6))
    longer = resume(short.folder, max_minutes=0)

    assert short.status == "time"
    assert short.evaluation is not None
    assert longer.status == "done"


def test_patience_ends_a_training_that_gets_no_better(data: Path, tmp_path: Path) -> None:
    trained = train(tiny_training(data, tmp_path, epochs=40, patience=2, learning_rate=1e-9))

    assert trained.status == "early"
    assert len(trained.history) < 40


def test_a_loss_that_is_not_a_number_stops_with_cause_and_cure(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"not .*numbers?.*learning_rate, such as"):
        train(tiny_training(data, tmp_path, learning_rate=1e30, recipe="mnasnet"))


def test_unreadable_images_are_left_out_up_to_max_bad(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = write_image_folder(tmp_path / "data", per_class=10)
    (data / "red" / "999.jpg").write_bytes(b"")

    trained = train(tiny_training(data, tmp_path / "runs", epochs=1, max_bad=0.1, val_fraction=0.2))

    assert trained.status == "done"
    assert "999.jpg" in caplog.text
    with pytest.raises(DataError, match="999"):
        for seed in range(8):  # in at least one of these splits the file is a training image
            train(tiny_training(data, tmp_path / "runs", epochs=1, max_bad=0.0, seed=seed))


def test_a_training_that_is_refused_shows_what_was_looked_at_and_leaves_no_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    data = write_image_folder(tmp_path / "data", per_class=4, splits=("train", "val"))
    broken = data / "train" / "red" / "999.jpg"
    broken.write_bytes(b"")

    with pytest.raises(DataError, match="999"):
        train(tiny_training(data, tmp_path / "runs", epochs=1, max_bad=0.0))

    assert re.search(r"red +5", caplog.text) and re.search(r"blue +4", caplog.text)
    assert list((tmp_path / "runs").glob("run*")) == []
    coloured_image((200, 40, 40)).save(broken)
    assert train(tiny_training(data, tmp_path / "runs", epochs=1)).folder.name == "run"


@pytest.mark.parametrize("moment", [Started, Reported])
def test_a_training_that_fails_leaves_no_thread(moment: type, tmp_path: Path) -> None:
    class Broken:
        def hear(self, event: object) -> None:
            if isinstance(event, moment):
                raise TrainingError("no")

    data = write_image_folder(tmp_path / "data", per_class=4)
    before = set(threading.enumerate())

    with pytest.raises(TrainingError, match="no"):
        train(tiny_training(data, tmp_path / "runs", epochs=1, tensorboard=True), listeners=[Broken()])

    assert [one.name for one in threading.enumerate() if one not in before and "TensorBoard" in one.name] == []


def test_a_training_that_fails_before_it_starts_says_why_alone(
    done: TrainedRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = RunFolder(shutil.copytree(done.folder, tmp_path / "run"))
    run.arguments.write_text(run.arguments.read_text().replace("tensorboard: false", "tensorboard: true"))
    for checkpoint in (run.store.last, run.store.before_last):
        checkpoint.write_bytes(b"damaged")

    with pytest.raises(TrainingError, match="no whole checkpoint"):
        resume(run.path)

    assert "TensorBoard" not in caplog.text


def test_a_home_folder_written_as_a_tilde_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERPROFILE" if os.name == "nt" else "HOME", str(tmp_path))
    write_image_folder(tmp_path / "data", per_class=4)

    trained = train(tiny_training(Path("~/data"), tmp_path / "runs", epochs=1))

    assert resume(trained.folder).status == "done"


def test_the_dataset_is_not_written_to(tmp_path: Path) -> None:
    data = write_image_folder(tmp_path / "data", per_class=6)
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}

    train(tiny_training(data, tmp_path / "runs", epochs=1))

    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before


def test_class_names_are_text_in_the_report_and_never_markup(tmp_path: Path) -> None:
    colours = {
        "<script>alert(1)</script>"[:20].replace("/", ""): (200, 40, 40),
        "café & co": (40, 200, 40),
        "$x$ 猫": (1, 1, 200),
    }
    data = write_image_folder(tmp_path / "data", per_class=6, colours=colours)

    trained = train(tiny_training(data, tmp_path / "runs", epochs=1, report=True))

    page = (trained.folder / "report.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "caf\u00e9 &amp; co" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "猫" in (trained.folder / "classes.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def mislabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three splits with red images among the blue ones, of which one has a name that is no text."""
    data = write_image_folder(tmp_path_factory.mktemp("wrong") / "data", per_class=6, splits=("train", "valid", "test"))
    names = {"valid": ["böse 😀.jpg"], "test": ["böse 😀.jpg"]}
    if NAMES_ARE_BYTES:
        names["valid"].append(os.fsdecode(b"\xff.jpg"))
    for split, wrong in names.items():
        for name in wrong:
            shutil.copy(data / split / "red" / "000.jpg", data / split / "blue" / name)
    return data


@pytest.fixture(scope="module")
def judged(mislabelled: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """A training that learned the colours, so that it calls the wrongly labelled images what they are."""
    return train(tiny_training(mislabelled, tmp_path_factory.mktemp("judged"), epochs=12, report=True))


def test_a_test_folder_is_judged_apart_from_validation(judged: TrainedRun) -> None:
    validated = 20 if NAMES_ARE_BYTES else 19

    metrics = modelfile.load(judged.model).metrics
    assert metrics["test_images"] == judged.summary()["test_images"] == 19
    assert judged.summary()["test_accuracy"] == metrics["test_accuracy"]
    assert [re.sub(r"^.*% of|\(.*", "", line).strip() for line in judged.sentences()] == [
        f"{validated} validation images right",
        "19 test images right",
    ]
    card = (judged.folder / "model_card.md").read_text(encoding="utf-8", errors="surrogateescape")
    assert "| test | 19 |" in card
    assert re.search(rf"On {validated} validation images this accuracy is known to ±\d+\.\d po", card)


def test_every_image_that_the_model_got_wrong_is_named_so_that_its_label_can_be_looked_at(
    judged: TrainedRun, mislabelled: Path, tmp_path: Path
) -> None:
    lines = (judged.folder / "mistakes.csv").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    wrong = {row["image"]: (row["class"], row["predicted"]) for row in csv.DictReader(lines)}
    assert {wrong[f"{split}/blue/böse 😀.jpg"] for split in ("valid", "test")} == {("blue", "red")}
    assert judged.evaluation is not None
    assert len([image for image in wrong if image.startswith("valid/")]) == round(
        judged.evaluation.images * (1 - judged.evaluation.accuracy)
    )
    page = (judged.folder / "report.html").read_text(encoding="utf-8")
    assert "valid/blue/böse 😀.jpg" in page and "mistakes.csv" in page
    assert validate(judged.folder, mislabelled, out=tmp_path).mistakes == judged.evaluation.mistakes
    again = (tmp_path / "mistakes.csv").read_text(encoding="utf-8", errors="surrogateescape")
    assert again.splitlines()[0] == "image,class,predicted,confidence" and "valid/blue/böse 😀.jpg" in again


def test_once_the_accuracy_is_known_how_well_it_would_be_known_is_left_out(judged: TrainedRun) -> None:
    warnings = json.loads((judged.folder / "dataset_report.json").read_bytes())["warnings"]
    assert [line for line in warnings if "point error" in line]

    for name in ("report.html", "model_card.md"):
        told = (judged.folder / name).read_text(encoding="utf-8", errors="surrogateescape")
        assert "point error" not in told and "more images or a cross-validation would tell more" in told


def test_the_report_tells_how_often_answers_of_a_confidence_are_right(judged: TrainedRun) -> None:
    page = (judged.folder / "report.html").read_text(encoding="utf-8")

    (section,) = re.findall(r"<h2>Calibration</h2>(.*?)</section>", page, re.DOTALL)
    validation, test = section.split("<h3>Test images</h3>")
    for told, result in ((validation, judged.evaluation), (test, judged.test)):
        assert result is not None
        rows = re.findall(r"<td>\d+ to \d+%</td><td>(\d+)</td>\s<td>([\d.]+)%</td><td>([\d.]+)%</td>", told)
        assert sum(int(images) for images, _, _ in rows) == result.images
        right = sum(int(images) * float(share) / 100 for images, _, share in rows)
        assert right == pytest.approx(result.accuracy * result.images, abs=0.1)
        assert f"Calibration error {result.calibration_error:.3f}" in told
        assert f"A\nconfidence threshold of {result.unknown_at_half()}." in told
    assert judged.evaluation is not None
    assert f"use a confidence threshold: {judged.evaluation.unknown_at_half()}." in page


def test_the_surest_mistake_is_first_in_the_file_whichever_split_it_is_of(judged: TrainedRun) -> None:
    lines = (judged.folder / "mistakes.csv").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    confidences = [float(row["confidence"]) for row in csv.DictReader(lines)]

    assert confidences == sorted(confidences, reverse=True)


@pytest.mark.skipif(not NAMES_ARE_BYTES, reason="names there are text")
def test_an_image_whose_name_is_no_text_is_named_by_its_bytes(judged: TrainedRun) -> None:
    assert b"valid/blue/\xff.jpg,blue,red" in (judged.folder / "mistakes.csv").read_bytes()


def test_a_folder_that_cannot_be_written_fails_before_the_first_epoch(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(TrainingError, match="output_folder"):
        train(tiny_training(data, tmp_path / "x", output_folder=tmp_path / "file" / "runs"))


def test_two_images_of_two_classes_are_not_enough_to_validate(tmp_path: Path) -> None:
    data = write_image_folder(tmp_path / "data", per_class=1)

    with pytest.raises(DataError, match="validation"):
        train(tiny_training(data, tmp_path / "runs"))


def test_a_stop_ends_within_five_seconds(data: Path, tmp_path: Path) -> None:
    ear = Ear(3)
    asked: list[float] = []

    def stop() -> bool:
        if ear.wants_to_stop() and not asked:
            asked.append(time.monotonic())
        return bool(asked)

    train(tiny_training(data, tmp_path), listeners=[ear], stop=stop)

    assert time.monotonic() - asked[0] < 5


INTERRUPTED = """
import signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tiny import Ear, tiny_training
from mnasnet.train.events import EpochEnded
from mnasnet.train.run import train

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started the tests without


class Finger:
    "Presses Ctrl-C after the first epoch."
    def hear(self, event):
        if isinstance(event, EpochEnded) and event.row["epoch"] == 1:
            signal.raise_signal(signal.SIGINT)

try:
    train(tiny_training(Path(sys.argv[1]), Path(sys.argv[2]), epochs=1000), listeners=[Finger()])
except KeyboardInterrupt:
    print("stopped")
"""


def test_ctrl_c_in_a_program_of_ones_own_ends_the_training_and_keeps_it(data: Path, tmp_path: Path) -> None:
    printed = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(data), str(tmp_path), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout

    assert printed == "stopped\n"
    history = from_bytes(RunFolder(tmp_path / "run").store.load() or b"").values["history"]
    assert 1 <= len(history) < 1000


def test_grey_and_transparent_images_train(tmp_path: Path) -> None:
    data = write_image_folder(tmp_path / "data", per_class=6)
    for path in sorted((data / "red").iterdir())[:3]:
        Image.open(path).convert("LA").save(path.with_suffix(".png"))
        path.unlink()

    assert train(tiny_training(data, tmp_path / "runs", epochs=1)).status == "done"


@pytest.mark.slow
def test_a_limit_of_time_within_a_better_epoch_leaves_the_best_model_as_it_would_have_been(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_by_steps(**chosen: Any) -> TrainedRun:  # a clock that every look at moves by a second
        ticks = itertools.count()
        monkeypatch.setattr("mnasnet.train.run.fit", partial(fit, clock=lambda: float(next(ticks))))
        return train(tiny_training(data, tmp_path, epochs=2, learning_rate=0.05, ema=0.0, **chosen))

    stood_in = 0
    for seed in range(6):
        whole = train_by_steps(seed=seed, name="whole")
        limited = train_by_steps(seed=seed, name="limited", max_minutes=12 / 60)
        assert limited.status == "time" and len(limited.history) == 1
        stood_in += RunFolder(limited.folder).best_whole_epoch.exists()

        resumed = resume(limited.folder, max_minutes=0)

        assert modelfile.load(resumed.model).fingerprint == modelfile.load(whole.model).fingerprint
    assert stood_in  # a part of an epoch was better than the whole one before it at least once


def test_a_run_folder_within_the_dataset_is_refused(data: Path, tmp_path: Path) -> None:
    before = sorted(data.rglob("*"))

    for inside in (data, data / "red", data / "results" / "mine"):
        with pytest.raises(SettingsError, match="output_folder must lie outside of the dataset"):
            train(tiny_training(data, tmp_path, output_folder=inside))

    assert sorted(data.rglob("*")) == before


def test_a_run_that_ended_within_its_first_epoch_says_so(data: Path, tmp_path: Path) -> None:
    run = train(tiny_training(data, tmp_path, max_minutes=1e-4, report=True))

    card = (run.folder / "model_card.md").read_text(encoding="utf-8")
    assert run.status == "time" and not run.history
    assert "the model is of a part of epoch 1; " in card and "best epoch" not in card
    assert "the model is of a part of epoch 1; " in (run.folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "value"), [("balance", "equals"), ("device", "gpu"), ("augment", "lots"), ("recipe", "moderne")]
)
def test_a_misspelt_word_is_refused_with_those_that_there_are(
    name: str, value: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=f"{name} must be one of .*, got '{value}'"):
        tiny_training(data, tmp_path, **{name: value})


@pytest.mark.parametrize("name", ["CON", "nul", "Aux.2024", "com1"])
def test_a_name_that_windows_keeps_for_itself_is_altered(name: str, data: Path, tmp_path: Path) -> None:
    run = new_run_folder(tmp_path, name, data=data)

    assert run.path.name == f"_{name}"


def test_counting_names_does_not_lead_to_one_that_windows_keeps(data: Path, tmp_path: Path) -> None:
    names = [new_run_folder(tmp_path, "com", data=data).path.name for _ in range(2)]

    assert names == ["com", "_com2"]


def test_a_name_that_ends_in_a_digit_is_counted_apart_from_it(data: Path, tmp_path: Path) -> None:
    names = [new_run_folder(tmp_path, "photos 2024", data=data).path.name for _ in range(3)]

    assert names == ["photos 2024", "photos 2024_2", "photos 2024_3"]


def test_accumulated_steps_make_a_larger_batch_and_go_on_to_the_same_bits(data: Path, tmp_path: Path) -> None:
    chosen = {"batch_size": 4, "accumulate_steps": 3}
    ear = Ear(2)

    whole = train(tiny_training(data, tmp_path / "whole", **chosen))
    stopped = train(tiny_training(data, tmp_path, **chosen), listeners=[ear], stop=ear.wants_to_stop)
    resumed = resume(stopped.folder)

    assert modelfile.load(whole.model).training["recipe"]["batch_size"] == 12
    assert from_bytes(RunFolder(whole.folder).store.load() or b"").values["micro_batch"] == 4
    assert checkpoint_digest(RunFolder(resumed.folder).store) == checkpoint_digest(RunFolder(whole.folder).store)
