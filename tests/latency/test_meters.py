"""Meters of this machine keep their contract; the numbers themselves are the benchmark's business."""

import contextlib
import importlib.metadata
import itertools
import json
import os
import subprocess
import sys
import time
import types
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from mnasnet import machine
from mnasnet.data.transforms import normalise
from mnasnet.errors import LatencyError, SettingsError
from mnasnet.export import exported
from mnasnet.export.exported import in_memory, read_exported
from mnasnet.export.exporter import open_exporter
from mnasnet.latency import timing
from mnasnet.latency.contract import LatencyMeterContract
from mnasnet.latency.meter import Latency
from mnasnet.latency.meters import METERS, open_meter
from mnasnet.latency.probe import READS, STARTS, MachineProbe, machine_probe
from mnasnet.latency.remote import AgentAddress
from mnasnet.latency.session import SessionMeter
from mnasnet.latency.timing import (
    BLOCK,
    PATIENCE,
    QUICK_RUNS,
    RUNS,
    Timing,
    engines_for,
    frequency_note,
    latency_of,
    open_in_turn,
    pinned,
    time_calls,
)
from mnasnet.latency.untrained import untrained_model
from mnasnet.machine import usable_cores
from mnasnet.modelfile import weights_of
from mnasnet.network.build import build
from mnasnet.presets import PRESETS
from mnasnet.runtime import session
from mnasnet.runtime.session import open_session
from mnasnet.testing import TINY, random_model

MEASURED = Latency("a board", "onnxruntime", "1.0", "fp32", 1, 1, 64, 50, 1.0, 1.1, 1.2)


class MeterContract(LatencyMeterContract):
    @pytest.fixture(autouse=True)
    def first_passes_count(self, monkeypatch):
        """However disturbed they are: how patient meters are is shown below."""
        monkeypatch.setattr(timing, "PATIENCE", 1)


class TestOnnxRuntimeMeter(MeterContract):
    @pytest.fixture
    def meter(self):
        return open_meter("onnxruntime", num_classes=3)


class TestOpenvinoMeter(MeterContract):
    @pytest.fixture
    def meter(self):
        return open_meter("openvino", num_classes=3)


class TestOpenvinoBf16Meter(MeterContract):
    @pytest.fixture
    def meter(self):
        return open_meter("openvino", precision="bf16", num_classes=3)


class TestLitertMeter(MeterContract):
    @pytest.fixture
    def meter(self):
        return open_meter("litert", num_classes=3)


class TestOnnxRuntimeInt8Meter(MeterContract):
    @pytest.fixture
    def meter(self):
        return open_meter("onnxruntime", precision="int8", num_classes=3)


class TestOpenvinoInt8Meter(MeterContract):
    @pytest.fixture
    def meter(self):
        return open_meter("openvino", precision="int8", num_classes=3)


class TestLitertInt8Meter(MeterContract):
    @pytest.fixture
    def meter(self):
        return open_meter("litert", precision="int8", num_classes=3)


class TestTorchMeter(MeterContract):
    @pytest.fixture
    def meter(self):
        return open_meter("torch", num_classes=3)


def test_every_runtime_is_a_meter():
    from mnasnet.runtime.session import RUNTIMES

    assert set(RUNTIMES) <= set(METERS)


def test_onnx_runtime_has_a_version_under_any_name(monkeypatch):
    def only_gpu(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", only_gpu)  # as with onnxruntime-gpu in its place

    assert SessionMeter("onnxruntime", warmups=0, runs=2).measure(TINY, 64).runtime_version == onnxruntime.__version__


def test_torch_has_no_int8():
    with pytest.raises(
        SettingsError, match="torch does not compute in int8 here; choose onnxruntime, openvino, litert, or fp32"
    ):
        open_meter("torch", precision="int8")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "litert"])
def test_made_up_8_bit_numbers_are_called_so(runtime):
    latency = SessionMeter(runtime, precision="int8", warmups=0, runs=2).measure_model(random_model())

    assert latency.precision == "int8" and "8-bit numbers made up for timing" in latency.note


def test_a_model_is_measured_at_its_own_size_and_batch():
    latency = SessionMeter("onnxruntime", batch=2, warmups=0, runs=2).measure_model(random_model(input_size=40))

    assert (latency.input_size, latency.batch, latency.n) == (40, 2, 2)


