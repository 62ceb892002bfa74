"""Image files that the tests write themselves, and arrays as programs pass them, all become RGB uint8."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from mnasnet.data.images import ImageFileError, read_image, to_rgb
from mnasnet.errors import DataError

RED = (255, 0, 0)


@pytest.fixture
def photo() -> NDArray[np.uint8]:
    """A smooth picture, 48 wide and 32 high, whose four corners differ."""
    y, x = np.mgrid[0:32, 0:48]
    return np.stack([x * 5, y * 7, (x + y) * 2 + 40], axis=2).astype(np.uint8)


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def reason_of(path: Path) -> str:
    with pytest.raises(ImageFileError) as caught:
        read_image(path)
    return caught.value.reason


# Files


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".PNG", ".ppm", ".tga", ".webp", ".gif", ".jp2"])
def test_lossless_files_give_their_pixels(tmp_path: Path, photo: NDArray[np.uint8], suffix: str) -> None:
    options = {".webp": {"lossless": True}}.get(suffix, {})
    exact = photo if suffix != ".gif" else np.full_like(photo, RED)  # a GIF holds 256 colours
    path = saved(tmp_path / f"a{suffix}", Image.fromarray(exact), **options)

    assert np.array_equal(read_image(path), exact)


def test_a_pure_red_jpeg_is_red(tmp_path: Path) -> None:
    path = saved(tmp_path / "red.JPG", Image.new("RGB", (40, 30), RED), quality=95)

    image = read_image(path)

    assert image.shape == (30, 40, 3)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - RED).max() <= 2  # what JPEG loses


def test_the_pixels_can_be_written_to(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    image = read_image(saved(tmp_path / "a.png", Image.fromarray(photo)))

    image[0, 0] = RED

    assert tuple(image[0, 0]) == RED


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_orientation_puts_the_picture_upright(
    tmp_path: Path, photo: NDArray[np.uint8], orientation: int, suffix: str
) -> None:
    stored = {  # what a camera stores, so that turning by the orientation gives back the photo
        1: photo,
        2: photo[:, ::-1],
        3: photo[::-1, ::-1],
        4: photo[::-1],
        5: photo.transpose(1, 0, 2),
        6: photo.transpose(1, 0, 2)[::-1],
        7: photo[::-1, ::-1].transpose(1, 0, 2),
        8: photo.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"quality": 98, "subsampling": 0} if suffix == ".jpg" else {"lossless": True}
    path = saved(tmp_path / f"a{suffix}", Image.fromarray(np.ascontiguousarray(stored)), exif=exif, **options)

    image = read_image(path)

    assert image.shape == photo.shape
    assert np.abs(image.astype(int) - photo).max() <= 8  # JPEG at high quality; a wrong turn differs by 100 and more


def test_damaged_exif_does_not_cost_the_picture(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    path = saved(tmp_path / "a.jpg", Image.fromarray(photo), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\1" * 40)

    assert read_image(path).shape == photo.shape


def test_a_cmyk_jpeg_has_its_colours(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", Image.new("RGB", (32, 32), RED).convert("CMYK"), quality=95)

    assert np.abs(read_image(path).astype(int) - RED).max() <= 3


@pytest.mark.parametrize("mode", ["L", "1", "P", "YCbCr", "HSV"])
def test_every_mode_of_a_grey_image_gives_the_same(mode: str) -> None:
    image = Image.new("L", (8, 6), 255).convert("RGB").convert(mode)

    assert (to_rgb(image) == 255).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_becomes_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (8, 6), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (4, 0, 8, 6))
    path = saved(tmp_path / "a.png", image.convert(mode))

    pixels = read_image(path)

    assert (pixels[:, :4] == 255).all()
    assert (pixels[:, 4:] == 0).all()


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_a_transparent_colour_becomes_white(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (8, 6))
    key = (0, 0, 0) if mode == "RGB" else 0
    path = saved(tmp_path / "a.png", image, transparency=key)

    assert (read_image(path) == 255).all()


def test_half_transparent_mixes_with_white() -> None:
    array = np.full((4, 4, 4), (255, 0, 100, 128), np.uint8)

    assert to_rgb(array)[0, 0].tolist() == [255, 127, 177]  # (c * 128 + 255 * 127) / 255


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path, name: str) -> None:
    deep = np.linspace(0, 65535, 32 * 48).reshape(32, 48).astype(np.uint16)
    path = tmp_path / name
    cv2.imwrite(str(path), deep)

    assert np.array_equal(read_image(path)[..., 0], np.round(deep / 257))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_colour_is_scaled(tmp_path: Path, name: str) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (16, 16, 3)).astype(np.uint16)
    path = tmp_path / name
    cv2.imwrite(str(path), deep)

    difference = read_image(path).astype(int) - np.round(deep[..., ::-1] / 257)

    assert np.abs(difference).max() <= 1  # Pillow cuts the low byte off


def test_big_endian_sixteen_bit_is_read(tmp_path: Path) -> None:
    deep = np.full((8, 8), 257 * 77, ">u2")
    path = saved(tmp_path / "a.tif", Image.frombytes("I;16B", (8, 8), deep.tobytes()))

    assert (read_image(path) == 77).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("white", [1.0, 255.0])
def test_float_tiffs_of_both_ranges_are_read(tmp_path: Path, channels: int, white: float) -> None:
    values = np.random.default_rng(0).random((16, 16, channels)).astype(np.float32)
    values[0, 0] = 1.0
    path = tmp_path / "a.tif"
    cv2.imwrite(str(path), values * np.float32(white))

    difference = read_image(path) - values[..., ::-1] * 255

    assert np.abs(difference).max() <= 0.51  # rounding


def test_the_content_counts_not_the_suffix(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    path = saved(tmp_path / "a.jpg", Image.fromarray(photo), format="PNG")

    assert np.array_equal(read_image(path), photo)


def test_names_outside_ascii_are_read(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    path = saved(tmp_path / "кошка 猫 é.png", Image.fromarray(photo))

    assert np.array_equal(read_image(path), photo)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif", ".gif"])
@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_cut_file_is_an_error_never_half_a_picture(tmp_path: Path, suffix: str, keep: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = saved(tmp_path / f"a{suffix}", Image.fromarray(noise))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])

    assert reason_of(path).startswith(("truncated", "damaged"))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_cut_file_stays_an_error_when_pillow_is_told_to_be_lenient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = saved(tmp_path / f"a{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[:-500])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)

    assert reason_of(path).startswith("truncated")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"\0" * 500, "500 zero bytes"),
        (b"hello", "not an image"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"%PDF-1.7", "a PDF document"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 80, "pip install pillow-heif"),
        (b"\0\0\0\x18ftypisom" + b"\0" * 80, "a video"),
        (b"\xff\xd8\xff\xe0", "truncated"),
        (b"GIF89a", "damaged"),
    ],
)
def test_what_is_no_image_gives_its_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)

    assert reason in reason_of(path)


def test_a_missing_file_and_a_folder_give_their_reason(tmp_path: Path) -> None:
    assert "no such file" in reason_of(tmp_path / "nothing.jpg")
    assert "a folder" in reason_of(tmp_path)


def test_the_error_names_the_file_and_survives_a_worker_process(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / "nothing.jpg")

    assert str(caught.value) == f"{tmp_path / 'nothing.jpg'}: there is no such file"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_an_image_of_one_pixel_is_too_small(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("RGB", (1, 40)))

    assert "at least 2 x 2 pixels, got 1 x 40" in reason_of(path)


def test_a_large_jpeg_is_read_smaller_on_request(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", Image.new("RGB", (1600, 1200), RED))

    assert read_image(path, min_side=100).shape == (300, 400, 3)  # a quarter: an eighth has less than 200
    assert read_image(path, min_side=600).shape == (1200, 1600, 3)
    assert read_image(path).shape == (1200, 1600, 3)


def bomb_png(side: int) -> bytes:
    """A PNG that says it has side x side pixels and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(bomb_png(60_000))

    assert "megapixels; make it smaller or cut it into tiles" in reason_of(path)


