"""Pixels of Pillow images are the same whichever way they are taken."""

import gc

import numpy as np
import pytest
from PIL import Image

from mnasnet.data.arrow import shared_pixels
from mnasnet.data.images import read_image, to_rgb


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("size", [(2, 2), (641, 479), (4000, 1001)])
def test_the_memory_of_an_rgb_image_holds_its_pixels(size):
    image = picture(*size)

    pixels, _ = shared_pixels(image)

    np.testing.assert_array_equal(pixels[..., :3], np.array(image))


@pytest.mark.parametrize("what", [(5, 4, "L"), (5, 4, "P"), (5, 4, "F"), (4000, 2000, "RGB")])
def test_other_images_and_those_in_several_pieces_are_not_shared(what):
    assert shared_pixels(picture(*what)) is None


def test_pixels_stay_when_their_image_is_gone():
    image = picture(640, 480)
    expected = np.array(image)

    rgb = to_rgb(image)
    del image
    gc.collect()
    [Image.new("RGB", (640, 480), "red") for _ in range(8)]  # they take the memory that is free again

    np.testing.assert_array_equal(rgb, expected)


@pytest.mark.parametrize("size", [(61, 47), (3000, 1500)])
@pytest.mark.parametrize("lacks", ["nothing", "OpenCV", "a Pillow that shares"])
def test_a_file_has_the_same_pixels_on_every_installation(lacks, size, tmp_path, monkeypatch):
    picture(*size).save(tmp_path / "photo.jpg")
    expected = np.array(Image.open(tmp_path / "photo.jpg"))
    if lacks == "OpenCV":
        monkeypatch.setattr("mnasnet.data.images.opencv", lambda: None)
    elif lacks == "a Pillow that shares":
        monkeypatch.delattr(Image.Image, "__arrow_c_array__")

    rgb = read_image(tmp_path / "photo.jpg")

    np.testing.assert_array_equal(rgb, expected)
    assert rgb.flags.c_contiguous and rgb.flags.writeable