def test_the_graph_of_a_file_is_timed_without_the_normalisation_before_it(tmp_path, monkeypatch):
    (path,) = open_exporter("onnx").export(random_model(), tmp_path / "m.onnx", pixels=False, softmax=True)
    normalised = []
    monkeypatch.setattr(
        exported, "normalise", lambda batch, own: normalised.append(len(batch)) or normalise(batch, own)
    )

    latency = SessionMeter("onnxruntime", batch=2, warmups=0, runs=2).measure_model(read_exported(path))

    assert (latency.n, normalised.count(2)) == (2, 1)  # a file that is opened answers for one image too


def test_the_sentence_has_every_condition():
    assert MEASURED.sentence == (
        "1.00 ms (median 1.10, p90 1.20, n=50) on a board, onnxruntime 1.0 fp32, 1 thread, batch 1, 64 px"
    )


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_latency_is_a_number_above_zero(value):
    with pytest.raises(LatencyError, match="milliseconds above 0, got median_ms"):
        Latency("a board", "onnxruntime", "1.0", "fp32", 1, 1, 64, 50, 1.0, value, 1.2)


def test_an_unknown_field_of_a_latency_is_named():
    with pytest.raises(LatencyError, match="colour.*a latency has device, runtime"):
        Latency.from_dict({**MEASURED.to_dict(), "colour": "red"})


@pytest.mark.parametrize(
    "wrong", [{"note": 5}, {"device": None}, {"threads": True}, {"median_ms": 10**400}, {"spread": float("inf")}]
)
def test_a_latency_of_other_kinds_is_refused(wrong):
    with pytest.raises(LatencyError, match=f"a latency.* {next(iter(wrong))} "):
        Latency.from_dict({**MEASURED.to_dict(), **wrong})


def test_a_latency_of_a_meter_of_ones_own_takes_numbers_of_numpy():
    latency = replace(MEASURED, median_ms=np.float32(3), n=np.int64(5), quiet=np.bool_(True))

    assert json.loads(json.dumps(latency.to_dict())) == replace(MEASURED, median_ms=3.0, n=5, quiet=True).to_dict()


def test_an_unknown_meter_is_answered_with_the_list():
    with pytest.raises(
        SettingsError,
        match="a meter is one of onnxruntime, openvino, litert, executorch, torch, table, remote, adb, got 'sundial'",
    ):
        open_meter("sundial")


def test_the_table_meter_needs_its_file():
    with pytest.raises(SettingsError, match="needs the file that `python -m mnasnet profile` wrote"):
        open_meter("table")


def test_more_threads_than_cores_are_refused():
    with pytest.raises(SettingsError, match="must not exceed the"):
        SessionMeter("onnxruntime", threads=4096)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": "1"}, "threads must be a whole number, got '1'"),
        ({"runs": 2.5}, "runs must be a whole number, got 2.5"),
        ({"warmups": -1}, "warmups must be >= 0, got -1"),
    ],
)
def test_numbers_of_a_meter_that_are_none_are_refused(options, message):
    with pytest.raises(SettingsError, match=message):
        SessionMeter("onnxruntime", **options)


def test_an_engine_that_fails_is_a_latency_error():
    with pytest.raises(LatencyError, match="onnxruntime cannot run tiny: an exported litert file runs through litert"):
        SessionMeter("onnxruntime").measure_model(in_memory(random_model(), "litert"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "bf16"}, "bf16 is computed by openvino and torch, got runtime 'litert'"),
        ({"device": "cuda"}, "device cuda runs through torch or onnxruntime, got runtime 'litert'"),
    ],
)
def test_what_an_engine_never_does_is_refused_before_anything_is_measured(options, message):
    with pytest.raises(SettingsError, match=message):
        open_meter("litert", **options)


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
def test_a_gpu_that_is_not_there_is_refused_before_anything_is_measured(runtime, monkeypatch):
    monkeypatch.setattr(session, "_may_have_driver", lambda: False)

    with pytest.raises(SettingsError, match="device cuda was asked for but (torch sees no GPU|this machine has no)"):
        open_meter(runtime, device="cuda")


@pytest.mark.parametrize("name", ["remote", "adb"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "bf16"}, "sends networks in fp32 or int8, got precision 'bf16'; choose one of them"),
        ({"device": "cuda"}, "times processor cores, got device 'cuda'; set device to cpu"),
    ],
)
def test_what_another_device_cannot_do_is_refused_before_it_is_asked(name, options, message):
    with pytest.raises(SettingsError, match=f"the meter '{name}' {message}"):
        open_meter(name, agent=AgentAddress("http://127.0.0.1:1"), **options)


