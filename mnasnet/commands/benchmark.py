"""``benchmark``: accuracy beside latency on this device, for published networks and models of one's own."""

from __future__ import annotations

import argparse
import datetime
import functools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from mnasnet import modelfile
from mnasnet.commands.bar import counting_bar
from mnasnet.commands.devices import add_device_arguments, distant_meter, require_meter_of_device
from mnasnet.commands.json_line import json_line
from mnasnet.commands.told import tell
from mnasnet.commands.values import folder_to_write, whole
from mnasnet.errors import SettingsError
from mnasnet.export.exported import ExportedModel
from mnasnet.export.int8_timing import INT8_RUNTIMES
from mnasnet.files import obstacle, write_atomic
from mnasnet.latency import chart
from mnasnet.latency.benchmark import Row, Subject, by_name, measure_all, own, published, resized, told_apart, with_card
from mnasnet.latency.meter import Latency, MeterPrecision, RunnableMeter, require_rgb
from mnasnet.latency.meters import DISTANT
from mnasnet.latency.session import SessionMeter, device_name
from mnasnet.latency.timing import QUICK_RUNS, RUNS
from mnasnet.machine import has_terminal
from mnasnet.packages import is_installed
from mnasnet.runtime.session import IN_BF16, RUNTIMES, reaches_cuda
from mnasnet.words import amount, printable
from mnasnet.zoo import model_path, open_runnable

