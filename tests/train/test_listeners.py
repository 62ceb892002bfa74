"""Listeners: none can stop or slow a training, whatever its server or the class names are like."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from mnasnet.errors import TrainingError
from mnasnet.train.listeners import (
    Audience,
    Background,
    CsvFile,
    Ended,
    EpochEnded,
    Event,
    MlflowRun,
    Started,
    Stepped,
    TensorBoardFiles,
    TerminalProgress,
    duration,
    metric_name,
)

ROW: dict[str, Any] = {
    "epoch": 1,
    "learning_rate": 0.1,
    "train_loss": 1.0,
    "train_accuracy": 0.5,
    "val_loss": 0.9,
    "val_accuracy": 0.6,
    "images_per_second": 100.0,
    "seconds": 2.0,
}
STARTED = Started(2, 0, (), {"recipe": "modern", "café & co": "C#"})
STEPPED = Stepped(0, 2, 0, 5, 1.0, 0.5, 100.0, 9.0)
EPOCH = EpochEnded(ROW, 2, True, (ROW,))
ENDED = Ended("done", "all epochs are done", (ROW,))


class Faulty:
    def __init__(self, error: Exception) -> None:
        self.heard = 0
        self._error = error

    def hear(self, event: Event) -> None:
        self.heard += 1
        raise self._error


class Stuck:
    """Stands for a server that answers nothing."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def hear(self, event: Event) -> None:
        self.release.wait()


def test_a_faulty_listener_is_reported_once_and_heard_no_more(caplog: pytest.LogCaptureFixture) -> None:
    faulty = Faulty(ConnectionError("no server"))
    audience = Audience([faulty])

    audience.hear(EPOCH)
    audience.hear(EPOCH)

    assert faulty.heard == 1
    assert "Faulty stopped listening: ConnectionError: no server" in caplog.text


def test_our_own_errors_do_stop_a_training() -> None:
    with pytest.raises(TrainingError):
        Audience([Faulty(TrainingError("disk full"))]).hear(EPOCH)


def test_a_stuck_listener_in_the_background_costs_no_time() -> None:
    stuck = Stuck()
    background = Background(stuck, close_timeout_s=0.1)
    began = time.monotonic()

    for event in (STARTED, *[STEPPED, EPOCH] * 2000, ENDED):
        background.hear(event)

    assert time.monotonic() - began < 2
    stuck.release.set()


def test_mlflow_files_hold_every_number_of_an_epoch(tmp_path: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    uri = (tmp_path / "mlruns").as_uri()
    listener = MlflowRun(uri, "mnasnet", "flowers")

    for event in (STARTED, EPOCH, ENDED):
        listener.hear(event)

    client = tracking.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("mnasnet").experiment_id])
    assert run.data.metrics["val_accuracy"] == 0.6
    assert run.data.params["caf_ _ co"] == "C#"
    assert run.info.status == "FINISHED"


def test_tensorboard_files_are_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    listener = TensorBoardFiles(tmp_path)

    for event in (STARTED, EPOCH, ENDED):
        listener.hear(event)

    assert list(tmp_path.glob("events.*"))


@pytest.mark.parametrize(
    ("text", "name"), [("café & co", "caf_ _ co"), ("C#", "C_"), ("", "_"), ("a/b:c d-e.f", "a/b:c d-e.f")]
)
def test_metric_names_are_ones_that_mlflow_takes(text: str, name: str) -> None:
    assert metric_name(text) == name


def test_csv_is_whole_after_every_epoch(tmp_path: Path) -> None:
    CsvFile(tmp_path / "results.csv").hear(EPOCH)

    assert (tmp_path / "results.csv").read_text().splitlines()[1].startswith("1,0.1,1.0")


def test_plain_lines_where_there_is_no_terminal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    progress = TerminalProgress()

    for event in (STARTED, STEPPED, EPOCH, ENDED):
        progress.hear(event)

    assert caplog.messages == [
        "epoch 1/2: train loss 1.0000, val loss 0.9000, val accuracy 60.00% (best), 100 img/s, 2 s left"
    ]


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")])
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text
