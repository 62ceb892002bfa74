"""What an agent does and refuses, as a process of its own."""

import contextlib
import errno
import http.client
import io
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from email.message import Message
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from running_agent import ROOT, TOKEN, RunningAgent, meter_of

from mnasnet.agent import measure as agent_measure
from mnasnet.agent import process, server
from mnasnet.agent.measure import Job, measure
from mnasnet.agent.process import Outcome
from mnasnet.agent.rules import Rules
from mnasnet.errors import LatencyError, SettingsError
from mnasnet.export.exported import in_memory
from mnasnet.export.formats import FORMATS
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


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agent")
    (folder / "requests.jsonl").write_text('{"path": "/earlier", "status": 200}\n')
    running = RunningAgent(folder, "--max-mb", "1", "--name", "pi.local")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def content():
    return in_memory(untrained_model(TINY, 64, 3)).content


def graph_of(*nodes, constants=(), input_shape=("N", 64, 64, 3), opset=17):
    """An ONNX file around the given nodes, from ``images`` to ``scores``."""
    graph = helper.make_graph(
        list(nodes),
        "hostile",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)],
        initializer=list(constants),
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, ir_version=8, opset_imports=opsets)


RELU = helper.make_node("Relu", ["images"], ["scores"])


@pytest.fixture
def serving():
    """An agent in this process, with the lines of its log."""
    lines = []
    with server.Agent(Rules(port=0), lines.append) as here:
        here.lines = lines
        threading.Thread(target=here.serve_forever, args=(0.01,), daemon=True).start()
        yield here
        here.shutdown()


HEALTH = b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n"
OF_A_FILE = "Content-Type: application/octet-stream"


def posted(content):
    lines = ["POST /measure HTTP/1.0", "Host: localhost", OF_A_FILE, f"Content-Length: {len(content)}", "", ""]
    return "\r\n".join(lines).encode() + content


def said_to(serving, request):
    """All that the agent answers."""
    with socket.create_connection(serving.server_address, timeout=10) as client:
        client.sendall(request)
        return client.makefile("rb").read()


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


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--host", "0.0.0.0"], "beyond this machine an agent needs a token, got none for host '0.0.0.0'"),
        (["--host", "[::]"], "beyond this machine an agent needs a token, got none for host '::'"),
        (["--host", "0.0.0.0", "--token-file", "TOKEN"], "beyond this machine an agent needs TLS"),
        (["--token-file", "/nowhere"], "cannot read the token file /nowhere"),
        (["--cert", "c.pem"], "TLS needs a certificate and its key, got one of them"),
        (["--cert", "TOKEN", "--key", "TOKEN"], "--cert takes the certificate and --key its private key"),
        (["--log", "."], "takes a file to write, . is a folder"),
    ],
)
def test_an_agent_does_not_start_open_to_strangers(options, reason, tmp_path):
    (tmp_path / "token.txt").write_text(TOKEN)

    words = [str(tmp_path / "token.txt") if word == "TOKEN" else word for word in options]
    started = subprocess.run(
        [sys.executable, "-m", "mnasnet", "agent", *words], capture_output=True, text=True, cwd=ROOT, check=False
    )

    assert started.returncode == 2 and reason in started.stderr


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("Pi.local", "pi.local:8765"),
        ("pi.local:18766", "pi.local:8765"),
        ("[fe80::1]", "[fe80::1]:8765"),
        ("fe80::1", "[fe80::1]"),
        ("192.168.1.20", "192.168.1.20"),
    ],
)
def test_a_name_of_an_agent_is_that_of_its_clients_host_header(name, host):
    headers = Message()
    headers["Host"] = host

    assert Rules(names=(name,)).objection(headers) is None


