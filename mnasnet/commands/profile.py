"""``profile``: time every distinct piece of a search space or of networks on this device, once, into a table."""

from __future__ import annotations

import argparse
import datetime
import difflib
import logging
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from mnasnet.commands.bar import counting_bar
from mnasnet.commands.devices import add_device_arguments, distant_meter, require_meter_of_device
from mnasnet.commands.json_line import json_line
from mnasnet.commands.values import file_to_write, whole
from mnasnet.errors import LatencyError, WeightsError
from mnasnet.files import is_full
from mnasnet.latency.meter import LatencyMeter, MeterPrecision, require_rgb
from mnasnet.latency.meters import DISTANT, require_device_there
from mnasnet.latency.pieces import Piece, pieces_of, pieces_of_space, random_probes
from mnasnet.latency.remembered import ContinuedMeter
from mnasnet.latency.session import SessionMeter
from mnasnet.latency.table import ROUNDS, LatencyTable, profile
from mnasnet.preprocess import MAX_INPUT_SIZE, MIN_INPUT_SIZE
from mnasnet.presets import PRESETS
from mnasnet.runtime.session import RUNTIMES
from mnasnet.space import SearchSpace
from mnasnet.space_file import open_space
from mnasnet.spaces import SPACES
from mnasnet.spec import ArchitectureSpec
from mnasnet.words import printable

_log = logging.getLogger(__name__)

