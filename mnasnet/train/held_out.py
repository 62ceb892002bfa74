"""Which images of a folder a model has not learned from: the division that its training made of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnasnet.data.folder import Dataset
from mnasnet.data.split import SPLIT_FILE, Split, read_split, split
from mnasnet.errors import DataError
from mnasnet.export.exported import ExportedModel
from mnasnet.modelfile import ModelFile


def training_of(model: ModelFile | ExportedModel) -> Mapping[str, Any]:
    """What the file tells of the model's training; empty where it tells nothing."""
    found = model.header.get("training", {}) if isinstance(model, ExportedModel) else model.training
    return found if isinstance(found, Mapping) else {}


def division_of(model: ModelFile | ExportedModel, dataset: Dataset, file: Path | None = None) -> Split | None:
    """How the training of ``model`` divided ``dataset``: as its run folder says, else by the same seed once more.

    ``file`` is where the model lies. None where it was trained on other images, or nobody can tell.
    """
    training = training_of(model)
    fingerprint = training.get("images_fingerprint")
    if not fingerprint:
        return None
    folders = [] if file is None else [file.absolute().parent, file.absolute().parent.parent]
    for path in (folder / SPLIT_FILE for folder in folders):
        try:
            found = read_split(path, dataset) if path.is_file() else None
        except DataError:  # of other images
            continue
        if found is not None and found.fingerprint == fingerprint:
            return found
    try:
        again = split(
            dataset,
            val_fraction=float(training.get("val_fraction", 0.2)),
            seed=int(training.get("seed", 0)),
            grouping=training.get("grouping", "images"),
        )
    except (DataError, TypeError, ValueError):  # a header can hold anything
        return None
    return again if again.fingerprint == fingerprint else None
