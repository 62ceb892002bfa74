"""``search``: images, a device and a budget in, the best network out."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from mnasnet.commands.json_line import json_line
from mnasnet.commands.options import add_output_arguments, add_task_arguments
from mnasnet.commands.signals import stop_on_signals
from mnasnet.files import quoted
from mnasnet.search.answer import EXPORT, EXTEND, PROMOTE, WORST_RECALL, Answer, Contender, ranked_finalists
from mnasnet.search.costs import LATENCY, quantity
from mnasnet.search.prepare import NothingBegunError, forecast
from mnasnet.search.progress import Progress
from mnasnet.search.report.summary import FEWEST_FOR_ORDER, costs_in_words
from mnasnet.search.run import SearchedRun, Searching, resume_search, run_search
from mnasnet.settings import SearchSettings

DEFAULT_OUTPUT = Path("runs/search")

#: shorter words, and those that users of other tools type
ALIASES = {
    "target_latency_ms": ("target_ms",),
    "input_size": ("imgsz",),
    "output_folder": ("project",),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options: every setting of the search task."""
    add_task_arguments(parser, SearchSettings, ALIASES)
    parser.add_argument("--dry-run", action="store_true", help="time two networks, tell what the search will take, end")
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Search; exit code 0 also when stopped, since everything is kept, but 130 where there was nothing to keep."""
    given = {name: value for name, value in vars(arguments).items() if name in SearchSettings.model_fields}
    settings = SearchSettings.parse(given)
    searching = Searching(
        data=arguments.data,
        output_folder=Path(settings.output_folder) if settings.output_folder else DEFAULT_OUTPUT,
        **settings.arguments(),
    )
    try:
        return _search(searching, arguments)
    except NothingBegunError as stopped:
        print(stopped, file=sys.stderr)
        if arguments.json:
            print(json_line({"status": "stopped", "reason": str(stopped)}))
        return 130


def _search(searching: Searching, arguments: argparse.Namespace) -> int:
    with stop_on_signals() as stop:
        if arguments.dry_run:
            found = forecast(searching, stop.is_set, tell=lambda text: print(text, file=sys.stderr, flush=True))
            plan = {**asdict(found.times), "trials": found.trials, **found.plan.to_dict()}
            plan |= {"short_minutes": found.short_minutes, "shared_minutes": found.shared_minutes}
            plan |= {
                "costs": found.costs,
                "latency_ms": found.costs.get(LATENCY),
                "limits": found.told_of_missed,
                "target": found.told_of_target,
            }
            print(json_line(plan) if arguments.json else found.text)
            return 0
        searched = run_search(searching, listeners=[TrialTable()], stop=stop.is_set)
    return tell(searched, as_json=arguments.json)


def resume_run(path: Path, data: Path | None = None) -> SearchedRun:
    """Go on with a search; the other half of :mod:`mnasnet.commands.resume`."""
    with stop_on_signals() as stop:
        return resume_search(path, data=data, listeners=[TrialTable()], stop=stop.is_set)


class TrialTable:
    """One plain line a trial and an epoch on standard error, so that standard output holds results alone."""

    def __init__(self) -> None:
        self._columns: dict[str, int] = {}  # the costs that decide something, and their widths: all fit into 80 columns

    def hear(self, progress: Progress) -> None:
        """Print one line."""
        record = progress.record
        if record is None or progress.stage != "searching":
            self._print(f"{_share(progress)}  {progress.text}")
            return
        if record.costs and not self._columns:
            shown = [name for name in record.costs if not progress.sought or name in progress.sought]
            self._columns = {name: max(11, len(quantity(name).title) + 2) for name in shown}
            head = "".join(f"{quantity(name).title:>{width}}" for name, width in self._columns.items())
            self._print(
                f"{'done':>5}{'left':>9}{'trial':>7}  {'state':<12}{'accuracy':>9}{head}{'reward':>9}{'best':>9}"
            )
        accuracy = "" if record.accuracy is None else f"{record.accuracy:.1%}"
        costs = "".join(
            f"{quantity(name).text(record.costs[name]) if name in record.costs else '':>{width}}"
            for name, width in self._columns.items()
        )
        reward, best = ("" if one is None else f"{one:.4f}" for one in progress.rewards)
        line = f"{_share(progress)}{record.number:>7}  {_state(progress):<12}{accuracy:>9}{costs}{reward:>9}{best:>9}"
        reason = f"  {record.reason}" if record.reason and record.state != "pruned" else ""
        self._print(line + reason)

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def _state(progress: Progress) -> str:
    assert progress.record is not None
    return "repeated" if progress.record.duplicate_of is not None else progress.record.state


def _share(progress: Progress) -> str:
    return f"{progress.share:>5.0%}{_clock(progress.eta_s):>9}"


def _clock(seconds: float | None) -> str:
    """Hours, minutes and seconds left; empty while nobody knows."""
    if seconds is None or seconds == float("inf"):
        return ""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def tell(searched: SearchedRun, *, as_json: bool) -> int:
    """Say what came of a search."""
    summary = searched.summary()
    if as_json:
        print(json_line(summary))
        return 0
    reason = searched.reason or ("it still runs, or was killed" if searched.status == "running" else "")
    sentence = _SENTENCES.get(searched.status, searched.status)
    lines = [f"{sentence}: {reason}" if reason else sentence]
    if searched.promoted is not None and searched.promoted.exists():
        lines.insert(0, f"promoted     {searched.promoted}")
    best = searched.answer.winner
    if best is not None and best.accuracy is not None:
        accuracy = f"{searched.answer.accuracy_name} {best.accuracy:.1%} in its trial"
        known = {name: best.costs[name] for name in searched.answer.cost_names if name in best.costs}
        costs = costs_in_words(known, searched.answer.measured)
        lines.append(f"winner       trial {best.number}: {accuracy}, {costs}")
    if searched.answer.kendall_tau is not None:
        count = len(ranked_finalists(searched.answer.contenders))
        few = "" if count >= FEWEST_FOR_ORDER else ", which are too few to judge an order"
        lines.append(f"Kendall tau  {searched.answer.kendall_tau:.2f} of the search's order of {count} finalists{few}")
    for one in searched.answer.contenders:
        if one.kind != "finalist":
            latency = f", {quantity(LATENCY).text(one.costs[LATENCY])}" if LATENCY in one.costs else ""
            lines.append(f"{one.name}: {_trained(one, searched.answer)}{latency}")
    if searched.answer.ranking is not None:
        lines += ["", searched.answer.ranking.table(), ""]
    run = quoted(searched.folder.absolute())
    for note in searched.answer.notes:
        for command in (PROMOTE, EXTEND, EXPORT):
            note = note.replace(command, command.replace("RUN", run))
        lines.append(f"note         {note}")
    if searched.model.exists():  # beside another that was promoted it must not be taken for that one
        lines.append(f"{'model' if searched.promoted is None else 'of winner':<13}{searched.model}")
    lines.append(f"report       {searched.report}")
    if searched.status in ("stopped", "running") and searched.promoted is None:
        lines.append(f"resume       python -m mnasnet resume {run}")
    print("\n".join(lines))
    return 0


def _trained(one: Contender, answer: Answer) -> str:
    """How good a network that was trained longer is."""
    val, test = f"{one.val_accuracy or 0:.1%}", one.test_accuracy
    if answer.is_of_worst_class:  # no share of all images
        on_test = "" if test is None else f", on test {test:.1%} ({one.test_images} images)"
        return f"{WORST_RECALL} on validation {val}{on_test}"
    return f"validation {val}" + ("" if test is None else f", test {test:.1%} of {one.test_images}")


_SENTENCES = {"done": "searched", "stopped": "everything is kept", "running": "not finished"}
