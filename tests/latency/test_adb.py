"""Phones: what benchmark_model prints, and the real adb client and server with no phone and with a pretended one."""

import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest
from documents import commands, make_workplace, read, run_command
from pretend_phone import PretendPhone

from mnasnet.errors import LatencyError, RuntimeMissingError, SettingsError
from mnasnet.export.exported import in_memory
from mnasnet.latency import adb
from mnasnet.latency.adb import AdbMeter, AndroidPhone, tool_times
from mnasnet.latency.contract import LatencyMeterContract
from mnasnet.latency.meters import open_meter
from mnasnet.search.device import open_device_meter
from mnasnet.search.searching import Searching
from mnasnet.search.stop import SearchStopped
from mnasnet.testing import TINY, random_model

needs_adb = pytest.mark.skipif(shutil.which("adb") is None, reason="adb is not installed")

# the shape of what LiteRT's benchmark_model prints, numbers made up
OUTPUT = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Num threads: [1]
INFO: Graph: [/data/local/tmp/mnasnet.tflite]
INFO: Loaded model /data/local/tmp/mnasnet.tflite
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: The input model file size (MB): 16.9
INFO: Initialized session in 41.25ms.
INFO: Running benchmark for at least 10 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=10 first=31250 curr=20110 min=20010 max=31250 avg=21300 std=3300 p5=20010 median=20200 p95=31250

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=50 first=20312 curr=20150 min=20000 max=22000 avg=2.02e+04 std=310 p5=20050 median=20125 p95=21000

INFO: Inference timings in us: Init: 41250, First inference: 31250, Warmup (avg): 21300, Inference (avg): 20200
INFO: Memory footprint delta from the start of the tool (MB): init=20.5 overall=31.75
"""

OLD_OUTPUT = """\
STARTING!
count=1 curr=3512391

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=50 first=2990000 curr=2913000 min=2727000 max=3189000 avg=2.95e+06 std=109798

Inference timings in us: Init: 17187, First inference: 3512391, Warmup (avg): 3.51e+06, Inference (avg): 2.95e+06
"""

#: times a LiteRT file as benchmark_model does and prints as it prints
TOOL = """\
#!{python}
import sys, time
import numpy as np
from ai_edge_litert.interpreter import Interpreter

options = dict(word[2:].split("=", 1) for word in sys.argv[1:])
interpreter = Interpreter(model_path=options["graph"], num_threads=int(options["num_threads"]))
interpreter.allocate_tensors()
source = interpreter.get_input_details()[0]
interpreter.set_tensor(source["index"], np.zeros(source["shape"], source["dtype"]))
times = []
for _ in range(int(options["num_runs"])):
    start = time.perf_counter()
    interpreter.invoke()
    times.append(round(1e6 * (time.perf_counter() - start)))
low, middle, high = (round(value) for value in np.percentile(times, (5, 50, 95)))
print("INFO: count=1 curr=9999 p5=9999 median=9999 p95=9999", file=sys.stderr)
print(f"INFO: count={{len(times)}} first={{times[0]}} curr={{times[-1]}} min={{min(times)}} max={{max(times)}} "
      f"avg={{np.mean(times)}} std=0 p5={{low}} median={{middle}} p95={{high}}", file=sys.stderr)
"""

#: gives the size of the file as its time, late enough for another to have come meanwhile
SLOW_TOOL = """\
#!/bin/sh
sleep 1
for word; do case $word in --graph=*) size=$(($(wc -c < "${word#--graph=}"))); esac; done
echo "count=50 first=$size curr=$size min=$size max=$size avg=$size std=0 p5=$size median=$size p95=$size"
"""


@pytest.fixture(scope="module")
def adb_server(tmp_path_factory):
    """A server of our own, so that phones of whoever runs the tests are left alone."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = str(unused.getsockname()[1])
    home = tmp_path_factory.mktemp("adb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANDROID_ADB_SERVER_PORT", port)
        patch.setenv("HOME", str(home))
        patch.setenv("ADB_MDNS", "0")
        subprocess.run(["adb", "start-server"], check=True, capture_output=True)
        yield
        subprocess.run(["adb", "kill-server"], check=True, capture_output=True)


