"""A training killed by SIGKILL at any moment goes on to the same bits as one that was left alone."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
from equal_runs import TIME_COLUMNS, checkpoint_digest
from tiny import tiny_training

from mnasnet import modelfile
from mnasnet.testing import write_image_folder
from mnasnet.train.replicas import SMALLEST_PART
from mnasnet.train.run import resume, train
from mnasnet.train.run_folder import RunFolder

CONTEXT = multiprocessing.get_context("forkserver")  # children start in milliseconds, torch already imported
CONTEXT.set_forkserver_preload(["mnasnet.train.run", "mnasnet.runtime.onnxruntime"])


def work(data: Path, parent: Path) -> None:
    """What the killed process runs: the training, or its resumption where there is one already."""
    folder = parent / "run"
    if (folder / "args.yaml").exists():
        resume(folder)
    else:
        chosen = {"augment": "trivial", "mixup": 0.3, "cutmix": 0.3, "dropout": 0.3}
        in_parts = {"threads": 2, "batch_size": 2 * SMALLEST_PART}  # of batches of 60
        train(tiny_training(data, parent, epochs=6, patience=4, **chosen, **in_parts))


def start(data: Path, parent: Path) -> multiprocessing.process.BaseProcess:
    process = CONTEXT.Process(target=work, args=(data, parent))
    process.start()
    return process


def finish(data: Path, parent: Path) -> RunFolder:
    process = start(data, parent)
    process.join(120)
    assert process.exitcode == 0
    return RunFolder(parent / "run")


def kill_at_random(data: Path, parent: Path, rng: random.Random, longest_s: float) -> bool:
    """Start or resume, kill after a random time; whether the process was still at work."""
    process = start(data, parent)
    process.join(rng.uniform(0, longest_s))
    if process.exitcode is not None:
        assert process.exitcode == 0
        return False
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    folder = parent / "run"
    if folder.exists() and not (folder / "args.yaml").exists():
        folder.rename(parent / f"never_began_{time.monotonic_ns()}")  # killed before the first epoch: begin again
    return True


def traces(run: RunFolder) -> dict[str, object]:
    """Everything of a run that must not depend on kills: weights, optimiser, average, history, best model."""
    lines = [line.split(",") for line in run.results.read_text().splitlines()]
    timeless = [index for index, name in enumerate(lines[0]) if name not in TIME_COLUMNS]
    return {
        "checkpoint": checkpoint_digest(run.store),
        "history": [[line[index] for index in timeless] for line in lines],
        "best": run.best.read_bytes(),
        "last": modelfile.load(run.last).fingerprint,
        "split": run.split.read_bytes(),
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_folder(tmp_path_factory.mktemp("data"), per_class=50)


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], float]:
    began = time.monotonic()
    run = finish(data, tmp_path_factory.mktemp("undisturbed"))
    return traces(run), time.monotonic() - began


def test_a_killed_training_ends_with_the_same_bits(
    data: Path, undisturbed: tuple[dict[str, object], float], tmp_path: Path
) -> None:
    expected, seconds = undisturbed
    rng = random.Random(1)

    kills = sum(kill_at_random(data, tmp_path, rng, seconds / 2) for _ in range(4))

    assert kills >= 1
    assert traces(finish(data, tmp_path)) == expected


@pytest.mark.slow
def test_fifty_random_kills_change_nothing(
    data: Path, undisturbed: tuple[dict[str, object], float], tmp_path: Path
) -> None:
    expected, seconds = undisturbed
    rng = random.Random(2)
    kills = 0
    for attempt in range(1000):
        parent = tmp_path / str(attempt)
        while kill_at_random(data, parent, rng, seconds / 2):
            kills += 1

        assert traces(RunFolder(parent / "run")) == expected

        if kills >= 50:
            return
    raise AssertionError(f"only {kills} kills hit a running training")
