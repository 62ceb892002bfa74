"""Pictures and videos that ``classify --annotate`` drew: labels are written over them, so none of them is a photo.

Their names end in ``LABELLED`` and the file says whose it is; a file of a user's own may be called so too.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

LABELLED = "_labelled"  # at the end of a copy's name, so that it does not replace its original
MARK = b"labels drawn by mnasnet classify"  # the comment inside a copy
_MARK_OF_VIDEOS = struct.pack(">I4s", 8 + len(MARK), b"free") + MARK  # an MP4 box that no player reads


def is_labelled_copy(path: str | os.PathLike[str]) -> bool:
    """Whether the picture or video in the file ``path`` is an annotated copy."""
    name = os.path.basename(path).lower()  # noqa: PTH119 - no Path object per file of a million
    if not name.endswith((f"{LABELLED}.jpg", f"{LABELLED}.mp4")) or not os.path.isfile(path):  # noqa: PTH113
        return False
    try:
        return _is_marked_video(path) if name.endswith(".mp4") else _is_marked_picture(path)
    except (OSError, SyntaxError):  # what is no JPEG
        return False


def mark_video(path: Path) -> None:
    """Say at the end of an MP4 file that it is an annotated copy; raises OSError."""
    with path.open("ab") as file:
        file.write(_MARK_OF_VIDEOS)


def _is_marked_video(path: str | os.PathLike[str]) -> bool:
    with open(path, "rb") as file:  # noqa: PTH123
        file.seek(-min(len(_MARK_OF_VIDEOS), os.path.getsize(path)), os.SEEK_END)  # noqa: PTH202
        return file.read() == _MARK_OF_VIDEOS


def _is_marked_picture(path: str | os.PathLike[str]) -> bool:
    from PIL.JpegImagePlugin import JpegImageFile  # not through Image.open, which warns of large pictures

    with JpegImageFile(path) as image:
        return bool(image.info.get("comment") == MARK)
