"""Pictures that ``classify --annotate`` drew: labels are written over them, so none of them is a photo.

Their names end in ``LABELLED`` and the file says whose it is; a picture of a user's own may be called so too.
"""

from __future__ import annotations

import os

LABELLED = "_labelled"  # at the end of a copy's name, so that it does not replace its original
MARK = b"labels drawn by mnasnet classify"  # the comment inside a copy


def is_labelled_copy(path: str | os.PathLike[str]) -> bool:
    """Whether the picture in the file ``path`` is an annotated copy."""
    name = os.path.basename(path)  # noqa: PTH119 - no Path object per file of a million
    if not name.lower().endswith(f"{LABELLED}.jpg") or not os.path.isfile(path):  # noqa: PTH113
        return False
    from PIL.JpegImagePlugin import JpegImageFile  # not through Image.open, which warns of large pictures

    try:
        with JpegImageFile(path) as image:
            return bool(image.info.get("comment") == MARK)
    except (OSError, SyntaxError):  # what is no JPEG
        return False
