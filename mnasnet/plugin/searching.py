"""What the search task needs of Ikomia: its progress and its outputs."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ikomia import core, dataprocess

from mnasnet.data.images import read_image
from mnasnet.plugin.long_task import StepBar
from mnasnet.plugin.task import SEARCH_CURVE, TRADE_OFFS, ResultsIO
from mnasnet.search.costs import how, quantity
from mnasnet.words import duration

if TYPE_CHECKING:  # torch and Optuna start with the first search, not with Ikomia
    from mnasnet.search.answer import Answer
    from mnasnet.search.progress import Progress
    from mnasnet.search.records import TrialRecord
    from mnasnet.search.run import SearchedRun

_log = logging.getLogger(__name__)

MODEL, PARETO, CURVE, NETWORKS, TRAINED, DETAILS = range(6)  # the task's outputs


class SearchBar:
    """Shows a search in the task's progress bar, and in the log what it will take, each trial and each new stage."""

    def __init__(self, bar: StepBar) -> None:
        self._bar = bar
        self._stage = ""

    def hear(self, progress: Progress) -> None:
        """Move on when another hundredth is done."""
        self._bar.show(progress.share)
        is_trial = progress.record is not None or progress.repeats > 0
        if is_trial or progress.stage == "forecast" or progress.stage != self._stage:
            self._stage = progress.stage
            text = progress.text if progress.record is None else _trial_line(progress.record, progress)
            _log.info("%3.0f%%  %s", 100 * progress.share, text)


def _trial_line(record: TrialRecord, progress: Progress) -> str:
    """What came of a trial, or why nothing did; the best so far and the time left."""
    if record.duplicate_of is not None:
        parts = [f"trial {record.number}: the same network as trial {record.duplicate_of}"]
    elif record.accuracy is None:
        parts = [f"trial {record.number}: {record.state}", " ".join(record.reason.split())]
    else:
        costs = [f"{quantity(name).title} {quantity(name).text(value)}" for name, value in record.costs.items()]
        parts = [f"trial {record.number}: {record.state}", f"accuracy {record.accuracy:.1%}", *costs]
    line, best, left_s = ", ".join(filter(None, parts)), progress.best, progress.eta_s
    if best is not None and best.accuracy is not None:
        line += f"; best trial {best.number} with {best.accuracy:.1%}"
    return line if left_s is None or not math.isfinite(left_s) else f"{line}; {duration(left_s)} left"


def add_outputs(task: Any) -> None:
    """Model file, picture of the trade-offs, curve, tables of the networks, and everything as JSON."""
    task.add_output(dataprocess.CPathIO(core.IODataType.FILE_PATH))
    for name in (TRADE_OFFS, SEARCH_CURVE):
        picture = dataprocess.CImageIO()
        picture.name = name
        task.add_output(picture)
    task.add_output(dataprocess.CDataStringIO())
    task.add_output(dataprocess.CDataStringIO())
    task.add_output(ResultsIO())


def clear_outputs(task: Any) -> None:
    """Leave nothing of an earlier run behind."""
    task.get_output(MODEL).set_path("")
    for index in (PARETO, CURVE, NETWORKS, TRAINED):
        task.get_output(index).clear_data()
    task.get_output(DETAILS).data = {}


def show_search(task: Any, run: SearchedRun) -> None:
    """Fill the task's outputs; a search that was stopped has no model yet."""
    task.get_output(MODEL).set_path(str(run.model) if run.model.exists() else "")
    for index, name in ((PARETO, "pareto.png"), (CURVE, "progress.png")):
        if (run.folder / name).exists():
            task.get_output(index).set_image(read_image(run.folder / name))
    _show_networks(task.get_output(NETWORKS), run.answer)
    _show_trained(task.get_output(TRAINED), run.answer)
    task.get_output(DETAILS).data = _details(run)


def _show_networks(table: Any, answer: Answer) -> None:
    """The Pareto set, a line a network: what the search thought of it and what it costs."""
    records = [record for record in answer.pareto if record.accuracy is not None]
    _add_columns(
        table,
        [f"trial {record.number}" for record in records],
        {answer.accuracy_name: [f"{record.accuracy:.1%}" for record in records]},
    )
    _add_costs(table, answer, [(f"trial {record.number}", record.costs) for record in records], answer.measured)


def _show_trained(table: Any, answer: Answer) -> None:
    """The networks that were trained longer: finalists, the winner, references."""
    contenders = answer.contenders
    names = [f"{contender.name} ({answer.role_of(contender)})" for contender in contenders]
    _add_columns(
        table,
        names,
        {
            "epochs": [str(contender.epochs) for contender in contenders],
            "validation": [_percent(contender.val_accuracy) for contender in contenders],
            "test": [_percent(contender.test_accuracy) for contender in contenders],
        },
    )
    costs = [(name, contender.costs) for name, contender in zip(names, contenders, strict=True)]
    _add_costs(table, answer, costs, answer.measured_when_trained)


def _add_costs(table: Any, answer: Answer, networks: Sequence[tuple[str, Any]], measured: Mapping[str, bool]) -> None:
    names = [name for name, _ in networks]
    for cost in answer.cost_names:
        shown = quantity(cost)
        texts = [shown.text(costs[cost]) if cost in costs else "-" for _, costs in networks]
        said = ", predicted" if how(cost, measured) == "predicted" else ""
        _add_columns(table, names, {f"{shown.title}{said}": texts})


def _add_columns(table: Any, names: Sequence[str], columns: dict[str, list[str]]) -> None:
    if names:  # Ikomia draws a table without rows as a fault
        for header, values in columns.items():
            table.add_value_list(values, header, list(names))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _details(run: SearchedRun) -> dict[str, Any]:
    """Plain JSON values: the run's summary, the Pareto set with its networks, and those that were trained longer."""
    from mnasnet.search.report.files import pareto_values

    return {**run.summary(), "pareto": pareto_values(run.answer), "trained": _trained_values(run)}


def _trained_values(run: SearchedRun) -> list[dict[str, Any]]:
    """Each network that was trained longer, with the place of its model file."""
    return [
        {
            "name": one.name,
            "kind": run.answer.role_of(one),
            "trial": one.trial,
            "epochs": one.epochs,
            "val_accuracy": one.val_accuracy,
            "test_accuracy": one.test_accuracy,
            "costs": dict(one.costs),
            "model": str((run.folder / one.model).absolute()) if one.model else None,
        }
        for one in run.answer.contenders
    ]


def say_what_came_of(run: SearchedRun) -> None:
    """The last lines in the log: what was found, where it lies, how to go on."""
    from mnasnet.search.report.summary import summary_lines

    for line in summary_lines(run.answer):
        _log.info("%s", line)
    if run.model.exists():
        _log.info("model: %s", run.model)
    if run.status == "stopped":
        _log.info("everything is kept; run again to go on, or later with resume_folder %s", run.folder)
    _log.info("report: %s", run.report)
