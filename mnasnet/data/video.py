"""The frames of a video file as RGB images, one after the other with memory for one, and back into a file."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnasnet.data.images import ImageFileError
from mnasnet.data.labelled import mark_video
from mnasnet.data.opencv import require_opencv
from mnasnet.errors import DataError
from mnasnet.files import patiently, quoted

_log = logging.getLogger(__name__)

_MAX_BROKEN_IN_A_ROW = 250  # then the rest of the video is given up: ten seconds of usual video
_HEADER_BYTES = 2**20
_USUAL_RATE = 25.0  # frames per second, for files that name none
_LEAST_RATE = 1.0  # MP4 files have no much slower ones
_LONGEST_STILL_S = 600.0  # a wrong time in a file must not fill the disk
_NO_FRAMES = "a video of 0 frames; its recording may have ended too early: record, copy or download it again"


class VideoFileError(ImageFileError):
    """A video file that cannot be read; ``path`` and ``reason`` are also there apart."""


class Video:
    """An open video file; iterating gives each frame's number from 0 and its pixels, H x W x 3 RGB uint8.

    A frame that cannot be decoded is passed over and counted in ``skipped``; its number is left out, so numbers
    and times stay those of the file. Use it in a ``with`` statement, which closes the file; iterate once.

    Raises VideoFileError (a DataError) when the file is missing, is no video, or has a codec that OpenCV cannot decode.
    """

    def __init__(self, path: Path) -> None:
        cv2 = require_opencv()
        self.path = Path(path)
        self.skipped = 0
        _check_is_file(self.path)
        self._capture = cv2.VideoCapture(str(self.path.absolute()))  # FFmpeg takes 12:30.mp4 for a protocol
        if not self._capture.isOpened():
            raise VideoFileError(self.path, _cannot_decode(self.path))
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.frames_per_second: float | None = rate if 0 < rate < 1000 else None  # some files say 90000 or nothing
        self.frame_count: int | None = count if count > 0 else None  # as the file announces; some only estimate
        self._says_empty = count == 0

    def __enter__(self) -> Video:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; iteration ends."""
        self._capture.release()

    @property
    def time_s(self) -> float:
        """When in the film the frame that came last is shown, as the file says."""
        import cv2

        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1e3

    def __iter__(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        import cv2

        index = 0
        delivered = 0
        broken = 0  # failures since the last good frame: broken frames, or the end of the file
        while broken < _MAX_BROKEN_IN_A_ROW and not (broken and self._is_past_end(index)):
            is_good, frame = self._capture.read()
            if is_good:
                self.skipped += broken
                broken = 0
                delivered += 1
                yield index, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            else:
                broken += 1
            index += 1
        if delivered == 0 and self._capture.isOpened():
            raise VideoFileError(self.path, _NO_FRAMES if self._says_empty else _cannot_decode(self.path))
        self._report(index - broken)

    def _is_past_end(self, index: int) -> bool:
        return self.frame_count is not None and index >= self.frame_count

    def _report(self, length: int) -> None:
        if self.skipped:
            _log.warning("%s: %d of %d frames are broken and were skipped", self.path, self.skipped, length)
        if self.frame_count is not None and length < 0.9 * self.frame_count and self._capture.isOpened():
            _log.warning("%s: ends after %d of %d announced frames", self.path, length, self.frame_count)


class VideoWriter:
    """Writes RGB frames, H x W x 3 uint8, into an MP4 file at the pace of the video ``like``.

    ``every`` says that only each Nth of its frames will come, so that the copy lasts as long as the original. Where
    frames come with their times, one that is shown for longer, as in a recording of a screen, stays in the copy too.

    It carries the mark of annotated copies.
    Use it in a ``with`` statement: the file appears under its name when that ends well, and not at all otherwise.
    All frames have the size of the first. Raises DataError when the file cannot be written.
    """

    def __init__(self, path: Path, *, like: Path, every: int = 1) -> None:
        with Video(like) as video:
            self._rate = max(_LEAST_RATE, (video.frames_per_second or _USUAL_RATE) / every)
        self.path = Path(path)
        self._unfinished = self.path.with_name(f".{self.path.stem}.part{self.path.suffix}")
        self._writer: Any = None
        self._written = 0
        self._began_s: float | None = None
        self._last: tuple[float, Any] = (0.0, None)  # when the last frame is shown, and it

    def write(self, frame: NDArray[np.uint8], at_s: float | None = None) -> None:
        """Append one frame, which the original shows at ``at_s``; the one before is shown until then."""
        import cv2

        if self._writer is None:
            self._writer = self._open(frame.shape[1], frame.shape[0])
        if at_s is not None:
            self._catch_up(at_s)
        self._last = at_s or 0.0, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
        self._append()

    def _catch_up(self, at_s: float) -> None:
        """Repeat the last frame as long as it is still shown; every frame that comes is in the copy all the same."""
        shown_at_s, before = self._last
        if self._began_s is None:
            self._began_s = at_s
        if before is None or at_s <= shown_at_s:  # some files tell no times
            return
        self._began_s += max(0.0, at_s - shown_at_s - _LONGEST_STILL_S)  # what is left out of a jump stays left out
        due = round((at_s - self._began_s) * self._rate)
        for _ in range(due - self._written):
            self._append()

    def _append(self) -> None:
        self._writer.write(self._last[1])
        self._written += 1

    def _open(self, width: int, height: int) -> Any:
        import cv2

        self.path.parent.mkdir(parents=True, exist_ok=True)
        fourcc = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(self._unfinished.absolute()), fourcc, self._rate, (width, height))
        if not writer.isOpened():
            raise DataError(
                f"{self.path}: a video of {width} x {height} pixels cannot be written there; try another folder"
            )
        return writer

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._writer is None:
            return
        self._writer.release()
        if error is None and not self._is_whole():
            self._unfinished.unlink(missing_ok=True)
            raise DataError(f"{self.path}: the video could not be written to its end; is the disk full?")
        if error is None:
            patiently(lambda: self._unfinished.replace(self.path))
        else:
            self._unfinished.unlink(missing_ok=True)

    def _is_whole(self) -> bool:
        """Mark what was written; whether it opens as a video, since OpenCV itself says nothing of a full disk."""
        try:
            mark_video(self._unfinished)
            Video(self._unfinished).close()
        except (DataError, OSError):
            return False
        return True


