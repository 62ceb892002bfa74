"""Preprocessing as pixels: the one code path of inference, validation and export.

Resizing and cropping are one step, and no torch is needed to classify an image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mnasnet.data.resample import resampler
from mnasnet.preprocess import Preprocess


def prepare(image: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.uint8]:
    """Resize and crop one RGB image, H x W x 3, to ``input_size`` x ``input_size`` x 3."""
    height, width = image.shape[:2]
    size = preprocess.input_size
    box = source_box(width, height, preprocess)
    return resampler((height, width), box, (size, size), preprocess.interpolation)(image)


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
