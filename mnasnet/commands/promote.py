"""``promote``: train any trial of a search fully, not only its winner."""

from __future__ import annotations

import argparse

from mnasnet.commands.options import add_output_arguments
from mnasnet.commands.search import TrialTable, tell
from mnasnet.commands.signals import stop_on_signals
from mnasnet.commands.values import a_path, whole
from mnasnet.search.run import promote


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("run", type=a_path, metavar="RUN", help="the search's folder, such as runs/search/flowers")
    parser.add_argument("--trial", type=whole(0, 10_000_000), metavar="K", help="its number; default: the winner")
    parser.add_argument(
        "--epochs", type=whole(1, 10_000), default=0, metavar="N", help="default: as many as the winner's training"
    )
    parser.add_argument(
        "--references", action="store_true", help="also train MnasNet-A1, B1, small and MobileNetV2 at its cost"
    )
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train the trial's network; its model file lies in the search's folder under ``trained``."""
    with stop_on_signals() as stop:
        searched = promote(
            arguments.run,
            arguments.trial,
            epochs=arguments.epochs,
            references=arguments.references,
            listeners=[TrialTable()],
            stop=stop.is_set,
        )
    return tell(searched, as_json=arguments.json)
