"""The colours of labels: one for each class, the same in every picture and run."""

from __future__ import annotations

import colorsys
import zlib

from mnasnet.words import UNKNOWN

Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
PALE: Colour = (222, 226, 230)
BLACK: Colour = (0, 0, 0)
GREY: Colour = (158, 163, 170)


def colour_of(label: str) -> Colour:
    """The colour that stands for a class: bright, and the same in every picture and run; grey for ``unknown``."""
    if label == UNKNOWN:
        return GREY
    hue = zlib.crc32(label.encode("utf-8", "surrogatepass")) % 360 / 360
    red, green, blue = colorsys.hls_to_rgb(hue, 0.55, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def luminance(colour: Colour) -> float:
    """Relative luminance, 0 to 1, as WCAG 2 defines it."""
    linear = [(c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
