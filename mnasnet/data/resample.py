"""Antialiased resizing with Pillow's filters, in products with small matrices: about twice as fast on one core.

A pixel of the result is a weighted sum of source pixels, first down the columns, then along the rows, rounded to whole
numbers after each. Some neighbouring results share one small matrix. Weights are multiples of 2**-15, so that every sum
is exact in float32: the pixels are the same on every machine, whatever order or instructions its BLAS takes. They
differ from Pillow's, which sums along the rows first, by a rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Interpolation = str  # bilinear or bicubic, as in Preprocess

_STEP = 2.0**-15
_SMALL = 200_000  # multiplications of one product: below this OpenBLAS does not wake its threads


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
        left, right = self.columns.starts[0], self.columns.starts[-1] + self.columns.reach
        return self._along_rows(self._down_columns(image[:, left:right])).reshape(self.height, self.width, 3)

    def _down_columns(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``image`` with the result's height, its columns interleaved: height x (columns x 3)."""
        axis = self.rows
        width = image.shape[1] * 3
        down = np.empty((len(axis.starts) * axis.size, width), np.uint8)
        step = max(64, _SMALL // (axis.size * axis.reach))
        window = np.empty((axis.reach, width), np.float32)  # one for all blocks stays in the cache
        source = window.reshape(axis.reach, *image.shape[1:])
        sums = np.empty((axis.size, width), np.float32)
        for index, start in enumerate(axis.starts):
            source[:] = image[start : start + axis.reach]
            for first in range(0, width, step):
                part = slice(first, first + step)
                np.matmul(axis.matrices[index], window[:, part], out=sums[:, part])
            down[index * axis.size : (index + 1) * axis.size] = self._rounded(sums)
        return down[: self.height]

    def _along_rows(self, down: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``down`` with the result's width: height x (width x 3)."""
        axis = self.columns
        block = axis.size * 3
        result = np.empty((self.height, self.width * 3), np.uint8)
        step = max(16, _SMALL // (axis.reach * 3 * block))
        sums = np.empty((min(step, self.height), len(axis.starts) * block), np.float32)
        for top in range(0, self.height, step):
            source = down[top : top + step].astype(np.float32)
            target = sums[: len(source)]
            for index, start in enumerate(axis.starts):
                window = source[:, (start - axis.starts[0]) * 3 : (start - axis.starts[0] + axis.reach) * 3]
                np.matmul(window, axis.matrices[index], out=target[:, index * block : (index + 1) * block])
            result[top : top + step] = self._rounded(target)[:, : self.width * 3]
        return result

    def _rounded(self, sums: NDArray[np.float32]) -> NDArray[np.float32]:
        """``sums`` so that cutting off their fraction rounds them; they are overwritten."""
        sums += 0.5
        return np.clip(sums, 0, 255, out=sums) if self.overshoots else sums


@dataclass(frozen=True)
class _Axis:
    """One direction: ``size`` neighbouring results each are a product with ``reach`` source positions from a start."""

    starts: tuple[int, ...]
    reach: int
    size: int
    matrices: NDArray[np.float32]


@lru_cache(maxsize=64)
def resampler(
    source: tuple[int, int],
    box: tuple[float, float, float, float],
    target: tuple[int, int],
    interpolation: Interpolation,
) -> Resampler:
    """Resize ``box`` (left, top, right, bottom) of images of ``source`` to ``target``, both (height, width)."""
    left, top, right, bottom = box
    columns = _axis(*_weights(source[1], left, right, target[1], interpolation), source[1], size=4)
    rows = _axis(*_weights(source[0], top, bottom, target[0], interpolation), source[0], size=8)
    blocks, reach, size = columns.matrices.shape
    interleaved = np.zeros((blocks, reach, 3, size, 3), np.float32)  # red from red, green from green, blue from blue
    for channel in range(3):
        interleaved[:, :, channel, :, channel] = columns.matrices
    return Resampler(
        height=target[0],
        width=target[1],
        overshoots=interpolation == "bicubic",
        columns=_Axis(columns.starts, reach, size, interleaved.reshape(blocks, reach * 3, size * 3)),
        rows=_Axis(rows.starts, rows.reach, rows.size, np.ascontiguousarray(rows.matrices.transpose(0, 2, 1))),
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


def _axis(first: NDArray[np.int64], weights: NDArray[np.float64], length: int, size: int) -> _Axis:
    """Results in blocks of ``size``, each block with one matrix, ``reach`` x ``size``."""
    results, taps = weights.shape
    blocks = -(-results // size)
    block = np.arange(results) // size
    ends = np.minimum(first + taps, length)
    reach = int((np.maximum.reduceat(ends, np.arange(0, results, size)) - first[::size]).max())
    starts = np.minimum(first[::size], length - reach)
    matrices = np.zeros((blocks, reach, size), np.float32)
    place = first[:, None] + np.arange(taps) - starts[block][:, None]
    counts = place < reach  # beyond it weights are zero
    result, _ = np.nonzero(counts)
    matrices[block[result], place[counts], result % size] = weights[counts]
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