@pytest.fixture(scope="module")
def phone(adb_server, tmp_path_factory):
    pretended = PretendPhone(tmp_path_factory.mktemp("phone"))
    subprocess.run(["adb", "connect", pretended.serial], check=True, capture_output=True)
    yield pretended
    subprocess.run(["adb", "disconnect", pretended.serial], check=True, capture_output=True)
    pretended.close()


@pytest.fixture(scope="module")
def tool(tmp_path_factory):
    pytest.importorskip("ai_edge_litert")
    path = tmp_path_factory.mktemp("tool") / "benchmark_model"
    path.write_text(TOOL.format(python=sys.executable))
    return path


def test_times_are_the_timed_runs_and_not_the_warm_up():
    times = tool_times(OUTPUT)

    assert (times.runs, times.fastest_ms, times.p5_ms, times.median_ms, times.p95_ms) == (50, 20.0, 20.05, 20.125, 21.0)


def test_old_tools_tell_an_average_and_the_slowest_run():
    times = tool_times(OLD_OUTPUT)

    assert not times.has_percentiles
    assert (times.runs, times.p5_ms, times.median_ms, times.p95_ms) == (50, 2727.0, 2950.0, 3189.0)


def test_lines_of_the_system_log_are_read_too():
    logged = textwrap.indent(OUTPUT, "07-14 13:14:56.520 22838 22838 I tflite  : ")

    assert tool_times(logged) == tool_times(OUTPUT)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("", "it said: nothing"),
        ("INFO: STARTING!\nERROR: Failed to load model /data/local/tmp/x.tflite\n\n", "Failed to load model"),
        ("INFO: count=1 curr=1357602 p5=1357602 median=1357602 p95=1357602", "it said: INFO: count=1"),
    ],
)
def test_a_tool_that_fails_is_quoted(output, words):
    with pytest.raises(LatencyError, match=f"benchmark_model gave no times; .*{words}"):
        tool_times(output)


def test_a_phone_times_one_image_at_once():
    with pytest.raises(SettingsError, match="times one image at once, got batch 8"):
        open_meter("adb", batch=8)


def test_a_missing_adb_is_named(monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)

    with pytest.raises(RuntimeMissingError, match="adb is not installed"):
        open_meter("adb")


def test_a_file_that_no_phone_runs_is_told_what_to_export():
    file = in_memory(random_model(), "onnx")

    with pytest.raises(LatencyError, match="runs LiteRT files, tiny is onnx; export the model to litert$"):
        AdbMeter(AndroidPhone(), "a phone", "1").measure_model(file)


@needs_adb
def test_no_phone_is_said_with_what_to_do(adb_server):
    with pytest.raises(LatencyError, match="no phone is connected; switch on USB debugging"):
        open_meter("adb")


@needs_adb
def test_a_phone_that_is_not_there_is_named(adb_server):
    with pytest.raises(LatencyError, match="the phone R58N123 is not connected"):
        open_meter("adb", phone=AndroidPhone("R58N123"))


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("R58N123\tunauthorized", "the phone R58N123 does not trust this computer yet; unlock it and answer"),
        ("R58N123\toffline", "the phone R58N123 is offline; plug it in again, see `adb devices`"),
        ("R58N123\tdevice\nemulator-5554\tdevice", "2 phones are connected; name one .*: R58N123, emulator-5554"),
    ],
)
def test_a_phone_that_cannot_be_asked_is_told_with_what_to_do(told, message, monkeypatch, tmp_path):
    stand_in(f"echo List of devices attached; printf '{told}\\n'", tmp_path, monkeypatch)

    with pytest.raises(LatencyError, match=message):
        open_meter("adb")


def test_a_phones_command_that_fails_is_quoted_though_it_printed_times(monkeypatch, tmp_path):
    (tmp_path / "output.txt").write_text(OUTPUT)
    stand_in(f'case "$*" in *num_runs*) cat {tmp_path}/output.txt; exit 7; esac', tmp_path, monkeypatch)

    with pytest.raises(LatencyError, match="`adb -s R58N123 shell .*` failed: INFO: Memory footprint"):
        AdbMeter(AndroidPhone("R58N123"), "a phone", "1").measure_model(in_memory(random_model(), "litert"))


