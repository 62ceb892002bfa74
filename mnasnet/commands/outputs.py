"""Where the results of ``classify`` go: a table, JSON lines, a CSV file, annotated copies."""

from __future__ import annotations

import csv
import errno
import io
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from tqdm import tqdm

from mnasnet.classify import FileResult, Prediction
from mnasnet.commands.json_line import json_line
from mnasnet.data.find import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from mnasnet.data.labelled import LABELLED, MARK, is_labelled_copy
from mnasnet.errors import DataError
from mnasnet.files import exists, patiently
from mnasnet.words import printable

if TYPE_CHECKING:
    from mnasnet.data.video import VideoWriter

_log = logging.getLogger(__name__)

MAX_STEM_BYTES = 200  # file systems end at 255, and a copy's name is longer than the original's
DRAFT_SIDE_PX = 512  # a picture too large to decode whole is annotated at a fraction of its size


@dataclass(frozen=True)
class FrameResult(FileResult):
    """A result that belongs to one frame of a video."""

    frame: int = 0


class Output(Protocol):
    """Hears of every result in order."""

    def write(self, result: FileResult) -> None:
        """Take one result."""
        ...


class Table:
    """Lines for people: the path, then at ``most`` so many of the best classes."""

    def __init__(self, most: int) -> None:
        self._most = most

    def write(self, result: FileResult) -> None:
        """Print one line."""
        where = printable(result.path)
        if isinstance(result, FrameResult):
            where += f" frame {result.frame}"
        if result.prediction is None:
            tqdm.write(f"{where}: not classified: {printable(result.error)}", file=sys.stdout)
            return
        best = result.prediction.pairs[: self._most]
        text = ", ".join(f"{printable(name)} {confidence:.1%}" for name, confidence in best)
        tqdm.write(f"{where}: {f'unknown ({text})' if result.prediction.is_unknown else text}", file=sys.stdout)


class JsonLines:
    """One object a line, so that millions of images need no memory."""

    def write(self, result: FileResult) -> None:
        """Print one line."""
        row: dict[str, Any] = {"path": str(result.path)}
        if isinstance(result, FrameResult):
            row["frame"] = result.frame
        if result.prediction is None:
            row["error"] = result.error
        else:
            row["label"] = result.prediction.label
            row["predictions"] = [
                {"class": name, "confidence": round(confidence, 6)} for name, confidence in result.prediction.pairs
            ]
        tqdm.write(json_line(row), file=sys.stdout)


