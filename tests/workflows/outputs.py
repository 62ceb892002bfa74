"""What tasks hand on through their outputs, read for tests."""

from __future__ import annotations

import json


def details_of(task):
    return json.loads(task.get_output(5).to_json())


def table_of(output):
    """Header -> value of each row's label."""
    table = json.loads(output.to_json())
    return {
        header: dict(zip(labels, values, strict=True))
        for header, labels, values in zip(table["headers"], table["valueLabels"], table["values"], strict=True)
    }


def rows_of(task):
    """The rows of the inference task's table output."""
    table = json.loads(task.get_output(3).to_json())
    return list(zip(*table["valueLabels"], *table["values"], strict=True)) if table["values"] else []


def rounded(prediction):
    """The same rows of a prediction."""
    return list(zip(prediction.names, (f"{value:.3f}" for value in prediction.confidences), strict=True))