HOST = ("Host", "pi.local:8765")
RIGHT = ("Authorization", f"Bearer {TOKEN}")


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([HOST, RIGHT], None),
        ([HOST], 401),
        ([HOST, ("Authorization", "")], 401),
        ([HOST, ("Authorization", "Bearer ")], 401),
        ([HOST, ("Authorization", f"Bearer {TOKEN[:-1]}")], 401),
        ([HOST, ("Authorization", f"Bearer {TOKEN}0")], 401),
        ([HOST, ("Authorization", f"Basic {TOKEN}")], 401),
        ([HOST, ("Authorization", TOKEN)], 401),
        ([HOST, ("Authorization", "Bearer \xe4")], 401),
        ([HOST, RIGHT, RIGHT], 401),
        ([HOST, HOST, RIGHT], 421),
        ([RIGHT], 421),
        ([("Host", ""), RIGHT], 421),
        ([("Host", "pi.local:80:80"), RIGHT], 421),
        ([HOST, ("Origin", "null"), RIGHT], 403),
    ],
)
def test_only_the_whole_token_and_one_of_its_names_open_an_agent(lines, status):
    rules = Rules(host="", token=TOKEN, certificate=Path("c.pem"), key=Path("k.pem"), names=("pi.local",))
    headers = Message()
    for name, value in lines:
        headers[name] = value

    objection = rules.objection(headers)

    assert (objection and objection[0]) == status


def test_an_agent_of_every_address_needs_a_name_and_shows_no_token():
    closed = Rules(token=TOKEN, certificate=Path("c.pem"), key=Path("k.pem"))

    assert TOKEN not in repr(closed)
    for host in ("0.0.0.0", "::", ""):
        with pytest.raises(SettingsError, match="is every address of this device; give the name that clients use"):
            replace(closed, host=host)


@pytest.mark.parametrize("addresses", [[], ["127.0.0.1", "192.168.1.20"], ["::1", "fe80::1%eth0"]])
def test_a_name_that_reaches_beyond_this_machine_needs_a_token(addresses, monkeypatch):
    found = [(None, None, 0, "", (address, 8765)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    with pytest.raises(SettingsError, match="beyond this machine an agent needs a token"):
        Rules(host="pi.local")


@pytest.mark.parametrize("name", ["https://pi.local", "https://pi.local:8765", "pi.local/measure", "me@pi.local", ""])
def test_what_no_client_calls_an_agent_is_no_name(name):
    with pytest.raises(SettingsError, match="--name takes a host name or address, such as pi.local or 192.168.1.20"):
        Rules(names=(name,))


def test_a_host_that_no_network_can_look_up_is_no_address_of_a_device():
    with pytest.raises(SettingsError, match="host must be an address of this device, got 'pi..local'"):
        Rules(host="pi..local")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example:80"}, 421),
        ({"Host": "localhost:80@evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "pi.local:1"}, 200),  # its --name
    ],
)
def test_pages_of_the_web_reach_no_agent(agent, headers, status):
    assert agent.ask("GET", "/health", **headers)[0] == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/measure", 404),
        ("POST", "/health", 404),
        ("DELETE", "/measure", 501),
        ("GET", "/../../etc/passwd", 404),
        ("POST", "/measure?runs=1001", 400),
        ("POST", "/measure?warmups=1001", 400),
        ("POST", "/measure?batch=65", 400),
        ("POST", "/measure?threads=0", 400),
        ("POST", "/measure?thread=1", 400),
        ("POST", "/measure?runs=3&runs=5", 400),
        ("POST", "/measure?runs=", 400),
        ("POST", "/measure?runtime=os.system", 400),
    ],
)
def test_other_requests_are_refused(agent, method, path, status):
    assert agent.ask(method, path, b"x" if method == "POST" else None)[0] == status


NO_REQUESTS = (b"\x16\x03\x01\x02\x00 hello", b"GET /health", b"A" * 70_000, b"\0")


@pytest.mark.parametrize("line", NO_REQUESTS)
def test_what_is_no_request_harms_nobody(agent, line):
    with socket.create_connection(("127.0.0.1", agent.port), timeout=10) as client:
        client.sendall(line + b"\r\n\r\n")
        answer = client.recv(1000)

    assert b'"device"' not in answer and agent.ask("GET", "/health")[0] == 200