def test_the_limit_of_pixels_goes_for_the_decoded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.jpg", Image.new("RGB", (1600, 1200), RED))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500_000)  # the limit is twice this

    assert "has 1600 x 1200 pixels, the limit is 1 megapixels" in reason_of(path)
    assert read_image(path, min_side=100).shape == (300, 400, 3)


# Arrays


def test_an_rgb_array_comes_back_as_it_is(photo: NDArray[np.uint8]) -> None:
    assert to_rgb(photo) is photo


def test_a_file_and_its_array_give_the_same_pixels(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    alpha = np.dstack([photo, photo[..., :1]])
    deep = photo[..., 0].astype(np.uint16) * 200
    for array, name in ((photo, "rgb.png"), (photo[..., 0], "grey.png"), (alpha, "alpha.png"), (deep, "deep.png")):
        path = saved(tmp_path / name, Image.fromarray(array))

        assert np.array_equal(read_image(path), to_rgb(array)), name


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 1), (6, 8, 2), (6, 8, 3), (6, 8, 4)])
@pytest.mark.parametrize(
    ("kind", "white"),
    [
        (np.uint8, 255),
        (np.uint16, 65535),
        (np.int32, 255),
        (np.int64, 65535),
        (np.float16, 1),
        (np.float32, 1),
        (np.float32, 255),
        (np.float64, 1),
        (np.float64, 65535),
        (bool, True),
    ],
)
def test_white_is_white_in_every_shape_and_type(shape: tuple[int, ...], kind: type, white: float) -> None:
    image = to_rgb(np.full(shape, white, kind))

    assert image.shape == (6, 8, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert (image == 255).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array[..., ::-1],
        lambda array: array[::2, ::3],
        lambda array: np.asfortranarray(array),
        lambda array: array[..., :1],
        lambda array: array / 255,
        lambda array: array.astype(np.uint16) * 257,
    ],
)
def test_the_callers_array_is_never_written_to(
    photo: NDArray[np.uint8], change: Callable[[NDArray[Any]], NDArray[Any]]
) -> None:
    array = change(photo)
    before = array.copy()
    array.flags.writeable = False

    image = to_rgb(array)

    assert image.flags.c_contiguous
    assert image.shape == (*array.shape[:2], 3)
    assert np.array_equal(array, before)


