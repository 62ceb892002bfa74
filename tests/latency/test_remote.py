"""The meter of another device, against agents in processes of their own."""

import contextlib
import http.client
import json
import random
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import onnx
import pytest
from onnx import TensorProto, helper
from running_agent import TOKEN, RunningAgent, meter_of, self_made

from mnasnet import modelfile
from mnasnet.cli import main
from mnasnet.errors import LatencyError, SettingsError
from mnasnet.export.exported import in_memory
from mnasnet.export.formats import FORMATS
from mnasnet.latency import remote
from mnasnet.latency.benchmark import measure_all, own
from mnasnet.latency.contract import LatencyMeterContract
from mnasnet.latency.meter import AwayError, Latency, NotAllowedError
from mnasnet.latency.meters import open_meter
from mnasnet.latency.remote import AgentAddress, RemoteMeter
from mnasnet.latency.sending import graph_to_send
from mnasnet.latency.session import SessionMeter
from mnasnet.latency.token import VARIABLE, read_token
from mnasnet.latency.untrained import untrained_model
from mnasnet.search import device
from mnasnet.search.device import LatencyCost, open_device_meter
from mnasnet.search.searching import Searching
from mnasnet.search.stop import SearchStopped
from mnasnet.spaces import space
from mnasnet.spec import ArchitectureSpec, BlockSpec
from mnasnet.testing import TINY, random_model


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    running = RunningAgent(tmp_path_factory.mktemp("agent"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """One that knows a token, from the environment."""
    running = RunningAgent(tmp_path_factory.mktemp("guarded"), variables={VARIABLE: TOKEN})
    yield running
    running.stop()


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
    here = SessionMeter("onnxruntime", num_classes=3, runs=50).measure(TINY, 64)

    there = meter_of(agent).measure(TINY, 64)

    measured = ("undisturbed_ms", "median_ms", "p90_ms", "spread", "quiet", "note")
    assert {k: v for k, v in there.to_dict().items() if k not in measured} == {
        k: v for k, v in here.to_dict().items() if k not in measured
    }


def test_health_tells_device_runtimes_and_versions(agent):
    import onnxruntime

    health = meter_of(agent).health()

    assert " core" in health["device"] and health["runtimes"]["onnxruntime"] == onnxruntime.__version__


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


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_networks_are_sent_in_8_bits_where_that_is_asked_for(runtime, agent):
    meter = open_meter("remote", precision="int8", num_classes=3, agent=AgentAddress(agent.url, runtime=runtime))

    latency = meter.measure(TINY, 64)

    assert (latency.runtime, latency.precision) == (runtime, "int8")
    assert "8-bit numbers made up for timing" in latency.note


def test_a_search_asks_another_device_for_its_precision():
    asked = Searching("/photos", minutes=1, meter="remote", agent_url="http://127.0.0.1:1", precision="int8")

    assert open_device_meter(asked, 3, lambda: False).precision == "int8"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precision", "bf16"], "sends networks in fp32 or int8, got precision 'bf16'"),
        (["--device", "cuda"], "times processor cores, got device 'cuda'; set device to cpu"),
    ],
)
def test_a_table_of_what_another_device_cannot_do_is_refused(options, message, capsys):
    assert main(["profile", "tiny", "--meter", "remote", "--agent-url", "http://127.0.0.1:1", *options]) == 2

    assert message in capsys.readouterr().err


def test_tls_to_an_agent_without_it_says_so_at_once(agent):
    pauses = []
    meter = RemoteMeter(AgentAddress(agent.url.replace("http:", "https:")), sleep=pauses.append)

    with pytest.raises(
        LatencyError, match="answers without TLS; start the agent with --cert and --key, or reach it as"
    ):
        meter.health()

    assert not pauses


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


