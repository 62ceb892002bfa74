"""A device's table: the time of every piece of a search space, a correction of their sum, and its known error."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mnasnet.checks import is_number, make_plain
from mnasnet.errors import LatencyError, MnasNetError
from mnasnet.files import expanded, write_json
from mnasnet.latency.agreement import Agreement, agreement
from mnasnet.latency.meter import Latency, LatencyMeter
from mnasnet.latency.pieces import Piece, Probe, pieces_of, stem_input_size
from mnasnet.latency.remembered import beside
from mnasnet.progress import Counted
from mnasnet.spec import ArchitectureSpec

SCHEMA = 1
ROUNDS = 5  # on a machine with neighbours the error still fell from the third to the fifth
FOLDS = 5
LEAST_TAU = 0.5  # below, the order of a table's prices says little of the device's
FEWEST_TO_FIT = 6  # networks beside the held-out ones; with fewer, three coefficients would only learn their noise


@dataclass(frozen=True, slots=True)
class Correction:
    """milliseconds = ``scale`` x sum of pieces + ``layer_ms`` x number of pieces + ``offset_ms``."""

    scale: float = 1.0
    layer_ms: float = 0.0
    offset_ms: float = 0.0

    def __post_init__(self) -> None:
        make_plain(self)
        for name, value in asdict(self).items():
            if not is_number(value):
                raise LatencyError(f"not a correction: {name} must be a finite number, got {value!r}; profile again")

    def __call__(self, sum_ms: float, pieces: int) -> float:
        """The corrected time of a network."""
        return self.scale * sum_ms + self.layer_ms * pieces + self.offset_ms


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """Milliseconds of each piece by its key, on one device, runtime and setting.

    ``conditions`` is a measured latency of the device: it says under which conditions the table holds.
    ``error`` is of networks held out from the fit of ``correction``, None where there were too few to tell.
    ``networks`` are the whole networks that were timed: predicted while held out, and measured, in ms.
    ``num_classes`` is that of the classifiers that were timed, 0 where nobody knows.
    """

    conditions: Latency
    piece_ms: Mapping[str, float]
    correction: Correction = field(default_factory=Correction)
    error: Agreement | None = None
    networks: tuple[tuple[float, float], ...] = ()
    made_on: str = ""
    num_classes: int = 0

    @property
    def distrust(self) -> str:
        """Why nobody should go by this table; empty where it orders networks as measured, or nobody can tell."""
        if self.error is None or self.error.kendall_tau >= LEAST_TAU:
            return ""
        return (
            "it hardly orders networks as the device does; profile again with more --rounds and --checks, on a quiet "
            "device"
        )

    def predict_ms(self, architecture: ArchitectureSpec, input_size: int) -> float:
        """The time of a whole network; raises LatencyError naming the input size or the piece that the table lacks."""
        keys = _keys(architecture, input_size)
        return self.correction(self._sum_ms(keys, input_size), len(keys))

    def _sum_ms(self, keys: Sequence[str], input_size: int) -> float:
        for key in keys:
            if key not in self.piece_ms:
                raise self._lacks(key, input_size)
        return math.fsum(self.piece_ms[key] for key in keys)

    def _lacks(self, piece: str, input_size: int) -> LatencyError:
        sizes = sorted({size for size in map(stem_input_size, self.piece_ms) if size})
        if sizes and input_size not in sizes:
            return LatencyError(
                f"the latency table of {self.conditions.device} is for {', '.join(map(str, sizes))} px, "
                f"networks take {input_size} px here; profile with --input-size {input_size}"
            )
        return LatencyError(
            f"the latency table of {self.conditions.device} lacks the piece {piece!r}; "
            f"profile the space or network that has it with --input-size {input_size}"
        )

    def calibrated(self, networks: Sequence[Probe], measured_ms: Sequence[float]) -> LatencyTable:
        """This table with a correction fitted to whole networks, its error taken from folds that were held out.

        With few networks it is a scale alone.
        """
        _require_times(networks, measured_ms)
        keys = [_keys(*network) for network in networks]
        sums = [self._sum_ms(own, size) for own, (_, size) in zip(keys, networks, strict=True)]
        counts = [len(own) for own in keys]
        held_out = np.zeros(len(sums))
        folds = min(FOLDS, len(sums))
        # decided once: the error is of a correction of the same form as that which is kept
        only_scale = len(sums) - math.ceil(len(sums) / folds) < FEWEST_TO_FIT

        def fitted(kept: Sequence[int]) -> Correction:
            parts = [sums[i] for i in kept], [counts[i] for i in kept], [measured_ms[i] for i in kept]
            return _fit_correction(*parts, only_scale=only_scale)

        for fold in range(folds):
            own = fitted([index for index in range(len(sums)) if index % folds != fold])
            for index in range(fold, len(sums), folds):
                held_out[index] = own(sums[index], counts[index])
        return replace(
            self,
            correction=fitted(range(len(sums))),
            error=agreement(list(held_out), measured_ms) if len(sums) >= 3 else None,
            networks=tuple(zip(map(float, held_out), map(float, measured_ms), strict=True)),
        )

    def save(self, path: Path) -> None:
        """Write the table as JSON, whole or not at all."""
        values = {
            "schema": SCHEMA,
            "made_on": self.made_on,
            "num_classes": self.num_classes,
            "conditions": self.conditions.to_dict(),
            "correction": asdict(self.correction),
            "error": self.error.to_dict() if self.error else None,
            "networks": [{"predicted_ms": guess, "measured_ms": truth} for guess, truth in self.networks],
            "piece_ms": {key: round(value, 6) for key, value in self.piece_ms.items()},
        }
        write_json(path, values)

    @classmethod
    def load(cls, path: Path) -> LatencyTable:
        """The table in ``path``; raises LatencyError when it cannot be read."""
        path = expanded(path)
        try:
            values = json.loads(path.read_text(encoding="utf-8-sig"))  # some editors put a mark in front
            table = None if values["schema"] > SCHEMA else _table_of(values)
        except OSError as error:
            raise LatencyError(
                f"cannot read the latency table {path}: {error.strerror or error}; measure one on the device with "
                "`python -m mnasnet profile`"
            ) from error
        except (LatencyError, ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise LatencyError(
                f"{path} is not a latency table ({type(error).__name__}: {error}); profile the device again"
            ) from error
        if table is None:
            raise LatencyError(
                f"{path} has latency table schema {values['schema']}, newer than {SCHEMA}; update the mnasnet package"
            )
        return table


def _table_of(values: Mapping[str, Any]) -> LatencyTable:
    """The table that a file of this schema holds; raises what values of other kinds raise."""
    return LatencyTable(
        conditions=Latency.from_dict(values["conditions"]),
        piece_ms={str(key): _number(value) for key, value in values["piece_ms"].items()},
        correction=Correction(**values["correction"]),
        error=Agreement.from_dict(values["error"]) if values["error"] else None,
        networks=tuple((_number(row["predicted_ms"]), _number(row["measured_ms"])) for row in values["networks"]),
        made_on=str(values["made_on"]),
        num_classes=int(values.get("num_classes", 0)),
    )


def _number(value: object) -> float:
    if not is_number(value):
        raise ValueError(f"{value!r} is no number of milliseconds")
    return float(value)


@dataclass(frozen=True, eq=False)
class TableMeter:
    """Predicts from a table; its latencies say that they are predicted, and with which error."""

    table: LatencyTable

    def measure(self, architecture: ArchitectureSpec, input_size: int) -> Latency:
        """The predicted time; raises LatencyError when the table lacks a piece of the network."""
        predicted_ms = self.table.predict_ms(architecture, input_size)
        error = self.table.error
        return replace(
            self.table.conditions,
            input_size=input_size,
            n=0,
            undisturbed_ms=predicted_ms,
            median_ms=predicted_ms,
            p90_ms=predicted_ms,
            spread=0.0,
            quiet=True,
            predicted=True,
            note="from a table" + (f" with a mean error of {error.mape_percent:.1f}%" if error else ""),
        )


def profile(
    pieces: Iterable[Piece],
    checks: Sequence[Probe],
    meter: LatencyMeter,
    input_size: int,
    *,
    made_on: str = "",
    num_classes: int = 0,
    rounds: int = ROUNDS,
    most_seconds: float = math.inf,
    progress: Counted | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> LatencyTable:
    """Time every distinct piece, and the whole networks ``checks`` to correct and judge their sums.

    All networks are timed through ``meter`` in each of ``rounds``, and the fastest undisturbed time of each counts:
    what disturbs a machine lasts for seconds and minutes, so turns that lie apart tell more than long ones. A round
    after the first begins only where it would end within ``most_seconds``. ``input_size`` is named as the table's
    condition, and so are the ``num_classes`` of the meter's classifiers. Raises LatencyError when a network cannot be
    measured.
    """
    distinct = {piece.key: piece for piece in pieces}
    probes = dict.fromkeys([piece.probe for piece in distinct.values()] + [p.base for p in distinct.values() if p.base])
    turns = list(dict.fromkeys(_in_turns(list(probes), checks)))
    timed = _timed(turns, meter, rounds, most_seconds, progress, clock)

    def piece_ms(piece: Piece) -> float:
        base_ms = timed[piece.base].undisturbed_ms if piece.base else 0.0
        return max(0.0, timed[piece.probe].undisturbed_ms - base_ms)

    table = LatencyTable(
        conditions=replace(next(iter(timed.values())), input_size=input_size),
        piece_ms={key: piece_ms(piece) for key, piece in distinct.items()},
        made_on=made_on,
        num_classes=num_classes,
    )
    return table.calibrated(checks, [timed[check].undisturbed_ms for check in checks]) if checks else table


def _in_turns(probes: Sequence[Probe], wholes: Sequence[Probe]) -> list[Probe]:
    """Whole networks spread evenly among the probes, so that a machine that slows down tells on both."""
    places = [(place / len(group), group[place]) for group in (probes, wholes) for place in range(len(group))]
    return [network for _, network in sorted(places, key=lambda one: one[0])]


def _timed(
    networks: Sequence[Probe],
    meter: LatencyMeter,
    rounds: int,
    most_seconds: float,
    progress: Counted | None,
    clock: Callable[[], float],
) -> dict[Probe, Latency]:
    """Each network's fastest latency of all rounds."""
    timed: dict[Probe, Latency] = {}
    first: Latency | None = None
    started, done = clock(), 0
    for turn in range(rounds):
        if turn and (clock() - started) * (turn + 1) / turn > most_seconds:
            break
        # every second round backwards, so that a slow minute does not meet the same networks again
        for network in networks if turn % 2 == 0 else reversed(networks):
            latency = meter.measure(*network)
            first = first or latency
            beside(first, latency)
            if network not in timed or latency.undisturbed_ms < timed[network].undisturbed_ms:
                timed[network] = latency
            done += 1
            if progress is not None:
                progress(done, rounds * len(networks))
    return timed


