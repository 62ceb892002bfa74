"""Every message of our errors, read from the source: what a person who has one in hand looks for."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import mnasnet.errors as errors

PACKAGE = Path(errors.__file__).parent
GAP = "…"  # where a message has a value


def messages_page() -> str:
    """A section of Markdown: the messages of each family, with the file that raises them."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        for family, text in _raised(ast.parse(path.read_text(encoding="utf-8"))):
            found[family].add((text, path.relative_to(PACKAGE).as_posix()))
    lines = ["## Every message", "", f"{GAP} stands for a value: a path, a number, a list of what is valid."]
    for family in (name for name in vars(errors) if name in found):
        lines += ["", f"### {family}: all", "", "| Message | Raised in |", "| --- | --- |"]
        lines += [f"| {_cell(text)} | {path} |" for text, path in sorted(found[family])]
    return "\n".join(lines) + "\n"


def _raised(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Family and text of each ``raise`` that makes its message in place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            family, arguments = node.exc.func.id, node.exc.args
            text = "".join(_words(arguments[0])).strip() if family in vars(errors) and arguments else ""
            if any(letter.isalpha() for letter in text):
                yield family, text


def _words(node: ast.expr) -> Iterator[str]:
    """The fixed words of a message, a gap for each value between them."""
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.JoinedStr):
        for part in node.values:
            yield from _words(part)
    elif isinstance(node, ast.BinOp):
        yield from _words(node.left)
        yield from _words(node.right)
    else:
        yield GAP


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
