"""``join``: help a running search from another terminal or machine."""

from __future__ import annotations

import argparse

from mnasnet.commands.json_line import json_line
from mnasnet.commands.options import add_output_arguments
from mnasnet.commands.search import TrialTable
from mnasnet.commands.signals import stop_on_signals
from mnasnet.commands.values import a_path
from mnasnet.search.join import join_search
from mnasnet.words import amount


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "run",
        type=a_path,
        metavar="RUN",
        help="the search's folder, such as runs/search/flowers; with its trials in a database also a copy of it",
    )
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Judge networks until the search is over; the process that leads it writes the answer."""
    with stop_on_signals() as stop:
        joined = join_search(arguments.run, listeners=[TrialTable()], stop=stop.is_set)
    if arguments.json:
        print(json_line(joined.summary()))
        return 0
    why = "stopped, others go on" if joined.status == "stopped" else "the search's trials are over"
    print(f"helped with {amount(len(joined.trials), 'trial')}: {why}")
    return 0