def _check_is_file(path: Path) -> None:
    if not path.exists():
        raise VideoFileError(path, "there is no such file")
    if not path.is_file():
        raise VideoFileError(path, "this is a folder, not a video" if path.is_dir() else "this is not a regular file")
    if path.stat().st_size == 0:
        raise VideoFileError(path, "empty file (0 bytes); copy or download it again")


def _cannot_decode(path: Path) -> str:
    codec = _codec_of(path)
    if codec is None:
        return "damaged, or not a video; try to play it, and copy or download it again"
    return (
        f"cannot decode its frames (codec {codec}); install ffmpeg and convert it: "
        f"ffmpeg -i {quoted(path.absolute())} -c:v libx264 {quoted(path.absolute().with_name(f'{path.stem}-h264.mp4'))}"
    )


def _codec_of(path: Path) -> str | None:
    """The four letters by which AVI and MP4 files name their video codec; they stand near one end of the file."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        file.seek(max(0, path.stat().st_size - _HEADER_BYTES))
        header += file.read()
    in_avi = re.search(rb"strh.{4}vids(.{4})", header, re.DOTALL)
    in_mp4 = re.search(rb"vide.{,400}?stsd.{12}(.{4})", header, re.DOTALL)
    match = in_avi or in_mp4
    if match is None:
        return None
    name = match.group(1).decode("latin-1").strip("\0 ")
    return name if name.isprintable() and name else None
