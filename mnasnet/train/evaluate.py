"""How good a classifier is: accuracy with its interval, per-class figures, confusion, calibration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS = 15
UNSURE = 0.5  # the confidence threshold that the documentation gives as an example


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How one class fares; ``None`` where there is nothing to divide by."""

    name: str
    images: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class Mistake:
    """An image that was taken for another class than its own, and how sure that was, 0 to 1."""

    image: str
    true: str
    predicted: str
    confidence: float


@dataclass(frozen=True, slots=True)
class ConfidenceBin:
    """Answers whose confidence lies from ``low`` to ``high``: their mean confidence, and the share that is right."""

    low: float
    high: float
    images: int
    confidence: float
    right: float


@dataclass(frozen=True, slots=True)
class Unsure:
    """The shares of right and of wrong answers that are less sure than UNSURE; None where there are no such answers."""

    right: float | None
    wrong: float | None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A classifier's results on labelled images.

    ``confusion`` counts images, rows are the true classes, columns the predicted ones. ``interval`` is the 95 %
    confidence interval of ``accuracy``. ``calibration_error`` is the mean gap between confidence and accuracy, and
    ``calibration`` what it is made of, without bins that hold no image. ``mistakes`` has the surest ones first; it is
    empty where the images were given without names.
    """

    class_names: tuple[str, ...]
    images: int
    accuracy: float
    interval: tuple[float, float]
    top5_accuracy: float
    loss: float
    calibration: tuple[ConfidenceBin, ...]
    unsure: Unsure
    confusion: NDArray[np.int64]
    classes: tuple[ClassScore, ...]
    mistakes: tuple[Mistake, ...] = ()

    @property
    def calibration_error(self) -> float:
        """Expected calibration error over equal-width bins (arXiv 1706.04599)."""
        return sum(one.images * abs(one.confidence - one.right) for one in self.calibration) / self.images

    def unknown_at_half(self) -> str:
        """What a confidence threshold of UNSURE would cost and bring, for people."""
        answers = ((self.unsure.right, "right"), (self.unsure.wrong, "wrong"))
        shares = [f"{share:.1%} of the {which} answers" for share, which in answers if share is not None]
        return f"{UNSURE} would call {' and '.join(shares)} unknown"

    def taken_for(self, most: int) -> list[tuple[str, str, int]]:
        """The classes that were taken for another more than once, most often first: true, predicted, images."""
        wrong = self.confusion * (1 - np.eye(len(self.confusion), dtype=np.int64))
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        cells = [divmod(int(cell), len(wrong)) for cell in order]
        return [
            (self.class_names[row], self.class_names[column], int(wrong[row, column]))
            for row, column in cells
            if wrong[row, column] > 1
        ]

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes that occur."""
        scores = [score.f1 or 0.0 for score in self.classes if score.images]
        return sum(scores) / len(scores)

    @property
    def worst_recall(self) -> float:
        """The recall of the class that is recognised worst."""
        return min(score.recall for score in self.classes if score.recall is not None)

    def summary(self) -> dict[str, Any]:
        """Plain JSON values for a model file or a result line."""
        return {
            "images": self.images,
            "accuracy": round(self.accuracy, 6),
            "accuracy_low": round(self.interval[0], 6),
            "accuracy_high": round(self.interval[1], 6),
            "top5_accuracy": round(self.top5_accuracy, 6),
            "macro_f1": round(self.macro_f1, 6),
            "worst_recall": round(self.worst_recall, 6),
            "loss": round(self.loss, 6),
            "calibration_error": round(self.calibration_error, 6),
        }

    def sentence(self, split: str = "") -> str:
        """Accuracy and interval for people; ``split`` says which images they are of."""
        low, high = self.interval
        images = f"{split} images" if split else "images"
        return f"{self.accuracy:.1%} of {self.images} {images} right (95% interval {low:.1%} to {high:.1%})"


def evaluate(
    logits: NDArray[np.float32], labels: NDArray[np.int64], class_names: Sequence[str], images: Sequence[str] = ()
) -> Evaluation:
    """Compare scores, N x classes, with the true class indices; N is at least 1. ``images`` are their names."""
    count, classes = logits.shape
    log_probabilities = log_softmax(logits)
    own = np.take_along_axis(logits, labels[:, None], 1)
    is_before = np.arange(classes) < labels[:, None]  # of equal scores the first class counts as higher, as in argmax
    ranks = ((logits > own) | ((logits == own) & is_before)).sum(1)
    predicted = logits.argmax(1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    right = predicted == labels
    confidence = np.exp(log_probabilities.max(1))
    return Evaluation(
        class_names=tuple(class_names),
        images=count,
        accuracy=float(right.mean()),
        interval=wilson_interval(int(right.sum()), count),
        top5_accuracy=float((ranks < 5).mean()),
        loss=float(-np.take_along_axis(log_probabilities, labels[:, None], 1).mean()),
        calibration=tuple(_calibration(confidence, right)),
        unsure=Unsure(_share_unsure(confidence[right]), _share_unsure(confidence[~right])),
        confusion=confusion,
        classes=tuple(_class_score(name, confusion, index) for index, name in enumerate(class_names)),
        mistakes=tuple(_mistakes(log_probabilities, labels, class_names, images)) if images else (),
    )


def _mistakes(
    log_probabilities: NDArray[np.float64], labels: NDArray[np.int64], class_names: Sequence[str], images: Sequence[str]
) -> Iterator[Mistake]:
    predicted, surest = log_probabilities.argmax(1), log_probabilities.max(1)
    wrong = np.flatnonzero(predicted != labels)
    for index in wrong[np.argsort(-surest[wrong], kind="stable")]:
        confidence = float(np.exp(surest[index]))
        yield Mistake(images[index], class_names[labels[index]], class_names[predicted[index]], confidence)


def true_class_probabilities(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The probability that scores, N x classes, give to each image's true class.

    The mean is the expected accuracy of answers drawn with these probabilities.
    """
    result: NDArray[np.float64] = np.exp(np.take_along_axis(log_softmax(logits), labels[:, None], 1)[:, 0])
    return result


def log_softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Log-probabilities, N x classes."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return result


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's score interval of a share (JASA 22, 1927), sound for few images too."""
    z = 1.959964  # for 95 %
    share = right / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    low = 0.0 if right == 0 else max(0.0, centre - half)
    high = 1.0 if right == count else min(1.0, centre + half)
    return low, high


def _calibration(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> Iterator[ConfidenceBin]:
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    for number in np.unique(bins).tolist():
        inside = bins == number
        yield ConfidenceBin(
            low=number / CALIBRATION_BINS,
            high=(number + 1) / CALIBRATION_BINS,
            images=int(inside.sum()),
            confidence=float(confidence[inside].mean()),
            right=float(right[inside].mean()),
        )


def _share_unsure(confidence: NDArray[np.float64]) -> float | None:
    return float((confidence < UNSURE).mean()) if len(confidence) else None


def _class_score(name: str, confusion: NDArray[np.int64], index: int) -> ClassScore:
    hits = int(confusion[index, index])
    images, predictions = int(confusion[index].sum()), int(confusion[:, index].sum())
    precision = hits / predictions if predictions else None
    recall = hits / images if images else None
    f1 = 2 * hits / (images + predictions) if images + predictions else None
    return ClassScore(name, images, precision, recall, f1)
