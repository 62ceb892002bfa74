"""The agent and its client as two real processes, the agent's with nothing but numpy and the runtimes to import."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mnasnet import modelfile
from mnasnet.cli import main
from mnasnet.errors import LatencyError, SettingsError
from mnasnet.export.exported import in_memory
from mnasnet.latency.contract import LatencyMeterContract
from mnasnet.latency.meter import open_meter
from mnasnet.latency.remote import AgentAddress, RemoteMeter
from mnasnet.latency.session import SessionMeter
from mnasnet.latency.token import VARIABLE
from mnasnet.latency.untrained import untrained_model
from mnasnet.search.device import LatencyCost
from mnasnet.testing import TINY

ROOT = Path(__file__).parents[2]
TOKEN = "0123456789abcdef" * 2

#: refuses what a small device does not have, in the agent and in each process that it starts
ONLY_NUMPY = """
import sys

class Missing:
    absent = {"torch", "torchvision", "pydantic", "PIL", "cv2", "onnx", "safetensors", "optuna", "matplotlib", "yaml"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.absent:
            raise ModuleNotFoundError(f"a small device has no {name}")

sys.meta_path.insert(0, Missing())
"""


class RunningAgent:
    """An agent in a process of its own."""

    def __init__(self, folder, *options, variables=None):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sitecustomize.py").write_text(ONLY_NUMPY)
        self.log = folder / "requests.jsonl"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mnasnet", "agent", "--port", "0", "--log", str(self.log), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", **(variables or {})},
        )
        self.url = self.process.stdout.readline().rpartition(" ")[2].strip()
        self.port = int(self.url.rpartition(":")[2]) if self.url else 0

    def ask(self, method, path, body=None, **headers):
        """A raw request; underscores in header names become dashes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Content-Type": "application/octet-stream", **named})
        response = connection.getresponse()
        return response.status, json.loads(response.read())["error" if response.status != 200 else "device"]

    def lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def lines_of(self, query):
        return [line for line in self.lines() if query in line.get("path", "")]

    def line(self, wanted):
        """The first line of the log that fits; it is written just after the answer."""
        until = time.monotonic() + 10
        while time.monotonic() < until:
            for line in self.lines():
                if wanted(line):
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no such line in {self.lines()}")

    def stop(self):
        self.process.terminate()
        self.process.communicate(timeout=10)
        return self.process.returncode


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    running = RunningAgent(tmp_path_factory.mktemp("agent"), "--max-mb", "1")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """One that knows a token, from the environment."""
    running = RunningAgent(tmp_path_factory.mktemp("guarded"), variables={VARIABLE: TOKEN})
    yield running
    running.stop()


@pytest.fixture(scope="module")
def content():
    return in_memory(untrained_model(TINY, 64, 3)).content


def meter_of(agent, **options):
    return RemoteMeter(AgentAddress(agent.url), num_classes=3, **options)


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


class TestRemoteMeter(LatencyMeterContract):
    @pytest.fixture
    def meter(self, agent):
        return open_meter("remote", num_classes=3, agent=AgentAddress(agent.url))


class TestRemoteLitertMeter(LatencyMeterContract):
    @pytest.fixture
    def meter(self, agent):
        pytest.importorskip("ai_edge_litert")
        return open_meter("remote", num_classes=3, agent=AgentAddress(agent.url, runtime="litert"))


def test_a_remote_latency_has_all_that_a_local_one_has(agent):
    here = SessionMeter("onnxruntime", num_classes=3).measure(TINY, 64)

    there = meter_of(agent).measure(TINY, 64)

    measured = ("undisturbed_ms", "median_ms", "p90_ms", "spread", "quiet", "note")
    assert {k: v for k, v in there.to_dict().items() if k not in measured} == {
        k: v for k, v in here.to_dict().items() if k not in measured
    }


def test_health_tells_device_runtimes_and_versions(agent):
    import onnxruntime

    health = meter_of(agent).health()

    assert "cores" in health["device"] and health["runtimes"]["onnxruntime"] == onnxruntime.__version__


def test_an_8_bit_network_is_named_as_one(agent):
    quantised = onnx.load_model_from_string(in_memory(untrained_model(TINY, 64, 3)).content)
    scale = helper.make_tensor("s", TensorProto.FLOAT, [], [0.1])
    zero = helper.make_tensor("z", TensorProto.INT8, [], [0])
    last = quantised.graph.output[0].name
    quantised.graph.initializer.extend([scale, zero])
    quantised.graph.node.extend(
        [
            helper.make_node("QuantizeLinear", [last, "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        ]
    )
    quantised.graph.output[0].name = "d"

    answer = meter_of(agent)._ask("POST", "/measure?runs=2", quantised.SerializeToString())

    assert answer["precision"] == "int8"


def test_measurements_wait_for_each_other(agent, content):
    answers = []
    asking = [
        threading.Thread(target=lambda: answers.append(agent.ask("POST", "/measure?runs=400", content)))
        for _ in range(3)
    ]

    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()

    assert [status for status, _ in answers] == [200, 200, 200]
    agent.line(lambda _: len(agent.lines_of("runs=400")) == 3)
    lines = agent.lines_of("runs=400")
    shortest = min(line["seconds"] - line["waited_s"] for line in lines)
    assert sum(line["waited_s"] > 0.8 * shortest for line in lines) >= 2  # the first alone need not wait


def test_a_wrong_token_is_refused(guarded, tmp_path):
    wrong = tmp_path / "token.txt"
    wrong.write_text(TOKEN[::-1])

    with pytest.raises(LatencyError, match="the token is missing or wrong .status 401"):
        RemoteMeter(AgentAddress(guarded.url, token_file=wrong)).health()

    assert guarded.ask("GET", "/health") == (401, "the token is missing or wrong")


def test_the_right_token_opens_and_is_never_logged(guarded, tmp_path):
    right = tmp_path / "token.txt"
    right.write_text(f"{TOKEN}\n")

    assert RemoteMeter(AgentAddress(guarded.url, token_file=right), num_classes=3).measure(TINY, 64).n == 50
    assert TOKEN not in guarded.log.read_text()


@pytest.mark.parametrize("text", ["short", "with a space in its middle, and long", "ä" * 40])
def test_a_weak_token_is_refused_without_being_shown(text, tmp_path):
    weak = tmp_path / "token.txt"
    weak.write_text(text, encoding="utf-8")

    with pytest.raises(SettingsError, match="a token .*openssl rand -hex 32") as raised:
        RemoteMeter(AgentAddress("https://pi.local", token_file=weak))

    assert text not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--host", "0.0.0.0"], "beyond this machine an agent needs a token, got none for host '0.0.0.0'"),
        (["--host", "0.0.0.0", "--token-file", "TOKEN"], "beyond this machine an agent needs TLS"),
        (["--token-file", "/nowhere"], "cannot read the token file /nowhere"),
        (["--cert", "c.pem"], "TLS needs a certificate and its key, got one of them"),
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
    ("headers", "status"),
    [({"Host": "evil.example:80"}, 421), ({"Origin": "http://evil.example"}, 403), ({"Host": "localhost:1"}, 200)],
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
        ("POST", "/measure?runs=1000000", 400),
        ("POST", "/measure?threads=0", 400),
        ("POST", "/measure?runtime=os.system", 400),
    ],
)
def test_other_requests_are_refused(agent, method, path, status):
    assert agent.ask(method, path, b"x" if method == "POST" else None)[0] == status


def test_an_oversized_file_is_refused_before_it_is_read(agent):
    with pytest.raises(LatencyError, match="a model file has 1 to 1048576 bytes here, got 3145728"):
        meter_of(agent)._ask("POST", "/measure", bytes(3 << 20))


def test_a_file_that_ends_early_frees_the_device(agent, content):
    with socket.create_connection(("127.0.0.1", agent.port)) as client:
        head = f"POST /measure HTTP/1.0\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
        client.sendall(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + content[:1000])

    assert meter_of(agent).measure(TINY, 64).n == 50
    assert agent.line(lambda line: line["status"] == 408)["error"].startswith("the file ended")


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


HOSTILE = {
    "nothing": (lambda content: b"\0", "damaged or neither ONNX nor LiteRT"),
    "truncated": (lambda content: content[: len(content) // 2], "it ends too early"),
    "noise": (lambda content: np.random.default_rng(0).bytes(5000), "damaged or neither ONNX nor LiteRT"),
    "pickle": (lambda content: b"\x80\x04\x95cos\nsystem\n(S'id'\ntR.", "damaged or neither ONNX nor LiteRT"),
    "zip": (lambda content: b"PK\x03\x04" + bytes(200), "damaged or neither ONNX nor LiteRT"),
    "text": (lambda content: b"import os; os.system('id')", "damaged or neither ONNX nor LiteRT"),
    "litert in name only": (lambda content: b"\x1c\0\0\0TFL3" + b"\xff" * 40, "LiteRT file is damaged"),
    "own operator": (
        lambda content: graph_of(helper.make_node("Run", ["images"], ["scores"], domain="com.example")),
        "'Run' is of the domain 'com.example'",
    ),
    "loop": (
        lambda content: graph_of(
            helper.make_node("Loop", ["", "images"], ["scores"], body=graph_of().graph), input_shape=()
        ),
        "does not run the operator 'Loop'",
    ),
    "large tensor of a small number": (
        lambda content: graph_of(helper.make_node("ConstantOfShape", ["images"], ["scores"])),
        "does not run the operator 'ConstantOfShape'",
    ),
    "other files": (external_data, "lies in another file; an agent opens no files"),
    "too much memory": (lambda content: huge_padding(), "cannot run the file|more than the 1024 MiB|crashed"),
    "huge input": (
        lambda content: graph_of(helper.make_node("Relu", ["images"], ["scores"]), input_shape=(1, 65536, 65536, 3)),
        "the input may have 268435456 bytes",
    ),
    "no image": (
        lambda content: graph_of(helper.make_node("Relu", ["images"], ["scores"]), input_shape=(1, "A", 4)),
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


def test_a_measurement_beyond_its_time_is_killed(tmp_path):
    agent = RunningAgent(tmp_path / "slow", "--time-limit", "1")
    weights = helper.make_tensor("w", TensorProto.FLOAT, [64, 3, 7, 7], np.zeros(64 * 3 * 49, np.float32))
    heavy = graph_of(
        helper.make_node("Conv", ["images", "w"], ["scores"], kernel_shape=[7, 7]),
        constants=[weights],
        input_shape=("N", 3, 512, 512),
    )
    try:
        with pytest.raises(LatencyError, match="took longer than 1 s and was ended"):
            meter_of(agent)._ask("POST", "/measure?runs=1000", heavy.SerializeToString())

        pid = agent.line(lambda line: "pid" in line)["pid"]
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert meter_of(agent).measure(TINY, 64).n == 50
    finally:
        agent.stop()


def test_a_measurement_ends_with_its_agent(tmp_path, content):
    agent = RunningAgent(tmp_path / "killed")

    def ask():
        with pytest.raises((OSError, http.client.HTTPException)):
            agent.ask("POST", "/measure?runs=1000", content)

    asking = threading.Thread(target=ask)
    children = Path(f"/proc/{agent.process.pid}/task")
    asking.start()
    until, pids = time.monotonic() + 10, []
    while not pids and time.monotonic() < until:
        pids = [pid for task in children.glob("*/children") for pid in task.read_text().split()]

    agent.process.kill()
    agent.process.wait()
    asking.join()

    while Path(f"/proc/{pids[0]}").exists() and "\nState:\tZ" not in Path(f"/proc/{pids[0]}/status").read_text():
        assert time.monotonic() < until
        time.sleep(0.02)
    agent.process.communicate()


def test_a_device_that_is_away_is_a_latency_error_and_never_fast():
    pauses = []
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        meter = RemoteMeter(AgentAddress(f"http://127.0.0.1:{unused.getsockname()[1]}"), sleep=pauses.append)

        with pytest.raises(LatencyError, match="is away .*start it there, or give it more time"):
            LatencyCost(meter, 64).meter.measure(TINY, 64)

    assert pauses == [0.5, 1.0]


def test_a_device_that_comes_back_is_waited_for(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    started, ticks = [], iter(range(0, 10**6, 10))  # each look at the clock is ten seconds later

    def sleep(seconds):
        if seconds == 8.0:
            started.append(RunningAgent(tmp_path / "late", "--port", str(port)))

    address = AgentAddress(f"http://127.0.0.1:{port}", wait_minutes=10)
    try:
        latency = RemoteMeter(address, num_classes=3, sleep=sleep, clock=lambda: next(ticks)).measure(TINY, 64)
    finally:
        for agent in started:
            agent.stop()

    assert latency.n == 50


def test_an_agent_that_says_nothing_is_not_waited_for_forever():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        meter = RemoteMeter(AgentAddress(f"http://127.0.0.1:{silent.getsockname()[1]}"), answer_s=0.2)

        with pytest.raises(LatencyError, match="gave no answer in 0 s"):
            meter.health()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_a_self_made_certificate_is_trusted_when_it_is_named(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=agent"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *made.split(), *names], check=True, capture_output=True)
    (tmp_path / "token.txt").write_text(TOKEN)
    options = ["--cert", str(certificate), "--key", str(key), "--name", "localhost"]
    agent = RunningAgent(tmp_path / "tls", "--host", "0.0.0.0", *options, "--token-file", str(tmp_path / "token.txt"))
    url = f"https://localhost:{agent.port}"
    try:
        trusting = AgentAddress(url, token_file=tmp_path / "token.txt", ca_file=certificate)
        assert RemoteMeter(trusting, num_classes=3).measure(TINY, 64).n == 50

        with pytest.raises(LatencyError, match="is not trusted .*; give the agent's certificate as its CA file"):
            RemoteMeter(AgentAddress(url, token_file=tmp_path / "token.txt")).health()
        other_name = AgentAddress(f"https://127.0.0.1:{agent.port}", ca_file=certificate)
        with pytest.raises(LatencyError, match="is not trusted"):
            RemoteMeter(other_name).health()
    finally:
        agent.stop()


@pytest.mark.parametrize(
    "url", ["http://pi.local:8765", "pi.local", "ftp://pi.local", "https://me:secret@pi.local", "http://[::1:99"]
)
def test_a_token_never_travels_in_the_open(url):
    with pytest.raises(SettingsError, match="http is for this machine only|an agent's URL"):
        AgentAddress(url)


def test_every_request_is_a_line_of_the_log(agent):
    agent.ask("GET", "/health?nothing=1")

    line = agent.line(lambda line: line.get("path", "").endswith("nothing=1"))

    assert {"time", "client", "method", "path", "status", "bytes", "seconds"} <= set(line)
    assert (line["client"], line["method"], line["status"]) == ("127.0.0.1", "GET", 200)


def test_an_agent_stops_when_it_is_told(tmp_path):
    assert RunningAgent(tmp_path / "stopped").stop() == 0


def test_benchmark_and_profile_take_an_agent(agent, tmp_path, capsys):
    modelfile.save(untrained_model(TINY, 64, 3), tmp_path / "tiny.safetensors")
    there = ["--meter", "remote", "--agent-url", agent.url, "--json"]

    assert main(["benchmark", str(tmp_path / "tiny.safetensors"), "--only", "--out", str(tmp_path / "b"), *there]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["meter"] == "remote onnxruntime fp32" and row["median_ms"] > 0
    words = [str(tmp_path / "tiny.safetensors"), "--input-size", "64", "--classes", "3", "--runs", "2"]
    assert main(["profile", *words, "--out", str(tmp_path / "table.json"), *there]) == 0
    assert json.loads(capsys.readouterr().out)["conditions"]["runtime"] == "onnxruntime"


def test_a_distant_meter_needs_its_address(capsys):
    assert main(["profile", "mnasnet_small", "--meter", "remote"]) == 2
    assert "the meter 'remote' needs --agent-url" in capsys.readouterr().err
