"""Two processes under torchrun train what one process trains; one of them writes; both resume."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from equal_runs import checkpoint_digest
from tiny import tiny_training

from mnasnet import modelfile
from mnasnet.testing import random_model, write_image_folder
from mnasnet.train.run import train
from mnasnet.train.run_folder import RunFolder

pytestmark = pytest.mark.slow


def launch(*arguments: str, program: tuple[str, ...] = ("-m", "mnasnet")) -> subprocess.Popen[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.Popen(
        [*torchrun, *program, *arguments, "--json"],
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


def workers_of(parent: Path) -> list[int]:
    """The processes that train into ``parent``, without torchrun itself."""
    found = subprocess.run(["pgrep", "-f", f" train .*output-folder={parent}"], capture_output=True, text=True)
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in found.stdout.split()}
    return [pid for pid, command in commands.items() if b"torch.distributed.run" not in command]


def arguments_for(data: Path, parent: Path, *further: str) -> list[str]:
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
        *further,
    ]


def test_two_processes_reach_what_one_reaches(data: Path, tmp_path: Path) -> None:
    alone = train(tiny_training(data, tmp_path / "one", epochs=6, batch_size=16))

    finish(launch(*arguments_for(data, tmp_path / "two")))

    together = modelfile.load(RunFolder(tmp_path / "two" / "run").best)
    assert [path.name for path in (tmp_path / "two").iterdir() if path.is_dir()] == ["run"]
    # 18 validation images: one of them is 5.6 %; batch statistics of half batches differ a little
    assert together.metrics["accuracy"] == pytest.approx(alone.evaluation.accuracy, abs=0.06)
    assert together.metrics["val_loss"] == pytest.approx(min(row["val_loss"] for row in alone.history), rel=0.15)


def test_where_batch_statistics_rest_two_processes_take_the_very_steps_of_one(data: Path, tmp_path: Path) -> None:
    modelfile.save(random_model(class_names=("a", "b", "c"), input_size=32), tmp_path / "start.safetensors")
    start = {"model": str(tmp_path / "start.safetensors"), "pretrained": True, "feature_extract": True, "dropout": 0.0}
    chosen = {**start, "epochs": 3, "batch_size": 16}
    alone = train(tiny_training(data, tmp_path / "one", **chosen))

    options = [f"--{name.replace('_', '-')}={value}" for name, value in start.items() if name != "pretrained"]
    finish(launch(*arguments_for(data, tmp_path / "two", *options, "--use-pretrained=true", "--epochs=3")))

    rows = list(csv.DictReader(RunFolder(tmp_path / "two" / "run").results.open()))
    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
        together = [float(row[name]) for row in rows]
        assert together == pytest.approx([row[name] for row in alone.history], rel=1e-4), name
    weights = [
        modelfile.load(tmp_path / name / "run" / "weights" / "last.safetensors").weights for name in ("one", "two")
    ]
    np.testing.assert_allclose(weights[0]["classifier.weight"], weights[1]["classifier.weight"], atol=1e-5)


def test_a_stop_ends_both_processes_within_five_seconds_and_resumes_to_the_same_bits(
    data: Path, tmp_path: Path
) -> None:
    finish(launch(*arguments_for(data, tmp_path / "whole")))
    process = launch(*arguments_for(data, tmp_path / "stopped"))
    run = RunFolder(tmp_path / "stopped" / "run")
    while not run.results.exists() and process.poll() is None:
        time.sleep(0.05)

    workers = workers_of(tmp_path / "stopped")
    stopped_at = time.monotonic()
    for pid in workers:  # as Ctrl-C reaches all of a terminal
        os.kill(pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert time.monotonic() - stopped_at < 5
    assert len(workers) == 2 and workers_of(tmp_path / "stopped") == []
    assert json.loads(out.splitlines()[-1])["status"] == "stopped", err
    finish(launch("resume", str(run.path)))
    assert checkpoint_digest(run.store) == checkpoint_digest(RunFolder(tmp_path / "whole" / "run").store)


SLOW = """
import sys, time
from pathlib import Path
import torch
from mnasnet import cli
from mnasnet.data.cache import DecodedImages

what, told = sys.argv[1], Path(sys.argv[2])

def wait(_=None):
    told.touch()
    time.sleep(0.6)

def hook(layer, inputs):
    if isinstance(layer, torch.nn.BatchNorm2d) and layer.training:
        wait() if what == "forwards" or not inputs[0].requires_grad else inputs[0].register_hook(wait)

if what in ("forwards", "backwards"):
    torch.nn.modules.module.register_module_forward_pre_hook(hook)
else:
    decode = DecodedImages._decode
    def slow(self, index):
        if (what == "looking") == bool(self.planned):
            wait()
        return decode(self, index)
    DecodedImages._decode = slow
sys.exit(cli.main(sys.argv[3:]))
"""


@pytest.mark.parametrize("what", ["forwards", "backwards", "looking", "reading"])
def test_a_stop_that_one_process_hears_ends_both_in_the_middle_of_what_takes_long(
    what: str, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    told, small = tmp_path / "told", ("--epochs=1", *(["--cache-mb=0"] if what == "reading" else []))
    finish(launch(*arguments_for(data, tmp_path / "whole", *small)))
    arguments = arguments_for(data, tmp_path / "stopped", *small)
    process = launch(what, str(told), *arguments, program=(str(tmp_path / "slow.py"),))
    while not told.exists() and process.poll() is None:
        time.sleep(0.05)

    stopped_at = time.monotonic()
    os.kill(workers_of(tmp_path / "stopped")[-1], signal.SIGINT)
    assert process.stdout is not None
    last_line = process.stdout.readline()
    late_s = time.monotonic() - stopped_at
    _, err = process.communicate(timeout=120)

    assert (process.returncode, json.loads(last_line)["status"]) == (0, "stopped"), err
    assert late_s < 5
    run = RunFolder(tmp_path / "stopped" / "run")
    finish(launch("resume", str(run.path)))
    assert checkpoint_digest(run.store) == checkpoint_digest(RunFolder(tmp_path / "whole" / "run").store)


def test_two_processes_that_were_killed_resume_to_the_same_bits(data: Path, tmp_path: Path) -> None:
    finish(launch(*arguments_for(data, tmp_path / "whole")))
    process = launch(*arguments_for(data, tmp_path / "killed"))
    run = RunFolder(tmp_path / "killed" / "run")
    while not run.results.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    for pid in workers_of(tmp_path / "killed"):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    time.sleep(1)  # the killed workers' lock goes with them

    finish(launch("resume", str(run.path)))

    assert checkpoint_digest(run.store) == checkpoint_digest(RunFolder(tmp_path / "whole" / "run").store)


def test_a_process_that_lost_another_one_says_so_in_one_sentence(data: Path, tmp_path: Path) -> None:
    process = launch(*arguments_for(data, tmp_path, "--epochs=1000"))
    while not RunFolder(tmp_path / "run").results.exists() and process.poll() is None:
        time.sleep(0.05)

    os.kill(workers_of(tmp_path)[-1], signal.SIGKILL)
    _, err = process.communicate(timeout=60)

    assert process.returncode != 0
    assert "error: process 0 of this training has lost another one" in err
    assert "[rank0]: Traceback" not in err