@pytest.mark.parametrize(("letters", "is_enough"), [(0, False), (31, False), (32, True)])
def test_a_token_file_holds_32_letters_or_more(letters, is_enough, tmp_path):
    (tmp_path / "token.txt").write_text(f" {'a' * letters}\n")

    with nullcontext() if is_enough else pytest.raises(SettingsError, match=f"token.txt has {letters}; make one with"):
        assert read_token(tmp_path / "token.txt") == "a" * letters


def test_an_address_takes_its_files_as_text_too_and_only_a_text_as_url(tmp_path):
    (tmp_path / "token.txt").write_text("short", encoding="utf-8")

    with pytest.raises(SettingsError, match="a token .*openssl rand -hex 32"):
        RemoteMeter(AgentAddress("https://pi.local", token_file=str(tmp_path / "token.txt")))
    with pytest.raises(SettingsError, match="URL is like https://pi.local:8765, got 5"):
        AgentAddress(5)


def test_a_device_that_is_away_is_a_latency_error_and_never_fast():
    pauses = []
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        meter = RemoteMeter(AgentAddress(f"http://127.0.0.1:{unused.getsockname()[1]}"), sleep=pauses.append)

        with pytest.raises(
            LatencyError, match="is away .*start it there, or give it more time to come back with --agent-wait"
        ):
            LatencyCost(meter, 64).measure(space("tiny").random(random.Random(0)))

    assert pauses == [0.5, 1.0]


@pytest.mark.parametrize(
    ("status", "kind", "tries"),
    [
        *((status, NotAllowedError, 1) for status in (401, 403, 421)),
        *((status, AwayError, 3) for status in (502, 503, 504)),
        *((status, LatencyError, 1) for status in (301, 408, 413, 422)),
    ],
)
def test_only_an_agent_that_may_come_back_is_asked_again(status, kind, tries, monkeypatch):
    asked = []
    monkeypatch.setattr(RemoteMeter, "_exchange", lambda *_: asked.append(1) or (status, {"error": "its reason"}))

    with pytest.raises(LatencyError, match=f"its reason .status {status}.") as raised:
        RemoteMeter(AgentAddress("http://127.0.0.1:1"), sleep=lambda _: None).health()

    assert raised.type is kind and len(asked) == tries
    assert ("--agent-token-file" in str(raised.value)) == (status == 401)


def test_a_device_that_stays_away_is_looked_for_twice_a_minute(monkeypatch):
    pauses = []
    monkeypatch.setattr(RemoteMeter, "_exchange", lambda *_: (503, {}))
    address = AgentAddress("http://127.0.0.1:1", wait_minutes=4)
    meter = RemoteMeter(address, sleep=pauses.append, clock=lambda: sum(pauses))

    with pytest.raises(AwayError):
        meter.health()

    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, *6 * [30.0]]


def test_a_refusal_that_comes_before_all_is_sent_is_read():
    def refuse():
        client, _ = listening.accept()
        with client:
            client.recv(1000)
            client.sendall(b'HTTP/1.0 413 No\r\n\r\n{"error": "too large"}')

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=refuse, daemon=True).start()
        meter = RemoteMeter(AgentAddress(f"http://127.0.0.1:{listening.getsockname()[1]}"), answer_s=10.0)

        with pytest.raises(LatencyError, match="refused: too large .status 413."):
            meter._ask("POST", "/measure", bytes(64 << 20))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wait_minutes": -1}, "wait_minutes must be a number from 0 to 1440, got -1"),
        ({"wait_minutes": 1441}, "wait_minutes must be a number from 0 to 1440, got 1441"),
        ({"wait_minutes": float("nan")}, "wait_minutes must be a number from 0 to 1440, got nan"),
        ({"wait_minutes": "5"}, "wait_minutes must be a number, got '5'"),
        ({"runtime": "torch"}, "an agent runs onnxruntime or litert, got 'torch'"),
        ({"runtime": ["litert"]}, "an agent runs onnxruntime or litert, got .'litert'."),
        ({"token_file": 5}, "token_file must be a path, got 5"),
    ],
)
def test_an_address_of_what_cannot_be_is_refused(options, message):
    with pytest.raises(SettingsError, match=message):
        AgentAddress("https://pi.local:8765", **options)