class CsvFile:
    """A row per image and class, so that any spreadsheet can sort and filter.

    Rows go to ``FILE.part``, which takes the file's name at the end: what a run that fails has written stays there, so
    that a part is never taken for the whole, and an older file is as it was.
    The column ``label`` is ``unknown`` where the best class is less sure than was asked for.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(os.path.realpath(path)) if path.is_symlink() else path  # a link stays one
        self._part = self._path.with_name(f"{self._path.name}.part")

    def __enter__(self) -> CsvFile:
        if str(self._path) == "-":
            raise DataError("--csv takes a file to write, got -; name a file, or give --json for a pipe")
        if self._path.exists() and not self._path.is_dir() and not self._path.is_file():  # it would be replaced
            raise DataError(f"--csv takes a file to write, {self._path} is a device or a pipe; name a file")
        if self._path.is_dir():
            raise DataError(f"--csv takes a file to write, {self._path} is a folder; name a file in it")
        if self._path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES:  # its own name was forgotten
            raise DataError(
                f"--csv takes a file to write, {self._path} is the name of a picture or video; "
                "name a table, such as labels.csv"
            )
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # a file name need not be valid text; it is then written with escapes
            self._file = self._part.open("w", newline="", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise DataError(
                f"cannot write {self._path}: {error.strerror or error}; name a file in another folder"
            ) from error
        self._rows = csv.writer(self._file)
        self._rows.writerow(["path", "frame", "rank", "class", "confidence", "error", "label"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
            if kind is None:
                patiently(lambda: self._part.replace(self._path))
            elif issubclass(kind, (KeyboardInterrupt, SystemExit, BrokenPipeError)):  # what says nothing itself
                _log.warning("the rows so far are in %s", self._part)
        except OSError as failure:  # also where a spreadsheet on Windows shows the older one and so keeps it
            if kind is None:  # else it is the failure that is told already
                raise self._cut_short(failure) from failure

    def write(self, result: FileResult) -> None:
        """Write the rows of one image; raises DataError where there is no room for them."""
        try:
            self._write(result)
        except OSError as error:
            raise self._cut_short(error) from error

    def _cut_short(self, error: OSError) -> DataError:
        return DataError(
            f"cannot write {self._path}: {error.strerror or error}; name another file, or make room; the "
            f"rows so far are in {self._part}"
        )

    def _write(self, result: FileResult) -> None:
        frame = result.frame if isinstance(result, FrameResult) else ""
        if result.prediction is None:
            self._rows.writerow([result.path, frame, "", "", "", result.error, ""])
            return
        for rank, (name, confidence) in enumerate(result.prediction.pairs, start=1):
            self._rows.writerow([result.path, frame, rank, name, f"{confidence:.6f}", "", result.prediction.label])


class AnnotatedCopies:
    """Copies with their labels drawn, in sub-folders like those below the ``given`` folders.

    Two files of one name do not overwrite each other.
    """

    def __init__(self, folder: Path, given: Sequence[Path] = ()) -> None:
        if folder.exists() and not folder.is_dir():
            raise DataError(f"--annotate takes a folder to write into, {folder} is a file; name a folder")
        self._folder = folder
        folders = [path for path in given if exists(path) and path.is_dir()]
        self._given = {path: place for place, path in reversed([*enumerate(folders)])}  # the first place of each
        self._used: set[str] = set()
        self._numbers: dict[str, int] = {}  # the last one that a name was given, so that thousands of it stay quick
        self.failures: list[tuple[str, str]] = []  # files without a copy, and why
        try:
            folder.mkdir(parents=True, exist_ok=True)
            reason = "" if os.access(folder, os.W_OK | os.X_OK) else os.strerror(errno.EACCES)
        except OSError as error:
            reason = error.strerror or str(error)
        if reason:
            raise DataError(
                f"--annotate takes a folder to write into, {folder} cannot be written: {reason}; name another folder"
            )

    def write(self, result: FileResult) -> None:
        """Write the copy of one image; frames are written by who reads the video."""
        if result.prediction is None or isinstance(result, FrameResult):
            return
        from PIL import Image

        from mnasnet.data.images import read_image

        try:
            image = read_image(result.path)
        except DataError:  # classified from a draft, so that much of it can be read
            try:
                image = read_image(result.path, min_side=DRAFT_SIDE_PX)
            except DataError as error:
                self.fail(result.path, str(error))
                return
        part: Path | None = None
        try:
            target = self.path_for(result.path, ".jpg")
            whole = io.BytesIO()  # Pillow says nothing of a disk that is full
            Image.fromarray(annotated(image, result.prediction)).save(whole, "JPEG", quality=92, comment=MARK)
            part = target.with_name(f".{target.name}.part")  # what a kill cuts short would be taken for a user's own
            part.write_bytes(whole.getvalue())
            patiently(partial(part.replace, target))
        except OSError as error:
            if part is not None:
                part.unlink(missing_ok=True)
            self.fail(result.path, error.strerror or str(error))

    def fail(self, path: Path, reason: str) -> None:
        """Tell, now and in the summary, that ``path`` has no copy."""
        self.failures.append((str(path), f"no annotated copy: {reason}"))
        if sys.stderr is not None:
            tqdm.write(f"{path}: no annotated copy: {reason}", file=sys.stderr)

    def path_for(self, source: Path, suffix: str) -> Path:
        """A name in the folder that this run has not used yet."""
        folder = self._folder / self._below(source)
        folder.mkdir(parents=True, exist_ok=True)
        encoded = os.fsencode(source.stem)
        stem = source.stem if len(encoded) <= MAX_STEM_BYTES else encoded[:MAX_STEM_BYTES].decode(errors="ignore")
        wanted = target = folder / f"{stem}{LABELLED}{suffix}"
        number = self._numbers.get(str(wanted).lower(), 1)
        while str(target).lower() in self._used or (exists(target) and not is_labelled_copy(target)):
            number += 1
            target = folder / f"{stem}_{number}{LABELLED}{suffix}"
        self._numbers[str(wanted).lower()] = number
        self._used.add(str(target).lower())
        return target

    def _below(self, source: Path) -> Path:
        """Where ``source`` lies below the folder it was found in."""
        folders = [parent for parent in source.parents if parent in self._given]
        return source.parent.relative_to(min(folders, key=self._given.__getitem__)) if folders else Path()

    def is_own(self, path: Path) -> bool:
        """Whether ``path`` is an annotated copy in this folder, from this run or an earlier one."""
        is_inside = path.stem.endswith(LABELLED) and self._folder.resolve() in path.resolve().parents
        return is_inside and is_labelled_copy(path)


class AnnotatedVideo:
    """The copy of the video ``source``, ``every`` Nth frame of it; where it cannot be written it is told of, once.

    Use it in a ``with`` statement.
    """

    def __init__(self, copies: AnnotatedCopies, source: Path, every: int) -> None:
        self._copies, self._source, self._every = copies, source, every
        self._writer: VideoWriter | None = None
        self._failed = False

    def __enter__(self) -> AnnotatedVideo:
        return self

    def write(self, frame: Any, prediction: Prediction, at_s: float) -> None:
        """Append one frame, H x W x 3 uint8, shown at ``at_s``, with its labels drawn."""
        if self._failed:
            return
        try:
            if self._writer is None:
                self._writer = self._opened()
            self._writer.write(annotated(frame, prediction), at_s)
        except (DataError, OSError) as error:
            self._fail(error)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._writer is None:
            return
        try:
            self._writer.__exit__(kind, error, at)
        except (DataError, OSError) as failure:
            self._fail(failure)

    def _opened(self) -> VideoWriter:
        from mnasnet.data.video import VideoWriter

        return VideoWriter(self._copies.path_for(self._source, ".mp4"), like=self._source, every=self._every)

    def _fail(self, error: Exception) -> None:
        self._failed = True
        self._copies.fail(self._source, getattr(error, "strerror", None) or str(error))


def annotated(image: Any, prediction: Prediction) -> Any:
    """A copy of ``image`` with the labels drawn."""
    from mnasnet.draw import draw_labels

    return draw_labels(image, prediction.shown_pairs)
