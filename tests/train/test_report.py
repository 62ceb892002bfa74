"""The page of a training, for few classes and for many."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mnasnet.testing import random_model
from mnasnet.train.evaluate import Evaluation, evaluate
from mnasnet.train.report import Story, report_html


def judged(classes: int) -> Evaluation:
    """Two images of each class, all of the last one taken for the first."""
    labels = np.repeat(np.arange(classes), 2)
    answers = np.where(labels == classes - 1, 0, labels)
    return evaluate(np.eye(classes, dtype=np.float32)[answers], labels, [f"kind {number}" for number in range(classes)])


def page_of(evaluation: Evaluation) -> str:
    return report_html(
        Story(
            title="run",
            model=random_model(class_names=evaluation.class_names),
            status="all epochs done",
            history=[],
            best_epoch=0,
            evaluations={"validation": evaluation},
            images={"train": 9},
            asked={},
            recipe={},
            started_from="fresh weights",
            seconds=1.0,
            machine="here",
            made_on="2026-01-01",
        )
    )


@pytest.mark.parametrize("classes", [3, 61])
def test_the_classes_that_are_taken_for_each_other_most_often_are_named(classes: int) -> None:
    page = page_of(judged(classes))

    pairs = re.findall(r'<tr><td>(kind \d+)</td><td class="left">(kind \d+)</td><td>(\d+)</td></tr>', page)
    assert pairs == [(f"kind {classes - 1}", "kind 0", "2")]


def test_classes_have_numbers_where_the_axes_of_their_matrix_show_them() -> None:
    assert "<tr><td>kind 60</td><td>60</td><td>2</td>" in page_of(judged(61))
    assert "<tr><td>kind 59</td><td>2</td>" in page_of(judged(60))