def test_an_address_that_is_none_is_answered(agent):
    with socket.create_connection(("127.0.0.1", agent.port), timeout=10) as client:
        client.sendall(b"GET http://[::1/health HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert b" 400 " in client.recv(1000)


def test_a_request_without_a_file_is_told_so(agent):
    assert agent.ask("POST", "/measure") == (400, "a model file is sent as the body of the request, got none")


def test_an_oversized_file_is_refused_before_it_is_read(agent):
    with pytest.raises(LatencyError, match="a model file has 1 to 1048576 bytes here, got 3145728"):
        meter_of(agent)._ask("POST", "/measure", bytes(3 << 20))


def test_a_file_that_ends_early_frees_the_device(agent, content):
    with socket.create_connection(("127.0.0.1", agent.port)) as client:
        head = f"POST /measure HTTP/1.0\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
        client.sendall(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + content[:1000])

    assert meter_of(agent).measure(TINY, 64).n == 50
    assert agent.line(lambda line: line["status"] == 408)["error"].startswith("the file ended")


def test_an_upload_that_falls_silent_is_answered_and_logged(monkeypatch, content):
    monkeypatch.setattr(server._Request, "timeout", 0.2)
    lines = []
    with server.Agent(Rules(port=0), lines.append) as here:
        threading.Thread(target=here.serve_forever, daemon=True).start()
        with socket.create_connection(here.server_address) as client:
            head = f"POST /measure HTTP/1.0\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
            client.sendall(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + content[:1000])
            answer = client.makefile("rb").read()
        here.shutdown()

    assert b"408" in answer and f"the file ended {len(content) - 1000} bytes early".encode() in answer
    assert [line["status"] for line in lines] == [408]


def test_nothing_is_measured_for_a_client_that_has_gone(monkeypatch, content):
    measured, lines = [], queue.SimpleQueue()
    monkeypatch.setattr(server, "measure_apart", lambda *asked: measured.append(asked))
    with server.Agent(Rules(port=0), lines.put) as here:
        threading.Thread(target=here.serve_forever, daemon=True).start()
        with here.turn, socket.create_connection(here.server_address) as client:  # another is being measured
            head = f"POST /measure HTTP/1.0\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
            client.sendall(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + content)
        line = lines.get(timeout=10)
        here.shutdown()

    assert (line["status"], line["error"]) == (408, "the client hung up before its turn")
    assert not measured


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Content-Type: text/plain", "Content-Length: 1"], 415),
        (["Content-Length: 1"], 415),
        ([OF_A_FILE], 411),
        ([OF_A_FILE, "Content-Length: -1"], 411),
        ([OF_A_FILE, "Content-Length: 1", "Content-Length: 1"], 411),
        ([OF_A_FILE, "Content-Length: 1", "Transfer-Encoding: chunked"], 411),
    ],
)
def test_a_file_that_does_not_say_its_kind_and_length_is_refused(headers, status, serving):
    said = said_to(serving, "\r\n".join(["POST /measure HTTP/1.0", "Host: localhost", *headers, "", "x"]).encode())

    assert f" {status} ".encode() in said


def test_a_file_may_have_as_many_bytes_as_the_rules_say(serving, monkeypatch):
    monkeypatch.setattr(server, "measure_apart", lambda *_: Outcome({}, 1))
    serving.rules = replace(serving.rules, most_bytes=4)

    assert b" 200 " in said_to(serving, posted(b"1234"))
    assert b" 413 " in said_to(serving, posted(b"12345"))


def test_who_sends_too_much_may_send_it_and_reads_why_not(serving):
    serving.rules = replace(serving.rules, most_bytes=2 << 20)

    assert b" 413 " in said_to(serving, posted(bytes(3 << 20)))


def test_an_upload_has_no_more_time_than_a_measurement(serving):
    serving.rules = replace(serving.rules, time_limit_s=0.0)

    assert b"the file ended 1 bytes early" in said_to(serving, posted(b"x"))


def test_who_waits_too_long_for_others_is_told_to_come_again(serving, monkeypatch):
    monkeypatch.setattr(server, "QUEUE_LIMIT_S", 0.01)

    with serving.turn:
        said = said_to(serving, posted(b"x"))

    assert b" 503 " in said and b"other measurements took more than 0.01 s; ask again later" in said


