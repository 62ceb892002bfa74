"""A meter in a process of its own: nothing of ours disturbs it, and an engine that crashes takes nothing with it.

This module is both sides: :class:`IsolatedMeter` starts ``python -m mnasnet.latency.isolated``, which answers one
line of JSON for each line it reads, and ends when its input does.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO, cast

import mnasnet
from mnasnet import modelfile
from mnasnet.errors import LatencyError, MnasNetError
from mnasnet.files import reader_has_gone
from mnasnet.latency.meter import WAKE_S, Latency, MeterPrecision
from mnasnet.latency.session import SessionMeter
from mnasnet.latency.timing import QUICK_RUNS, RUNS
from mnasnet.machine import NO_WINDOW, python_program
from mnasnet.modelfile import ModelFile
from mnasnet.runtime.session import Device, Runtime
from mnasnet.spec import ArchitectureSpec

START_TIMEOUT_S = 120.0  # a cold disk under load; importing takes one to three seconds else


@dataclass(eq=False)
class IsolatedMeter:
    """The meter called ``runtime``, in a process that is started when first asked and again after it died.

    A measurement that takes longer than ``timeout_s`` is given up; while one runs ``on_wait`` is called now and then,
    and ends it by raising. Close it, or use it as a context, to end the
    process; it also ends with this one.
    """

    runtime: Runtime
    device: Device = "cpu"
    precision: MeterPrecision = "fp32"
    threads: int = 1
    num_classes: int = 1000
    timeout_s: float = 300.0
    on_wait: Callable[[], object] = lambda: None
    _process: subprocess.Popen[str] | None = field(default=None, init=False, repr=False)
    _answers: queue.Queue[str] = field(default_factory=queue.Queue, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def measure(self, architecture: ArchitectureSpec, input_size: int) -> Latency:
        """The time of ``architecture`` with random weights; raises LatencyError."""
        return self._ask({"architecture": architecture.to_dict(), "input_size": input_size})

    def measure_model(self, model: ModelFile) -> Latency:
        """The time of ``model`` at its own input size, in ``RUNS`` passes: it is told, not compared with hundreds.

        Raises LatencyError.
        """
        with tempfile.TemporaryDirectory(prefix="mnasnet-") as folder:
            path = Path(folder) / "model.safetensors"
            modelfile.save(model, path)
            return self._ask({"model": str(path)})

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # what it was not told is lost with it
                        pipe.close()

    def __enter__(self) -> IsolatedMeter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, question: Mapping[str, Any]) -> Latency:
        with self._lock:
            try:
                answer = self._answer_to(question)
            except BaseException:
                self.close()  # an answer that is still to come would be taken for that of the next question
                raise
        if "error" in answer:
            raise LatencyError(answer["error"])
        return Latency.from_dict(answer["latency"])

    def _answer_to(self, question: Mapping[str, Any]) -> dict[str, Any]:
        process = self._started()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
        except OSError as error:
            raise self._died() from error
        return self._next_answer(self.timeout_s)

    def _started(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        self._answers = queue.Queue()
        root = str(Path(mnasnet.__file__).parent.parent)
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        names = ("device", "precision", "threads", "num_classes")
        options = {name: getattr(self, name) for name in names}
        try:
            process = subprocess.Popen(
                [python_program(), "-m", "mnasnet.latency.isolated", self.runtime, json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,  # Ctrl-C is for the one who asks
                creationflags=NO_WINDOW,  # nor does it reach a process that shares no terminal
            )
        except OSError as error:
            raise LatencyError(f"cannot start a process to measure in: {error.strerror or error}") from error
        self._process = process
        threading.Thread(target=_pass_on, args=(process.stdout, self._answers), daemon=True).start()
        answer = self._next_answer(START_TIMEOUT_S)
        if "error" in answer:
            raise LatencyError(answer["error"])
        return process

    def _next_answer(self, timeout_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._answers.get(timeout=WAKE_S)
                break
            except queue.Empty:
                self.on_wait()
            if time.monotonic() > deadline:
                raise LatencyError(f"{self.runtime} did not answer within {timeout_s:g} s; it was ended")
        if not line:
            raise self._died()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _died(self) -> LatencyError:
        process = self._process
        code = process.wait() if process is not None else None
        return LatencyError(f"{self.runtime} ended its process while it was measured (exit code {code})")


def _pass_on(pipe: TextIO, answers: queue.Queue[str]) -> None:
    """Each line of ``pipe``, then an empty text when it ends."""
    try:
        for line in pipe:
            answers.put(line)
    except ValueError:  # closed meanwhile
        pass
    answers.put("")


def _answer(meter: SessionMeter, question: Mapping[str, Any]) -> dict[str, Any]:
    try:
        if "model" in question:
            latency = replace(meter, runs=RUNS).measure_model(modelfile.load(Path(question["model"])))
        else:
            spec = ArchitectureSpec.from_dict(question["architecture"])
            latency = meter.measure(spec, question["input_size"])
    except MnasNetError as error:
        return {"error": str(error)}
    return {"latency": latency.to_dict()}


def main() -> None:
    """The measuring process: engine and options as arguments, questions on standard input."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)  # what an engine prints must not pass for an answer
        try:
            meter = SessionMeter(cast("Runtime", sys.argv[1]), runs=QUICK_RUNS, **json.loads(sys.argv[2]))
        except MnasNetError as error:
            print(json.dumps({"error": str(error)}), file=out, flush=True)
            return
        try:
            print("{}", file=out, flush=True)
            for line in sys.stdin:
                print(json.dumps(_answer(meter, json.loads(line))), file=out, flush=True)
        except OSError as error:
            if not reader_has_gone(error):
                raise
            os._exit(0)  # who asked was killed; nobody is left to be told


if __name__ == "__main__":
    main()
