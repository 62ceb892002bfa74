"""The measurements of an agent, each in a process of its own: their turn, their time and their end."""

import contextlib
import errno
import http.client
import io
import json
import os
import queue
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from running_agent import ROOT, TOKEN, RunningAgent, meter_of, posted, said_to, self_made
from sent_graphs import asked_for, heavy

from mnasnet.agent import measure as agent_measure
from mnasnet.agent import process, server
from mnasnet.agent.measure import Job, measure
from mnasnet.agent.rules import Rules
from mnasnet.errors import LatencyError
from mnasnet.export.exported import in_memory
from mnasnet.export.formats import FORMATS
from mnasnet.latency.timing import time_calls
from mnasnet.latency.token import VARIABLE
from mnasnet.latency.untrained import untrained_model
from mnasnet.machine import usable_cores
from mnasnet.testing import TINY

#: an exception that a signal raises within a compiled module comes out as another one
STOPPED_DURING_IMPORT = """
import signal

try:
    signal.raise_signal(signal.SIGTERM)
except KeyboardInterrupt:
    raise ImportError("initialization failed")
__version__ = "1.0"
"""


@pytest.fixture
def scripted(monkeypatch):
    """What is started runs ``script`` instead of a measurement; ``last`` is that process."""

    class Scripted(subprocess.Popen):
        def __init__(self, _, **options):
            super().__init__(["sh", "-c", Scripted.script], **options)
            Scripted.last, self.env = self, options["env"]

    monkeypatch.setattr(process.subprocess, "Popen", Scripted)
    return Scripted


def still_there():
    return False


def test_measurements_wait_for_each_other(agent, content):
    answers = []
    asking = [
        threading.Thread(target=lambda: answers.append(agent.ask("POST", "/measure?runs=20", content)))
        for _ in range(3)
    ]

    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()

    assert [status for status, _ in answers] == [200, 200, 200]
    agent.line(lambda _: len(agent.lines_of("runs=20")) == 3)
    lines = agent.lines_of("runs=20")
    shortest = min(line["seconds"] - line["waited_s"] for line in lines)
    assert sum(line["waited_s"] > 0.8 * shortest for line in lines) >= 2  # the first alone need not wait


def test_nothing_is_measured_for_a_client_that_has_gone(monkeypatch, serving, content):
    measured, lines = [], queue.SimpleQueue()
    monkeypatch.setattr(server, "measure_apart", lambda *asked: measured.append(asked))
    monkeypatch.setattr(serving, "log", lines.put)
    with serving.turn, socket.create_connection(serving.server_address) as client:  # another is being measured
        client.sendall(posted(content))

    line = lines.get(timeout=10)

    assert (line["status"], line["error"]) == (408, "the client hung up before its turn")
    assert not measured


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_nothing_is_measured_for_a_client_that_says_goodbye_in_tls(monkeypatch, tmp_path, content):
    certificate, key = self_made(tmp_path)
    measured, lines = [], queue.SimpleQueue()
    monkeypatch.setattr(server, "measure_apart", lambda *asked: measured.append(asked))
    with server.Agent(Rules(port=0, certificate=certificate, key=key), lines.put) as here:
        threading.Thread(target=here.serve_forever, args=(0.01,), daemon=True).start()
        tls = ssl.create_default_context(cafile=certificate)
        with here.turn, socket.create_connection(here.server_address) as plain:
            client = tls.wrap_socket(plain, server_hostname="localhost")
            client.sendall(posted(content))
            client.setblocking(False)
            with contextlib.suppress(ssl.SSLWantReadError):  # it waits for no goodbye of the agent
                client.unwrap()
            client.close()
        line = lines.get(timeout=10)
        here.shutdown()

    assert (line["status"], line["error"]) == (408, "the client hung up before its turn")
    assert not measured


