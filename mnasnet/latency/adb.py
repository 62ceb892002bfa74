"""The meter of an Android phone: LiteRT's own ``benchmark_model`` on the phone, reached through ``adb``."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mnasnet.checks import require_kinds
from mnasnet.errors import LatencyError, RuntimeMissingError, SettingsError
from mnasnet.export.int8_timing import made_up_note
from mnasnet.latency.meter import WAKE_S, Latency, MeterPrecision
from mnasnet.latency.sending import graph_to_send, require_precision_there
from mnasnet.latency.timing import MAX_SPREAD
from mnasnet.latency.untrained import untrained_to_time
from mnasnet.machine import NO_WINDOW

if TYPE_CHECKING:
    from mnasnet.export.exported import ExportedModel
    from mnasnet.modelfile import ModelFile
    from mnasnet.spec import ArchitectureSpec

PHONE_FOLDER = "/data/local/tmp"  # the one place where the shell's user may run programs
TOOL = f"{PHONE_FOLDER}/benchmark_model"
COMMAND_S = 30.0
PUSH_S = 300.0
RUN_S = 400.0  # benchmark_model ends its warm-up and its timed runs after 150 s each, but not in the middle of a pass


@dataclass(frozen=True, slots=True)
class AndroidPhone:
    """Which phone, by its ``serial`` in ``adb devices`` ("" is the only one), and the tool to put on it.

    ``tool`` is a ``benchmark_model`` built for the phone's processor; None when it is at
    /data/local/tmp/benchmark_model already.
    """

    serial: str = ""
    tool: Path | None = None


@dataclass(frozen=True, slots=True)
class ToolTimes:
    """What ``benchmark_model`` says of its timed runs, in milliseconds.

    Builds before 2024 tell no percentiles: then ``median_ms`` is the average, ``p5_ms`` the fastest and ``p95_ms`` the
    slowest run, and ``has_percentiles`` is False.
    """

    runs: int
    fastest_ms: float
    p5_ms: float
    median_ms: float
    p95_ms: float
    has_percentiles: bool


@dataclass(frozen=True)
class AdbMeter:
    """Times networks on one phone; made by :meth:`open`, which finds the phone.

    The tool gives no 90th percentile, so ``p90_ms`` of its latencies is the 95th. Its build has no version either: the
    beginning of its SHA-256 stands for one. While the phone is busy ``on_wait`` is called now and then, and ends the
    measurement by raising.
    """

    phone: AndroidPhone
    device: str
    tool_version: str
    precision: MeterPrecision = "fp32"
    threads: int = 1
    num_classes: int = 1000
    warmups: int = 10
    runs: int = 50
    on_wait: Callable[[], object] = field(default=lambda: None, repr=False)

    @classmethod
    def open(
        cls,
        phone: AndroidPhone | None,
        *,
        precision: MeterPrecision = "fp32",
        threads: int = 1,
        batch: int = 1,
        num_classes: int = 1000,
        runs: int = 50,
    ) -> AdbMeter:
        """A meter of a phone that is connected, allows this computer and has the tool.

        Raises SettingsError for numbers that are none, a batch other than 1 or a precision that LiteRT files lack,
        RuntimeMissingError without ``adb``, else LatencyError.
        """
        require_precision_there("adb", precision)
        if batch != 1:
            raise SettingsError(f"the meter 'adb' times one image at once, got batch {batch}")
        counts = {"threads": threads, "num_classes": num_classes, "runs": runs}
        require_kinds(cls, counts)
        for name, count in counts.items():
            if count < 1:
                raise SettingsError(f"{name} must be >= 1, got {count}")
        phone = phone or AndroidPhone()
        phone = AndroidPhone(_connected(phone.serial), phone.tool)
        if phone.tool is not None:
            fresh = f"{TOOL}-{secrets.token_hex(4)}"  # put in its place whole: another search may be using it
            _push(phone.serial, phone.tool, fresh)
            _shell(phone.serial, ["chmod", "755", fresh, "&&", "mv", "-f", fresh, TOOL])
        return cls(
            phone,
            _device(phone.serial),
            _tool_version(phone.serial),
            precision=precision,
            threads=threads,
            num_classes=num_classes,
            runs=runs,
        )

    def measure(self, architecture: ArchitectureSpec, input_size: int) -> Latency:
        """The time of ``architecture`` with random weights; raises LatencyError."""
        return self.measure_model(untrained_to_time(architecture, input_size, self.num_classes))

    def measure_model(self, model: ModelFile | ExportedModel) -> Latency:
        """The time of ``model`` at its own input size; raises LatencyError."""
        graph = graph_to_send(model, "litert", self.precision)
        if graph.format != "litert":
            raise LatencyError(
                f"a phone runs LiteRT files, {graph.name or 'this model'} is {graph.format}; export the model to litert"
            )
        times = tool_times(self._run(graph.content))
        spread = (times.p95_ms - times.p5_ms) / times.median_ms
        quiet = spread <= MAX_SPREAD
        notes = [] if quiet else [f"not quiet: runs spread by {spread:.0%}"]
        if times.has_percentiles:
            notes.append("p90 is the 95th percentile, the spread from the 5th")
        else:
            notes.append("median is the average, p90 the slowest")
        if made_up := made_up_note(model, self.precision):
            notes.append(made_up)
        return Latency(
            device=self.device,
            runtime="litert",
            runtime_version=self.tool_version,
            precision=graph.precision,
            threads=self.threads,
            batch=1,
            input_size=graph.preprocess.input_size,
            n=times.runs,
            undisturbed_ms=times.fastest_ms,
            median_ms=times.median_ms,
            p90_ms=times.p95_ms,
            spread=spread,
            quiet=quiet,
            note="; ".join(notes),
        )

    def _run(self, content: bytes) -> str:
        # a name of its own: two searches may share the phone, and each must time what it sent
        serial, there = self.phone.serial, f"{PHONE_FOLDER}/mnasnet-{secrets.token_hex(4)}.tflite"
        options = {
            "graph": there,
            "num_threads": self.threads,
            "warmup_runs": self.warmups,
            "num_runs": self.runs,
            "use_xnnpack": "true",
        }
        try:
            with tempfile.TemporaryDirectory() as folder:
                here = Path(folder) / "model.tflite"
                here.write_bytes(content)
                _push(serial, here, there, self.on_wait)
            words = [TOOL, *(f"--{name}={value}" for name, value in options.items())]
            return _shell(serial, words, RUN_S, self.on_wait)
        finally:
            with contextlib.suppress(LatencyError):  # the phone may be away by now
                _shell(serial, ["rm", "-f", there])


def tool_times(output: str) -> ToolTimes:
    """The timed runs in what ``benchmark_model`` printed: its last line of statistics, in microseconds.

    Raises LatencyError when there is none, with the tool's own last words.
    """
    lines = [dict(_PAIR.findall(line)) for line in output.splitlines() if _STATISTICS.search(line)]
    told = lines[-1] if lines else {}
    try:
        ms = {name: float(value) / 1e3 for name, value in told.items() if name != "count"}
        has_percentiles = "median" in ms
        return ToolTimes(
            runs=int(told["count"]),
            fastest_ms=ms["min"],
            p5_ms=ms["p5"] if has_percentiles else ms["min"],
            median_ms=ms["median"] if has_percentiles else ms["avg"],
            p95_ms=ms["p95"] if has_percentiles else ms["max"],
            has_percentiles=has_percentiles,
        )
    except (KeyError, ValueError) as error:
        last_words = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "nothing")
        raise LatencyError(f"benchmark_model gave no times; it said: {last_words[:300]}") from error


_STATISTICS = re.compile(r"\bcount=\d+ .*\bmin=")  # the first run alone, while warming up, has no min
_PAIR = re.compile(r"\b(count|first|curr|min|max|avg|std|p5|median|p95)=(\d[\d.e+]*)")


def _connected(serial: str) -> str:
    """The serial of the phone that is meant, when it is ready."""
    lines = _adb(["devices"]).splitlines()[1:]
    states = dict(line.split("\t", 1) for line in lines if "\t" in line)
    if not serial:
        if not states:
            raise LatencyError("no phone is connected; switch on USB debugging on it, plug it in, see `adb devices`")
        if len(states) > 1:
            raise LatencyError(f"{len(states)} phones are connected; name one by its serial: {', '.join(states)}")
        (serial,) = states
    state = states.get(serial, "not connected").strip()
    if state == "unauthorized":
        raise LatencyError(f"the phone {serial} does not trust this computer yet; unlock it and answer its question")
    if state != "device":
        raise LatencyError(f"the phone {serial} is {state}; plug it in again, see `adb devices`")
    return serial


def _device(serial: str) -> str:
    """The phone and its processor in words."""
    names = ("ro.product.manufacturer", "ro.product.model", "ro.soc.model", "ro.board.platform")
    maker, model, chip, platform = (_shell(serial, ["getprop", name]).strip() for name in names)
    return f"{maker} {model}".strip() + (f", {chip or platform}" if chip or platform else "") or f"phone {serial}"


def _tool_version(serial: str) -> str:
    missing = (
        f"the phone has no {TOOL}; give the benchmark_model built for its processor as the tool, see docs/devices.md"
    )
    try:
        digest = re.match(r"[0-9a-f]{64}", _shell(serial, ["sha256sum", TOOL]))
    except LatencyError as error:
        raise LatencyError(missing) from error
    if digest is None:  # phones before Android 7 tell no exit code
        raise LatencyError(missing)
    return f"benchmark_model {digest[0][:12]}"


def _push(serial: str, here: Path, there: str, on_wait: Callable[[], object] = lambda: None) -> None:
    if not here.is_file():
        raise LatencyError(f"there is no file {here} to put on the phone")
    _adb(["-s", serial, "push", str(here), there], PUSH_S, on_wait)


def _shell(
    serial: str, words: Sequence[str], timeout_s: float = COMMAND_S, on_wait: Callable[[], object] = lambda: None
) -> str:
    return _adb(["-s", serial, "shell", *words], timeout_s, on_wait)


def _adb(words: Sequence[str], timeout_s: float = COMMAND_S, on_wait: Callable[[], object] = lambda: None) -> str:
    """What ``adb`` printed, errors included, since benchmark_model logs on either; raises LatencyError."""
    program = shutil.which("adb")
    if program is None:
        raise RuntimeMissingError(
            "adb is not installed; take it from your system's packages or Android's platform tools"
        )
    try:
        asked = subprocess.Popen(
            [program, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            creationflags=NO_WINDOW,
        )
    except OSError as error:
        raise LatencyError(f"cannot run {program}: {error.strerror or error}") from error
    until = time.monotonic() + timeout_s
    with asked:
        try:
            while (output := _output_of(asked)) is None:
                on_wait()
                if time.monotonic() > until:
                    raise LatencyError(f"the phone gave no answer to `adb {' '.join(words)}` in {timeout_s:.0f} s")
        except BaseException:
            asked.kill()
            raise
    if asked.returncode:
        said = output.strip().splitlines()
        raise LatencyError(f"`adb {' '.join(words)}` failed: {said[-1] if said else f'exit code {asked.returncode}'}")
    return output


def _output_of(process: subprocess.Popen[str]) -> str | None:
    """All that ``process`` printed, None while it runs."""
    try:
        return process.communicate(timeout=WAKE_S)[0]
    except subprocess.TimeoutExpired:
        return None
