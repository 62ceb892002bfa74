"""What an agent can be asked and sent, and what it answers to anything else."""

import contextlib
import socket
import threading
import time
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from running_agent import HEALTH, OF_A_FILE, meter_of, posted, said_to
from sent_graphs import RELU, asked_for, graph_of

from mnasnet.agent import server
from mnasnet.agent.measure import measure
from mnasnet.agent.process import Outcome
from mnasnet.errors import LatencyError
from mnasnet.testing import TINY


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
        client.sendall(posted(content)[:-1000])

    assert meter_of(agent).measure(TINY, 64).n == 50
    assert agent.line(lambda line: line["status"] == 408)["error"].startswith("the file ended")


def test_an_upload_that_falls_silent_is_answered_and_logged(monkeypatch, serving):
    monkeypatch.setattr(server._Request, "timeout", 0.2)

    said = said_to(serving, posted(bytes(3000))[:-1000])

    assert b" 408 " in said and b"the file ended 1000 bytes early" in said
    assert [line["status"] for line in serving.lines] == [408]


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
    request = posted(bytes(3 << 20))

    with socket.create_connection(serving.server_address, timeout=10) as client:
        client.sendall(request[:1000])
        client.recv(1, socket.MSG_PEEK)  # the answer is there already
        client.sendall(request[1000:])
        assert b" 413 " in client.makefile("rb").read()


@pytest.mark.parametrize(("declared", "sent", "status"), [(4, 4, 200), (1000, 8, 413)])
def test_who_has_sent_all_or_twice_what_it_may_is_hung_up_on(declared, sent, status, serving, monkeypatch):
    monkeypatch.setattr(server, "measure_apart", lambda *_: Outcome({}, 1))
    monkeypatch.setattr(server, "DRAIN_S", 60.0)  # more than the client's patience
    serving.rules = replace(serving.rules, most_bytes=4)

    assert f" {status} ".encode() in said_to(serving, posted(bytes(declared))[: sent - declared or None])


def test_who_falls_silent_after_a_refusal_is_hung_up_on(serving, monkeypatch):
    monkeypatch.setattr(server, "DRAIN_S", 0.05)
    serving.rules = replace(serving.rules, most_bytes=4)

    assert b" 413 " in said_to(serving, posted(bytes(5))[:-5])


def test_who_goes_on_slowly_after_a_refusal_is_hung_up_on(serving, monkeypatch):
    monkeypatch.setattr(server, "DRAIN_S", 0.1)
    serving.rules = replace(serving.rules, most_bytes=1000)

    with socket.create_connection(serving.server_address, timeout=10) as client:
        client.sendall(posted(bytes(2000))[:-2000])
        with pytest.raises(ConnectionError):
            for _ in range(500):
                client.sendall(b"x")
                time.sleep(0.02)


def test_an_upload_has_no_more_time_than_a_measurement(serving):
    serving.rules = replace(serving.rules, time_limit_s=0.0)

    assert b"the file ended 1 bytes early" in said_to(serving, posted(b"x"))


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


def test_every_request_is_a_line_of_the_log(agent):
    agent.ask("GET", "/health?nothing=1")

    line = agent.line(lambda line: line.get("path", "").endswith("nothing=1"))

    assert {"time", "client", "method", "path", "status", "bytes", "seconds"} <= set(line)
    assert (line["client"], line["method"], line["status"]) == ("127.0.0.1", "GET", 200)
    assert agent.lines()[0] == {"path": "/earlier", "status": 200}


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