def test_a_view_in_bgr_order_keeps_its_order(photo: NDArray[np.uint8]) -> None:
    assert np.array_equal(to_rgb(photo[..., ::-1]), photo[..., ::-1])


def test_floats_a_little_over_their_range_are_clipped() -> None:
    unit = np.array([[-0.05, 0.5], [1.0, 1.08]])

    assert to_rgb(unit)[..., 0].tolist() == [[0, 128], [255, 255]]
    assert to_rgb(unit * 255)[..., 0].tolist() == [[0, 128], [255, 255]]


def test_nan_is_black_and_infinity_white() -> None:
    array = np.array([[np.nan, 0.5], [np.inf, -np.inf]], np.float32)

    assert to_rgb(array)[..., 0].tolist() == [[0, 128], [255, 0]]


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3), (4, 4, 4)])
def test_an_array_of_nothing_but_nan_is_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="an image must hold numbers, got nothing but NaN"):
        to_rgb(np.full(shape, np.nan, np.float32))


def told_of(*arrays: str) -> list[str]:
    """The lines that a program shows when it turns ``arrays``, written as Python, into RGB."""
    code = "import numpy; from mnasnet.data.images import to_rgb\n" + "\n".join(f"to_rgb({array})" for array in arrays)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stderr.splitlines()


@pytest.mark.parametrize(
    ("array", "line"),
    [
        (
            "numpy.array([[-2.1, 0.0], [1.0, 1.9]])",
            "image values go from -2.1 to 1.9, negative ones become black; pass values of 0 to 1 or 0 to 255",
        ),
        (
            "numpy.array([[-2.05, 0.0], [1.0, 2.5]])",
            "image values go from -2.05 to 2.5, negative ones become black; pass values of 0 to 1 or 0 to 255",
        ),
        (
            "numpy.array([[0, 9], [99, 255]], 'uint16')",
            "16-bit values only up to 255 are nearly black; pass array.astype('uint8') where 255 is white",
        ),
        (
            "numpy.array([[0, 9], [99, 1023]], 'uint16')",
            "16-bit values only up to 1023 are dark; if they have 10 or 12 bits, multiply them so that white is 65535",
        ),
        (
            "numpy.array([[0, 9], [99, 4095]], 'uint16')",
            "16-bit values only up to 4095 are dark; if they have 10 or 12 bits, multiply them so that white is 65535",
        ),
    ],
)
def test_arrays_that_become_dark_are_told_once(array: str, line: str) -> None:
    assert told_of(array, array) == [line]


def test_nothing_is_told_of_arrays_a_little_below_black_or_truly_dark() -> None:
    overshot = ("numpy.array([[-12.0, 0.0], [128.0, 255.0]])", "numpy.array([[-0.1, 0.0], [0.1, 0.1]])")
    dark = ("numpy.array([[0, 9], [99, 4096]], 'uint16')", "numpy.zeros((2, 2), 'uint16')")

    assert told_of(*overshot, *dark) == []


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (None, "got NoneType"),
        ([[1, 2], [3, 4]], "got list"),
        (np.zeros((3, 32, 32), np.uint8), r"got shape \(3, 32, 32\) of uint8; channels come first"),
        (np.zeros((1, 32, 32, 3), np.uint8), "this is a batch"),
        (np.zeros((5,), np.uint8), r"got shape \(5,\) of uint8"),
        (np.zeros((5, 5), complex), "of complex128"),
        (np.zeros((5, 5), object), "of object"),
        (np.zeros((0, 5, 3), np.uint8), "at least 2 x 2 pixels, got 5 x 0"),
    ],
)
def test_what_is_no_image_array_names_its_shape_and_type(array: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        to_rgb(array)


def test_a_pillow_image_is_taken_as_well(photo: NDArray[np.uint8]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG")
    buffer.seek(0)

    assert np.array_equal(to_rgb(Image.open(buffer)), photo)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_a_pillow_image_is_turned_as_its_file_is(tmp_path: Path, photo: NDArray[np.uint8], suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / f"a{suffix}", Image.fromarray(photo), exif=exif)

    with Image.open(path) as image:
        assert np.array_equal(to_rgb(image), read_image(path))
    with Image.open(path) as image:
        assert np.array_equal(to_rgb(ImageOps.exif_transpose(image)), read_image(path))
