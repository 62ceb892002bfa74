"""``classify``: images, folders and videos in; a table, JSON, CSV and annotated copies out."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from mnasnet.classify import Classifier, FileResult, Prediction
from mnasnet.data.images import VIDEO_SUFFIXES, ImageFileError, iter_images
from mnasnet.errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="image, folder (with what is below) or video"
    )
    parser.add_argument(
        "--model",
        default="auto",
        help="model or weights file, or a name that `models` lists; default: the bundled model",
    )
    parser.add_argument("--class-file", type=Path, help="class names, one a line, for weights that carry none")
    parser.add_argument(
        "--input-size", type=int, metavar="PIXELS", help="side of the network's input; default: the model's"
    )
    parser.add_argument("--top-k", type=int, default=5, metavar="K", help="classes per image (default 5)")
    parser.add_argument("--threshold", type=float, default=0.0, metavar="0..1", help="less sure than this is `unknown`")
    parser.add_argument("--runtime", default="auto", choices=["auto", "torch", "onnxruntime", "openvino"])
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"], help="bf16 is faster and less exact")
    parser.add_argument("--threads", type=int, help="default: the cores this process may use")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="images per batch (default 16)")
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="classify each Nth frame of a video (default 1)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line; the last one is the summary")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a row per image and class")
    parser.add_argument("--annotate", type=Path, metavar="DIR", help="write copies with their labels drawn")


@dataclass
class Summary:
    """Counts what happened, for the last line and the exit code."""

    classified: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 unless everything failed."""
        return 1 if self.failures and not self.classified else 0


def run(arguments: argparse.Namespace) -> int:
    """Classify every path; a file that cannot be read is reported and the rest goes on."""
    classifier = Classifier.load(
        arguments.model,
        class_file=arguments.class_file,
        input_size=arguments.input_size,
        runtime=arguments.runtime,
        device=arguments.device,
        precision=arguments.precision,
        threads=arguments.threads,
    )
    summary = Summary()
    with ExitStack() as stack:
        outputs = _outputs(arguments, stack)
        bar = stack.enter_context(tqdm(unit=" images", disable=None, leave=False))
        for result in _results(arguments, classifier):
            bar.update()
            if result.prediction is None:
                summary.failures.append((str(result.path), result.error))
            else:
                summary.classified += 1
            for output in outputs:
                output.write(result)
    _print_summary(summary, as_json=arguments.json)
    return summary.exit_code


@dataclass(frozen=True)
class _Frame(FileResult):
    """A result that belongs to one frame of a video."""

    frame: int = 0


def _results(arguments: argparse.Namespace, classifier: Classifier) -> Iterator[FileResult]:
    images = (path for path in arguments.paths if not _is_video(path))
    for result in classifier.classify_files(iter_images(images), arguments.top_k, arguments.batch):
        yield _judged(result, arguments.threshold)
    for path in arguments.paths:
        if _is_video(path):
            yield from _video_results(path, arguments, classifier)


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir()


def _video_results(path: Path, arguments: argparse.Namespace, classifier: Classifier) -> Iterator[FileResult]:
    from mnasnet.data.video import VideoWriter, read_frames

    with ExitStack() as stack:
        writer: VideoWriter | None = None
        try:
            for index, frame in read_frames(path):
                if index % arguments.every:
                    continue
                prediction = classifier.predict([frame], arguments.top_k)[0].or_unknown(arguments.threshold)
                if arguments.annotate:
                    if writer is None:
                        writer = stack.enter_context(VideoWriter(arguments.annotate / f"{path.stem}.mp4", like=path))
                    writer.write(_annotated(frame, prediction))
                yield _Frame(path, prediction, frame=index)
        except DataError as error:
            reason = error.reason if isinstance(error, ImageFileError) else str(error)
            yield FileResult(path, error=reason)


def _judged(result: FileResult, threshold: float) -> FileResult:
    if result.prediction is None:
        return result
    return FileResult(result.path, result.prediction.or_unknown(threshold))


