"""What the type checker knows of values, checked at run time too: words, kinds and numbers."""

from __future__ import annotations

import math
import os
import types
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, TypeGuard, Union, get_args, get_origin, get_type_hints

from mnasnet.errors import SettingsError

_known: dict[type, dict[str, tuple[str, ...]]] = {}  # by dataclass, the words of its fields


def require_words(value: object) -> None:
    """Raise SettingsError where a field of ``value``, a dataclass, is none of the words of its Literal type."""
    kind: Any = type(value)
    if kind not in _known:
        found = {name: _words(hint) for name, hint in _hints_of(kind).items()}
        _known[kind] = {name: words for name, words in found.items() if words}
    for name, words in _known[kind].items():
        given = getattr(value, name)
        if given not in words:
            raise SettingsError(f"{name} must be one of {', '.join(words)}, got {given!r}")


def _words(hint: Any) -> tuple[str, ...]:
    """The words of a Literal, or of a union of some; none for any other type."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        parts = [_words(part) for part in get_args(hint)]
        return tuple(word for part in parts for word in part) if all(parts) else ()
    return ()


def require_kinds(kind: type, values: Mapping[str, object]) -> None:
    """Raise SettingsError where a value for a field of ``kind``, a dataclass, is no number, text, path, true or false.

    ``values`` come from a file that anybody may have changed.
    """
    for name, hint in _hints_of(kind).items():
        if name not in values or (values[name] is None and type(None) in get_args(hint)):
            continue
        value, plain = values[name], next((part for part in (get_args(hint) or (hint,)) if part in _KINDS), None)
        if plain is None:
            continue
        wanted, words = _KINDS[plain]
        if not isinstance(value, wanted) or (isinstance(value, bool) and plain is not bool):
            raise SettingsError(f"{name} must be {words}, got {value!r}")


_KINDS: dict[Any, tuple[type, str]] = {
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "text"),
    Path: (Path, "a path"),
}


@lru_cache
def _hints_of(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def make_as_declared(value: object) -> None:
    """Give the fields of ``value``, a frozen dataclass, the types they are declared with, where nothing is lost by it.

    NumPy's numbers become Python's, 20.0 a whole number, texts paths and paths texts. Raises SettingsError for any
    other kind of value, for words that a field does not know and for numbers that are not finite.
    """
    make_plain(value)
    kind: Any = type(value)
    for name, hint in _hints_of(kind).items():
        given, kinds = getattr(value, name), get_args(hint) or (hint,)
        if Path in kinds and isinstance(given, str | os.PathLike):
            object.__setattr__(value, name, Path(given))
        elif str in kinds and isinstance(given, os.PathLike):
            object.__setattr__(value, name, os.fspath(given))
        elif int in kinds and float not in kinds and isinstance(given, float) and given.is_integer():
            object.__setattr__(value, name, int(given))
    require_words(value)
    values = {name: getattr(value, name) for name in _hints_of(kind)}
    require_kinds(kind, values)
    for name, given in values.items():
        if isinstance(given, float) and not math.isfinite(given):
            raise SettingsError(f"{name} must be a finite number, got {given}")


def make_plain(value: object) -> None:
    """Give the fields of ``value``, a frozen dataclass, Python's own numbers and tuples in place of NumPy's and lists.

    Files and fingerprints know no others. What is none of them stays for the checks of the dataclass.
    """
    own: Any = type(value)
    for name in _names_of(own):
        given = getattr(value, name)
        if isinstance(given, tuple | list) or getattr(given, "ndim", 0) == 1:  # an array
            if not isinstance(given, tuple) or any(map(_plain_kind_of, given)):
                object.__setattr__(value, name, tuple(map(plain, given)))
        elif kind := _plain_kind_of(given):
            object.__setattr__(value, name, kind(given))


def plain(value: Any) -> Any:
    """A number of NumPy's, or of another library that keeps to Python's tower of numbers, as Python's own."""
    kind = _plain_kind_of(value)
    return kind(value) if kind else value


def _plain_kind_of(value: object) -> Any:
    own: Any = type(value)
    return _plain_kind(own)


@lru_cache
def _plain_kind(kind: Any) -> Any:
    """What to make of a number of this type; None of what is plain already or no number."""
    if kind in (int, float, bool):
        return None
    if kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_"):  # it is in no tower of numbers
        return bool
    return int if issubclass(kind, Integral) else float if issubclass(kind, Real) else None


@lru_cache
def _names_of(kind: Any) -> tuple[str, ...]:
    """The fields of a dataclass that are given to it."""
    return tuple(field.name for field in fields(kind) if field.init)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether ``value`` is a whole number; a bool is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether ``value`` is a finite number; a bool is none."""
    # no math.isfinite, which refuses whole numbers too large for a float
    return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf


def shown(value: int) -> str:
    """``value`` for a message; a number with thousands of digits is none that anyone wants to read."""
    return f"{value:,}" if abs(value) < 10**15 else "a far larger number"
