"""Two processes under torchrun train what one process trains; one of them writes; both resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import tiny_training

from mnasnet import modelfile
from mnasnet.testing import write_image_folder
from mnasnet.train.run import train
from mnasnet.train.run_folder import RunFolder
from mnasnet.train.run_state import checkpoint_digest

pytestmark = pytest.mark.slow


def launch(*arguments: str) -> subprocess.Popen[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.Popen(
        [*torchrun, "-m", "mnasnet", *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str]) -> dict[str, object]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    result: dict[str, object] = json.loads(out.splitlines()[-1])
    assert len(out.splitlines()) == 1  # one process speaks
    return result


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_folder(tmp_path_factory.mktemp("data"), per_class=30)


def arguments_for(data: Path, parent: Path) -> list[str]:
    tiny_training(data, parent)  # writes the architecture file
    return [
        "train",
        str(data),
        f"--model={parent / 'tiny.json'}",
        "--use-pretrained=false",
        "--epochs=6",
        "--batch-size=16",
        "--input-size=32",
        "--threads=1",
        f"--output-folder={parent}",
        "--name=run",
    ]


def test_two_processes_reach_what_one_reaches(data: Path, tmp_path: Path) -> None:
    alone = train(tiny_training(data, tmp_path / "one", epochs=6, batch_size=16))

    finish(launch(*arguments_for(data, tmp_path / "two")))

    together = modelfile.load(RunFolder(tmp_path / "two" / "run").best)
    assert [path.name for path in (tmp_path / "two").iterdir() if path.is_dir()] == ["run"]
    # 18 validation images: one of them is 5.6 %; batch statistics of half batches differ a little
    assert together.metrics["accuracy"] == pytest.approx(alone.evaluation.accuracy, abs=0.12)
    assert together.metrics["val_loss"] == pytest.approx(min(row["val_loss"] for row in alone.history), rel=0.3)


def test_two_processes_that_were_killed_resume_to_the_same_bits(data: Path, tmp_path: Path) -> None:
    finish(launch(*arguments_for(data, tmp_path / "whole")))
    process = launch(*arguments_for(data, tmp_path / "killed"))
    run = RunFolder(tmp_path / "killed" / "run")
    while not run.results.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    children = subprocess.run(["pgrep", "-f", f"output-folder={tmp_path / 'killed'}"], capture_output=True, text=True)
    for pid in children.stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    process.wait()
    time.sleep(1)  # the killed workers' lock goes with them

    finish(launch("resume", str(run.path)))

    assert checkpoint_digest(run.store) == checkpoint_digest(RunFolder(tmp_path / "whole" / "run").store)
