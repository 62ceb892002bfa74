"""Training speed, accuracy and fine-tuning against two peers, in one run on this machine's CPU.

    python benchmarks/training.py --data cifar10-train.zip [--parts speed,accuracy,finetune] [--epochs 10] [--seeds 3]
        [--ultralytics-python /elsewhere/bin/python] [--images-per-class N] [--out results.json]

The data are ``<folder>/<class>/<image>``, zipped or not; 500 images of each class are kept aside for validation by
the documented seed of ``tools/train_bundled.py``. The contenders, each in processes of its own, one after another,
rounds interleaved:

* ours: ``python -m mnasnet train``;
* torchvision's reference loop, done plainly: ``benchmarks/torchvision_loop.py``;
* Ultralytics' classify trainer with torchvision's ``mnasnet0_5``, run as a program from an environment of its own
  (AGPL: it is no part of this project and nothing here imports it); left out without ``--ultralytics-python``.

``speed`` gives all the same batch size and a tiny validation set, so that an epoch is training. ``accuracy`` leaves
everything but epochs and size to each one's defaults. ``finetune`` trains our network on 600 images, from the bundled
model and from scratch; its photos come from the 500 a class that the bundled model never saw, but the classes are
the ones it was trained on. The second task, scikit-learn's handwritten digits, has other classes.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("speed", "accuracy", "finetune")
SIZE_PX = 64
OURS, OURS_B1 = "semnasnet_050", "mnasnet_050"  # MnasNet-A1 and -B1, width 0.5
PEERS = "mnasnet0_5"  # torchvision's name of B1, width 0.5
BUNDLED = OURS_B1  # the architecture of the bundled model
SPEED_VAL_PER_CLASS = 10
FEW_PER_CLASS = 60

# torchvision's network inside Ultralytics: a model description, since its newest releases take no bare name. The four
# parts left off are the last 1 x 1 convolution, its normalisation and ReLU, and the classifier; "Classify" brings the
# same again (160 to 1280 channels, then the classes).
ULTRALYTICS_MODEL = f"""nc: 10
backbone:
  - [-1, 1, TorchVision, [160, {PEERS}, null, True, 4]]
head:
  - [-1, 1, Classify, [nc]]