@pytest.mark.parametrize("name", ["threads", "batch", "num_classes", "runs"])
def test_numbers_of_a_distant_meter_begin_at_one(name):
    with pytest.raises(SettingsError, match=f"{name} must be >= 1, got 0"):
        RemoteMeter(AgentAddress("https://pi.local:8765"), **{name: 0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": "2"}, "threads must be a whole number, got '2'"),
        ({"runs": 2.5}, "runs must be a whole number, got 2.5"),
        ({"answer_s": "60"}, "answer_s must be a number, got '60'"),
    ],
)
def test_a_distant_meter_takes_numbers_as_numbers(options, message):
    with pytest.raises(SettingsError, match=message):
        RemoteMeter(AgentAddress("https://pi.local:8765"), **options)


def test_a_certificate_that_cannot_be_read_is_told_before_anything_is_measured(tmp_path):
    with pytest.raises(SettingsError, match="cannot read the certificate .*none.pem: .*; give the agent's cert.pem"):
        RemoteMeter(AgentAddress("https://pi.local:8765", ca_file=tmp_path / "none.pem"))


def test_an_address_without_a_port_names_the_one_that_was_tried():
    with pytest.raises(LatencyError, match="port 80 was tried, an agent's own is 8765"):
        RemoteMeter(AgentAddress("http://127.0.0.1"), sleep=lambda pause_s: None).health()


def test_a_benchmark_waits_once_for_an_agent_that_is_away():
    pauses, ticks = [], iter(range(0, 10**6, 10))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = AgentAddress(f"http://127.0.0.1:{unused.getsockname()[1]}", wait_minutes=1)
        meter = RemoteMeter(address, sleep=pauses.append, clock=lambda: next(ticks))
        rows = measure_all([own(name, random_model()) for name in "abc"], {"remote": meter})

    assert all("is away" in row.failure for row in rows)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, *2 * [0.5, 1.0]]


def test_a_benchmark_asks_an_agent_that_refuses_it_once(guarded, tmp_path, monkeypatch):
    (tmp_path / "token.txt").write_text(TOKEN[::-1])
    asked = []
    monkeypatch.setattr(RemoteMeter, "_exchange", lambda *_: asked.append(1) or (401, {"error": "wrong token"}))
    meter = RemoteMeter(AgentAddress(guarded.url, token_file=tmp_path / "token.txt"))

    rows = measure_all([own(name, random_model()) for name in "abc"], {"remote": meter})

    assert len(asked) == 1 and ["wrong token" in row.failure for row in rows] == [True] * 3


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


def test_a_search_that_waits_for_a_device_to_come_back_stops_when_it_is_told_to(monkeypatch):
    monkeypatch.setattr(device, "WAKE_S", 0.01)  # of a first pause of half a second
    asked_to = iter([False, True])
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        asked = Searching("/photos", minutes=1, meter="remote", agent_url=url, agent_wait_minutes=60.0)
        meter = open_device_meter(asked, 3, lambda: next(asked_to))

        with pytest.raises(SearchStopped):
            meter.measure(TINY, 64)


def test_a_search_that_waits_for_an_agents_answer_hangs_up_when_it_is_told_to_stop(monkeypatch):
    monkeypatch.setattr(remote, "WAKE_S", 0.01)
    asked_to = iter([False, True])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        asked = Searching("/photos", minutes=1, meter="remote", agent_url=f"http://127.0.0.1:{silent.getsockname()[1]}")
        meter = replace(open_device_meter(asked, 3, lambda: next(asked_to)), answer_s=10.0)

        with pytest.raises(SearchStopped):
            meter.measure(TINY, 64)

        client, _ = silent.accept()
        with client:
            client.settimeout(10)
            assert client.makefile("rb").read().startswith(b"POST /measure")  # up to the end


