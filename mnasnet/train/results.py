"""What a run leaves at its end: scores, tables, pictures, card, report, exports."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mnasnet import modelfile
from mnasnet.data.cache import DecodedImages
from mnasnet.data.check import coarse_accuracy
from mnasnet.data.folder import Sample
from mnasnet.data.split import Split
from mnasnet.errors import TrainingError
from mnasnet.export.onnx import to_onnx
from mnasnet.files import quoted, write_atomic
from mnasnet.modelfile import ModelFile
from mnasnet.network.build import MnasNet
from mnasnet.network.statedict import state_dict_of
from mnasnet.progress import Stop
from mnasnet.runtime.session import open_session
from mnasnet.train import figures, report
from mnasnet.train.batches import DecodedSquares
from mnasnet.train.best import Kept, kept_of
from mnasnet.train.evaluate import Evaluation, Mistake, evaluate
from mnasnet.train.plan import Training, TrainingPlan
from mnasnet.train.reading import readable, squares, unreadable_paths
from mnasnet.train.run_folder import RunFolder
from mnasnet.train.stopping import Stopped
from mnasnet.train.team import Team
from mnasnet.train.trainer import FitResult

MISTAKES_SHOWN = 18
PIXELS_AT_A_TIME = 64 * 224**2  # in a batch that is judged; a stop waits for its end


def write_results(
    training: Training,
    plan: TrainingPlan,
    parts: Split,
    run: RunFolder,
    team: Team,
    val_images: DecodedSquares,
    test_cache: DecodedImages,
    result: FitResult[MnasNet],
    stop: Stop = lambda: False,
) -> dict[str, Evaluation]:
    """Judge the model that is kept as users will run it, and write tables, pictures, card, report and exports.

    Returns what it is worth on the validation images and, where there are any, on the test images.

    Raises Stopped, with the names of what is not written, and TrainingError when the disk is full; the weights are
    whole in any case, and a resumed run writes the rest.
    """
    best_epoch = result.best["epoch"] if result.best else 0
    with _written_in_turn(run, _wanted(training, best_epoch), stop) as write:
        model = modelfile.load(run.best)
        unreadable = unreadable_paths(run, Team())
        main = _judged(model, val_images, parts.val, plan.threads, stop)
        evaluations = {"validation": main}
        if parts.test:
            test_images = squares(test_cache, parts, parts.test, unreadable, stop)
            if len(test_images.labels):
                evaluations["test"] = _judged(model, test_images, parts.test, plan.threads, stop)
        metrics = {**model.metrics, **main.summary()}
        if "test" in evaluations:
            metrics |= {f"test_{key}": value for key, value in evaluations["test"].summary().items()}
        model = replace(model, metrics=metrics)
        with _full_disk_told(run, run.best):
            modelfile.save(model, run.best)
        if training.export_pth:
            write(_PTH, lambda: _pth(model))
        if training.export_onnx:
            write(_ONNX, lambda: _onnx(model))
        wrong = [mistake for evaluation in evaluations.values() for mistake in evaluation.mistakes]
        wrong.sort(key=lambda mistake: -mistake.confidence)
        write(_MISTAKES, lambda: report.mistakes_csv(wrong))
        write(_TABLE, lambda: report.per_class_csv(evaluations))
        if not training.report:
            return evaluations
        shown = main.mistakes[:MISTAKES_SHOWN]
        drawings: dict[str, Callable[[], bytes]] = {
            "confusion_matrix.png": lambda: figures.confusion_matrix(main, normalised=False, split="validation"),
            "confusion_matrix_normalized.png": lambda: figures.confusion_matrix(
                main, normalised=True, split="validation"
            ),
            "most_wrong.png": lambda: _mistakes(val_images, _paths(val_images, parts.val), shown),
            "results.png": lambda: figures.curves(result.history, best_epoch, kept_of(parts)),
        }
        story = report.Story(
            title=run.path.name,
            model=model,
            status=result.reason,
            history=result.history,
            best_epoch=best_epoch,
            kept=kept_of(parts),
            evaluations=evaluations,
            images=readable(parts, unreadable),
            asked=_asked(training),
            recipe=plan.recipe.to_dict(),
            started_from=plan.started_from,
            teacher=plan.teacher,
            seconds=sum(row["seconds"] for row in result.history),
            machine=report.machine_description(team.device, plan.threads),
            made_on=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
            warnings=_warnings(run, parts),
            mistakes=shown,
            pictures={name: write(name, drawings[name]) for name in _pictures(best_epoch)},
            files=sorted({*run.files(), *_PAGES}),
        )
        write("model_card.md", lambda: report.model_card(story).encode(errors="surrogateescape"))
        write("report.html", lambda: report.report_html(story).encode(errors="replace"))
    return evaluations


def _warnings(run: RunFolder, parts: Split) -> list[str]:
    """What was said of the images, without how well an accuracy would be known: now it is."""
    said = json.loads(run.dataset_report.read_bytes())["warnings"]
    return [warning for warning in said if warning != coarse_accuracy(parts)]


_PTH, _ONNX, _MISTAKES, _TABLE = "weights/best.pth", "weights/best.onnx", "mistakes.csv", "per_class.csv"
_PAGES = ("model_card.md", "report.html")


def _pictures(best_epoch: int) -> tuple[str, ...]:
    curves = ("results.png",) if best_epoch else ()  # of whole epochs
    return ("confusion_matrix.png", "confusion_matrix_normalized.png", "most_wrong.png", *curves)


def _wanted(training: Training, best_epoch: int) -> list[str]:
    """The files to write, in order."""
    exports = [name for name, is_wanted in ((_PTH, training.export_pth), (_ONNX, training.export_onnx)) if is_wanted]
    return [*exports, _MISTAKES, _TABLE, *((*_pictures(best_epoch), *_PAGES) if training.report else ())]


@contextlib.contextmanager
def _written_in_turn(
    run: RunFolder, names: Sequence[str], stop: Stop
) -> Iterator[Callable[[str, Callable[[], bytes]], bytes]]:
    """What makes and writes a file of the run, unless it is asked to stop; the reason then names what is missing."""
    missing = list(names)

    def write(name: str, make: Callable[[], bytes]) -> bytes:
        if stop():
            raise Stopped
        content = make()
        with _full_disk_told(run, run.path / name):
            write_atomic(run.path / name, content)
        missing.remove(name)
        return content

    try:
        yield write
    except Stopped as error:
        raise Stopped(", ".join(missing)) from error


@contextlib.contextmanager
def _full_disk_told(run: RunFolder, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"cannot write {path}: {error.strerror or error}; the training is over, its best and its last model are "
            f"kept; make room, then `python -m mnasnet resume {quoted(run.path)}` writes what is missing"
        ) from error


def _asked(training: Training) -> dict[str, Any]:
    """What the user set, without folders of this machine: a report is made to be passed on."""
    defaults = Training(data=training.data)
    names = [field.name for field in fields(Training) if field.name not in ("data", "output_folder", "name", "model")]
    changed = {name: getattr(training, name) for name in names if getattr(training, name) != getattr(defaults, name)}
    return {"data": training.data.absolute().name, "model": Path(training.model).name, **changed}


def _judged(
    model: ModelFile, images: DecodedSquares, samples: Sequence[Sample], threads: int, stop: Stop
) -> Evaluation:
    """What ``model`` is worth on ``images``, which are some of ``samples``, through the engine that inference uses."""
    session = open_session(model, device="cpu", threads=threads)
    rows = []
    at_a_time = max(1, PIXELS_AT_A_TIME // model.preprocess.input_size**2)
    for start in range(0, len(images.labels), at_a_time):
        if stop():
            raise Stopped
        rows.append(session.run(images.read(np.arange(start, min(start + at_a_time, len(images.labels))))))
    return evaluate(np.concatenate(rows), images.labels, model.class_names, _paths(images, samples))


def _paths(images: DecodedSquares, samples: Sequence[Sample]) -> list[str]:
    """Where ``images``, which are some of ``samples``, lie within the dataset."""
    return [samples[number].path for number in images.numbers]


def _mistakes(images: DecodedSquares, paths: Sequence[str], mistakes: Sequence[Mistake]) -> bytes:
    """The picture of ``mistakes``, which are some of ``images``; ``paths`` are those of all."""
    numbers = np.array([paths.index(one.image) for one in mistakes], dtype=np.int64)
    return figures.mistakes(
        list(images.read(numbers)) if mistakes else [],
        [one.true for one in mistakes],
        [one.predicted for one in mistakes],
        [one.confidence for one in mistakes],
    )


def _pth(model: ModelFile) -> bytes:
    """The weights for other programs, as a plain torch state dict."""
    content = io.BytesIO()
    torch.save(state_dict_of(model.weights, json.dumps(modelfile.header_of(model), ensure_ascii=False)), content)
    return content.getvalue()


def _onnx(model: ModelFile) -> bytes:
    content: bytes = to_onnx(model).SerializeToString()
    return content


def scores_by_name(evaluations: Mapping[str, Evaluation], kept: Kept) -> dict[str, float]:
    """Scores as tracking services take them: of the whole, then of each class by the validation images.

    The name says which epoch is ``kept``: best_val_accuracy, in a fold last_val_accuracy.
    """
    names = {"validation": f"{kept}_val", "test": "test"}
    scores = {
        f"{names[split]}_{name}": float(value)
        for split, one in evaluations.items()
        for name, value in one.summary().items()
    }
    for one in evaluations["validation"].classes:
        for name in ("precision", "recall", "f1"):
            value = getattr(one, name)
            if value is not None:
                scores[f"{name}/{one.name}"] = value
    return scores
