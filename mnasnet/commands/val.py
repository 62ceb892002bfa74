"""``val``: how good a model is on a folder of labelled images."""

from __future__ import annotations

import argparse
import sys

from mnasnet.commands.json_line import json_line
from mnasnet.commands.values import a_path, folder_of_results, whole
from mnasnet.data.report import columns, shortened
from mnasnet.preprocess import MAX_INPUT_SIZE, MIN_INPUT_SIZE
from mnasnet.train.evaluate import Evaluation
from mnasnet.train.validate import SPLITS, validate
from mnasnet.words import amount, printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("model", metavar="MODEL", help="model or weights file, or a name that `models` lists")
    parser.add_argument(
        "data", type=a_path, metavar="DATA", help="folder of class folders, or with train/, val/, test/"
    )
    parser.add_argument(
        "--split", choices=SPLITS, help="default: val, else test; in a flat folder what training kept aside"
    )
    parser.add_argument("--class-file", type=a_path, help="class names, one a line, for weights that carry none")
    parser.add_argument(
        "--input-size", type=whole(MIN_INPUT_SIZE, MAX_INPUT_SIZE), metavar="PIXELS", help="default: the model's own"
    )
    parser.add_argument("--threads", type=whole(1, 1024), help="default: the cores this process may use")
    parser.add_argument(
        "--out",
        type=folder_of_results,
        metavar="DIR",
        help="write the images it got wrong, the table and pictures there",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print."""
    evaluation = validate(
        arguments.model,
        arguments.data,
        split=arguments.split,
        class_file=arguments.class_file,
        input_size=arguments.input_size,
        threads=arguments.threads,
        out=arguments.out,
    )
    if arguments.json:
        print(json_line(evaluation.summary()))
    else:
        print(_table(evaluation), file=sys.stdout)
    return 0


def _table(evaluation: Evaluation) -> str:
    told = [score for score in evaluation.classes if score.images or score.precision is not None]
    if len(told) > len(evaluation.classes) / 2:
        told = list(evaluation.classes)
    names = [shortened(printable(score.name)) for score in told]
    width = max(12, *map(columns, names))
    lines = [f"{'class':{width}}{'images':>9}{'precision':>11}{'recall':>9}{'F1':>9}"]
    for name, score in zip(names, told, strict=True):
        figures = "".join(
            f"{'-' if value is None else f'{value:.3f}':>{size}}"
            for value, size in ((score.precision, 11), (score.recall, 9), (score.f1, 9))
        )
        lines.append(f"{name}{' ' * (width - columns(name))}{score.images:>9}{figures}")
    if others := len(evaluation.classes) - len(told):
        lines.append(f"({amount(others, 'other class', 'other classes')}: without images, never answered)")
    lines.append(evaluation.sentence())
    return "\n".join(lines)
