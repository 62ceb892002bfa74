"""A dataset report as text for a terminal and as a JSON file."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from mnasnet.data.check import DatasetReport
from mnasnet.files import write_json
from mnasnet.words import printable

REPORT_FILE = "dataset_report.json"  # beside what was made of the dataset
MANY_CLASSES = 40  # more would scroll the findings off the screen
NAME_COLUMNS = 40


def write_report(report: DatasetReport, folder: Path) -> Path:
    """Write REPORT_FILE into ``folder``, an output folder; returns the file's path."""
    path = folder / REPORT_FILE
    write_json(path, {**report.to_dict(), "folder": str(Path(report.folder).absolute())})  # read from elsewhere
    return path


def as_text(report: DatasetReport) -> str:
    """Counts, what the images are like, then errors, warnings and remarks, one a line."""
    total = sum(report.total(name) for name in report.counts)
    lines = [
        f"{report.folder}: {len(report.class_names)} classes, {total:,} images, {report.size_bytes / 1e6:,.1f} MB",
        "",
        *_table(report),
        "",
        *_facts(report),
    ]
    findings = [
        f"{level:5}  {text}"
        for level, texts in (("ERROR", report.errors), ("WARN", report.warnings), ("NOTE", report.remarks))
        for text in texts
    ]
    return "\n".join(map(printable, [*lines, "", *(findings or ["Nothing to complain about."])]))


def _table(report: DatasetReport) -> list[str]:
    splits = list(report.counts)
    shown = _shown_classes(report)
    heads = ["class", *splits]
    rows = [[shortened(printable(name)), *(f"{report.counts[split][name]:,}" for split in splits)] for name in shown]
    if len(shown) < len(report.class_names):
        rows.append(
            [f"(smallest and largest shown; {len(report.class_names) - len(shown)} between)", *[""] * len(splits)]
        )
    foot = ["all", *(f"{report.total(split):,}" for split in splits)]
    widths = [max(columns(row[index]) for row in [heads, *rows, foot]) for index in range(len(heads))]
    rule = "  ".join("-" * width for width in widths)
    return [_row(heads, widths), rule, *(_row(row, widths) for row in rows), rule, _row(foot, widths)]


def _shown_classes(report: DatasetReport) -> Sequence[str]:
    """All classes, or of very many those whose size matters most."""
    if len(report.class_names) <= MANY_CLASSES:
        return report.class_names
    by_size = sorted(report.class_names, key=lambda name: report.counts["train"][name])
    return [*by_size[: MANY_CLASSES // 2], *by_size[-MANY_CLASSES // 4 :]]


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    name = cells[0] + " " * (widths[0] - columns(cells[0]))
    numbers = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return "  ".join([name, *numbers]).rstrip()


def _facts(report: DatasetReport) -> list[str]:
    facts = [("split", report.split_made_by)]
    if report.val_points is not None:
        facts.append(
            (
                "certainty",
                f"val accuracy is known to ±{report.val_points:.1f} points (95%, {report.total('val'):,} images): "
                "smaller differences mean nothing",
            )
        )
    facts.append(("balance", f"largest to smallest class {report.imbalance:.1f} to 1"))
    facts.append(("files", _counted(report.formats)))
    facts.append(("colours", _counted(report.kinds)))
    if report.smallest and report.typical and report.largest:
        facts.append(("sizes", _sizes(report.smallest, report.typical, report.largest)))
    if report.ignored:
        facts.append(("ignored", _counted(report.ignored)))
    return [f"{title:11}{text}" for title, text in facts]


def _counted(counts: Mapping[str, int], most: int = 8) -> str:
    shown = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:most])
    return (shown or "none") + (f" and {len(counts) - most} more kinds" if len(counts) > most else "")


def _sizes(smallest: tuple[int, int], typical: tuple[int, int], largest: tuple[int, int]) -> str:
    if smallest == largest:
        return f"all {smallest[0]} x {smallest[1]} pixels"
    low, middle, high = (f"{width} x {height}" for width, height in (smallest, typical, largest))
    return f"{low} to {high} pixels, typical {middle}"


def shortened(name: str, most: int = NAME_COLUMNS) -> str:
    """``name`` cut to ``most`` columns of a terminal."""
    while columns(name) > most:
        name = name.removesuffix("…")[:-1] + "…"
    return name


def columns(text: str) -> int:
    """The width of ``text`` in a terminal: East Asian characters and emoji take two columns, accents none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
