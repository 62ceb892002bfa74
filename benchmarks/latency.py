"""Can these latencies be trusted? Repeatability, table error, agreement with the runtime's own tool.

    python benchmarks/latency.py [--space small] [--checks 40] [--table anb-zcu102.csv] [--parts repeat turns]

``--table`` is the public Accel-NASBench's ZCU102 column (28 choices, latency in ms of some 5,000 networks of a MnasNet
space): what an additive table can reach where another device was measured without noise.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from mnasnet.commands.profile import RUNS
from mnasnet.errors import MnasNetError
from mnasnet.export.litert import to_litert
from mnasnet.export.openvino import OpenvinoExporter
from mnasnet.latency import timing
from mnasnet.latency.agreement import agreement
from mnasnet.latency.meter import Latency
from mnasnet.latency.pieces import pieces_of_space
from mnasnet.latency.session import SessionMeter, device_name
from mnasnet.latency.table import learn, profile
from mnasnet.latency.timing import pinned, time_calls
from mnasnet.latency.untrained import untrained_model
from mnasnet.modelfile import ModelFile
from mnasnet.presets import architecture
from mnasnet.runtime.session import as_graph, open_session
from mnasnet.spaces import SPACES, space
from mnasnet.spec import ArchitectureSpec, BlockSpec

REPEATS = 20
ALL_ENGINES = REPEATS * timing.ENGINES
RUNTIMES = ("onnxruntime", "openvino", "litert", "torch")
PARTS = ("repeat", "turns", "learned", "profiled", "tools")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="small", choices=list(SPACES))
    parser.add_argument("--checks", type=int, default=40, metavar="N", help="whole networks that judge the table")
    parser.add_argument("--runtimes", nargs="+", default=["onnxruntime", "litert"], choices=RUNTIMES)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "int8"])
    parser.add_argument("--table", type=Path, default=Path("../shared/data/anb-zcu102.csv"))
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    options = parser.parse_args()
    print(f"machine: {device_name()}, date: {time.strftime('%Y-%m-%d')}")
    if "repeat" in options.parts:
        repeatability(options.runtimes)
    if "turns" in options.parts:
        in_turns(options.runtimes)
    if "learned" in options.parts:
        additive_table(options.table)
    if "profiled" in options.parts:
        for runtime in options.runtimes:
            profiled_table(runtime, options.precision, options.space, options.checks)
    if "tools" in options.parts:
        beside_own_tools()


def repeatability(runtimes: list[str]) -> None:
    print(f"\n{REPEATS} measurements of mnasnet1_0, 1 thread, {timing.RUNS} passes; goal: spread <= 3 % where quiet")
    for runtime in runtimes:
        try:
            meter = SessionMeter(runtime)
            found = [meter.measure(architecture("mnasnet1_0"), 224) for _ in range(REPEATS)]
        except MnasNetError as error:
            print(f"  {runtime}: {error}")
            continue
        quiet = [latency for latency in found if latency.quiet]
        for title, some in (("all", found), (f"{len(quiet)} quiet", quiet)):
            if some:
                print(
                    f"  {runtime:12} {title:>9}: undisturbed {spread([latency.undisturbed_ms for latency in some])}, "
                    f"median {spread([latency.median_ms for latency in some])}"
                )
        for note in list(dict.fromkeys(latency.note for latency in found if latency.note))[:2]:
            print(f"    {note}")


def in_turns(runtimes: list[str]) -> None:
    """Measurements side by side: all meet the same moments of the machine, so what sets them apart is the meter's."""
    print(f"\n{REPEATS} of them in turns, pass by pass, each with engines of its own: without the machine's drift")
    model = untrained_model(architecture("mnasnet1_0"), 224)
    batch = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8)
    for runtime in runtimes:
        try:
            graph = as_graph(model, runtime)
            passes = [partial(open_session(graph, runtime=runtime, threads=1).run, batch) for _ in range(ALL_ENGINES)]
        except MnasNetError as error:
            print(f"  {runtime}: {error}")
            continue
        times_ms: list[list[float]] = [[] for _ in passes]
        with pinned(1):
            for _ in range(timing.RUNS // timing.ENGINES):
                for one, own in zip(passes, times_ms, strict=True):
                    one()  # its weights are in the caches again
                    own.append(time_calls(one, warmups=0, runs=1, one_thread=True).median_ms)
        for runs in (timing.QUICK_RUNS, timing.RUNS):
            count = timing.engines_for(runs)
            groups = [times_ms[first : first + count] for first in range(0, ALL_ENGINES, timing.ENGINES)]
            medians = [statistics.median(ms for own in group for ms in own[: -(-runs // count)]) for group in groups]
            print(f"  {runtime:12} {runs} passes through {count} engines: median {spread(medians)}")


def spread(values: list[float]) -> str:
    """The middle one, the largest less the smallest as a share of it, and the same without a tenth at each end."""
    middle = statistics.median(values)
    low, high = np.quantile(values, (0.1, 0.9))
    whole, inner = (max(values) - min(values)) / middle, (high - low) / middle
    return f"{middle:.2f} ms, spread {whole:.1%} (p10 to p90 {inner:.1%})"


def profiled_table(runtime: str, precision: str, name: str, checks: int) -> None:
    own, rng = space(name), random.Random(0)
    networks = list(dict.fromkeys((own.random(rng).architecture, 224) for _ in range(checks)))
    began = time.perf_counter()
    meter = SessionMeter(runtime, precision=precision, runs=RUNS)
    table = profile(pieces_of_space(own, 224), networks, meter, 224)
    taken_s = time.perf_counter() - began
    print(
        f"\ntable of space {name} for {runtime} {precision}: {len(table.piece_ms)} pieces in {taken_s:.0f} s, "
        "goal: error <= 4 %, tau >= .95"
    )
    print(f"  {table.error.sentence if table.error else 'error unknown: too few networks'}")


def additive_table(path: Path) -> None:
    if not path.is_file():
        print(f"\nZCU102: {path} is not there; give the public Accel-NASBench's table with --table")
        return
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["latency_ms"]]
    random.Random(0).shuffle(rows)
    networks, times = [anb_network(row) for row in rows], [float(row["latency_ms"]) for row in rows]
    cut = len(rows) * 4 // 5
    board = Latency("ZCU102", "DPU", "Accel-NASBench", "int8", 1, 1, 224, 1, 1.0, 1.0, 1.0)
    table = learn(networks[:cut], times[:cut], 224, board)
    found = agreement([table.predict_ms(network, 224) for network in networks[cut:]], times[cut:])
    print(
        f"\nZCU102: {len(table.piece_ms)} pieces learned from {cut} whole networks, goal: error <= 1 %, tau >= .985\n"
        f"  {found.sentence}"
    )


def anb_network(row: dict[str, str]) -> ArchitectureSpec:
    """Accel-NASBench's skeleton: output channels and strides are fixed, four choices a block are open."""
    frame = zip((16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 2, 1, 2, 1), strict=True)
    blocks = []
    for b, (channels, stride) in enumerate(frame):
        expansion, kernel, layers, has_se = (int(row[f"block{b}_{key}"]) for key in ("e", "k", "l", "se"))
        operator = "inverted" if expansion > 1 else "separable"
        blocks.append(BlockSpec(operator, channels, kernel, stride, layers, expansion, 0.25 * has_se))
    return ArchitectureSpec(tuple(blocks))


def beside_own_tools() -> None:
    """Our figure of one file beside that of the benchmark tool which comes with the runtime; ONNX Runtime has none."""
    print("\nmnasnet1_0, 1 thread, batch 1, the same file, medians of 3 turns, beside the runtime's own tool")
    for runtime, tool, measure in (
        ("openvino", "benchmark_app", benchmark_app),
        ("litert", "litert-benchmark", litert_benchmark),
    ):
        program = shutil.which(tool, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        if program is None:
            print(f"  {runtime:9} {tool} is not installed; agreement was not measured")
            continue
        model = untrained_model(architecture("mnasnet1_0"), 224)
        turns = []
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(3):
                ours = SessionMeter(runtime).measure_model(model)
                try:
                    turns.append((ours.median_ms, ours.undisturbed_ms, *measure(program, model, Path(folder))))
                except subprocess.CalledProcessError as error:
                    print(f"  {runtime:9} {tool} failed: {error.stderr[-300:]}")
                    break
        if not turns:
            continue
        median, undisturbed, its_median, its_fastest = (
            statistics.median(column) for column in zip(*turns, strict=True)
        )
        print(
            f"  {runtime:9} {tool} median {its_median:.2f}, fastest {its_fastest:.2f} ms; ours median {median:.2f}, "
            f"undisturbed {undisturbed:.2f} ms; medians differ by {abs(median / its_median - 1):.1%}"
        )


def benchmark_app(program: str, model: ModelFile, folder: Path) -> tuple[float, float]:
    """Median and fastest pass in milliseconds."""
    path = folder / "model.xml"
    OpenvinoExporter().export(model, path, pixels=True, softmax=False)
    command = [program, "-m", str(path), "-hint", "none", "-api", "sync", "-niter", "60", "-nthreads", "1"]
    command += ["-nstreams", "1", "-infer_precision", "f32", "-data_shape", "[1,224,224,3]"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = [re.search(rf"{key}:\s+([\d.]+) ms", shown) for key in ("Median", "Min")]
    median, fastest = (float(match[1]) for match in found if match)
    return median, fastest


def litert_benchmark(program: str, model: ModelFile, folder: Path) -> tuple[float, float]:
    """Median and fastest pass in milliseconds."""
    path, result = folder / "model.tflite", folder / "result.json"
    path.write_bytes(to_litert(model, pixels=True))
    command = [program, "--model", str(path), "--num_runs", "60", "--warmup_runs", "5", "--num_threads", "1"]
    subprocess.run([*command, "--result_json", str(result)], capture_output=True, text=True, check=True)
    latency = json.loads(result.read_text())["latency"]
    return latency["median_ms"], latency["min_ms"]


if __name__ == "__main__":
    main()
