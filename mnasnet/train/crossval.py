"""Cross-validation: as many trainings as folds, each judged on the images that it did not see.

They decide nothing in it either: all epochs are trained, and the last one's weights are judged. The best of 15 epochs,
chosen by the fold that judges it, looks better than it is.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mnasnet.data.check import examine
from mnasnet.data.folder import Dataset, scan
from mnasnet.data.folds import folds
from mnasnet.data.split import Split
from mnasnet.data.unreadable import complaint
from mnasnet.errors import DataError, MnasNetError, SettingsError, TrainingError
from mnasnet.files import write_atomic, write_json
from mnasnet.progress import Stop
from mnasnet.train.best import Kept
from mnasnet.train.evaluate import Mistake, wilson_interval
from mnasnet.train.events import Listener
from mnasnet.train.held_out import may_know
from mnasnet.train.plan import (
    Training,
    in_words,
    models_of,
    same_start_model,
    same_teacher_model,
    start_model,
    teacher_model,
)
from mnasnet.train.report import mistakes_csv
from mnasnet.train.run import resume, train
from mnasnet.train.run_folder import (
    RunFolder,
    cannot_write,
    new_run_folder,
    only_user,
    open_run_folder,
    read_yaml,
    write_yaml,
)
from mnasnet.zoo import model_path

_log = logging.getLogger(__name__)

OfFold = Callable[[str], Iterable[Listener]]
"""Makes the listeners that hear of one fold alone, by its name."""

KIND = "crossval"  # of what lies in a folder, as its arguments say
_JUDGES: Kept = "last"  # of the epochs; older releases judged the one that the fold had chosen
_JUDGED = "judged.json"  # in the folder of each training that ended


@dataclass(frozen=True)
class Fold:
    """What the last weights of the training without one fold are worth on it; ``status`` is that of the training."""

    folder: Path
    status: str
    images: int
    right: int
    mistakes: tuple[Mistake, ...]

    @property
    def accuracy(self) -> float:
        """The share of the fold's images that were classified rightly."""
        return self.right / self.images


