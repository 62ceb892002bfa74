"""What a teacher brings: a small network from fresh weights, alone and beside a teacher, in one run on this machine.

    python benchmarks/distillation.py --data cifar10-train.zip [--images-per-class 200] [--epochs 20] [--seeds 3]

Two tasks, each trained by ``python -m mnasnet train`` with its defaults and judged on images that no training saw:

* photos, ``--images-per-class`` of them; the teacher is the bundled model, which has learned from 4,500 of each class,
  these among them: a teacher that knows far more than there is to train on, as ImageNet's weights would;
* 600 of scikit-learn's handwritten digits; the teacher is the bundled model, fine-tuned on these 600 itself.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from training import Files, Job, few_digits, last_line, our_command, processor, read_files, spread, validated, watched
from training import write as write_file

WAYS = ("alone", "with the teacher")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images-per-class", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--student", default="mnasnet_small")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    print(f"{processor()}, {options.threads} threads, {time.strftime('%Y-%m-%d %H:%M')}; student {options.student}")
    with tempfile.TemporaryDirectory(prefix="distillation-benchmark-") as name:
        work = Path(name)
        for task, train, test, teacher, flags in tasks(options, work):
            print(f"\n{task}, {options.epochs} epochs; the teacher names {validated(teacher, test):.2%} rightly")
            scores: dict[str, list[float]] = {way: [] for way in WAYS}
            for seed in range(options.seeds):
                for way, more in zip(WAYS, ((), ("--teacher", teacher)), strict=True):
                    job = Job(train, work, 0, options.epochs, options.threads, seed=seed)
                    fresh = ("--model", options.student, "--use-pretrained", "false", *flags, *more)
                    model, epoch_s = trained(job, *fresh)
                    scores[way].append(validated(model, test))
                    print(f"  seed {seed}  {way:18} {scores[way][-1]:.2%}  {epoch_s:5.1f} s an epoch", flush=True)
            for way, values in scores.items():
                print(f"  {way:18} {spread(values)}")


def tasks(options: argparse.Namespace, work: Path) -> Iterator[tuple[str, Path, Path, str, Sequence[str]]]:
    """Task, images to train on, images to judge by, teacher, flags of its trainings."""
    train, test = some_photos(read_files(options.data), work / "photos", options.images_per_class)
    yield f"{10 * options.images_per_class:,} photos", train, test, "photos10", ()
    train, test = few_digits(work / "digits")
    teacher, _ = trained(Job(train, work, 0, 15, options.threads), "--flip", "false")
    yield "600 digits", train, test, teacher, ("--flip", "false")


def some_photos(files: Files, folder: Path, per_class: int) -> tuple[Path, Path]:
    """The first images of each class to train on, and all that the bundled model never saw to judge by."""
    for part, classes in (("train", files.train), ("test", files.kept)):
        for name, paths in classes.items():
            for path in paths[: per_class if part == "train" else None]:
                write_file(folder / part / name / Path(path).name, files.read(path))
    return folder / "train", folder / "test"


def trained(job: Job, *flags: str) -> tuple[str, float]:
    """The model file of a training by our command, and the median seconds of its epochs."""
    answer = json.loads(last_line(watched(our_command(job, *flags)).text))
    with (Path(answer["run"]) / "results.csv").open(encoding="utf-8") as file:
        return answer["model"], statistics.median(float(row["seconds"]) for row in csv.DictReader(file))


if __name__ == "__main__":
    main()