@pytest.mark.skipif(usable_cores() < 2, reason="one core alone")
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "litert", "torch"])
def test_two_threads_are_timed_on_the_clock_and_named(runtime):
    latency = SessionMeter(runtime, threads=2, num_classes=3, warmups=1, runs=5).measure(TINY, 64)

    assert (latency.threads, latency.n) == (2, 5) and "2 threads" in latency.sentence
    assert 0 < latency.undisturbed_ms <= latency.median_ms <= latency.p90_ms
    assert "other work took the core" not in latency.note  # a processor's time says that of one thread only


@pytest.mark.parametrize(
    ("governor", "note"), [("performance\n", ""), ("powersave\n", "clock governor powersave"), (None, "")]
)
def test_a_clock_that_may_slow_down_is_noted(governor, note, monkeypatch):
    real = timing.Path.read_text

    def read(path, **options):
        if path.name != "scaling_governor":
            return real(path, **options)
        if governor is None:
            raise FileNotFoundError(path)
        return governor

    monkeypatch.setattr(timing.Path, "read_text", read)

    assert frequency_note() == note
    assert latency_under(Timing((1.0,) * 4)).note == "; ".join(filter(None, (note, "made up")))


def latency_under(timed):
    """The latency that ``timed`` comes to, of made-up conditions."""
    return latency_of(timed, device="a board", runtime="onnxruntime", precision="int8", threads=2, batch=4,
                      input_size=64, note="made up")  # fmt: skip


def test_a_latency_has_the_figures_of_its_runs_their_conditions_and_what_disturbed_them():
    latency = latency_under(Timing(tuple(range(11, 0, -1))))

    assert (latency.undisturbed_ms, latency.median_ms, latency.p90_ms) == (1, 6, 10)
    assert (latency.n, latency.spread) == (11, pytest.approx(8 / 6))
    assert (latency.device, latency.precision, latency.threads, latency.batch) == ("a board", "int8", 2, 4)
    assert not latency.quiet and latency.note.startswith("not quiet: runs spread by 133%, speed changed by -61% mean")
    assert latency.note.endswith("; made up")
    assert latency_under(Timing((1.0,) * 11)).quiet


def test_an_engine_that_gives_no_numbers_in_any_pass_is_no_fast_one():
    opening = iter([lambda: np.zeros((1, 3)), lambda: np.array([[0.5, np.nan, 0.5]])])

    with pytest.raises(LatencyError, match="onnxruntime gave scores that are no numbers; its time would mean nothing"):
        open_in_turn(lambda: next(opening), runtime="onnxruntime", runs=RUNS)


def test_one_core_is_one_core(monkeypatch):
    monkeypatch.setattr(machine, "usable_cores", lambda: 1)

    assert machine.processor_description().endswith(", 1 core")
    assert machine.without_cores(machine.processor_description()) == machine.processor_name()


BARE = "BogoMIPS\t: 48.00\nCPU implementer\t: 0x41\nCPU part\t: {}\n"


@pytest.mark.parametrize(
    ("board", "processor", "name"),
    [
        ("NVIDIA Jetson Orin Nano\0", "model name\t: ARMv8 Processor rev 1 (v8l)\n", "NVIDIA Jetson Orin Nano"),
        (None, f"model name\t: ARMv8 Processor\n{BARE.format('0xd42')}", "ARMv8 Processor 0x41 0xd42"),
        (None, BARE.format("0xd0b"), "aarch64 0x41 0xd0b"),
        ("linux,dummy-virt\0", BARE.format("0xd05") + BARE.format("0xd0b"), "aarch64 0x41 0xd05 0xd0b"),
        (None, "model name\t: AMD EPYC 9B14\nmodel name\t: AMD EPYC 9B14\n", "AMD EPYC 9B14"),
        (None, "Hardware\t: BCM2835\nModel\t: Raspberry Pi 3\n", "Raspberry Pi 3"),
        (None, "", "aarch64"),
    ],
)
def test_a_processor_is_told_from_others_by_its_board_or_its_numbers(board, processor, name, monkeypatch):
    def read(path, **_):
        text = {"/proc/device-tree/model": board, "/proc/cpuinfo": processor}[str(path)]
        if text is None:
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(machine.sys, "platform", "linux")
    monkeypatch.setattr(machine.Path, "read_text", read)
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")

    assert machine.processor_name() == name