def _outputs(arguments: argparse.Namespace, stack: ExitStack) -> list[Any]:
    outputs: list[Any] = [_JsonLines(sys.stdout) if arguments.json else _Table()]
    if arguments.csv:
        arguments.csv.parent.mkdir(parents=True, exist_ok=True)
        outputs.append(_Csv(stack.enter_context(arguments.csv.open("w", newline="", encoding="utf-8"))))
    if arguments.annotate:
        outputs.append(_Annotated(arguments.annotate))
    return outputs


class _Table:
    """Lines for people: the path, then the best classes."""

    def write(self, result: FileResult) -> None:
        where = _where(result)
        if result.prediction is None:
            tqdm.write(f"{where}: not classified: {result.error}", file=sys.stdout)
            return
        best = zip(result.prediction.names[:3], result.prediction.confidences, strict=False)
        tqdm.write(f"{where}: " + ", ".join(f"{name} {confidence:.1%}" for name, confidence in best), file=sys.stdout)


class _JsonLines:
    """One object a line, so that millions of images need no memory."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, result: FileResult) -> None:
        row: dict[str, Any] = {"path": str(result.path)}
        if isinstance(result, _Frame):
            row["frame"] = result.frame
        if result.prediction is None:
            row["error"] = result.error
        else:
            row["predictions"] = [
                {"class": name, "confidence": round(confidence, 6)} for name, confidence in _pairs(result.prediction)
            ]
        print(json.dumps(row, ensure_ascii=False), file=self._stream)


class _Csv:
    """A row per image and class, so that any spreadsheet can sort and filter."""

    def __init__(self, stream: IO[str]) -> None:
        self._rows = csv.writer(stream)
        self._rows.writerow(["path", "frame", "rank", "class", "confidence", "error"])

    def write(self, result: FileResult) -> None:
        frame = result.frame if isinstance(result, _Frame) else ""
        if result.prediction is None:
            self._rows.writerow([result.path, frame, "", "", "", result.error])
            return
        for rank, (name, confidence) in enumerate(_pairs(result.prediction), start=1):
            self._rows.writerow([result.path, frame, rank, name, f"{confidence:.6f}", ""])


class _Annotated:
    """Copies with their labels drawn; two files of one name do not overwrite each other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._used: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, result: FileResult) -> None:
        if result.prediction is None or isinstance(result, _Frame):
            return
        from PIL import Image

        from mnasnet.data.images import read_image

        picture = _annotated(read_image(result.path), result.prediction)
        Image.fromarray(picture).save(self._folder / self._free_name(result.path.stem), quality=92)

    def _free_name(self, stem: str) -> str:
        number, name = 1, f"{stem}.jpg"
        while name.lower() in self._used:
            number += 1
            name = f"{stem}_{number}.jpg"
        self._used.add(name.lower())
        return name


def _annotated(image: Any, prediction: Prediction) -> Any:
    from mnasnet.draw import draw_labels

    return draw_labels(image, list(_pairs(prediction)))


def _pairs(prediction: Prediction) -> Iterable[tuple[str, float]]:
    return zip(prediction.names, prediction.confidences, strict=True)


def _where(result: FileResult) -> str:
    return f"{result.path} frame {result.frame}" if isinstance(result, _Frame) else str(result.path)


def _print_summary(summary: Summary, *, as_json: bool) -> None:
    if as_json:
        failed = [{"path": path, "error": error} for path, error in summary.failures]
        print(
            json.dumps(
                {"classified": summary.classified, "failed": len(failed), "failures": failed}, ensure_ascii=False
            )
        )
        return
    total = summary.classified + len(summary.failures)
    if total == 1:
        return
    print(
        f"{summary.classified} of {total} classified"
        + (f", {len(summary.failures)} failed:" if summary.failures else "")
    )
    for path, error in summary.failures:
        print(f"  {path}: {error}")