def learn(
    architectures: Sequence[ArchitectureSpec],
    measured_ms: Sequence[float],
    input_size: int,
    conditions: Latency,
    *,
    ridge: float = 1e-3,
) -> LatencyTable:
    """A table learned from whole networks that someone else has timed, on any device.

    Least squares over how often each piece occurs; ``ridge`` holds pieces that always come together. Raises
    LatencyError without networks or for a latency that is no number above 0.
    """
    _require_times(architectures, measured_ms)
    counts = [Counter(_keys(architecture, input_size)) for architecture in architectures]
    keys = sorted(set().union(*counts))
    columns = {key: column for column, key in enumerate(keys)}
    matrix = np.zeros((len(counts), len(keys)))  # networks x pieces
    for row, count in enumerate(counts):
        for key, times in count.items():
            matrix[row, columns[key]] = times
    truth = np.asarray(measured_ms, np.float64)
    weighted = matrix / truth[:, None]  # relative errors count, not absolute ones
    normal = weighted.T @ weighted + ridge * np.eye(len(keys)) / np.mean(truth) ** 2
    coefficients = np.linalg.solve(normal, weighted.T @ np.ones(len(truth)))
    return LatencyTable(conditions, dict(zip(keys, map(float, coefficients), strict=True)))


def _require_times(networks: Sequence[object], measured_ms: Sequence[float]) -> None:
    if not networks or len(networks) != len(measured_ms):
        raise LatencyError(
            f"a table is learned from networks with one latency each, got {len(networks)} and {len(measured_ms)}"
        )
    for latency_ms in measured_ms:
        if not (math.isfinite(latency_ms) and latency_ms > 0):
            raise LatencyError(f"a latency must be a number of milliseconds above 0, got {latency_ms!r}")


def _fit_correction(
    sums: Sequence[float], counts: Sequence[int], measured_ms: Sequence[float], *, only_scale: bool
) -> Correction:
    """Least squares of relative errors."""
    truth, total = np.asarray(measured_ms, np.float64), np.asarray(sums, np.float64)
    if only_scale:
        return Correction(float(np.median(truth / total)) if len(truth) else 1.0)
    terms = [total, np.asarray(counts, np.float64), np.ones_like(total)]
    matrix = np.stack(terms, axis=1) / truth[:, None]
    (scale, layer_ms, offset_ms), *_ = np.linalg.lstsq(matrix, np.ones(len(truth)), rcond=1e-8)
    return Correction(float(scale), float(layer_ms), float(offset_ms))


def _keys(architecture: ArchitectureSpec, input_size: int) -> list[str]:
    try:
        return [piece.key for piece in pieces_of(architecture, input_size)]
    except MnasNetError as error:
        raise LatencyError(f"this network cannot be priced at {input_size} px: {error}") from error
