"""One measurement, in a process of its own: ``python -m mnasnet.agent.measure``.

Standard input brings the job as one line of JSON and the model file after it; standard output takes the answer, one
object of JSON: a latency, or an ``error``. When standard input closes, the agent has gone and so does this process.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mnasnet.errors import LatencyError, MnasNetError
from mnasnet.export.formats import FORMATS, Graph, recognise
from mnasnet.latency.meter import Latency
from mnasnet.latency.probe import machine_probe
from mnasnet.latency.timing import is_of_memory, latency_of, open_in_turn, pinned, time_calls
from mnasnet.machine import processor_description
from mnasnet.words import first_line

MOST_INPUT_BYTES = 256 << 20
_KINDS: Mapping[str, type] = {"tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(float)": np.float32}


@dataclass(frozen=True, slots=True)
class Job:
    """What to time and how; ``content_bytes`` of the model file follow it on the same pipe."""

    runtime: str
    threads: int
    batch: int
    warmups: int
    runs: int
    content_bytes: int
    memory_bytes: int

    def to_line(self) -> bytes:
        """One line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"


@dataclass(frozen=True)
class Engine:
    """A graph that is loaded: ``run`` takes one pass over prepared numbers."""

    run: Callable[[], NDArray[Any]]
    input_shape: tuple[int, ...]
    precision: str


def main() -> None:
    """Serve one job."""
    answer_to = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a runtime prints must not look like an answer
    pipe = sys.stdin.buffer
    job = Job(**json.loads(pipe.readline()))
    memory_bytes = _limited(job.memory_bytes)
    try:
        content = pipe.read(job.content_bytes)
        threading.Thread(target=_end_with, args=(pipe,), daemon=True).start()
        answer = measure(content, job).to_dict()
    except MemoryError:
        answer = {"error": _too_large(memory_bytes)}
    except MnasNetError as error:
        answer = {"error": str(error)}
    except Exception as error:  # each runtime has its own errors for files, operators and shapes that it refuses
        said = (
            _too_large(memory_bytes)
            if is_of_memory(error)
            else f"{job.runtime} cannot run the file: {first_line(error)}"
        )
        answer = {"error": said}
    answer_to.write(json.dumps(answer).encode())
    answer_to.flush()
    os._exit(0)  # without the clean-up of a runtime that may hang


def _too_large(memory_bytes: int) -> str:
    return (
        f"the network needs more than the {memory_bytes >> 20} MiB that a measurement may take; start the agent with a "
        "larger --memory-mb"
    )


def measure(content: bytes, job: Job) -> Latency:
    """Time the graph in ``content``; raises LatencyError, or what the runtime raises."""
    try:
        graph = recognise(content)  # before any runtime sees it
    except LatencyError as error:
        raise LatencyError(f"{error}; send a file that `python -m mnasnet export` wrote") from error
    if graph.format != FORMATS[job.runtime]:
        raise LatencyError(f"{job.runtime} runs {FORMATS[job.runtime]} files, this one is {graph.format}")
    first: Engine | None = None

    def open_pass() -> Callable[[], NDArray[Any]]:
        nonlocal first
        engine = _ENGINES[job.runtime](content, graph, job)
        if engine.input_shape[2] not in engine.input_shape[1:4:2]:
            raise LatencyError(
                f"images are square, N x S x S x 3 or N x 3 x S x S, the file takes {engine.input_shape}"
            )
        first = first or engine
        return engine.run

    with pinned(job.threads):
        probe = machine_probe()  # before memory goes to engines
        timing = time_calls(
            *open_in_turn(open_pass, runtime=job.runtime, runs=job.runs),
            warmups=job.warmups,
            runs=job.runs,
            one_thread=job.threads == 1,
            probe=probe,
        )
    assert first is not None
    return latency_of(
        timing,
        device=processor_description(),
        runtime=job.runtime,
        precision=first.precision,
        threads=job.threads,
        batch=job.batch,
        input_size=first.input_shape[2],  # the same place in N x S x S x 3 and N x 3 x S x S
    )


def _onnxruntime(content: bytes, graph: Graph, job: Job) -> Engine:
    from mnasnet.runtime.onnx_graph import open_graph

    session = open_graph(content, job.threads)
    source = _only_input(session.get_inputs())
    if source.type not in _KINDS:
        raise LatencyError(f"the graph takes {source.type}; an agent has pixels or float32 for it")
    numbers = _numbers(source.shape, _KINDS[source.type], job.batch)
    output = session.get_outputs()[0].name
    is_int8 = "QuantizeLinear" in graph.operators
    return Engine(
        lambda: np.asarray(session.run([output], {source.name: numbers})[0]),
        numbers.shape,
        "int8" if is_int8 else "fp32",
    )


def _litert(content: bytes, _: Graph, job: Job) -> Engine:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=job.threads)
    source = _only_input(interpreter.get_input_details())
    numbers = _numbers([None, *source["shape"][1:].tolist()], source["dtype"], job.batch)
    interpreter.resize_tensor_input(source["index"], numbers.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(source["index"], numbers)
    output = interpreter.get_output_details()[0]["index"]

    def run() -> NDArray[Any]:
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(output))

    is_int8 = any(tensor["dtype"] is np.int8 for tensor in interpreter.get_tensor_details())
    return Engine(run, numbers.shape, "int8" if is_int8 else "fp32")


_ENGINES: Mapping[str, Callable[[bytes, Graph, Job], Engine]] = {"onnxruntime": _onnxruntime, "litert": _litert}


def _only_input(inputs: list[Any]) -> Any:
    if len(inputs) != 1:
        raise LatencyError(f"an image network takes one input, this graph takes {len(inputs)}")
    return inputs[0]


def _numbers(shape: list[Any], kind: type, batch: int) -> NDArray[Any]:
    """Random pixels, or numbers of the scale of normalised ones; only the batch may be left open."""
    sides = [side for side in shape[1:] if isinstance(side, int) and side > 0]
    if len(shape) != 4 or len(sides) != 3:
        raise LatencyError(f"an image network takes N x S x S x 3 or N x 3 x S x S, this graph takes {shape}")
    if isinstance(shape[0], int) and shape[0] != batch:
        raise LatencyError(f"the graph takes {shape[0]} images at once, asked for was {batch}")
    whole = (batch, *sides)
    size_bytes = math.prod(whole) * np.dtype(kind).itemsize
    if size_bytes > MOST_INPUT_BYTES:
        raise LatencyError(f"the input may have {MOST_INPUT_BYTES} bytes, this graph takes {size_bytes}")
    rng = np.random.default_rng(0)
    if np.issubdtype(kind, np.integer):
        bounds = np.iinfo(kind)
        return rng.integers(bounds.min, bounds.max, whole, kind, endpoint=True)
    return rng.standard_normal(whole, np.float32)


def _limited(memory_bytes: int) -> int:
    """The memory that this process may take from now on, which whoever started the agent may have limited further.

    A network that wants too much fails then, not the device; Windows has no such limit.
    """
    if sys.platform == "win32":
        return memory_bytes
    import resource

    granted = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if granted != resource.RLIM_INFINITY:
        memory_bytes = min(memory_bytes, granted)
    # no limit of processor time: with one, Linux counts that time in whole ticks, too coarse to measure with
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # when memory runs out all the same, the system ends this process first
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    return memory_bytes


def _end_with(pipe: BinaryIO) -> None:
    pipe.read(1)
    os._exit(1)


if __name__ == "__main__":
    main()
