"""``agent``: runs on a device and times the model files that are sent to it; see docs/devices.md."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from mnasnet.agent.rules import Rules
from mnasnet.agent.server import Agent
from mnasnet.commands.values import a_path, file_to_write, whole
from mnasnet.latency.token import VARIABLE, read_token


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default: this machine alone")
    parser.add_argument("--port", type=whole(0, 65535), default=8765, help="default 8765; 0 takes a free one")
    parser.add_argument(
        "--token-file",
        type=a_path,
        metavar="FILE",
        help=f"secret of 32 bytes or more that clients must know; default: the variable {VARIABLE}",
    )
    parser.add_argument("--cert", type=a_path, metavar="FILE", help="TLS certificate, PEM")
    parser.add_argument("--key", type=a_path, metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="HOST",
        help="a name or address in the clients' URL, needed where it is not that of --host; may be repeated",
    )
    parser.add_argument("--max-mb", type=whole(1, 2000), default=64, metavar="MB", help="largest file (default 64)")
    parser.add_argument(
        "--time-limit", type=whole(1, 3600), default=120, metavar="SECONDS", help="of one measurement (default 120)"
    )
    parser.add_argument(
        "--memory-mb", type=whole(64, 10**6), default=1024, metavar="MB", help="of one measurement (default 1024)"
    )
    parser.add_argument(
        "--log", type=file_to_write, metavar="FILE", help="one JSON line a request; default: standard error"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    rules = Rules(
        host=arguments.host.removeprefix("[").removesuffix("]"),
        port=arguments.port,
        token=read_token(arguments.token_file),
        certificate=arguments.cert,
        key=arguments.key,
        names=tuple(arguments.name),
        most_bytes=arguments.max_mb << 20,
        time_limit_s=float(arguments.time_limit),
        memory_bytes=arguments.memory_mb << 20,
    )
    with ExitStack() as stack:
        log = stack.enter_context(arguments.log.open("a", encoding="utf-8")) if arguments.log else sys.stderr
        agent = stack.enter_context(Agent(rules, _lines_to(log)))
        scheme = "https" if rules.certificate else "http"
        _stop_on_signals(agent)
        print(f"agent listens on {scheme}://{_bracketed(rules.host)}:{agent.server_address[1]}", flush=True)
        print(json.dumps(agent.health()), flush=True)
        for secret in filter(_is_open_to_others, (arguments.token_file, arguments.key)):
            print(f"others on this device can read {secret}; run: chmod 600 {secret}", flush=True)
        agent.serve_forever()
        print("agent stopped", flush=True)  # a running measurement notices that its pipe has closed, and ends
    return 0


def _is_open_to_others(secret: Path | None) -> bool:
    return secret is not None and os.name == "posix" and bool(secret.stat().st_mode & 0o077)


def _stop_on_signals(agent: Agent) -> None:
    """Ctrl-C and SIGTERM end serving; an exception out of a signal would break the import of a runtime."""

    def stop(number: int, frame: object) -> None:
        threading.Thread(target=agent.shutdown, daemon=True).start()  # it waits for the thread that is in here

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _lines_to(file: TextIO | None) -> Any:
    """Writes lines to ``file``; a full disk or a closed terminal costs the lines, not the answers."""
    one_at_a_time = threading.Lock()

    def write(entry: Mapping[str, Any]) -> None:
        if file is None:
            return
        with one_at_a_time, contextlib.suppress(OSError, ValueError):
            file.write(json.dumps(entry) + "\n")
            file.flush()

    return write


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
