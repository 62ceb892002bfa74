"""The agent's HTTP server: two requests, ``GET /health`` and ``POST /measure``, one measurement at a time."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import ssl
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mnasnet import __version__
from mnasnet.agent.measure import Job
from mnasnet.agent.process import GONE, measure_apart
from mnasnet.agent.rules import Rules
from mnasnet.errors import MnasNetError, SettingsError
from mnasnet.export.formats import FORMATS
from mnasnet.machine import processor_description, usable_cores
from mnasnet.packages import distribution, is_installed, version

Pairs = list[tuple[str, str]]  # what the query of a request says

KNOWN = ("runtime", "threads", "batch", "warmups", "runs")  # what a request may set
MOST_CONNECTIONS = 16
SILENCE_S = 30.0  # of a client, before it is cut off
HEADERS_S = 10.0  # for all lines before the content: whoever may not ask must not keep others waiting
DRAIN_S = 5.0
QUEUE_LIMIT_S = 600.0  # that a client waits for its turn

Log = Callable[[Mapping[str, Any]], None]


class Agent(ThreadingHTTPServer):
    """Listens by ``rules`` and tells ``log`` of every request; raises SettingsError when it cannot."""

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # on Windows it would let a second agent take the port of a first
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, rules: Rules, log: Log) -> None:
        self.rules = rules
        self.log = log
        self.turn = threading.Lock()  # whoever holds it has the device for its measurement
        self._connections = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in rules.host else socket.AF_INET
        context = rules.tls()
        try:
            super().__init__((rules.host, rules.port), _Request)
        except OSError as error:
            taken = "another agent may run there already; stop it, or give another --port"
            hint = taken if error.errno == errno.EADDRINUSE else "give an address of this device as --host, a free port"
            reason = error.strerror or error
            raise SettingsError(f"cannot listen on {rules.host}:{rules.port}: {reason}; {hint}") from error
        if context is not None:  # the handshake waits for the thread of its connection, or a silent client stops all
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, or hang up on one too many."""
        if not self._connections.acquire(blocking=False):
            error = f"more than {MOST_CONNECTIONS} connections at once"
            self.log({"time": _now(), "client": client_address[0], "status": 0, "error": error})
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread is left on the device
            self._connections.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection from begin to end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up or spoke no TLS is a line in the log, not a stack trace on the terminal."""
        error = repr(sys.exc_info()[1])
        self.log({"time": _now(), "client": client_address[0], "status": 0, "error": error})

    def health(self) -> dict[str, Any]:
        """What this device is and can run."""
        return {
            "agent": __version__,
            "device": processor_description(),
            "runtimes": {name: version(name) for name in FORMATS if is_installed(name)},
            "most_bytes": self.rules.most_bytes,
            "time_limit_s": self.rules.time_limit_s,
        }


class _Refusal(Exception):  # noqa: N818
    """A request that is not served: HTTP status and reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _Request(BaseHTTPRequestHandler):
    server: Agent
    server_version = f"mnasnet/{__version__}"
    sys_version = ""
    timeout = SILENCE_S

    def setup(self) -> None:
        super().setup()
        self._patience = threading.Timer(HEADERS_S, self._hang_up)  # who sends headers too slowly is cut off
        self._patience.start()

    def finish(self) -> None:
        self._patience.cancel()
        super().finish()

    def handle_one_request(self) -> None:
        self._began = time.monotonic()
        self._told: dict[str, Any] = {}
        self._unread = 0
        super().handle_one_request()

    def do_GET(self) -> None:
        self._serve("/health", lambda query: self.server.health())

    def do_POST(self) -> None:
        self._serve("/measure", self._measure)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Malformed requests and other methods, which the standard library finds, are answered as ours are."""
        self._answer(code, {"error": message or "a malformed request"})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: every request is a line of the log already."""

    def _serve(self, path: str, act: Callable[[Pairs], dict[str, Any]]) -> None:
        self._patience.cancel()
        self._unread = self._declared_bytes()
        try:
            if objection := self.server.rules.objection(self.headers):
                raise _Refusal(*objection)
            url = urllib.parse.urlsplit(self.path)
            if url.path != path:
                raise _Refusal(404, "an agent knows GET /health and POST /measure")
            pairs = urllib.parse.parse_qsl(url.query, keep_blank_values=True, max_num_fields=20)
            answer = act(pairs)
        except _Refusal as refusal:
            self._answer(refusal.status, {"error": str(refusal)})
        except MnasNetError as error:
            self._answer(422, {"error": str(error)})
        except ValueError as error:
            self._answer(400, {"error": str(error)})
        else:
            self._answer(422 if "error" in answer else 200, answer)

    def _measure(self, pairs: Pairs) -> dict[str, Any]:
        size = self._length()
        job = self._job(_once(pairs), size)
        rules, waited_from = self.server.rules, time.monotonic()
        if not self.server.turn.acquire(timeout=QUEUE_LIMIT_S):
            raise _Refusal(503, f"other measurements took more than {QUEUE_LIMIT_S:g} s; ask again later")
        try:
            self._told["waited_s"] = round(time.monotonic() - waited_from, 3)
            content = self._content(size)  # in its turn: another's upload would disturb
            if self._has_gone():
                raise _Refusal(408, "the client hung up before its turn")
            outcome = measure_apart(content, job, rules.time_limit_s, self._has_gone)
        finally:
            self.server.turn.release()
        self._told["pid"] = outcome.pid
        if outcome.answer.get("error") == GONE:
            raise _Refusal(408, GONE)
        return dict(outcome.answer)

    def _job(self, query: Mapping[str, str], size: int) -> Job:
        runtime = query.get("runtime", "onnxruntime")
        if runtime not in FORMATS:
            raise _Refusal(400, f"runtime must be one of {', '.join(FORMATS)}, got {runtime!r}")
        if not is_installed(runtime):
            raise _Refusal(
                422, f"{runtime} is not installed on the device; run there: pip install {distribution(runtime)}"
            )
        return Job(
            runtime=runtime,
            threads=_whole(query, "threads", 1, usable_cores()),
            batch=_whole(query, "batch", 1, 64),
            warmups=_whole(query, "warmups", 0, 1000),
            runs=_whole(query, "runs", 1, 1000),
            content_bytes=size,
            memory_bytes=self.server.rules.memory_bytes,
        )

    def _length(self) -> int:
        if self.headers.get_content_type() != "application/octet-stream":
            raise _Refusal(415, "a model file is sent as application/octet-stream")
        lengths = self.headers.get_all("Content-Length", [])
        if len(lengths) != 1 or not lengths[0].isdecimal() or "Transfer-Encoding" in self.headers:
            raise _Refusal(411, "a model file is sent whole, with its Content-Length")
        size, most = int(lengths[0]), self.server.rules.most_bytes
        if not size:
            raise _Refusal(400, "a model file is sent as the body of the request, got none")
        if size > most:
            raise _Refusal(
                413, f"a model file has 1 to {most} bytes here, got {size}; start the agent with a larger --max-mb"
            )
        return size

    def _declared_bytes(self) -> int:
        length = self.headers.get("Content-Length", "")
        return int(length) if length.isdecimal() and len(length) < 16 else 0

    def _content(self, size: int) -> bytes:
        until = time.monotonic() + self.server.rules.time_limit_s
        parts: list[bytes] = []
        while (missing := size - sum(map(len, parts))) and time.monotonic() < until:
            try:
                part = self.rfile.read1(min(missing, 1 << 20))
            except TimeoutError:  # the standard library would hang up without a word
                break
            if not part:
                break
            parts.append(part)
            self._unread -= len(part)
        if missing:
            raise _Refusal(408, f"the file ended {missing} bytes early")
        return b"".join(parts)

    def _has_gone(self) -> bool:
        """Whether the client, which has sent everything, has closed its end, or said goodbye in TLS."""
        self.connection.setblocking(False)
        try:
            return not self.connection.recv(1)  # what comes after everything is nobody's
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        finally:
            self.connection.settimeout(self.timeout)

    def _answer(self, status: int, answer: Mapping[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.close_connection = True
        self._log(status, answer.get("error", ""))
        with contextlib.suppress(OSError):  # the client may have hung up
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)
            self._drain()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _drain(self) -> None:
        """Take in what the client still sends, within limits, so that it comes to read the answer."""
        until = time.monotonic() + DRAIN_S
        self.connection.settimeout(DRAIN_S)
        left = min(self._unread, 2 * self.server.rules.most_bytes)
        while left > 0 and time.monotonic() < until:
            part = self.rfile.read1(min(left, 1 << 16))
            if not part:
                return
            left -= len(part)

    def _log(self, status: int, error: str) -> None:
        line: dict[str, Any] = {
            "time": _now(),
            "client": self.client_address[0],
            "method": getattr(self, "command", None) or "",
            "path": getattr(self, "path", "")[:200],
            "status": status,
            "bytes": self._declared_bytes() if hasattr(self, "headers") else 0,
            "seconds": round(time.monotonic() - self._began, 3),
            **self._told,
        }
        self.server.log({**line, "error": error} if error else line)


def _once(pairs: Pairs) -> dict[str, str]:
    """What is asked, each name once; another name would else be taken for its default."""
    query = dict(pairs)
    for name, _ in pairs:
        if name not in KNOWN:
            raise _Refusal(400, f"a request may set {', '.join(KNOWN)}, got {name[:20]!r}")
    if len(query) < len(pairs):
        raise _Refusal(400, f"each of {', '.join(KNOWN)} may be set once")
    return query


def _whole(query: Mapping[str, str], name: str, least: int, most: int) -> int:
    text = query.get(name, str(max(least, {"warmups": 10, "runs": 50}.get(name, 1))))
    if not text.isdecimal() or len(text) > 9 or not least <= int(text) <= most:
        raise _Refusal(400, f"{name} must be a whole number from {least} to {most}, got {text[:20]!r}")
    return int(text)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
