"""``resume``: go on with a training that was stopped or killed, to the same bits as if it had not been."""

from __future__ import annotations

import argparse
from pathlib import Path

from mnasnet.commands.train import add_output_arguments, resume_run, tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder, such as runs/train/flowers2")
    parser.add_argument("--max-minutes", type=float, help="another limit of time than the run's own; 0 is none")
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Resume; a run that is done makes its report again."""
    return tell(resume_run(arguments), as_json=arguments.json)
