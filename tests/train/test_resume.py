"""A run that goes on: to the same bits, past damage, and not while another has it in use."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from equal_runs import checkpoint_digest
from tiny import Ear, tiny_training

from mnasnet import modelfile
from mnasnet.data.folder import scan
from mnasnet.data.split import split
from mnasnet.errors import DataError, SettingsError, TrainingError
from mnasnet.testing import random_model, write_image_folder
from mnasnet.train.checkpoint import Checkpoint, from_bytes, to_bytes
from mnasnet.train.events import EpochEnded, Event
from mnasnet.train.run import TrainedRun, resume, train
from mnasnet.train.run_folder import RunFolder, only_user


@pytest.mark.parametrize("stop_after", [1, 4, 5])
def test_a_stopped_run_goes_on_to_the_bits_of_one_that_was_not(
    data: Path, done: TrainedRun, tmp_path: Path, stop_after: int
) -> None:
    ear = Ear(stop_after)

    stopped = train(tiny_training(data, tmp_path), listeners=[ear], stop=ear.wants_to_stop)
    resumed = resume(stopped.folder)

    assert stopped.status == "stopped"
    assert resumed.status == "done"
    assert checkpoint_digest(RunFolder(resumed.folder).store) == checkpoint_digest(RunFolder(done.folder).store)
    assert modelfile.load(resumed.model).fingerprint == modelfile.load(done.model).fingerprint


def test_a_run_that_goes_on_and_is_refused_keeps_its_folder(tmp_path: Path) -> None:
    data = write_image_folder(tmp_path / "data", per_class=6)
    run = stopped_early(data, tmp_path / "runs")
    for file in (data / "red").iterdir():
        file.write_bytes(b"")

    run.dataset_report.unlink()
    with pytest.raises(DataError):
        resume(run.path)

    assert run.store.last.exists()


def test_resume_refuses_images_that_changed(tmp_path: Path) -> None:
    data = write_image_folder(tmp_path / "data", per_class=6)
    ear = Ear(1)
    stopped = train(tiny_training(data, tmp_path / "runs"), listeners=[ear], stop=ear.wants_to_stop)
    (data / "red" / "003.jpg").unlink()

    with pytest.raises(DataError, match="missing"):
        resume(stopped.folder)


def test_a_validation_image_that_cannot_be_read_any_more_is_not_left_out_of_a_resumed_run(tmp_path: Path) -> None:
    data = write_image_folder(tmp_path / "data", per_class=6)
    run = stopped_early(data, tmp_path / "runs")
    image = data / split(scan(data)).val[0].path
    content = image.read_bytes()
    image.write_bytes(content[:100])

    with pytest.raises(DataError, match="the run is kept: bring the image back, then"):
        resume(run.path)
    image.write_bytes(content)

    assert resume(run.path).status == "done"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows moves no folder in which a file is open")
def test_a_run_whose_folder_is_moved_meanwhile_ends_and_resumes_where_it_lies_now(tmp_path: Path) -> None:
    data = write_image_folder(tmp_path / "data", per_class=6)
    run, moved = RunFolder(tmp_path / "runs" / "run"), tmp_path / "moved"

    class Moves:
        def hear(self, event: Event) -> None:
            if isinstance(event, EpochEnded) and event.row["epoch"] == 1:
                run.path.rename(moved)

    with pytest.raises(TrainingError, match="was moved or removed meanwhile; resume it where it lies now"):
        train(tiny_training(data, tmp_path / "runs"), listeners=[Moves()])

    assert not run.path.exists()
    assert resume(moved).status == "done"


def test_resume_tells_an_image_that_was_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = write_image_folder(tmp_path / "data", per_class=6)
    run = stopped_early(data, tmp_path / "runs")
    shutil.copy(data / "blue" / "003.jpg", data / "red" / "001.jpg")

    resume(run.path)

    assert re.search(r"1 image of .* changed since .*: red/001.jpg; from here on", caplog.text)


def test_a_run_that_has_learned_nothing_yet_does_not_go_on_from_another_start(tmp_path: Path) -> None:
    data, start = write_image_folder(tmp_path / "data", per_class=4), tmp_path / "start.safetensors"
    modelfile.save(random_model(class_names=("a", "b"), input_size=32), start)
    stopped = train(tiny_training(data, tmp_path / "runs", model=str(start), pretrained=True), stop=lambda: True)
    modelfile.save(random_model(class_names=("a", "b"), input_size=32, seed=1), start)

    with pytest.raises(TrainingError, match="goes on with the model that it began with.*; bring that model back"):
        resume(stopped.folder)


def test_resume_of_something_else_says_what_a_run_is(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is not the folder of a run"):
        resume(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_lock_that_is_a_link_is_not_followed(done: TrainedRun, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.txt"
    elsewhere.write_text("kept")
    run = RunFolder(shutil.copytree(done.folder, tmp_path / "run"))
    (run.path / ".lock").unlink(missing_ok=True)
    (run.path / ".lock").symlink_to(elsewhere)

    with pytest.raises(TrainingError, match="cannot be written to"):
        resume(run.path)
    assert elsewhere.read_text() == "kept"


def test_a_run_in_use_is_left_alone(done: TrainedRun) -> None:
    with only_user(RunFolder(done.folder)), pytest.raises(TrainingError, match="in use"):
        resume(done.folder)


def test_what_a_killed_process_left_half_written_is_removed(done: TrainedRun, tmp_path: Path) -> None:
    run = RunFolder(shutil.copytree(done.folder, tmp_path / "run"))
    dies = "import os; from pathlib import Path; from mnasnet.files import write_atomic; os.fsync = os._exit; "
    for path in (run.store.last, run.arguments):
        subprocess.run([sys.executable, "-c", f"{dies} write_atomic(Path({str(path)!r}), b'half')"], check=False)
    (run.path / ".notes.tmp").write_text("the user's")
    assert len(list(run.path.rglob(".*.tmp"))) == 3

    resume(run.path)

    assert [path.name for path in run.path.rglob(".*.tmp")] == [".notes.tmp"]


def test_a_damaged_checkpoint_falls_back_to_the_one_before_it(
    data: Path, done: TrainedRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ear = Ear(5)
    stopped = train(tiny_training(data, tmp_path), listeners=[ear], stop=ear.wants_to_stop)
    last = RunFolder(stopped.folder).store.last
    content = bytearray(last.read_bytes())
    content[-5] ^= 1
    last.write_bytes(content)

    resumed = resume(stopped.folder)

    assert "going on from the one before it" in caplog.text
    assert checkpoint_digest(RunFolder(resumed.folder).store) == checkpoint_digest(RunFolder(done.folder).store)


def test_two_damaged_checkpoints_are_an_error_and_not_a_new_start(data: Path, tmp_path: Path) -> None:
    ear = Ear(5)
    stopped = train(tiny_training(data, tmp_path), listeners=[ear], stop=ear.wants_to_stop)
    for path in (RunFolder(stopped.folder).store.last, RunFolder(stopped.folder).store.before_last):
        path.write_bytes(b"torn")

    with pytest.raises(TrainingError, match="no whole checkpoint"):
        resume(stopped.folder)


def stopped_early(data: Path, parent: Path) -> RunFolder:
    """A run that was stopped after its first step."""
    ear = Ear(1)
    return RunFolder(train(tiny_training(data, parent), listeners=[ear], stop=ear.wants_to_stop).folder)


@pytest.mark.parametrize(("stop_after", "is_told"), [(1, True), (10**9, False)])  # in the first epoch, never
def test_going_on_within_an_epoch_that_an_older_release_cut_otherwise_is_told(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, stop_after: int, is_told: bool
) -> None:
    ear = Ear(stop_after)
    stopped = train(tiny_training(data, tmp_path), listeners=[ear], stop=ear.wants_to_stop)
    store = RunFolder(stopped.folder).store
    written = from_bytes(store.last.read_bytes())
    values = {name: value for name, value in written.values.items() if name != "batches"}
    store.last.write_bytes(to_bytes(Checkpoint(written.tensors, values)))

    assert resume(stopped.folder).status == "done"
    assert ("within an epoch by an older release, which cut other batches" in caplog.text) is is_told


def test_a_damaged_dataset_report_is_made_again(data: Path, done: TrainedRun, tmp_path: Path) -> None:
    run = stopped_early(data, tmp_path)
    run.dataset_report.write_bytes(run.dataset_report.read_bytes()[:40])

    resumed = resume(run.path)

    assert checkpoint_digest(run.store) == checkpoint_digest(RunFolder(done.folder).store)
    assert resumed.status == "done" and json.loads(run.dataset_report.read_bytes())["unreadable"] is not None


def test_a_run_that_has_lost_its_checkpoints_is_not_trained_over_again(done: TrainedRun, tmp_path: Path) -> None:
    run = RunFolder(shutil.copytree(done.folder, tmp_path / "run"))
    for checkpoint in (run.store.last, run.store.before_last):
        checkpoint.unlink()
    best = run.best.read_bytes()

    with pytest.raises(TrainingError, match="has no checkpoint any more"):
        resume(run.path)

    assert run.best.read_bytes() == best


def test_what_a_resumed_run_is_told_counts_the_next_time_too(tmp_path: Path) -> None:
    data = write_image_folder(tmp_path / "data", per_class=6)
    short = train(tiny_training(data, tmp_path / "runs", max_minutes=1e-6))
    moved, ear = data.rename(tmp_path / "moved"), Ear(1)

    stopped = resume(short.folder, data=moved, max_minutes=0, listeners=[ear], stop=ear.wants_to_stop)

    assert stopped.status == "stopped"
    assert resume(short.folder).status == "done"


def test_a_lost_split_and_damaged_settings_are_told_with_the_next_step(data: Path, tmp_path: Path) -> None:
    run = stopped_early(data, tmp_path)
    arguments = run.arguments.read_text()

    run.arguments.write_text(arguments + "\n: [")
    with pytest.raises(TrainingError, match=r"args.yaml is damaged: in line \d+ .*, or start a new run"):
        resume(run.path)
    run.arguments.write_text(re.sub("learning_rate: .*", "learning_rate: fast", arguments))
    with pytest.raises((TrainingError, SettingsError), match="learning_rate must be a number, got 'fast'"):
        resume(run.path)
    run.arguments.write_text(f"{arguments}  unheard_of: 1\n")
    with pytest.raises(TrainingError, match="argument 'unheard_of'.; update the mnasnet package where a newer release"):
        resume(run.path)
    run.arguments.write_text(arguments)
    run.split.unlink()
    with pytest.raises(DataError, match=r"split.json.*bring it back, or start a new run"):
        resume(run.path)


def test_whoever_finds_a_run_in_use_hears_by_whom(done: TrainedRun) -> None:
    with only_user(RunFolder(done.folder)), pytest.raises(TrainingError) as caught:
        resume(done.folder)

    assert f"in use by another process ({os.getpid()} on {socket.gethostname()}, since " in str(caught.value)
    assert (done.folder / ".lock").read_bytes() == b""