@pytest.mark.parametrize(("told", "name"), [("Apple M2\n", "Apple M2"), ("", "arm64")])
def test_macs_are_told_apart_by_their_chips(told, name, monkeypatch):
    answer = subprocess.CompletedProcess([], 0, stdout=told)
    monkeypatch.setattr(machine.sys, "platform", "darwin")
    monkeypatch.setattr(machine.platform, "processor", lambda: "arm")
    monkeypatch.setattr(machine.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: answer)

    assert machine.processor_name() == name


@pytest.mark.parametrize(("told", "name"), [("AMD Ryzen 5 5600X  ", "AMD Ryzen 5 5600X"), (None, "Intel64 Family 6")])
def test_windows_names_its_processor_in_the_registry(told, name, monkeypatch):
    registry = types.ModuleType("winreg")
    registry.HKEY_LOCAL_MACHINE = 0
    registry.OpenKey = lambda *_: contextlib.nullcontext()
    registry.QueryValueEx = lambda *_: (told, 1) if told else (_ for _ in ()).throw(FileNotFoundError())
    monkeypatch.setitem(sys.modules, "winreg", registry)
    monkeypatch.setattr(machine.sys, "platform", "win32")
    monkeypatch.setattr(machine.platform, "processor", lambda: "Intel64 Family 6")

    assert machine.processor_name() == name


def test_statistics_are_of_the_runs_alone():
    ticks = iter(np.arange(0, 1, 0.001))

    timing = time_calls(lambda: None, warmups=3, runs=50, clock=lambda: next(ticks))

    assert len(timing.times_ms) == 50
    assert timing.median_ms == pytest.approx(1.0) and timing.p90_ms == pytest.approx(1.0)
    assert timing.disturbance == ""


@pytest.mark.parametrize(("warm_ms", "cold"), [(0.5, 4), (6.0, 1)])
def test_what_the_probe_put_out_of_the_caches_is_back_before_a_pass_is_timed(warm_ms, cold):
    probe = probe_of([*QUIET, *[1.0] * 6])
    calls, clock = itertools.count(), Ticking(itertools.repeat(0.0))

    def after_a_reading():
        first = next(calls) < cold
        clock.now += warm_ms * (2 if first else 1) / 1e3

    read = probe.read

    def emptying():
        nonlocal calls
        calls = itertools.count()
        return read()

    probe.read = emptying

    timing = time_calls(after_a_reading, runs=50, probe=probe, clock=clock)

    assert timing.times_ms == pytest.approx([warm_ms] * 50)


def test_engines_take_turns_so_that_none_speaks_for_all():
    clock = Ticking(itertools.cycle([0.005]))
    turns = []

    def engine(name):
        return lambda: (turns.append(name), clock.call())

    time_calls(*map(engine, "abc"), warmups=3, runs=50, clock=clock)

    blocks = [turns[3:][start : start + BLOCK + 1] for start in range(0, 5 * (BLOCK + 1), BLOCK + 1)]
    assert turns[:3] == ["a", "b", "c"]
    assert [set(block) for block in blocks] == [{"a"}, {"b"}, {"c"}, {"a"}, {"b"}]


@pytest.mark.parametrize(("pass_s", "passes"), [(0.02, 240), (0.1, 100), (3.0, 50)])
def test_a_slow_network_is_passed_fewer_times_but_never_less_than_one_of_a_search(pass_s, passes):
    clock = Ticking(itertools.repeat(pass_s))

    timing = time_calls(clock.call, warmups=0, runs=240, clock=clock)

    assert len(timing.times_ms) == pytest.approx(passes, abs=BLOCK)


def test_the_fewer_passes_the_fewer_engines_are_opened_for_them():
    assert [engines_for(runs) for runs in (1, 29, 30, QUICK_RUNS, RUNS, 1000)] == [1, 1, 2, 3, 12, 12]


@pytest.mark.parametrize(("pass_s", "engines"), [(0.02, 12), (0.1, 6), (0.4, 3), (3.0, 3)])
def test_a_slow_network_which_takes_much_memory_is_opened_fewer_times(pass_s, engines):
    clock = Ticking(itertools.repeat(pass_s))

    def passed():
        clock.call()
        return np.zeros(1)

    assert len(open_in_turn(lambda: passed, runtime="litert", runs=RUNS, clock=clock)) == engines


