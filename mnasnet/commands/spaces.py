"""``spaces``: the built-in search spaces, or the choices of one of them or of a file."""

from __future__ import annotations

import argparse

from mnasnet.commands.json_line import json_line
from mnasnet.space import SearchSpace
from mnasnet.space_file import open_space
from mnasnet.spaces import SPACES
from mnasnet.words import amount


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "space", nargs="?", metavar="SPACE", help="a built-in space or a YAML or JSON file, to see its choices"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or the choices."""
    if arguments.space is None:
        spaces = [make() for make in SPACES.values()]
        print(json_line([_summary(own) for own in spaces]) if arguments.json else _table(spaces))
        return 0
    own = open_space(arguments.space)
    print(json_line({**_summary(own), "space": own.to_dict()}) if arguments.json else _choices(own))
    return 0


def _summary(own: SearchSpace) -> dict[str, object]:
    return {
        "name": own.name,
        "combinations": own.size,
        "networks": own.count_networks(),
        "choices": len(own.choices),
        "source": own.source,
    }


def _table(spaces: list[SearchSpace]) -> str:
    lines = [f"{'space':<18}{'combinations':>14}{'networks':>12}{'choices':>9}  source"]
    for own in spaces:
        networks = own.count_networks()
        lines.append(f"{own.name:<18}{own.size:>14.3g}{networks:>12.3g}{len(own.choices):>9}  {own.source}")
    return "\n".join(lines)


def _choices(own: SearchSpace) -> str:
    lines = [f"{own.name}: {amount(own.size, 'combination')}, {amount(own.count_networks(), 'different network')}"]
    width = max((len(choice.name) for choice in own.choices), default=0) + 2
    lines += [f"  {choice.name:<{width}}{', '.join(map(str, choice.options))}" for choice in own.choices]
    return "\n".join(lines)
