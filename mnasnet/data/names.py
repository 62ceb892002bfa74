"""What names of files and folders tell: which come first, and which are not the user's."""

from __future__ import annotations

import re

#: names, in lower case, that editors, systems and file servers leave behind; names with a leading dot count too
JUNK_NAMES = frozenset(
    {"__macosx", "__pycache__", "@eadir", "lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin"}
    | {"system volume information", "icon\r"}
)


def natural_order(name: str) -> tuple[list[str | int], str]:
    """A sorting key that puts 2 before 10 and does not tell capitals apart, except between otherwise equal names."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name was put there by a system or an editor, not by the user."""
    return name.startswith(".") or name.casefold() in JUNK_NAMES
