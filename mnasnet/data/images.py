"""One way from anything to RGB uint8: image files of every kind and arrays as programs pass them.

A file is decoded to an array of its own depth and channels and then takes the same road as an array, so both give
the same pixels. Nothing here writes into a caller's array or changes a file.
"""

from __future__ import annotations

import functools
import importlib
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from mnasnet.data.arrow import shared_pixels
from mnasnet.data.header import orientation_of
from mnasnet.data.opencv import opencv
from mnasnet.errors import DataError

_log = logging.getLogger(__name__)

MIN_SIDE_PX = 2
MAX_FILE_BYTES = 2**31
_SMALLER = "make it smaller or cut it into tiles"

# The formats that we let Pillow open: pictures only. Its other readers are for fonts, vector files that start
# programs (EPS) and such.
# fmt: off
_FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "HEIF", "MPO", "JPEG2000", "PPM", "QOI", "ICO", "SGI",
    "PCX", "TGA",
)
# fmt: on
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_TRUNCATED = "truncated: the file ends before the picture does; copy or download it again"
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", *_TIFF_STARTS)
START_BYTES = 16

# Modes whose array means what it says; every other mode is converted first.
_PLAIN_MODES = frozenset(["1", "L", "LA", "RGB", "RGBA", "I;16", "I;16L", "I;16B", "I;16N", "I", "F"])