@dataclass(frozen=True)
class CrossValidation:
    """The folds whose trainings ended, ``wanted`` in all, and what they say together: each image was judged once."""

    folder: Path
    wanted: int
    folds: tuple[Fold, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every fold was trained to its end."""
        return len(self.folds) == self.wanted

    @property
    def images(self) -> int:
        """How many images were judged."""
        return sum(fold.images for fold in self.folds)

    @property
    def right(self) -> int:
        """How many of them were classified rightly."""
        return sum(fold.right for fold in self.folds)

    @property
    def accuracy(self) -> float:
        """The share of images that were classified rightly by the training that had not seen them."""
        return self.right / self.images if self.images else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy, over all images."""
        return wilson_interval(self.right, self.images) if self.images else (0.0, 1.0)

    def summary(self) -> dict[str, Any]:
        """Plain JSON values."""
        low, high = self.interval
        return {
            "status": "done" if self.is_whole else "stopped",
            "run": str(self.folder.absolute()),
            "folds": len(self.folds),
            "images": self.images,
            "accuracy": round(self.accuracy, 6) if self.images else None,
            "accuracy_low": round(low, 6),
            "accuracy_high": round(high, 6),
            "fold_accuracies": [round(fold.accuracy, 6) for fold in self.folds],
        }

    def sentence(self) -> str:
        """Accuracy, interval and the folds' spread for people."""
        low, high = self.interval
        each = [fold.accuracy for fold in self.folds]
        spread = f"; the folds gave {min(each):.1%} to {max(each):.1%}" if each else ""
        return (
            f"{self.accuracy:.1%} of {self.images} images right (95% interval {low:.1%} to {high:.1%}), "
            f"each judged by a training that had not seen it{spread}"
        )


def cross_validate(
    training: Training,
    count: int,
    *,
    listeners: Iterable[Listener] = (),
    of_fold: OfFold = lambda fold: (),
    stop: Stop = lambda: False,
) -> CrossValidation:
    """Train ``count`` times, each time without one fold of the images, and judge that fold by the last weights.

    ``patience`` is left out: a fold must not end the training that it judges.
    The runs lie in ``<name>_folds{N}/fold1`` and so on, with ``folds.json`` and ``mistakes.csv`` of all beside them.
    ``of_fold`` makes the listeners that hear of one fold alone, whose name it gets.
    What was stopped or killed goes on with :func:`resume_cross_validation`. Raises what
    :func:`mnasnet.train.run.train` raises, and DataError for a number of folds that cannot be.
    """
    _require_one_process()
    dataset = scan(training.data)
    for source, model in models_of(training).items():
        knows = may_know(model, dataset, model_path(source))
        if knows:
            raise SettingsError(
                f"crossval judges each image by a training that has not seen it, but {source} has learned from these "
                "images; take another model, such as auto to start from"
            )
        if knows is None:
            _log.warning(
                "%s was trained on a folder of this name, and on which of its images cannot be told: for those "
                "it knows the accuracy says nothing",
                source,
            )
    if training.patience:
        _log.warning(
            "patience %d is left out, all %d epochs are trained: a fold must not end the training that it judges",
            training.patience,
            training.epochs,
        )
    identical = _identical(dataset, _folds(training, dataset, count)[0], training)
    splits = _folds(training, dataset, count, identical)
    name = training.name or training.data.absolute().name
    folder = new_run_folder(training.output_folder, f"{name}_folds", data=training.data)
    prints = [parts.fingerprint for parts in splits]
    values = {
        "kind": KIND,
        "judges": _JUDGES,
        "asked": training.to_dict(),
        "started_from": in_words(training.model, start_model(training)) or "fresh weights",
        "teacher": in_words(training.teacher, teacher_model(training)),
        "folds": count,
        "fingerprints": prints,
        "identical": identical,
    }
    try:
        write_yaml(folder.arguments, values)
    except OSError as error:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise cannot_write(folder.path, error) from error
    try:
        with only_user(folder):
            return _trained(folder, training, splits, listeners, of_fold, stop)
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
    data: Path | str | None = None,
    max_minutes: float | None = None,
    listeners: Iterable[Listener] = (),
    of_fold: OfFold = lambda fold: (),
    stop: Stop = lambda: False,
) -> CrossValidation:
    """Go on with a cross-validation that was stopped or killed; folds that are done are not trained again.

    ``data`` is where its images lie now, ``max_minutes`` replaces the limit of each training, also of those that the
    old one ended; both count the next time too. Raises DataError where the images would be divided otherwise now.
    """
    _require_one_process()
    folder = open_run_folder(path)
    values = read_yaml(folder.arguments)
    try:
        asked, count, prints = Training.from_dict(values["asked"]), int(values["folds"]), values["fingerprints"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrainingError(
            f"{folder.arguments} is not complete ({error}); update the mnasnet package where a newer release wrote it, "
            "else start a new cross-validation"
        ) from error
    if values.get("judges") != _JUDGES:
        raise TrainingError(
            f"{folder.path} was begun by an older release, in which each fold chose the epoch that it then judged; "
            "start a new cross-validation"
        )
    training = asked if data is None else replace(asked, data=Path(data))
    if max_minutes is not None:
        training = replace(training, max_minutes=max_minutes)
    if not training.data.is_dir():
        raise DataError(f"the images of {folder.path} are not in {training.data} any more; give --data their new place")
    splits = _folds(training, scan(training.data), count, values.get("identical", ()))  # files of older ones have none
    if [parts.fingerprint for parts in splits] != prints:
        raise DataError(
            f"the images in {training.data} are not those that {folder.path} began with, so its folds would hold "
            "others now; bring the folder back to what it was, or start a new cross-validation"
        )
    begun = [RunFolder(folder.path / f"fold{number}").arguments.exists() for number in range(1, count + 1)]
    if "started_from" in values and not all(begun):  # each of the others goes on from what it has learned
        same_start_model(training, values["started_from"])
        same_teacher_model(training, values.get("teacher", ""))
    with only_user(folder):
        write_yaml(folder.arguments, {**values, "asked": training.to_dict()})
        if training.max_minutes != asked.max_minutes:
            for judged in folder.path.glob(f"*/{_JUDGED}"):
                kept = _kept(judged.parent)
                if kept is None or kept.status == "time":
                    judged.unlink()
        return _trained(folder, training, splits, listeners, of_fold, stop)


def _folds(training: Training, dataset: Dataset, count: int, identical: Iterable[Sequence[str]] = ()) -> list[Split]:
    return folds(dataset, count, seed=training.seed, grouping=training.grouping, identical=identical)


def _identical(dataset: Dataset, parts: Split, training: Training) -> list[list[str]]:
    """Groups of files of the same content, which belong into one fold.

    Raises DataError for too many unreadable images in all; in a single fold chance decides how many there are.
    """
    _log.info("looking at %d images", len(parts.train) + len(parts.val))
    found = examine(dataset, parts, max_bad=1.0, threads=training.threads or None)
    unreadable = [one for name in ("train", "val") for one in found.unreadable.get(name, ())]
    if text := complaint(unreadable, len(parts.train) + len(parts.val), training.max_bad):
        raise DataError(text)
    return [sorted(paths) for paths in found.identical]


def _require_one_process() -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingsError("crossval trains in one process, got torchrun with several; start it without torchrun")


def _trained(
    folder: RunFolder,
    training: Training,
    splits: Sequence[Split],
    listeners: Iterable[Listener],
    of_fold: OfFold,
    stop: Stop,
) -> CrossValidation:
    """Train, or go on with the training of, each fold that has not ended, and keep what all say after each."""
    result = CrossValidation(folder.path, len(splits), ())
    for number, parts in enumerate(splits, start=1):
        own = replace(training, output_folder=folder.path, name=f"fold{number}", max_bad=1.0, patience=0)
        fold = _kept(folder.path / own.name) or _fold(own, parts, [*listeners, *of_fold(own.name)], stop)
        if fold is None:
            break
        result = replace(result, folds=(*result.folds, fold))
        mistakes = sorted((one for fold in result.folds for one in fold.mistakes), key=lambda one: -one.confidence)
        write_atomic(folder.path / "mistakes.csv", mistakes_csv(mistakes))
        write_json(folder.path / "folds.json", result.summary())
    return result


def _kept(folder: Path) -> Fold | None:
    """What an earlier sitting found of the training in ``folder``, where it ended; what is damaged is judged again."""
    try:
        values = json.loads((folder / _JUDGED).read_bytes())
        return Fold(**{**values, "folder": folder, "mistakes": tuple(Mistake(**one) for one in values["mistakes"])})
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _fold(training: Training, parts: Split, listeners: Iterable[Listener], stop: Stop) -> Fold | None:
    """Train without the fold that ``parts`` validates, or go on with that; None when it was stopped."""
    place = RunFolder(training.output_folder / training.name)
    if place.arguments.exists():
        run = resume(place.path, data=training.data, max_minutes=training.max_minutes, listeners=listeners, stop=stop)
    else:
        shutil.rmtree(place.path, ignore_errors=True)  # a kill left a folder in which nothing had begun
        run = train(training, parts=parts, listeners=listeners, stop=stop)
    if run.evaluation is None:
        return None
    confusion = run.evaluation.confusion
    found = Fold(run.folder, run.status, int(confusion.sum()), int(np.trace(confusion)), run.evaluation.mistakes)
    text = json.dumps({**asdict(found), "folder": place.path.name}, ensure_ascii=True)
    write_atomic(place.path / _JUDGED, text.encode())
    return found
