"""Repeated timing of one call: warm-ups, robust statistics, a pinned core, and signs of disturbance."""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnasnet.errors import LatencyError
from mnasnet.latency.meter import Latency
from mnasnet.latency.probe import MachineProbe, Reading, is_fine
from mnasnet.packages import version

MAX_SPREAD = 0.06  # 10th to 90th percentile; 2 to 5 % on a quiet machine
MAX_DRIFT = 0.05  # second half against first half: a clock that changes, a processor that heats up
MIN_CPU_SHARE = 0.95  # of the wall time that one busy thread should get
# how much slower than at its best memory or arithmetic may be; beside a neighbour that copies memory, a network of
# 7.6 ms repeated within 1.7 % with this limit instead of 8.6 %
MAX_SLOWDOWN = 0.04
BLOCK = 10  # passes between two readings
# a reading empties the caches: a network of 0.5 ms took twice as long in the first pass after one, 15 % longer in the
# second, and was itself after the fourth; one of 5 ms is after the first
WARM_AGAIN_S = 0.004
MOST_WARM_AGAIN = 20  # passes, for networks that hardly take any time
RUNS = 240  # passes of a measurement whose figure is told; one of a search's many makes do with QUICK_RUNS
QUICK_RUNS = 50
LONG_S = 10.0  # after so long a slow network has been passed often enough, though no less than QUICK_RUNS times
# engines opened anew for one measurement, which take turns: where an engine's memory happens to lie makes it up to 6 %
# faster or slower than its twin, for as long as it lives; `benchmarks/latency.py`, part "turns", tells what remains
ENGINES = 12
PASSES_PER_ENGINE = 15  # at least, else opening takes longer than timing; a profile's short turns come back anyway
PATIENCE = 8  # times as many passes as asked for, at most, until enough of them were undisturbed,
PATIENCE_S = 5.0  # and no longer than this
OUT_OF_MEMORY = ("bad_alloc", "AllocateRawInternal", "Failed to allocate memory")  # in what engines raise


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of a call in milliseconds, in order, on the clock and, where one thread works, of the processor.

    The processor's time leaves out what other work took in between. It still moves with the processor's clock and with
    neighbours that share its caches, by ten percent and more between repeats, which no run can see by itself.
    """

    times_ms: tuple[float, ...]
    cpu_ms: tuple[float, ...] = ()
    slowdown: Mapping[str, float] = field(default_factory=dict)  # of what the probe read against its best, relative
    engines: tuple[int, ...] = ()  # which of several each run went through

    @property
    def cpu_share(self) -> float | None:
        """The share of the time that the one working thread had a core; None where several work."""
        return min(1.0, sum(self.cpu_ms) / sum(self.times_ms)) if self.cpu_ms else None

    @property
    def undisturbed_ms(self) -> float:
        """The best guess at a quiet machine: the 10th percentile of processor time, else the fastest run."""
        if self.cpu_ms:
            return min(_tenths(self.cpu_ms)[0], self.median_ms)
        return min(self.times_ms)

    @property
    def median_ms(self) -> float:
        """The middle run."""
        return statistics.median(self.times_ms)

    @property
    def p90_ms(self) -> float:
        """Nine of ten runs are at most this slow."""
        return _tenths(self.times_ms)[8]

    @property
    def spread(self) -> float:
        """10th to 90th percentile of runs, relative to the median of the same engine's: engines differ at rest too."""
        times, engines = np.array(self.times_ms, np.float64), np.array(self.engines or [0] * len(self.times_ms))
        for engine in np.unique(engines):
            times[engines == engine] /= np.median(times[engines == engine])
        tenths = _tenths(times.tolist())
        return tenths[8] - tenths[0]

    @property
    def drift(self) -> float:
        """How much slower the second half of the runs is than the first, relative; negative when faster."""
        half = len(self.times_ms) // 2
        if not half:
            return 0.0
        return statistics.median(self.times_ms[half:]) / statistics.median(self.times_ms[:half]) - 1.0

    @property
    def disturbance(self) -> str:
        """What disturbed the measurement, in words; empty when it was quiet."""
        signs = []
        for name, slowdown in self.slowdown.items():
            if slowdown > MAX_SLOWDOWN:
                signs.append(f"{name} was {slowdown:.0%} slower than it can be")
        if self.cpu_share is not None and self.cpu_share < MIN_CPU_SHARE:
            signs.append(f"other work took the core {1 - self.cpu_share:.0%} of the time")
        if self.spread > MAX_SPREAD:
            signs.append(f"runs spread by {self.spread:.0%}")
        if abs(self.drift) > MAX_DRIFT:
            signs.append(f"speed changed by {self.drift:+.0%} meanwhile")
        return "not quiet: " + ", ".join(signs) if signs else ""


