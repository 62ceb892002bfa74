"""Inference speed against the original Ikomia task's way of working, in one run on this machine.

    python benchmarks/inference.py [--photos 500] [--rounds 60]

The peer does what the first MnasNet plugin of the Ikomia HUB does, written here anew: torch eager, ``cv2.resize`` to
a square, one image at a time. Networks are MnasNet 1.0 with random weights and realistic batch statistics; the frames
are 640 x 480 pixels. Every figure is printed as a ratio to the peer measured in the same run, in turns.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from mnasnet.classify import Classifier, softmax
from mnasnet.data.transforms import prepare
from mnasnet.export.exporter import open_int8_exporter
from mnasnet.modelfile import ModelFile, network_of, weights_of
from mnasnet.network.build import build
from mnasnet.packages import is_installed
from mnasnet.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from mnasnet.presets import architecture
from mnasnet.runtime.passes import PASS_PIXELS, in_passes
from mnasnet.runtime.session import open_session

CLASSES = 1000
THREAD_SETTINGS = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "GOMP_SPINCOUNT")  # sleeping threads halve the peer's speed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    if any(name in os.environ for name in THREAD_SETTINGS):  # the peer runs as torch does when left alone
        left = {name: value for name, value in os.environ.items() if name not in THREAD_SETTINGS}
        os.execve(sys.executable, [sys.executable, *sys.argv], left)
    print(
        f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"python {platform.python_version()}"
    )
    print(f"date: {time.strftime('%Y-%m-%d')}, torch {torch.__version__}")
    print(f"instructions: {instructions()}")
    model = realistic_model()
    frames = photos(20)
    around_the_engine(model, frames, options.rounds)
    single_image(model, frames, options.rounds)
    folder(model, frames, options.photos)
    flat_memory(model, frames)  # before batches that take more
    busy_neighbours(model, frames)
    large_batches(model)
    start_up()


def instructions() -> str:
    """The processor's instructions that decide what reduced precision gains, where the system tells them."""
    told = Path("/proc/cpuinfo")
    flags = set(told.read_text().split()) if told.is_file() else set()
    known = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm")
    return ", ".join(flag for flag in known if flag in flags) or "not told"


class Peer:
    """The original task's path: eager torch, cv2.resize to the square, one image at a time."""

    def __init__(self, model: ModelFile) -> None:
        self.network = network_of(model).eval()
        self.mean = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
        self.std = torch.tensor(IMAGENET_STD).view(3, 1, 1)

    def predict(self, frame: np.ndarray) -> np.ndarray:
        return self.forward(cv2.resize(frame, (224, 224)))

    @torch.no_grad()
    def forward(self, square: np.ndarray) -> np.ndarray:
        x = (torch.from_numpy(square).permute(2, 0, 1).float() / 255 - self.mean) / self.std
        return torch.softmax(self.network(x.unsqueeze(0)), 1)[0].numpy()


def around_the_engine(model: ModelFile, frames: list[np.ndarray], rounds: int, turns: int = 5) -> None:
    """What a prediction takes more than its engine, in turns with it and nobody else.

    It comes first: beside other engines, whose threads spin on for a while after each pass, it would measure those.
    """
    classifier = Classifier(model)
    prepared = classifier.prepare(frames[0])[None]
    ways: dict[str, Callable[[np.ndarray], object]] = {
        "predict": lambda frame: classifier.predict([frame]),
        "engine": lambda frame: classifier._session.run(prepared),
    }
    print(f"\naround the engine, medians of {rounds} rounds")
    for _ in range(turns):
        times = {name: statistics.median(values) for name, values in interleaved(ways, frames, rounds).items()}
        around_ms = times["predict"] - times["engine"]
        print(
            f"  {around_ms:5.2f} ms beside {times['engine']:5.2f} ms, {around_ms / times['engine']:5.1%} of the engine"
        )


