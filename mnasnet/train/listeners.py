"""Those who hear of a training: terminal, CSV file, MLflow, TensorBoard. None can stop it or slow it down."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib
import io
import logging
import queue
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnasnet.files import write_atomic
from mnasnet.machine import has_terminal
from mnasnet.train.events import (
    Ended,
    EpochEnded,
    Event,
    Listener,
    Opened,
    Reported,
    Row,
    Started,
    Stepped,
    name_of,
    warn_of,
)
from mnasnet.words import duration

_log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 5.0
WAITING_EVENTS = 1000

MLFLOW_RUN = "mlflow_run.txt"  # in a run's folder: its id in MLflow


class TerminalProgress:
    """A bar that moves when standard error is a terminal, one plain line an epoch when it is not."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._is_terminal = has_terminal()

    def hear(self, event: Event) -> None:
        """Draw."""
        if isinstance(event, Stepped) and self._is_terminal:
            self._draw(event)
        elif isinstance(event, EpochEnded):
            self._close()
            _log.info("%s", epoch_line(event))
        elif isinstance(event, Ended):
            self._close()

    def _draw(self, event: Stepped) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(
                total=event.steps,
                desc=f"epoch {event.epoch + 1}/{event.epochs}",
                bar_format="{desc} |{bar}| {n_fmt}/{total_fmt}{postfix}",
                leave=False,
                dynamic_ncols=True,
                file=sys.stderr,
            )
        self._bar.set_postfix_str(
            f"loss {event.loss:.3f}, {event.accuracy:.1%} right, {event.images_per_second:.0f} img/s, "
            f"{duration(event.seconds_left)} left",
            refresh=False,
        )
        self._bar.update(event.step + 1 - self._bar.n)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def epoch_line(event: EpochEnded) -> str:
    """One epoch for people."""
    row = event.row
    left = max(0, event.epochs - row["epoch"]) * row["seconds"]
    return (
        f"epoch {row['epoch']}/{event.epochs}: train loss {row['train_loss']:.4f}, "
        f"val loss {row['val_loss']:.4f}, val accuracy {row['val_accuracy']:.2%}"
        f"{' (best)' if event.is_best else ''}, {row['images_per_second']:.0f} img/s, {duration(left)} left"
    )


@dataclass(frozen=True, slots=True)
class CsvFile:
    """``results.csv``: one line an epoch, rewritten whole so that a resumed run never has a line twice.

    Where it cannot be written now, as while a spreadsheet holds it open on Windows, the next epoch tries again.
    """

    path: Path

    def hear(self, event: Event) -> None:
        """Write all rows so far."""
        if isinstance(event, (EpochEnded, Ended)) and event.history:
            try:
                write_atomic(self.path, csv_bytes(event.history))
            except OSError as error:
                _log.warning("%s is not up to date: %s; it is written again later", self.path, error.strerror or error)


