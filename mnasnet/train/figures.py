"""The pictures of a run: curves, confusion matrices, the surest mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnasnet.data.report import shortened
from mnasnet.plots import BLUE, GREY, ORANGE, RED, new_figure, percent_ticks, png
from mnasnet.train.best import Kept
from mnasnet.train.evaluate import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES_NAMED = 60  # beyond that names on an axis cannot be read
MOST_NUMBERS = 30  # beyond that numbers in cells cannot be read


def curves(history: Sequence[Mapping[str, Any]], best_epoch: int, kept: Kept = "best") -> bytes:
    """Loss, accuracy and learning rate over the epochs, the one that is kept marked, as PNG."""
    figure = new_figure(12, 3.6)
    loss, accuracy, rate = figure.subplots(1, 3)
    epochs = [row["epoch"] for row in history]
    marker = {"marker": "o", "markersize": 3.5} if len(epochs) <= 40 else {}
    best = next(row for row in history if row["epoch"] == best_epoch)
    _lines(loss, epochs, history, "loss", marker)
    loss.set_title("Loss")
    _lines(accuracy, epochs, history, "accuracy", marker)
    accuracy.set_title(f"Accuracy, {kept}: {best['val_accuracy']:.1%} in epoch {best['epoch']}")
    accuracy.yaxis.set_major_formatter(percent_ticks())
    accuracy.plot(best["epoch"], best["val_accuracy"], "o", color=BLUE, markersize=10, fillstyle="none")
    rate.plot(epochs, [row["learning_rate"] for row in history], color=GREY, **marker)
    rate.set_title("Learning rate")
    rate.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
    for axes in (loss, accuracy, rate):
        axes.set_xlabel("Epoch")
        axes.grid(alpha=0.25)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.spines[["top", "right"]].set_visible(False)
    loss.legend(frameon=False)
    return png(figure)


def _lines(axes: Axes, epochs: list[int], history: Sequence[Mapping[str, Any]], what: str, marker: Any) -> None:
    axes.plot(epochs, [row[f"train_{what}"] for row in history], color=ORANGE, label="training", **marker)
    axes.plot(epochs, [row[f"val_{what}"] for row in history], color=BLUE, label="validation", **marker)


def confusion_matrix(evaluation: Evaluation, *, normalised: bool, split: str = "") -> bytes:
    """True classes down, predicted classes across, as PNG; normalised rows add up to 100 %.

    ``split`` says which images they are of.
    """
    counts = evaluation.confusion
    classes = len(counts)
    shown: NDArray[Any] = counts / np.maximum(1, counts.sum(1, keepdims=True)) if normalised else counts
    side = min(22.0, max(5.0, 2.5 + 0.42 * classes))
    figure = new_figure(side + 1.2, side)
    axes = figure.subplots()
    image = axes.imshow(shown, cmap="Blues", vmin=0, vmax=1 if normalised else max(1, counts.max()))
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.outline.set_visible(False)
    if normalised:
        bar.ax.yaxis.set_major_formatter(percent_ticks())
    else:
        bar.ax.yaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    if classes <= MOST_CLASSES_NAMED:
        names = [_short(name) for name in evaluation.class_names]
        upright = max(map(len, names)) <= 3 and classes <= 20
        slanted: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(range(classes), names, **({} if upright else slanted))
        axes.set_yticks(range(classes), names)
    if classes <= MOST_NUMBERS:
        _write_cells(axes, shown, counts, normalised)
    are_named = classes <= MOST_CLASSES_NAMED
    means, size = ("", 10) if are_named else (": number of the class, the first is 0", 20)  # to be read in a page
    axes.set_xlabel(f"Predicted{means}", fontsize=size)
    axes.set_ylabel(f"True{means}", fontsize=size)
    figure.suptitle(evaluation.sentence(split), fontsize=size)  # over the axes, narrow beside long names, it is cut off
    axes.tick_params(length=0, labelsize=size)
    bar.ax.tick_params(labelsize=size)
    axes.spines[:].set_visible(False)
    return png(figure)


def _write_cells(axes: Axes, shown: NDArray[Any], counts: NDArray[np.int64], normalised: bool) -> None:
    dark = shown.max() / 2 if not normalised else 0.5
    for row, column in zip(*np.nonzero(counts), strict=True):
        value = shown[row, column]
        axes.text(
            column,
            row,
            f"{value:.0%}" if normalised else f"{value}",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if value > dark else "black",
        )


def mistakes(
    images: Sequence[NDArray[np.uint8]], true: Sequence[str], predicted: Sequence[str], confidence: Sequence[float]
) -> bytes:
    """A board of wrongly classified images, the surest mistakes first, as PNG."""
    columns = min(6, max(1, len(images)))
    rows = -(-len(images) // columns)
    figure = new_figure(2.0 * max(columns, 3), 2.75 * rows + 0.5)
    figure.suptitle("The surest mistakes: suspect a wrong label or a hard image" if images else "No mistakes")
    for index in range(rows * columns):
        axes = figure.add_subplot(rows, columns, index + 1)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        if index < len(images):
            axes.imshow(images[index])
            axes.set_title(f"{index + 1}. is {_short(true[index])}", fontsize=10)
            axes.set_xlabel(
                f"taken for {_short(predicted[index], 14)}\n{confidence[index]:.0%} sure", color=RED, fontsize=9
            )
    return png(figure)


def _short(name: str, most: int = 18) -> str:
    return shortened(name, most).replace("$", r"\$")  # matplotlib would take it for a formula
