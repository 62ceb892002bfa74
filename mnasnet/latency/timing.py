"""Repeated timing of one call: warm-ups, robust statistics, a pinned core, and signs of disturbance.

A neighbour on another core slows a pass down through shared caches and memory, and no clock of this process shows it.
So a probe reads the same memory between the passes: where it is slow, they are not to be trusted.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAX_SPREAD = 0.10  # 10th to 90th percentile; 2 to 5 % on a quiet machine
MAX_DRIFT = 0.05  # second half against first half: a clock that changes, a processor that heats up
MIN_CPU_SHARE = 0.95  # of the wall time that one busy thread should get
# how much slower than at its best the probe may be; beside a neighbour that copies memory, a network of 7.6 ms so
# repeated within 1.7 % instead of 8.6 %
MAX_SLOWDOWN = 0.04
COARSEST_TICK_S = 1e-4  # a clock that moves in longer steps times no pass
PROBE_BYTES = 12 << 20  # more than a core's own caches, less than most shared ones
PROBE_READS = 4
PROBE_STARTS = 20  # readings that find the best one
BLOCK = 10  # passes between two readings
PATIENCE = 3  # times as many passes as asked for, at most, until enough of them were undisturbed


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of a call in milliseconds, in order, on the clock and, where one thread works, of the processor.

    The processor's time leaves out what other work took in between. It still moves with the processor's clock and with
    neighbours that share its caches, by ten percent and more between repeats, which no run can see by itself.
    """

    times_ms: tuple[float, ...]
    cpu_ms: tuple[float, ...] = ()
    slowdown: float | None = None  # of the memory probe against its best, relative; None without one

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
        """10th to 90th percentile, relative to the median."""
        tenths = _tenths(self.times_ms)
        return (tenths[8] - tenths[0]) / self.median_ms

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
        if self.slowdown is not None and self.slowdown > MAX_SLOWDOWN:
            signs.append(f"memory was {self.slowdown:.0%} slower than it can be")
        if self.cpu_share is not None and self.cpu_share < MIN_CPU_SHARE:
            signs.append(f"other work took the core {1 - self.cpu_share:.0%} of the time")
        if self.spread > MAX_SPREAD:
            signs.append(f"runs spread by {self.spread:.0%}")
        if abs(self.drift) > MAX_DRIFT:
            signs.append(f"speed changed by {self.drift:+.0%} meanwhile")
        return "not quiet: " + ", ".join(signs) if signs else ""


class MemoryProbe:
    """Reads the same memory between the passes: it is slow while a neighbour uses shared caches or the clock is low.

    It remembers its readings, so one probe serves all measurements of a process. Its best is what one reading in ten
    reaches; the very fastest is a rare moment at a higher clock, beside which all others would seem disturbed.
    """

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._numbers = np.ones(PROBE_BYTES // 4, np.float32)
        self._clock = clock
        self._readings_ms: list[float] = []  # sorted
        for _ in range(PROBE_STARTS):
            self.read()

    @property
    def best_ms(self) -> float:
        """What the memory can do undisturbed."""
        return self._readings_ms[len(self._readings_ms) // 10]

    def read(self) -> float:
        """How long one reading of the memory takes now, in milliseconds."""
        self._numbers.sum()  # brings it back after a network has run
        times_ms = []
        for _ in range(PROBE_READS):
            start = self._clock()
            self._numbers.sum()
            times_ms.append((self._clock() - start) * 1e3)
        reading_ms = sorted(times_ms)[1]  # a single interruption does not count
        bisect.insort(self._readings_ms, reading_ms)
        return reading_ms


@functools.cache
def memory_probe(cpu_clock: Callable[[], float] = time.thread_time) -> MemoryProbe:
    """The probe of this process, by the time of its processor where that is counted finely."""
    return MemoryProbe(cpu_clock if _is_fine(cpu_clock) else time.perf_counter)


@functools.cache
def _is_fine(clock: Callable[[], float]) -> bool:
    """Whether ``clock`` can time a pass; Windows counts processor time in ticks of 15.6 ms and calls them 100 ns."""
    moments = [clock()]
    while len(moments) < 4:
        if (moment := clock()) != moments[-1]:
            moments.append(moment)
    # other threads of this process may take one step of a fine clock, hardly all
    return min(later - earlier for earlier, later in itertools.pairwise(moments)) <= COARSEST_TICK_S


def time_calls(
    call: Callable[[], object],
    *,
    warmups: int = 10,
    runs: int = 50,
    one_thread: bool = False,
    probe: MemoryProbe | None = None,
    clock: Callable[[], float] = time.perf_counter,
    cpu_clock: Callable[[], float] = time.process_time,
) -> Timing:
    """Time ``call``; ``one_thread`` says that a single thread does its work, so that processor time means something;
    there is none where ``cpu_clock`` is too coarse for it.

    With ``probe`` the ``runs`` passes are those around which memory was fastest, of ``PATIENCE`` times as many at most.
    """
    for _ in range(warmups):
        call()
    size = min(BLOCK, runs)
    needed = -(-runs // size)
    blocks: list[_Block] = []
    reading_ms = probe.read() if probe is not None else 0.0
    while len(blocks) < needed or (probe is not None and _are_disturbed(blocks, needed, probe)):
        call()  # after the probe's memory the network's own is in the caches again
        passes_ms = [_timed(call, clock, cpu_clock) for _ in range(size)]
        before_ms, reading_ms = reading_ms, probe.read() if probe is not None else 0.0
        blocks.append(_Block(passes_ms, max(before_ms, reading_ms)))
    quietest = sorted(range(len(blocks)), key=lambda index: blocks[index].reading_ms)[:needed]
    kept = [blocks[index] for index in sorted(quietest)]  # in the order of time
    passes = [one for block in kept for one in block.passes_ms][:runs]
    return Timing(
        tuple(wall_ms for wall_ms, _ in passes),
        tuple(cpu_ms for _, cpu_ms in passes) if one_thread and _is_fine(cpu_clock) else (),
        max(0.0, max(block.reading_ms for block in kept) / probe.best_ms - 1) if probe is not None else None,
    )


@dataclass(frozen=True, slots=True)
class _Block:
    """A few passes, on the clock and of the processor, and the slower of the readings before and after them."""

    passes_ms: Sequence[tuple[float, float]]
    reading_ms: float


def _timed(
    call: Callable[[], object], clock: Callable[[], float], cpu_clock: Callable[[], float]
) -> tuple[float, float]:
    cpu_start, start = cpu_clock(), clock()
    call()
    return (clock() - start) * 1e3, (cpu_clock() - cpu_start) * 1e3


def _are_disturbed(blocks: Sequence[_Block], needed: int, probe: MemoryProbe) -> bool:
    """Whether too few blocks were quiet and it is worth to go on."""
    quiet = sum(block.reading_ms <= (1 + MAX_SLOWDOWN) * probe.best_ms for block in blocks)
    return quiet < needed and len(blocks) < PATIENCE * needed


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