def csv_bytes(rows: Sequence[Row]) -> bytes:
    """Rows of equal keys as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


class Background:
    """Hands events to another listener in a thread of its own, so that a slow or dead server costs nothing.

    ``Stepped`` events are left out. At the end the thread gets a few seconds, then is left behind.
    """

    def __init__(self, listener: Listener, close_timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        self._listener = listener
        self._close_timeout_s = close_timeout_s
        self._events: queue.Queue[Event] = queue.Queue(WAITING_EVENTS)
        self._thread = threading.Thread(target=self._work, name=f"{type(listener).__name__} events", daemon=True)
        self._thread.start()

    def hear(self, event: Event) -> None:
        """Put the event into the queue; when that is full, drop it."""
        if isinstance(event, Stepped):
            return
        try:
            self._events.put_nowait(event)
        except queue.Full:
            _log.debug("%s does not keep up; an event is dropped", name_of(self._listener))
        if isinstance(event, Ended):
            self._thread.join(self._close_timeout_s)
            if self._thread.is_alive():
                _log.warning("%s did not finish in time and is left behind", name_of(self._listener))

    def _work(self) -> None:
        while True:
            event = self._events.get()
            try:
                self._listener.hear(event)
            except Exception as error:  # whatever a tracking service does, training goes on
                warn_of(self._listener, error)
                return
            if isinstance(event, Ended):
                return


class MlflowRun:
    """Logs parameters and metrics to MLflow at ``uri``: a server, or ``file:...`` for files without one.

    ``parameters`` are what the user set; what the training made of them takes their place. A training that is resumed
    goes on in its run, where this MLflow has that.
    """

    title = "MLflow"

    def __init__(self, uri: str, experiment: str, run_name: str, parameters: Row | None = None) -> None:
        self._uri, self._experiment, self._run_name = uri, experiment, run_name
        self._parameters = parameters or {}
        self._folder: Path | None = None
        self._client: Any = None
        self._run_id = ""
        _import_ipython()

    def hear(self, event: Event) -> None:
        """Log; MLflow is imported here, in the background thread, since that takes seconds."""
        if isinstance(event, Opened):
            self._folder = event.folder.absolute()
        elif isinstance(event, Started):
            self._start(event)
        elif isinstance(event, EpochEnded):
            self._log_row(event.row)
        elif isinstance(event, Reported):
            self._log_results(event)
        elif isinstance(event, Ended) and self._client is not None:  # a training may fail before it starts
            status = {"failed": "FAILED", "stopped": "KILLED"}.get(event.status, "FINISHED")
            self._client.set_terminated(self._run_id, status)

    def _start(self, event: Started) -> None:
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(self._uri)
        self._run_id = self._begun_before()
        if self._run_id:
            self._client.update_run(self._run_id, "RUNNING")
        else:
            self._begin(event)
        if self._folder is not None:
            self._client.set_tag(self._run_id, "run_folder", str(self._folder))
            write_atomic(self._folder / MLFLOW_RUN, self._run_id.encode())

    def _begun_before(self) -> str:
        """The id of the run in which an earlier sitting logged this training; empty where this MLflow has none."""
        from mlflow.exceptions import MlflowException

        kept = None if self._folder is None else self._folder / MLFLOW_RUN
        if kept is None or not kept.exists():
            return ""
        run_id = kept.read_text(encoding="utf-8")
        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return ""
        return run_id if run.info.lifecycle_stage == "active" else ""

    def _begin(self, event: Started) -> None:
        from mlflow.entities import Param

        self._run_id = self._client.create_run(self._experiment_id(), run_name=self._run_name).info.run_id
        used = {**self._parameters, **_flat(event.settings)}
        shown = [Param(metric_name(key), str(value)[:500]) for key, value in used.items() if value is not None]
        self._client.log_batch(self._run_id, params=shown)

    def _experiment_id(self) -> str:
        """The id of the experiment, made where it is not there; another training may make it in this moment."""
        from mlflow.exceptions import MlflowException

        known = self._client.get_experiment_by_name(self._experiment)
        if known is None:
            try:
                return str(self._client.create_experiment(self._experiment))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                known = self._client.get_experiment_by_name(self._experiment)
        return str(known.experiment_id)

    def _log_row(self, row: Row) -> None:
        for key, value in row.items():
            if isinstance(value, (int, float)) and key != "epoch":
                self._client.log_metric(self._run_id, metric_name(key), float(value), step=int(row["epoch"]))

    def _log_results(self, event: Reported) -> None:
        for name, score in event.scores.items():
            self._client.log_metric(self._run_id, metric_name(name), score)
        changed = {metric_name(name): name for name in event.scores if metric_name(name) != name}
        if changed:
            self._client.log_dict(self._run_id, changed, "metric_names.json")
        for file in event.files:
            self._client.log_artifact(self._run_id, str(file))


def _import_ipython() -> None:
    """Import IPython, where it is, before MLflow does so in the background: Matplotlib fails on a half of it."""
    with contextlib.suppress(Exception):  # whatever it lacks, MLflow does without it too
        importlib.import_module("IPython")


def mlflow_uri(tracking: str, local_uri: str) -> str | None:
    """The MLflow that the setting ``tracking`` names, ``local_uri`` where that is local; None where it is off."""
    return {"off": None, "local": local_uri}.get(tracking, tracking)


class TensorBoardFiles:
    """Writes TensorBoard event files into ``folder``; no server is started."""

    title = "TensorBoard"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def hear(self, event: Event) -> None:
        """Write one scalar for each number of an epoch."""
        if isinstance(event, Started):
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder))
        elif isinstance(event, EpochEnded):
            for key, value in event.row.items():
                if isinstance(value, (int, float)) and key != "epoch":
                    self._writer.add_scalar(key, float(value), int(event.row["epoch"]))
            self._writer.flush()
        elif isinstance(event, Ended) and self._writer is not None:  # a training may fail before it starts
            self._writer.close()


def metric_name(text: str) -> str:
    """``text`` with what MLflow refuses in a name replaced: it takes letters, digits and ``_-. :/`` only.

    A name that was changed ends in a part of its digest, so that different texts keep different names. The score before
    a ``/`` has no part in it: a class is called the same in all its scores.
    """
    score, slash, name = text.partition("/")
    return f"{_plain_name(score)}/{_plain_name(name)}" if slash else _plain_name(text)


def _plain_name(text: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_\-. :/]", "_", text).strip()[:190]
    if plain and plain == text:
        return plain
    return f"{plain}_{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"


def _flat(settings: Row) -> dict[str, Any]:
    """``settings`` with the values of a recipe in its place; the recipe's name keeps the recipe's key."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        inner = value.items() if isinstance(value, Mapping) else [("name", value)]
        flat.update({key if name == "name" else name: part for name, part in inner})
    return flat
