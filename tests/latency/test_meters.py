"""Meters of this machine keep their contract; the numbers themselves are the benchmark's business."""

import contextlib
import importlib.metadata
import json
import subprocess
import sys
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
from mnasnet.latency.remote import AgentAddress
from mnasnet.latency.session import SessionMeter
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
        """However disturbed they are: how patient meters are is shown in test_timing.py."""
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
