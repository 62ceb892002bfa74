"""``check``: what is in a dataset folder and what would spoil a training, before the first epoch."""

from __future__ import annotations

import argparse
from typing import get_args

from mnasnet.commands.bar import counting_bar
from mnasnet.commands.json_line import json_line
from mnasnet.commands.values import a_path, folder_of_results, share, whole
from mnasnet.data.check import DatasetReport, examine
from mnasnet.data.folder import require_outside, scan
from mnasnet.data.report import as_text, write_report
from mnasnet.data.split import SPLIT_FILE, Grouping, split, write_split
from mnasnet.data.unreadable import MAX_BAD


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "folder", type=a_path, metavar="FOLDER", help="with train/ and val/, or with one folder per class"
    )
    parser.add_argument("--val-fraction", type=float, default=0.2, metavar="0..1", help="where val/ is missing (0.2)")
    parser.add_argument("--seed", type=int, default=0, help="of the split, where val/ is missing (0)")
    parser.add_argument(
        "--grouping",
        default="images",
        choices=get_args(Grouping),
        help="frames keeps the frames of one video (names equal up to a number) together (images)",
    )
    parser.add_argument(  # its earlier name
        "--group-frames", dest="grouping", action="store_const", const="frames", help=argparse.SUPPRESS
    )
    parser.add_argument(
        "--max-bad",
        type=share,
        default=MAX_BAD,
        metavar="0..1",
        help=f"share of unreadable training images allowed ({MAX_BAD})",
    )
    parser.add_argument("--threads", type=whole(1, 1024), help="default: the cores this process may use")
    parser.add_argument(
        "--out", type=folder_of_results, metavar="DIR", help="write dataset_report.json and split.json there"
    )
    parser.add_argument("--strict", action="store_true", help="exit code 1 on warnings")
    parser.add_argument("--json", action="store_true", help="the whole report as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the report; exit code 0 is fine, 1 warnings with ``--strict``, 2 errors."""
    report = _examined(arguments)
    print(json_line(report.to_dict()) if arguments.json else as_text(report))
    if report.errors:
        return 2
    return 1 if arguments.strict and report.warnings else 0


def _examined(arguments: argparse.Namespace) -> DatasetReport:
    if arguments.out:
        require_outside(arguments.out, arguments.folder, setting="--out")
    dataset = scan(arguments.folder)
    parts = split(dataset, val_fraction=arguments.val_fraction, seed=arguments.seed, grouping=arguments.grouping)
    with counting_bar("images") as show:
        report = examine(dataset, parts, max_bad=arguments.max_bad, threads=arguments.threads, progress=show)
    if arguments.out:
        write_report(report, arguments.out)
        write_split(parts, arguments.out / SPLIT_FILE, arguments.folder)
    return report
