"""Antialiased resizing with Pillow's filters, in products with small matrices: twice as fast or more on one core.

A pixel of the result is a weighted sum of source pixels, first down the columns, then along the rows, rounded to whole
numbers after each. Some neighbouring results share one small matrix. Weights are multiples of 2**-15, so that every sum
is exact in float32: the pixels are the same on every machine, whatever order or instructions its BLAS takes. They
differ from Pillow's, which sums along the rows first, by a rounding.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mnasnet.data.opencv import opencv

Interpolation = str  # bilinear or bicubic, as in Preprocess
Number = TypeVar("Number", np.uint8, np.float32)
_Product = tuple[Callable[[NDArray[np.float32], NDArray[np.float32]], object], NDArray[np.float32], NDArray[np.float32]]

_STEP = 2.0**-15
_CACHED = 150_000  # floats that are written and read at once: they stay in a core's cache
_SMALL = 200_000  # multiplications of one product: below this OpenBLAS does not wake its threads
# a product of 8 results has 5 times as many multiplications as weights, of 4 results 3 times, but twice as many calls:
# from 1920 x 1080 pixels to 224 the fewer multiplications win
_FEW_TAPS = 7
_MOST_SIZES = 8  # of images whose sums stay laid out in a thread
_MOST_KEPT_BYTES = 8 << 20  # of one array, or of what one pass uses: a strange image must not hold memory for good


@dataclass(frozen=True)
class Resampler:
    """How one box of images of one size becomes an image of ``height`` x ``width``; made by :func:`resampler`."""

    height: int
    width: int
    overshoots: bool  # results beyond 0 to 255 are possible and cut off
    columns: _Axis
    rows: _Axis

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize ``image``, H x W x 3, to height x width x 3."""
        part = image[self.rows.part, self.columns.part]
        down, along = _workspace.passes(self)
        cv2 = opencv()
        turned = _workspace.array("turned", (part.shape[1], self.height, 3), np.uint8)
        down(part, turned, self.overshoots, cv2)
        result = np.empty((self.height, self.width, 3), np.uint8)
        along(turned, result, self.overshoots, cv2)
        return result


