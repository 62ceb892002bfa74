"""Energy of a forward pass, where the processor counts it and this user may read the counter."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnasnet.errors import LatencyError, MnasNetError, SettingsError
from mnasnet.latency.timing import pinned
from mnasnet.latency.untrained import untrained_model
from mnasnet.runtime.session import Precision, Runtime, open_session
from mnasnet.spec import ArchitectureSpec

# the kernel's powercap interface: Documentation/power/powercap/powercap.rst
POWERCAP = Path("/sys/class/powercap")
ENERGY = "energy_uj"
RANGE = "max_energy_range_uj"

LONG_ENOUGH_S = 1.0  # the counter moves every millisecond; a second keeps its step below a thousandth
WARMUPS = 10


@dataclass(frozen=True, slots=True)
class EnergyCounter:
    """The counters of all processor packages together; ``zones`` are their folders."""

    zones: tuple[Path, ...]

    def read_uj(self) -> tuple[int, ...]:
        """Each package's counter in microjoules."""
        return tuple(int((zone / ENERGY).read_text(encoding="ascii")) for zone in self.zones)

    def spent_mj(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        """Millijoules between two readings; a counter that ran over starts at 0 again."""
        spent_uj = 0
        for zone, start, end in zip(self.zones, before, after, strict=True):
            over = int((zone / RANGE).read_text(encoding="ascii")) if end < start else 0
            spent_uj += end - start + over
        return spent_uj / 1000


def open_counter(root: Path = POWERCAP) -> EnergyCounter:
    """The packages' counters; raises SettingsError where there is none, or none that this user may read."""
    zones = tuple(sorted(path.parent for path in root.glob(f"intel-rapl:*/{ENERGY}") if _is_package(path.parent)))
    for zone in zones:
        try:
            EnergyCounter((zone,)).read_uj()
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"cost energy needs a counter that this user may read, {zone / ENERGY} may not be read ({error}); give "
                "the user the right, or choose cost latency"
            ) from error
    if not zones:
        raise SettingsError(
            f"cost energy needs a processor that counts its energy, {root} has no intel-rapl here; choose cost "
            "latency, which energy follows on one device"
        )
    return EnergyCounter(zones)


def _is_package(zone: Path) -> bool:
    """The top zones, intel-rapl:0, are packages or all of a laptop, "psys"; those below, intel-rapl:0:1, are parts."""
    try:
        name = (zone / "name").read_text(encoding="ascii").strip()
    except OSError:
        name = ""
    return zone.name.count(":") == 1 and name != "psys"


@dataclass(frozen=True)
class EnergyMeter:
    """Millijoules of one forward pass of batch 1, by the packages' counters.

    They count all that the processor does meanwhile, its idle power and other programs included: comparable between
    networks on a quiet machine, not between machines.
    """

    counter: EnergyCounter
    runtime: Runtime = "onnxruntime"
    precision: Precision = "fp32"
    threads: int = 1
    num_classes: int = 1000
    seconds: float = LONG_ENOUGH_S

    def measure_mj(self, architecture: ArchitectureSpec, input_size: int) -> float:
        """The energy of ``architecture`` with random weights; raises LatencyError."""
        image = np.random.default_rng(0).integers(0, 256, (1, input_size, input_size, 3), np.uint8)
        with pinned(self.threads):  # the engine's threads too, which inherit the cores of the one that opens it
            try:
                model = untrained_model(architecture, input_size, self.num_classes)
                session = open_session(
                    model, runtime=self.runtime, device="cpu", precision=self.precision, threads=self.threads
                )
            except MnasNetError as error:
                raise LatencyError(f"this network's energy cannot be measured at {input_size} px: {error}") from error
            return energy_of(lambda: session.run(image), self.counter, seconds=self.seconds)


def energy_of(
    call: Callable[[], object],
    counter: EnergyCounter,
    *,
    seconds: float = LONG_ENOUGH_S,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Millijoules of one ``call``, from as many as fit into ``seconds``; raises LatencyError when none is counted."""
    for _ in range(WARMUPS):
        call()
    calls, started, before = 0, clock(), counter.read_uj()
    while clock() - started < seconds:
        call()
        calls += 1
    spent_mj = counter.spent_mj(before, counter.read_uj())
    if not calls or spent_mj <= 0:
        raise LatencyError(f"the energy counter did not move in {seconds:g} s; choose cost latency")
    return spent_mj / calls
