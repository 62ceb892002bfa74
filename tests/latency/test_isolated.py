"""Measuring in a process of its own, and remembering: what a search does with every candidate."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from mnasnet.errors import LatencyError
from mnasnet.latency.contract import LatencyMeterContract
from mnasnet.latency.isolated import IsolatedMeter
from mnasnet.latency.meter import Latency
from mnasnet.latency.remembered import RememberingMeter
from mnasnet.machine import usable_cores
from mnasnet.search.device import open_device_meter
from mnasnet.search.searching import Searching
from mnasnet.spec import ArchitectureSpec
from mnasnet.testing import TINY, random_model

LARGE = replace(TINY, stem_channels=512, head_channels=4096)  # at 1024 pixels its measurement takes over half a second
QUIET = Latency("device", "runtime", "1", "fp32", 1, 1, 64, 50, 2.0, 2.0, 2.1)


@pytest.fixture
def started(monkeypatch):
    """The processes that are started meanwhile."""
    processes = []

    class Noted(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            processes.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    return processes


@pytest.fixture(scope="module")
def isolated():
    with IsolatedMeter("onnxruntime", num_classes=3) as meter:
        yield meter


def let_it_begin(meter):
    """Start the process by what it refuses at once."""
    with pytest.raises(LatencyError, match="cannot be measured at 1 px"):
        meter.measure(TINY, 1)


class TestIsolatedMeter(LatencyMeterContract):
    @pytest.fixture
    def meter(self, isolated):
        return isolated

    def test_measures_trained_models_too(self, isolated):
        assert isolated.measure_model(random_model(input_size=48)).input_size == 48

    @pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="here is a GPU")
    @pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
    def test_measures_where_it_is_told_to(self, runtime):
        asked = Searching(Path("photos"), meter=runtime, meter_device="cuda")

        with open_device_meter(asked, 3, lambda: False) as meter:
            with pytest.raises(
                LatencyError, match="device cuda was asked for but (torch sees no GPU|this machine has)"
            ):
                meter.measure(TINY, 64)

    def test_what_the_engine_was_asked_for_reaches_its_process(self):
        with IsolatedMeter("openvino", precision="bf16", threads=usable_cores(), num_classes=3) as meter:
            latency = meter.measure(TINY, 32)

        assert (latency.runtime, latency.precision, latency.threads) == ("openvino", "bf16", usable_cores())

    def test_a_network_that_takes_too_long_is_given_up_and_its_process_ended(self, started):
        with IsolatedMeter("onnxruntime", timeout_s=0.01) as meter:
            with pytest.raises(LatencyError, match=r"onnxruntime did not answer within 0.01 s; it was ended"):
                meter.measure(LARGE, 1024)

            assert [process.returncode is not None for process in started] == [True]
            assert all(pipe.closed for process in started for pipe in (process.stdin, process.stdout))

    def test_an_engine_that_dies_is_an_error_and_the_next_question_starts_anew(self, started):
        with IsolatedMeter("onnxruntime") as meter:
            let_it_begin(meter)
            threading.Timer(0.05, started[0].kill).start()

            with pytest.raises(LatencyError, match="onnxruntime ended its process while it was measured"):
                meter.measure(LARGE, 1024)
            assert meter.measure(TINY, 64).undisturbed_ms > 0

    def test_an_engine_that_dies_just_before_it_is_asked_is_the_same_error(self, started, monkeypatch):
        with IsolatedMeter("onnxruntime") as meter:
            let_it_begin(meter)
            started[0].kill()
            started[0].wait()
            monkeypatch.setattr(started[0], "poll", lambda: None)  # it was still there when it was looked at

            with pytest.raises(LatencyError, match="onnxruntime ended its process while it was measured"):
                meter.measure(TINY, 64)

    def test_an_interrupted_question_leaves_no_answer_for_the_next(self, ctrl_c):
        with IsolatedMeter("onnxruntime") as meter:
            let_it_begin(meter)
            threading.Timer(0.05, ctrl_c).start()
            with pytest.raises(KeyboardInterrupt):
                meter.measure(TINY, 512)

            assert meter.measure(TINY, 64).input_size == 64

    def test_a_waiting_caller_can_end_it(self):
        class Enough(Exception):
            pass

        def enough() -> None:
            raise Enough

        with IsolatedMeter("onnxruntime", on_wait=enough) as meter, pytest.raises(Enough):
            while True:  # the first measurement of over half a second
                meter.measure(LARGE, 1024)

    def test_one_who_asks_while_another_waits_has_its_turn_and_its_own_answer(self):
        class Enough(Exception):
            pass

        answers = []
        other = threading.Thread(target=lambda: answers.append(meter.measure(TINY, 64)))

        def give_up() -> None:
            if threading.current_thread() is not other:
                other.start()
                other.join(0.2)  # long enough to ask, would it not wait
                raise Enough

        with IsolatedMeter("onnxruntime", on_wait=give_up) as meter:
            with pytest.raises(Enough):
                while True:  # the first measurement of over half a second
                    meter.measure(LARGE, 1024)
            other.join()

        assert [answer.input_size for answer in answers] == [64]

    @pytest.mark.parametrize(
        ("runtime", "threads", "told"),
        [("sundial", 1, "runtime must be one of"), ("onnxruntime", 4096, "threads must not")],
    )
    def test_an_engine_that_cannot_be_is_told_and_nothing_of_it_is_left(self, runtime, threads, told, started):
        with IsolatedMeter(runtime, threads=threads) as meter, pytest.raises(LatencyError, match=told):
            meter.measure(TINY, 64)

        (ended,) = started
        assert ended.returncode is not None and ended.stdin.closed and ended.stdout.closed


@dataclass
class ScriptedMeter:
    """Gives latencies one after the other and counts the calls."""

    latencies: list[Latency]
    calls: int = field(default=0)

    def measure(self, architecture: ArchitectureSpec, input_size: int) -> Latency:
        self.calls += 1
        return self.latencies[self.calls - 1]


class TestRememberingMeter:
    def test_measures_a_network_once_also_over_several_processes(self, tmp_path):
        meter = ScriptedMeter([QUIET])

        first = RememberingMeter(meter, tmp_path / "latencies.jsonl").measure(TINY, 64)
        second = RememberingMeter(meter, tmp_path / "latencies.jsonl").measure(TINY, 64)

        assert first == second == QUIET and meter.calls == 1

    def test_repeats_what_was_disturbed_until_it_is_quiet(self, tmp_path):
        noisy = replace(QUIET, quiet=False, undisturbed_ms=1.9, note="not quiet: other work")
        meter = ScriptedMeter([noisy, QUIET, noisy])

        assert RememberingMeter(meter, tmp_path / "latencies.jsonl").measure(TINY, 64) == QUIET
        assert meter.calls == 2

    def test_says_when_no_attempt_was_quiet_and_takes_the_fastest(self, tmp_path):
        noisy = [replace(QUIET, quiet=False, undisturbed_ms=ms, note="not quiet: other work") for ms in (2.0, 1.5, 1.8)]

        latency = RememberingMeter(ScriptedMeter(noisy), tmp_path / "latencies.jsonl").measure(TINY, 64)

        assert latency.undisturbed_ms == 1.5
        assert latency.note == "not quiet: other work; the fastest of 3 attempts, none was quiet"

    def test_a_line_that_a_kill_tore_costs_only_its_own_network(self, tmp_path):
        file = tmp_path / "latencies.jsonl"
        RememberingMeter(ScriptedMeter([QUIET]), file).measure(TINY, 64)
        with file.open("a") as out:
            out.write('{"network": "half a li')

        meter = ScriptedMeter([QUIET, QUIET])
        remembering = RememberingMeter(meter, file)
        remembering.measure(TINY, 64)
        remembering.measure(TINY, 96)

        assert meter.calls == 1
        assert len(RememberingMeter(meter, file).latencies()) == 2

    def test_of_two_processes_that_measured_at_once_the_first_to_write_counts_for_all(self, tmp_path):
        for name, ms in (("a", 2.0), ("b", 1.0)):
            meter = ScriptedMeter([replace(QUIET, undisturbed_ms=ms)])
            RememberingMeter(meter, tmp_path / name).measure(TINY, 64)
        (tmp_path / "both").write_text((tmp_path / "a").read_text() + (tmp_path / "b").read_text())

        assert RememberingMeter(ScriptedMeter([]), tmp_path / "both").measure(TINY, 64) == QUIET

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are named in Linux' way")
    def test_the_file_is_open_for_no_longer_than_it_is_written(self, tmp_path):
        file = tmp_path / "latencies.jsonl"

        RememberingMeter(ScriptedMeter([QUIET]), file).measure(TINY, 64)

        assert file not in [descriptor.resolve() for descriptor in Path("/proc/self/fd").iterdir()]

    @pytest.mark.parametrize("other", [{"device": "another board"}, {"precision": "int8"}, {"threads": 2}])
    def test_another_device_at_the_same_address_is_refused_and_what_was_measured_stays(self, other, tmp_path):
        file, elsewhere = tmp_path / "latencies.jsonl", replace(QUIET, **other)
        RememberingMeter(ScriptedMeter([QUIET]), file).measure(TINY, 64)
        remembering = RememberingMeter(ScriptedMeter([elsewhere]), file)

        with pytest.raises(LatencyError, match="of two devices are never mixed: so far it was device, .*, now"):
            remembering.measure(TINY, 96)

        assert remembering.measure(TINY, 64) == QUIET and remembering.latencies() == [QUIET]

    def test_fewer_cores_for_a_container_are_the_same_device_and_another_version_is_told(self, tmp_path):
        file = tmp_path / "latencies.jsonl"
        RememberingMeter(ScriptedMeter([replace(QUIET, device="board, 4 cores")]), file).measure(TINY, 64)
        newer = replace(QUIET, device="board, 1 core", runtime_version="2", note="warm")

        latency = RememberingMeter(ScriptedMeter([newer]), file).measure(TINY, 96)

        assert latency.note == "warm; others were measured with runtime 1"

    def test_a_line_is_read_once_it_is_whole(self, tmp_path):
        file, meter = tmp_path / "latencies.jsonl", ScriptedMeter([QUIET])
        RememberingMeter(meter, tmp_path / "other.jsonl").measure(TINY, 64)
        line = (tmp_path / "other.jsonl").read_text()
        remembering = RememberingMeter(meter, file)

        file.write_text(line[:30])
        assert remembering.known(TINY, 64) is None
        file.write_text(line)

        assert remembering.measure(TINY, 64) == QUIET and meter.calls == 1

    def test_what_was_read_is_not_read_again(self, tmp_path):
        file = tmp_path / "latencies.jsonl"
        meter = ScriptedMeter([QUIET, replace(QUIET, undisturbed_ms=1.0)])
        remembering = RememberingMeter(meter, file)
        remembering.measure(TINY, 64)
        line = file.read_text()
        with file.open("a") as out:
            out.writelines(line.replace(TINY.fingerprint, str(number)) for number in range(3000))
        moments = [time.process_time()]

        remembering.latencies()
        moments.append(time.process_time())
        remembering.measure(TINY, 96)
        remembering.latencies()
        moments.append(time.process_time())

        whole_s, added_s = moments[1] - moments[0], moments[2] - moments[1]
        assert added_s < whole_s / 10  # one line of 3001; the rest is for opening the file


def test_a_measuring_process_whose_search_was_killed_ends_without_a_word():
    measuring = subprocess.Popen(
        [sys.executable, "-m", "mnasnet.latency.isolated", "onnxruntime", "{}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert measuring.stdout.readline() == "{}\n"
    measuring.stdout.close()

    _, said = measuring.communicate(json.dumps({"architecture": TINY.to_dict(), "input_size": 64}) + "\n", timeout=120)

    assert "Traceback" not in said
