"""A disk that fills up in the middle of a training costs nothing but the time since the last checkpoint."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from equal_runs import checkpoint_digest
from tiny import Ear, tiny_training

from mnasnet import modelfile
from mnasnet.errors import TrainingError
from mnasnet.testing import write_image_folder
from mnasnet.train.run import resume, train
from mnasnet.train.run_folder import RunFolder

PROGRAM = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tiny import tiny_training
from mnasnet.errors import TrainingError
from mnasnet.train.events import EpochEnded
from mnasnet.train.run import train

class Disk:
    "Has room for 20 kB a file after the first epoch."
    def hear(self, event):
        if isinstance(event, EpochEnded):
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

def fills_up_after_a_table() -> bool:
    if (Path(sys.argv[2]) / "run" / "per_class.csv").exists():
        resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))
    return False

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
moment = sys.argv[4]
training = tiny_training(Path(sys.argv[1]), Path(sys.argv[2]), report=moment == "results")
if moment == "start":
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))
try:
    if moment == "results":
        train(training, stop=fills_up_after_a_table)
    else:
        train(training, listeners=[Disk()])
except TrainingError as error:
    print(error)
"""


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the limit is set by Unix's setrlimit")


def train_until_full(data: Path, parent: Path, moment: str) -> str:
    """What a training prints whose disk is full at the ``start``, after an ``epoch`` or among the ``results``."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(data), str(parent), str(Path(__file__).parent), moment],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_a_disk_that_fills_up_is_one_clear_error_and_the_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    data = write_image_folder(tmp_path / "data", per_class=8)
    whole = train(tiny_training(data, tmp_path / "whole"))

    printed = train_until_full(data, tmp_path / "full", "epoch")
    resumed = resume(tmp_path / "full" / "run")

    assert "make room, then resume" in printed
    assert checkpoint_digest(RunFolder(resumed.folder).store) == checkpoint_digest(RunFolder(whole.folder).store)
    assert modelfile.load(resumed.model).fingerprint == modelfile.load(whole.model).fingerprint


def test_a_disk_that_is_full_already_leaves_no_run_folder(tmp_path: Path) -> None:
    data = write_image_folder(tmp_path / "data", per_class=8)
    tiny_training(data, tmp_path / "full")  # its architecture file lies there before

    printed = train_until_full(data, tmp_path / "full", "start")

    assert "cannot write into" in printed and "make room" in printed
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["tiny.json"]


@pytest.mark.slow
def test_a_disk_that_fills_up_while_results_are_written_keeps_the_models_and_resume_writes_the_rest(
    tmp_path: Path,
) -> None:
    data = write_image_folder(tmp_path / "data", per_class=8)
    run = RunFolder(tmp_path / "full" / "run")

    printed = train_until_full(data, run.path.parent, "results")

    assert f"cannot write {run.path / 'confusion_matrix.png'}" in printed
    assert "its best and its last model are kept" in printed and f"resume {run.path}" in printed
    assert modelfile.load(run.best).fingerprint and modelfile.load(run.last).fingerprint
    assert resume(run.path).status == "done"
    assert (run.path / "report.html").exists()


Usage = namedtuple("Usage", "total used free")


def give_disk(monkeypatch: pytest.MonkeyPatch, folder: Path, size: int) -> None:
    """A disk of ``size`` bytes on which ``folder`` lies alone."""

    def usage(path: Path) -> Usage:
        used = sum({file.stat().st_ino: file.stat().st_size for file in folder.rglob("*") if file.is_file()}.values())
        return Usage(size, used, size - used)

    monkeypatch.setattr(shutil, "disk_usage", usage)


def test_a_run_goes_on_where_it_had_room_to_begin_though_its_own_files_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_image_folder(tmp_path / "data", per_class=8)
    ear = Ear(stop_after=4)
    training = tiny_training(data, tmp_path / "disk")
    give_disk(monkeypatch, tmp_path / "disk", 11_200_000)  # 10 MB, fifteen models of 18,825 weights

    stopped = train(training, listeners=[ear], stop=ear.wants_to_stop)

    assert sum(file.stat().st_size for file in (stopped.folder / "weights").iterdir()) > 100_000
    assert resume(stopped.folder).status == "done"


def test_a_run_that_has_begun_is_told_to_make_room_or_to_move_since_it_takes_no_other_output_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_image_folder(tmp_path / "data", per_class=8)
    ear = Ear(stop_after=4)
    stopped = train(tiny_training(data, tmp_path / "disk"), listeners=[ear], stop=ear.wants_to_stop)
    give_disk(monkeypatch, tmp_path / "disk", 10_000_000)

    with pytest.raises(TrainingError, match="needs 1[01] MB of disk more.*make room, or move the run to another disk"):
        resume(stopped.folder)
    with pytest.raises(TrainingError, match="needs 11 MB of disk,.*make room or set output_folder"):
        train(tiny_training(data, tmp_path / "disk"))


def test_a_model_file_that_cannot_be_written_though_there_is_room_asks_for_write_access(tmp_path: Path) -> None:
    run = RunFolder(train(tiny_training(write_image_folder(tmp_path / "data", per_class=8), tmp_path)).folder)
    run.last.unlink()
    run.last.mkdir()  # root may write anywhere else

    with pytest.raises(TrainingError, match="cannot write the model file .*; give write access, then resume"):
        resume(run.path)
