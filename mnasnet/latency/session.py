"""The meter of this machine: forward passes through the engines that inference uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mnasnet.checks import make_plain, require_kinds
from mnasnet.errors import LatencyError, MnasNetError, SettingsError
from mnasnet.export.exported import ExportedModel
from mnasnet.export.int8_timing import INT8_RUNTIMES, int8_for_timing, is_made_up, made_up_note
from mnasnet.latency.meter import Latency, MeterPrecision
from mnasnet.latency.probe import machine_probe
from mnasnet.latency.timing import ENGINES, RUNS, Timing, latency_of, open_in_turn, pinned, time_calls
from mnasnet.latency.untrained import untrained_to_time
from mnasnet.machine import gpu_name, processor_description, usable_cores
from mnasnet.modelfile import ModelFile
from mnasnet.openmp import import_torch
from mnasnet.packages import require
from mnasnet.runtime.session import (
    READERS,
    RUNTIMES,
    Device,
    Precision,
    Runtime,
    Session,
    as_graph,
    has_cuda,
    open_session,
    require_possible,
)
from mnasnet.spec import ArchitectureSpec
from mnasnet.words import amount


@dataclass(frozen=True)
class SessionMeter:
    """Times passes in this process, from prepared pixels, or the normalised numbers that a file takes, to scores.

    ``threads`` work on one pass and are kept on as many of the fastest cores. ``num_classes`` is for
    architectures that come without weights. With ``precision`` int8 a model without 8-bit numbers gets made-up ones,
    which are as fast. Raises RuntimeMissingError or SettingsError at birth for a runtime that is not there,
    or a device or precision that it does not compute with.
    """

    runtime: Runtime
    device: Device = "cpu"
    precision: MeterPrecision = "fp32"
    threads: int = 1
    batch: int = 1
    num_classes: int = 1000
    warmups: int = 10
    runs: int = RUNS

    def __post_init__(self) -> None:
        make_plain(self)
        require_kinds(type(self), {field.name: getattr(self, field.name) for field in fields(self)})
        if self.runtime not in RUNTIMES:
            raise SettingsError(f"runtime must be one of {', '.join(RUNTIMES)}, got {self.runtime!r}")
        for name in ("threads", "batch", "num_classes", "runs"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be >= 1, got {getattr(self, name)!r}")
        if self.warmups < 0:
            raise SettingsError(f"warmups must be >= 0, got {self.warmups!r}")
        if self.threads > usable_cores():
            raise SettingsError(
                f"threads must not exceed the {amount(usable_cores(), 'core')} that this process may use, "
                f"got {self.threads}"
            )
        if self.precision == "int8" and self.runtime not in INT8_RUNTIMES:
            raise SettingsError(
                f"{self.runtime} does not compute in int8 here; choose {', '.join(INT8_RUNTIMES)}, or fp32"
            )
        require_possible(self.runtime, self.device, self.precision)
        require(self.runtime)

    def measure(self, architecture: ArchitectureSpec, input_size: int) -> Latency:
        """The time of ``architecture`` with random weights; raises LatencyError."""
        return self.measure_model(untrained_to_time(architecture, input_size, self.num_classes))

    def measure_model(self, model: ModelFile | ExportedModel) -> Latency:
        """The time of ``model`` at its own input size; raises LatencyError."""
        side = model.preprocess.input_size
        batch = np.random.default_rng(0).integers(0, 256, (self.batch, side, side, 3), np.uint8)
        if isinstance(model, ExportedModel):
            batch = model.as_input(batch)  # once: the graph alone is timed, here as by an agent
        with self._alone():
            timing = self._timed(self._opener(model), batch)
        return latency_of(
            timing,
            device=device_name(self.device),
            runtime=self.runtime,
            precision=_precision_of(model, self.precision),
            threads=self.threads,
            batch=self.batch,
            input_size=side,
            note=made_up_note(model, self.precision),
        )

    def takes(self, model: ModelFile | ExportedModel) -> bool:
        """Whether ``model`` runs in this runtime and precision; an exported file runs only as it was written."""
        if not isinstance(model, ExportedModel):
            return True
        return self.runtime in READERS[model.format] and (self.precision == "int8") == (model.precision == "int8")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The engine's threads, held to their number and cores."""
        if self.runtime != "torch":
            with pinned(self.threads):
                yield
            return
        torch = import_torch()  # before pinning, so that it counts all cores
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with pinned(self.threads):
                yield
        finally:
            torch.set_num_threads(before)

    def _opener(self, model: ModelFile | ExportedModel) -> Callable[[], Session]:
        """What opens engines of ``model``, all of one graph: it is written once."""
        precision: Precision = "fp32" if self.precision == "int8" else self.precision
        with self._refusing(model):
            if is_made_up(model, self.precision):
                model = int8_for_timing(model, self.runtime)
            graph = as_graph(model, self.runtime)

        def opened() -> Session:
            with self._refusing(model):
                return open_session(
                    graph, runtime=self.runtime, device=self.device, precision=precision, threads=self.threads
                )

        return opened

    @contextmanager
    def _refusing(self, model: ModelFile | ExportedModel) -> Iterator[None]:
        try:
            yield
        except MnasNetError as error:
            raise LatencyError(f"{self.runtime} cannot run {model.name or 'this network'}: {error}") from error
        except Exception as error:  # each engine has its own errors for operators and shapes it lacks
            raise LatencyError(f"{self.runtime} failed to open {model.name or 'this network'}: {error}") from error

    def _timed(self, opened: Callable[[], Session], batch: NDArray[np.uint8]) -> Timing:
        on_cpu = self.device == "cpu"
        probe = machine_probe() if on_cpu else None  # before memory goes to engines
        try:
            return time_calls(
                *open_in_turn(
                    lambda: partial(opened().run, batch),
                    runtime=self.runtime,
                    runs=self.runs,
                    most=ENGINES if on_cpu else 1,
                ),
                warmups=self.warmups,
                runs=self.runs,
                one_thread=self.threads == 1 and on_cpu,
                probe=probe,
            )
        except LatencyError:
            raise
        except Exception as error:  # out of memory, a driver that went away: the engine's own errors
            raise LatencyError(f"{self.runtime} failed while it was timed: {error}") from error


def _precision_of(model: ModelFile | ExportedModel, asked: MeterPrecision) -> MeterPrecision:
    """In what the passes really computed: an exported file has its own numbers."""
    if isinstance(model, ExportedModel) and "int8" in (model.precision, asked):
        return model.precision
    return asked


def device_name(device: str = "cpu") -> str:
    """The processor or GPU in words."""
    if device == "cuda":
        return str(import_torch().cuda.get_device_name()) if has_cuda() else gpu_name()
    return processor_description()
