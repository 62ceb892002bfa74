"""Options that several commands share: the settings of a task, and how results are told."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from mnasnet.commands.values import a_path
from mnasnet.settings import Parameter, Settings

_NOT_HERE = ("resume_folder",)  # a command of its own
_COMMON = ("name",)  # a form folds it away, here it is how the run is found again


def add_task_arguments(
    parser: argparse.ArgumentParser, kind: type[Settings], aliases: Mapping[str, tuple[str, ...]]
) -> None:
    """The data folder and every setting of a task, those that most people set first."""
    parser.add_argument(
        "data", type=a_path, metavar="DATA", help="folder with class folders, or with train/ and val/ that hold them"
    )
    parser.usage = f"{parser.prog} DATA [options]"
    common = parser.add_argument_group("common options")
    rare = parser.add_argument_group("advanced options")
    for parameter in kind.parameters():
        if parameter.name not in _NOT_HERE:
            _add_setting(
                rare if parameter.advanced and parameter.name not in _COMMON else common,
                parameter,
                aliases.get(parameter.name, ()),
            )


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that all training commands share."""
    parser.add_argument("--json", action="store_true", help="the last line on standard output is one JSON object")


def _add_setting(group: Any, parameter: Parameter, aliases: tuple[str, ...] = ()) -> None:
    """One setting as an option, checked later by its model; what is not typed is not in the namespace."""
    names = [parameter.name, *aliases]
    default = "" if parameter.default is None else f" (default {parameter.default})" if parameter.default != "" else ""
    group.add_argument(
        *(f"--{name.replace('_', '-')}" for name in names),
        dest=parameter.name,
        default=argparse.SUPPRESS,
        **({"nargs": "?", "const": "true"} if parameter.kind is bool else {}),
        metavar="|".join(parameter.choices)
        or ("true|false" if parameter.kind is bool else parameter.kind.__name__.upper()),
        help=f"{parameter.help.replace('`', '').replace('%', '%%')}{default}",
    )