"""


@dataclass(frozen=True, slots=True)
class Epoch:
    """``seconds`` are training and validation, ``train_seconds`` training alone where the contender tells."""

    seconds: float
    accuracy: float
    train_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """One training: its epochs, the whole command's time, and the greatest memory of the process and its children.

    ``cpu_s`` is processor time of all its processes and threads, which a busy machine changes little. ``rss_mb``
    counts pages that processes share once for each of them, ``pss_mb`` once in all.
    """

    contender: str
    images: int
    epochs: tuple[Epoch, ...]
    command_s: float
    cpu_s: float
    rss_mb: float
    pss_mb: float

    @property
    def images_per_second(self) -> float:
        """Over all epochs but the first, which warms up."""
        epochs = self.epochs[1:] or self.epochs
        return self.images * len(epochs) / sum(epoch.seconds for epoch in epochs)


@dataclass(frozen=True, slots=True)
class Job:
    """What a contender is asked to do; ``batch`` 0 leaves the batch size to its defaults."""

    data: Path
    work: Path
    images: int
    epochs: int
    threads: int
    seed: int = 0
    batch: int = 0


Contender = Callable[[Job], Result]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="zip or folder of class folders")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--epochs", type=int, default=10, help="of the accuracy part")
    parser.add_argument("--seeds", type=int, default=3, help="of the accuracy and fine-tuning parts")
    parser.add_argument("--first-seed", type=int, default=0, help="so that seeds may be divided among processes")
    parser.add_argument("--contender", default="", help="of the accuracy part, only those whose name has this word")
    parser.add_argument("--rounds", type=int, default=3, help="of the speed part")
    parser.add_argument("--batch", type=int, default=128, help="of the speed part, for all contenders")
    parser.add_argument("--finetune-epochs", type=int, default=15)
    parser.add_argument("--images-per-class", type=int, default=4500, help="training images; the most is 4500")
    parser.add_argument("--val-per-class", type=int, default=500, help="validation images; the most is 500")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--ultralytics-python", type=Path, help="Python of an environment that has ultralytics")
    parser.add_argument(
        "--out",
        type=Path,
        help="JSON file, written after every training; one of the same commit and options is gone on with",
    )
    options = parser.parse_args()
    wanted = options.parts.split(",")
    if unknown := sorted(set(wanted) - set(PARTS)):
        parser.error(f"--parts takes {', '.join(PARTS)}, got {', '.join(unknown)}")

    book = Book(options.out, options)
    with tempfile.TemporaryDirectory(prefix="training-benchmark-") as name:
        work = Path(name)
        files = read_files(options.data)
        if "speed" in wanted:
            speed(book, files, work, options)
        if "accuracy" in wanted:
            accuracy(book, files, work, options)
        if "finetune" in wanted:
            finetune(book, files, work, options)


class Book:
    """Everything measured so far, printed as it comes and kept in a JSON file.

    A file of the same commit and options is gone on with: its accuracies are not measured again. Seeds may be added.
    """

    def __init__(self, path: Path | None, options: argparse.Namespace) -> None:
        self._path = path
        self._content: dict[str, object] = {
            "machine": f"{processor()}, {os.cpu_count()} cores",
            "date": time.strftime("%Y-%m-%d %H:%M"),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "commit": output_of(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]),
            "options": {key: str(value) for key, value in vars(options).items()},
        }
        if path is not None and path.exists():
            before = json.loads(path.read_bytes())
            if self._question(before) == self._question(self._content):
                self._content = before | {"options": self._content["options"]}
        for key, value in self._content.items():
            if key not in PARTS:
                print(f"{key}: {value}")

    @staticmethod
    def _question(content: Mapping[str, Any]) -> tuple[object, ...]:
        aside = ("seeds", "first_seed", "contender", "out", "parts")
        options = {key: value for key, value in content["options"].items() if key not in aside}
        return content["machine"], content["commit"], options

    def accuracy(self, name: str, seed: int) -> Result | None:
        """What a contender reached with a seed, where that is known."""
        entries: Any = self._content.get("accuracy", [])
        for entry in entries:
            if (entry["name"], entry["seed"]) == (name, seed):
                values = {field.name: entry[field.name] for field in fields(Result)}
                return Result(**values | {"epochs": tuple(Epoch(**epoch) for epoch in entry["epochs"])})
        return None

    def note(self, part: str, entry: Mapping[str, object]) -> None:
        """Keep one more entry of a part."""
        entries = self._content.setdefault(part, [])
        assert isinstance(entries, list)
        entries.append(entry)
        if self._path is not None:
            self._path.write_text(json.dumps(self._content, indent=1), encoding="utf-8")


# -- speed -----------------------------------------------------------------------------------------------------------


def speed(book: Book, files: Files, work: Path, options: argparse.Namespace) -> None:
    """Images per second after the first epoch, and processor time an image; the same batch size for all.

    Each contender trains one epoch, then three: what the longer command took more is training without the start.
    """
    contenders: dict[str, Contender] = {
        f"ours, {OURS}": partial(ours, OURS),
        f"ours, {OURS_B1}": partial(ours, OURS_B1),
        f"torchvision loop, {OURS}": partial(torchvision_loop, OURS),
        f"torchvision loop, {PEERS}": partial(torchvision_loop, PEERS),
        **ultralytics_contenders(options),
    }
    data, images = unpacked(files, work / "speed", options.images_per_class, SPEED_VAL_PER_CLASS)
    measured: dict[str, list[Speed]] = defaultdict(list)
    print(f"\nspeed: {images} images, {SIZE_PX} px, batch {options.batch}, {options.threads} threads")
    for round_ in range(options.rounds):
        turn = list(contenders.items())[:: -1 if round_ % 2 else 1]  # nobody always comes after the same one
        for name, train in turn:
            job = Job(data, work, images, 1, options.threads, seed=round_, batch=options.batch)
            short, long = train(job), train(replace(job, epochs=3))
            one = Speed.of(short, long)
            measured[name].append(one)
            book.note(
                "speed", {"name": name, "round": round_, **asdict(one), "one": asdict(short), "three": asdict(long)}
            )
            print(
                f"  round {round_ + 1}  {name:34} {one.rate:7.1f} images/s {one.cpu_ms:7.2f} CPU ms/image"
                f"   load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    print(f"\nmedians {'':28}images/s   {OURS} is  {OURS_B1} is   CPU ms/image   RSS MB   PSS MB")
    middle = {name: Speed.median_of(found) for name, found in measured.items()}
    for name, one in middle.items():
        ratios = [middle[f"ours, {own}"].rate / one.rate for own in (OURS, OURS_B1)]
        cpu = [one.cpu_ms / middle[f"ours, {own}"].cpu_ms for own in (OURS, OURS_B1)]
        print(
            f"  {name:34} {one.rate:7.1f}   {ratios[0]:12.2f} x {ratios[1]:11.2f} x   {one.cpu_ms:12.2f}"
            f" {one.rss_mb:8.0f} {one.pss_mb:8.0f}   CPU {cpu[0]:.2f} x, {cpu[1]:.2f} x"
        )


@dataclass(frozen=True, slots=True)
class Speed:
    """Images per second by the clock, processor milliseconds an image, and peak memory."""

    rate: float
    cpu_ms: float
    rss_mb: float
    pss_mb: float

    @classmethod
    def of(cls, short: Result, long: Result) -> Speed:
        """From one epoch and several."""
        more_images = (len(long.epochs) - len(short.epochs)) * long.images
        cpu_ms = 1000 * (long.cpu_s - short.cpu_s) / more_images
        return cls(long.images_per_second, cpu_ms, long.rss_mb, long.pss_mb)

    @classmethod
    def median_of(cls, found: list[Speed]) -> Speed:
        """The middle of each number, but the greatest memory."""
        return cls(
            rate=statistics.median(one.rate for one in found),
            cpu_ms=statistics.median(one.cpu_ms for one in found),
            rss_mb=max(one.rss_mb for one in found),
            pss_mb=max(one.pss_mb for one in found),
        )


# -- accuracy --------------------------------------------------------------------------------------------------------


def accuracy(book: Book, files: Files, work: Path, options: argparse.Namespace) -> None:
    """Validation accuracy after the same number of epochs with each one's defaults."""
    contenders: dict[str, Contender] = {
        f"ours, {OURS}": partial(ours, OURS),
        f"torchvision loop, {OURS}": partial(torchvision_loop, OURS),
        **ultralytics_contenders(options),
    }
    contenders = {name: train for name, train in contenders.items() if options.contender in name}
    data, images = unpacked(files, work / "accuracy", options.images_per_class, options.val_per_class)
    results: dict[str, list[Result]] = defaultdict(list)
    print(f"\naccuracy: {images} training images, {SIZE_PX} px, {options.epochs} epochs, each one's defaults")
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name, train in contenders.items():
            result = book.accuracy(name, seed)
            if result is None:
                result = train(Job(data, work, images, options.epochs, options.threads, seed=seed))
                book.note("accuracy", {"name": name, "seed": seed, **asdict(result)})
            results[name].append(result)
            print(f"  seed {seed}  {name:36} last epoch {result.epochs[-1].accuracy:.4f}", flush=True)
    print(f"\n{'':38}last epoch                          best epoch")
    for name, found in results.items():
        last = [result.epochs[-1].accuracy for result in found]
        best = [max(epoch.accuracy for epoch in result.epochs) for result in found]
        print(f"  {name:36}{spread(last):36}{spread(best)}")


