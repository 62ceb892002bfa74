"""What the training task needs of Ikomia: its progress, tracking services and outputs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ikomia import core, dataprocess
from ikomia.core import config

from mnasnet.data.images import read_image
from mnasnet.files import write_atomic
from mnasnet.modelfile import load
from mnasnet.plugin.long_task import StepBar
from mnasnet.plugin.task import CONFUSION_MATRIX, TRAINING_CURVES, ResultsIO
from mnasnet.settings import TrainSettings
from mnasnet.train.events import Ended, Event, Listener, Opened, Stepped
from mnasnet.train.listeners import Background, MlflowRun, TensorBoardFiles, metric_name, mlflow_uri

if TYPE_CHECKING:  # torch starts with the first training, not with Ikomia
    from mnasnet.train.evaluate import Evaluation
    from mnasnet.train.run import TrainedRun

_log = logging.getLogger(__name__)

STOPPING_S = 1.0  # what a tracking service gets after a stop; the whole stop has five seconds
ENDING_S = 6.0  # at the end of a training
TENSORBOARD = "tensorboard_folder.txt"  # in a run's folder: its folder's name among those of TensorBoard
MODEL, CURVES, CONFUSION, METRICS, CLASSES, DETAILS = range(6)  # the task's outputs


class TrainingBar:
    """Shows a training in the task's progress bar."""

    def __init__(self, bar: StepBar) -> None:
        self._bar = bar

    def hear(self, event: Event) -> None:
        """Move on when another hundredth is done."""
        if isinstance(event, Stepped):
            self._bar.show((event.epoch * event.steps + event.step + 1) / (event.epochs * event.steps))


Service = Callable[[Path], Listener]
"""Makes the listener that logs the training in a run's folder."""


def tracking(settings: TrainSettings, folder: Path) -> Tracking:
    """The services that ``settings`` ask for; no server is started and no port opened for any of them.

    ``folder`` holds the images, or the run that goes on, whose own settings count then.
    """
    from mnasnet.train.run_folder import asked_of  # torch comes with it

    parameters = asked_of(folder) if settings.resume_folder else {"data": folder, **settings.arguments()}
    run_name = f"{parameters.get('name') or folder.name}_{datetime.now():%Y-%m-%d_%H-%M-%S}"
    services: list[Service] = []
    uri = mlflow_uri(settings.tracking, local_mlflow_uri())
    if uri is not None:
        services.append(lambda _: MlflowRun(uri, "train_torchvision_mnasnet", run_name, parameters))
    if settings.tensorboard:
        services.append(lambda run: TensorBoardFiles(_tensorboard_folder(run, metric_name(run_name).replace("/", "_"))))
    return Tracking(services)


def _tensorboard_folder(run: Path, name: str) -> Path:
    """Where the training in the folder ``run`` writes: what an earlier sitting chose, else ``name``."""
    chosen = run / TENSORBOARD
    if not chosen.exists():
        write_atomic(chosen, name.encode())
    return Path(config.main_cfg["tensorboard"]["log_uri"]) / chosen.read_text(encoding="utf-8")


def local_mlflow_uri() -> str:
    """The files that Ikomia's own MLflow server shows when somebody starts it."""
    return Path(config.main_cfg["mlflow"]["store_uri"]).absolute().as_uri()


class Tracking:
    """Hands a training's events to services, each in a thread of its own; none can stop or hold up the training."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services
        self._running: list[Background] = []

    def hear(self, event: Event) -> None:
        """Pass the event on; at the end wait a little for slow services, less so when the user wants to stop."""
        if isinstance(event, Opened):
            self._running = [Background(service(event.folder), ENDING_S) for service in self._services]
        if isinstance(event, Ended):
            self._end(event)
            return
        for service in self._running:
            service.hear(event)

    def _end(self, event: Ended) -> None:
        enders = [threading.Thread(target=service.hear, args=(event,), daemon=True) for service in self._running]
        self._running = []
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join(STOPPING_S if event.status == "stopped" else ENDING_S)


def add_outputs(task: Any) -> None:
    """Model file, curves, confusion matrix, metrics, classes and everything as JSON."""
    task.add_output(dataprocess.CPathIO(core.IODataType.FILE_PATH))
    for name in (TRAINING_CURVES, CONFUSION_MATRIX):
        picture = dataprocess.CImageIO()
        picture.name = name
        task.add_output(picture)
    task.add_output(dataprocess.CNumericIO())
    task.add_output(dataprocess.CDataStringIO())
    task.add_output(ResultsIO())


def clear_outputs(task: Any) -> None:
    """Leave nothing of an earlier run behind."""
    task.get_output(MODEL).set_path("")
    for index in (CURVES, CONFUSION, METRICS, CLASSES):
        task.get_output(index).clear_data()
    task.get_output(DETAILS).data = {}


def show_run(task: Any, run: TrainedRun) -> None:
    """Fill the task's outputs; a run that was stopped has no evaluation yet."""
    task.get_output(MODEL).set_path(str(run.model) if run.model.exists() else "")
    for index, name in ((CURVES, "results.png"), (CONFUSION, "confusion_matrix.png")):
        if (run.folder / name).exists():
            task.get_output(index).set_image(read_image(run.folder / name))
    if run.evaluation is not None:
        _show_metrics(task.get_output(METRICS), run)
        _show_classes(task.get_output(CLASSES), run.evaluation)
    task.get_output(DETAILS).data = _details(run)


def _show_metrics(table: Any, run: TrainedRun) -> None:
    """One column for validation and, where the dataset has them, one for test images."""
    assert run.evaluation is not None
    names = list(run.evaluation.summary())
    metrics = load(run.model).metrics
    table.set_output_type(dataprocess.NumericOutputType.TABLE)
    for header, prefix in (("validation", ""), ("test", "test_")):
        if f"{prefix}accuracy" in metrics:
            table.add_value_list([float(metrics[f"{prefix}{name}"]) for name in names], header, names)


def _show_classes(table: Any, evaluation: Evaluation) -> None:
    names = [score.name for score in evaluation.classes]
    columns = {
        "images": [str(score.images) for score in evaluation.classes],
        "precision": [_decimals(score.precision) for score in evaluation.classes],
        "recall": [_decimals(score.recall) for score in evaluation.classes],
        "F1": [_decimals(score.f1) for score in evaluation.classes],
    }
    for header, values in columns.items():
        table.add_value_list(values, header, names)


def _decimals(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _details(run: TrainedRun) -> dict[str, Any]:
    """Plain JSON values: the run's summary, its epochs, classes and confusion matrix (rows are the true classes)."""
    details = {
        **run.summary(),
        "reason": run.reason,
        "report": str(run.report) if run.report.exists() else None,
        "class_names": list(run.class_names),
        "history": [dict(row) for row in run.history],
    }
    if run.evaluation is not None:
        details["confusion"] = run.evaluation.confusion.tolist()
    return details


def say_what_came_of(run: TrainedRun) -> None:
    """The last lines in the log: how good the model is, where it lies, how to go on."""
    if run.judged:
        _log.info("%s: %s", run.reason, "; ".join(run.sentences()))
    if run.model.exists():
        _log.info("model: %s", run.model)
    if run.status == "stopped":
        _log.info("%s, everything is kept; run again to go on, or later with resume_folder %s", run.reason, run.folder)
    else:
        _log.info("report: %s", run.report)