def latency_of(
    timing: Timing,
    *,
    device: str,
    runtime: str,
    precision: str,
    threads: int,
    batch: int,
    input_size: int,
    note: str = "",
) -> Latency:
    """The latency that ``timing`` comes to; what disturbed it is told before ``note``."""
    disturbance = timing.disturbance
    latency = Latency(
        device=device,
        runtime=runtime,
        runtime_version=version(runtime),
        precision=precision,
        threads=threads,
        batch=batch,
        input_size=input_size,
        n=len(timing.times_ms),
        undisturbed_ms=timing.undisturbed_ms,
        median_ms=timing.median_ms,
        p90_ms=timing.p90_ms,
        spread=timing.spread,
        quiet=not disturbance,
        note=disturbance,
    )
    return latency.with_note(frequency_note()).with_note(note)


def engines_for(runs: int) -> int:
    """How many engines take turns in a measurement of ``runs`` passes."""
    return max(1, min(ENGINES, runs // PASSES_PER_ENGINE))


def is_of_memory(error: BaseException) -> bool:
    """Whether ``error``, or what it was raised from, says that memory ran out."""
    told = f"{error} {error.__cause__ or ''}"
    return MemoryError in (type(error), type(error.__cause__)) or any(sign in told for sign in OUT_OF_MEMORY)


def open_in_turn(
    open_pass: Callable[[], Callable[[], NDArray[Any]]],
    *,
    runtime: str,
    runs: int,
    most: int = ENGINES,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Callable[[], NDArray[Any]]]:
    """Passes through the engines that ``open_pass`` opens one after the other, each passed once before.

    As many as a measurement of ``runs`` passes has sense for, which are fewer where one takes long. Where memory has no
    room for another, the last gives its own back to the passes of the others. Raises LatencyError for scores that are
    no numbers, and what the first raises.
    """
    passes: list[Callable[[], NDArray[Any]]] = []
    count = 1
    while len(passes) < count:
        try:
            one = open_pass()
            if not np.isfinite(one()).all():
                raise LatencyError(f"{runtime} gave scores that are no numbers; its time would mean nothing")
            if not passes:
                count = min(most, engines_for(_runs_in_time(one, runs, clock)))
        except Exception as error:
            if not passes or not is_of_memory(error):
                raise
            return passes[:-1] or passes
        passes.append(one)
    return passes


def _runs_in_time(call: Callable[[], object], runs: int, clock: Callable[[], float]) -> int:
    """How many of ``runs`` passes time_calls will make, by one pass of an engine that has run before."""
    began = clock()
    call()
    pass_s = clock() - began
    return runs if pass_s * runs <= LONG_S else min(runs, max(QUICK_RUNS, round(LONG_S / pass_s)))


def time_calls(
    *calls: Callable[[], object],
    warmups: int = 10,
    runs: int = 50,
    one_thread: bool = False,
    probe: MachineProbe | None = None,
    clock: Callable[[], float] = time.perf_counter,
    cpu_clock: Callable[[], float] = time.process_time,
) -> Timing:
    """Time ``calls``, which do the same work, block by block in turn, after ``warmups`` in all.

    ``one_thread`` says that a single thread does the work, so that processor time means something; there is none where
    ``cpu_clock`` is too coarse for it.

    A slow network is passed fewer times than ``runs``: for ``LONG_S`` seconds, but ``QUICK_RUNS`` times at least. With
    ``probe`` the passes that count are those around which memory and arithmetic were fastest, of ``PATIENCE`` times as
    many at most.
    """
    for _, call in zip(range(warmups), itertools.cycle(calls), strict=False):
        call()
    size = min(BLOCK, runs)
    needed = -(-runs // size)
    blocks: list[_Block] = []
    reading = probe.read() if probe is not None else {}
    began = clock()
    patient_until = time.monotonic() + PATIENCE_S
    while len(blocks) < needed or (
        probe is not None
        and len(blocks) < PATIENCE * needed
        and time.monotonic() < patient_until
        and sum(block.slowdown(probe) <= MAX_SLOWDOWN for block in blocks) < needed
    ):
        engine = len(blocks) % len(calls)
        call = calls[engine]
        _warm_again(call, clock)
        passes_ms = [_timed(call, clock, cpu_clock) for _ in range(size)]
        before, reading = reading, probe.read() if probe is not None else {}
        blocks.append(_Block(engine, passes_ms, (before, reading)))
        if len(blocks) * size >= QUICK_RUNS and clock() - began >= LONG_S:
            needed = min(needed, len(blocks))
    if probe is not None:
        quietest = sorted(range(len(blocks)), key=lambda index: blocks[index].slowdown(probe))[:needed]
        blocks = [blocks[index] for index in sorted(quietest)]  # in the order of time
    passes = [one for block in blocks for one in block.passes_ms][:runs]
    engines = [block.engine for block in blocks for _ in block.passes_ms][:runs]
    return Timing(
        tuple(wall_ms for wall_ms, _ in passes),
        tuple(cpu_ms for _, cpu_ms in passes) if one_thread and is_fine(cpu_clock) else (),
        probe.slowdown(*(reading for block in blocks for reading in block.readings)) if probe is not None else {},
        tuple(engines),
    )


@dataclass(frozen=True, slots=True)
class _Block:
    """A few passes through an engine, on the clock and of the processor, and the readings before and after them."""

    engine: int
    passes_ms: Sequence[tuple[float, float]]
    readings: tuple[Reading, Reading]

    def slowdown(self, probe: MachineProbe) -> float:
        """Of memory or arithmetic, whichever was worse."""
        return max(probe.slowdown(*self.readings).values())


def _warm_again(call: Callable[[], object], clock: Callable[[], float]) -> None:
    """Bring the network's own memory back into the caches, once at least."""
    until = clock() + WARM_AGAIN_S
    for _ in range(MOST_WARM_AGAIN):
        call()
        if clock() >= until:
            return


def _timed(
    call: Callable[[], object], clock: Callable[[], float], cpu_clock: Callable[[], float]
) -> tuple[float, float]:
    cpu_start, start = cpu_clock(), clock()
    call()
    return (clock() - start) * 1e3, (cpu_clock() - cpu_start) * 1e3


def _tenths(values: Sequence[float]) -> list[float]:
    return statistics.quantiles(values, n=10, method="inclusive") if len(values) > 1 else [values[0]] * 9


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Keep this thread, and those it starts, on the ``threads`` fastest cores meanwhile, where the system can.

    On phones and hybrid processors a small core would else answer for the big one.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    # of equal cores the last ones: the first serves most interrupts
    fastest = sorted(before, key=lambda core: (max_frequency(core), core), reverse=True)
    try:
        os.sched_setaffinity(0, set(fastest[:threads]))
    except OSError:  # a sandbox may forbid it; the spread of the runs then tells
        yield
        return
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def max_frequency(core: int) -> int:
    """The core's highest clock in kHz, 0 where the system does not tell."""
    try:
        return int(Path(f"/sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def frequency_note() -> str:
    """A warning when the clock may slow down between runs; empty where it is fixed or unknown."""
    try:
        governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    return "" if governor == "performance" else f"clock governor {governor}"