def spread(values: list[float]) -> str:
    """Mean and range in per cent."""
    return f"{statistics.mean(values):.2%} ({min(values):.2%} to {max(values):.2%}, n={len(values)})"


# -- fine-tuning -----------------------------------------------------------------------------------------------------


def finetune(book: Book, files: Files, work: Path, options: argparse.Namespace) -> None:
    """Accuracy on images of which training saw none, after training on 600, from the bundled model and from scratch.

    Our trainer takes its own validation images from the 600, as for any user's folder.
    """
    tasks = {
        "photos, the bundled model's own classes": few_photos(files, work / "few"),
        "handwritten digits, other classes": few_digits(work / "digits"),
    }
    ways = {
        "from the bundled model": ("--model", "auto", "--use-pretrained", "true"),
        "from scratch": ("--model", BUNDLED, "--use-pretrained", "false"),
    }
    for task, (train_folder, test_folder) in tasks.items():
        scores: dict[str, list[float]] = defaultdict(list)
        count = sum(1 for _ in test_folder.rglob("*.*"))
        print(f"\nfine-tuning: {task}; 600 images, {options.finetune_epochs} epochs, judged on {count} others")
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            for way, start in ways.items():
                flags = (*start, "--flip", "false") if "digits" in task else start
                run = Job(train_folder, work, 600, options.finetune_epochs, options.threads, seed=seed)
                began = time.perf_counter()
                model = json.loads(last_line(watched(our_command(run, *flags)).text))["model"]
                command_s = time.perf_counter() - began
                score = validated(model, test_folder)
                scores[way].append(score)
                book.note(
                    "finetune",
                    {"task": task, "way": way, "seed": seed, "test_images": count, "accuracy": score, "s": command_s},
                )
                print(f"  seed {seed}  {way:24} {score:.4f}   {command_s:5.1f} s", flush=True)
        for way, values in scores.items():
            print(f"  {way:24} {spread(values)}")
        margins = [100 * (warm - cold) for warm, cold in zip(*(scores[way] for way in ways), strict=True)]
        print(f"  margin {statistics.mean(margins):.1f} points (least {min(margins):.1f}, most {max(margins):.1f})")


