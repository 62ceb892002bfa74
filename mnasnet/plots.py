"""Figures alike wherever they are drawn: colours, sizes, fonts, PNG."""

from __future__ import annotations

import io
import logging
import warnings
from typing import TYPE_CHECKING, Any

from mnasnet.draw import fonts_beside_main

if TYPE_CHECKING:
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


def png(figure: Figure) -> bytes:
    """The figure as PNG."""
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    _set_fonts(figure)
    content = io.BytesIO()
    with warnings.catch_warnings():  # class names in scripts no font has become boxes here, not in tables
        warnings.filterwarnings("ignore", message="Glyph .* missing")
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
