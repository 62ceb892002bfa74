"""The files of an answer: ``trials.csv``, ``pareto.csv``, ``pareto.json``, ``winner.json``, pictures and the page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from mnasnet.files import write_atomic
from mnasnet.search.answer import Answer
from mnasnet.search.costs import how
from mnasnet.search.folder import SearchFolder
from mnasnet.search.records import State, TrialRecord
from mnasnet.search.report.effects import effects
from mnasnet.search.report.figures import choices_picture, pareto_picture, progress_picture
from mnasnet.search.report.page import report_html
from mnasnet.space import SearchSpace
from mnasnet.spec import ArchitectureSpec


def write_answer(answer: Answer, folder: Path) -> None:
    """Write every file of the answer into ``folder``, each whole or not at all.

    ``winner.json`` is written when there is a winner. Raises OSError as the system does.
    """
    place = SearchFolder(folder)
    write_atomic(place.trials, trials_csv(answer, answer.records))
    write_atomic(folder / "pareto.csv", trials_csv(answer, answer.pareto))
    write_atomic(folder / "pareto.json", _json(pareto_values(answer)))
    if answer.winner is not None:
        write_atomic(folder / "winner.json", _json(architecture_of(answer, answer.winner).to_dict()))
    found = effects(answer)
    picture = pareto_picture(answer)
    write_atomic(folder / "pareto.png", picture)
    write_atomic(folder / "progress.png", progress_picture(answer))
    write_atomic(folder / "choices.png", choices_picture(found))
    files = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    write_atomic(place.report, report_html(answer, found, picture, files).encode())


def trials_csv(answer: Answer, records: Sequence[TrialRecord]) -> bytes:
    """One line a trial: state, accuracy (0 to 1), reward, costs, choices, and the reason when there is no answer."""
    costs = answer.cost_names
    choices = [choice.name for choice in answer.space.choices]
    reward = [] if answer.objectives else ["reward"]
    columns = ["trial", "state", "accuracy", *reward, *costs, "seconds", "duplicate_of", "reason", "fingerprint"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *choices])
    for record in records:
        told = [record.values[0] if record.values else ""] if reward else []
        writer.writerow(
            [record.number, record.state, _blank(record.accuracy), *told]
            + [record.costs.get(name, "") for name in costs]
            + [record.seconds, _blank(record.duplicate_of), record.reason, record.fingerprint]
            + [record.params.get(name, "") for name in choices]
        )
    return text.getvalue().encode()


def trials_of_csv(data: bytes, space: SearchSpace, objectives: Sequence[str]) -> list[TrialRecord]:
    """The inverse of :func:`trials_csv`."""
    options = {choice.name: {str(option): option for option in choice.options} for choice in space.choices}
    first = "accuracy" if objectives else "reward"
    head, *rows = csv.reader(io.StringIO(data.decode()))
    names = head[head.index(first) + 1 : head.index("seconds")]
    found = []
    for row in rows:
        cells = dict(zip(head, row, strict=True))
        costs = {name: float(cells[name]) for name in names if cells[name]}
        value = float(cells[first]) if cells[first] else None
        values = () if value is None else (value, *(costs[name] for name in objectives))
        found.append(
            TrialRecord(
                number=int(cells["trial"]),
                state=cast("State", cells["state"]),
                params={name: known[cells[name]] for name, known in options.items() if cells[name]},
                fingerprint=cells["fingerprint"],
                costs=costs,
                accuracy=float(cells["accuracy"]) if cells["accuracy"] else None,
                values=values,
                reason=cells["reason"],
                seconds=float(cells["seconds"]),
                duplicate_of=int(cells["duplicate_of"]) if cells["duplicate_of"] else None,
            )
        )
    return found


def pareto_values(answer: Answer) -> dict[str, Any]:
    """The Pareto set as plain values; each ``architecture`` is one that ``ArchitectureSpec.from_dict`` takes."""
    return {
        "search": answer.name,
        "space": answer.space.name,
        "costs": {name: how(name, answer.measured) for name in answer.cost_names},
        "device": answer.device,
        "networks": [_network(answer, record) for record in answer.pareto],
    }


def _network(answer: Answer, record: TrialRecord) -> dict[str, Any]:
    return {
        "trial": record.number,
        "accuracy": record.accuracy,
        "costs": dict(record.costs),
        "input_size": answer.space.candidate(record.params).input_size,
        "choices": dict(record.params),
        "architecture": architecture_of(answer, record).to_dict(),
    }


def architecture_of(answer: Answer, record: TrialRecord) -> ArchitectureSpec:
    """The network of a trial, named after the search; its source tells where it comes from and for which images."""
    candidate = answer.space.candidate(record.params)
    size = "" if candidate.input_size is None else f", made for {candidate.input_size} px images"
    source = f"trial {record.number} of search {answer.name}, space {answer.space.name}{size}"
    return candidate.architecture.named(f"{answer.name}_trial{record.number}", source)


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _blank(value: float | int | None) -> float | int | str:
    return "" if value is None else value