def test_a_phone_that_tells_no_digest_of_its_tool_has_none(monkeypatch, tmp_path):
    stand_in(r"case $1 in devices) printf 'List\nR58N123\tdevice\n'; esac", tmp_path, monkeypatch)

    with pytest.raises(LatencyError, match="the phone has no /data/local/tmp/benchmark_model; give"):
        open_meter("adb")


@pytest.mark.parametrize("name", ["threads", "runs", "num_classes"])
@pytest.mark.parametrize(("number", "rule"), [(0, ">= 1, got 0"), ("2", "a whole number, got '2'")])
def test_a_meter_of_a_phone_takes_whole_numbers_of_one_at_least(name, number, rule):
    with pytest.raises(SettingsError, match=f"{name} must be {rule}"):
        AdbMeter.open(None, **{name: number})


def stand_in(script, folder, monkeypatch):
    """An ``adb`` that only says what a real one would."""
    program = folder / "adb"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@needs_adb
def test_a_phone_without_the_tool_says_where_it_belongs(phone):
    with pytest.raises(LatencyError, match="the phone has no /data/local/tmp/benchmark_model; give"):
        open_meter("adb", phone=AndroidPhone(phone.serial))


@needs_adb
def test_a_tool_that_is_no_file_is_named(phone, tmp_path):
    with pytest.raises(LatencyError, match="there is no file .*missing to put on the phone"):
        open_meter("adb", phone=AndroidPhone(tool=tmp_path / "missing"))


@needs_adb
class TestAdbMeter(LatencyMeterContract):
    @pytest.fixture
    def meter(self, phone, tool):
        return open_meter("adb", num_classes=3, phone=AndroidPhone(tool=tool))


@needs_adb
def test_a_latency_names_the_phone_and_the_build_of_its_tool(phone, tool):
    latency = AdbMeter.open(AndroidPhone(phone.serial, tool), num_classes=3).measure(TINY, 64)

    assert (latency.device, latency.runtime, latency.n) == ("Nobody Pretend 1, PC", "litert", 50)
    assert latency.runtime_version.startswith("benchmark_model ") and "p90 is the 95th percentile" in latency.note
    assert [path.name for path in (phone.folder / "tmp").iterdir()] == ["benchmark_model"]  # the model is gone again


@needs_adb
def test_a_phone_gets_networks_in_8_bits_where_that_is_asked_for(phone, tool):
    latency = AdbMeter.open(AndroidPhone(phone.serial, tool), precision="int8", num_classes=3).measure(TINY, 64)

    assert latency.precision == "int8" and "8-bit numbers made up for timing" in latency.note


@needs_adb
def test_two_searches_on_one_phone_each_time_what_they_sent(phone, tmp_path):
    pytest.importorskip("ai_edge_litert")
    tells_the_size = tmp_path / "benchmark_model"
    tells_the_size.write_text(SLOW_TOOL)
    meter = AdbMeter.open(AndroidPhone(phone.serial, tells_the_size))
    models = [
        in_memory(random_model(class_names=names), "litert") for names in ("ab", [str(number) for number in range(500)])
    ]

    with ThreadPoolExecutor(2) as both:
        times = [latency.median_ms for latency in both.map(meter.measure_model, models)]

    assert times == [len(model.content) / 1e3 for model in models]


@needs_adb
def test_a_search_that_brings_the_tool_again_leaves_it_whole_for_another(phone, tmp_path, monkeypatch):
    tells_times = tmp_path / "benchmark_model"
    tells_times.write_text("#!/bin/sh\necho count=1 min=1\n")
    there, ran = phone.folder / "tmp", []
    shutil.copy(tells_times, there)
    (there / "benchmark_model").chmod(0o755)
    monkeypatch.setattr(phone, "while_pushed_to", lambda: ran.append(phone.shell("/data/local/tmp/benchmark_model")))

    AdbMeter.open(AndroidPhone(phone.serial, tells_times))

    assert [done.stdout for done in ran] == [b"count=1 min=1\n"]
    assert [path.name for path in there.iterdir()] == ["benchmark_model"]