@pytest.mark.parametrize("raised", [MemoryError(), RuntimeError("Exception: std::bad_alloc")])
def test_where_memory_has_no_room_for_another_engine_the_last_gives_its_own_back(raised):
    three = [lambda: np.zeros(1), lambda: np.zeros(1), lambda: np.zeros(1)]
    opening = iter(three)

    def open_pass():
        for one in opening:
            return one
        raise LatencyError(f"onnxruntime failed to open: {raised}") from raised

    assert open_in_turn(open_pass, runtime="onnxruntime", runs=RUNS) == three[:2]
    with pytest.raises(LatencyError, match="failed to open"):
        open_in_turn(open_pass, runtime="onnxruntime", runs=RUNS)


def test_another_engine_that_fails_for_another_reason_ends_the_measurement():
    opening = iter([lambda: np.zeros(1)])

    with pytest.raises(StopIteration):
        open_in_turn(lambda: next(opening), runtime="onnxruntime", runs=RUNS)


def test_a_core_shared_with_others_is_noticed():
    assert "other work took the core 40% of the time" in Timing((1.0,) * 50, (0.6,) * 50).disturbance


def test_processor_time_sees_through_other_work():
    timing = Timing((1.0, 3.0, 9.0, 2.0), (0.9, 0.91, 0.92, 0.9))

    assert timing.undisturbed_ms == pytest.approx(0.9)
    assert Timing((1.0, 3.0, 9.0, 2.0)).undisturbed_ms == 1.0
    assert Timing((1.0, 3.0, 9.0, 2.0), (2.6,) * 4).undisturbed_ms == 2.5  # never more than the clock says


def test_one_run_in_ten_may_be_slower_than_the_90th_percentile_and_faster_than_the_undisturbed_time():
    runs = tuple(map(float, range(11, 0, -1)))

    assert Timing(runs).p90_ms == 10
    assert Timing(runs, runs).undisturbed_ms == 2
    assert Timing(runs).spread == pytest.approx((10 - 2) / 6)


@pytest.mark.parametrize(
    ("quiet", "disturbed"),
    [
        (Timing((1.0, 1.05) * 24), Timing((1.0, 1.08) * 24)),
        (Timing((1.0,) * 25 + (1.04,) * 25), Timing((1.0,) * 25 + (1.055,) * 25)),
        (Timing((1.0,) * 50, (0.96,) * 50), Timing((1.0,) * 50, (0.94,) * 50)),
        (Timing((1.0,) * 50, slowdown={"memory": 0.03}), Timing((1.0,) * 50, slowdown={"memory": 0.05})),
    ],
)
def test_a_quiet_machine_is_within_a_few_percent(quiet, disturbed):
    assert quiet.disturbance == ""
    assert disturbed.disturbance.count("%") == 1


def test_engines_that_differ_at_rest_are_no_disturbance_but_one_that_differs_from_itself_is():
    turns = (0,) * 10 + (1,) * 10 + (0,) * 10 + (1,) * 10

    assert Timing(((1.0,) * 10 + (1.1,) * 10) * 2, engines=turns).disturbance == ""
    assert Timing(((1.0, 1.1) * 5 + (1.1, 1.21) * 5) * 2, engines=turns).spread == pytest.approx(0.2 / 2.1)


def test_a_timing_knows_which_engine_each_pass_went_through():
    clock = Ticking(itertools.cycle([0.005]))

    timing = time_calls(*[clock.call] * 3, runs=45, clock=clock)

    assert timing.engines == (0,) * 10 + (1,) * 10 + (2,) * 10 + (0,) * 10 + (1,) * 5


def test_one_interruption_disturbs_no_measurement():
    assert Timing((*(1.0,) * 49, 50.0)).disturbance == ""


def test_a_processor_that_slows_down_is_noticed():
    assert "speed changed by +30% meanwhile" in Timing((1.0,) * 25 + (1.3,) * 25).disturbance
    assert "speed changed by -23% meanwhile" in Timing((1.3,) * 25 + (1.0,) * 25).disturbance


def probe_of(memory_ms, arithmetic_ms=None):
    """A probe that reads these milliseconds; its clock is asked twice for each of its four times of each."""
    pairs = zip(memory_ms, arithmetic_ms or [1.0] * len(memory_ms), strict=True)
    ticks = (tick for pair in pairs for ms in pair for _ in range(READS) for tick in (0.0, ms / 1e3))
    return MachineProbe(clock=lambda: next(ticks))


QUIET = [1.0] * STARTS


