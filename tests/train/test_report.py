"""The page of a training, for few classes and for many."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mnasnet.testing import random_model
from mnasnet.train.evaluate import Evaluation, evaluate
from mnasnet.train.report import Story, model_card, per_class_csv, report_html


def judged(classes: int) -> Evaluation:
    """Two images of each class, all of the last one taken for the first."""
    labels = np.repeat(np.arange(classes), 2)
    answers = np.where(labels == classes - 1, 0, labels)
    return evaluate(np.eye(classes, dtype=np.float32)[answers], labels, [f"kind {number}" for number in range(classes)])


def story_of(**evaluations: Evaluation) -> Story:
    return Story(
        title="run",
        model=random_model(class_names=evaluations["validation"].class_names),
        status="all epochs done",
        history=[],
        best_epoch=0,
        evaluations=evaluations,
        images={"train": 9},
        asked={},
        recipe={},
        started_from="fresh weights",
        seconds=1.0,
        machine="here",
        made_on="2026-01-01",
    )


def page_of(evaluation: Evaluation) -> str:
    return report_html(story_of(validation=evaluation))


@pytest.mark.parametrize("classes", [3, 61])
def test_the_classes_that_are_taken_for_each_other_most_often_are_named(classes: int) -> None:
    page = page_of(judged(classes))

    pairs = re.findall(r'<tr><td>(kind \d+)</td><td class="left">(kind \d+)</td><td>(\d+)</td></tr>', page)
    assert pairs == [(f"kind {classes - 1}", "kind 0", "2")]


def test_classes_have_numbers_where_the_axes_of_their_matrix_show_them() -> None:
    assert "<tr><td>kind 60</td><td>60</td><td>2</td>" in page_of(judged(61))
    assert "<tr><td>kind 59</td><td>2</td>" in page_of(judged(60))


def test_every_figure_says_whether_it_is_of_validation_or_of_test_images() -> None:
    labels = np.array([0, 0, 1, 1])
    all_right = evaluate(np.eye(2, dtype=np.float32)[labels], labels, ["kind 0", "kind 1"])
    story = story_of(validation=all_right, test=judged(2))

    page, card = report_html(story), model_card(story)

    figures = re.findall(
        r"<b>([\d.%]+)</b>macro F1, (\w+)<br>\s*<span class=\"soft\">worst recall of a class ([\d.]+%)", page
    )
    assert figures == [("1.000", "validation", "100.0%"), ("0.333", "test", "0.0%")]
    assert [f"| class | {split} images |" in card for split in ("validation", "test")] == [True, True]
    assert [row.split(",")[:3] for row in per_class_csv(story.evaluations).decode().splitlines()] == [
        ["split", "class", "images"],
        ["validation", "kind 0", "2"],
        ["validation", "kind 1", "2"],
        ["test", "kind 0", "2"],
        ["test", "kind 1", "2"],
    ]
