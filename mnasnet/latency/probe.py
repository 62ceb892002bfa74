"""Is the core at its best right now? Readings of memory and arithmetic between the passes of a network.

A neighbour on another core slows a pass down through shared caches and memory, one on the other half of the same core
through its arithmetic, and no clock of this process shows either. So the same memory is read and the same matrices are
multiplied again and again: where that is slow, the passes beside it are not to be trusted.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import time
from collections.abc import Callable, Mapping

import numpy as np

COARSEST_TICK_S = 1e-4  # a clock that moves in longer steps times no pass
BYTES = 12 << 20  # more than a core's own caches, less than most shared ones
SIDE, PRODUCTS = 56, 40  # small matrices, which wake no second thread; a reading takes about as long as one of memory
READS = 4
STARTS = 20  # readings that find the best one

Reading = Mapping[str, float]
"""Milliseconds of one reading by what was read: memory, arithmetic."""


class MachineProbe:
    """Reads the same memory and multiplies the same matrices whenever it is asked.

    It remembers its readings, so one probe serves all measurements of a process. Its best is what one reading in ten
    reaches; the very fastest is a rare moment at a higher clock, beside which all others would seem disturbed.
    """

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._numbers = np.ones(BYTES // 4, np.float32)
        self._matrices = np.ones((3, SIDE, SIDE), np.float32)
        self._clock = clock
        self._readings_ms: dict[str, list[float]] = {"memory": [], "arithmetic": []}  # sorted
        for _ in range(STARTS):
            self.read()

    def read(self) -> Reading:
        """How long memory and arithmetic take now."""
        self._read_memory()  # brings it back after a network has run
        reading = {"memory": self._timed_ms(self._read_memory), "arithmetic": self._timed_ms(self._multiply)}
        for name, one_ms in reading.items():
            bisect.insort(self._readings_ms[name], one_ms)
        return reading

    def slowdown(self, *readings: Reading) -> dict[str, float]:
        """How much slower than at its best each was in the slowest of ``readings``, relative; 0 at the best."""
        return {
            name: max(0.0, max(reading[name] for reading in readings) / self.best_ms(name) - 1)
            for name in self._readings_ms
        }

    def best_ms(self, name: str) -> float:
        """What ``name`` takes undisturbed."""
        readings_ms = self._readings_ms[name]
        return readings_ms[len(readings_ms) // 10]

    def _timed_ms(self, work: Callable[[], object]) -> float:
        times_ms = []
        for _ in range(READS):
            start = self._clock()
            work()
            times_ms.append((self._clock() - start) * 1e3)
        return sorted(times_ms)[1]  # a single interruption does not count

    def _read_memory(self) -> None:
        self._numbers.sum()

    def _multiply(self) -> None:
        left, right, product = self._matrices
        for _ in range(PRODUCTS):
            np.matmul(left, right, out=product)


@functools.cache
def machine_probe(cpu_clock: Callable[[], float] = time.thread_time) -> MachineProbe:
    """The probe of this process, by the time of its processor where that is counted finely."""
    return MachineProbe(cpu_clock if is_fine(cpu_clock) else time.perf_counter)


@functools.cache
def is_fine(clock: Callable[[], float]) -> bool:
    """Whether ``clock`` can time a pass; Windows counts processor time in ticks of 15.6 ms and calls them 100 ns."""
    moments = [clock()]
    while len(moments) < 4:
        if (moment := clock()) != moments[-1]:
            moments.append(moment)
    # other threads of this process may take one step of a fine clock, hardly all
    return min(later - earlier for earlier, later in itertools.pairwise(moments)) <= COARSEST_TICK_S
