"""Meters that remember in a file what they measured: for processes that share it, and for a run that was stopped.

What a search remembers is of one device: a latency of another, such as a board that got the address of the first, is
refused.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mnasnet.errors import LatencyError
from mnasnet.files import write_atomic
from mnasnet.latency.meter import Latency, LatencyMeter
from mnasnet.spec import ArchitectureSpec

Key = tuple[str, int]  # the network's fingerprint and the input size in pixels

ATTEMPTS = 3  # at a measurement that is not quiet


@dataclass(eq=False)
class RememberingMeter:
    """Each network is measured once; a measurement that was not quiet up to ``ATTEMPTS`` times.

    The quietest attempt counts, else the fastest; its note says when none was quiet. ``file`` has one latency a line;
    what a killed process left half written is skipped.
    """

    meter: LatencyMeter
    file: Path
    _known: dict[Key, Latency] = field(default_factory=dict, init=False, repr=False)
    _read_bytes: int = field(default=0, init=False, repr=False)

    def measure(self, architecture: ArchitectureSpec, input_size: int) -> Latency:
        """The remembered or fresh time; raises LatencyError, also where another device answers than before."""
        key = (architecture.fingerprint, input_size)
        self._read()
        if key not in self._known:
            fresh = quietest(lambda: self.meter.measure(architecture, input_size))
            latency = self.beside_others(fresh)
            self._known[key] = latency
            _append(self.file, key, latency)
        return self._known[key]

    def beside_others(self, fresh: Latency) -> Latency:
        """``fresh`` as it may stand beside what is remembered: another version of the runtime is told in its note.

        Raises LatencyError where it is of another device or settings.
        """
        self._read()
        return beside(next(iter(self._known.values()), fresh), fresh)

    def known(self, architecture: ArchitectureSpec, input_size: int) -> Latency | None:
        """The remembered time of a network; None where it was not measured."""
        self._read()
        return self._known.get((architecture.fingerprint, input_size))

    def latencies(self) -> list[Latency]:
        """All that is remembered, in the order of measuring."""
        self._read()
        return list(self._known.values())

    def _read(self) -> None:
        """What other processes have added since."""
        try:
            with self.file.open("rb") as file:
                file.seek(self._read_bytes)
                added = file.read()
        except FileNotFoundError:
            return
        whole = added[: added.rfind(b"\n") + 1]  # what is still being written is read when it is done
        for key, latency in _latencies(whole):
            self._known.setdefault(key, latency)
        self._read_bytes += len(whole)


@dataclass(eq=False)
class ContinuedMeter:
    """Goes on where a row of measurements was stopped: what ``file`` has of the same ``settings`` is given first.

    A network that is measured several times gets as many times from the file as it has there. Whoever comes to the end
    of the row calls :meth:`finish`.
    """

    meter: LatencyMeter
    file: Path
    settings: Mapping[str, Any]
    kept: int = field(default=0, init=False)  # timings of these settings in the file
    others: int = field(default=0, init=False)  # timings of other settings, which are not used
    _found: dict[Key, list[Latency]] = field(default_factory=dict, init=False, repr=False)
    _given: Counter[Key] = field(default_factory=Counter, init=False, repr=False)

    def __post_init__(self) -> None:
        content = self.file.read_bytes() if self.file.is_file() else b""
        for key, latency in _latencies(content, self.settings):
            self._found.setdefault(key, []).append(latency)
            self.kept += 1
        self.others = sum(_is_of_other(line, self.settings) for line in content.splitlines())

    def measure(self, architecture: ArchitectureSpec, input_size: int) -> Latency:
        """The next time of the network, from the file or fresh; raises LatencyError, also where devices differ."""
        key = (architecture.fingerprint, input_size)
        known = self._found.setdefault(key, [])
        if self._given[key] == len(known):
            fresh = self.meter.measure(architecture, input_size)
            first = next((one for latencies in self._found.values() for one in latencies), fresh)
            beside(first, fresh)  # another device's is not kept, or the first one could never go on
            known.append(fresh)
            _append(self.file, key, fresh, self.settings)
            self.kept += 1
        self._given[key] += 1
        return known[self._given[key] - 1]

    def finish(self) -> None:
        """Remove what is used up; timings with other settings stay for the command that goes on with them."""
        lines = self.file.read_bytes().splitlines() if self.file.is_file() else []
        others = [line for line in lines if _is_of_other(line, self.settings)]
        if others:
            write_atomic(self.file, b"\n".join(others) + b"\n")
        else:
            self.file.unlink(missing_ok=True)


def _is_of_other(line: bytes, settings: Mapping[str, Any] | None) -> bool:
    """Whether the line is a timing with other settings; a torn one is of nobody."""
    try:
        return bool(json.loads(line)["settings"] != settings)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _latencies(content: bytes, settings: Mapping[str, Any] | None = None) -> Iterator[tuple[Key, Latency]]:
    for line in content.splitlines():
        try:
            row = json.loads(line)
            if row.get("settings") == settings:
                yield (row["network"], row["input_size"]), Latency.from_dict(row["latency"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, LatencyError):
            continue  # torn by a kill; that network is measured again


def _append(file: Path, key: Key, latency: Latency, settings: Mapping[str, Any] | None = None) -> None:
    row: dict[str, Any] = {"network": key[0], "input_size": key[1], "latency": latency.to_dict()}
    if settings is not None:
        row["settings"] = settings
    file.parent.mkdir(parents=True, exist_ok=True)
    # one write of whole lines, so that processes do not mix theirs; the first break ends a torn line
    data = f"\n{json.dumps(row)}\n".encode()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def beside(known: Latency, fresh: Latency) -> Latency:
    """``fresh`` as it may be compared with ``known``, its note telling of another version of the runtime.

    Raises LatencyError where it is of another device or settings.
    """
    if not fresh.is_comparable(known):
        raise LatencyError(
            f"latencies of two devices are never mixed: so far it was {known.measured_on}, now it is "
            f"{fresh.measured_on}; bring the first device back, or begin anew with the other"
        )
    if fresh.runtime_version == known.runtime_version:
        return fresh
    return fresh.with_note(f"others were measured with {known.runtime} {known.runtime_version}")


def quietest(measure: Callable[[], Latency]) -> Latency:
    """Measure until it is quiet, at most ``ATTEMPTS`` times; else the fastest, with a note that says so."""
    tried: list[Latency] = []
    while len(tried) < ATTEMPTS:
        latency = measure()
        if latency.quiet:
            return latency
        tried.append(latency)
    best = min(tried, key=lambda latency: latency.undisturbed_ms)
    return best.with_note(f"the fastest of {ATTEMPTS} attempts, none was quiet")
