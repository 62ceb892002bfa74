"""``classify``: images, folders and videos in; a table, JSON, CSV and annotated copies out."""

from __future__ import annotations

import argparse
import errno
import glob
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from mnasnet.classify import Classifier, FileResult
from mnasnet.commands.json_line import json_line
from mnasnet.commands.outputs import (
    AnnotatedCopies,
    AnnotatedVideo,
    CsvFile,
    FrameResult,
    JsonLines,
    Output,
    Table,
)
from mnasnet.commands.values import a_path, share, whole
from mnasnet.data.find import VIDEO_SUFFIXES, files_below, iter_images
from mnasnet.data.unreadable import reason_of
from mnasnet.errors import DataError
from mnasnet.files import exists
from mnasnet.machine import has_terminal
from mnasnet.preprocess import MAX_INPUT_SIZE, MIN_INPUT_SIZE
from mnasnet.runtime.session import Device, Precision, Runtime
from mnasnet.words import amount, printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "paths", nargs="+", type=a_path, metavar="PATH", help="image, video, or folder with what is below it"
    )
    parser.add_argument(
        "--model",
        default="auto",
        help="model or weights file, or a name that `models` lists; default: the bundled model",
    )
    parser.add_argument("--class-file", type=a_path, help="class names, one a line, for weights that carry none")
    parser.add_argument(
        "--input-size",
        type=whole(MIN_INPUT_SIZE, MAX_INPUT_SIZE),
        metavar="PIXELS",
        help="side of the network's input; default: the model's",
    )
    parser.add_argument(
        "--top-k", type=whole(1, 1000), metavar="K", help="classes per image (default 5, of which 3 are printed)"
    )
    parser.add_argument("--threshold", type=share, default=0.0, metavar="0..1", help="less sure than this is `unknown`")
    parser.add_argument(
        "--runtime",
        default="auto",
        choices=["auto", *get_args(Runtime)],
        help="engine that runs the network; auto takes the fastest exact one that is installed (default auto)",
    )
    parser.add_argument(
        "--device",
        default="auto",
        choices=["auto", *get_args(Device)],
        help="where the network runs; auto takes an NVIDIA GPU where torch finds one (default auto)",
    )
    parser.add_argument(
        "--precision", default="fp32", choices=get_args(Precision), help="bf16 is faster and less exact"
    )
    parser.add_argument("--threads", type=whole(1, 1024), help="default: the cores this process may use")
    parser.add_argument(
        "--batch", type=whole(1, 1024), default=16, metavar="N", help="images read together (default 16)"
    )
    parser.add_argument(
        "--every", type=whole(1, 10**9), default=1, metavar="N", help="classify each Nth frame of a video (default 1)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line; the last one is the summary")
    parser.add_argument("--strict", action="store_true", help="end with exit code 1 when any file failed, not only all")
    parser.add_argument("--csv", type=a_path, metavar="FILE", help="write a row per image and class")
    parser.add_argument("--annotate", type=a_path, metavar="DIR", help="write copies, NAME_labelled, with labels drawn")

    as_in_the_task: dict[str, Any] = {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
    parser.add_argument("--model-name", dest="model", **as_in_the_task)
    parser.add_argument("--model-weight-file", **as_in_the_task)
    parser.add_argument("--confidence-threshold", type=share, dest="threshold", **as_in_the_task)


TOP_K, PRINTED = 5, 3  # classes per image where --top-k is left out: in files, and in the table for people


@dataclass
class Summary:
    """Counts what happened, for the last line and the exit code."""

    classified: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 unless everything failed or there was nothing."""
        return 0 if self.classified else 1


def run(arguments: argparse.Namespace) -> int:
    """Classify every path; a file that cannot be read is reported and the rest goes on."""
    classifier = Classifier.load(
        getattr(arguments, "model_weight_file", arguments.model),  # which counts before the name in the task too
        class_file=arguments.class_file,
        input_size=arguments.input_size,
        runtime=arguments.runtime,
        device=arguments.device,
        precision=arguments.precision,
        threads=arguments.threads,
    )
    arguments.paths = _expanded(arguments.paths)
    summary = Summary()
    with ExitStack() as stack:
        outputs: list[Output] = [JsonLines() if arguments.json else Table(arguments.top_k or PRINTED)]
        copies = AnnotatedCopies(arguments.annotate, arguments.paths) if arguments.annotate else None
        if copies is not None:
            outputs.append(copies)
        if arguments.csv:
            outputs.append(stack.enter_context(CsvFile(arguments.csv)))
        bar = stack.enter_context(
            tqdm(total=_total(arguments.paths), unit=" images", disable=not has_terminal(), leave=False)
        )
        for result in _results(arguments, classifier, copies):
            bar.update()
            if result.prediction is None:
                summary.failures.append((str(result.path), result.error))
            else:
                summary.classified += 1
            for output in outputs:
                output.write(result)
    without_copy = copies.failures if copies is not None else []
    _print_summary(summary, arguments, without_copy)
    return 1 if arguments.strict and (summary.failures or without_copy) else summary.exit_code


def _total(paths: Sequence[Path]) -> int | None:
    """How many images there are, for a bar that people see; None with videos, whose frames are not known before."""
    there = [path for path in paths if exists(path)]
    if not has_terminal() or any(_videos_of(path) for path in there):
        return None
    return sum(1 for _ in iter_images(there, left_out=_in_silence)) + len(paths) - len(there)


def _results(
    arguments: argparse.Namespace, classifier: Classifier, copies: AnnotatedCopies | None
) -> Iterator[FileResult]:
    there = [path for path in arguments.paths if exists(path)]
    known = set(there)
    for path in arguments.paths:
        if path not in known:
            yield FileResult(path, error=_why_missing(path))
    closed: list[FileResult] = []

    def left_out(folder: Path, reason: str) -> None:
        closed.append(FileResult(folder, error=f"this folder cannot be opened: {reason}"))

    images = iter_images((path for path in there if not _is_video(path)), left_out=left_out)
    wanted = (path for path in images if copies is None or not copies.is_own(path))
    for result in classifier.classify_files(wanted, arguments.top_k or TOP_K, arguments.batch):
        yield _judged(result, arguments.threshold)
    yield from closed
    for path in there:
        for video in _videos_of(path):
            if copies is None or not copies.is_own(video):
                yield from _video_results(video, arguments, classifier, copies)


def _expanded(paths: Sequence[Path]) -> list[Path]:
    """``paths``, patterns such as ``*.jpg`` replaced by what they match: not every shell does it."""
    expanded: list[Path] = []
    for given in paths:
        is_pattern = glob.has_magic(str(given)) and not exists(given)
        # absolute patterns too, which pathlib does not take; ** is any number of folders
        matches = sorted(glob.glob(str(given), recursive=True)) if is_pattern else []  # noqa: PTH207
        expanded += map(Path, matches) if matches else [given]
    return expanded


def _why_missing(path: Path) -> str:
    text = str(path)
    if text == "-":
        return "standard input is not read; give files or folders"
    if re.match(r"[a-z]+:/", text, flags=re.IGNORECASE) and not re.match(r"[a-z]:", text, flags=re.IGNORECASE):
        return "this is an address, not a file; download the image first"
    try:
        path.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return f"cannot be opened: {error.strerror or error}"
    except ValueError:  # what cannot be a path
        pass
    return "there is no such file or folder"


def _in_silence(folder: Path, reason: str) -> None:
    """For walks whose folders are told of elsewhere."""


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir()


def _videos_of(path: Path) -> list[Path]:
    """The video that ``path`` is, or those in and below the folder that it is."""
    if not path.is_dir():
        return [path] if _is_video(path) else []
    return list(files_below(path, VIDEO_SUFFIXES, left_out=_in_silence))


def _video_results(
    path: Path, arguments: argparse.Namespace, classifier: Classifier, copies: AnnotatedCopies | None
) -> Iterator[FileResult]:
    from mnasnet.data.video import Video

    with ExitStack() as stack:
        copy = stack.enter_context(AnnotatedVideo(copies, path, arguments.every)) if copies is not None else None
        try:
            video = stack.enter_context(Video(path))
            for index, frame in video:
                if index % arguments.every:
                    continue
                prediction = classifier.predict([frame], arguments.top_k or TOP_K)[0].or_unknown(arguments.threshold)
                if copy is not None:
                    copy.write(frame, prediction, video.time_s)
                yield FrameResult(path, prediction, frame=index)
        except DataError as error:
            yield FileResult(path, error=reason_of(error))


def _judged(result: FileResult, threshold: float) -> FileResult:
    if result.prediction is None:
        return result
    return replace(result, prediction=result.prediction.or_unknown(threshold))


def _print_summary(summary: Summary, arguments: argparse.Namespace, without_copy: Sequence[tuple[str, str]]) -> None:
    if arguments.json:
        failed = [{"path": path, "error": error} for path, error in summary.failures]
        told: dict[str, object] = {"classified": summary.classified, "failed": len(failed), "failures": failed}
        if without_copy:
            told["without_copy"] = [{"path": path, "error": error} for path, error in without_copy]
        print(json_line(told))
        return
    total = summary.classified + len(summary.failures)
    if total == 0:
        print(f"nothing to classify: no image or video in {', '.join(map(str, arguments.paths))}")
    elif total > 1:
        bad = f", {len(summary.failures)} failed:" if summary.failures else ""
        print(f"{summary.classified} of {total} classified{bad}")
        for path, error in summary.failures:
            print(f"  {printable(path)}: {printable(error)}")
    if without_copy:
        print(f"{amount(len(without_copy), 'annotated copy', 'annotated copies')} could not be written")