def test_an_agent_that_says_nothing_is_not_waited_for_forever(monkeypatch):
    monkeypatch.setattr(remote, "CONNECT_S", 0.1)  # which is not for the answer
    with socket.create_server(("127.0.0.1", 0)) as silent:
        meter = RemoteMeter(AgentAddress(f"http://127.0.0.1:{silent.getsockname()[1]}"), answer_s=0.2)

        with pytest.raises(LatencyError, match="gave no answer in 0 s"):
            meter.health()


def test_an_agent_whose_answer_trickles_in_is_not_waited_for_forever():
    def trickle():
        client, _ = listening.accept()
        listening.close()
        with client, contextlib.suppress(OSError):
            client.sendall(b"HTTP/1.0 200 OK\r\n\r\n{")
            for _ in range(200):
                client.sendall(b" ")
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        meter = RemoteMeter(AgentAddress(f"http://127.0.0.1:{listening.getsockname()[1]}"), answer_s=1.0)
        threading.Thread(target=trickle, daemon=True).start()

        with pytest.raises(LatencyError, match="gave no answer in 1 s"):
            meter.health()


def test_an_agent_whose_handshake_stalls_is_asked_again(monkeypatch):
    monkeypatch.setattr(remote, "CONNECT_S", 0.2)
    pauses = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        meter = RemoteMeter(AgentAddress(f"https://127.0.0.1:{silent.getsockname()[1]}"), sleep=pauses.append)

        with pytest.raises(LatencyError, match="is away .*timed out"):
            meter.health()

    assert pauses == [0.5, 1.0]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_a_self_made_certificate_is_trusted_when_it_is_named(tmp_path):
    certificate, key = self_made(tmp_path)
    other, _ = self_made(tmp_path / "other")
    (tmp_path / "token.txt").write_text(TOKEN)
    options = ["--cert", str(certificate), "--key", str(key), "--name", "localhost"]
    agent = RunningAgent(tmp_path / "tls", "--host", "0.0.0.0", *options, "--token-file", str(tmp_path / "token.txt"))
    url = f"https://localhost:{agent.port}"
    try:
        trusting = AgentAddress(url, token_file=tmp_path / "token.txt", ca_file=certificate)
        with socket.create_connection(("127.0.0.1", agent.port)):  # one that says nothing keeps nobody waiting
            assert RemoteMeter(trusting, num_classes=3).measure(TINY, 64).n == 50

        with pytest.raises(LatencyError, match="is not trusted .*; give the agent's certificate as --agent-ca-file"):
            RemoteMeter(AgentAddress(url, token_file=tmp_path / "token.txt")).health()
        in_the_open = RemoteMeter(AgentAddress(f"http://localhost:{agent.port}"), sleep=lambda _: None)
        with pytest.raises(LatencyError, match="; an agent with a certificate speaks https"):
            in_the_open.health()
        with pytest.raises(LatencyError, match="other/cert.pem is not the agent's certificate; copy the one that"):
            RemoteMeter(AgentAddress(url, ca_file=other)).health()
        other_name = AgentAddress(f"https://127.0.0.1:{agent.port}", ca_file=certificate)
        with pytest.raises(LatencyError, match="is not trusted .*; call the agent by a name in its certificate, or"):
            RemoteMeter(other_name).health()
    finally:
        agent.stop()


