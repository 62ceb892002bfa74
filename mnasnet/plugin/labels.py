"""Predictions as Ikomia shows them: graphics over the image, colours of classes, JSON values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from ikomia import core
from numpy.typing import NDArray

from mnasnet.classify import Prediction
from mnasnet.data.images import to_rgb
from mnasnet.draw import Box, LabelStyle, colour_of, draw_boxes, draw_labels, percent
from mnasnet.draw.text import ELLIPSIS, Text, shortened

DARK = [20, 20, 20, 255]  # on the light grey that Ikomia puts behind every text
MIN_FONT_PX = 8
FONT_SHARE = 0.035  # of the image's shorter side
LEAST_ROOM = 10  # letter sizes; in less, hardly a letter of a name would be left beside its percentage
CONFIDENCE_DIGITS = 4  # more would be noise


def rounded(pairs: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """``pairs`` for people who print them; labels are drawn from what is not rounded, since 0.99999 is not 100 %."""
    return [(name, round(confidence, CONFIDENCE_DIGITS)) for name, confidence in pairs]


def annotated(
    image: NDArray[Any],
    pairs: Sequence[tuple[str, float]],
    boxes: Sequence[Box] | None,
    style: LabelStyle,
) -> NDArray[np.uint8]:
    """A copy of ``image`` as RGB with labels: ``pairs`` for the whole image, or one of them at each of ``boxes``."""
    rgb = to_rgb(image)
    if boxes is None:
        return draw_labels(rgb, pairs, style)
    return draw_boxes(rgb, boxes, pairs, style)


def show_pairs(graphics: Any, layer: str, pairs: Sequence[tuple[str, float]], image_shape: tuple[int, ...]) -> None:
    """Make ``pairs``, one line each, the only content of an Ikomia graphics output, in a font that suits the image.

    STUDIO shows it, and Ikomia burns it into videos that it saves. Lines that do not fit below each other are left
    out, names that are too wide end in dots.
    """
    height, width = image_shape[:2]
    graphics.clear_data()
    graphics.set_new_layer(layer)
    graphics.set_image_index(0)
    font_px = max(MIN_FONT_PX, round(min(width, height) * FONT_SHARE))
    style = core.GraphicsTextProperty()
    style.font_size = font_px
    style.bold = True
    style.color = DARK
    step = round(font_px * 1.7)
    for index, (name, confidence) in enumerate(pairs[: max(1, height // step)]):
        line = _line(name, percent(confidence), font_px, width - 2 * font_px)
        # Ikomia takes the text's lower left corner when it burns text in
        graphics.add_text(line, float(font_px), float(step * (index + 1)), style)


def _line(name: str, number: str, font_px: int, room: int) -> str:
    """Both, the name shortened where they do not fit into ``room`` pixels; whole on a thumbnail, as STUDIO shows it.

    They are measured in a font wider than the one that Ikomia burns in, which has no ellipsis.
    """
    line = f"{name} {number}"
    if len(line) * font_px <= room or room < LEAST_ROOM * font_px:
        return line
    number_px = Text(f" {number}", font_px, is_bold=True).width
    return f"{shortened(name, font_px, room - number_px, is_bold=True).text.replace(ELLIPSIS, '...')} {number}"


def class_colors(names: Iterable[str]) -> list[list[int]]:
    """One RGB colour for each class, the same in boxes that Ikomia draws and in ours."""
    return [list(colour_of(name)) for name in names]


def confidence_text(confidence: float) -> str:
    """A confidence for a table: three decimals."""
    return f"{confidence:.3f}"


def as_dict(prediction: Prediction, threshold: float) -> dict[str, Any]:
    """Plain JSON values: what the label says and the classes behind it, whatever ``threshold`` makes of them."""
    return {
        "label": prediction.or_unknown(threshold).label,
        "confidence": round(prediction.confidence, CONFIDENCE_DIGITS),
        "top_k": [{"class": name, "confidence": confidence} for name, confidence in rounded(prediction.pairs)],
    }
