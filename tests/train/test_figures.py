"""The pictures of a run's results."""

import io

import numpy as np
import pytest
from PIL import Image

from mnasnet.train.evaluate import evaluate
from mnasnet.train.figures import confusion_matrix, curves, mistakes


@pytest.mark.parametrize(("classes", "label"), [(60, "True"), (61, "True: number of the class, the first is 0")])
def test_axes_that_show_numbers_say_of_what(classes: int, label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.arange(classes)
    found = evaluate(np.eye(classes, dtype=np.float32), labels, [f"class {number}" for number in labels])
    monkeypatch.setattr("mnasnet.train.figures.png", lambda figure: figure)

    assert confusion_matrix(found, normalised=True).axes[0].get_ylabel() == label


def test_a_confusion_matrix_says_of_which_images_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    found = evaluate(np.eye(2, dtype=np.float32), np.arange(2), ["a", "b"])
    monkeypatch.setattr("mnasnet.train.figures.png", lambda figure: figure)

    title = confusion_matrix(found, normalised=True, split="validation").get_suptitle()

    assert title.startswith("100.0% of 2 validation images right")


@pytest.mark.parametrize("most", [1, 2, 3, 7, 40])
def test_the_bar_beside_a_confusion_matrix_counts_in_whole_images(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.array([0] * most + [1])
    found = evaluate(np.eye(2, dtype=np.float32)[labels], labels, ["a", "b"])
    monkeypatch.setattr("mnasnet.train.figures.png", lambda figure: figure)

    bar = confusion_matrix(found, normalised=False).axes[1]

    within = [tick for tick in bar.get_yticks() if 0 <= tick <= most]
    assert len(within) >= 2 and all(tick == round(tick) for tick in within)


LONG = ("many " + "x" * 195, "more $ " + "y" * 190, "词" * 80)


def test_long_names_of_classes_leave_the_whole_title_of_a_confusion_matrix() -> None:
    found = evaluate(np.eye(3, dtype=np.float32), np.arange(3), LONG)

    picture = np.asarray(Image.open(io.BytesIO(confusion_matrix(found, normalised=False, split="validation"))))

    assert (picture[:25, -2:, :3] == 255).all()  # beside the title


def test_long_names_of_classes_stay_below_their_own_mistakes() -> None:
    names = [LONG[place % 3] for place in range(6)]

    board = mistakes([np.zeros((32, 32, 3), np.uint8)] * 6, names, names, [0.9] * 6)

    picture = np.asarray(Image.open(io.BytesIO(board)))
    between = [place * picture.shape[1] // 6 for place in range(1, 6)]
    assert (picture[30:, between, :3] == 255).all()


def height_of(images: int) -> int:
    picture = mistakes([np.zeros((32, 32, 3), np.uint8)] * images, ["a"] * images, ["b"] * images, [0.9] * images)
    return Image.open(io.BytesIO(picture)).height


def test_without_mistakes_their_board_is_one_line() -> None:
    assert 0 < height_of(0) < 100 < height_of(1) < height_of(7)


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_the_curves_of_few_epochs_are_over_whole_epochs(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "learning_rate")
    history = [{"epoch": epoch, **dict.fromkeys(numbers, 0.5)} for epoch in range(1, epochs + 1)]
    monkeypatch.setattr("mnasnet.train.figures.png", lambda figure: figure)

    figure = curves(history, best_epoch=1)

    for axes in figure.axes:
        left, right = axes.get_xlim()
        assert [tick for tick in axes.get_xticks() if left <= tick <= right] == list(range(1, epochs + 1))