@pytest.mark.skipif(os.name != "posix", reason="the script is a shell's")
def test_a_measurement_that_nobody_waits_for_any_more_is_ended(monkeypatch, scripted, serving, content):
    scripted.script = "exec sleep 60"
    lines = queue.SimpleQueue()
    monkeypatch.setattr(serving, "log", lines.put)
    monkeypatch.setattr(process, "LOOK_S", 0.05)
    with socket.create_connection(serving.server_address) as client:
        client.sendall(posted(content))
        while not hasattr(scripted, "last"):
            time.sleep(0.01)
        with pytest.raises(queue.Empty):
            lines.get(timeout=0.3)  # who waits is waited for

    line = lines.get(timeout=10)

    assert (line["status"], line["error"]) == (408, "the client hung up while its file was measured")
    assert line["pid"] == scripted.last.pid and scripted.last.returncode == -signal.SIGKILL
    assert not serving.turn.locked()


def test_who_waits_too_long_for_others_is_told_to_come_again(serving, monkeypatch):
    monkeypatch.setattr(server, "QUEUE_LIMIT_S", 0.01)

    with serving.turn:
        said = said_to(serving, posted(b"x"))

    assert b" 503 " in said and b"other measurements took more than 0.01 s; ask again later" in said


def test_a_device_that_can_start_no_measurement_says_so_and_is_free_for_the_next(monkeypatch, serving):
    def no_memory(*_, **__):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(process.subprocess, "Popen", no_memory)

    assert b"cannot start a process to measure in: Cannot allocate memory" in said_to(serving, posted(b"x"))
    assert not serving.turn.locked()


