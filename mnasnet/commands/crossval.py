"""``crossval``: how good a training is on few images, by training once for each fold."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import Any

from mnasnet.commands.json_line import json_line
from mnasnet.commands.signals import stop_on_signals
from mnasnet.commands.train import add_arguments as add_training_arguments
from mnasnet.commands.train import settings_so_far, tracking, training_of
from mnasnet.commands.values import whole
from mnasnet.files import quoted
from mnasnet.train.crossval import CrossValidation, cross_validate, resume_cross_validation
from mnasnet.train.events import Listener, failures_told
from mnasnet.train.listeners import TerminalProgress

USUAL_FOLDS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options: those of ``train``, and the number of folds."""
    add_training_arguments(parser)
    parser.add_argument(
        "--folds", type=whole(2, 1000), default=USUAL_FOLDS, metavar="K", help=f"trainings (default {USUAL_FOLDS})"
    )


def run(arguments: argparse.Namespace) -> int:
    """Train once for each fold and say the accuracy over all images."""
    settings, training = training_of(arguments)
    data = arguments.data.absolute()
    services = _Services(settings.tracking, training.name or data.name, {"data": data, **settings.arguments()})
    with stop_on_signals() as stop, failures_told(services.running):
        result = cross_validate(
            training, arguments.folds, listeners=[TerminalProgress()], of_fold=services.of_fold, stop=stop.is_set
        )
    return tell(result, as_json=arguments.json)


class _Services:
    """What ``--tracking`` names, anew for each fold; ``running`` are those of the last one."""

    def __init__(self, where: str, name: str, parameters: Mapping[str, Any]) -> None:
        self._where, self._name, self._parameters = where, name, parameters
        self.running: list[Listener] = []

    def of_fold(self, fold: str) -> list[Listener]:
        """Those of the training called ``fold``."""
        self.running[:] = tracking(self._where, f"{self._name}_{fold}", self._parameters)
        return self.running


def resume_run(arguments: argparse.Namespace) -> CrossValidation:
    """Go on; the other half of :mod:`mnasnet.commands.resume`."""
    folder = arguments.run.absolute()
    name = re.sub(r"_folds\d*$", "", folder.name)  # as the folds before were called
    services = _Services(arguments.tracking, name, settings_so_far(arguments))
    with stop_on_signals() as stop, failures_told(services.running):
        return resume_cross_validation(
            arguments.run,
            data=arguments.data,
            max_minutes=arguments.max_minutes,
            listeners=[TerminalProgress()],
            of_fold=services.of_fold,
            stop=stop.is_set,
        )


def tell(result: CrossValidation, *, as_json: bool) -> int:
    """Say what came of it."""
    if as_json:
        print(json_line(result.summary()))
        return 0
    if not result.is_whole:
        print(f"stopped after {len(result.folds)} of {result.wanted} folds, everything is kept")
    if result.folds:
        print(result.sentence())
    print(f"folds   {result.folder}")
    if not result.is_whole:
        print(f"resume  python -m mnasnet resume {quoted(result.folder)}")
    return 0
