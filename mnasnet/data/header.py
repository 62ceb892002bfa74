"""What an image file says of itself before its pixels are decoded: size, mode and format."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

_log = logging.getLogger(__name__)

_EXIF_ORIENTATION = 0x0112
_LYING = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True, slots=True)
class Header:
    """``width`` and ``height`` in pixels of the upright image; ``mode`` and ``format`` as Pillow names them."""

    width: int
    height: int
    mode: str
    format: str

    @property
    def kind(self) -> str:
        """The mode in words."""
        return _KINDS.get(self.mode, self.mode)


_KINDS = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey with alpha",
    "P": "palette",
    "PA": "palette",
    "RGB": "RGB",
    "RGBA": "RGB with alpha",
    "CMYK": "CMYK",
    "I;16": "16-bit grey",
    "I;16B": "16-bit grey",
    "I;16L": "16-bit grey",
    "I": "32-bit grey",
    "F": "float grey",
}


def read_header(source: Path | bytes) -> Header | None:
    """The header of a file or of its content; None where only decoding can tell, or nothing can.

    Pillow raises nearly every kind of error on damaged files; why a file is unreadable is for decoding to say.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            width, height = image.size
            if orientation_of(image) in _LYING:
                width, height = height, width
            return Header(width, height, image.mode, image.format or "")
    except Exception:
        return None


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; that of an upright image where there is none."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception as error:  # damaged EXIF data say nothing about the pixels, which are fine
        _log.debug("EXIF data cannot be read: %s", error)
        return 1