_TURNS = {  # EXIF orientation -> how to put the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageFileError(DataError):
    """An image file that cannot be read; ``path`` and ``reason`` are also there apart."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def read_image(path: Path, *, min_side: int | None = None) -> NDArray[np.uint8]:
    """Read any image file as RGB, H x W x 3 uint8, upright as its EXIF data say.

    With ``min_side`` a large JPEG may come smaller, by a power of two, as long as both sides keep at least twice
    ``min_side`` pixels: reading is then several times faster. Transparent parts become white, as :func:`to_rgb`
    does; of several frames or pages the first counts. The true format is found from the content, not the suffix.

    Raises ImageFileError (a DataError) with the reason: missing, empty, truncated, damaged, not an image, too large.
    """
    path = Path(path)
    try:
        return _to_rgb(_decode(_read_bytes(path), min_side))
    except _UnreadableError as error:
        raise ImageFileError(path, str(error)) from error.__cause__


def to_rgb(array: NDArray[Any] | Image.Image) -> NDArray[np.uint8]:
    """Turn an array as cameras, Ikomia and image libraries pass it into RGB, H x W x 3 uint8, contiguous.

    Shapes: H x W or H x W x 1 is grey, H x W x 2 grey and alpha, H x W x 3 RGB, H x W x 4 RGB and alpha. What is
    transparent is laid over white. A contiguous H x W x 3 uint8 array is returned as it is, everything else as a
    new one; the input is never written to. A Pillow image is taken as well, upright as its EXIF data say.

    Depths: bool is black and white; uint8 is taken as it is; uint16 is divided by 257, so that 65535 becomes 255.
    Floats and the other integers do not say their range, so the largest value decides: floats up to 2 are 0 to 1,
    values up to 510 are 0 to 255, up to 131070 they are 0 to 65535, anything above is scaled by the largest value.
    The factor of two is there because sharpening and resizing overshoot; what lies outside the range is clipped.
    NaN is black; an array of nothing else is refused.

    Raises DataError that names the shape and type when the array is no image.
    """
    try:
        if isinstance(array, Image.Image):
            array.load()  # a TIFF is upright from then on
            return _to_rgb(_pixels_of(_upright(array)))
        rgb = _to_rgb(array)
    except _UnreadableError as error:
        raise DataError(str(error)) from error.__cause__
    if _is_16_bit(array):
        _tell_of_dark_16_bits(int(array.max()))
    return rgb


def is_image_start(start: bytes) -> bool:
    """Whether a file whose first ``START_BYTES`` bytes are ``start`` is an image, of the formats that tell there."""
    is_webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    is_heif = start[4:8] == b"ftyp" and start[8:12] in (*_HEIF_BRANDS, *_AVIF_BRANDS)
    return start.startswith(_STARTS) or is_webp or is_heif


_ENCODED = "; decode what a file holds first, by cv2.imdecode, or give its path"
_INSTEAD: dict[type, str] = {
    type(None): "; the image file behind it could not be read",
    bytes: _ENCODED,
    bytearray: _ENCODED,
}


class _UnreadableError(Exception):
    """The reason why pixels cannot be had; the public functions say of which file or array."""


def _to_rgb(array: NDArray[Any]) -> NDArray[np.uint8]:
    _check_shape(array)
    if array.dtype.kind == "f" and np.isnan(array).all():
        raise _UnreadableError("an image must hold numbers, got nothing but NaN; look at what computed it")
    levels = _to_uint8(array)
    channels = levels.shape[2] if levels.ndim == 3 else 1
    if channels == 3:
        return np.ascontiguousarray(levels)
    if channels == 1:
        return _grey_to_rgb(levels.reshape(levels.shape[:2]))
    if channels == 2:
        return _over_white(_grey_to_rgb(levels[..., 0]), levels[..., 1:])
    return _over_white(levels[..., :3], levels[..., 3:])


def _check_shape(array: object) -> None:
    if not isinstance(array, np.ndarray):
        raise _UnreadableError(
            f"an image must be a NumPy array, height x width x 3, got {type(array).__name__}"
            + _INSTEAD.get(type(array), "; convert it with numpy.asarray")
        )
    is_image = array.ndim == 2 or (array.ndim == 3 and 1 <= array.shape[2] <= 4)
    if not is_image or array.dtype.kind not in "buif":
        raise _UnreadableError(
            "an image must be height x width with 1 to 4 channels last, of numbers, "
            f"got shape {array.shape} of {array.dtype}" + _shape_hint(array)
        )
    _check_size(array.shape[1], array.shape[0])


def _shape_hint(array: NDArray[Any]) -> str:
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        return "; channels come first here: pass array.transpose(1, 2, 0)"
    if array.ndim == 4:
        return "; this is a batch: pass its images one by one"
    return ""


def _check_size(width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE_PX:
        raise _UnreadableError(
            f"an image must be at least {MIN_SIDE_PX} x {MIN_SIDE_PX} pixels, got {width} x {height}"
        )


def _to_uint8(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale to 8 bits by the rule of :func:`to_rgb`; the input comes back when it is uint8 already."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "u" and size == 1:
        return array
    if kind == "b":
        white: NDArray[np.uint8] = np.where(array, np.uint8(255), np.uint8(0))  # not a view: true may be stored as 2
        return white
    if _is_16_bit(array):
        eight_bits: NDArray[np.uint8] = _eight_of_sixteen_bits()[array]
        return eight_bits
    return _scale_by_range(array)


def _is_16_bit(array: NDArray[Any]) -> bool:
    return array.dtype.kind == "u" and array.dtype.itemsize == 2


@functools.cache
def _eight_of_sixteen_bits() -> NDArray[np.uint8]:
    return ((np.arange(65536) + 128) // 257).astype(np.uint8)


def _scale_by_range(array: NDArray[Any]) -> NDArray[np.uint8]:
    is_float = array.dtype.kind == "f"
    values: NDArray[Any] = array.astype(np.float32 if array.dtype.itemsize <= 4 and is_float else np.float64)
    finite = np.isfinite(values)
    highest = float(values.max(where=finite, initial=0.0))
    lowest = float(values.min(where=finite, initial=0.0))
    scale = _range_of(highest, is_float)
    if lowest < -min(scale, max(highest, 1.0)) / 2:
        _warn_once(
            "image values go from %g to %g, negative ones become black; pass values of 0 to 1 or 0 to 255",
            lowest,
            highest,
        )
    values *= 255.0 / scale
    np.nan_to_num(values, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    np.clip(values, 0.0, 255.0, out=values)
    values += 0.5  # rounds, as the integer cast cuts off
    return values.astype(np.uint8)


def _tell_of_dark_16_bits(highest: int) -> None:
    """Say what values are that come in 16 bits and use fewer, as of cameras with 10 or 12 bits."""
    if 0 < highest <= 255:
        _warn_once(
            "16-bit values only up to %d are nearly black; pass array.astype('uint8') where 255 is white", highest
        )
    elif 255 < highest <= 4095:
        _warn_once(
            "16-bit values only up to %d are dark; if they have 10 or 12 bits, multiply them so that white is 65535",
            highest,
        )


_told: set[str] = set()  # each is said once


def _warn_once(text: str, *values: float) -> None:
    """Warn of the first such image: its whole film or folder is of that kind."""
    if text not in _told:
        _told.add(text)
        _log.warning(text, *values)


def _range_of(highest: float, is_float: bool) -> float:
    """The white value of an image whose brightest value is ``highest``."""
    if is_float and highest <= 2.0:
        return 1.0
    for white in (255.0, 65535.0):
        if highest <= 2 * white:
            return white
    return highest


def _grey_to_rgb(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rgb = np.empty((*grey.shape, 3), np.uint8)
    rgb[...] = grey[..., np.newaxis]
    return rgb


def _over_white(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay ``rgb`` (H x W x 3) with ``alpha`` (H x W x 1) over white."""
    if alpha.min() == 255:
        return np.ascontiguousarray(rgb)
    mixed: NDArray[Any] = rgb * alpha.astype(np.uint16)
    mixed += 255 * (255 - alpha.astype(np.uint16)) + 128
    mixed += mixed >> 8  # with the next line: divides by 255 exactly, rounded
    mixed >>= 8
    return mixed.astype(np.uint8)


def _read_bytes(path: Path) -> bytes:
    """Read in Python, not in a library: some of them cannot open non-ASCII names on Windows."""
    try:
        if not path.exists():
            raise _UnreadableError("there is no such file" + (" behind this link" if path.is_symlink() else ""))
        if not path.is_file():
            raise _UnreadableError("this is a folder, not an image" if path.is_dir() else "this is not a regular file")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise _UnreadableError(
                f"file of {size / 2**30:.1f} GiB; images may have up to {MAX_FILE_BYTES / 2**30:.0f} GiB"
            )
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a zero character
        raise _UnreadableError(f"cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    if not data:
        raise _UnreadableError("empty file (0 bytes); copy or download it again")
    return data


def _decode(data: bytes, min_side: int | None) -> NDArray[Any]:
    """Decode to H x W or H x W x channels of the file's own depth.

    Pillow raises nearly every kind of error on damaged files, hence the wide net; all end as a reason.
    """
    try:
        image = _open(data)
        _check_size(*image.size)
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            _shrink_while_decoding(image, min_side)
        _check_pixels(image.width, image.height)
        image.load()
        return _pixels_of(_upright(image))
    except _UnreadableError:
        raise
    except Image.DecompressionBombError as error:
        raise _UnreadableError(f"has more than {_max_pixels() / 1e6:.0f} megapixels; {_SMALLER}") from error
    except UnidentifiedImageError as error:
        if data.startswith(_TIFF_STARTS) and (pixels := _decode_with_opencv(data)) is not None:
            return pixels
        raise _UnreadableError(_reason_not_an_image(data)) from error
    except MemoryError as error:
        raise _UnreadableError("not enough memory to decode it; make it smaller") from error
    except Exception as error:
        raise _UnreadableError(_reason_damaged(error)) from error


def _open(data: bytes) -> Image.Image:
    if data.startswith(b"\xff\xd8\xff"):
        # Not through Image.open: its limit of pixels knows nothing of decoding at a reduced size.
        return JpegImagePlugin.JpegImageFile(_WholeBytes(data))
    if data.startswith(b"\x89PNG"):
        return Image.open(_WholeBytes(data), formats=("PNG",))
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        _register_heif()
    return Image.open(io.BytesIO(data), formats=_formats())


class _WholeBytes(io.BytesIO):
    """Bytes that complain when read past their end, so that no setting of Pillow lets a cut picture through."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data and size:
            raise OSError("image file is truncated")
        return data


def _shrink_while_decoding(image: JpegImagePlugin.JpegImageFile, min_side: int | None) -> None:
    # A progressive JPEG is held whole in memory at any scale, so the limit goes for its full size.
    if image.info.get("progressive"):
        _check_pixels(image.width, image.height)
    if min_side is not None:
        image.draft(None, (2 * min_side, 2 * min_side))


def _max_pixels() -> float:
    """The limit of Pillow itself, about 179 megapixels; users move it by ``PIL.Image.MAX_IMAGE_PIXELS``."""
    return 2 * Image.MAX_IMAGE_PIXELS if Image.MAX_IMAGE_PIXELS is not None else float("inf")


def _check_pixels(width: int, height: int) -> None:
    if width * height > _max_pixels():
        raise _UnreadableError(
            f"has {width} x {height} pixels, the limit is {_max_pixels() / 1e6:.0f} megapixels; {_SMALLER}"
        )


def _upright(image: Image.Image) -> Image.Image:
    turn = _TURNS.get(orientation_of(image))
    return image if turn is None else image.transpose(turn)


def _pixels_of(image: Image.Image) -> NDArray[Any]:
    """The array of a decoded Pillow image in one of the shapes that :func:`to_rgb` knows."""
    file_format = getattr(image, "format", None)
    if "transparency" in image.info and image.mode in ("1", "L", "P", "RGB"):
        image = image.convert("RGBA")
    elif image.mode not in _PLAIN_MODES:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode == "RGB" and (cv2 := opencv()) is not None and (shared := shared_pixels(image)) is not None:
        pixels, kept = shared
        rgb: NDArray[np.uint8] = cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)
        del kept  # whose memory it was until here
        return rgb
    pixels = np.array(image)
    if image.mode == "I" and file_format in ("PNG", "PPM"):  # 16 bits in a 32 bit mode
        return pixels.astype(np.uint16)
    return pixels


def _decode_with_opencv(data: bytes) -> NDArray[Any] | None:
    """What Pillow lacks: TIFF with several float or 32 bit channels. None when OpenCV cannot read it either."""
    cv2 = opencv()
    if cv2 is None:
        return None
    try:
        pixels: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if pixels is None or pixels.ndim == 2:
        return pixels
    return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _register_heif() -> None:
    """HEIC photos need a package that the user installs; without it the reason names it."""
    try:
        heif = importlib.import_module("pillow_heif")
    except ImportError:
        return
    heif.register_heif_opener()
    _formats.cache_clear()


def _reason_damaged(error: Exception) -> str:
    text = str(error).lower()
    if "truncated" in text or isinstance(error, EOFError):
        return _TRUNCATED
    return f"damaged: {str(error) or type(error).__name__}; copy or download it again"


def _reason_not_an_image(data: bytes) -> str:
    """Say what the file holds instead of an image, when its first bytes tell."""
    head = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if data[4:8] == b"ftyp":
        if data[8:12] in _HEIF_BRANDS:
            return "HEIC photo; to read it: pip install pillow-heif"
        if data[8:12] in _AVIF_BRANDS:
            return _TRUNCATED
        return "this is a video, not an image"
    if head.startswith((b"\x1aE\xdf\xa3".lower(), b"\0\0\1\xba")) or (head[:4] == b"riff" and head[8:11] == b"avi"):
        return "this is a video, not an image"
    for start, what in _OTHER_KINDS:
        if head.startswith(start):
            return f"this is {what}, not an image"
    if not any(data):
        return f"damaged: {len(data)} zero bytes; copy or download it again"
    if data.startswith((*_TIFF_STARTS, b"RIFF", b"GIF8", b"BM")):
        return "damaged, or of a kind that cannot be read; save it again as PNG or JPEG"
    return "not an image of a known format; save it as PNG or JPEG"


_OTHER_KINDS = (
    (b"%pdf", "a PDF document"),
    (b"%!ps", "a PostScript drawing"),
    (b"pk\3\4", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML text"),
    (b"{", "a text file"),
    (b"version https://git-lfs", "a Git LFS pointer (run git lfs pull)"),
)