def test_a_runtime_that_the_device_lacks_is_told_with_what_installs_it(serving, monkeypatch):
    monkeypatch.setattr(server, "is_installed", lambda _: False)

    assert b"onnxruntime is not installed on the device; run there: pip install" in said_to(serving, posted(b"x"))


def test_slow_headers_are_cut_off_and_a_long_measurement_is_not(serving, monkeypatch):
    def long(*_):
        for timer in threading.enumerate():
            if isinstance(timer, threading.Timer):
                timer.join(5)  # until it is over or was cancelled
        return Outcome({}, 1)

    monkeypatch.setattr(server, "HEADERS_S", 0.1)
    monkeypatch.setattr(server, "measure_apart", long)

    assert said_to(serving, b"GET /health HTTP/1.0\r\n") == b""
    monkeypatch.setattr(server, "HEADERS_S", 2.0)  # enough for a busy machine, and nobody waits for it
    assert b" 200 " in said_to(serving, posted(b"x"))


def test_one_connection_too_many_is_hung_up_on_until_another_ends(serving):
    with contextlib.ExitStack() as stack:
        for _ in range(server.MOST_CONNECTIONS):
            stack.enter_context(socket.create_connection(serving.server_address))
        assert said_to(serving, b"") == b""
    assert serving.lines[0]["error"] == "more than 16 connections at once"

    until = time.monotonic() + 10
    while b" 200 " not in said_to(serving, HEALTH):
        assert time.monotonic() < until  # each thread notices by itself that its client has gone


