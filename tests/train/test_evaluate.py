"""Accuracy, interval, per-class figures and calibration against independent references."""

from __future__ import annotations

import numpy as np
import pytest

from mnasnet.train.evaluate import evaluate, true_class_probabilities, wilson_interval

NAMES = ("cat", "dog", "ship")


def scores(count: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    logits = rng.normal(size=(count, 3)) + 1.5 * np.eye(3)[labels]
    return logits.astype(np.float32), labels


def test_per_class_figures_agree_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    logits, labels = scores()

    result = evaluate(logits, labels, NAMES)
    precision, recall, f1, images = metrics.precision_recall_fscore_support(labels, logits.argmax(1))

    assert [score.precision for score in result.classes] == pytest.approx(precision)
    assert [score.recall for score in result.classes] == pytest.approx(recall)
    assert [score.f1 for score in result.classes] == pytest.approx(f1)
    assert result.macro_f1 == pytest.approx(f1.mean())
    assert [score.images for score in result.classes] == images.tolist()
    assert result.confusion.tolist() == metrics.confusion_matrix(labels, logits.argmax(1)).tolist()
    assert result.loss == pytest.approx(metrics.log_loss(labels, np.exp(logits) / np.exp(logits).sum(1)[:, None]))


def test_a_class_without_images_has_no_recall_and_does_not_count_as_the_worst() -> None:
    logits, labels = scores()
    kept = labels != 2

    result = evaluate(logits[kept], labels[kept], NAMES)

    assert result.classes[2].recall is None
    assert result.worst_recall > 0
    assert result.macro_f1 == pytest.approx((result.classes[0].f1 + result.classes[1].f1) / 2)


@pytest.mark.parametrize(("right", "count"), [(8, 10), (0, 10), (10, 10), (90, 100), (4999, 5000)])
def test_the_interval_is_wilsons(right: int, count: int) -> None:
    stats = pytest.importorskip("scipy.stats")

    expected = stats.binomtest(right, count).proportion_ci(method="wilson")

    assert wilson_interval(right, count) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_top_five_accuracy_is_at_least_top_one() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(300, 10)).astype(np.float32), rng.integers(0, 10, 300)

    result = evaluate(logits, labels, [str(index) for index in range(10)])

    assert result.accuracy < 0.2 < 0.4 < result.top5_accuracy < 0.6


def test_a_classifier_that_cannot_tell_classes_apart_is_right_by_chance_alone() -> None:
    """Equal scores for a hundred classes: the first counts as the answer, the first five as the five best."""
    labels = np.arange(100)

    result = evaluate(np.zeros((100, 100), np.float32), labels, [str(index) for index in labels])

    assert (result.accuracy, result.top5_accuracy) == (0.01, 0.05)


def test_a_summary_has_each_figure_under_its_own_name() -> None:
    rng = np.random.default_rng(0)
    names = [f"class {number}" for number in range(8)]
    result = evaluate(rng.normal(size=(40, 8)).astype(np.float32), rng.integers(0, 8, 40), names)

    figures = {**result.summary()}
    low, high = figures.pop("accuracy_low"), figures.pop("accuracy_high")
    assert (low, high) == pytest.approx(result.interval, abs=1e-6)
    assert figures == {name: pytest.approx(getattr(result, name), abs=1e-6) for name in figures}
    assert len({*figures.values(), low, high}) == 9


def test_scores_too_large_for_exp_are_no_trouble() -> None:
    result = evaluate(np.array([[1e4, -1e4, 0]], np.float32), np.array([0]), NAMES)

    assert (result.accuracy, result.loss) == (1.0, 0.0)


def test_a_sure_and_right_classifier_is_calibrated() -> None:
    labels = np.arange(30) % 3
    sure = evaluate((50 * np.eye(3)[labels]).astype(np.float32), labels, NAMES)
    boastful = evaluate((50 * np.eye(3)[(labels + 1) % 3]).astype(np.float32), labels, NAMES)

    assert sure.calibration_error == pytest.approx(0, abs=1e-6)
    assert [one.high for one in sure.calibration] == [1.0]
    assert boastful.calibration_error == pytest.approx(1, abs=1e-6)


def test_calibration_tells_what_is_right_of_the_answers_of_each_confidence() -> None:
    """Eight answers of 0.6 of which half are right, two of 0.98 that are right."""
    sure, unsure = np.log([0.98, 0.01, 0.01]), np.log([0.6, 0.3, 0.1])
    logits = np.array([sure] * 2 + [unsure] * 8, np.float32)

    result = evaluate(logits, np.array([0] * 6 + [1] * 4), NAMES)

    assert [(one.images, one.right) for one in result.calibration] == [(8, 0.5), (2, 1.0)]
    assert [one.confidence for one in result.calibration] == pytest.approx([0.6, 0.98])
    assert all(one.low <= one.confidence <= one.high for one in result.calibration)
    assert result.calibration_error == pytest.approx(0.8 * 0.1 + 0.2 * 0.02)


def test_what_a_threshold_of_a_half_would_call_unknown_is_counted_apart_for_right_and_wrong_answers() -> None:
    sure, unsure = np.log([0.6, 0.3, 0.1]), np.log([0.4, 0.3, 0.3])
    logits = np.array([sure, sure, sure, unsure, unsure], np.float32)

    unknown = evaluate(logits, np.array([0, 0, 0, 0, 1]), NAMES).unsure

    assert (unknown.right, unknown.wrong) == (0.25, 1.0)
    assert evaluate(logits, np.zeros(5, np.int64), NAMES).unsure.wrong is None
    at_a_half = np.array([[0, 0, -200]], np.float32)
    assert evaluate(at_a_half, np.array([0]), NAMES).unsure.right == 0  # as Prediction.or_unknown has it


def test_what_is_taken_for_another_class_most_often_comes_first_and_once_is_no_habit() -> None:
    labels, predicted = np.array([0, 0, 1, 2, 2, 2, 0]), np.array([1, 1, 0, 1, 1, 1, 0])

    result = evaluate(np.eye(3, dtype=np.float32)[predicted], labels, NAMES)

    assert result.taken_for(9) == [("ship", "dog", 3), ("cat", "dog", 2)]
    assert result.taken_for(1) == [("ship", "dog", 3)]


def test_the_surest_mistakes_come_first() -> None:
    logits = np.array([[5, 0, 0], [9, 0, 0], [0, 5, 0], [1, 0, 0]], np.float32)
    labels = np.array([1, 1, 1, 2])

    assert [one.image for one in evaluate(logits, labels, NAMES, "abcd").mistakes] == ["b", "a", "d"]


def test_every_mistake_is_told_by_its_image() -> None:
    logits = np.log(np.array([[0.8, 0.1, 0.1], [0.9, 0.05, 0.05], [0.1, 0.8, 0.1]], np.float32))
    labels = np.array([1, 2, 1])

    result = evaluate(logits, labels, NAMES, ["dog/a.jpg", "ship/b.jpg", "dog/c.jpg"])

    assert [(one.image, one.true, one.predicted) for one in result.mistakes] == [
        ("ship/b.jpg", "ship", "cat"),
        ("dog/a.jpg", "dog", "cat"),
    ]
    assert [one.confidence for one in result.mistakes] == pytest.approx([0.9, 0.8])


def test_true_class_probabilities_are_the_softmax_at_the_labels() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]], np.float32))

    assert true_class_probabilities(logits, np.array([0, 2])) == pytest.approx([0.7, 0.1])