class _Pass:
    """Sums down the columns of images of one size, the part that ``axis`` reads; both directions are such sums.

    Some results at a time go all the way: what they need stays in a core's cache, where an engine has just emptied
    it. All views are made here, once: making them takes longer than many of the products.
    """

    def __init__(self, axis: _Axis, width: int, results: int, workspace: _Workspace) -> None:
        count = max(1, _CACHED // ((axis.reach + axis.size) * width * 3))
        blocks = [axis.starts[index : index + count] for index in range(0, len(axis.starts), count)]
        most = max(starts[-1] - starts[0] for starts in blocks) + axis.reach
        # bytes come from far memory faster by a copy than by a change to floats, which waits for each row
        near = workspace.array("near", (most, width, 3), np.uint8)
        window = workspace.array("window", (most, width * 3), np.float32)  # neighbouring results read the same rows
        sums = workspace.array("sums", (min(count, len(axis.starts)), axis.size, width * 3), np.float32)
        self.strip = workspace.array("strip", (results, width, 3), np.uint8)
        self.nbytes = near.nbytes + window.nbytes + sums.nbytes + self.strip.nbytes
        self._blocks = []
        for first, starts in zip(range(0, len(axis.starts), count), blocks, strict=True):
            low, high = starts[0], starts[-1] + axis.reach
            products: list[_Product] = []
            for start, matrix, some in zip(starts, axis.matrices[first : first + count], sums, strict=False):
                products += _products(matrix, window[start - low : start - low + axis.reach], some)
            strip = self.strip[first * axis.size : (first + count) * axis.size].reshape(-1, width * 3)
            self._blocks.append(
                (
                    slice(low - axis.part.start, high - axis.part.start),
                    near[: high - low],
                    window[: high - low].reshape(high - low, width, 3),
                    products,
                    sums.reshape(-1, width * 3)[: len(strip)],
                    strip,
                )
            )

    def __call__(
        self, image: NDArray[np.uint8], into: NDArray[np.uint8], overshoots: bool, cv2: ModuleType | None
    ) -> None:
        """Fill ``into``, columns x results x 3, from ``image``; ``overshoots`` as in :class:`Resampler`."""
        for positions, near, window, products, sums, strip in self._blocks:
            near[:] = image[positions]
            window[:] = near
            for multiply, rows, some in products:
                multiply(rows, some)
            _round(sums, strip, overshoots, cv2)
        if cv2 is None:
            into[:] = self.strip.transpose(1, 0, 2)
        else:
            cv2.transpose(self.strip, into)


def _products(matrix: NDArray[np.float32], rows: NDArray[np.float32], into: NDArray[np.float32]) -> list[_Product]:
    """The product of ``matrix`` and ``rows``, some of their columns at a time where it is a large one."""
    step = max(64, _SMALL // matrix.size)
    if rows.shape[1] <= step:
        return [(matrix.dot, rows, into)]  # called more quickly than matmul, which takes parts of rows too
    multiply = partial(np.matmul, matrix)
    firsts = range(0, rows.shape[1], step)
    return [(multiply, rows[:, first : first + step], into[:, first : first + step]) for first in firsts]


def _round(sums: NDArray[np.float32], into: NDArray[np.uint8], overshoots: bool, cv2: ModuleType | None) -> None:
    """Fill ``into`` with ``sums`` as whole numbers, halves rounded up.

    ``overshoots`` says that they may lie beyond 0 to 255. OpenCV is several times as fast as numpy; a small board
    classifies without it. The sums are overwritten.
    """
    if cv2 is None:
        sums += 0.5
        into[:] = np.clip(sums, 0, 255, out=sums) if overshoots else sums
        return
    if overshoots:
        np.maximum(sums, 0, out=sums)  # OpenCV takes what is below for positive; it cuts off above 255 by itself
    # half of a step more, and no sum is a half, which machines round otherwise
    cv2.convertScaleAbs(sums, into, 1, _STEP / 2)


class _Workspace(threading.local):
    """What each thread uses again: fresh memory costs more, page by page, than the arithmetic."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}
        self._passes: dict[int, tuple[Resampler, tuple[_Pass, _Pass]]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: type[Number]) -> NDArray[Number]:
        """An array of any content; the next call of the name gives the same memory away again."""
        count = math.prod(shape)
        kept = self._arrays.get(name)
        if kept is None or len(kept) < count:
            kept = np.empty(count, dtype)
            if kept.nbytes <= _MOST_KEPT_BYTES:
                self._arrays[name] = kept
                self._passes.clear()  # their views hold the former array
        return kept[:count].reshape(shape)

    def passes(self, resampler: Resampler) -> tuple[_Pass, _Pass]:
        """Down the columns and along the rows; the latest few are kept: pictures of a camera have the same sizes."""
        known = self._passes.get(id(resampler))
        if known is not None:
            return known[1]
        part = resampler.columns.part
        passes = (
            _Pass(resampler.rows, part.stop - part.start, resampler.height, self),
            _Pass(resampler.columns, resampler.height, resampler.width, self),
        )
        if sum(each.nbytes for each in passes) <= _MOST_KEPT_BYTES:
            if len(self._passes) == _MOST_SIZES:
                self._passes.pop(next(iter(self._passes)))
            self._passes[id(resampler)] = resampler, passes  # the resampler with them: its id is no other's
        return passes


_workspace = _Workspace()


@dataclass(frozen=True)
class _Axis:
    """One direction: ``size`` neighbouring results each are a product with ``reach`` source positions from a start."""

    starts: tuple[int, ...]
    reach: int
    size: int
    matrices: NDArray[np.float32]  # blocks x size x reach

    @property
    def part(self) -> slice:
        """The source positions that count."""
        return slice(self.starts[0], self.starts[-1] + self.reach)


@lru_cache(maxsize=64)
def resampler(
    source: tuple[int, int],
    box: tuple[float, float, float, float],
    target: tuple[int, int],
    interpolation: Interpolation,
) -> Resampler:
    """Resize ``box`` (left, top, right, bottom) of images of ``source`` to ``target``, both (height, width)."""
    left, top, right, bottom = box
    return Resampler(
        height=target[0],
        width=target[1],
        overshoots=interpolation == "bicubic",
        columns=_axis(*_weights(source[1], left, right, target[1], interpolation), source[1]),
        rows=_axis(*_weights(source[0], top, bottom, target[0], interpolation), source[0]),
    )


def _weights(
    length: int, low: float, high: float, results: int, interpolation: Interpolation
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each result its first source position and the weights from there on, zero where they do not count."""
    reach, curve = _CURVES[interpolation]
    scale = (high - low) / results
    wider = max(scale, 1.0)  # shrinking averages over more pixels: the antialiasing
    centres = low + (np.arange(results) + 0.5) * scale
    first = np.maximum(0, (centres - reach * wider + 0.5).astype(np.int64))
    last = np.minimum(length, (centres + reach * wider + 0.5).astype(np.int64))
    positions = first[:, None] + np.arange(int((last - first).max()))
    weights = curve(np.abs(positions - centres[:, None] + 0.5) / wider)
    weights[positions >= last[:, None]] = 0
    weights = np.round(weights / weights.sum(1, keepdims=True) / _STEP) * _STEP
    largest = weights.argmax(1)[:, None]
    remainder = 1 - weights.sum(1, keepdims=True)  # an even surface keeps its value
    np.put_along_axis(weights, largest, np.take_along_axis(weights, largest, 1) + remainder, 1)
    return first, weights


def _axis(first: NDArray[np.int64], weights: NDArray[np.float64], length: int) -> _Axis:
    """Results in blocks, each block with one matrix."""
    results, taps = weights.shape
    size = 8 if taps <= _FEW_TAPS else 4
    blocks = -(-results // size)
    block = np.arange(results) // size
    ends = np.minimum(first + taps, length)
    reach = int((np.maximum.reduceat(ends, np.arange(0, results, size)) - first[::size]).max())
    starts = np.minimum(first[::size], length - reach)
    matrices = np.zeros((blocks, size, reach), np.float32)
    place = first[:, None] + np.arange(taps) - starts[block][:, None]
    counts = place < reach  # beyond it weights are zero
    result, _ = np.nonzero(counts)
    matrices[block[result], result % size, place[counts]] = weights[counts]
    return _Axis(tuple(int(start) for start in starts), reach, size, matrices)


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(0.0, 1.0 - x)


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution with a = -0.5, as Pillow has it."""
    a = -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


#: interpolation -> how far its curve reaches and the curve, over the distance in result pixels
_CURVES: dict[Interpolation, tuple[float, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    "bilinear": (1.0, _triangle),
    "bicubic": (2.0, _cubic),
}