@pytest.mark.parametrize(
    ("kind", "runtime", "cure"),
    [
        ("litert", "onnxruntime", "runs onnx files, .* is litert; set --agent-runtime .agent_runtime. to litert"),
        ("onnx", "litert", "runs litert files, .* is onnx; set --agent-runtime .agent_runtime. to onnxruntime"),
        ("openvino", "onnxruntime", "runs onnx files, .* is openvino; export the model to onnx"),
    ],
)
def test_a_file_of_another_runtime_than_the_agents_is_told_what_to_change(kind, runtime, cure):
    file = replace(in_memory(untrained_model(TINY, 64, 3)), format=kind)

    with pytest.raises(LatencyError, match=cure):
        RemoteMeter(AgentAddress("http://127.0.0.1:1", runtime=runtime)).measure_model(file)


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_an_exported_file_is_sent_as_it_is_where_8_bits_are_asked_for(runtime):
    file = in_memory(random_model(), FORMATS[runtime])

    assert graph_to_send(file, runtime, "int8") is file


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"[" * 100_000])
def test_what_answers_but_is_no_agent_is_away(content, monkeypatch):
    monkeypatch.setattr(http.client.HTTPConnection, "request", lambda *_: None)
    monkeypatch.setattr(http.client.HTTPConnection, "getresponse", lambda _: SimpleNamespace(status=200, read=answer))
    monkeypatch.setattr(http.client.HTTPConnection, "connect", lambda own: setattr(own, "sock", socket.socket()))

    def answer(_):
        return content

    with pytest.raises(LatencyError, match="is away .*so it is no agent"):
        RemoteMeter(AgentAddress("http://127.0.0.1:1"), sleep=lambda _: None).health()


@pytest.mark.parametrize(
    ("name", "value"),
    [("input_size", 224), ("threads", 4), ("batch", 8), ("runtime", "litert"), ("precision", "int8")],
)
def test_a_time_of_something_else_than_was_asked_for_is_refused(agent, name, value, monkeypatch):
    meter = open_meter("remote", num_classes=3, agent=AgentAddress(agent.url))
    ask = RemoteMeter._ask
    monkeypatch.setattr(RemoteMeter, "_ask", lambda *asked: {**ask(*asked), name: value})

    with pytest.raises(LatencyError, match=f"was asked for {name} .* and measured {value!r}; start the agent"):
        meter.measure(TINY, 32)


IMPOSSIBLE = "with times that no measurement has, .*; start the agent of this version"
OTHER_WORDS = "answered in other words than this version's; start the agent of this version"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"predicted": True}, IMPOSSIBLE),
        ({"median_ms": 5.0, "p90_ms": 1.0}, IMPOSSIBLE),
        ({"undisturbed_ms": 1e6}, IMPOSSIBLE),
        ({"p90_ms": 1e300}, IMPOSSIBLE),
        ({"governor": "performance"}, OTHER_WORDS),
        ({"note": None}, OTHER_WORDS),
    ],
)
def test_an_answer_that_no_agent_of_this_version_gives_is_refused(agent, answer, told, monkeypatch):
    meter = open_meter("remote", num_classes=3, agent=AgentAddress(agent.url))
    ask = RemoteMeter._ask
    monkeypatch.setattr(RemoteMeter, "_ask", lambda *asked: {**ask(*asked), **answer})

    with pytest.raises(LatencyError, match=told):
        meter.measure(TINY, 32)


def test_a_network_of_seconds_is_measured_too(monkeypatch):
    slow = Latency("a board", "onnxruntime", "1.0", "fp32", 1, 1, 32, 50, 5e3, 5e3, 6e3)
    monkeypatch.setattr(RemoteMeter, "_ask", lambda *_: slow.to_dict())

    assert RemoteMeter(AgentAddress("http://127.0.0.1:1"), num_classes=3).measure(TINY, 32) == slow


def test_a_name_that_no_machine_has_is_told_to_be_looked_at():
    meter = RemoteMeter(AgentAddress("https://nowhere.invalid:8765"), sleep=lambda _: None)

    with pytest.raises(LatencyError, match="is away .*; look at the name in --agent-url"):
        meter.health()


@pytest.mark.parametrize(("code", "message"), [(10, "certificate has expired"), (9, "certificate is not yet valid")])
def test_a_certificate_of_another_time_asks_for_a_new_one_or_the_right_clock(code, message, monkeypatch):
    def expired(*_):
        error = ssl.SSLCertVerificationError(1, message)
        error.verify_code, error.verify_message = code, message
        raise error

    monkeypatch.setattr(RemoteMeter, "_exchange", expired)

    with pytest.raises(LatencyError, match=f"is not trusted .{message}.; look at the clocks of both machines, or make"):
        RemoteMeter(AgentAddress("https://pi.local:8765")).health()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a key with")