def test_a_phone_that_hangs_is_named_by_the_whole_command(monkeypatch, tmp_path):
    stand_in('case "$*" in *num_runs*) exec sleep 30; esac', tmp_path, monkeypatch)
    monkeypatch.setattr(adb, "RUN_S", 0.05)

    with pytest.raises(LatencyError, match="no answer to `adb -s R58N123 shell .*benchmark_model --graph=.*` in 0 s"):
        AdbMeter(AndroidPhone("R58N123"), "a phone", "1").measure_model(in_memory(random_model(), "litert"))


def test_a_phone_has_all_the_time_that_its_tool_takes_for_warm_up_and_runs():
    phases_s = [int(seconds) for seconds in re.findall(r"terminate if exceeding (\d+) seconds", OUTPUT)]

    assert phases_s == [150, 150] and sum(phases_s) < adb.RUN_S


@pytest.mark.parametrize("word", ["push", "num_runs"])
def test_a_search_that_waits_for_a_phone_stops_when_it_is_told_to(word, monkeypatch, tmp_path):
    script = r"""case "$*" in
    devices) printf 'List\nA\tdevice\n';;
    *sha256sum*) printf '%064d';;
    *WORD*) touch "$0.running"; sleep 5; touch "$0.finished";;
    *" rm "*) touch "$0.removed";;
    esac"""
    stand_in(script.replace("WORD", word), tmp_path, monkeypatch)
    monkeypatch.setattr(adb, "WAKE_S", 0.01)
    asked = Searching("/photos", minutes=1, meter="adb")
    meter = open_device_meter(asked, 3, (tmp_path / "adb.running").exists)

    with pytest.raises(SearchStopped):
        meter.measure(TINY, 64)

    assert (tmp_path / "adb.removed").exists() and not (tmp_path / "adb.finished").exists()


@pytest.mark.parametrize(
    ("p95", "spread", "quiet", "note"),
    [(20550, 0.025, True, ""), (24000, 0.196, False, "not quiet: runs spread by 20%; ")],
)
def test_a_phone_is_quiet_where_its_runs_are_alike(p95, spread, quiet, note, monkeypatch, tmp_path):
    (tmp_path / "output.txt").write_text(OUTPUT.replace("p95=21000", f"p95={p95}"))
    stand_in(f'case "$*" in *num_runs*) cat {tmp_path}/output.txt; esac', tmp_path, monkeypatch)

    latency = AdbMeter(AndroidPhone("R58N123"), "a phone", "1").measure_model(in_memory(random_model(), "litert"))

    assert (latency.spread, latency.quiet) == (pytest.approx(spread, abs=0.001), quiet)
    assert latency.note == f"{note}p90 is the 95th percentile, the spread from the 5th"


def test_a_phone_is_asked_for_the_threads_and_runs_that_are_wanted(monkeypatch, tmp_path):
    (tmp_path / "output.txt").write_text(OUTPUT)
    script = f'case "$*" in *num_runs*) echo "$*" > {tmp_path}/asked; cat {tmp_path}/output.txt; esac'
    stand_in(script, tmp_path, monkeypatch)
    meter = AdbMeter(AndroidPhone("R58N123"), "a phone", "1", threads=3, warmups=2, runs=7)

    latency = meter.measure_model(in_memory(random_model(), "litert"))

    assert "--num_threads=3 --warmup_runs=2 --num_runs=7" in (tmp_path / "asked").read_text()
    assert (latency.threads, latency.median_ms, latency.p90_ms) == (3, 20.125, 21.0)


@needs_adb
def test_the_command_of_the_page_about_devices_measures_on_the_phone(phone, tool, tmp_path):
    (command,) = [line for line in commands(read("docs/devices.md")) if "--meter adb" in line]
    make_workplace(tmp_path)
    shutil.copy(tool, tmp_path)

    run_command(f"{command} --only", tmp_path)
