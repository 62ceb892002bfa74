"""``resume``: go on with a training, its folds or a search that was stopped or killed, as if it had not been."""

from __future__ import annotations

import argparse

from mnasnet.commands import crossval
from mnasnet.commands.options import add_output_arguments
from mnasnet.commands.train import resume_run, tell
from mnasnet.commands.values import a_path
from mnasnet.errors import SettingsError
from mnasnet.settings import TrainSettings
from mnasnet.train.crossval import is_cross_validation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "run", type=a_path, metavar="RUN", help="the run's folder, such as runs/train/flowers2 or runs/search/flowers"
    )
    parser.add_argument(
        "--max-minutes", type=float, help="of a training: another limit of time than the run's own; 0 is none"
    )
    parser.add_argument(
        "--data", type=a_path, metavar="FOLDER", help="where its images lie now, should they have moved"
    )
    parser.add_argument(
        "--tracking",
        default="off",
        metavar="off|local|URI",
        help="of a training or its folds: where metrics are logged from here on, as of train (default off)",
    )
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Resume; a run that is done makes its report again."""
    from mnasnet.search.folder import is_search  # starts Optuna's imports, which trainings do without

    arguments.tracking = TrainSettings.parse({"tracking": arguments.tracking}).tracking
    if is_cross_validation(arguments.run):
        return crossval.tell(crossval.resume_run(arguments), as_json=arguments.json)
    if not is_search(arguments.run):
        return tell(resume_run(arguments), as_json=arguments.json)
    if arguments.max_minutes is not None:
        raise SettingsError("--max-minutes is for trainings; give a search more time with `python -m mnasnet extend`")
    if arguments.tracking != "off":
        raise SettingsError(
            f"--tracking is for trainings, {arguments.run} is a search; leave it out, its report has every trial"
        )
    from mnasnet.commands import search

    return search.tell(search.resume_run(arguments.run, arguments.data), as_json=arguments.json)
