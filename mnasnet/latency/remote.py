"""The meter of another device: sends networks to the agent that runs there."""

from __future__ import annotations

import contextlib
import http
import http.client
import json
import os
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from mnasnet.checks import make_plain, require_kinds
from mnasnet.errors import LatencyError, SettingsError
from mnasnet.export.formats import FORMATS
from mnasnet.export.int8_timing import made_up_note
from mnasnet.latency.meter import WAKE_S, AwayError, Latency, MeterPrecision, NotAllowedError
from mnasnet.latency.sending import graph_to_send, require_precision_there
from mnasnet.latency.token import VARIABLE, read_token
from mnasnet.latency.untrained import untrained_to_time
from mnasnet.machine import LOOPBACK_NAMES
from mnasnet.packages import AgentRuntime

if TYPE_CHECKING:
    from mnasnet.export.exported import ExportedModel
    from mnasnet.modelfile import ModelFile
    from mnasnet.spec import ArchitectureSpec

CONNECT_S = 10.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
FEWEST_TRIES = 3
LONGEST_ANSWER_BYTES = 1 << 20
NOT_ALLOWED = (401, 403, 421)  # a wrong token, a name that the agent does not answer to
AWAY = (502, 503, 504)  # of a proxy in between, or an agent with too long a queue
SPEAKS_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL")  # as OpenSSL says
HUNG_UP = ("without response", "reset by peer", "\\x15\\x03")  # on one who speaks no TLS; the bytes are its alert
_OTHER_NAME = "call the agent by a name in its certificate, or make one with this name; docs/devices.md has the line"
_NEW_ONE = "look at the clocks of both machines, or make a new one on the device; docs/devices.md has the line"
#: what mends a certificate, by the codes X509_V_ERR_* of OpenSSL: not yet valid, expired, another name or address
_CERTIFICATE_CURES = {9: _NEW_ONE, 10: _NEW_ONE, 62: _OTHER_NAME, 64: _OTHER_NAME}


@dataclass(frozen=True, slots=True)
class AgentAddress:
    """Where an agent is, how it knows its client, and what it shall run.

    ``url`` is http only on this machine (an SSH tunnel is), else https; ``ca_file`` is the certificate to trust when
    the agent's is self-made. The token comes from ``token_file`` or MNASNET_AGENT_TOKEN. An agent that is away is
    tried again for ``wait_minutes``. Raises SettingsError.
    """

    url: str
    token_file: Path | None = None
    ca_file: Path | None = None
    wait_minutes: float = 0.0
    runtime: AgentRuntime = "onnxruntime"

    def __post_init__(self) -> None:
        for name in ("token_file", "ca_file"):
            if isinstance(file := getattr(self, name), str | os.PathLike):
                object.__setattr__(self, name, Path(file))
        if not isinstance(self.url, str):
            raise SettingsError(f"an agent's URL is like https://pi.local:8765, got {self.url!r}")
        if "@" in self.url:
            raise SettingsError("an agent's URL holds no user or password; its token comes from a file")
        parts = self.parts
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise SettingsError(f"an agent's URL is like https://pi.local:8765, got {self.url!r}")
        if parts.scheme == "http" and parts.hostname not in LOOPBACK_NAMES:
            raise SettingsError(
                f"http is for this machine only, where nobody listens in between, got {self.url!r}; use https or "
                "an SSH tunnel to http://127.0.0.1"
            )
        _require_kinds(self)
        if not 0 <= self.wait_minutes <= 24 * 60:
            raise SettingsError(f"wait_minutes must be a number from 0 to 1440, got {self.wait_minutes!r}")
        if self.runtime not in get_args(AgentRuntime):
            raise SettingsError(f"an agent runs {' or '.join(get_args(AgentRuntime))}, got {self.runtime!r}")

    @property
    def parts(self) -> urllib.parse.SplitResult:
        """The URL in its parts."""
        try:
            parts = urllib.parse.urlsplit(self.url)
            _ = parts.port, (parts.hostname or "").encode("idna")  # as looking the name up needs it
        except ValueError as error:
            raise SettingsError(f"an agent's URL is like https://pi.local:8765, got {self.url!r} ({error})") from error
        return parts


