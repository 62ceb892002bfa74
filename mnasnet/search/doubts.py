"""What the first network that was measured says against a table of the user's, which prices all others."""

from __future__ import annotations

from collections.abc import Iterator

from mnasnet.latency.remembered import RememberingMeter
from mnasnet.search.costs import LATENCY, quantity
from mnasnet.search.curriculum import cheapest_and_dearest
from mnasnet.search.open_search import OpenSearch

FAR_OFF = 0.5  # of what was measured; a busy device explains less
ERRORS_OFF = 3  # times the table's own mean error


def doubts(search: OpenSearch) -> Iterator[str]:
    """Sentences about the table that was given; none for one that the search made itself, or before it measures."""
    table = search.table
    if table is None or not search.searching.latency_table:
        return
    smallest, _ = cheapest_and_dearest(search.problem.space, search.plan.input_size)
    network = smallest.architecture, smallest.input_size or search.plan.input_size
    measured = RememberingMeter(search.device_meter, search.folder.latencies).known(*network)
    if measured is None:
        return
    name, made, now_ms = table.conditions.measured_on, table.conditions, measured.undisturbed_ms
    latency = quantity(LATENCY)
    priced_ms = table.predict_ms(*network)
    error = table.error.mape_percent / 100 if table.error else 0.0
    if abs(priced_ms / now_ms - 1) > max(FAR_OFF, ERRORS_OFF * error):
        yield (
            f"the table of {name} prices the smallest network at {latency.text(priced_ms)}, measured it took "
            f"{latency.text(now_ms)}; profile the device again"
        )
    if measured.runtime_version != made.runtime_version:
        day = f" on {table.made_on}" if table.made_on else ""
        yield (
            f"the table of {name} was made{day} with {made.runtime} {made.runtime_version}, the device has "
            f"{measured.runtime_version} now; profile it again where prices and measurements differ"
        )
