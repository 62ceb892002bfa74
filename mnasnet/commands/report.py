"""``report``: rebuild a search's report and files from its folder, also after a kill."""

from __future__ import annotations

import argparse

from mnasnet.commands.options import add_output_arguments
from mnasnet.commands.search import tell
from mnasnet.commands.values import a_path
from mnasnet.search.run import report_search


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("run", type=a_path, metavar="RUN", help="the search's folder, such as runs/search/flowers")
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write tables, pictures and page."""
    return tell(report_search(arguments.run), as_json=arguments.json)
