"""Every error that the source raises: its family, the fixed words of its message, and the function that raises it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import mnasnet.errors as errors

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("mnasnet", "infer_torchvision_mnasnet", "train_torchvision_mnasnet", "search_mnasnet")
GAP = "…"  # where a message has a value


@dataclass(frozen=True, order=True)
class Raised:
    """One place that makes an error: ``family`` is the nearest class that users can import."""

    family: str
    words: str
    place: str  # file:function

    @property
    def has_words(self) -> bool:
        """Whether the message is written where it is raised; else another function made it."""
        return any(letter.isalpha() for letter in self.words)

    @property
    def sign(self) -> str:
        """What tells this error from others: its words, or its place where it has none."""
        return self.words if self.has_words else self.place


def raised() -> list[Raised]:
    """Every place in the package and the plugins that makes an error of ours, raised there or returned."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return raised_in({_place(path): path.read_text(encoding="utf-8") for path in paths})


def raised_in(sources: Mapping[str, str]) -> list[Raised]:
    """The same for source texts by file."""
    trees = {place: ast.parse(source) for place, source in sources.items()}
    families = _families(trees.values())
    return sorted({found for place, tree in trees.items() for found in _made(tree, place, families)})


def _place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix().removeprefix("mnasnet/")


def _families(trees: Iterable[ast.Module]) -> dict[str, str]:
    """Class -> family, the classes that modules derive for themselves among them."""
    families = {name: name for name in vars(errors) if name.endswith("Error")}
    derived = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for _ in derived:  # a derived class may stand before the one that it derives from
        for node in derived:
            for base in node.bases:
                if isinstance(base, ast.Name) and base.id in families:
                    families.setdefault(node.name, families[base.id])
    return families


def _made(node: ast.AST, place: str, families: dict[str, str], function: str = "") -> Iterator[Raised]:
    for child in ast.iter_child_nodes(node):
        inside = child.name if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
        if isinstance(child, ast.Call) and isinstance(child.func, (ast.Name, ast.Attribute)):
            name = child.func.id if isinstance(child.func, ast.Name) else child.func.attr
            if name in families:
                words = ": ".join("".join(_words(argument)) for argument in child.args)
                yield Raised(families[name], " ".join(words.split()), f"{place}:{inside}")
        yield from _made(child, place, families, inside)


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
