"""``train``: a folder of images in, a run folder with the model file out."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mnasnet.commands import outputs
from mnasnet.commands.values import a_path
from mnasnet.files import quoted
from mnasnet.settings import Parameter, Settings, TrainSettings
from mnasnet.train.listeners import (
    Background,
    Event,
    Listener,
    MlflowRun,
    Stepped,
    TerminalProgress,
    failures_told,
    mlflow_uri,
)
from mnasnet.train.plan import Training
from mnasnet.train.run import TrainedRun, resume, train
from mnasnet.train.run_folder import RunFolder, read_yaml
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

_NOT_HERE = ("resume_folder",)  # a command of its own
_COMMON = ("name",)  # a form folds it away, here it is how the run is found again


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options: every setting of the training task."""
    add_task_arguments(parser, TrainSettings, ALIASES)
    add_output_arguments(parser)


def add_task_arguments(
    parser: argparse.ArgumentParser, kind: type[Settings], aliases: Mapping[str, tuple[str, ...]]
) -> None:
    """The data folder and every setting of a task, those that most people set first."""
    parser.add_argument(
        "data", type=a_path, metavar="DATA", help="folder with class folders, or with train/ and val/ that hold them"
    )
    parser.usage = f"{parser.prog} DATA [options]"
    common = parser.add_argument_group("common options")
    rare = parser.add_argument_group("advanced options")
    for parameter in kind.parameters():
        if parameter.name not in _NOT_HERE:
            _add_setting(
                rare if parameter.advanced and parameter.name not in _COMMON else common,
                parameter,
                aliases.get(parameter.name, ()),
            )


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that all training commands share."""
    parser.add_argument("--json", action="store_true", help="the last line on standard output is one JSON object")


def _add_setting(group: Any, parameter: Parameter, aliases: tuple[str, ...] = ()) -> None:
    """One setting as an option, checked later by its model; what is not typed is not in the namespace."""
    names = [parameter.name, *aliases]
    default = "" if parameter.default is None else f" (default {parameter.default})" if parameter.default != "" else ""
    group.add_argument(
        *(f"--{name.replace('_', '-')}" for name in names),
        dest=parameter.name,
        default=argparse.SUPPRESS,
        **({"nargs": "?", "const": "true"} if parameter.kind is bool else {}),
        metavar="|".join(parameter.choices)
        or ("true|false" if parameter.kind is bool else parameter.kind.__name__.upper()),
        help=f"{parameter.help.replace('`', '').replace('%', '%%')}{default}",
    )


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


@contextlib.contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second one ends the process at once."""
    stop = threading.Event()

    def hear(number: int, _: Any) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()
        _log.warning("stopping after this batch; press Ctrl-C again to leave at once")

    previous = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def tell(trained: TrainedRun, *, as_json: bool) -> int:
    """Say what came of a run."""
    if os.environ.get("RANK", "0") != "0":  # under torchrun only the writer speaks
        return 0
    if as_json:
        print(outputs.as_json(trained.summary()))
        return 0
    lines = [f"{_sentence(trained.status)}: {trained.reason}"]
    lines += trained.sentences()
    if trained.model.exists():
        lines += [f"model   {trained.model}", f"report  {trained.folder / 'report.html'}"]
    if trained.status in ("stopped", "time"):
        longer = " --max-minutes 0" if trained.status == "time" else ""
        lines.append(f"resume  python -m mnasnet resume {quoted(trained.folder)}{longer}")
    if not (trained.folder / "report.html").exists():
        lines = [line for line in lines if not line.startswith("report")]
    print("\n".join(lines), file=sys.stdout)
    return 0


def _sentence(status: Status) -> str:
    return {"done": "trained", "early": "trained", "time": "trained", "stopped": "stopped, everything is kept"}[status]


def resume_run(arguments: argparse.Namespace) -> TrainedRun:
    """Go on with a run; the other half of :mod:`mnasnet.commands.resume`."""
    folder = arguments.run.absolute()
    services = tracking(arguments.tracking, folder.name, {"resume_folder": folder})
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


class _Steps:
    """Whether a training took any step."""

    taken = False

    def hear(self, event: Event) -> None:
        """Take notice."""
        self.taken = self.taken or isinstance(event, Stepped)