def test_a_key_that_asks_for_a_password_does_not_stop_an_agent_in_the_middle_of_the_night(tmp_path, capfd):
    made = "req -x509 -newkey rsa:2048 -days 2 -subj /CN=agent -passout pass:secret"
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    subprocess.run(["openssl", *made.split(), *files], check=True, capture_output=True)

    assert main(["agent", "--port", "0", "--cert", files[3], "--key", files[1]]) == 2

    told = capfd.readouterr()
    assert "key.pem is locked by a password; make a key with openssl's -nodes" in told.err
    assert "pass phrase" not in told.out + told.err  # OpenSSL would ask the terminal


def test_an_agent_whose_port_is_taken_says_what_may_have_it(agent, capsys):
    assert main(["agent", "--port", str(agent.port)]) == 2

    assert "in use; another agent may run there already; stop it, or give another --port" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url",
    [
        "http://pi.local:8765",
        "pi.local",
        "ftp://pi.local",
        "https://pi.local/measure",
        "https://pi.local?runs=1",
        "https://me:secret@pi.local",
        "https://me:secret@pi.local/measure",
        "https://me:secret@pi.local:99999",
        "http://[::1:99",
    ],
)
def test_a_token_never_travels_in_the_open_nor_into_a_message(url):
    with pytest.raises(SettingsError, match="http is for this machine only|an agent's URL") as raised:
        AgentAddress(url)

    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("url", ["https://pi..local:8765", f"https://{'pi' * 40}.local"])
def test_a_name_that_no_network_can_look_up_is_no_address_of_an_agent(url):
    with pytest.raises(SettingsError, match="an agent's URL is like https://pi.local:8765, got 'https://pi"):
        AgentAddress(url)


def test_benchmark_and_profile_take_an_agent(agent, tmp_path, capsys):
    one_block = ArchitectureSpec(name="one", stem_channels=8, head_channels=16, blocks=(BlockSpec("separable", 8),))
    modelfile.save(untrained_model(one_block, 64, 3), tmp_path / "tiny.safetensors")
    there = ["--meter", "remote", "--agent-url", agent.url, "--json"]

    assert main(["benchmark", str(tmp_path / "tiny.safetensors"), "--only", "--out", str(tmp_path / "b"), *there]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["meter"] == "remote onnxruntime fp32" and row["median_ms"] > 0
    words = [str(tmp_path / "tiny.safetensors"), "--input-size", "64", "--classes", "3", "--runs", "2"]
    assert main(["profile", *words, "--out", str(tmp_path / "table.json"), *there]) == 0
    assert json.loads(capsys.readouterr().out)["conditions"]["runtime"] == "onnxruntime"


def test_a_benchmark_that_measured_nothing_leaves_the_table_of_an_earlier_day(tmp_path, capsys):
    modelfile.save(untrained_model(TINY, 64, 3), tmp_path / "tiny.safetensors")
    (tmp_path / "benchmark.csv").write_text("of yesterday")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        there = ["--meter", "remote", "--agent-url", f"http://127.0.0.1:{unused.getsockname()[1]}"]

        assert main(["benchmark", str(tmp_path / "tiny.safetensors"), "--only", "--out", str(tmp_path), *there]) == 1

    assert (tmp_path / "benchmark.csv").read_text() == "of yesterday"
    told = capsys.readouterr().out
    assert "unmeasured: the agent at" in told and "nothing could be measured, so nothing was written" in told


def test_a_distant_meter_needs_its_address(capsys):
    assert main(["profile", "mnasnet_small", "--meter", "remote"]) == 2
    assert "the meter 'remote' needs --agent-url" in capsys.readouterr().err