def single_image(model: ModelFile, frames: list[np.ndarray], rounds: int) -> None:
    """Each way in a process of its own, in turns, so that none waits for threads that another left spinning."""
    names = ["peer", "auto"] + [name for name, runtime in REDUCED.items() if is_installed(runtime)]
    context = multiprocessing.get_context("spawn")
    turns, processes = {}, []
    for name in names:
        turns[name], theirs = context.Pipe()
        processes.append(context.Process(target=take_turns, args=(theirs, name), daemon=True))
        processes[-1].start()
        turns[name].recv()  # ready
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, pipe in turns.items():
            pipe.send(True)
            times[name].append(pipe.recv())
    for pipe, process in zip(turns.values(), processes, strict=True):
        pipe.send(False)
        process.join()
    print(f"\none 640 x 480 frame, medians of {rounds} turns of {len(frames)} frames, a process each")
    for name, values in times.items():
        ratio = statistics.median(times["peer"]) / statistics.median(values)
        print(f"  {name:20} {statistics.median(values):7.2f} ms   {ratio:5.2f} x the peer")
    same, difference = agreement(Peer(model), Classifier(model), frames)
    print(f"  same top-1 as eager torch on {same} of {len(frames)}; probabilities differ by at most {difference:.1e}")


REDUCED = {
    "bf16, OpenVINO": "openvino",
    "int8, ONNX Runtime": "onnxruntime",
    "int8, OpenVINO": "openvino",
    "int8, LiteRT": "litert",
}
FORMATS = {"onnxruntime": "onnx", "openvino": "openvino", "litert": "litert"}


def take_turns(pipe: Connection, name: str) -> None:
    """Classify all frames one by one whenever told to and answer with the median milliseconds."""
    frames = photos(20)
    predict = way(name, realistic_model(), frames)
    for frame in frames[:5]:
        predict(frame)
    pipe.send(None)
    while pipe.recv():
        times = []
        for frame in frames:
            began = time.perf_counter()
            predict(frame)
            times.append((time.perf_counter() - began) * 1e3)
        pipe.send(statistics.median(times))


def way(name: str, model: ModelFile, frames: list[np.ndarray]) -> Callable[[np.ndarray], object]:
    if name == "peer":
        return Peer(model).predict
    if name.startswith("int8"):
        exporter = open_int8_exporter(FORMATS[REDUCED[name]], [prepare(frame, model.preprocess) for frame in frames])
        with tempfile.TemporaryDirectory() as folder:
            path = exporter.quantise(model, pixels=True, softmax=False).write(
                Path(folder) / f"network{exporter.suffix}", {}
            )[0]
            classifier = Classifier.load(path)
    else:
        classifier = Classifier(model, precision="bf16" if name.startswith("bf16") else "fp32")
    return lambda frame: classifier.predict([frame])


def agreement(peer: Peer, classifier: Classifier, frames: list[np.ndarray]) -> tuple[int, float]:
    """On the same squares, so that the engines are compared and not the cropping."""
    same, difference = 0, 0.0
    for frame in frames:
        square = prepare(frame, classifier.preprocess)
        ours = softmax(classifier._session.run(square[None]))[0]
        theirs = peer.forward(square)
        same += int(ours.argmax() == theirs.argmax())
        difference = max(difference, float(np.abs(ours - theirs).max()))
    return same, difference