@dataclass(frozen=True)
class RemoteMeter:
    """Has networks timed by the agent at ``address``; its latencies carry the agent's device, runtime and version.

    With ``precision`` int8 a model without 8-bit numbers gets made-up ones, which are as fast; an exported file is sent
    as it is. ``answer_s`` is how long one measurement may take in all, its time in the agent's queue included; until
    then ``on_wait`` is called now and then, and ends it by raising. Raises SettingsError at birth.
    """

    address: AgentAddress
    precision: MeterPrecision = "fp32"
    threads: int = 1
    batch: int = 1
    num_classes: int = 1000
    warmups: int = 10
    runs: int = 50
    answer_s: float = 900.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    on_wait: Callable[[], object] = field(default=lambda: None, repr=False)

    def __post_init__(self) -> None:
        require_precision_there("remote", self.precision)
        _require_kinds(self)
        for name in ("threads", "batch", "num_classes", "runs"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be >= 1, got {getattr(self, name)!r}")
        read_token(self.address.token_file)  # a bad one is said before the search begins
        self._tls()

    def measure(self, architecture: ArchitectureSpec, input_size: int) -> Latency:
        """The time of ``architecture`` with random weights; raises LatencyError."""
        return self.measure_model(untrained_to_time(architecture, input_size, self.num_classes))

    def measure_model(self, model: ModelFile | ExportedModel) -> Latency:
        """The time of ``model`` at its own input size; raises LatencyError."""
        query = {
            "runtime": self.address.runtime,
            "threads": self.threads,
            "batch": self.batch,
            "warmups": self.warmups,
            "runs": self.runs,
        }
        graph = self._graph(model)
        answer = self._ask("POST", f"/measure?{urllib.parse.urlencode(query)}", graph.content)
        try:
            latency = Latency.from_dict(answer)
        except LatencyError as error:
            raise LatencyError(
                f"the agent at {self.address.url} answered in other words than this version's; start the agent of this "
                "version there"
            ) from error
        asked = {name: query[name] for name in ("runtime", "threads", "batch")}
        of_model = {"input_size": model.preprocess.input_size, "precision": graph.precision}
        for name, value in {**asked, **of_model}.items():
            if getattr(latency, name) != value:
                raise LatencyError(
                    f"the agent at {self.address.url} was asked for {name} {value} and measured "
                    f"{getattr(latency, name)!r}; start the agent of this version there"
                )
        self._require_measured(latency)
        return latency.with_note(made_up_note(model, self.precision))

    def health(self) -> Mapping[str, Any]:
        """What the agent says of itself: device, cores, runtimes with their versions; raises LatencyError."""
        return self._ask("GET", "/health", None)

    def _graph(self, model: ModelFile | ExportedModel) -> ExportedModel:
        kind = FORMATS[self.address.runtime]
        graph = graph_to_send(model, self.address.runtime, self.precision)
        if graph.format != kind:
            other = next((runtime for runtime, read in FORMATS.items() if read == graph.format), "")
            cure = f"set --agent-runtime (agent_runtime) to {other}" if other else f"export the model to {kind}"
            name = graph.name or "this model"
            raise LatencyError(
                f"the agent's {self.address.runtime} runs {kind} files, {name} is {graph.format}; {cure}"
            )
        return graph

    def _require_measured(self, latency: Latency) -> None:
        """Raise LatencyError for times that cannot be those of passes which ran since the agent was asked."""
        times = (latency.undisturbed_ms, latency.median_ms, latency.p90_ms)
        if latency.predicted or list(times) != sorted(times) or max(times) > 1000 * self.answer_s:
            raise LatencyError(
                f"the agent at {self.address.url} answered with times that no measurement has, {latency.sentence}; "
                "start the agent of this version there"
            )

    def _ask(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        """The agent's answer; asks again while the agent is away and time is left."""
        failure = ""
        for pause_s in self._pauses():
            try:
                status, answer = self._exchange(method, path, body)
            except ssl.SSLCertVerificationError as error:
                raise LatencyError(
                    f"the certificate of {self.address.url} is not trusted ({error.verify_message}); "
                    + _CERTIFICATE_CURES.get(error.verify_code, self._another_certificate())
                ) from error
            except ssl.SSLError as error:
                if error.reason in SPEAKS_NO_TLS:
                    raise LatencyError(
                        f"{self.address.url} answers without TLS; start the agent with --cert and --key, or reach it "
                        "as http://127.0.0.1 through an SSH tunnel"
                    ) from error
                failure = error.reason or f"{error}"
            except socket.gaierror as error:
                failure = f"{error}; look at the name in --agent-url (agent_url)"
            except (OSError, http.client.HTTPException) as error:
                failure = f"{error}" or type(error).__name__
            else:
                if status == 200:
                    return answer
                failure = f"{answer.get('error', 'no reason given')} (status {status})"
                if status == http.HTTPStatus.UNAUTHORIZED:
                    failure += f"; give it with --agent-token-file (agent_token_file) or the variable {VARIABLE}"
                if status in NOT_ALLOWED:
                    raise NotAllowedError(f"the agent at {self.address.url} refused: {failure}")
                if status not in AWAY:
                    raise LatencyError(f"the agent at {self.address.url} refused: {failure}")
            if pause_s is not None:
                self.sleep(pause_s)
        if self.address.parts.port is None:
            failure += f"; port {443 if self.address.parts.scheme == 'https' else 80} was tried, an agent's own is 8765"
        if self.address.url.startswith("http:") and any(sign in failure for sign in HUNG_UP):
            failure += "; an agent with a certificate speaks https"
        raise AwayError(
            f"the agent at {self.address.url} is away ({failure}); start it there, or give it more time to come back "
            "with --agent-wait-minutes (agent_wait_minutes)"
        )

    def _another_certificate(self) -> str:
        given = self.address.ca_file
        if given is None:
            return "give the agent's certificate as --agent-ca-file (agent_ca_file)"
        return f"{given} is not the agent's certificate; copy the one that the agent was started with (--cert)"

    def _pauses(self) -> Iterator[float | None]:
        """How long to wait after each try, doubling; None after the last."""
        until = self.clock() + 60 * self.address.wait_minutes
        pause_s, tries = FIRST_PAUSE_S, 0
        while tries < FEWEST_TRIES - 1 or self.clock() + pause_s < until:
            yield pause_s
            pause_s, tries = min(2 * pause_s, LONGEST_PAUSE_S), tries + 1
        yield None

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, dict[str, Any]]:
        connection = self._connection()
        try:
            connection.connect()  # TLS included: an agent that is slow in it is away, not slow to answer
            return self._answer_to(connection, method, path, body)
        finally:
            connection.close()

    def _answer_to(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None
    ) -> tuple[int, dict[str, Any]]:
        """Its answer, for which a thread of its own waits: not even one that trickles in takes over ``answer_s``."""
        headers = {"Content-Type": "application/octet-stream"}
        if token := read_token(self.address.token_file):
            headers["Authorization"] = f"Bearer {token}"
        answer: Future[tuple[int, dict[str, Any]]] = Future()
        sock, until = connection.sock, self.clock() + self.answer_s
        sock.settimeout(None)

        def ask() -> None:
            try:
                with contextlib.suppress(ConnectionError):  # a refusal may come before all is sent
                    connection.request(method, path, body, headers)
                response = connection.getresponse()
                answer.set_result((response.status, _parsed(response.read(LONGEST_ANSWER_BYTES))))
            except Exception as error:  # raised again by whoever waits
                answer.set_exception(error)

        threading.Thread(target=ask, daemon=True).start()
        try:
            while not wait([answer], WAKE_S).done:
                self.on_wait()
                if self.clock() > until:
                    raise LatencyError(f"the agent at {self.address.url} gave no answer in {self.answer_s:.0f} s")
            return answer.result()
        finally:
            with contextlib.suppress(OSError):  # has ended
                sock.shutdown(socket.SHUT_RDWR)

    def _connection(self) -> http.client.HTTPConnection:
        parts = self.address.parts
        assert parts.hostname  # the address has checked it
        if parts.scheme == "http":
            return http.client.HTTPConnection(parts.hostname, parts.port, timeout=CONNECT_S)
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=CONNECT_S, context=self._tls())

    def _tls(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=str(self.address.ca_file) if self.address.ca_file else None)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"cannot read the certificate {self.address.ca_file}: {error}; give the agent's cert.pem"
            ) from error


def _require_kinds(own: AgentAddress | RemoteMeter) -> None:
    """Raise SettingsError where what was given is of another kind than declared."""
    make_plain(own)
    given = {one.name: getattr(own, one.name) for one in fields(own)}
    require_kinds(type(own), {name: value for name, value in given.items() if not callable(value)})


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise http.client.HTTPException(f"its answer is no JSON, so it is no agent: {content[:60]!r}") from error
    if not isinstance(answer, dict):
        raise http.client.HTTPException("its answer is no JSON object, so it is no agent")
    return answer
