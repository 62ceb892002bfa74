"""Listeners: none can stop or slow a training, whatever its server or the class names are like."""

from __future__ import annotations

import logging
import os
import re
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from mnasnet.errors import SettingsError, TrainingError
from mnasnet.train.events import Audience, Ended, EpochEnded, Event, Opened, Reported, Started, Stepped
from mnasnet.train.listeners import Background, CsvFile, MlflowRun, TensorBoardFiles, TerminalProgress, metric_name

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
STOPPED = Ended("stopped", "stopped on request", (ROW,))


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
    assert "Faulty hears no more of this training, which goes on: ConnectionError: no server" in caplog.text


def test_the_password_of_a_server_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    faulty = Faulty(ConnectionError("API request to http://user:s3cret@127.0.0.1:9/api failed"))
    background = Background(faulty)

    Audience([faulty]).hear(EPOCH)
    for event in (EPOCH, ENDED):
        background.hear(event)

    assert caplog.text.count("API request to http://127.0.0.1:9/api failed") == 2 and "s3cret" not in caplog.text


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


def only_run(client: Any) -> Any:
    """The one run of the experiment."""
    (run,) = client.search_runs([client.get_experiment_by_name("mnasnet").experiment_id])
    return run


def test_mlflow_files_hold_every_number_of_an_epoch(tmp_path: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    uri = (tmp_path / "mlruns").as_uri()
    listener = MlflowRun(uri, "mnasnet", "flowers")

    for event in (STARTED, EPOCH, ENDED):
        listener.hear(event)

    run = only_run(tracking.MlflowClient(uri))
    assert run.data.metrics["val_accuracy"] == 0.6
    assert run.data.params[metric_name("café & co")] == "C#"
    assert run.info.status == "FINISHED"


def test_mlflow_gets_each_number_of_the_training_as_a_parameter_of_its_own(tmp_path: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    uri = (tmp_path / "mlruns").as_uri()
    recipe = {"name": "modern", "learning_rate": 0.04, "batch_size": 32, "momentum": 0.9}
    preprocess = {"input_size": 128, "resize": 144}
    set_by_user = {"data": Path("/photos"), "model": "photos10", "learning_rate": 0.0, "recipe": "auto", "mixup": None}
    listener = MlflowRun(uri, "mnasnet", "flowers", set_by_user)

    listener.hear(Started(2, 0, (), {"recipe": recipe, "preprocess": preprocess, "epochs": 2}))

    run = only_run(tracking.MlflowClient(uri))
    assert run.data.params == {
        "data": str(Path("/photos")),
        "model": "photos10",
        "recipe": "modern",
        "learning_rate": "0.04",
        "batch_size": "32",
        "momentum": "0.9",
        "input_size": "128",
        "resize": "144",
        "epochs": "2",
    }


def test_mlflow_keeps_classes_apart_and_a_map_of_their_names(tmp_path: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    artifacts = pytest.importorskip("mlflow.artifacts")
    uri = (tmp_path / "mlruns").as_uri()
    listener = MlflowRun(uri, "mnasnet", "birds")
    scores = {"recall/鳥": 0.1, "recall/犬": 0.2, "recall/C#": 0.3, "recall/C+": 0.4, "recall/cat": 0.5}

    for event in (STARTED, Reported(scores, ()), ENDED):
        listener.hear(event)

    run = only_run(tracking.MlflowClient(uri))
    assert sorted(run.data.metrics.values()) == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert run.data.metrics["recall/cat"] == 0.5
    kept = artifacts.load_dict(f"{run.info.artifact_uri}/metric_names.json")
    assert {kept.get(name, name): score for name, score in run.data.metrics.items()} == scores


def test_mlflow_shows_a_stopped_training_as_killed_and_where_it_lies(tmp_path: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    uri = (tmp_path / "mlruns").as_uri()
    listener = MlflowRun(uri, "mnasnet", "flowers")

    for event in (Opened(tmp_path / "run"), STARTED, EPOCH, STOPPED):
        listener.hear(event)

    run = only_run(tracking.MlflowClient(uri))
    assert run.info.status == "KILLED"
    assert run.data.tags["run_folder"] == str(tmp_path / "run")


def test_a_resumed_training_goes_on_in_its_run_of_mlflow(tmp_path: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    uri = (tmp_path / "mlruns").as_uri()
    opened, second = Opened(tmp_path / "run"), EpochEnded({**ROW, "epoch": 2}, 2, True, (ROW,))
    first_sitting = MlflowRun(uri, "mnasnet", "flowers", {"data": "/photos"})
    next_sitting = MlflowRun(uri, "mnasnet", "flowers", {"resume_folder": "run"})

    for event in (opened, STARTED, EPOCH, STOPPED):
        first_sitting.hear(event)
    for event in (opened, Started(2, 1, (ROW,), {"recipe": "other"}), second, ENDED):
        next_sitting.hear(event)

    client = tracking.MlflowClient(uri)
    run = only_run(client)
    assert run.info.status == "FINISHED"
    assert (run.data.params["data"], run.data.params["recipe"]) == ("/photos", "modern")
    assert [one.step for one in client.get_metric_history(run.info.run_id, "val_loss")] == [1, 2]


def test_a_resumed_training_whose_run_was_deleted_from_mlflow_begins_another(tmp_path: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    uri = (tmp_path / "mlruns").as_uri()
    client = tracking.MlflowClient(uri)

    for _ in range(2):
        listener = MlflowRun(uri, "mnasnet", "flowers")
        for event in (Opened(tmp_path / "run"), STARTED, EPOCH, ENDED):
            listener.hear(event)
        run = only_run(client)
        client.delete_run(run.info.run_id)

    assert run.info.status == "FINISHED"


def test_a_resumed_training_that_another_mlflow_hears_begins_a_run_there(tmp_path: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking")

    for name in ("here", "there"):
        uri = (tmp_path / name).as_uri()
        listener = MlflowRun(uri, "mnasnet", "flowers")
        for event in (Opened(tmp_path / "run"), STARTED, EPOCH, ENDED):
            listener.hear(event)
        assert only_run(tracking.MlflowClient(uri)).info.status == "FINISHED"


def test_trainings_that_begin_at_once_share_a_new_experiment_of_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    uri = (tmp_path / "mlruns").as_uri()
    create = tracking.MlflowClient.create_experiment

    def create_second(client: Any, name: str) -> str:
        create(client, name)  # the other training's
        return str(create(client, name))

    monkeypatch.setattr(tracking.MlflowClient, "create_experiment", create_second)
    listener = MlflowRun(uri, "mnasnet", "flowers")

    for event in (STARTED, EPOCH, ENDED):
        listener.hear(event)

    assert only_run(tracking.MlflowClient(uri)).info.status == "FINISHED"


def test_a_figure_is_drawn_while_mlflow_imports_ipython(tmp_path: Path) -> None:
    slow = "import threading, time\nif threading.current_thread() is not threading.main_thread():\n    time.sleep(60)\n"
    (tmp_path / "IPython.py").write_text(f"{slow}version_info = (9, 0)\n")
    script = (
        "import importlib, sys, threading\n"
        "from mnasnet.plots import new_figure\n"
        "from mnasnet.train.listeners import MlflowRun\n"
        "MlflowRun('http://127.0.0.1:9', 'mnasnet', 'flowers')\n"
        "threading.Thread(target=importlib.import_module, args=['IPython'], daemon=True).start()\n"
        "while 'IPython' not in sys.modules: pass\n"
        "new_figure(3, 3)\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])

    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}, capture_output=True)

    assert done.returncode == 0, done.stderr.decode()


def test_tensorboard_files_are_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    listener = TensorBoardFiles(tmp_path)

    for event in (STARTED, EPOCH, ENDED):
        listener.hear(event)

    assert list(tmp_path.glob("events.*"))


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("café & co", r"caf_ _ co_[0-9a-f]{6}"),
        ("C#", r"C__[0-9a-f]{6}"),
        ("", r"_[0-9a-f]{6}"),
        ("\udce9t\udce9", r"_t__[0-9a-f]{6}"),  # a folder's name that is not UTF-8
        ("x" * 300, r"x{190}_[0-9a-f]{6}"),
        ("a/b:c d-e.f", "a/b:c d-e.f"),
        ("recall/a/b#", r"recall/a/b__[0-9a-f]{6}"),
    ],
)
def test_metric_names_are_ones_that_mlflow_takes(text: str, pattern: str) -> None:
    assert re.fullmatch(pattern, metric_name(text))


@pytest.mark.parametrize(
    ("text", "other"), [("recall/鳥", "recall/犬"), ("C#", "C+"), ("a ", "a"), ("x" * 300, "x" * 301)]
)
def test_metric_names_of_different_texts_differ(text: str, other: str) -> None:
    assert metric_name(text) != metric_name(other)
    assert metric_name(text) == metric_name(text)


def test_a_class_has_one_name_in_all_its_metrics() -> None:
    names = [metric_name(f"{score}/a,b") for score in ("precision", "recall", "f1")]

    assert [name.partition("/")[0] for name in names] == ["precision", "recall", "f1"]
    assert {name.partition("/")[2] for name in names} == {metric_name("a,b")}


def test_csv_is_whole_after_every_epoch(tmp_path: Path) -> None:
    CsvFile(tmp_path / "results.csv").hear(EPOCH)

    assert (tmp_path / "results.csv").read_text().splitlines()[1].startswith("1,0.1,1.0")


def test_a_table_that_could_not_be_written_is_written_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "results.csv"
    path.mkdir()  # in its place
    audience = Audience[Event]([CsvFile(path)])

    audience.hear(EPOCH)
    path.rmdir()
    audience.hear(ENDED)

    assert "results.csv is not up to date: Is a directory; it is written again later" in caplog.text
    assert path.read_text().splitlines()[1].startswith("1,0.1,1.0")


def test_plain_lines_where_there_is_no_terminal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    progress = TerminalProgress()

    for event in (STARTED, STEPPED, EPOCH, ENDED):
        progress.hear(event)

    assert caplog.messages == [
        "epoch 1/2: train loss 1.0000, val loss 0.9000, val accuracy 60.00% (best), 100 img/s, 2 s left"
    ]


class _Pipe:
    """What a windowed Ikomia puts in the place of standard error."""

    def write(self, text: str) -> None: ...

    def flush(self) -> None: ...


@pytest.mark.parametrize("stderr", [None, _Pipe()], ids=["none", "only-writes"])
def test_a_program_with_windows_hears_the_same_lines(
    stderr: object, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr)
    caplog.set_level(logging.INFO)
    progress = TerminalProgress()

    for event in (STARTED, STEPPED, EPOCH, ENDED):
        progress.hear(event)

    assert len(caplog.messages) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are Unix's")
def test_a_terminal_shows_a_bar_with_what_people_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl
    import pty
    import struct
    import termios

    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    with os.fdopen(terminal, "w", encoding="utf-8") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        progress = TerminalProgress()

        for event in (STARTED, STEPPED, STEPPED, ENDED):
            progress.hear(event)
            time.sleep(0.2)  # it is drawn ten times a second at most
        stderr.flush()
        drawn = os.read(screen, 10_000).decode() if select.select([screen], [], [], 1)[0] else ""
    os.close(screen)

    assert re.search(r"epoch 1/2 \|.*\| \d+/\d+.*loss \d.*% right.* img/s, .* left", drawn)
    assert drawn.endswith("\r")  # the finished bar makes room for the epoch's line


def test_mlflow_hears_nothing_of_a_training_that_fails_before_it_starts(tmp_path):
    MlflowRun((tmp_path / "mlruns").as_uri(), "mnasnet", "flowers").hear(Ended("failed", "there is no folder nope", ()))

    assert not (tmp_path / "mlruns").exists()


def test_what_cannot_hear_is_refused_before_anything_is_trained():
    with pytest.raises(SettingsError, match=r"a listener has a method hear\(event\), got <built-in function print>"):
        Audience([print])  # type: ignore[list-item]
