"""``extend``: continue a finished search, with what it has learned."""

from __future__ import annotations

import argparse

from mnasnet.commands.options import add_output_arguments
from mnasnet.commands.search import TrialTable, tell
from mnasnet.commands.signals import stop_on_signals
from mnasnet.commands.values import a_path, whole
from mnasnet.search.run import extend_search


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("run", type=a_path, metavar="RUN", help="the search's folder, such as runs/search/flowers")
    parser.add_argument(
        "--trials", type=whole(1, 1_000_000), default=0, metavar="N", help="number of additional networks"
    )
    parser.add_argument("--minutes", type=float, default=0.0, metavar="M", help="so much more time for everything")
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Extend; warns when the gain has levelled off."""
    with stop_on_signals() as stop:
        searched = extend_search(
            arguments.run,
            trials=arguments.trials,
            minutes=arguments.minutes,
            listeners=[TrialTable()],
            stop=stop.is_set,
        )
    return tell(searched, as_json=arguments.json)
