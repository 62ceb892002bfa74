"""Draws classes and boxes on images so that they can be read: on thumbnails and 4K frames, light and dark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mnasnet.draw.colours import BLACK, PALE, WHITE, Colour, colour_of
from mnasnet.draw.tags import Box, Edges, Tag, around, arranged
from mnasnet.draw.text import LabelStyle, Text, fit_rows, font_size, gap_of, percent, row_height
from mnasnet.errors import DataError

__all__ = ["Box", "LabelStyle", "colour_of", "draw_boxes", "draw_labels", "percent"]

_TEXT_SHARE = 0.55  # of the image's height that labels may cover, so that something of it stays to be seen
_PLATE = (12, 14, 18, 190)  # 75 %: over a white image, white text keeps a contrast of 9 to 1
_BAR = (79, 152, 255, 255)


def draw_labels(
    image: NDArray[np.uint8], lines: Sequence[tuple[str, float]], style: LabelStyle = "plate"
) -> NDArray[np.uint8]:
    """A copy of ``image``, H x W x 3 RGB, with ``lines`` of class name and confidence in its upper left corner.

    Letters grow with the image. Lines that would cover more than about half of its height are left out, the last
    ones first; names that are too wide end in an ellipsis. Where not a letter fits, nothing is drawn.
    Raises DataError when ``image`` is not RGB uint8.
    """
    drawn = _copy_of(image)
    if style == "none" or not lines:
        return drawn
    height, width = drawn.shape[:2]
    size = font_size(width, height)
    row = row_height(size)
    shown = lines[: max(1, int(_TEXT_SHARE * height / row))]
    pad = max(2, round(size * 0.4))
    margin = 0 if min(width, height) < 12 * size else pad
    rows = fit_rows(shown, size, width - 2 * pad - 2 * margin)
    if rows[0][0].is_empty or height < size:  # a plate without a letter would only hide the image
        return drawn
    plate = _plate_of(rows, [confidence for _, confidence in shown], size, pad, style)
    _blend(drawn, plate, margin, margin)
    return drawn


def draw_boxes(
    image: NDArray[np.uint8], boxes: Sequence[Box], labels: Sequence[tuple[str, float]], style: LabelStyle = "plate"
) -> NDArray[np.uint8]:
    """A copy of ``image``, H x W x 3 RGB, with a frame around each box and its class and confidence on top of it.

    A class always has the same colour. Labels stay inside the image; in a crowd they are smaller, and a line leads from
    a label that stands apart to its box. Where not a letter fits there is the frame alone. With style ``none`` frames
    and labels are both left out.
    Raises DataError when ``image`` is not RGB uint8 or there is not one label for each box.
    """
    if len(boxes) != len(labels):
        raise DataError(f"each box needs one label, got {len(boxes)} boxes and {len(labels)} labels")
    drawn = _copy_of(image)
    if style == "none":
        return drawn
    thickness = max(1, round(font_size(drawn.shape[1], drawn.shape[0]) / 7))
    for box, (name, _) in zip(boxes, labels, strict=True):
        _draw_frame(drawn, box, colour_of(name), thickness)
    tags = arranged(boxes, labels, drawn.shape)
    for tag in tags:  # after all frames, so that no frame crosses a line, and no line a label
        _draw_line(drawn, tag, max(1, thickness // 2))
    for tag in tags:
        _blend(drawn, tag.picture(style), tag.left, tag.top)
    return drawn


def _copy_of(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        shape = f"shape {image.shape} of {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
        raise DataError(f"drawing needs an RGB image, height x width x 3 of uint8, got {shape}; see images.to_rgb")
    return np.array(image, order="C")


def _plate_of(
    rows: list[tuple[Text, Text]], confidences: list[float], size: int, pad: int, style: LabelStyle
) -> Image.Image:
    """The block of labels as a picture with transparency: names left, percentages right, bars below."""
    gap = gap_of(size)
    row = row_height(size)
    inner = max(name.width + (gap + number.width if number.width else 0) for name, number in rows)
    plate = Image.new("RGBA", (inner + 2 * pad, row * len(rows) + pad), (0, 0, 0, 0))
    if style == "plate":
        pen = ImageDraw.Draw(plate)
        pen.rounded_rectangle((0, 0, plate.width - 1, plate.height - 1), radius=round(size * 0.3), fill=_PLATE)
        for rank, confidence in enumerate(confidences):
            _draw_bar(plate, confidence, pad, pad // 2 + (rank + 1) * row, inner, size)
    for rank, (name, number) in enumerate(rows):
        top = pad // 2 + rank * row - round(size * 0.08)  # leaves room for the bar below
        colour = WHITE if rank == 0 else PALE
        name.draw(plate, pad, top, row, colour, style)
        number.draw(plate, pad + inner - number.width, top, row, colour, style)
    return plate


def _draw_bar(plate: Image.Image, confidence: float, left: int, bottom: int, room: int, size: int) -> None:
    """A strip under a row, as long as the confidence is of ``room``."""
    share = min(max(confidence, 0.0), 1.0) if confidence == confidence else 0.0
    length = round(room * share)
    if length > 0:
        strip = Image.new("RGBA", (length, max(1, round(size * 0.11))), _BAR)
        plate.alpha_composite(strip, (left, bottom - strip.height))


def _draw_frame(drawn: NDArray[np.uint8], box: Box, colour: Colour, thickness: int) -> None:
    """The rectangle in its class colour between two dark lines, so that it shows on every background."""
    x, y, box_width, box_height = box
    left, top, right, bottom = round(x), round(y), round(x + box_width), round(y + box_height)
    halo = max(1, thickness // 3)
    _fill_frame(drawn, (left - halo, top - halo, right + halo, bottom + halo), thickness + 2 * halo, BLACK)
    _fill_frame(drawn, (left, top, right, bottom), thickness, colour)


def _fill_frame(drawn: NDArray[np.uint8], edges: Edges, thickness: int, colour: Colour) -> None:
    left, top, right, bottom = edges
    for x0, y0, x1, y1 in (
        (left, top, right, top + thickness),
        (left, bottom - thickness, right, bottom),
        (left, top, left + thickness, bottom),
        (right - thickness, top, right, bottom),
    ):
        drawn[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = colour


def _draw_line(drawn: NDArray[np.uint8], tag: Tag, thickness: int) -> None:
    """The line in the class colour between dark ones from a tag that stands apart to its box."""
    if tag.line is None:
        return
    left, top, right, bottom = around(tag.line)
    room = 2 * thickness
    left, top = max(left - room, 0), max(top - room, 0)
    layer = Image.new("RGBA", (right + room - left, bottom + room - top), (0, 0, 0, 0))
    ends = [(x - left, y - top) for x, y in tag.line]
    pen = ImageDraw.Draw(layer)
    pen.line(ends, fill=(*BLACK, 255), width=3 * thickness)
    pen.line(ends, fill=(*colour_of(tag.label), 255), width=thickness)
    _blend(drawn, layer, left, top)


def _blend(drawn: NDArray[np.uint8], layer: Image.Image, left: int, top: int) -> None:
    """Lay ``layer`` over ``drawn`` in place; only the pixels under it are touched."""
    left, top = max(left, 0), max(top, 0)
    part = drawn[top : top + layer.height, left : left + layer.width]
    if part.size == 0:
        return
    under = Image.fromarray(part).convert("RGBA")
    under.alpha_composite(layer.crop((0, 0, part.shape[1], part.shape[0])))
    part[...] = np.asarray(under)[..., :3]
