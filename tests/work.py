"""How much work something is, told without a clock."""

from __future__ import annotations

import sys
from collections.abc import Callable


def calls_in(function: Callable[[], object]) -> int:
    """How many functions, Python's and others', ``function`` calls until it returns."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count