MOST_BATCH = 256  # memory for more is asked for by nobody who measures a device

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help="model files, exported files or names that `models` lists"
    )
    parser.add_argument("--runtimes", metavar="NAMES", help=f"any of {','.join(RUNTIMES)}; default: those installed")
    parser.add_argument(
        "--meter", default="here", choices=["here", *DISTANT], help="who measures: this machine, an agent, or a phone"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads that work on one image (default 1)")
    parser.add_argument(
        "--batch", type=whole(1, MOST_BATCH), default=1, metavar="N", help="images in one pass (default 1)"
    )
    parser.add_argument(
        "--runs",
        type=whole(1, 1000),
        metavar="N",
        help=f"timed passes, of a slow network fewer (default {RUNS} here, {QUICK_RUNS} on another device)",
    )
    parser.add_argument("--input-size", type=int, metavar="PIXELS", help="one size for all; default: each its own")
    parser.add_argument("--only", action="store_true", help="the given models alone, without published networks")
    parser.add_argument(
        "--card",
        action="store_true",
        help="store the latencies in the given model files; those in 8 bits are of made-up numbers, as their note says",
    )
    parser.add_argument(
        "--out", type=folder_to_write, default=Path("runs/benchmark"), metavar="DIR", help="default: runs/benchmark"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    add_device_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the table and write it as CSV, PNG and HTML."""
    require_meter_of_device(arguments)
    if arguments.meter in DISTANT and arguments.runtimes:
        raise SettingsError(
            f"--runtimes are engines of this machine, --meter {arguments.meter} has its own; for an agent set "
            "--agent-runtime"
        )
    if reason := obstacle(arguments.out, is_folder=True):  # told before minutes of measuring
        raise SettingsError(f"--out must be a folder that can be written to, got {arguments.out}: {reason}")
    subjects = _subjects(arguments)
    meters = _meters(arguments)
    if not has_terminal():  # minutes without a bar
        _log.info("timing %s by %s", amount(len(subjects), "network"), amount(len(meters), "meter"))
    with counting_bar("timings") as show:
        rows = measure_all(subjects, meters, progress=show)
    machine, made_on = _machine(arguments, rows), datetime.date.today().isoformat()
    is_measured = any(row.latency for row in rows)
    if not arguments.json:
        _print_table(rows, f"{machine}, {made_on}, threads {arguments.threads}, batch {arguments.batch}")
    if is_measured:  # else the table of an earlier day stays what it is
        image = chart.picture(rows, printable(machine), made_on)
        write_atomic(arguments.out / "benchmark.csv", chart.csv_table(rows))
        write_atomic(arguments.out / "benchmark.png", image)
        write_atomic(arguments.out / "benchmark.html", chart.page(rows, image, machine, made_on))
    if arguments.card:
        write_cards(rows)
    if arguments.json:  # at last, since a failure before it is an object of its own
        print(json_line({"device": machine, "date": made_on, "rows": [row.to_dict() for row in rows]}))
    else:
        written = f"written {arguments.out / 'benchmark.html'}, .png and .csv"
        print(written if is_measured else "nothing could be measured, so nothing was written")
    return 0 if is_measured else 1


def _print_table(rows: Sequence[Row], title: str) -> None:
    """The table for people; names come from files, and devices from agents."""
    lines = [title, *chart.text_table(rows).split("\n")]
    lines += [f"accuracy of {name} is on {images}" for name, images in _own_images(rows).items()]
    if any(row.latency and row.is_of_made_up_numbers for row in rows):
        lines.append("int8 of a model in float is timed with made-up numbers: no accuracy")
    if any(row.latency and row.latency.precision == "bf16" for row in rows):
        lines.append("bf16 is less exact than float32, in which accuracy was measured: no accuracy")
    if any(row.latency and not row.latency.quiet for row in rows):
        lines.append("* the machine was busy meanwhile; ms is the best guess at a quiet one")
    tell(lines)


def _own_images(rows: Sequence[Row]) -> dict[str, str]:
    """On what images each of the user's models was judged, where not all that stand in the table were on the same."""
    known = [row.subject for row in rows if row.subject.accuracy_percent is not None]
    if len({subject.accuracy_on for subject in known}) < 2:
        return {}
    return {subject.name: subject.accuracy_on for subject in known if subject.kind == "yours"}


def _subjects(arguments: argparse.Namespace) -> list[Subject]:
    if arguments.only and not arguments.models:
        raise SettingsError("--only leaves out the published networks, so it needs a model")
    size = 224 if arguments.input_size is None else arguments.input_size
    known = {} if arguments.only else {subject.name: subject for subject in published(size)}
    wanted: dict[Path, str] = {}
    for name in arguments.models:
        if name not in known:
            wanted.setdefault(model_path(name).resolve(), name)  # one file, however it is given
    subjects = told_apart([by_name(name, size) or own(name, open_runnable(name)) for name in wanted.values()])
    for subject in subjects:
        require_rgb(subject.name, subject.model)
    if arguments.input_size is not None:
        for subject in subjects:
            own_size = subject.model.preprocess.input_size
            if isinstance(subject.model, ExportedModel) and own_size != arguments.input_size:
                raise SettingsError(
                    f"an exported file has one input size, {subject.name} has {own_size} px, got --input-size "
                    f"{arguments.input_size}; give the model file it was made from, or leave out --input-size"
                )
        subjects = [resized(subject, arguments.input_size) for subject in subjects]
    return [*known.values(), *subjects]


def _machine(arguments: argparse.Namespace, rows: Sequence[Row]) -> str:
    """What was measured: this machine, or the device that the latencies name."""
    if arguments.meter == "here":
        return device_name()
    return next((row.latency.device for row in rows if row.latency), arguments.meter)


def _meters(arguments: argparse.Namespace) -> dict[str, RunnableMeter]:
    if arguments.meter in DISTANT:
        runtime = "litert" if arguments.meter == "adb" else arguments.agent_runtime
        return {f"{arguments.meter} {runtime} fp32": distant_meter(arguments, batch=arguments.batch, num_classes=1000)}
    names = [name.strip() for name in (arguments.runtimes or "").split(",") if name.strip()]
    chosen: Sequence[str] = names or [name for name in RUNTIMES if is_installed(name)]
    meters: dict[str, RunnableMeter] = {}
    for name in chosen:
        options = {"threads": arguments.threads, "batch": arguments.batch, "runs": arguments.runs or RUNS}
        for precision in _precisions(name):
            meters[f"{name} {precision}"] = SessionMeter(name, precision=precision, **options)  # type: ignore[arg-type]
        if reaches_cuda(name):
            meters[f"{name} cuda fp32"] = SessionMeter(name, device="cuda", **options)  # type: ignore[arg-type]
    return meters


def _precisions(runtime: str) -> Iterator[MeterPrecision]:
    """The numbers in which ``runtime`` is timed; torch, the reference, in fp32 alone."""
    yield "fp32"
    if runtime in IN_BF16 and runtime != "torch":
        yield "bf16"
    if runtime in INT8_RUNTIMES:
        yield "int8"


def write_cards(rows: Sequence[Row]) -> None:
    """Latency cards of the models that are files of ours; the others have no place for them."""
    cards: dict[Path, list[Latency]] = {}
    without: dict[str, None] = {}
    for row in rows:
        path, model = row.subject.path, row.subject.model
        if row.subject.kind != "yours" or row.latency is None:
            continue
        if path is None or isinstance(model, ExportedModel) or not modelfile.is_model_file(path):
            without[row.subject.name] = None
        else:
            cards.setdefault(path, []).append(row.latency)
    if without:
        _log.warning(
            "--card: only model files (.safetensors) of this package keep latencies, not %s", ", ".join(without)
        )
    for path, latencies in cards.items():
        try:
            _add_cards(path, latencies)
        except OSError as error:
            _log.warning("--card: %s keeps no latencies, it cannot be written: %s", path, error.strerror or error)


def _add_cards(path: Path, latencies: Sequence[Latency]) -> None:
    modelfile.update_latencies(path, lambda there: functools.reduce(with_card, latencies, there))