RUNS = 20  # many short turns, far apart, find more quiet moments than long ones


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "targets",
        nargs="+",
        metavar="TARGET",
        help=f"a search space ({', '.join(SPACES)}, or its YAML file), networks that `models` lists, or model files",
    )
    parser.add_argument(
        "--meter",
        "--runtime",
        dest="meter",
        default="onnxruntime",
        choices=[*RUNTIMES, *DISTANT],
        help="who measures: a runtime of this machine, an agent, or a phone (default onnxruntime)",
    )
    parser.add_argument(
        "--device",
        default="cpu",
        choices=["cpu", "cuda"],
        help="what is timed: processor cores or this machine's NVIDIA GPU (default cpu)",
    )
    parser.add_argument(
        "--precision",
        default="fp32",
        choices=list(get_args(MeterPrecision)),
        help="arithmetic of the networks while they are timed (default fp32)",
    )
    parser.add_argument("--threads", type=int, default=1, help="threads that work on one image (default 1)")
    parser.add_argument(
        "--input-size", type=whole(MIN_INPUT_SIZE, MAX_INPUT_SIZE), default=224, metavar="PIXELS", help="default 224"
    )
    parser.add_argument("--classes", type=int, default=1000, metavar="N", help="outputs of the networks (default 1000)")
    parser.add_argument("--runs", type=int, default=RUNS, metavar="N", help=f"timed passes of a piece ({RUNS})")
    parser.add_argument(
        "--rounds",
        type=whole(1, 20),
        default=ROUNDS,
        metavar="N",
        help=f"times that each is timed ({ROUNDS})",
    )
    parser.add_argument(
        "--checks",
        type=whole(0, 10_000),
        default=40,
        metavar="N",
        help="random networks of the space that are timed whole (40)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of these networks (0)")
    parser.add_argument(
        "--out",
        type=file_to_write,
        default=Path("latency_table.json"),
        metavar="FILE",
        help="where the table goes (default latency_table.json)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    add_device_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Profile, save the table, and print how far it can be trusted."""
    require_meter_of_device(arguments)
    meter = _continued(_meter(arguments), arguments)
    spaces, networks = _targets(arguments.targets)
    rng = random.Random(arguments.seed)
    size = arguments.input_size
    drawn = [probe for own in spaces for probe in random_probes(own, arguments.checks, size, rng)]
    checks = list(dict.fromkeys([*((network, size) for network in networks), *drawn]))
    try:
        with counting_bar("timings") as show:
            table = profile(
                _pieces(spaces, networks, size),
                checks,
                meter,
                size,
                made_on=datetime.date.today().isoformat(),
                num_classes=arguments.classes,
                rounds=arguments.rounds,
                progress=show,
            )
        table.save(arguments.out)
    except (LatencyError, KeyboardInterrupt, OSError) as error:
        if meter.kept:
            _log.info("%d timings are kept in %s; the same command goes on with them", meter.kept, meter.file)
        if isinstance(error, OSError):
            cure = "make room, then give the same command again" if is_full(error) else "name a file in another folder"
            raise LatencyError(f"cannot write {arguments.out}: {error.strerror or error}; {cure}") from error
        raise
    meter.finish()
    print(_as_json(table, arguments.out) if arguments.json else _as_text(table, arguments.out))
    return 0


def _continued(meter: LatencyMeter, arguments: argparse.Namespace) -> ContinuedMeter:
    """``meter``, which has what a command of the same measurements left when it was stopped."""
    names = ("meter", "device", "precision", "threads", "classes", "runs", "agent_runtime", "adb_serial")
    settings = {name: getattr(arguments, name) for name in names}
    file = arguments.out.with_name(f"{arguments.out.name}.unfinished")
    continued = ContinuedMeter(meter, file, settings)
    if continued.kept:
        _log.info("going on after %d timings; to begin anew, remove %s", continued.kept, file)
    if continued.others:
        _log.warning("%d timings with other settings stay in %s; they are not used", continued.others, file)
    return continued


def _meter(arguments: argparse.Namespace) -> LatencyMeter:
    if arguments.meter in DISTANT:
        require_device_there(arguments.meter, arguments.device)
        return distant_meter(arguments, batch=1, num_classes=arguments.classes, precision=arguments.precision)
    return SessionMeter(
        arguments.meter,
        device=arguments.device,
        precision=arguments.precision,
        threads=arguments.threads,
        num_classes=arguments.classes,
        runs=arguments.runs,
    )


def _targets(names: Sequence[str]) -> tuple[list[SearchSpace], list[ArchitectureSpec]]:
    spaces, networks = [], []
    for name in names:
        if name in SPACES or Path(name).suffix.lower() in (".yaml", ".yml", ".json"):
            spaces.append(open_space(name))
        elif name in PRESETS:
            networks.append(PRESETS[name])
        else:
            from mnasnet.zoo import open_model

            near = difflib.get_close_matches(name, list(SPACES), n=2, cutoff=0.6)
            if near and not Path(name).exists():
                raise WeightsError(f"no space, network or file is called {name!r}; did you mean {' or '.join(near)}?")
            model = open_model(name)
            require_rgb(name, model)
            networks.append(model.architecture)
    return spaces, networks


def _pieces(spaces: Sequence[SearchSpace], networks: Sequence[ArchitectureSpec], input_size: int) -> Iterator[Piece]:
    for own in spaces:
        yield from pieces_of_space(own, input_size)
    for network in networks:
        yield from pieces_of(network, input_size)


def _as_json(table: LatencyTable, path: Path) -> str:
    return json_line(
        {
            "file": str(path),
            "pieces": len(table.piece_ms),
            "conditions": table.conditions.to_dict(),
            "error": table.error.to_dict() if table.error else None,
            "distrust": table.distrust,
        }
    )


def _as_text(table: LatencyTable, path: Path) -> str:
    own = table.conditions
    error = table.error.sentence if table.error else "unknown: fewer than three whole networks were timed"
    if table.distrust:
        error += f"\n         do not trust this table: {table.distrust}"
    return "\n".join(
        [
            printable(
                f"device   {own.device}, {own.runtime} {own.runtime_version} {own.precision}, threads {own.threads}"
            ),
            f"pieces   {len(table.piece_ms)} timed one by one, {len(table.networks)} networks as a whole",
            f"error    {error}",
            f"written  {path}",
        ]
    )
