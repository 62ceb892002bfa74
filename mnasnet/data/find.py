"""Which files are images or videos, and where they lie below a folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from mnasnet.data.images import START_BYTES, is_image_start
from mnasnet.data.labelled import is_labelled_copy
from mnasnet.data.names import is_junk, natural_order
from mnasnet.errors import DataError
from mnasnet.files import is_file
from mnasnet.words import amount

_log = logging.getLogger(__name__)

LeftOut = Callable[[Path, str], None]
"""Hears of a folder that cannot be opened, and why; where nobody listens it is logged."""

# fmt: off
JPEG_SUFFIXES = frozenset([".jpg", ".jpeg", ".jpe", ".jfif"])
IMAGE_SUFFIXES = frozenset([
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif",
    ".heic", ".heif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".pcx", ".sgi",
    ".qoi", ".ico", ".mpo",
])
VIDEO_SUFFIXES = frozenset([
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".3g2", ".ts", ".mts",
    ".m2ts", ".ogv", ".mjpeg", ".mjpg",
])
# fmt: on

#: files that often lie beside images and are not worth opening to see that they are none
_SIDE_FILES = frozenset(
    {".txt", ".json", ".xml", ".csv", ".md", ".yaml", ".yml", ".html", ".py", ".ipynb", ".npy", ".log", ".zip", ".pdf"}
)


def looks_like_image(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an image by its suffix, in any case, or else by its first bytes."""
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 - no Path object per file of a million
    if suffix in IMAGE_SUFFIXES:
        return True
    if suffix in VIDEO_SUFFIXES or suffix in _SIDE_FILES or not os.path.isfile(path):  # noqa: PTH113 - nor opens a pipe
        return False
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return is_image_start(file.read(START_BYTES))
    except OSError:
        return False


def iter_images(paths: Iterable[Path], *, left_out: LeftOut | None = None) -> Iterator[Path]:
    """The image files among ``paths``: each named file, and each folder's images with those of its sub-folders.

    Within a folder the order is natural (2 before 10) by relative path; files whose name starts with a dot, junk
    that systems leave behind, annotated copies of ours, folders of runs below and folders already seen (links that go
    round) are passed over. A file is an image as :func:`looks_like_image` tells. Only one folder's names are held at a
    time. A file named directly is given whatever its name is.

    Raises DataError at once when one of ``paths`` does not exist.
    """
    found = [Path(path) for path in paths]
    for path in found:
        if not path.exists():
            raise DataError(f"there is no file or folder {path}; check the spelling of its name")
    return _images_of(found, left_out or _log_left_out)


def files_below(folder: Path, suffixes: Collection[str], *, left_out: LeftOut) -> Iterator[Path]:
    """The files below ``folder`` that end in one of ``suffixes``, in the order and with the rules of iter_images."""
    return _walk(folder, lambda path: path.suffix.lower() in suffixes, set(), left_out)


def _images_of(paths: list[Path], left_out: LeftOut) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from _walk(path, looks_like_image, set(), left_out)
        else:
            yield path


def _log_left_out(folder: Path, reason: str) -> None:
    _log.warning("folder %s is left out: %s", folder, reason)


def _walk(
    folder: Path, is_wanted: Callable[[Path], bool], seen: set[tuple[int, int]], left_out: LeftOut
) -> Iterator[Path]:
    """``seen`` holds device and number of the folders entered so far."""
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            kept = [(natural_order(entry.name), entry.is_dir()) for entry in entries if not is_junk(entry.name)]
    except OSError as error:
        left_out(folder, error.strerror or str(error))
        return
    copies = 0
    for (_, name), is_folder in sorted(kept):
        if is_folder:
            if not is_file(folder / name / "args.yaml"):
                yield from _walk(folder / name, is_wanted, seen, left_out)
            elif is_wanted is looks_like_image:  # and not when videos are looked for too
                _log.info("%s is left out: the pictures of a run are charts", folder / name)
        elif not is_wanted(folder / name):
            continue
        elif is_labelled_copy(folder / name):
            copies += 1
        else:
            yield folder / name
    if copies:
        _log.info(
            "%s: %s of ours left out, labels are drawn there",
            folder,
            amount(copies, "annotated copy", "annotated copies"),
        )
