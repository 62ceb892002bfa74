"""Lines for people that come before the end of a command's work."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from mnasnet.files import reader_has_gone
from mnasnet.words import printable


def tell(lines: Iterable[str]) -> None:
    """Print ``lines``, which may hold what comes from files and devices, at once.

    A reader that has gone, such as `head`, ends nothing: what the command still does is wanted all the same.
    """
    try:
        print("\n".join(map(printable, lines)), flush=True)
    except OSError as error:
        if not reader_has_gone(error):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
