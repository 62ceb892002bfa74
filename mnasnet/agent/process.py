"""Runs one measurement in a process of its own, and ends that process when its time is over or nobody waits for it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mnasnet
from mnasnet.agent.measure import Job
from mnasnet.errors import LatencyError
from mnasnet.latency.token import VARIABLE
from mnasnet.machine import NO_WINDOW

LONGEST_ANSWER_BYTES = 1 << 20
LOOK_S = 1.0  # between two looks at the client while its file is measured: too seldom to disturb
GONE = "the client hung up while its file was measured"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a measurement: the fields of a latency, or an ``error``; ``pid`` was its process."""

    answer: Mapping[str, Any]
    pid: int


def measure_apart(content: bytes, job: Job, time_limit_s: float, has_gone: Callable[[], bool]) -> Outcome:
    """Time ``content``; the process has ended when this returns, whatever it did.

    ``has_gone`` tells whether whoever asked has left, which ends it early. Raises LatencyError where no process can be
    started.
    """
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "mnasnet.agent.measure"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,  # so that its own children, if a runtime has any, end with it
            creationflags=NO_WINDOW,
        )
    except OSError as error:
        raise LatencyError(f"cannot start a process to measure in: {error.strerror or error}") from error
    assert process.stdin and process.stdout
    ended, cut_short = threading.Event(), []  # why, if it was
    until = time.monotonic() + time_limit_s

    def look_after_it() -> None:
        while not ended.wait(min(LOOK_S, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until:
                cut_short.append(f"the measurement took longer than {time_limit_s:g} s and was ended")
            elif has_gone():
                cut_short.append(GONE)
            if cut_short:
                _kill(process)
                return

    guard = threading.Thread(target=look_after_it, daemon=True)
    guard.start()
    try:
        with contextlib.suppress(OSError):  # it ended early; its exit code tells
            process.stdin.write(job.to_line())
            process.stdin.write(content)
            process.stdin.flush()
        output = process.stdout.read(LONGEST_ANSWER_BYTES)
        process.wait()
    finally:
        ended.set()
        guard.join()
        _kill(process)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
    answer = {"error": cut_short[0]} if cut_short else _answer(output, process.returncode)
    return Outcome(answer, process.pid)


def _answer(output: bytes, code: int) -> Mapping[str, Any]:
    try:
        answer = json.loads(output)
    except ValueError:
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return {"error": f"the runtime crashed on this file, or ran out of memory ({how})"}
    return answer if isinstance(answer, dict) else {"error": "the measurement gave no answer"}


def _environment() -> dict[str, str]:
    """This process's environment without its secret; the package is found where this one was."""
    own = {name: value for name, value in os.environ.items() if name != VARIABLE}
    paths = [str(Path(mnasnet.__file__).parent.parent), *filter(None, [own.get("PYTHONPATH")])]
    return {**own, "PYTHONPATH": os.pathsep.join(paths), "OMP_WAIT_POLICY": "PASSIVE"}


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