def test_connections_that_got_no_thread_do_not_take_the_place_of_later_ones(monkeypatch, serving):
    def no_thread(*_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(server.ThreadingHTTPServer, "process_request", no_thread)
        for _ in range(server.MOST_CONNECTIONS):
            assert said_to(serving, b"") == b""

    assert b" 200 " in said_to(serving, HEALTH)
    assert "can't start new thread" in serving.lines[0]["error"]


def test_a_device_that_can_start_no_measurement_says_so_and_is_free_for_the_next(monkeypatch, serving):
    def no_memory(*_, **__):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(process.subprocess, "Popen", no_memory)

    assert b"cannot start a process to measure in: Cannot allocate memory" in said_to(serving, posted(b"x"))
    assert not serving.turn.locked()


def external_data(content):
    model = onnx.load_model_from_string(content)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return model.SerializeToString()


def huge_padding():
    """A few bytes that ask for 64 GB."""
    pads = helper.make_tensor("pads", TensorProto.INT64, [8], [0, 0, 0, 0, 0, 10**6, 1000, 0])
    return graph_of(helper.make_node("Pad", ["images", "pads"], ["scores"]), constants=[pads])


def hidden_loop(content):
    """A loop in a field whose number has 2^29 too much: who keeps 32 bits of a tag reads it as the graph's node."""
    loop = helper.make_node("Loop", ["", "images"], ["scores"], body=graph_of().graph).SerializeToString()
    graph = onnx.load_model_from_string(content).graph.SerializeToString()
    graph += b"\x8a\x80\x80\x80\x10" + varint(len(loop)) + loop
    opset = helper.make_operatorsetid("", 17).SerializeToString()
    return b"\x08\x08\x3a" + varint(len(graph)) + graph + b"\x42" + varint(len(opset)) + opset


def varint(number):
    low, rest = number & 127, number >> 7
    return bytes([low]) if not rest else bytes([low | 128]) + varint(rest)


HOSTILE = {
    "nothing": (lambda content: b"\0", "damaged or neither ONNX nor LiteRT"),
    "truncated": (lambda content: content[: len(content) // 2], "it ends too early"),
    "noise": (lambda content: np.random.default_rng(0).bytes(5000), "damaged or neither ONNX nor LiteRT"),
    "pickle": (lambda content: b"\x80\x04\x95cos\nsystem\n(S'id'\ntR.", "damaged or neither ONNX nor LiteRT"),
    "zip": (lambda content: b"PK\x03\x04" + bytes(200), "damaged or neither ONNX nor LiteRT"),
    "text": (lambda content: b"import os; os.system('id')", "damaged or neither ONNX nor LiteRT"),
    "litert in name only": (lambda content: b"\x1c\0\0\0TFL3" + b"\xff" * 40, "LiteRT file is damaged"),
    "two files in one": (lambda content: b"\x7a\x06\0\0ORTM" + content, "of ONNX Runtime's own format"),
    "own operator": (
        lambda content: graph_of(helper.make_node("Run", ["images"], ["scores"], domain="com.example")),
        "'Run' is of the domain 'com.example'",
    ),
    "loop": (
        lambda content: graph_of(
            helper.make_node("Loop", ["", "images"], ["scores"], body=graph_of().graph), input_shape=()
        ),
        "only operators of image networks are run, got 'Loop'",
    ),
    "hidden loop": (hidden_loop, "a field must be numbered 1 to 536870911"),
    "large tensor of a small number": (
        lambda content: graph_of(helper.make_node("ConstantOfShape", ["images"], ["scores"])),
        "only operators of image networks are run, got 'ConstantOfShape'",
    ),
    "other files": (external_data, "lies in another file; no other file is opened"),
    "too much memory": (lambda content: huge_padding(), "needs more than the 1024 MiB that a measurement may take"),
    "huge input": (
        lambda content: graph_of(RELU, input_shape=(1, 65536, 65536, 3)),
        "the input may have 268435456 bytes",
    ),
    "no image": (
        lambda content: graph_of(RELU, input_shape=(1, "A", 4)),
        "takes N x S x S x 3 or N x 3 x S x S, this graph takes",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_and_the_agent_goes_on(agent, content, name):
    make, reason = HOSTILE[name]
    made = make(content)

    with pytest.raises(LatencyError, match=reason):
        meter_of(agent)._ask("POST", "/measure", made if isinstance(made, bytes) else made.SerializeToString())

    assert agent.process.poll() is None and agent.ask("GET", "/health")[0] == 200


def heavy():
    """A graph that takes far longer than any test when it runs a thousand times."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [64, 3, 7, 7], np.zeros(64 * 3 * 49, np.float32))
    return graph_of(
        helper.make_node("Conv", ["images", "w"], ["scores"], kernel_shape=[7, 7]),
        constants=[weights],
        input_shape=("N", 3, 512, 512),
    )


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


def test_every_request_is_a_line_of_the_log(agent):
    agent.ask("GET", "/health?nothing=1")

    line = agent.line(lambda line: line.get("path", "").endswith("nothing=1"))

    assert {"time", "client", "method", "path", "status", "bytes", "seconds"} <= set(line)
    assert (line["client"], line["method"], line["status"]) == ("127.0.0.1", "GET", 200)
    assert agent.lines()[0] == {"path": "/earlier", "status": 200}


@pytest.mark.skipif(os.name != "posix", reason="rights are told by mode bits there alone")
@pytest.mark.parametrize(("mode", "is_told"), [(0o644, True), (0o600, False)])
def test_a_secret_that_others_on_the_device_can_read_is_told(mode, is_told, tmp_path):
    token = tmp_path / "token.txt"
    token.write_text(TOKEN)
    token.chmod(mode)
    words = [sys.executable, "-m", "mnasnet", "agent", "--port", "0", "--token-file", str(token)]

    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as started:
        assert started.stdout.readline().startswith("agent listens") and started.stdout.readline().startswith("{")
        started.terminate()
        rest = started.stdout.read()

    assert (f"others on this device can read {token}; run: chmod 600 {token}" in rest) == is_told
    assert "agent stopped" in rest


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_an_agent_stops_when_it_is_told(tmp_path, told):
    assert RunningAgent(tmp_path / "stopped").stop(told) == 0


def test_an_agent_that_is_stopped_while_it_imports_a_runtime_stops_all_the_same(tmp_path):
    folder = tmp_path / "stopped"
    folder.mkdir()
    (folder / "onnxruntime.py").write_text(STOPPED_DURING_IMPORT)
    assert RunningAgent(folder).stop() == 0


def asked_for(content, **options):
    job = {"runtime": "onnxruntime", "threads": 1, "batch": 1, "warmups": 0, "runs": 2, "memory_bytes": 1 << 30}
    return Job(**{**job, **options}, content_bytes=len(content))


def two_inputs():
    model = graph_of(helper.make_node("Add", ["images", "more"], ["scores"]))
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ("N", 64, 64, 3)))
    return model


def no_numbers():
    factor = helper.make_tensor("factor", TensorProto.FLOAT, [], [np.nan])
    return graph_of(helper.make_node("Mul", ["images", "factor"], ["scores"]), constants=[factor])


@pytest.mark.parametrize(
    ("model", "options", "reason"),
    [
        (graph_of(RELU, input_shape=(1, 64, 32, 3)), {}, r"images are square, .* takes \(1, 64, 32, 3\)"),
        (graph_of(RELU, input_shape=(2, 64, 64, 3)), {}, "the graph takes 2 images at once, asked for was 1"),
        (graph_of(RELU), {"runtime": "litert"}, "litert runs litert files, this one is onnx"),
        (two_inputs(), {}, "an image network takes one input, this graph takes 2"),
        (no_numbers(), {}, "gave scores that are no numbers"),
    ],
)
def test_what_is_no_image_network_is_not_timed(model, options, reason):
    content = model.SerializeToString()

    with pytest.raises(LatencyError, match=reason):
        measure(content, asked_for(content, **options))


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_as_many_images_are_timed_at_once_and_on_as_many_cores_as_were_asked_for(runtime, monkeypatch):
    pytest.importorskip("ai_edge_litert")
    content = in_memory(untrained_model(TINY, 64, 3), FORMATS[runtime]).content
    seen = []
    monkeypatch.setattr(agent_measure, "require_numbers", lambda _, run: seen.append((run().shape, usable_cores())))

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

    outcome = process.measure_apart(content, Job("onnxruntime", 1, 1, 1, 1, len(content), 1 << 30), 60.0)

    assert "exit code 3" in outcome.answer["error"]


@pytest.fixture
def scripted(monkeypatch):
    """What is started runs ``script`` instead of a measurement; ``last`` is that process."""

    class Scripted(subprocess.Popen):
        def __init__(self, _, **options):
            super().__init__(["sh", "-c", Scripted.script], **options)
            Scripted.last, self.env = self, options["env"]

    monkeypatch.setattr(process.subprocess, "Popen", Scripted)
    return Scripted


@pytest.mark.skipif(os.name != "posix", reason="the scripts are a shell's")
def test_a_measurement_knows_no_secret_and_leaves_nothing_open(scripted, monkeypatch):
    monkeypatch.setenv(VARIABLE, TOKEN)
    scripted.script = "echo '{}'"

    outcome = process.measure_apart(b"x", asked_for(b"x"), 60.0)

    ended = scripted.last
    assert (outcome.answer, outcome.pid) == ({}, ended.pid)
    assert VARIABLE not in ended.env and ended.stdin.closed and ended.stdout.closed
    for timer in [one for one in threading.enumerate() if isinstance(one, threading.Timer)]:
        timer.join(5)
        assert not timer.is_alive()


@pytest.mark.skipif(os.name != "posix", reason="the scripts are a shell's")
def test_what_a_measurement_started_ends_with_its_time(scripted, tmp_path):
    scripted.script = f"(sleep 3; touch '{tmp_path}/late') & wait"

    outcome = process.measure_apart(b"x", asked_for(b"x"), 0.05)

    assert outcome.answer == {"error": "the measurement took longer than 0.05 s and was ended"}
    assert not (tmp_path / "late").exists()


@pytest.mark.skipif(os.name != "posix", reason="the scripts are a shell's")
@pytest.mark.parametrize(
    ("script", "told"), [("kill -KILL $$", "signal SIGKILL"), ("exit 3", "exit code 3"), ("echo []", "gave no answer")]
)
def test_a_measurement_that_gives_no_answer_is_told_by_its_end(script, told, scripted):
    scripted.script = script

    assert told in process.measure_apart(b"x", asked_for(b"x"), 60.0).answer["error"]
