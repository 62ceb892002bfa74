"""Finalists, winner and published networks of a search learn from a teacher, which knows no test image."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_search import Hearing, tiny_searching

from mnasnet import modelfile
from mnasnet.errors import SettingsError, WeightsError
from mnasnet.preprocess import Preprocess
from mnasnet.search.folder import SearchFolder
from mnasnet.search.open_search import read_arguments
from mnasnet.search.prepare import NothingBegunError
from mnasnet.search.run import SearchedRun, extend_search, forecast, promote, resume_search, run_search
from mnasnet.search.teacher import seconds_per_answer
from mnasnet.testing import random_model
from mnasnet.train.plan import Training
from mnasnet.train.run import train
from mnasnet.train.run_folder import RunFolderError

pytestmark = pytest.mark.usefixtures("quick_latencies")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "large.safetensors"
    modelfile.save(random_model(class_names=("red", "green", "blue"), input_size=64), path)
    return path


@pytest.fixture(scope="module")
def taught(data: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> SearchedRun:
    """A search with a teacher, without finalists."""
    return run_search(tiny_searching(data, tmp_path_factory.mktemp("taught"), trials=2, teacher=str(teacher)))


def trained_on(data: Path, parent: Path, **chosen: object) -> Path:
    """The run folder of a short training by the defaults of `train`, but for ``chosen``."""
    start = {"epochs": 1, "input_size": 32, "threads": 1, "report": False}
    return train(Training(data, output_folder=parent, name="teacher", **start, **chosen)).folder


def test_the_winner_learns_the_teachers_answers(taught: SearchedRun, teacher: Path) -> None:
    fingerprint = modelfile.load(teacher).fingerprint

    assert modelfile.load(taught.model).training["teacher"] == f"tiny ({fingerprint})"
    assert f"all longer trainings learned the answers of tiny ({fingerprint}) beside the labels" in taught.answer.notes


def test_without_a_teacher_nobody_speaks_of_one(finished: SearchedRun, data: Path, tmp_path: Path) -> None:
    assert "teacher" not in modelfile.load(finished.model).training
    assert "teacher" not in forecast(tiny_searching(data, tmp_path)).text
    assert not [note for note in finished.answer.notes if "answers of" in note]


def test_the_plan_counts_the_time_of_the_answers(taught: SearchedRun, finished: SearchedRun) -> None:
    _, plan = read_arguments(SearchFolder(taught.folder))
    _, alone = read_arguments(SearchFolder(finished.folder))

    assert 0 < plan.teacher_s < plan.epoch_s
    assert alone.teacher_s == 0


def test_the_forecast_and_too_few_minutes_tell_what_the_teacher_takes(
    data: Path, teacher: Path, tmp_path: Path
) -> None:
    searching = tiny_searching(data, tmp_path, teacher=str(teacher))

    assert re.search(r"\nteacher   its answers take .* of the .* s of a longer", forecast(searching).text)
    with pytest.raises(SettingsError, match=r"of the winner's training the teacher takes \d+%, a smaller one less"):
        forecast(replace(searching, minutes=0.01))


def test_another_model_in_the_teachers_place_teaches_nobody(taught: SearchedRun, teacher: Path) -> None:
    before = teacher.read_bytes()
    modelfile.save(random_model(class_names=("red", "green", "blue"), seed=1), teacher)
    other = next(r.number for r in taught.answer.records if r.number != taught.answer.winner.number)
    try:
        with pytest.raises(RunFolderError, match="goes on with the model that it began with, tiny .* bring that model"):
            promote(taught.folder, other)
    finally:
        teacher.write_bytes(before)


def test_a_search_does_not_go_on_to_its_end_without_its_teacher(data: Path, tmp_path: Path) -> None:
    teacher, hearing = tmp_path / "large.safetensors", Hearing()
    modelfile.save(random_model(class_names=("red", "green", "blue"), input_size=64), teacher)
    searching = tiny_searching(data, tmp_path, teacher=str(teacher))
    stopped = run_search(searching, listeners=[hearing], stop=lambda: hearing.trials >= 1)
    modelfile.save(random_model(class_names=("red", "green", "blue"), seed=1), teacher)

    with pytest.raises(RunFolderError, match="goes on with the model that it began with, tiny .* bring that model"):
        resume_search(stopped.folder, listeners=[hearing])

    assert (stopped.status, hearing.trials) == ("stopped", 1)


def test_a_search_is_not_extended_without_its_teacher(data: Path, tmp_path: Path) -> None:
    teacher = tmp_path / "large.safetensors"
    modelfile.save(random_model(class_names=("red", "green", "blue"), input_size=64), teacher)
    done = run_search(tiny_searching(data, tmp_path, trials=1, teacher=str(teacher)))
    before, _ = (done.folder / "args.yaml").read_bytes(), teacher.unlink()

    with pytest.raises(WeightsError, match=r"there is no file .*large.safetensors"):
        extend_search(done.folder, trials=1)

    assert (done.folder / "args.yaml").read_bytes() == before
    assert resume_search(done.folder).status == "done"  # which makes the answer again


def test_a_teacher_that_knows_test_images_is_refused_with_the_way_to_one_that_does_not(
    data: Path, tmp_path: Path
) -> None:
    knowing = trained_on(data, tmp_path, seed=3)

    with pytest.raises(SettingsError, match=r"has learned from [1-6] of 6; train the teacher with --seed 0 --val-fr"):
        run_search(tiny_searching(data, tmp_path, teacher=str(knowing)))

    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_what_train_makes_by_default_teaches_a_search_by_default(data: Path, tmp_path: Path, caplog) -> None:
    searching = tiny_searching(data, tmp_path, trials=1, teacher=str(trained_on(data, tmp_path)))

    stopped = run_search(searching, stop=lambda: (tmp_path / "runs" / "tiny" / "args.yaml").exists())

    assert stopped.status == "stopped" and "flattered" not in caplog.text


def test_a_teacher_without_the_classes_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"teacher must know every class .* is unknown to photos10; train it"):
        run_search(tiny_searching(data, tmp_path, teacher="photos10"))


def test_a_search_is_left_while_its_teacher_is_timed(data: Path, teacher: Path, tmp_path: Path) -> None:
    hearing = Hearing()

    with pytest.raises(NothingBegunError):
        run_search(
            tiny_searching(data, tmp_path, teacher=str(teacher)),
            listeners=[hearing],
            stop=lambda: any(progress.text == "timing the teacher" for progress in hearing.heard),
        )

    assert hearing.heard[-1].text == "timing the teacher"
    assert not list((tmp_path / "runs").iterdir())


def test_timing_a_slow_teacher_does_not_take_the_minutes_of_the_search() -> None:
    moments = iter(range(0, 100, 3))  # each answer takes three seconds

    each_s = seconds_per_answer(
        random_model(), Preprocess(32, 32), images=128, device="cpu", threads=1, clock=lambda: next(moments)
    )

    assert (each_s, next(moments)) == (3 / 8, 6)
