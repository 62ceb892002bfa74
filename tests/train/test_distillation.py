"""A network learns the answers of a teacher beside the labels."""

from __future__ import annotations

import re
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from equal_runs import checkpoint_digest
from tiny import Ear, tiny_training

from mnasnet import modelfile
from mnasnet.cli import main
from mnasnet.data.images import read_image
from mnasnet.data.transforms import normalise, prepare
from mnasnet.errors import SettingsError, WeightsError
from mnasnet.modelfile import network_of
from mnasnet.preprocess import Preprocess
from mnasnet.testing import random_model, write_image_folder
from mnasnet.train.checkpoint import from_bytes
from mnasnet.train.crossval import cross_validate, resume_cross_validation
from mnasnet.train.distillation import SHARE, TEMPERATURE, Distillation, Teacher, teacher_from
from mnasnet.train.run import TrainedRun, resume, train
from mnasnet.train.run_folder import RunFolder, RunFolderError
from mnasnet.train.stopping import StopHooks

CLASSES = ("blue", "green", "red")


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """The file of a model that knows the classes of the images, and others, in an order of its own."""
    path = tmp_path / "teacher.safetensors"
    modelfile.save(random_model(class_names=("red", "violet", "blue", "green"), input_size=48, seed=3), path)
    return path


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_the_loss_is_that_of_the_labels_and_the_softened_divergence_from_the_teacher() -> None:
    rng = np.random.default_rng(0)
    logits, answers = rng.normal(size=(2, 5, 3))
    labels = rng.integers(0, 3, 5)

    class Answers:
        def scores(self, x: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(answers)

    objective = Distillation(teacher=Answers)
    (term,) = objective.terms(
        lambda x: torch.from_numpy(logits), torch.zeros(5), torch.from_numpy(labels), step=0, steps=1
    )

    told, said = softmax(answers / TEMPERATURE), softmax(logits / TEMPERATURE)
    divergence = (told * np.log(told / said)).sum()
    cross_entropy = -np.log(softmax(logits)[np.arange(5), labels]).sum()
    assert float(term.loss) == pytest.approx((1 - SHARE) * cross_entropy + SHARE * TEMPERATURE**2 * divergence)


def test_a_teacher_answers_as_when_it_classifies_whatever_the_learner_sees(data: Path) -> None:
    model = random_model(class_names=("red", "violet", "blue", "green"), input_size=32, seed=3)
    learners = Preprocess(32, 32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    pixels = np.stack([prepare(read_image(path), learners) for path in sorted(data.rglob("*.jpg"))[:4]])

    scores = teacher_from(model, CLASSES, learners, "cpu").scores(torch.from_numpy(normalise(pixels, learners)))

    with torch.inference_mode():
        alone = network_of(model).eval()(torch.from_numpy(normalise(pixels, model.preprocess)))
    torch.testing.assert_close(scores, alone[:, [2, 3, 0]], atol=1e-4, rtol=1e-4)


def test_a_teacher_of_another_input_size_sees_images_of_its_own(data: Path, teacher: Path) -> None:
    model, sizes = modelfile.load(teacher), []
    ready = teacher_from(model, CLASSES, Preprocess(32, 32), "cpu")
    ready.network.register_forward_pre_hook(lambda network, inputs: sizes.append(inputs[0].shape[2:]))

    ready.scores(torch.zeros(2, 3, 32, 32))

    assert sizes == [(48, 48)]


def test_a_network_comes_nearer_to_its_teacher_than_without_it(data: Path, done: TrainedRun, tmp_path: Path) -> None:
    images = np.stack([prepare(read_image(path), Preprocess(32, 32)) for path in sorted(data.rglob("*.jpg"))])
    x = torch.from_numpy(normalise(images, Preprocess(32, 32)))

    def distance(run: TrainedRun) -> float:
        with torch.inference_mode():
            one, other = (network_of(modelfile.load(path)).eval()(x).log_softmax(1) for path in (run.model, done.model))
        return float((other.exp() * (other - one)).sum(1).mean())

    alone, taught = (
        train(tiny_training(data, tmp_path, name=name or "alone", teacher=name and str(done.model), seed=5, epochs=6))
        for name in ("", "taught")
    )

    assert distance(taught) < distance(alone)


def test_a_training_with_a_teacher_goes_on_to_the_same_bits(data: Path, teacher: Path, tmp_path: Path) -> None:
    ear = Ear(stop_after=4)
    whole = train(tiny_training(data, tmp_path, name="whole", teacher=str(teacher)))
    stopped = train(
        tiny_training(data, tmp_path, name="stopped", teacher=str(teacher)), listeners=[ear], stop=ear.wants_to_stop
    )

    resumed = resume(stopped.folder)

    assert (stopped.status, resumed.status) == ("stopped", "done")
    assert checkpoint_digest(RunFolder(resumed.folder).store) == checkpoint_digest(RunFolder(whole.folder).store)
    alone = train(tiny_training(data, tmp_path, name="alone"))
    assert modelfile.load(alone.model).fingerprint != modelfile.load(whole.model).fingerprint


def test_threads_that_learn_from_parts_of_a_batch_share_a_teacher(teacher: Path, tmp_path: Path) -> None:
    data, ear = write_image_folder(tmp_path / "images", per_class=50), Ear(stop_after=1)
    asked = {"teacher": str(teacher), "batch_size": 64, "threads": 2, "epochs": 1, "dropout": 0.5}
    whole = train(tiny_training(data, tmp_path, name="whole", **asked))
    stopped = train(tiny_training(data, tmp_path, name="stopped", **asked), listeners=[ear], stop=ear.wants_to_stop)

    resumed = resume(stopped.folder)

    assert from_bytes(RunFolder(resumed.folder).store.load() or b"").values["replicas"] == 2
    assert checkpoint_digest(RunFolder(resumed.folder).store) == checkpoint_digest(RunFolder(whole.folder).store)


def test_a_step_is_left_while_the_teacher_answers(data: Path, teacher: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(StopHooks, "PATIENCE_S", 0.0)
    answering = threading.Event()
    scores = Teacher.scores

    def slowly(self: Teacher, x: torch.Tensor) -> torch.Tensor:
        answering.set()
        answers = scores(self, x)
        pytest.fail("the teacher has answered")
        return answers

    monkeypatch.setattr(Teacher, "scores", slowly)

    stopped = train(tiny_training(data, tmp_path, teacher=str(teacher)), stop=answering.is_set)

    assert (stopped.status, stopped.history) == ("stopped", ())


def test_a_run_goes_on_with_the_teacher_that_it_began_with(data: Path, teacher: Path, tmp_path: Path) -> None:
    ear = Ear(stop_after=1)
    stopped = train(tiny_training(data, tmp_path, teacher=str(teacher)), listeners=[ear], stop=ear.wants_to_stop)
    modelfile.save(random_model(class_names=CLASSES, input_size=48, seed=4), teacher)

    with pytest.raises(RunFolderError, match=r"goes on with the model that it began with, .* is .* now; bring that"):
        resume(stopped.folder)


def test_a_run_without_its_teacher_says_so_before_it_reads_images(data: Path, teacher: Path, tmp_path: Path) -> None:
    ear, hears = Ear(stop_after=4), Ear()
    stopped = train(tiny_training(data, tmp_path, teacher=str(teacher)), listeners=[ear], stop=ear.wants_to_stop)
    teacher.unlink()

    with pytest.raises(WeightsError, match=r"there is no file .*teacher.safetensors"):
        resume(stopped.folder, listeners=[hears])

    assert not hears.events  # of which the first comes after the images


def test_a_finished_run_makes_its_report_again_without_its_teacher(data: Path, teacher: Path, tmp_path: Path) -> None:
    done = train(tiny_training(data, tmp_path, teacher=str(teacher), report=True))
    teacher.unlink()
    done.report.unlink()

    again = resume(done.folder)

    assert again.status == "done"
    assert (
        "Learned from the\nanswers of unnamed" in again.report.read_text() or "answers of" in again.report.read_text()
    )


@pytest.mark.parametrize("chosen", [{}, {"epochs": 9, "patience": 1}], ids=["all epochs", "none that was better"])
def test_a_run_that_only_lacks_its_results_gets_them_without_its_teacher(
    data: Path, teacher: Path, tmp_path: Path, chosen: dict[str, int]
) -> None:
    ear = Ear()
    training = tiny_training(data, tmp_path, teacher=str(teacher), **chosen)
    stopped = train(
        training, listeners=[ear], stop=lambda: (tmp_path / "run" / "weights" / "last.safetensors").exists()
    )  # which is written after the last epoch
    teacher.unlink()

    done = resume(stopped.folder)

    assert (stopped.status, done.status) == ("stopped", "early" if chosen else "done")
    assert RunFolder(done.folder).per_class.exists()


def test_model_file_and_model_card_name_the_teacher(data: Path, teacher: Path, tmp_path: Path) -> None:
    done = train(tiny_training(data, tmp_path, epochs=1, teacher=str(teacher), report=True))

    fingerprint = modelfile.load(teacher).fingerprint
    assert modelfile.load(done.model).training["teacher"] == f"tiny ({fingerprint})"
    (line,) = [
        line for line in (done.folder / "model_card.md").read_text().splitlines() if "the answers of: tiny" in line
    ]
    assert fingerprint in line


def test_a_teacher_that_does_not_know_a_class_is_refused(data: Path, tmp_path: Path) -> None:
    modelfile.save(random_model(class_names=("red", "violet")), tmp_path / "teacher.safetensors")

    with pytest.raises(
        SettingsError, match=r"teacher must know every class .*, blue, like 1 other, is unknown to .*; train it"
    ):
        train(tiny_training(data, tmp_path, teacher=str(tmp_path / "teacher.safetensors")))

    assert not list(tmp_path.glob("run*"))


def test_a_teacher_of_grey_images_is_refused(data: Path, tmp_path: Path) -> None:
    modelfile.save(random_model(class_names=CLASSES, in_channels=1), tmp_path / "teacher.safetensors")

    with pytest.raises(SettingsError, match="images have 3 channels, .*teacher.safetensors takes 1; choose another"):
        train(tiny_training(data, tmp_path, teacher=str(tmp_path / "teacher.safetensors")))


def test_images_that_the_teacher_kept_aside_are_kept_aside_again(data: Path, tmp_path: Path) -> None:
    taught = train(tiny_training(data, tmp_path, name="teacher", epochs=1, seed=7, val_fraction=0.4))

    learned = train(tiny_training(data, tmp_path, name="learner", epochs=1, teacher=str(taught.folder)))

    sides = [yaml.safe_load(RunFolder(run.folder).split.read_text()) for run in (taught, learned)]
    assert sides[0]["val"] == sides[1]["val"]


def test_a_teacher_that_knows_what_the_start_kept_aside_is_told_of(
    data: Path, done: TrainedRun, tmp_path: Path, caplog
) -> None:
    taught = train(tiny_training(data, tmp_path, name="teacher", epochs=1, seed=7, val_fraction=0.4))
    start = {"model": str(done.folder), "pretrained": True, "epochs": 1}

    train(tiny_training(data, tmp_path, name="learner", teacher=str(taught.folder), **start))

    assert re.search(r"the teacher .*teacher has learned from [1-6] of these, so", caplog.text)
    caplog.clear()
    train(tiny_training(data, tmp_path, name="learner", teacher=str(done.folder), **start))
    assert "of these" not in caplog.text


def test_folds_are_not_judged_with_a_teacher_that_knows_them(data: Path, done: TrainedRun, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="has learned from these images; take another model"):
        cross_validate(tiny_training(data, tmp_path, teacher=str(done.model)), 2)


def test_folds_go_on_with_their_teacher_alone(tmp_path: Path, teacher: Path) -> None:
    data = write_image_folder(tmp_path / "others", per_class=4)
    ear = Ear(stop_after=1)
    training = tiny_training(data, tmp_path, epochs=1, teacher=str(teacher))
    stopped = cross_validate(training, 2, listeners=[ear], stop=ear.wants_to_stop)
    modelfile.save(random_model(class_names=CLASSES, seed=4), teacher)

    with pytest.raises(RunFolderError, match="goes on with the model that it began with"):
        resume_cross_validation(stopped.folder)


def test_a_start_used_in_8_bits_learns_from_a_teacher_too(data: Path, done: TrainedRun, tmp_path: Path) -> None:
    start = {"model": str(done.model), "pretrained": True, "quantization_aware": True}

    trained = train(tiny_training(data, tmp_path, epochs=1, teacher=str(done.model), **start))

    assert modelfile.load(trained.model).int8_ranges


def test_the_command_takes_the_folder_of_the_teachers_run(data: Path, done: TrainedRun, tmp_path: Path, capsys) -> None:
    folder = Path(shutil.copytree(done.folder, tmp_path / "large"))
    command = ["train", str(data), "--teacher", str(folder), "--model", str(done.model), "--epochs", "1", "--json"]

    assert main([*command, "--output-folder", str(tmp_path), "--batch-size", "8"]) == 0

    assert modelfile.load(tmp_path / data.name / "weights" / "best.safetensors").training["teacher"]


def test_a_training_keeps_where_its_teacher_lies(data: Path, teacher: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(teacher.parent)

    kept = replace(tiny_training(data, tmp_path), teacher=teacher.name).to_dict()

    assert kept["teacher"] == str(teacher) and tiny_training(data, tmp_path).to_dict()["teacher"] == ""