@pytest.mark.parametrize("slow", ["memory", "arithmetic"])
def test_passes_beside_a_slow_machine_do_not_count(slow):
    disturbed = [*QUIET, 1.0, 1.0, 1.2, 1.0, 1.0, 1.0, 1.0, 1.0]  # the second and third block
    quiet = [1.0] * len(disturbed)
    probe = probe_of(disturbed, quiet) if slow == "memory" else probe_of(quiet, disturbed)
    passes = iter([0.010] * (10 + 1 + BLOCK) + [0.030] * 2 * (BLOCK + 1) + [0.010] * 4 * (BLOCK + 1))
    clock = Ticking(passes)

    timing = time_calls(clock.call, runs=50, probe=probe, clock=clock)

    assert timing.slowdown == {"memory": 0.0, "arithmetic": 0.0} and timing.disturbance == ""
    assert timing.p90_ms == pytest.approx(10) and len(timing.times_ms) == 50


def test_a_machine_that_stays_slow_is_noticed():
    blocks = 5 * PATIENCE + 1
    probe = probe_of([*QUIET, *[1.3] * blocks], [*QUIET, *[1.5] * blocks])
    clock = Ticking(iter([0.010] * 1000))

    timing = time_calls(clock.call, runs=50, probe=probe, clock=clock)

    assert timing.disturbance == (
        "not quiet: memory was 30% slower than it can be, arithmetic was 50% slower than it can be"
    )
    assert len(timing.times_ms) == 50


def test_no_machine_is_waited_for_long(monkeypatch):
    monkeypatch.setattr(timing, "PATIENCE_S", 0.0)
    probe, clock = probe_of([*QUIET, *[1.3] * 6]), Ticking(itertools.repeat(0.010))

    assert len(time_calls(clock.call, runs=50, probe=probe, clock=clock).times_ms) == 50


def test_the_passes_that_count_are_as_many_as_asked_for_and_in_the_order_of_time():
    probe = probe_of([*QUIET, 1.0, 1.03, 1.02, 1.0])
    clock = Ticking(itertools.count(0.010, 0.001))

    times_ms = time_calls(clock.call, warmups=0, runs=25, probe=probe, clock=clock).times_ms

    assert len(times_ms) == 25 and list(times_ms) == sorted(times_ms)


def in_ticks(clock):
    """The clock as Windows counts processor time: it stands still for 15.6 ms, then jumps."""
    return lambda: clock() // 0.015625 * 0.015625


def test_a_processor_clock_of_whole_ticks_is_not_measured_with():
    pixels = np.ones(1 << 20)

    probe = machine_probe(in_ticks(time.thread_time))
    timing = time_calls(pixels.sum, one_thread=True, probe=probe, cpu_clock=in_ticks(time.process_time))

    assert probe.best_ms("memory") > 0 and probe.best_ms("arithmetic") > 0 and timing.slowdown
    assert timing.cpu_ms == () and timing.undisturbed_ms == min(timing.times_ms)


class Ticking:
    """A clock that a call moves on by the next of ``durations`` in seconds."""

    def __init__(self, durations):
        self.now, self.durations = 0.0, durations

    def __call__(self):
        return self.now

    def call(self):
        self.now += next(self.durations)


def test_scattered_runs_are_noticed():
    assert "runs spread by 67%" in Timing((1.0, 2.0) * 25).disturbance


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system cannot pin")
def test_pinning_is_undone():
    before = os.sched_getaffinity(0)

    with pinned(1):
        inside = os.sched_getaffinity(0)

    assert len(inside) == 1 and inside <= before
    assert os.sched_getaffinity(0) == before


def test_the_fastest_cores_are_taken_and_of_equal_ones_the_last(monkeypatch):
    given = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: given.append(cores), raising=False)
    monkeypatch.setattr(timing, "max_frequency", {0: 2, 1: 3, 2: 2, 3: 1}.get)

    with pinned(2):
        assert given == [{1, 2}]


def test_where_pinning_is_forbidden_it_is_measured_all_the_same(monkeypatch):
    def forbidden(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbidden, raising=False)

    with pinned(1):
        pass


@pytest.mark.parametrize("name", ["mnasnet_a1", "mnasnet_b1", "mnasnet_small"])
def test_an_untrained_model_has_the_networks_own_tensors(name):
    ours = untrained_model(PRESETS[name], 224, 7).weights

    reference = weights_of(build(PRESETS[name], 7))
    assert {key: value.shape for key, value in ours.items()} == {key: v.shape for key, v in reference.items()}


def test_an_untrained_model_keeps_activations_in_range():
    scores = open_session(untrained_model(PRESETS["mnasnet_b1"], 64), runtime="onnxruntime").run(
        np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    )

    # neither fading nor exploding: within a factor of 1000 of one
    assert 1e-3 < scores.std() < 1e3
