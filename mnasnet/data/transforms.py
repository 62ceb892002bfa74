"""Preprocessing as pixels: the one code path of inference, validation and export.

Pillow does the resizing, in one step together with the crop, so that no torch is needed to classify an image.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnasnet.data.threads import Companion
from mnasnet.preprocess import Preprocess

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_HELPED = 0.45  # of the rows; less than half, since a helper has to be woken first
_REACH = 2  # pixels to each side, at the scale of the result, of the widest filter (bicubic)


def prepare(image: NDArray[np.uint8], preprocess: Preprocess, *, helper: Companion | None = None) -> NDArray[np.uint8]:
    """Resize and crop one RGB image, H x W x 3, to ``input_size`` x ``input_size`` x 3.

    The upper and the lower part are made apart; a ``helper`` makes the upper one at the same time. The pixels are the
    same with and without.
    """
    size = preprocess.input_size
    left, top, right, bottom = source_box(image.shape[1], image.shape[0], preprocess)
    rows = round(_HELPED * size)
    middle = top + (bottom - top) * rows / size
    square = np.empty((size, size, 3), np.uint8)
    resample = _FILTERS[preprocess.interpolation]
    upper = partial(_fill, square[:rows], image, (left, top, right, middle), resample)
    lower = partial(_fill, square[rows:], image, (left, middle, right, bottom), resample)
    if helper is None:
        upper()
        lower()
    else:
        helper.beside(upper, lower)
    return square


def _fill(
    part: NDArray[np.uint8],
    image: NDArray[np.uint8],
    box: tuple[float, float, float, float],
    resample: Image.Resampling,
) -> None:
    """Resize ``box`` (left, top, right, bottom) of ``image`` into ``part``, taking up only the rows that matter."""
    left, top, right, bottom = box
    height, width = part.shape[:2]
    reach = int(_REACH * max(1.0, (bottom - top) / height)) + 2  # rows beyond the box that the filter looks at
    first = max(0, int(top) - reach)
    rows = image[first : int(bottom) + reach]
    resized = Image.fromarray(rows).resize((width, height), resample, box=(left, top - first, right, bottom - first))
    part[:] = np.asarray(resized)


def source_box(width: int, height: int, preprocess: Preprocess) -> tuple[float, float, float, float]:
    """The part of the image that reaches the network: left, top, right, bottom in source pixels.

    Resizing this part alone equals resizing all and cropping the middle, as torchvision's Resize and
    CenterCrop do, but touches fewer pixels.
    """
    if preprocess.crop == "squash":
        return (0.0, 0.0, float(width), float(height))
    short = min(width, height)
    scaled_width = int(preprocess.resize * width / short)
    scaled_height = int(preprocess.resize * height / short)
    left = round((scaled_width - preprocess.input_size) / 2.0)
    top = round((scaled_height - preprocess.input_size) / 2.0)
    return (
        left * width / scaled_width,
        top * height / scaled_height,
        (left + preprocess.input_size) * width / scaled_width,
        (top + preprocess.input_size) * height / scaled_height,
    )


def normalise(batch: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.float32]:
    """N x S x S x 3 uint8 to N x 3 x S x S float32 with the recipe's mean and standard deviation."""
    mean = np.asarray(preprocess.mean, np.float32) * 255
    scale = 1 / (np.asarray(preprocess.std, np.float32) * 255)
    return np.ascontiguousarray(((batch - mean) * scale).transpose(0, 3, 1, 2), dtype=np.float32)
