"""Amounts, durations and errors in words, for people."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sized

UNKNOWN = "unknown"  # the label of what is less sure than was asked for

LONGEST_LINE = 300  # letters
_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]*@")
_NOT_TO_PRINT = ("Cc", "Cs", "Zl", "Zp")  # Unicode's categories of control characters, surrogates and line ends
_TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")  # what turns the order of all that follows


def amount(count: int, noun: str, plural: str = "") -> str:
    """Such as "1 epoch", "2 epochs"; ``noun`` is in the singular, ``plural`` where that is not one s more."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 20 s, 2 h 5 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def printable(text: object) -> str:
    """``text`` in one line; what a terminal would obey instead of showing it, and halves of characters, as escapes."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _NOT_TO_PRINT or unicodedata.bidirectional(character) in _TURNS
        else character
        for character in str(text)
    )


def one_line(error: BaseException) -> str:
    """What ``error`` says, on one line: engines tell stack traces over many."""
    return _shortened(_said_by(error)) or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of what ``error`` says: engines tell advice and stack traces in those that follow."""
    return (_said_by(error).strip() or type(error).__name__).splitlines()[0][:LONGEST_LINE]


def kind_and_line(error: BaseException) -> str:
    """The kind of ``error`` and what it says, on one line of a table."""
    kind, said = type(error).__name__, _said_by(error)
    return _shortened(f"{kind}: {said}" if said else kind)


def _said_by(error: BaseException) -> str:
    """The text of ``error``, without the user and password that a server's address may hold.

    None where making it fails, as that of other people's errors may.
    """
    try:
        return _CREDENTIALS.sub("", str(error))
    except Exception:
        return ""


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}..."


def like_others(others: Sized) -> str:
    """What follows the first of several things of which one is told: ``, like 2 others,``."""
    return f", like {amount(len(others), 'other')}," if others else ""
