"""Figures alike wherever they are drawn: colours, sizes, fonts, names of points, PNG."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mnasnet.draw.text import fonts_beside_main

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY, RED = "#2563a8", "#d9822b", "#6b7280", "#b3261e"
GREEN, VIOLET = "#2f855a", "#7c4d9e"


def new_figure(width: float, height: float) -> Figure:
    """A figure without pyplot, whose global state would not bear several threads."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def percent_ticks() -> Any:
    """Writes the ticks of an axis from 0 to 1 in percent."""
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(1.0, decimals=None)


#: where a name may stand around its point: offset in points and alignment
_SIDES = (
    ((-5, 4), "right", "bottom"),
    ((5, -4), "left", "top"),
    ((7, 0), "left", "center"),
    ((-7, 0), "right", "center"),
    ((5, 4), "left", "bottom"),
    ((-5, -4), "right", "top"),
    ((0, 8), "center", "bottom"),
    ((0, -8), "center", "top"),
)


@contextlib.contextmanager
def _boxes_for_letters_without_a_font() -> Iterator[None]:
    """Class names in scripts no font has become boxes in pictures, not in tables; Matplotlib need not say so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


@_boxes_for_letters_without_a_font()
def settle(figure: Figure) -> None:
    """Lay ``figure`` out, which the places of names depend on."""
    figure.draw_without_rendering()


@_boxes_for_letters_without_a_font()
def name_points(axes: Axes, places: Mapping[str, tuple[float, float]]) -> None:
    """Each name on the side of its point where it covers the least, readable on the lines that it must cross."""
    from matplotlib.patheffects import withStroke

    points = [axes.transData.transform(place) for place in places.values()]
    legend = axes.get_legend()
    taken: list[Any] = [legend.get_window_extent()] if legend else []
    lines = [line.get_transform().transform_path(line.get_path()) for line in axes.get_lines()]
    halo = [withStroke(linewidth=2.5, foreground="white")]
    for name, place in sorted(places.items(), key=lambda item: item[1]):
        candidates = []
        for offset, across, along in _SIDES:
            text = axes.annotate(
                name, place, offset, textcoords="offset points", ha=across, va=along, fontsize=7.5, parse_math=False
            )
            text.set_path_effects(halo)
            box = text.get_window_extent()
            outside = not (axes.bbox.contains(box.x0, box.y0) and axes.bbox.contains(box.x1, box.y1))
            covered = sum(box.overlaps(other) for other in taken) + sum(box.contains(*point) for point in points)
            own = _gap(box, axes.transData.transform(place))
            astray = any(_gap(box, point) < own for point in points)  # it would be taken for a neighbour's name
            crossed = sum(line.intersects_bbox(box, filled=False) for line in lines)
            candidates.append((covered + astray + 2 * outside + 0.5 * min(crossed, 1), text, box))
        best = min(candidates, key=lambda candidate: candidate[0])
        for candidate in candidates:
            if candidate is not best:
                candidate[1].remove()
        taken.append(best[2])


def _gap(box: Any, point: Sequence[float]) -> float:
    """How far the point lies from the box, in pixels."""
    return math.hypot(max(box.x0 - point[0], 0, point[0] - box.x1), max(box.y0 - point[1], 0, point[1] - box.y1))


def png(figure: Figure) -> bytes:
    """The figure as PNG."""
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    _set_fonts(figure)
    content = io.BytesIO()
    with _boxes_for_letters_without_a_font():
        figure.savefig(content, format="png")
    return content.getvalue()


def _set_fonts(figure: Figure) -> None:
    """Let texts in scripts that Matplotlib's own font lacks use fonts of this machine, as labels on images do."""
    from matplotlib.font_manager import FontProperties, fontManager
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        families = []
        for path in fonts_beside_main(text.get_text()):
            try:
                fontManager.addfont(path)
            except (OSError, RuntimeError):  # a bitmap font, as for emoji
                continue
            families.append(FontProperties(fname=path).get_name())
        if families:
            text.set_fontfamily(["DejaVu Sans", *families])
