"""``train``: a folder of images in, a run folder with the model file out."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnasnet.commands.json_line import json_line
from mnasnet.commands.options import add_output_arguments, add_task_arguments
from mnasnet.commands.signals import stop_on_signals
from mnasnet.files import quoted
from mnasnet.settings import TrainSettings
from mnasnet.train.events import Event, Listener, Stepped, failures_told
from mnasnet.train.listeners import Background, MlflowRun, TerminalProgress, mlflow_uri
from mnasnet.train.plan import Training
from mnasnet.train.run import TrainedRun, resume, train
from mnasnet.train.run_folder import RunFolder, asked_of, read_yaml
from mnasnet.train.trainer import Status
from mnasnet.zoo import model_path

_log = logging.getLogger(__name__)

DEFAULT_OUTPUT = Path("runs/train")

#: words that users of other tools type
ALIASES = {
    "batch_size": ("batch",),
    "input_size": ("imgsz",),
    "learning_rate": ("lr", "lr0"),
    "output_folder": ("project",),
    "model_name": ("model",),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options: every setting of the training task."""
    add_task_arguments(parser, TrainSettings, ALIASES)
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train; exit code 0 also when stopped, since everything is kept."""
    settings, training = training_of(arguments)
    data = arguments.data.absolute()
    services = tracking(settings.tracking, training.name or data.name, {"data": data, **settings.arguments()})
    with stop_on_signals() as stop, failures_told(services):
        trained = train(training, listeners=[TerminalProgress(), *services], stop=stop.is_set)
    return tell(trained, as_json=arguments.json)


def training_of(arguments: argparse.Namespace) -> tuple[TrainSettings, Training]:
    """The settings that were typed, and the training they make."""
    given = {name: value for name, value in vars(arguments).items() if name in TrainSettings.model_fields}
    named = given.get("model_name", "")
    if named and model_path(named).is_file():  # --model FILE or RUN
        given["model_weight_file"] = given.pop("model_name")
    settings = TrainSettings.parse(given)
    output = Path(settings.output_folder) if settings.output_folder else DEFAULT_OUTPUT
    return settings, Training(data=arguments.data, output_folder=output, **settings.arguments())


def tracking(where: str, run_name: str, parameters: Mapping[str, Any]) -> list[Listener]:
    """The service that the option ``--tracking`` names, for one training; ``parameters`` are what the user set."""
    uri = mlflow_uri(where, Path("mlruns").absolute().as_uri())
    return [] if uri is None else [Background(MlflowRun(uri, "mnasnet", run_name, dict(parameters)))]


def tell(trained: TrainedRun, *, as_json: bool) -> int:
    """Say what came of a run."""
    if os.environ.get("RANK", "0") != "0":  # under torchrun only the writer speaks
        return 0
    if as_json:
        print(json_line(trained.summary()))
        return 0
    lines = [f"{_sentence(trained.status)}: {trained.reason}"]
    lines += trained.sentences()
    if trained.model.exists():
        lines.append(f"model   {trained.model}")
        if trained.report.exists():
            lines.append(f"report  {trained.report}")
    if trained.status in ("stopped", "time"):
        longer = " --max-minutes 0" if trained.status == "time" else ""
        lines.append(f"resume  python -m mnasnet resume {quoted(trained.folder)}{longer}")
    print("\n".join(lines), file=sys.stdout)
    return 0


def _sentence(status: Status) -> str:
    return {"done": "trained", "early": "trained", "time": "trained", "stopped": "everything is kept"}[status]


def resume_run(arguments: argparse.Namespace) -> TrainedRun:
    """Go on with a run; the other half of :mod:`mnasnet.commands.resume`."""
    folder = arguments.run.absolute()
    services = tracking(arguments.tracking, folder.name, settings_so_far(arguments))
    steps = _Steps()
    with stop_on_signals() as stop, failures_told(services):
        trained = resume(
            arguments.run,
            data=arguments.data,
            max_minutes=arguments.max_minutes,
            listeners=[TerminalProgress(), steps, *services],
            stop=stop.is_set,
        )
    if trained.status in ("done", "early") and not steps.taken:
        data = quoted(Path(read_yaml(RunFolder(trained.folder).arguments)["asked"]["data"]))
        model = quoted(trained.folder)
        _log.info(
            "already finished; for more epochs: python -m mnasnet train %s --model %s --recipe continue", data, model
        )
    return trained


def settings_so_far(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the user set for the training, or its folds, that goes on: when it began, and now."""
    now = {"data": arguments.data and arguments.data.absolute(), "max_minutes": arguments.max_minutes}
    return {**asked_of(arguments.run), **{name: value for name, value in now.items() if value is not None}}


class _Steps:
    """Whether a training took any step."""

    taken = False

    def hear(self, event: Event) -> None:
        """Take notice."""
        self.taken = self.taken or isinstance(event, Stepped)