def folder(model: ModelFile, frames: list[np.ndarray], count: int) -> None:
    classifier, peer = Classifier(model), Peer(model)
    with tempfile.TemporaryDirectory() as name:
        paths = write_photos(Path(name), frames, count)
        list(classifier.classify_files(paths[:32]))
        began = time.perf_counter()
        results = list(classifier.classify_files(paths))
        ours = len(results) / (time.perf_counter() - began)
        sample = paths[: max(50, count // 4)]
        began = time.perf_counter()
        for path in sample:
            peer.predict(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB))
        theirs = len(sample) / (time.perf_counter() - began)
    print(f"\na folder of {count} JPEG photos, 640 x 480")
    print(f"  peer {theirs:6.1f} images/s   ours {ours:6.1f} images/s   {ours / theirs:.2f} x")


def large_batches(model: ModelFile, turns: int = 9) -> None:
    """Milliseconds an image of batches at once and in passes, in turns, each engine with one thread."""
    print(f"\nlarge batches, ms an image at once and in passes of {PASS_PIXELS:,} pixels, medians of {turns} turns")
    rng = np.random.default_rng(0)
    for runtime in ("onnxruntime", "openvino", "litert"):
        if not is_installed(runtime):
            continue
        for size in (224, 96, 64):
            sized = replace(model, preprocess=model.preprocess.at(size))
            whole = open_session(sized, runtime=runtime, threads=1)
            parted = in_passes(whole, size)
            told = []
            for count in (16, 64):
                batch = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
                ways = {name: lambda one, run=way.run: run(one) for name, way in (("whole", whole), ("parted", parted))}
                times = interleaved(ways, [batch], turns)
                ms = {name: statistics.median(values) / count for name, values in times.items()}
                told.append(f"{count}: {ms['whole']:.2f} and {ms['parted']:.2f}, {ms['whole'] / ms['parted']:.2f} x")
            print(f"  {runtime:12}{size:4} px   batch of {'   '.join(told)}")


def flat_memory(model: ModelFile, frames: list[np.ndarray], count: int = 10_000) -> None:
    import resource

    classifier = Classifier(model, input_size=32)
    with tempfile.TemporaryDirectory() as name:
        first = write_photos(Path(name), [frame[:48, :64] for frame in frames], 1)[0]
        paths = [Path(name) / f"link{index}.jpg" for index in range(count)]
        for path in paths:
            path.hardlink_to(first)
        peaks = []
        for index, _ in enumerate(classifier.classify_files(iter(paths))):
            if index in (1_000, count - 1):
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(f"\npeak memory after 1,000 and {count:,} files: {peaks[0]:.0f} and {peaks[-1]:.0f} MB")


def busy_neighbours(model: ModelFile, frames: list[np.ndarray]) -> None:
    classifier = Classifier(model)
    idle = median_ms(lambda: classifier.predict([frames[0]]), 60)
    stop = multiprocessing.Event()
    neighbours = [multiprocessing.Process(target=spin, args=(stop,), daemon=True) for _ in range(os.cpu_count() or 1)]
    for neighbour in neighbours:
        neighbour.start()
    time.sleep(1)
    busy = median_ms(lambda: classifier.predict([frames[0]]), 60)
    stop.set()
    print(f"\nwith a busy process on every core: {busy:.1f} ms against {idle:.1f} ms idle, {busy / idle:.2f} x")


def start_up() -> None:
    def seconds(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - began

    bare = min(seconds("pass") for _ in range(3))
    package = min(seconds("import mnasnet, sys; assert 'torch' not in sys.modules") for _ in range(3)) - bare
    with tempfile.TemporaryDirectory() as name:
        path = write_photos(Path(name), photos(1), 1)[0]
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "mnasnet", "classify", str(path)], check=True, stdout=subprocess.DEVNULL)
        first = time.perf_counter() - began
    print(f"\nimport mnasnet: {package:.3f} s, without torch;  first result of the command line: {first:.2f} s")


def realistic_model() -> ModelFile:
    torch.manual_seed(0)
    network = build(architecture("mnasnet1_0"), CLASSES).train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # a plain average over the calibration batches
    with torch.no_grad():
        for _ in range(4):
            network(torch.randn(8, 3, 224, 224))
    return ModelFile(network.spec, weights_of(network), tuple(map(str, range(CLASSES))), Preprocess())


def photos(count: int) -> list[np.ndarray]:
    """Smooth random pictures that compress like photos."""
    rng = np.random.default_rng(0)
    small = (rng.integers(0, 256, (60, 80, 3), dtype=np.uint8) for _ in range(count))
    return [np.asarray(Image.fromarray(s).resize((640, 480), Image.Resampling.BICUBIC)) for s in small]


def write_photos(folder: Path, frames: list[np.ndarray], count: int) -> list[Path]:
    paths = [folder / f"{index:05d}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        Image.fromarray(frames[index % len(frames)]).save(path, quality=88)
    return paths


def interleaved(
    ways: dict[str, Callable[[np.ndarray], object]], frames: list[np.ndarray], rounds: int
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(rounds + 5):
        frame = frames[index % len(frames)]
        for name, predict in ways.items():
            predict(frame)  # warm this way's caches, its neighbours have just emptied them
            began = time.perf_counter()
            predict(frame)
            if index >= 5:
                times[name].append((time.perf_counter() - began) * 1e3)
    return times


def median_ms(call: Callable[[], object], rounds: int) -> float:
    for _ in range(5):
        call()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times)


def spin(stop: multiprocessing.synchronize.Event) -> None:
    while not stop.is_set():
        for _ in range(100_000):
            pass


if __name__ == "__main__":
    main()
