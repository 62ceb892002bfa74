"""The objects that another task found in the image: which of them are classified, and with which pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ikomia import core
from numpy.typing import NDArray

MIN_BOX_SIDE_PX = 2
OWN_GRAPHICS_INPUT = "GraphicsInput"  # Ikomia's name of the empty graphics input with which it creates a task
CONNECTED_GRAPHICS = "GraphicsOutput"  # Ikomia's name of the graphics that another task hands over
NO_OBJECTS_MEANT = "WholeImage"  # our name of them when a task of ours named the whole image
_LINES = (core.CGraphicsPoint, core.CGraphicsPolyline)
_POLYGONS = (core.CGraphicsPolygon, core.CGraphicsComplexPolygon)


def has_detector(task: Any) -> bool:
    """Whether another task feeds this one's graphics input with objects, be they none.

    Ikomia's ``is_whole_image_classification`` cannot tell a detector that found nothing from no detector.
    """
    graphics = task.get_input(1)
    return graphics is not None and graphics.name not in (OWN_GRAPHICS_INPUT, NO_OBJECTS_MEANT)


def announce_objects(task: Any, *, has_objects: bool) -> None:
    """Tell a following task of ours whether this classification task names objects or the whole image.

    Ikomia connects the objects output of one classification task to the next one, which would otherwise look as
    if a detector had found nothing.
    """
    task.get_output(1).get_graphics_io().name = CONNECTED_GRAPHICS if has_objects else NO_OBJECTS_MEANT


@dataclass(frozen=True, slots=True)
class InputObject:
    """An object to classify: Ikomia's graphics item, its box inside the image and the pixels of that box.

    ``box`` is left, top, width, height in whole pixels; ``pixels`` is a view, H x W x 3.
    """

    item: Any
    box: tuple[int, int, int, int]
    pixels: NDArray[np.uint8]


def input_objects(items: Iterable[Any], image: NDArray[np.uint8]) -> list[InputObject]:
    """The objects of ``items`` that lie in ``image``, boxes clipped at all four sides; slivers are left out.

    Ikomia's ``get_object_sub_image`` returns the whole image for images that came as arrays, and shifts a box that
    starts outside instead of clipping it.
    """
    objects = []
    for item in items:
        box = clipped_box(item.get_bounding_rect(), image.shape[1], image.shape[0])
        if box is not None:
            left, top, width, height = box
            objects.append(InputObject(item, box, image[top : top + height, left : left + width]))
    return objects


def without_parts(items: list[Any]) -> list[Any]:
    """``items`` without points and lines, which keypoint tasks add to an object, and without the pieces of its mask.

    A piece is a polygon of which most lies in a rectangle of the same category: masks are coarser than boxes and reach
    over them. Ikomia makes a polygon of a turned box too, but gives it no rectangle and no category.
    """
    found: dict[str, list[Any]] = {}
    for item in items:
        if isinstance(item, core.CGraphicsRectangle):
            found.setdefault(item.get_category(), []).append(item.get_bounding_rect())
    rectangles = {category: np.array(boxes, float) for category, boxes in found.items()}
    return [
        item
        for item in items
        if not isinstance(item, _LINES)
        and not (
            isinstance(item, _POLYGONS)
            and (others := rectangles.get(item.get_category())) is not None
            and _is_mostly_in_one(item.get_bounding_rect(), others)
        )
    ]


def _is_mostly_in_one(box: Sequence[float], others: NDArray[np.float64]) -> bool:
    """Whether more than half of ``box`` lies in one of ``others``, N x 4; all left, top, width and height."""
    left, top, width, height = box
    lefts, tops, widths, heights = others.T
    shared_widths = np.minimum(left + width, lefts + widths) - np.maximum(left, lefts)
    shared_heights = np.minimum(top + height, tops + heights) - np.maximum(top, tops)
    shared = np.maximum(0, shared_widths) * np.maximum(0, shared_heights)
    return bool((shared > width * height / 2).any())


def clipped_box(box: Iterable[float], image_width: int, image_height: int) -> tuple[int, int, int, int] | None:
    """Left, top, width, height in whole pixels inside the image; None when less than two pixels remain of a side."""
    x, y, width, height = box
    if not all(map(math.isfinite, (x, y, width, height))):
        return None
    left, top = max(0, round(x)), max(0, round(y))
    right, bottom = min(image_width, round(x + width)), min(image_height, round(y + height))
    if right - left < MIN_BOX_SIDE_PX or bottom - top < MIN_BOX_SIDE_PX:
        return None
    return left, top, right - left, bottom - top
