"""Draws classes and boxes on images so that they can be read: on thumbnails and 4K frames, light and dark, any script.

Pillow draws; fonts come from Matplotlib's DejaVu, the same on every machine, and from the machine's own fonts for
the scripts that DejaVu lacks.
"""

from __future__ import annotations

import colorsys
import functools
import importlib.util
import logging
import os
import struct
import sys
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mnasnet.errors import DataError
from mnasnet.words import UNKNOWN

_log = logging.getLogger(__name__)

LabelStyle = Literal["plate", "outline", "none"]
"""``plate`` lays a dark translucent plate under the text, ``outline`` rings the letters, ``none`` draws nothing."""

MIN_FONT_PX = 11  # smaller letters cannot be told apart
_FONT_SHARE = 0.036  # of the image's shorter side
_TEXT_SHARE = 0.55  # of the image's height that labels may cover, so that something of it stays to be seen

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]  # x, y of the left upper corner, width, height in pixels
Edges = tuple[int, int, int, int]  # left, top, right, bottom in pixels
Line = tuple[tuple[int, int], tuple[int, int]]  # x and y of both ends in pixels
_WHITE: Colour = (255, 255, 255)
_PALE: Colour = (222, 226, 230)
_BLACK: Colour = (0, 0, 0)
_GREY: Colour = (158, 163, 170)
_PLATE = (12, 14, 18, 190)  # 75 %: over a white image, white text keeps a contrast of 9 to 1
_BAR = (79, 152, 255, 255)
_ELLIPSIS = "…"
_ROWS_AWAY = 4  # heights of a tag; further from its box nobody would look for it
_FEW_LETTERS = 4  # letter sizes; a name cut to less cannot be guessed
_SMALLER = 0.8  # from one letter size to the next that is tried in a crowd
_SMALLEST_SHARE = 1 / 3  # of the usual letter size
_HIDDEN_SHARE = 0.25  # of a box under a tag; of more nobody would see what is in it
_STRAY_SHARE = 0.1  # of another box under a tag; the tag looks like that one's if it is more
_CLEAR, _CROSSED, _COVERS = range(3)  # a tag's trouble: none; some of a line or of another box under it; more
_MISSING = "□"


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
    size = _font_size(width, height)
    row = _row_height(size)
    shown = lines[: max(1, int(_TEXT_SHARE * height / row))]
    pad = max(2, round(size * 0.4))
    margin = 0 if min(width, height) < 12 * size else pad
    rows = _fit_rows(shown, size, width - 2 * pad - 2 * margin)
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
    thickness = max(1, round(_font_size(drawn.shape[1], drawn.shape[0]) / 7))
    for box, (name, _) in zip(boxes, labels, strict=True):
        _draw_frame(drawn, box, colour_of(name), thickness)
    tags = _arranged(boxes, labels, drawn.shape)
    for tag in tags:  # after all frames, so that no frame crosses a line, and no line a label
        _draw_line(drawn, tag, max(1, thickness // 2))
    for tag in tags:
        _blend(drawn, tag.picture(style), tag.left, tag.top)
    return drawn


def percent(confidence: float) -> str:
    """A confidence as people read it: 97%, 4%, <1%; never 100% for what is not certain."""
    if 0 < confidence < 0.005:
        return "<1%"
    if 0.995 <= confidence < 1:
        return ">99%"
    return f"{confidence:.0%}"


def colour_of(label: str) -> Colour:
    """The colour that stands for a class: bright, and the same in every picture and run; grey for ``unknown``."""
    if label == UNKNOWN:
        return _GREY
    hue = zlib.crc32(label.encode("utf-8", "surrogatepass")) % 360 / 360
    red, green, blue = colorsys.hls_to_rgb(hue, 0.55, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def _copy_of(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        shape = f"shape {image.shape} of {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
        raise DataError(f"drawing needs an RGB image, height x width x 3 of uint8, got {shape}; see images.to_rgb")
    return np.array(image, order="C")


def _font_size(width: int, height: int) -> int:
    """Letter size in pixels: readable on a thumbnail, in proportion on a large frame, never larger than the image."""
    short = min(width, height)
    return max(4, min(max(MIN_FONT_PX, round(_FONT_SHARE * short)), int(short * 0.6)))


def _row_height(size: int) -> int:
    return round(size * 1.5)


def _gap(size: int) -> int:
    """Space between a name and its percentage."""
    return round(size * 0.6)


def _fit_rows(lines: Sequence[tuple[str, float]], size: int, room: int) -> list[tuple[_Text, _Text]]:
    """Name and percentage of each line, the names shortened so that both fit into ``room`` pixels.

    The name counts more: a percentage yields to a name that is whole without it, or that would be left a few letters.
    """
    rows = []
    for rank, (name, confidence) in enumerate(lines):
        number = _Text(percent(confidence), size, is_bold=rank == 0)
        alone = _shortened(name, size, room, is_bold=rank == 0)
        beside = room - number.width - _gap(size)
        if alone.width <= beside:
            rows.append((alone, number))
        elif not alone.is_shortened or beside < _FEW_LETTERS * size:
            rows.append((alone, _Text("", size, is_bold=False)))
        else:
            rows.append((_shortened(name, size, beside, is_bold=rank == 0), number))
    return rows


def _plate_of(
    rows: list[tuple[_Text, _Text]], confidences: list[float], size: int, pad: int, style: LabelStyle
) -> Image.Image:
    """The block of labels as a picture with transparency: names left, percentages right, bars below."""
    gap = _gap(size)
    row = _row_height(size)
    inner = max(name.width + (gap + number.width if number.width else 0) for name, number in rows)
    plate = Image.new("RGBA", (inner + 2 * pad, row * len(rows) + pad), (0, 0, 0, 0))
    if style == "plate":
        pen = ImageDraw.Draw(plate)
        pen.rounded_rectangle((0, 0, plate.width - 1, plate.height - 1), radius=round(size * 0.3), fill=_PLATE)
        for rank, confidence in enumerate(confidences):
            _draw_bar(plate, confidence, pad, pad // 2 + (rank + 1) * row, inner, size)
    for rank, (name, number) in enumerate(rows):
        top = pad // 2 + rank * row - round(size * 0.08)  # leaves room for the bar below
        colour = _WHITE if rank == 0 else _PALE
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
    _fill_frame(drawn, (left - halo, top - halo, right + halo, bottom + halo), thickness + 2 * halo, _BLACK)
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


@dataclass(frozen=True, slots=True)
class _Tag:
    """Class and confidence of one box, the place of their plate, and both ends of the line to a box that is apart."""

    box: Box
    label: str
    name: _Text
    number: _Text
    size: int
    left: int = 0
    top: int = 0
    line: Line | None = None

    @property
    def width(self) -> int:
        return self._offset + self.number.width + 2 * self._pad

    @property
    def height(self) -> int:
        return _row_height(self.size)

    @property
    def edges(self) -> Edges:
        return self.left, self.top, self.left + self.width, self.top + self.height

    @property
    def _pad(self) -> int:
        return _tag_pad(self.size)

    @property
    def _offset(self) -> int:
        """Where the percentage begins, from the beginning of the name."""
        return self.name.width + (_gap(self.size) // 2 if self.number.width else 0)

    def picture(self, style: LabelStyle) -> Image.Image:
        """The tag with transparency."""
        picture = Image.new("RGBA", (self.width, self.height), (0, 0, 0, 0))
        ink = colour_of(self.label)
        if style == "plate":
            picture.paste((*ink, 235), (0, 0, *picture.size))
            ink = _BLACK if _luminance(ink) > 0.18 else _WHITE  # 0.18: black and white have the same contrast there
        self.name.draw(picture, self._pad, 0, self.height, ink, style)
        self.number.draw(picture, self._pad + self._offset, 0, self.height, ink, style)
        return picture


def _tag_pad(size: int) -> int:
    return max(2, round(size * 0.3))


def _arranged(boxes: Sequence[Box], labels: Sequence[tuple[str, float]], image_shape: tuple[int, ...]) -> list[_Tag]:
    """The tags of all boxes in the largest letters in which they are clear.

    Where no letters are small enough for that, some lines to boxes run under other tags; in a worse crowd the tags are
    as small as may be.
    """
    usual = size = _font_size(image_shape[1], image_shape[0])
    smallest = min(usual, max(MIN_FONT_PX, round(_SMALLEST_SHARE * usual)))
    crossed: list[_Tag] = []
    while True:
        tags, trouble = _in_letters(boxes, labels, size, image_shape)
        if trouble == _CLEAR:
            return tags
        if trouble == _CROSSED and not crossed:
            crossed = tags
        if size == smallest:
            return crossed or tags
        size = max(smallest, round(_SMALLER * size))


def _in_letters(
    boxes: Sequence[Box], labels: Sequence[tuple[str, float]], size: int, image_shape: tuple[int, ...]
) -> tuple[list[_Tag], int]:
    """The tags in letters of ``size``, but those without a letter of the name; and the worst trouble of them."""
    height, width = image_shape[:2]
    frames = np.array([(x, y, x + wide, y + high) for x, y, wide, high in boxes], float).reshape(-1, 4)
    tags: list[_Tag] = []
    worst = _CLEAR
    for box, label in zip(boxes, labels, strict=True):
        ((name, number),) = _fit_rows([label], size, width - 2 * _tag_pad(size))
        if name.is_empty or height < size:
            continue
        tag, trouble = _placed(_Tag(box, label[0], name, number, size), image_shape, frames, tags)
        tags.append(tag)
        worst = max(worst, trouble)
    return tags, worst


def _placed(tag: _Tag, image_shape: tuple[int, ...], frames: NDArray[Any], earlier: Sequence[_Tag]) -> tuple[_Tag, int]:
    """``tag`` at the first place at its box, or near it, on no earlier tag and over no small object; and its trouble.

    Where there is none, in a crowd, lines of tags are crossed, then small objects covered, and at last as little as
    possible of other tags.
    """
    x, y, box_width, box_height = tag.box
    width, height = tag.width, tag.height
    places = list(dict.fromkeys(_places(tag.box, (width, height), image_shape)))
    found = [(left, top, left + width, top + height) for left, top in places]
    seen = _inside((round(x), round(y), round(x + box_width), round(y + box_height)), image_shape)
    to_box = [_line_between(one, seen) for one in found]
    edges, lines = _edges(found), _edges([_around(line) for line in to_box])
    tags, tag_lines = _edges([other.edges for other in earlier]), _edges([_around(other.line) for other in earlier])
    on_tags = _shared_areas(edges, tags).sum(axis=1)
    sizes = (frames[:, 2:] - frames[:, :2]).prod(axis=1)
    on_frames = _shared_areas(edges, frames)
    hides = (on_frames > sizes * _HIDDEN_SHARE).any(axis=1)
    own = (frames == (x, y, x + box_width, y + box_height)).all(axis=1)
    crossed = (on_frames > sizes * _STRAY_SHARE)[:, ~own].any(axis=1)
    crossed |= (_shared_areas(lines, tags) > 0).any(axis=1) | (_shared_areas(edges, tag_lines) > 0).any(axis=1)
    best = int(np.lexsort((crossed, hides, on_tags))[0])  # stable: the first of equal ones
    covers = on_tags[best] > 0 or hides[best]
    placed = replace(tag, left=places[best][0], top=places[best][1], line=to_box[best])
    return placed, _COVERS if covers else _CROSSED if crossed[best] else _CLEAR


def _inside(edges: Edges, image_shape: tuple[int, ...]) -> Edges:
    """The part of a rectangle that lies in the image, or what of the image is next to it."""
    height, width = image_shape[:2]
    left, top, right, bottom = edges
    return min(max(left, 0), width), min(max(top, 0), height), min(max(right, 0), width), min(max(bottom, 0), height)


def _line_between(tag: Edges, box: Edges) -> Line | None:
    """The shortest line from a tag to its box; None where the tag stands at it."""
    across = _nearest(tag[0], tag[2], box[0], box[2])
    along = _nearest(tag[1], tag[3], box[1], box[3])
    if max(abs(across[0] - across[1]), abs(along[0] - along[1])) < (tag[3] - tag[1]) // 2:
        return None
    return (across[0], along[0]), (across[1], along[1])


def _nearest(low: int, high: int, other_low: int, other_high: int) -> tuple[int, int]:
    """The points of two ranges that are next to each other; the middle of what they share."""
    if high < other_low:
        return high, other_low
    if other_high < low:
        return low, other_high
    middle = (max(low, other_low) + min(high, other_high)) // 2
    return middle, middle


def _around(line: Line | None) -> Edges:
    """What a line takes up; nothing where there is none."""
    if line is None:
        return 0, 0, 0, 0
    (x, y), (other_x, other_y) = line
    wide, high = int(x == other_x), int(y == other_y)  # so that it has an area
    return min(x, other_x) - wide, min(y, other_y) - high, max(x, other_x) + wide, max(y, other_y) + high


def _edges(rectangles: Sequence[Edges]) -> NDArray[Any]:
    return np.array(rectangles, float).reshape(-1, 4)


def _places(box: Box, tag: tuple[int, int], image_shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Above the box, inside it, below it, beside it, then rows further away, all moved into the image."""
    x, y, right, bottom = (round(edge) for edge in (box[0], box[1], box[0] + box[2], box[1] + box[3]))
    width, height = tag
    over, inside, columns = y - height, [y, bottom - height], [x, right - width]
    tops = [over, *inside, bottom] if over >= 0 else [*inside, bottom]
    places = [(left, top) for left in columns for top in tops]
    places += [(left, top) for left in (right, x - width) for top in inside]
    for row in range(1, _ROWS_AWAY + 1):
        tops = [over - row * height, bottom + row * height]
        places += [(left, top) for left in (*columns, right, x - width) for top in tops]
    for left, top in places:
        yield (
            min(max(left, 0), max(image_shape[1] - width, 0)),
            min(max(top, 0), max(image_shape[0] - height, 0)),
        )


def _shared_areas(edges: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """How much each rectangle of ``edges``, N x 4, shares with each of ``others``, M x 4: N x M."""
    left, top, right, bottom = edges.T[:, :, None]
    wide = np.minimum(right, others[:, 2]) - np.maximum(left, others[:, 0])
    high = np.minimum(bottom, others[:, 3]) - np.maximum(top, others[:, 1])
    shared: NDArray[Any] = np.maximum(wide, 0) * np.maximum(high, 0)
    return shared


def _draw_line(drawn: NDArray[np.uint8], tag: _Tag, thickness: int) -> None:
    """The line in the class colour between dark ones from a tag that stands apart to its box."""
    if tag.line is None:
        return
    left, top, right, bottom = _around(tag.line)
    room = 2 * thickness
    left, top = max(left - room, 0), max(top - room, 0)
    layer = Image.new("RGBA", (right + room - left, bottom + room - top), (0, 0, 0, 0))
    ends = [(x - left, y - top) for x, y in tag.line]
    pen = ImageDraw.Draw(layer)
    pen.line(ends, fill=(*_BLACK, 255), width=3 * thickness)
    pen.line(ends, fill=(*colour_of(tag.label), 255), width=thickness)
    _blend(drawn, layer, left, top)


def _luminance(colour: Colour) -> float:
    """Relative luminance, 0 to 1, as WCAG 2 defines it."""
    linear = [(c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _blend(drawn: NDArray[np.uint8], layer: Image.Image, left: int, top: int) -> None:
    """Lay ``layer`` over ``drawn`` in place; only the pixels under it are touched."""
    left, top = max(left, 0), max(top, 0)
    part = drawn[top : top + layer.height, left : left + layer.width]
    if part.size == 0:
        return
    under = Image.fromarray(part).convert("RGBA")
    under.alpha_composite(layer.crop((0, 0, part.shape[1], part.shape[0])))
    part[...] = np.asarray(under)[..., :3]


def _shortened(text: str, size: int, room: int, *, is_bold: bool) -> _Text:
    """``text``, or as much of its beginning as fits into ``room`` pixels, with an ellipsis."""
    text = " ".join(text.split()) or "?"
    whole = _Text(text, size, is_bold=is_bold)
    if whole.width <= room:
        return whole
    clusters = list(_clusters(text))
    low, high = 0, len(clusters)  # the longest beginning that fits lies in low..high
    while low < high:
        middle = (low + high + 1) // 2
        candidate = _Text("".join(clusters[:middle]).rstrip() + _ELLIPSIS, size, is_bold=is_bold)
        low, high = (middle, high) if candidate.width <= room else (low, middle - 1)
    return _Text("".join(clusters[:low]).rstrip() + _ELLIPSIS, size, is_bold=is_bold)


def _clusters(text: str) -> Iterator[str]:
    """Characters as people see them: a letter with its marks, an emoji with its parts."""
    cluster = ""
    for character in text:
        if cluster and not (_belongs_to_previous(character) or cluster[-1] == "\u200d"):
            yield cluster
            cluster = ""
        cluster += character
    if cluster:
        yield cluster


def _belongs_to_previous(character: str) -> bool:
    return (
        unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf") or "\U0001f3fb" <= character <= "\U0001f3ff"
    )  # the range holds the skin tones


class _Text:
    """One line of text, split into runs that one font each can draw."""

    def __init__(self, text: str, size: int, *, is_bold: bool) -> None:
        self.is_shortened = text.endswith(_ELLIPSIS)
        self.is_empty = text == _ELLIPSIS  # nothing of the name is left
        self._size = size
        self._runs = [(part, _font(path, size)) for part, path in _runs(text, is_bold)]
        self._widths = [font.width(part) for part, font in self._runs]
        self.width = round(sum(self._widths))

    def draw(self, layer: Image.Image, left: float, top: int, height: int, colour: Colour, style: LabelStyle) -> None:
        """Draw on an RGBA ``layer``, the line's middle in the middle of ``top`` to ``top + height``."""
        baseline = top + round((height + self._size * 0.72) / 2)  # capitals are 0.72 of the size high
        for (part, font), width in zip(self._runs, self._widths, strict=True):
            font.draw(layer, part, round(left), baseline, colour, self._ring(style))
            left += width

    def _ring(self, style: LabelStyle) -> int:
        return max(1, round(self._size * 0.1)) if style == "outline" else 0


class _Font:
    """A font at a size in pixels; colour bitmap fonts, which have one size only, are scaled."""

    def __init__(self, path: str, size: int) -> None:
        self._scale = 1.0
        if not path:
            self._font: Any = ImageFont.load_default(size)  # Pillow's own, for machines without Matplotlib
            return
        try:
            self._font = ImageFont.truetype(path, size)
        except OSError:  # "invalid pixel size": a bitmap font
            self._font, self._scale = _bitmap_font(path, size)

    def width(self, text: str) -> float:
        return float(self._font.getlength(text)) * self._scale

    def draw(self, layer: Image.Image, text: str, left: int, baseline: int, colour: Colour, ring: int) -> None:
        ring_colour = _BLACK if _luminance(colour) > 0.18 else _WHITE
        if self._scale == 1.0:
            ImageDraw.Draw(layer).text(
                (left, baseline),
                text,
                fill=(*colour, 255),
                font=self._font,
                anchor="ls",
                stroke_width=ring,
                stroke_fill=(*ring_colour, 255),
                embedded_color=ring == 0,
            )
            return
        ascent, descent = self._font.getmetrics()
        large = Image.new("RGBA", (max(1, round(self._font.getlength(text))), ascent + descent), (0, 0, 0, 0))
        ImageDraw.Draw(large).text((0, ascent), text, font=self._font, anchor="ls", embedded_color=True)
        small = large.resize((max(1, round(large.width * self._scale)), max(1, round(large.height * self._scale))))
        top = baseline - round(ascent * self._scale)
        layer.alpha_composite(small, (left, max(0, top)), (0, max(0, -top)))


@functools.lru_cache(maxsize=256)
def _font(path: str, size: int) -> _Font:
    return _Font(path, size)


def _bitmap_font(name: str, size: int) -> tuple[Any, float]:
    """An emoji font at the one size it has: 109 Noto, 136 newer Noto, 160 and less Apple."""
    for strike in (109, 136, 128, 160, 96, 64, 52, 48, 40, 32, 26, 20):
        try:
            return ImageFont.truetype(name, strike), size / strike
        except OSError:
            continue
    _log.warning("font %s cannot be used at any size", name)
    return ImageFont.load_default(size), 1.0


def _runs(text: str, is_bold: bool) -> list[tuple[str, str]]:
    """Parts of ``text`` with the font file of each; a font that has all of it is preferred to several."""
    main = _main_font(is_bold)
    if text.isascii():
        return [(text, main)]
    characters = {ord(character) for character in text if not _is_invisible(character)}
    if characters <= _code_points(main):
        return [(text, main)]
    for path in dict.fromkeys(_font_for(chr(code), is_bold) for code in sorted(characters, reverse=True)):
        if path is not None and characters <= _code_points(path):
            return [(text, path)]
    return _mixed_runs(text, is_bold)


def fonts_beside_main(text: str) -> list[str]:
    """Font files of this machine for what of ``text`` the main font, DejaVu Sans, lacks."""
    found = [_font_for(character, is_bold=False) for character in text]
    return [path for path in dict.fromkeys(found) if path and path != _main_font(is_bold=False)]


def _mixed_runs(text: str, is_bold: bool) -> list[tuple[str, str]]:
    runs: list[tuple[str, str]] = []
    for cluster in _clusters(text):
        path = _font_for(cluster[0], is_bold)
        if path is None:
            cluster, path = _MISSING, _main_font(is_bold)
        if runs and runs[-1][1] == path:
            runs[-1] = (runs[-1][0] + cluster, runs[-1][1])
        else:
            runs.append((cluster, path))
    return runs


@functools.lru_cache(maxsize=4096)
def _font_for(character: str, is_bold: bool) -> str | None:
    """The first font with a glyph for ``character``; without any, that is logged once per character."""
    if _is_invisible(character) or ord(character) in _code_points(_main_font(is_bold)):
        return _main_font(is_bold)
    for path in _machine_fonts(is_emoji=_is_emoji(character)):
        if ord(character) in _code_points(path):
            return path
    _warn_missing(character)
    return None


_reported_scripts: set[str] = set()  # each is said once


def _warn_missing(character: str) -> None:
    script = "emoji" if _is_emoji(character) else unicodedata.name(character, "unnamed").split()[0].lower()
    if script in _reported_scripts:
        return
    _reported_scripts.add(script)
    _log.warning(
        "no font on this machine draws %s characters such as %s (U+%04X), %s stands for them; "
        "install a font that does, for example from the Noto family",
        script,
        character if character.isprintable() else ascii(character),
        ord(character),
        _MISSING,
    )


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cf", "Zs", "Mn", "Cc") or "\ufe00" <= character <= "\ufe0f"


def _is_emoji(character: str) -> bool:
    return character >= "\U0001f000" or "\u2600" <= character <= "\u27bf"


@functools.cache
def _main_font(is_bold: bool) -> str:
    """DejaVu Sans: Latin, Greek, Cyrillic, Arabic, Hebrew and many signs. An empty text stands for Pillow's own."""
    name = "DejaVuSans-Bold.ttf" if is_bold else "DejaVuSans.ttf"
    package = importlib.util.find_spec("matplotlib")  # found, not imported
    folders = [Path(package.origin).parent / "mpl-data/fonts/ttf"] if package and package.origin else []
    for folder in [*folders, Path("/usr/share/fonts/truetype/dejavu")]:
        if (folder / name).is_file():
            return str(folder / name)
    return ""


@functools.lru_cache(maxsize=32)
def _code_points(path: str) -> frozenset[int]:
    """What a font has glyphs for; nothing when it cannot be read."""
    if not path:
        return frozenset(range(0x20, 0x17F))  # Pillow's own font: Latin
    from fontTools.ttLib import TTFont, TTLibError  # type: ignore[import-untyped]  # late: names beyond ASCII only

    try:
        with TTFont(path, fontNumber=0, lazy=True) as font:
            return frozenset(font.getBestCmap() or ())
    except (TTLibError, OSError, KeyError, ValueError, AssertionError, struct.error) as error:
        _log.debug("font %s cannot be read: %s", path, error)
        return frozenset()


def _machine_fonts(*, is_emoji: bool) -> list[str]:
    """Font files of this machine, the likely ones first: upright regular sans serif of a known family."""
    emoji_last = 0 if is_emoji else 1
    return sorted(_font_files(), key=lambda path: (_rank(Path(path).stem.lower(), emoji_last), path))


@functools.cache
def _font_files() -> frozenset[str]:
    return frozenset(
        str(file)
        for folder in _font_folders()
        for parent, _, names in os.walk(folder)
        for file in (Path(parent) / name for name in names)
        if file.suffix.lower() in (".ttf", ".otf", ".ttc", ".otc") and "lastresort" not in file.name.lower()
    )


def _font_folders() -> list[Path]:
    home = Path.home()
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA", home / "AppData/Local"))
        return [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts", local / "Microsoft/Windows/Fonts"]
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), data / "fonts", home / ".fonts"]


# Families with wide coverage on Linux, Windows and macOS, the better looking first.
_FAMILIES = (
    "notosanscjk", "notosans", "msyh", "yugoth", "meiryo", "malgun", "msjh", "pingfang", "hiragino", "applesdgothic",
    "segoeui", "nirmala", "leelaw", "wqy", "droidsansfallback", "unifont",
)  # fmt: skip
_UNWANTED = ("bold", "italic", "oblique", "mono", "serif", "black", "light", "thin", "condensed")


def _rank(stem: str, emoji_last: int) -> tuple[int, int, int]:
    is_emoji_font = "emoji" in stem or stem == "seguiemj"
    family = next((place for place, family in enumerate(_FAMILIES) if family in stem), len(_FAMILIES))
    return (emoji_last if is_emoji_font else 1 - emoji_last, sum(word in stem for word in _UNWANTED), family)
