"""Where the tags of boxes stand: at their boxes, clear of each other, in a crowd smaller and with lines to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnasnet.draw.colours import BLACK, WHITE, colour_of, luminance
from mnasnet.draw.text import MIN_FONT_PX, LabelStyle, Text, fit_rows, font_size, gap_of, row_height

Box = tuple[float, float, float, float]  # x, y of the left upper corner, width, height in pixels
Edges = tuple[int, int, int, int]  # left, top, right, bottom in pixels
Line = tuple[tuple[int, int], tuple[int, int]]  # x and y of both ends in pixels

_ROWS_AWAY = 4  # heights of a tag; further from its box nobody would look for it
_SMALLER = 0.8  # from one letter size to the next that is tried in a crowd
_SMALLEST_SHARE = 1 / 3  # of the usual letter size
_HIDDEN_SHARE = 0.25  # of a box under a tag; of more nobody would see what is in it
_STRAY_SHARE = 0.1  # of another box under a tag; the tag looks like that one's if it is more
_CLEAR, _CROSSED, _COVERS = range(3)  # a tag's trouble: none; some of a line or of another box under it; more


@dataclass(frozen=True, slots=True)
class Tag:
    """Class and confidence of one box, the place of their plate, and both ends of the line to a box that is apart."""

    box: Box
    label: str
    name: Text
    number: Text
    size: int
    left: int = 0
    top: int = 0
    line: Line | None = None

    @property
    def width(self) -> int:
        """Of the plate, in pixels."""
        return self._offset + self.number.width + 2 * self._pad

    @property
    def height(self) -> int:
        """Of the plate, in pixels."""
        return row_height(self.size)

    @property
    def edges(self) -> Edges:
        """Of the plate at its place."""
        return self.left, self.top, self.left + self.width, self.top + self.height

    @property
    def _pad(self) -> int:
        return _tag_pad(self.size)

    @property
    def _offset(self) -> int:
        """Where the percentage begins, from the beginning of the name."""
        return self.name.width + (gap_of(self.size) // 2 if self.number.width else 0)

    def picture(self, style: LabelStyle) -> Image.Image:
        """The tag with transparency."""
        picture = Image.new("RGBA", (self.width, self.height), (0, 0, 0, 0))
        ink = colour_of(self.label)
        if style == "plate":
            picture.paste((*ink, 235), (0, 0, *picture.size))
            ink = BLACK if luminance(ink) > 0.18 else WHITE  # 0.18: black and white have the same contrast there
        self.name.draw(picture, self._pad, 0, self.height, ink, style)
        self.number.draw(picture, self._pad + self._offset, 0, self.height, ink, style)
        return picture


def _tag_pad(size: int) -> int:
    return max(2, round(size * 0.3))


def arranged(boxes: Sequence[Box], labels: Sequence[tuple[str, float]], image_shape: tuple[int, ...]) -> list[Tag]:
    """The tags of all boxes in the largest letters in which they are clear.

    Where no letters are small enough for that, some lines to boxes run under other tags; in a worse crowd the tags are
    as small as may be.
    """
    usual = size = font_size(image_shape[1], image_shape[0])
    smallest = min(usual, max(MIN_FONT_PX, round(_SMALLEST_SHARE * usual)))
    crossed: list[Tag] = []
    while True:
        allowed = _COVERS if size == smallest and not crossed else _CROSSED
        tags, trouble = _in_letters(boxes, labels, size, image_shape, allowed)
        if trouble == _CLEAR:
            return tags
        if trouble == _CROSSED and not crossed:
            crossed = tags
        if size == smallest:
            return crossed or tags
        size = max(smallest, round(_SMALLER * size))


def _in_letters(
    boxes: Sequence[Box], labels: Sequence[tuple[str, float]], size: int, image_shape: tuple[int, ...], allowed: int
) -> tuple[list[Tag], int]:
    """The tags in letters of ``size``, but those without a letter of the name; and the worst trouble of them.

    They end at the first with more trouble than is ``allowed``.
    """
    height, width = image_shape[:2]
    frames = np.array([(x, y, x + wide, y + high) for x, y, wide, high in boxes], float).reshape(-1, 4)
    taken = np.zeros((2 * len(frames), 4))  # by the tags placed so far and by their lines, in turn
    tags: list[Tag] = []
    worst = _CLEAR
    for box, label in zip(boxes, labels, strict=True):
        ((name, number),) = fit_rows([label], size, width - 2 * _tag_pad(size))
        if name.is_empty or height < size:
            continue
        earlier = taken[: 2 * len(tags)]
        tag, trouble = _placed(Tag(box, label[0], name, number, size), image_shape, frames, earlier[::2], earlier[1::2])
        taken[2 * len(tags) : 2 * len(tags) + 2] = tag.edges, around(tag.line)
        tags.append(tag)
        worst = max(worst, trouble)
        if worst > allowed:
            break
    return tags, worst


def _placed(
    tag: Tag, image_shape: tuple[int, ...], frames: NDArray[Any], tags: NDArray[Any], tag_lines: NDArray[Any]
) -> tuple[Tag, int]:
    """``tag`` at the first place at its box, or near it, on no earlier tag and over no small object; and its trouble.

    Where there is none, in a crowd, lines of tags are crossed, then small objects covered, and at last as little as
    possible of other tags. ``frames`` are all boxes, ``tags`` and ``tag_lines`` what earlier ones take up, N x 4 edges.
    """
    x, y, box_width, box_height = tag.box
    width, height = tag.width, tag.height
    places = list(dict.fromkeys(_places(tag.box, (width, height), image_shape)))
    found = [(left, top, left + width, top + height) for left, top in places]
    seen = _inside((round(x), round(y), round(x + box_width), round(y + box_height)), image_shape)
    to_box = [_line_between(one, seen) for one in found]
    edges, lines = _edges(found), _edges([around(line) for line in to_box])
    reach = np.vstack([edges, lines[lines.any(axis=1)]])
    frames, tags, tag_lines = (_near(reach, others) for others in (frames, tags, tag_lines))
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


def around(line: Line | None) -> Edges:
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


def _near(edges: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """Those of ``others`` that meet the rectangle around all of ``edges``: in a crowd most are far away."""
    (left, top), (right, bottom) = edges[:, :2].min(axis=0), edges[:, 2:].max(axis=0)
    is_near = (others[:, 0] < right) & (others[:, 2] > left) & (others[:, 1] < bottom) & (others[:, 3] > top)
    near: NDArray[Any] = others[is_near]
    return near


def _shared_areas(edges: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """How much each rectangle of ``edges``, N x 4, shares with each of ``others``, M x 4: N x M."""
    left, top, right, bottom = edges.T[:, :, None]
    wide = np.minimum(right, others[:, 2]) - np.maximum(left, others[:, 0])
    high = np.minimum(bottom, others[:, 3]) - np.maximum(top, others[:, 1])
    shared: NDArray[Any] = np.maximum(wide, 0) * np.maximum(high, 0)
    return shared
