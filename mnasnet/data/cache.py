"""Decoded images in memory: what fits a budget is decoded once, everything else is decoded when it is asked for."""

from __future__ import annotations

import logging
import mmap
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnasnet.data.images import ImageFileError, read_image
from mnasnet.data.threads import in_threads
from mnasnet.data.transforms import prepare
from mnasnet.data.unreadable import MAX_BAD, Unreadable, complaint, reason_of
from mnasnet.errors import DataError
from mnasnet.preprocess import Preprocess
from mnasnet.progress import Counted

_log = logging.getLogger(__name__)

_UNKNOWN, _STORED, _UNREADABLE = 0, 1, 2


class DecodedImages:
    """The images at ``paths`` exactly as inference prepares them: ``input_size`` x ``input_size`` x 3 RGB, uint8.

    The first images that together fit ``budget_bytes`` are kept in one block of memory once they are decoded; the
    others are decoded at each request. Both give the same pixels, whatever the threads do. The block is shared with
    forked worker processes without a copy; a spawned process gets no block and decodes. Call :meth:`fill` (or let
    the dataset check do it) before workers start.
    """

    def __init__(
        self, paths: Sequence[Path], preprocess: Preprocess, budget_bytes: int, *, threads: int | None = None
    ) -> None:
        self._paths = paths
        self._preprocess = preprocess
        self.threads = threads
        self._reasons: dict[int, str] = {}
        self._state = _shared(len(paths))
        self._block = self._reserved(min(len(paths), max(0, budget_bytes) // (3 * preprocess.input_size**2)))

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

    def fill(self, progress: Counted | None = None, *, max_bad: float = MAX_BAD) -> None:
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
        return len(self._block)

    @property
    def memory_bytes(self) -> int:
        """The size of the block: what the images take when all that have a place are decoded."""
        return self._block.nbytes

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

    def _reserved(self, images: int) -> NDArray[np.uint8]:
        """Memory for so many images, ``images`` x side x side x 3; for none where there is not enough."""
        side = self._preprocess.input_size
        try:
            memory = _shared(images * 3 * side**2)
        except (OSError, MemoryError) as error:
            _log.warning("no memory for %d decoded images (%s); they are decoded when needed", images, error)
            memory = _shared(0)
        return memory.reshape(-1, side, side, 3)

    def _try(self, index: int) -> None:
        with suppress(DataError):  # kept with its reason in self._reasons
            self._decode(index)

    def _decode(self, index: int) -> NDArray[np.uint8]:
        """Decode image ``index`` and keep it if it has a place."""
        if index in self._reasons:
            raise ImageFileError(self._paths[index], self._reasons[index])
        try:
            # min_side as the classifier reads files, so that validation and inference see the same pixels
            image = read_image(self._paths[index], min_side=self._preprocess.resize)
            pixels: NDArray[np.uint8] = np.array(prepare(image, self._preprocess))
        except DataError as error:
            self._reasons[index] = reason_of(error)
            self._state[index] = _UNREADABLE
            raise
        if index < self.planned:
            self._block[index] = pixels
            self._state[index] = _STORED
            return self._stored(index)
        pixels.flags.writeable = False
        return pixels

    def _stored(self, index: int) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = self._block[index]
        pixels.flags.writeable = False
        return pixels

    def __getstate__(self) -> dict[str, Any]:
        """For a spawned process: everything but the block."""
        _log.info("a spawned process does not share decoded images and decodes its own; threads or fork would share")
        return {
            "_paths": self._paths,
            "_preprocess": self._preprocess,
            "threads": self.threads,
            "_reasons": dict(self._reasons),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self._state, self._block = _shared(len(self._paths)), self._reserved(0)


def _shared(size_bytes: int) -> NDArray[np.uint8]:
    """Zeroed memory that forked processes share; pages take memory only once written to."""
    return np.frombuffer(mmap.mmap(-1, max(1, size_bytes)), np.uint8)[:size_bytes]
