"""Cross-validation: as many trainings as folds, each validated on the images that it did not see."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mnasnet.data.folder import scan
from mnasnet.data.folds import folds
from mnasnet.data.split import Split, written_split
from mnasnet.errors import DataError, MnasNetError, SettingsError, TrainingError
from mnasnet.files import write_atomic
from mnasnet.train.evaluate import wilson_interval
from mnasnet.train.held_out import may_know
from mnasnet.train.listeners import Listener
from mnasnet.train.plan import Training, start_model
from mnasnet.train.report import mistakes_csv
from mnasnet.train.run import Stop, TrainedRun, resume, train
from mnasnet.train.run_folder import RunFolder, new_run_folder, open_run_folder, read_yaml, write_yaml
from mnasnet.zoo import model_path

_log = logging.getLogger(__name__)

KIND = "crossval"  # of what lies in a folder, as its arguments say


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """The runs of all folds that ended, and what they say together: each image was judged once.

    ``interval`` is the 95 % confidence interval of ``accuracy`` over all images.
    """

    folder: Path
    wanted: int
    runs: tuple[TrainedRun, ...]
    images: int
    right: int

    @property
    def is_whole(self) -> bool:
        """Whether every fold was trained to its end."""
        return len(self.runs) == self.wanted

    @property
    def accuracy(self) -> float:
        """The share of images that were classified rightly by the training that had not seen them."""
        return self.right / self.images if self.images else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        return wilson_interval(self.right, self.images) if self.images else (0.0, 1.0)

    def summary(self) -> dict[str, Any]:
        """Plain JSON values."""
        low, high = self.interval
        return {
            "status": "done" if self.is_whole else "stopped",
            "run": str(self.folder.absolute()),
            "folds": len(self.runs),
            "images": self.images,
            "accuracy": round(self.accuracy, 6) if self.images else None,
            "accuracy_low": round(low, 6),
            "accuracy_high": round(high, 6),
            "fold_accuracies": [round(run.evaluation.accuracy, 6) for run in self.runs if run.evaluation],
        }

    def sentence(self) -> str:
        """Accuracy, interval and the folds' spread for people."""
        low, high = self.interval
        each = [run.evaluation.accuracy for run in self.runs if run.evaluation]
        spread = f"; the folds gave {min(each):.1%} to {max(each):.1%}" if each else ""
        return (
            f"{self.accuracy:.1%} of {self.images} images right (95 % interval {low:.1%} to {high:.1%}), "
            f"each judged by a training that had not seen it{spread}"
        )


def cross_validate(
    training: Training, count: int, *, listeners: Iterable[Listener] = (), stop: Stop = lambda: False
) -> CrossValidation:
    """Train ``count`` times, each time without one fold of the images, and judge that fold.

    The runs lie in ``<name>_folds{N}/fold1`` and so on, with ``folds.json`` and ``mistakes.csv`` of all beside them.
    What was stopped or killed goes on with :func:`resume_cross_validation`. Raises what
    :func:`mnasnet.train.run.train` raises, and DataError for a number of folds that cannot be.
    """
    dataset = scan(training.data)
    start = start_model(training)
    knows = False if start is None else may_know(start, dataset, model_path(training.model))
    if knows:
        raise SettingsError(
            f"crossval judges each image by a training that has not seen it, but {training.model} has learned from "
            "these images; start from another model, such as auto"
        )
    if knows is None:
        _log.warning(
            "%s was trained on a folder of this name, and on which of its images cannot be told: for those "
            "it knows the accuracy says nothing",
            training.model,
        )
    splits = folds(dataset, count, seed=training.seed, grouping=training.grouping)
    name = training.name or training.data.absolute().name
    folder = new_run_folder(training.output_folder, f"{name}_folds", data=training.data)
    write_yaml(folder.arguments, {"kind": KIND, "asked": training.to_dict(), "folds": count})
    try:
        return _trained(folder.path, training, splits, listeners, stop)
    except MnasNetError:
        if not any(path.is_dir() for path in folder.path.iterdir()):  # refused before it began
            shutil.rmtree(folder.path, ignore_errors=True)
        raise


def is_cross_validation(path: Path) -> bool:
    """Whether ``path`` is the folder of a cross-validation, not that of one of its trainings."""
    try:
        return read_yaml(open_run_folder(path).arguments).get("kind") == KIND
    except TrainingError:
        return False


def resume_cross_validation(
    path: Path | str,
    *,
    data: Path | None = None,
    max_minutes: float | None = None,
    listeners: Iterable[Listener] = (),
    stop: Stop = lambda: False,
) -> CrossValidation:
    """Go on with a cross-validation that was stopped or killed; folds that are done are not trained again.

    ``data`` is where its images lie now, ``max_minutes`` replaces the limit of each training; both count the next time
    too. Raises DataError where the images would be divided otherwise now.
    """
    folder = open_run_folder(path)
    values = read_yaml(folder.arguments)
    try:
        training, count = Training.from_dict(values["asked"]), int(values["folds"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrainingError(f"{folder.arguments} is not complete ({error}); start a new cross-validation") from error
    if data is not None:
        training = replace(training, data=data)
    if max_minutes is not None:
        training = replace(training, max_minutes=max_minutes)
    splits = folds(scan(training.data), count, seed=training.seed, grouping=training.grouping)
    write_yaml(folder.arguments, {**values, "asked": training.to_dict()})
    return _trained(folder.path, training, splits, listeners, stop)


def _trained(
    folder: Path, training: Training, splits: Sequence[Split], listeners: Iterable[Listener], stop: Stop
) -> CrossValidation:
    """Train or go on with the training of each fold, and keep what they say together after each."""
    result = CrossValidation(folder, len(splits), (), 0, 0)
    for number, parts in enumerate(splits, start=1):
        run = _of_fold(replace(training, output_folder=folder, name=f"fold{number}"), parts, listeners, stop)
        if run.evaluation is None:
            break
        confusion = run.evaluation.confusion
        result = replace(
            result,
            runs=(*result.runs, run),
            images=result.images + int(confusion.sum()),
            right=result.right + int(np.trace(confusion)),
        )
        mistakes = [one for run in result.runs if run.evaluation for one in run.evaluation.mistakes]
        mistakes.sort(key=lambda one: -one.confidence)
        write_atomic(folder / "mistakes.csv", mistakes_csv(mistakes))
        write_atomic(folder / "folds.json", json.dumps(result.summary(), indent=1).encode())
    return result


def _of_fold(training: Training, parts: Split, listeners: Iterable[Listener], stop: Stop) -> TrainedRun:
    run = RunFolder(training.output_folder / training.name)
    if not run.arguments.exists():
        shutil.rmtree(run.path, ignore_errors=True)  # a kill left a folder in which nothing had begun
        return train(training, parts=parts, listeners=listeners, stop=stop)
    if written_split(run.split).fingerprint != parts.fingerprint:
        raise DataError(
            f"the images in {training.data} are not those that {training.output_folder} began with: {parts.fold} would "
            "hold others now; bring the folder back to what it was, or start a new cross-validation"
        )
    return resume(run.path, data=training.data, max_minutes=training.max_minutes, listeners=listeners, stop=stop)
