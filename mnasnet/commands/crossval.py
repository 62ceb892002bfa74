"""``crossval``: how good a training is on few images, by training once for each fold."""

from __future__ import annotations

import argparse
import json

from mnasnet.commands.train import add_arguments as add_training_arguments
from mnasnet.commands.train import stop_on_signals, training_of
from mnasnet.commands.values import whole
from mnasnet.files import quoted
from mnasnet.train.crossval import CrossValidation, cross_validate, resume_cross_validation
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
    _, training = training_of(arguments)
    with stop_on_signals() as stop:
        result = cross_validate(training, arguments.folds, listeners=[TerminalProgress()], stop=stop.is_set)
    return tell(result, as_json=arguments.json)


def resume_run(arguments: argparse.Namespace) -> CrossValidation:
    """Go on; the other half of :mod:`mnasnet.commands.resume`."""
    with stop_on_signals() as stop:
        return resume_cross_validation(
            arguments.run,
            data=arguments.data,
            max_minutes=arguments.max_minutes,
            listeners=[TerminalProgress()],
            stop=stop.is_set,
        )


def tell(result: CrossValidation, *, as_json: bool) -> int:
    """Say what came of it."""
    if as_json:
        print(json.dumps(result.summary(), ensure_ascii=False))
        return 0
    if not result.is_whole:
        print(f"stopped after {len(result.folds)} of {result.wanted} folds, everything is kept")
    if result.folds:
        print(result.sentence())
    print(f"folds   {result.folder}")
    if not result.is_whole:
        print(f"resume  python -m mnasnet resume {quoted(result.folder)}")
    return 0