def test_a_measurement_beyond_its_time_is_killed(tmp_path):
    agent = RunningAgent(tmp_path / "slow", "--time-limit", "1")
    try:
        with pytest.raises(LatencyError, match="took longer than 1 s and was ended"):
            meter_of(agent)._ask("POST", "/measure?runs=1000", heavy().SerializeToString())

        pid = agent.line(lambda line: "pid" in line)["pid"]
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert agent.ask("GET", "/health")[0] == 200
    finally:
        agent.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_device_that_grants_less_memory_than_the_rules_measures_within_it(content):
    import resource

    granted = 2 << 30
    job = Job("onnxruntime", 1, 1, warmups=0, runs=2, content_bytes=len(content), memory_bytes=2 * granted)

    with subprocess.Popen(
        [sys.executable, "-m", "mnasnet.agent.measure"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (granted, granted)),
    ) as measuring:
        measuring.stdin.write(job.to_line() + content)
        measuring.stdin.flush()
        answer = json.loads(measuring.stdout.read())

    assert answer["n"] == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_file_that_is_larger_than_the_memory_is_told_with_the_limit():
    large = bytes(64 << 20)

    outcome = process.measure_apart(large, asked_for(large, memory_bytes=64 << 20), 60.0, still_there)

    assert "needs more than the 64 MiB that a measurement may take; start the agent with a" in outcome.answer["error"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_network_that_fits_into_the_memory_fewer_times_than_engines_take_turns_is_measured():
    content = heavy().SerializeToString()  # an engine takes 130 MB of it

    outcome = process.measure_apart(content, asked_for(content, runs=45, memory_bytes=400 << 20), 60.0, still_there)

    assert outcome.answer.get("n") == 45, outcome.answer


def test_a_measurement_ends_with_its_agent(tmp_path):
    agent = RunningAgent(tmp_path / "killed")

    def ask():
        with contextlib.suppress(OSError, http.client.HTTPException):
            agent.ask("POST", "/measure?runs=1000", heavy().SerializeToString())

    asking = threading.Thread(target=ask)
    children = Path(f"/proc/{agent.process.pid}/task")
    asking.start()
    until, pids = time.monotonic() + 10, []
    while not pids and time.monotonic() < until:
        for task in children.glob("*/children"):
            with contextlib.suppress(OSError):  # a thread that ended meanwhile
                pids += task.read_text().split()

    agent.process.kill()
    agent.process.wait()
    asking.join()

    while Path(f"/proc/{pids[0]}").exists() and "\nState:\tZ" not in Path(f"/proc/{pids[0]}/status").read_text():
        assert time.monotonic() < until
        time.sleep(0.02)
    agent.process.communicate()


def test_a_measurement_does_not_run_on_for_an_agent_that_has_gone():
    content = heavy().SerializeToString()
    words = [sys.executable, "-m", "mnasnet.agent.measure"]

    ended = subprocess.run(
        words,
        input=asked_for(content, runs=1000).to_line() + content,  # and then the pipe closes
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=30,
        check=False,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (1, b"", b"")


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_an_agent_stops_when_it_is_told(tmp_path, told):
    assert RunningAgent(tmp_path / "stopped").stop(told) == 0


def test_an_agent_that_is_stopped_while_it_imports_a_runtime_stops_all_the_same(tmp_path):
    folder = tmp_path / "stopped"
    folder.mkdir()
    (folder / "onnxruntime.py").write_text(STOPPED_DURING_IMPORT)
    assert RunningAgent(folder).stop() == 0


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_as_many_images_are_timed_at_once_and_on_as_many_cores_as_were_asked_for(runtime, monkeypatch):
    pytest.importorskip("ai_edge_litert")
    content = in_memory(untrained_model(TINY, 64, 3), FORMATS[runtime]).content
    seen = []

    def timed(one_pass, **options):
        seen.append((one_pass().shape, usable_cores()))
        return time_calls(one_pass, **options)

    monkeypatch.setattr(agent_measure, "time_calls", timed)

    measure(content, asked_for(content, runtime=runtime, batch=2))

    assert seen == [((2, 3), 1 if hasattr(os, "sched_setaffinity") else usable_cores())]


def test_what_a_runtime_prints_is_no_answer(tmp_path, content):
    (tmp_path / "onnxruntime.py").write_text("import os\nos.write(1, b'hello')\nraise ImportError('no runtime')\n")

    with subprocess.Popen(
        [sys.executable, "-m", "mnasnet.agent.measure"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    ) as measuring:
        measuring.stdin.write(asked_for(content).to_line() + content)
        measuring.stdin.flush()
        answer = json.loads(measuring.stdout.read())

    assert answer == {"error": "onnxruntime cannot run the file: no runtime"}


class _EndsAtOnce(subprocess.Popen):
    """A process that reads nothing; Windows calls its closed pipe an invalid argument."""

    def __init__(self, words, **options):
        super().__init__([sys.executable, "-c", "raise SystemExit(3)"], **options)
        self.wait()
        self.stdin = _Closed()


class _Closed(io.BytesIO):
    def write(self, _):
        raise OSError(errno.EINVAL, "Invalid argument")


def test_a_measurement_that_ends_before_it_has_read_the_file_is_told_on_windows_too(monkeypatch, content):
    monkeypatch.setattr(process.subprocess, "Popen", _EndsAtOnce)

    outcome = process.measure_apart(content, Job("onnxruntime", 1, 1, 1, 1, len(content), 1 << 30), 60.0, still_there)

    assert "exit code 3" in outcome.answer["error"]


@pytest.mark.skipif(os.name != "posix", reason="the scripts are a shell's")
def test_a_measurement_knows_no_secret_and_leaves_nothing_open(scripted, monkeypatch):
    monkeypatch.setenv(VARIABLE, TOKEN)
    scripted.script = "echo '{}'"

    outcome = process.measure_apart(b"x", asked_for(b"x"), 60.0, still_there)

    ended = scripted.last
    assert (outcome.answer, outcome.pid) == ({}, ended.pid)
    assert VARIABLE not in ended.env and ended.stdin.closed and ended.stdout.closed
    assert not any("look_after_it" in one.name for one in threading.enumerate())


@pytest.mark.skipif(os.name != "posix", reason="the scripts are a shell's")
def test_what_a_measurement_started_ends_with_its_time(scripted, tmp_path):
    scripted.script = f"(sleep 3; touch '{tmp_path}/late') & wait"

    outcome = process.measure_apart(b"x", asked_for(b"x"), 0.05, still_there)

    assert outcome.answer == {"error": "the measurement took longer than 0.05 s and was ended"}
    assert not (tmp_path / "late").exists()


@pytest.mark.skipif(os.name != "posix", reason="the scripts are a shell's")
@pytest.mark.parametrize(
    ("script", "told"), [("kill -KILL $$", "signal SIGKILL"), ("exit 3", "exit code 3"), ("echo []", "gave no answer")]
)
def test_a_measurement_that_gives_no_answer_is_told_by_its_end(script, told, scripted):
    scripted.script = script

    assert told in process.measure_apart(b"x", asked_for(b"x"), 60.0, still_there).answer["error"]
