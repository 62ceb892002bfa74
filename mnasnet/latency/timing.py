"""Repeated timing of one call: warm-ups, robust statistics, a pinned core, and signs of disturbance."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MAX_SPREAD = 0.10  # 10th to 90th percentile; 2 to 5 % on a quiet machine
MAX_DRIFT = 0.05  # second half against first half: a clock that changes, a processor that heats up
MIN_CPU_SHARE = 0.95  # of the wall time that one busy thread should get


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of a call in milliseconds, in order, on the clock and, where one thread works, of the processor.

    The processor's time leaves out what other work took in between. It still moves with the processor's clock and with
    neighbours that share its caches, by ten percent and more between repeats, which no run can see by itself.
    """

    times_ms: tuple[float, ...]
    cpu_ms: tuple[float, ...] = ()

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
        if self.cpu_share is not None and self.cpu_share < MIN_CPU_SHARE:
            signs.append(f"other work took the core {1 - self.cpu_share:.0%} of the time")
        if self.spread > MAX_SPREAD:
            signs.append(f"runs spread by {self.spread:.0%}")
        if abs(self.drift) > MAX_DRIFT:
            signs.append(f"speed changed by {self.drift:+.0%} meanwhile")
        return "not quiet: " + ", ".join(signs) if signs else ""


def time_calls(
    call: Callable[[], object],
    *,
    warmups: int = 10,
    runs: int = 50,
    one_thread: bool = False,
    clock: Callable[[], float] = time.perf_counter,
    cpu_clock: Callable[[], float] = time.process_time,
) -> Timing:
    """Time ``call``; ``one_thread`` says that a single thread does its work, so that processor time means something."""
    for _ in range(warmups):
        call()
    times_ms, cpu_ms = [], []
    for _ in range(runs):
        cpu_start, start = cpu_clock(), clock()
        call()
        times_ms.append((clock() - start) * 1e3)
        cpu_ms.append((cpu_clock() - cpu_start) * 1e3)
    return Timing(tuple(times_ms), tuple(cpu_ms) if one_thread else ())


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
