"""Which epoch's weights are kept: the accuracy decides where it can, the validation loss within chance.

A fold of a cross-validation decides nothing: the last epoch's weights are kept, whatever it says of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from mnasnet.data.split import Split

Kept = Literal["best", "last"]


def kept_of(parts: Split) -> Kept:
    """Which epoch's weights a training on ``parts`` keeps: a fold must not choose those that it then judges."""
    return "last" if parts.fold else "best"


def is_better(
    row: Mapping[str, Any], best: Mapping[str, Any] | None, earlier: Iterable[Mapping[str, Any]], images: int
) -> bool:
    """Whether the epoch ``row`` of a history takes the place of ``best``, judged on so many validation ``images``.

    Where the accuracies of both lie within one standard error of the highest so far, the lower loss is better (the
    one-standard-error rule of Breiman et al., "Classification and Regression Trees", 1984, with the loss for the
    simplicity). On 120 images that error is 3 points: the highest accuracy of many epochs is often luck, and the loss,
    which every image moves, tells them apart. On 5,000 images it is half a point. Only the weights of ``best`` are
    kept, so an epoch that lost once never comes back, not even where the rule over all epochs would take it.
    """
    if best is None:
        return True
    highest = max(known["val_accuracy"] for known in (*earlier, best, row))
    floor = highest - math.sqrt(highest * (1 - highest) / max(1, images))
    if best["val_accuracy"] < floor or row["val_accuracy"] < floor:
        return bool(row["val_accuracy"] > best["val_accuracy"])
    return (row["val_loss"], -row["val_accuracy"]) < (best["val_loss"], -best["val_accuracy"])
