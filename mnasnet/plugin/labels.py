"""Predictions as Ikomia shows them: graphics over the image, colours of classes, JSON values."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from ikomia import core
from numpy.typing import NDArray

from mnasnet.classify import UNKNOWN, Prediction
from mnasnet.data.images import to_rgb

DARK = [20, 20, 20, 255]  # on the light grey that Ikomia puts behind every text
MIN_FONT_PX = 8
FONT_SHARE = 0.035  # of the image's height


def shown_pairs(prediction: Prediction) -> list[tuple[str, float]]:
    """Each class to show with its confidence, most likely first; nothing but ``unknown`` when that is the label."""
    if prediction.label == UNKNOWN:
        return [(UNKNOWN, prediction.confidence)]
    return list(zip(prediction.names, prediction.confidences, strict=True))


def annotated(
    image: NDArray[Any], predictions: Sequence[Prediction], boxes: Sequence[tuple[int, int, int, int]] | None = None
) -> NDArray[np.uint8]:
    """A copy of ``image`` as RGB with the labels drawn: of the whole image, or one at each of ``boxes``."""
    from mnasnet.draw import draw_boxes, draw_labels

    rgb = to_rgb(image)
    if boxes is None:
        return draw_labels(rgb, shown_pairs(predictions[0]))
    return draw_boxes(rgb, boxes, [shown_pairs(prediction)[0] for prediction in predictions])


def show_pairs(graphics: Any, layer: str, pairs: list[tuple[str, float]], image_height: int) -> None:
    """Make ``pairs``, one line each, the only content of an Ikomia graphics output, in a font that suits the image.

    Lines that do not fit below each other are left out.
    """
    graphics.clear_data()
    graphics.set_new_layer(layer)
    graphics.set_image_index(0)
    font_px = max(MIN_FONT_PX, round(image_height * FONT_SHARE))
    style = core.GraphicsTextProperty()
    style.font_size = font_px
    style.bold = True
    style.color = DARK
    step = round(font_px * 1.7)
    for index, (name, confidence) in enumerate(pairs[: max(1, image_height // step)]):
        # Ikomia takes the text's lower left corner when it burns text in
        graphics.add_text(f"{name} {confidence:.1%}", float(font_px), float(step * (index + 1)), style)


def class_colors(count: int) -> list[list[int]]:
    """One RGB colour for each class, neighbours far apart, the same at every start."""
    golden = 0.618034  # steps of the golden ratio spread hues evenly for any count
    colors = (colorsys.hsv_to_rgb(index * golden % 1, 0.75, 0.9) for index in range(count))
    return [[round(255 * channel) for channel in color] for color in colors]


def confidence_text(confidence: float) -> str:
    """A confidence for a table: three decimals."""
    return f"{confidence:.3f}"


def as_dict(prediction: Prediction, threshold: float) -> dict[str, Any]:
    """Plain JSON values: what the label says and the classes behind it, whatever ``threshold`` makes of them."""
    return {
        "label": prediction.or_unknown(threshold).label,
        "confidence": round(prediction.confidence, 4),
        "top_k": [
            {"class": name, "confidence": round(confidence, 4)}
            for name, confidence in zip(prediction.names, prediction.confidences, strict=True)
        ],
    }
