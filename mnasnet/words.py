"""Fields that take one of a few words: what the type checker knows of them, checked at run time too."""

from __future__ import annotations

import types
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from mnasnet.errors import MnasNetError, SettingsError


def require_words(value: object, error: type[MnasNetError] = SettingsError) -> None:
    """Raise ``error`` where a field of ``value``, a dataclass, is none of the words of its Literal type."""
    for name, words in _words_by_field(type(value)).items():
        given = getattr(value, name)
        if given not in words:
            raise error(f"{name} must be one of {', '.join(words)}, got {given!r}")


@cache
def _words_by_field(kind: Any) -> dict[str, tuple[str, ...]]:
    found = {name: _words(hint) for name, hint in get_type_hints(kind).items()}
    return {name: words for name, words in found.items() if words}


def _words(hint: Any) -> tuple[str, ...]:
    """The words of a Literal, or of a union of some; none for any other type."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        parts = [_words(part) for part in get_args(hint)]
        return tuple(word for part in parts for word in part) if all(parts) else ()
    return ()
