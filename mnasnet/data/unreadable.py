"""Images that cannot be read: how many a training tolerates and how they are named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mnasnet.data.images import ImageFileError
from mnasnet.errors import DataError

#: the share of training images that may be unreadable before a training refuses to start
MAX_BAD = 0.05


class Unreadable(NamedTuple):
    """A file and why it could not be read."""

    path: str
    reason: str


def reason_of(error: DataError) -> str:
    """The cause without the file's name, which is told apart."""
    return error.reason if isinstance(error, ImageFileError) else str(error)


def complaint(unreadable: Sequence[Unreadable], total: int, max_bad: float) -> str | None:
    """The sentence to stop with where more than ``max_bad`` of ``total`` training images are unreadable."""
    if not 0 <= max_bad <= 1:
        raise DataError(f"max_bad must lie between 0 and 1, got {max_bad}; 0.05 allows 5% of unreadable images")
    if len(unreadable) <= max_bad * total:
        return None
    return (
        f"{len(unreadable)} of {total} training images are unreadable ({len(unreadable) / total:.1%}), allowed are "
        f"{max_bad:.1%}: {listed(unreadable)}; repair or remove them, or raise max_bad to go on without"
    )


def listed(unreadable: Sequence[Unreadable], most: int = 5) -> str:
    """The first few with their reasons, files of one reason together."""
    reasons: dict[str, list[str]] = {}
    for path, reason in unreadable[:most]:
        reasons.setdefault(reason, []).append(path)
    shown = "; ".join(f"{', '.join(paths)}: {reason}" for reason, paths in reasons.items())
    return shown + (f"; and {len(unreadable) - most} more" if len(unreadable) > most else "")
