"""What a training and a search hand on through their outputs."""

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