def few_photos(files: Files, folder: Path) -> tuple[Path, Path]:
    """600 of the images kept aside to train on, the rest of those to judge by."""
    for name, paths in files.kept.items():
        for number, path in enumerate(paths):
            part = "train" if number < FEW_PER_CLASS else "test"
            write(folder / part / name / Path(path).name, files.read(path))
    return folder / "train", folder / "test"


def few_digits(folder: Path) -> tuple[Path, Path]:
    """Scikit-learn's 1,797 digits of 8 x 8 grey pixels, enlarged to 32 x 32: 60 of each to train on."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.images))
    seen: dict[int, int] = defaultdict(int)
    for number in order.tolist():
        label = int(digits.target[number])
        part = "train" if seen[label] < FEW_PER_CLASS else "test"
        seen[label] += 1
        path = folder / part / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = (digits.images[number] * (255 / 16)).astype(np.uint8)
        Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC).save(path)
    return folder / "train", folder / "test"


def validated(model: str, folder: Path) -> float:
    """Accuracy of a model file by ``python -m mnasnet val``."""
    command = [sys.executable, "-m", "mnasnet", "val", model, str(folder), "--json"]
    return float(json.loads(last_line(watched(command).text))["accuracy"])


# -- contenders ------------------------------------------------------------------------------------------------------


def ours(network: str, job: Job) -> Result:
    """Our command, from fresh weights."""
    batch = ("--batch-size", str(job.batch)) if job.batch else ()
    seen = watched(our_command(job, "--model", network, "--use-pretrained", "false", *batch))
    run = Path(json.loads(last_line(seen.text))["run"])
    with (run / "results.csv").open(encoding="utf-8") as file:
        epochs = tuple(
            Epoch(float(row["seconds"]), float(row["val_accuracy"]), job.images / float(row["images_per_second"]))
            for row in csv.DictReader(file)
        )
    return seen.result("ours", job, epochs)


def our_command(job: Job, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "mnasnet", "train", str(job.data), "--epochs", str(job.epochs)),
        *("--input-size", str(SIZE_PX), "--device", "cpu", "--threads", str(job.threads), "--seed", str(job.seed)),
        *("--output-folder", str(job.work / "runs"), "--json", *more),
    ]


def torchvision_loop(network: str, job: Job) -> Result:
    """The plain loop, with as many workers as threads."""
    seen = watched(
        [
            *(sys.executable, str(ROOT / "benchmarks" / "torchvision_loop.py"), str(job.data), "--network", network),
            *("--input-size", str(SIZE_PX), "--epochs", str(job.epochs), "--seed", str(job.seed)),
            *("--threads", str(job.threads), "--workers", str(job.threads)),
            *(("--batch", str(job.batch)) if job.batch else ()),
        ]
    )
    rows = [json.loads(line) for line in seen.text.splitlines() if line.startswith("{")]
    epochs = tuple(Epoch(row["seconds"], row["accuracy"], row["train_seconds"]) for row in rows)
    return seen.result("torchvision loop", job, epochs)


def ultralytics_contenders(options: argparse.Namespace) -> dict[str, Contender]:
    if options.ultralytics_python is None:
        print("\nUltralytics is left out; --ultralytics-python names an environment that has it")
        return {}
    return {f"Ultralytics, {PEERS}": partial(ultralytics, options.ultralytics_python)}


def ultralytics(python: Path, job: Job) -> Result:
    """Its command line, on a copy of the images since it may rewrite them, without trackers or downloads.

    It sets one thread for computing where the environment names none; it gets as many as the others.
    """
    home = job.work / "ultralytics"
    yolo, data = str(python.parent / "yolo"), home / job.data.name
    settings = {
        "YOLO_CONFIG_DIR": str(home / "settings"),
        "YOLO_OFFLINE": "true",
        "OMP_NUM_THREADS": str(job.threads),
        "HOME": str(home),
    }
    if not data.exists():
        shutil.copytree(job.data, data)
        (home / f"{PEERS}-cls.yaml").write_text(ULTRALYTICS_MODEL, encoding="utf-8")
        watched([yolo, "settings", "mlflow=False", "tensorboard=False", "sync=False"], settings)
    run = Path(tempfile.mkdtemp(dir=home))
    seen = watched(
        [
            *(yolo, "classify", "train", f"model={home / f'{PEERS}-cls.yaml'}", f"data={data}", f"imgsz={SIZE_PX}"),
            *(f"epochs={job.epochs}", f"seed={job.seed}", "device=cpu", "pretrained=False", "plots=False"),
            *(f"workers={job.threads}", f"project={run}", "name=train", "exist_ok=True"),
            *((f"batch={job.batch}",) if job.batch else ()),
        ],
        settings,
    )
    with (run / "train" / "results.csv").open(encoding="utf-8") as file:
        rows = [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(file)]
    ends = [0.0, *(float(row["time"]) for row in rows)]  # seconds since training began
    epochs = tuple(
        Epoch(end - start, float(row["metrics/accuracy_top1"]))
        for start, end, row in zip(ends, ends[1:], rows, strict=False)
    )
    return seen.result("Ultralytics", job, epochs)


@dataclass(frozen=True, slots=True)
class Watched:
    """What a finished command printed, how long it took and how much memory it used."""

    text: str
    command_s: float
    cpu_s: float
    rss_mb: float
    pss_mb: float

    def result(self, contender: str, job: Job, epochs: tuple[Epoch, ...]) -> Result:
        """The training that the command was."""
        return Result(contender, job.images, epochs, self.command_s, self.cpu_s, self.rss_mb, self.pss_mb)


def watched(command: list[str], settings: Mapping[str, str] | None = None) -> Watched:
    """Run a command and look at its memory once a second; its last words are shown if it fails.

    Threads that wait sleep (OMP_WAIT_POLICY), for all: spinning ones slow a loop with workers down several times.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_WAIT_POLICY": "PASSIVE",
        **(settings or {}),
    }
    began, cpu_before = time.perf_counter(), children_cpu_s()
    rss_mb = pss_mb = 0.0
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out, tempfile.TemporaryFile("w+", encoding="utf-8") as err:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=err)
        try:
            while True:
                rss, pss = memory_mb(process.pid)
                rss_mb, pss_mb = max(rss_mb, rss), max(pss_mb, pss)
                try:
                    process.wait(1.0)
                    break
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()
        out.seek(0)
        err.seek(0)
        text = out.read()
        if process.returncode:
            raise SystemExit(
                f"{' '.join(command)}\nended with {process.returncode}:\n{text[-2000:]}{err.read()[-4000:]}"
            )
    return Watched(text, time.perf_counter() - began, children_cpu_s() - cpu_before, rss_mb, pss_mb)


