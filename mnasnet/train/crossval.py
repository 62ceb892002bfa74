"""Cross-validation: as many trainings as folds, each validated on the images that it did not see."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mnasnet.data.folder import scan
from mnasnet.data.folds import folds
from mnasnet.errors import MnasNetError, SettingsError
from mnasnet.files import write_atomic
from mnasnet.train.evaluate import wilson_interval
from mnasnet.train.held_out import division_of
from mnasnet.train.listeners import Listener
from mnasnet.train.plan import Training, start_model
from mnasnet.train.report import mistakes_csv
from mnasnet.train.run import Stop, TrainedRun, train
from mnasnet.train.run_folder import new_run_folder
from mnasnet.zoo import model_path


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
            "accuracy": round(self.accuracy, 6),
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
    ``stop`` ends after the training in hand. Raises what :func:`mnasnet.train.run.train` raises, and DataError for a
    number of folds that cannot be.
    """
    dataset = scan(training.data)
    start = start_model(training)
    if start is not None and division_of(start, dataset, model_path(training.model)) is not None:
        raise SettingsError(
            f"crossval judges each image by a training that has not seen it, but {training.model} has learned from "
            "these images; start from another model, such as auto"
        )
    splits = folds(dataset, count, seed=training.seed, grouping=training.grouping)
    name = training.name or training.data.absolute().name
    folder = new_run_folder(training.output_folder, f"{name}_folds", data=training.data).path
    result = CrossValidation(folder, count, (), 0, 0)
    for number, parts in enumerate(splits, start=1):
        own = replace(training, output_folder=folder, name=f"fold{number}")
        try:
            run = train(own, parts=parts, listeners=listeners, stop=stop)
        except MnasNetError:
            with contextlib.suppress(OSError):  # a folder with trainings in it stays
                folder.rmdir()
            raise
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
