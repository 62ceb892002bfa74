"""``models``: the table of networks that have a name."""

from __future__ import annotations

import argparse

from mnasnet.commands.json_line import json_line
from mnasnet.commands.values import whole
from mnasnet.network.count import count
from mnasnet.network.download import PUBLISHED
from mnasnet.preprocess import MAX_INPUT_SIZE, MIN_INPUT_SIZE
from mnasnet.presets import PRESETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--input-size",
        type=whole(MIN_INPUT_SIZE, MAX_INPUT_SIZE),
        default=224,
        metavar="PIXELS",
        help="side of the square input",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(arguments: argparse.Namespace) -> int:
    """Print each network with its costs and the top-1 accuracy of its published weights."""
    size = arguments.input_size
    if not arguments.json:
        operations = f"at {size} px: M multiply-adds"
        print(f"{'name':16}{'parameters':>12}{operations:>30}{'peak MB':>9}  ImageNet top-1")
    for name, spec in PRESETS.items():
        counts = count(spec, size)
        published = PUBLISHED.get(name)
        if arguments.json:
            row = {
                "name": name,
                "parameters": counts.parameters,
                "multiply_adds": counts.multiply_adds,
                "peak_activation_bytes": counts.peak_activation_bytes,
                "imagenet_top1_percent": published.top1_percent if published else None,
                "source": spec.source,
            }
            print(json_line(row))
        else:
            top1 = f"{published.top1_percent:.2f}%" if published else "no weights"
            print(
                f"{name:16}{counts.parameters:>12,}{counts.multiply_adds / 1e6:>30.1f}"
                f"{counts.peak_activation_bytes / 1e6:>9.1f}  {top1}"
            )
    if not arguments.json:
        print("\nphotos10 is the bundled model: no download, 10 classes of everyday photos; `info photos10` tells more")
    return 0