def children_cpu_s() -> float:
    """Processor time of all finished processes that this one started, in seconds."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident and proportional memory of a process and its children, from Linux's /proc; 0 elsewhere."""
    rss_kb = pss_kb = 0
    for one in family(pid):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text(encoding="ascii").splitlines()
        except OSError:  # it has ended
            continue
        sizes = {line.split(":")[0]: line.split()[1] for line in lines[1:]}
        rss_kb, pss_kb = rss_kb + int(sizes.get("Rss", 0)), pss_kb + int(sizes.get("Pss", 0))
    return rss_kb / 1024, pss_kb / 1024


def family(pid: int) -> Iterator[int]:
    """A process and everything it started."""
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text(encoding="ascii").split()
        except OSError:
            continue
        for child in children:
            yield from family(int(child))


# -- data ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Files:
    """Class name to image paths: those to train on and those kept aside, and how to read one."""

    train: Mapping[str, list[str]]
    kept: Mapping[str, list[str]]
    read: Callable[[str], bytes]


def read_files(data: Path) -> Files:
    """The images of a zip or folder, divided by the documented seed."""
    by_class: dict[str, list[str]] = defaultdict(list)
    if data.is_dir():
        names: Iterable[str] = (str(path.relative_to(data)) for path in data.rglob("*.*"))
        read: Callable[[str], bytes] = lambda name: (data / name).read_bytes()  # noqa: E731
    else:
        archive = zipfile.ZipFile(data)
        names, read = (name for name in archive.namelist() if not name.endswith("/")), archive.read
    for name in sorted(names):
        by_class[Path(name).parent.name].append(name)
    kept = runpy.run_path(str(ROOT / "tools" / "train_bundled.py"))["test_files"](by_class)
    return Files(
        train={name: [path for path in paths if path not in kept] for name, paths in by_class.items()},
        kept={name: [path for path in paths if path in kept] for name, paths in by_class.items()},
        read=read,
    )


def unpacked(files: Files, folder: Path, train_per_class: int, val_per_class: int) -> tuple[Path, int]:
    """A folder with ``train/`` and ``val/``, and the number of its training images."""
    count = 0
    for part, classes, limit in (("train", files.train, train_per_class), ("val", files.kept, val_per_class)):
        for name, paths in classes.items():
            for path in paths[:limit]:
                write(folder / part / name / Path(path).name, files.read(path))
                count += part == "train"
    return folder, count


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def processor() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def output_of(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
