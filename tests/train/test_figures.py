"""The pictures of a run's results."""

import io

import numpy as np
from PIL import Image

from mnasnet.train.figures import mistakes


def height_of(images: int) -> int:
    picture = mistakes([np.zeros((32, 32, 3), np.uint8)] * images, ["a"] * images, ["b"] * images, [0.9] * images)
    return Image.open(io.BytesIO(picture)).height


def test_without_mistakes_their_board_is_one_line() -> None:
    assert 0 < height_of(0) < 100 < height_of(1) < height_of(7)
