"""Write what is made from the code: pages and drawings of docs/, and the tables of parameters in the plugins' READMEs.

python tools/make_docs.py
"""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from draw_docs import drawings
from error_catalogue import error_page

from mnasnet.cli import COMMANDS
from mnasnet.settings import InferSettings, SearchSettings, TrainSettings, markdown_old_names, markdown_table

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
TASKS = {
    "Classify": (InferSettings, "infer_torchvision_mnasnet", "classify"),
    "Train": (TrainSettings, "train_torchvision_mnasnet", "train"),
    "Search": (SearchSettings, "search_mnasnet", "search"),
}
_MADE = "<!-- made by tools/make_docs.py; change the code, not this page -->"


def main() -> None:
    for path, text in {**pages(), **readmes(), **drawings()}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


def pages() -> dict[Path, str]:
    """The pages that are made from the code, by path."""
    made = {"parameters.md": parameters_page(), "commands.md": commands_page(), "errors.md": error_page()}
    return {DOCS / name: f"{_MADE}\n\n{text}" for name, text in made.items()}


def readmes() -> dict[Path, str]:
    """The plugins' READMEs with their tables of parameters as the settings have them today, by path."""
    made = {}
    for settings, task, _ in TASKS.values():
        path = ROOT / task / "README.md"
        text = path.read_text(encoding="utf-8")
        for section, table in (("parameters", markdown_table), ("old names", markdown_old_names)):
            between = rf"(<!-- {section}: [^\n]*\n).*?(\n<!-- end of {section} -->)"
            parts = re.split(between, text, flags=re.DOTALL)
            text = "".join([*parts[:-2], table(settings), *parts[-2:]]) if len(parts) > 1 else text
        made[path] = text
    return made


def parameters_page() -> str:
    """Every setting of the three tasks."""
    parts = [
        "# Parameters\n\n"
        "The same settings serve the Ikomia task, its form in STUDIO and the command line, where `input_size` "
        "becomes `--input-size`. Three are not on the command line: `label_style` and `draw_on_image`, where "
        "`classify --annotate DIR` draws copies, and `resume_folder`, where `resume` is a command. `classify` calls "
        "`model_name` `--model` and `confidence_threshold` `--threshold`, and understands the long names too. A wrong "
        "value is rejected with the rule and the value received, and nothing changes.\n"
    ]
    for title, (settings, task, command) in TASKS.items():
        parts.append(
            f"## {title}\n\nTask [`{task}`](../{task}/README.md), command "
            f"[`{command}`](commands.md#{command}).\n\n{_as_typed(markdown_table(settings))}\n"
        )
        if settings.old_names():
            parts.append(f"Names of earlier releases, still understood:\n\n{markdown_old_names(settings)}\n")
    return "\n".join(parts)


def _as_typed(table: str) -> str:
    """``table`` with defaults as they are typed; READMEs of the HUB quote every default."""
    return re.sub(r"\| `'(.*?)'` \|", lambda default: f"| `{default[1]}` |" if default[1] else "| empty |", table)


def commands_page() -> str:
    """Every command with its options, read from the parsers that read what is typed."""
    parts = [
        "# Command line\n\n"
        "`python -m mnasnet COMMAND`, or `mnasnet COMMAND`. `--help` after a command tells the same as this page. "
        "`epochs=5` may be typed for `--epochs 5`.\n\n"
        "| | |\n| --- | --- |\n"
        "| exit code 0 | done; also stopped by Ctrl-C, since everything is kept |\n"
        "| exit code 1 | nothing could be classified or measured; or `--strict`: a warning of `check`, a file that "
        "`classify` failed on |\n"
        "| exit code 2 | not done; one line `error: ...` says why, see [errors](errors.md) |\n"
        "| exit code 130 | stopped by Ctrl-C where there was nothing to keep |\n\n"
        "| Command | What it does |\n| --- | --- |\n"
        + "".join(f"| [`{name}`](#{name}) | {help_text} |\n" for name, (_, help_text) in COMMANDS.items())
    ]
    for name, (module, help_text) in COMMANDS.items():
        parser = argparse.ArgumentParser(prog=f"python -m mnasnet {name}", add_help=False)
        importlib.import_module(module).add_arguments(parser)
        parts.append(f"## {name}\n\n{help_text[0].upper()}{help_text[1:]}.\n\n{''.join(_tables(parser))}")
    return "\n".join(parts)


def _tables(parser: argparse.ArgumentParser) -> Iterator[str]:
    positional = [action for action in parser._actions if not action.option_strings]
    shown = "".join(f"{_positional(action)} " for action in positional)
    yield f"```text\n{parser.prog} {shown}[options]\n```\n"
    yield _table(parser, [*positional, *parser._optionals._group_actions])
    for title, actions in _named_groups(parser):
        yield f"\n{title[0].upper()}{title[1:]}:\n{_table(parser, actions)}"


def _named_groups(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[argparse.Action]]]:
    """The groups of options that a command has given a title of its own."""
    for group in parser._action_groups:
        if group not in (parser._positionals, parser._optionals) and group._group_actions:
            yield str(group.title), group._group_actions


def _table(parser: argparse.ArgumentParser, actions: Iterable[argparse.Action]) -> str:
    formatter = parser._get_formatter()  # argparse has no public way to ask for a help text with its values
    rows = ["", "| Option | Meaning |", "| --- | --- |"]
    for action in actions:
        if action.help == argparse.SUPPRESS:
            continue
        help_text = formatter._expand_help(action) if action.help else f"default {action.default}"
        rows.append(f"| {_typed(action)} | {_cell(help_text)} |")
    return "\n".join(rows) + "\n"


def _positional(action: argparse.Action) -> str:
    name = str(action.metavar or action.dest.upper())
    return {"+": f"{name} [{name} ...]", "*": f"[{name} ...]", "?": f"[{name}]"}.get(str(action.nargs), name)


def _typed(action: argparse.Action) -> str:
    """How an argument is typed: ``--top-k N``."""
    if not action.option_strings:
        return f"`{action.metavar or action.dest.upper()}`"
    names = ", ".join(f"`{name}`" for name in action.option_strings)
    if action.nargs == 0:
        return names
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    return f"{names} {_cell(str(value))}"


def _cell(text: str) -> str:
    """``text`` inside a table: no new lines, no bars, no tags."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    main()
