"""Decoded images in memory: what fits a budget is decoded once, everything else is decoded when it is asked for."""

from __future__ import annotations

import logging
import mmap
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnasnet.data.header import read_header
from mnasnet.data.images import read_image
from mnasnet.data.threads import in_threads
from mnasnet.data.transforms import prepare
from mnasnet.data.unreadable import MAX_BAD, Unreadable, complaint, reason_of
from mnasnet.errors import DataError
from mnasnet.preprocess import Preprocess

_log = logging.getLogger(__name__)

_UNKNOWN, _STORED, _UNREADABLE = 0, 1, 2

Shape = tuple[int, int]  # height, width in pixels


class _Form(Protocol):
    """The form in which images are kept."""

    @property
    def fixed_shape(self) -> Shape | None:
        """The kept shape where it is the same for every image."""
        ...

    def shape(self, height: int, width: int) -> Shape:
        """The kept shape of an image of this size."""
        ...

    def decode(self, path: Path) -> NDArray[np.uint8]:
        """The file in this form, H x W x 3 RGB; raises DataError with the reason where it cannot be read."""
        ...


class DecodedImages:
    """The images at ``paths`` as RGB, H x W x 3 uint8, their short side at most ``side`` pixels.

    The first images that together fit ``budget_bytes`` are kept in one block of memory once they are decoded; the
    others are decoded at each request. Both give the same pixels, whatever the threads do. The block is shared with
    forked worker processes without a copy; a spawned process gets no block and decodes. Call :meth:`fill` (or let
    the dataset check do it) before workers start.
    """

    def __init__(self, paths: Sequence[Path], side: int, budget_bytes: int, *, threads: int | None = None) -> None:
        if side < 2:
            raise DataError(f"side must be 2 pixels or more, got {side}")
        self._begin(paths, _ShortSide(side), budget_bytes, threads)

    @classmethod
    def prepared(
        cls, paths: Sequence[Path], preprocess: Preprocess, budget_bytes: int, *, threads: int | None = None
    ) -> DecodedImages:
        """The images exactly as inference prepares them, ``input_size`` x ``input_size`` x 3: for validation."""
        images = cls.__new__(cls)
        images._begin(paths, _Prepared(preprocess), budget_bytes, threads)
        return images

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Image number ``index``, not to be written to; raises DataError where it is unreadable."""
        if not 0 <= index < len(self._paths):
            raise IndexError(f"image {index} of {len(self._paths)}")
        if self._state[index] == _STORED:
            return self._stored(index)
        return self._decode(index)

    def holds(self, index: int) -> bool:
        """Whether image number ``index`` lies decoded in memory."""
        return bool(self._state[index] == _STORED)

    def fill(self, progress: Callable[[int, int], None] | None = None, *, max_bad: float = MAX_BAD) -> None:
        """Decode, in threads, every image that has a place in memory and is not there yet.

        ``progress`` hears (done, total). Unreadable images are kept in :attr:`unreadable`; where they are more than
        ``max_bad`` of all images, DataError names the first.
        """
        missing = [index for index in range(self.planned) if self._state[index] == _UNKNOWN]
        for done, _ in enumerate(in_threads(self._try, missing, self.threads), start=1):
            if progress is not None:
                progress(done, len(missing))
        if self.planned and (text := complaint(self.unreadable, len(self._paths), max_bad)):
            raise DataError(text)

    @property
    def planned(self) -> int:
        """How many images, from the first on, have a place in memory; the others stream."""
        return len(self._shapes)

    @property
    def memory_bytes(self) -> int:
        """The size of the block: what the images take when all that have a place are decoded."""
        return int(self._offsets[-1])

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """The images found unreadable so far, in order."""
        return tuple(Unreadable(str(self._paths[index]), self._reasons[index]) for index in sorted(self._reasons))

    @property
    def readable(self) -> list[int]:
        """The numbers of all images not found unreadable so far."""
        return [index for index in range(len(self._paths)) if index not in self._reasons]

    @property
    def description(self) -> str:
        """One line for people: how many images are kept and how much memory that takes."""
        if self.planned == 0:
            return f"{len(self)} images are decoded when needed"
        rest = f", {len(self) - self.planned} are decoded when needed" if self.planned < len(self) else ""
        return f"{self.planned} of {len(self)} images stay decoded in {self.memory_bytes / 1e6:,.1f} MB{rest}"

    def _begin(self, paths: Sequence[Path], form: _Form, budget_bytes: int, threads: int | None) -> None:
        self._paths = paths
        self._form = form
        self.threads = threads
        self._reasons: dict[int, str] = {}
        self._shapes, self._offsets = self._plan(budget_bytes)
        self._state = _shared(len(paths))
        self._block = self._reserve()
        for index in self._reasons:
            self._state[index] = _UNREADABLE

    def _plan(self, budget_bytes: int) -> tuple[list[Shape], NDArray[np.int64]]:
        """Give each image its place, in order, until the budget is spent; at most headers are read for it."""
        shapes: list[Shape] = []
        offsets = [0]
        if budget_bytes <= 0:
            return shapes, np.array(offsets)
        for index, (shape, reason) in enumerate(in_threads(self._shape_of, self._paths, self.threads)):
            if reason:
                self._reasons[index] = reason
            size_bytes = shape[0] * shape[1] * 3
            if offsets[-1] + size_bytes > budget_bytes:
                self._reasons.pop(index, None)
                break
            shapes.append(shape)
            offsets.append(offsets[-1] + size_bytes)
        return shapes, np.array(offsets)

    def _shape_of(self, path: Path) -> tuple[Shape, str]:
        if self._form.fixed_shape:
            return self._form.fixed_shape, ""
        header = read_header(path)
        if header is not None:
            return self._form.shape(header.height, header.width), ""
        try:  # a file whose header only our own reader understands
            return self._form.decode(path).shape[:2], ""
        except DataError as error:
            return (0, 0), reason_of(error)

    def _reserve(self) -> NDArray[np.uint8]:
        try:
            return _shared(self.memory_bytes)
        except (OSError, MemoryError) as error:
            _log.warning("no memory for %d decoded images (%s); they are decoded when needed", self.planned, error)
            self._shapes, self._offsets = [], np.array([0])
            return _shared(0)

    def _try(self, index: int) -> None:
        with suppress(DataError):  # kept with its reason in self._reasons
            self._decode(index)

    def _decode(self, index: int) -> NDArray[np.uint8]:
        """Decode image ``index`` and keep it if it has a place."""
        if index in self._reasons:
            raise DataError(f"{self._paths[index]}: {self._reasons[index]}")
        try:
            pixels = self._form.decode(self._paths[index])
        except DataError as error:
            self._reasons[index] = reason_of(error)
            self._state[index] = _UNREADABLE
            raise
        if index < self.planned and pixels.size == self._offsets[index + 1] - self._offsets[index]:
            self._block[self._offsets[index] : self._offsets[index + 1]] = pixels.reshape(-1)
            self._shapes[index] = (pixels.shape[0], pixels.shape[1])
            self._state[index] = _STORED
            return self._stored(index)
        pixels.flags.writeable = False
        return pixels

    def _stored(self, index: int) -> NDArray[np.uint8]:
        height, width = self._shapes[index]
        pixels = self._block[self._offsets[index] : self._offsets[index + 1]].reshape(height, width, 3)
        pixels.flags.writeable = False
        return pixels

    def __getstate__(self) -> dict[str, Any]:
        """For a spawned process: everything but the block."""
        _log.info("a spawned process does not share decoded images and decodes its own; threads or fork would share")
        return {
            "_paths": self._paths,
            "_form": self._form,
            "threads": self.threads,
            "_reasons": dict(self._reasons),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self._shapes, self._offsets = [], np.array([0])
        self._state, self._block = _shared(len(self._paths)), _shared(0)


class _ShortSide:
    """Whole images whose short side is at most ``side`` pixels; smaller ones stay as they are."""

    fixed_shape = None

    def __init__(self, side: int) -> None:
        self._side = side

    def shape(self, height: int, width: int) -> Shape:
        short = min(height, width)
        if short <= self._side:
            return height, width
        # cut off, not rounded, as torchvision's Resize does: validation crops then hit the same pixels
        return int(self._side * height / short), int(self._side * width / short)

    def decode(self, path: Path) -> NDArray[np.uint8]:
        pixels = read_image(path, min_side=self._side)
        header = read_header(path)  # a JPEG may come smaller, with a side rounded up
        height, width = (header.height, header.width) if header else pixels.shape[:2]
        if (height > width) != (pixels.shape[0] > pixels.shape[1]) and height != width:
            height, width = width, height
        target = self.shape(height, width)
        if target == pixels.shape[:2]:
            return pixels
        resized = Image.fromarray(pixels).resize((target[1], target[0]), Image.Resampling.BILINEAR)
        return np.array(resized)


class _Prepared:
    """Squares, as the network sees them."""

    def __init__(self, preprocess: Preprocess) -> None:
        self._preprocess = preprocess
        self.fixed_shape = preprocess.input_size, preprocess.input_size

    def shape(self, height: int, width: int) -> Shape:
        return self.fixed_shape

    def decode(self, path: Path) -> NDArray[np.uint8]:
        # min_side as the classifier reads files, so that validation and inference see the same pixels
        return np.array(prepare(read_image(path, min_side=self._preprocess.resize), self._preprocess))


def _shared(size_bytes: int) -> NDArray[np.uint8]:
    """Zeroed memory that forked processes share; pages take memory only once written to."""
    return np.frombuffer(mmap.mmap(-1, max(1, size_bytes)), np.uint8)[:size_bytes]
