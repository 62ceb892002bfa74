"""A benchmark told to people: CSV, a picture like the paper's first figure, and one self-contained HTML page."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mnasnet.data.report import columns
from mnasnet.latency.benchmark import IMAGENET, Row
from mnasnet.pages import render
from mnasnet.plots import BLUE, GREEN, GREY, ORANGE, RED, VIOLET, name_points, new_figure, png, settle
from mnasnet.presets import MOBILENET_V2
from mnasnet.words import amount, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: how a family is drawn: a line through its networks, and its colour
FAMILIES = (
    ("MnasNet-B1, torchvision's weights", ("mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"), BLUE),
    ("MnasNet-A1, timm's weights", ("semnasnet_075", "semnasnet_100"), GREEN),
    ("MnasNet-B1, timm's weights", ("mnasnet_100",), VIOLET),
    ("MnasNet-small, timm's weights", ("mnasnet_small",), RED),
    ("MobileNetV2", (MOBILENET_V2.name,), GREY),
)


def csv_table(rows: Sequence[Row]) -> bytes:
    """One line a subject and meter."""
    text = io.StringIO()
    table = [row.to_dict() for row in rows]
    writer = csv.DictWriter(text, list(table[0]) if table else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue().encode(errors="backslashreplace")  # a file name need not be valid text


def picture(rows: Sequence[Row], machine: str, made_on: str) -> bytes:
    """Accuracy over milliseconds as PNG: a panel for each meter, models of one's own below where they differ.

    Where no accuracy is known the milliseconds alone.
    """
    from matplotlib.text import Text

    timed = [row for row in rows if row.latency]
    known = [row for row in timed if _has_both(row)]
    common = [row for row in known if row.subject.accuracy_on == IMAGENET]
    mine = [row for row in known if row.subject.accuracy_on != IMAGENET]
    panels = [
        (meter, [row for row in group if row.meter == meter])
        for group in ((common, mine) if known else (timed,))
        for meter in dict.fromkeys(row.meter for row in group)
    ]
    columns = max(1, min(2, len(panels)))
    lines = max(1, -(-len(panels) // columns))
    figure = new_figure(6.4 * columns, 4.4 * lines + 0.5)
    figure.get_layout_engine().set(h_pad=0.12)  # room for a panel's title
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes, (meter, group) in zip(grid.flat, panels, strict=False):
        (_panel if known else _bars)(axes, meter, group)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    figure.suptitle(f"{_title(rows)}\n{machine}, {made_on}", fontsize=11)
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # files and devices say some of them, maybe with two dollars
    settle(figure)
    for axes, (_, group) in zip(grid.flat, panels, strict=False):
        name_points(axes, _places(group))
    return png(figure)


def _title(rows: Sequence[Row]) -> str:
    return "Accuracy and latency" if any(map(_has_both, rows)) else "Latency"


def _has_both(row: Row) -> bool:
    return row.latency is not None and row.subject.accuracy_percent is not None


def _panel(axes: Axes, meter: str, rows: Sequence[Row]) -> None:
    places = _places(rows)
    drawn: set[str] = set()
    for title, members, colour in FAMILIES:
        found = sorted(places[name] for name in members if name in places)
        if found:
            axes.plot(*zip(*found, strict=True), "o-", color=colour, markersize=5, linewidth=1.2, label=title)
            drawn.update(members)
    others = [name for name in places if name not in drawn]
    if others:
        axes.plot(*zip(*(places[name] for name in others), strict=True), "D", color=ORANGE, label="yours")
    axes.set_title(meter, fontsize=10)
    axes.set_xlabel(_time_label(rows))
    where = {row.subject.accuracy_on for row in rows}
    axes.set_ylabel(f"top-1 accuracy, % ({where.pop() if len(where) == 1 else 'each on its own images'})")
    axes.grid(alpha=0.25)
    axes.margins(0.16, 0.12)
    axes.set_ylim(top=min(axes.get_ylim()[1], 101))  # no accuracy is above 100 %
    axes.spines[["top", "right"]].set_visible(False)
    if drawn:  # points of one's own alone have their names beside them
        axes.legend(frameon=False, fontsize=8, loc="lower right")


def _bars(axes: Axes, meter: str, rows: Sequence[Row]) -> None:
    times = {row.subject.name: row.latency.undisturbed_ms for row in _sorted(rows) if row.latency}
    axes.barh(range(len(times)), list(times.values()), color=BLUE, height=0.6)
    axes.set_yticks(range(len(times)), list(times), fontsize=8, parse_math=False)
    axes.invert_yaxis()  # the fastest on top
    axes.set_title(meter, fontsize=10)
    axes.set_xlabel(_time_label(rows))
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _time_label(rows: Sequence[Row]) -> str:
    batches = {row.latency.batch for row in rows if row.latency}
    if batches == {1}:
        return "ms per image"
    return f"ms per batch of {', '.join(map(str, sorted(batches)))} images"


def _places(rows: Sequence[Row]) -> dict[str, tuple[float, float]]:
    """Milliseconds and percent of each network."""
    return {
        row.subject.name: (row.latency.undisturbed_ms, row.subject.accuracy_percent)
        for row in rows
        if row.latency is not None and row.subject.accuracy_percent is not None
    }


def page(rows: Sequence[Row], image: bytes, machine: str, made_on: str) -> bytes:
    """Table and picture in one file that needs no other and no network."""
    return render(
        "benchmark.html",
        machine=machine,
        made_on=made_on,
        conditions=_conditions(rows),
        title=_title(rows),
        has_accuracy=any(map(_has_both, rows)),
        image=base64.b64encode(image).decode(),
        rows=[_cells(row) for row in _sorted(rows)],
        has_published=any(row.subject.accuracy_on == IMAGENET for row in rows),
        has_mobilenet_v2=any(row.subject.name == MOBILENET_V2.name for row in rows),
        is_quiet=all(row.latency.quiet for row in rows if row.latency),
        notes=_notes(rows),
    ).encode(errors="backslashreplace")


def _notes(rows: Sequence[Row]) -> list[str]:
    """What was noticed at each measurement, told once where it was the same."""
    noted: dict[str, list[Row]] = {}
    for row in _sorted(rows):
        if row.latency and row.latency.note:
            noted.setdefault(row.latency.note, []).append(row)
    notes = []
    for note, (first, *others) in noted.items():
        more = f", and {amount(len(others), 'other')}" if others else ""
        notes.append(f"{first.subject.name}, {first.meter}{more}: {note}")
    return notes


def _conditions(rows: Sequence[Row]) -> str:
    """Threads, batch and engines with their versions."""
    found = [row.latency for row in rows if row.latency]
    settings = [f"threads {one.threads}, batch {one.batch}" for one in found]
    engines = [f"{one.runtime} {one.runtime_version}" for one in found]
    return ", ".join(dict.fromkeys([*settings, *engines]))


def text_table(rows: Sequence[Row]) -> str:
    """The table for a terminal."""
    names = {row: printable(row.subject.name) for row in rows}
    width = max([*map(columns, names.values()), 8]) + 2
    meter_width = max([len(row.meter) for row in rows] + [8]) + 2
    lines = [f"{'network':{width}}{'meter':{meter_width}}{'accuracy':>9}{'ms':>9}{'median':>9}{'p90':>9}"]
    for row in _sorted(rows):
        accuracy, *times = _figures(row)
        name = names[row] + " " * (width - columns(names[row]))
        lines.append(f"{name}{row.meter:{meter_width}}{accuracy:>9}" + "".join(f"{t:>9}" for t in times))
        if row.failure:
            lines.append(f"  unmeasured: {row.failure}")
    return "\n".join(lines)


def _sorted(rows: Sequence[Row]) -> list[Row]:
    """By meter, the fastest first, what could not be measured last."""
    meters = list(dict.fromkeys(row.meter for row in rows))
    return sorted(
        rows,
        key=lambda row: (meters.index(row.meter), row.latency.undisturbed_ms if row.latency else float("inf")),
    )


def _figures(row: Row) -> tuple[str, str, str, str]:
    percent = row.subject.accuracy_percent
    accuracy = "-" if percent is None else f"{percent:.1f}%"
    if row.latency is None:
        return accuracy, "-", "-", "-"
    own = row.latency
    return accuracy, f"{own.undisturbed_ms:.2f}", f"{own.median_ms:.2f}{'' if own.quiet else '*'}", f"{own.p90_ms:.2f}"


def _cells(row: Row) -> list[str]:
    counts = row.subject.counts
    return [
        row.subject.name,
        row.meter,
        *_figures(row),
        row.subject.accuracy_on,
        str(row.subject.model.preprocess.input_size),
        f"{counts.parameters / 1e6:.2f}" if counts else "-",
        f"{counts.multiply_adds / 1e6:.0f}" if counts else "-",
        f"unmeasured: {row.failure}" if row.failure else "",
    ]
