"""Test pictures that need no file: smooth colours, shapes and textures, the same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

COUNT = 32
WIDTH_PX, HEIGHT_PX = 320, 240


def test_pictures() -> list[tuple[str, NDArray[np.uint8]]]:
    """Named pictures, H x W x 3 RGB. They are no photos: your own images test a network better."""
    return [(f"test picture {number}", _picture(number)) for number in range(COUNT)]


def _picture(number: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(number)
    cells = 2 + number % 9  # from a soft gradient to a busy pattern
    small = Image.fromarray(rng.integers(0, 256, (cells, cells + 1, 3), np.uint8))
    picture = small.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(number % 5):
        x, y = (int(rng.integers(0, limit)) for limit in (WIDTH_PX, HEIGHT_PX))
        radius = int(rng.integers(10, 90))
        red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x - radius, y - radius, x + radius, y + radius), fill=(red, green, blue))
    noise = rng.normal(0, 3 * (number % 4), (HEIGHT_PX, WIDTH_PX, 3))
    return np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)
