"""A device's latency as the cost of a search: measured, or predicted from its table."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from mnasnet.errors import LatencyError, SettingsError
from mnasnet.latency.adb import AdbMeter, AndroidPhone
from mnasnet.latency.energy import EnergyMeter
from mnasnet.latency.isolated import IsolatedMeter
from mnasnet.latency.meter import WAKE_S, LatencyMeter, NotAllowedError
from mnasnet.latency.meters import DISTANT, open_meter
from mnasnet.latency.pieces import pieces_of_space, random_probes
from mnasnet.latency.remote import AgentAddress, RemoteMeter
from mnasnet.latency.session import device_name
from mnasnet.latency.table import ROUNDS, LatencyTable, profile
from mnasnet.packages import require
from mnasnet.progress import Stop
from mnasnet.runtime.session import Runtime, reaches_cuda
from mnasnet.search.searching import Searching
from mnasnet.search.stop import SearchStopped
from mnasnet.space import Candidate, SearchSpace

_log = logging.getLogger(__name__)

CHECKED_NETWORKS = 24  # whole networks that correct and judge the sums of pieces
FIRST_PIECES = 8  # after so many the time of the others can be told


@dataclass(frozen=True)
class LatencyCost:
    """Milliseconds by any latency meter, undisturbed ones so that a busy moment decides nothing.

    Of a table it is an estimate, of a device the truth. ``input_size`` (pixels) is for spaces that leave it open.
    """

    meter: LatencyMeter
    input_size: int = 224

    def measure(self, candidate: Candidate) -> float:
        """The milliseconds; raises LatencyError when they cannot be told."""
        return self.meter.measure(candidate.architecture, candidate.input_size or self.input_size).undisturbed_ms


@dataclass(frozen=True)
class EnergyCost:
    """Millijoules of one image on this machine's processor."""

    meter: EnergyMeter
    input_size: int = 224

    def measure(self, candidate: Candidate) -> float:
        """The millijoules; raises LatencyError when they cannot be told."""
        return self.meter.measure_mj(candidate.architecture, candidate.input_size or self.input_size)


def open_device_meter(searching: Searching, num_classes: int, stop: Stop) -> LatencyMeter:
    """The meter that the search asks for; an engine of this machine gets a process of its own.

    While any of them measures, or an agent that is away is waited for, ``stop`` is asked now and then, and
    SearchStopped is raised when it says so.
    """

    def look_up() -> None:
        if stop():
            raise SearchStopped

    def sleep(pause_s: float) -> None:
        until = time.monotonic() + pause_s
        while (left_s := until - time.monotonic()) > 0:
            look_up()
            time.sleep(min(left_s, WAKE_S))

    if searching.meter in DISTANT:
        meter = open_meter(
            searching.meter,
            precision=searching.precision,
            threads=searching.meter_threads,
            num_classes=num_classes,
            agent=_agent_of(searching) if searching.meter == "remote" else None,
            phone=_phone_of(searching) if searching.meter == "adb" else None,
        )
        if isinstance(meter, RemoteMeter):
            meter = replace(meter, sleep=sleep)
        return replace(cast("RemoteMeter | AdbMeter", meter), on_wait=look_up)
    return IsolatedMeter(
        cast("Runtime", searching.meter),
        device=searching.meter_device,
        precision=searching.precision,
        threads=searching.meter_threads,
        num_classes=num_classes,
        on_wait=look_up,
    )


def require_meter_device(searching: Searching) -> None:
    """Raise SettingsError where latency is to be measured on a GPU that the meter does not reach."""
    if searching.needs_latency and searching.meter_device == "cuda" and not _is_on_gpu(searching):
        raise SettingsError(
            f"meter_device cuda was asked for but {searching.meter} reaches no NVIDIA GPU on this machine; set "
            "meter_device to cpu"
        )


def _is_on_gpu(searching: Searching) -> bool:
    if searching.meter_device != "cuda":
        return False
    require(searching.meter)
    return reaches_cuda(searching.meter)


def _agent_of(searching: Searching) -> AgentAddress:
    return AgentAddress(
        url=searching.agent_url,
        token_file=Path(searching.agent_token_file) if searching.agent_token_file else None,
        ca_file=Path(searching.agent_ca_file) if searching.agent_ca_file else None,
        wait_minutes=searching.agent_wait_minutes,
        runtime=searching.agent_runtime,
    )


def _phone_of(searching: Searching) -> AndroidPhone:
    return AndroidPhone(serial=searching.adb_serial, tool=Path(searching.adb_tool) if searching.adb_tool else None)


def device_now(searching: Searching) -> str:
    """The device that answers for ``searching`` now, as it names itself; "" where none does.

    Nobody waits for it: one that is away now may be back before it is needed.
    """
    if searching.meter not in DISTANT:
        return device_name("cuda" if _is_on_gpu(searching) else "cpu")
    try:
        meter: Any = open_device_meter(replace(searching, agent_wait_minutes=0.0), 1, lambda: False)
        return str(meter.health().get("device", "")) if searching.meter == "remote" else str(meter.device)
    except NotAllowedError:  # it is there, and would answer no network either
        raise
    except LatencyError:
        return ""


def profiled(
    space: SearchSpace,
    meter: LatencyMeter,
    input_size: int,
    *,
    most_seconds: float,
    rounds_s: float = math.inf,
    made_on: str,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    clock: Callable[[], float] = time.monotonic,
) -> LatencyTable | None:
    """The device's table for ``space``; None, with a line in the log, where it would take over ``most_seconds``.

    Rounds after the first begin only where they would end within ``rounds_s``. ``progress`` hears of the timings done
    and of all, and may raise to stop. Raises LatencyError when the device cannot be measured.
    """
    started = clock()

    def watch(done: int, total: int) -> None:
        progress(done, total)
        networks = total // ROUNDS
        needed_s = (clock() - started) / done * networks
        if FIRST_PIECES <= done <= networks and needed_s > most_seconds:
            raise _TooLong(f"a table of the device would take {needed_s:.0f} s for {networks} pieces")

    size = max(space.input_sizes, default=input_size)
    try:
        return profile(
            pieces_of_space(space, size),
            random_probes(space, CHECKED_NETWORKS, input_size, random.Random(seed)),
            meter,
            size,
            made_on=made_on,
            num_classes=int(getattr(meter, "num_classes", 0)),
            most_seconds=rounds_s,
            progress=watch,
            clock=clock,
        )
    except _TooLong as reason:
        _log.info("%s; the search goes without one", reason)
        return None


class _TooLong(Exception):  # noqa: N818  # not an error
    """Profiling takes longer than it is worth."""
