"""Judge any model on a folder of labelled images, with the pixels and the engine that inference uses."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mnasnet.classify import at_size
from mnasnet.data.cache import DecodedImages
from mnasnet.data.folder import Dataset, Sample, require_outside, scan_to_judge
from mnasnet.data.threads import in_threads
from mnasnet.data.unreadable import listed
from mnasnet.errors import DataError, SettingsError, WeightsError
from mnasnet.export.exported import ExportedModel
from mnasnet.files import write_atomic
from mnasnet.modelfile import ModelFile
from mnasnet.runtime.passes import in_passes
from mnasnet.runtime.session import open_session
from mnasnet.train import figures, report
from mnasnet.train.evaluate import Evaluation, evaluate
from mnasnet.train.held_out import division_of, grown_division_of, warn_where_unknown
from mnasnet.zoo import class_numbers, model_path, open_runnable

_log = logging.getLogger(__name__)

SplitChoice = Literal["train", "val", "test"]
SPLITS: tuple[SplitChoice, ...] = ("train", "val", "test")
_IN_WORDS: dict[SplitChoice, str] = {"train": "training", "val": "validation", "test": "test"}
BATCH = 64


def validate(
    source: str | Path,
    data: Path,
    *,
    split: SplitChoice | None = None,
    class_file: str | Path | None = None,
    input_size: int | None = None,
    threads: int | None = None,
    out: Path | None = None,
) -> Evaluation:
    """Evaluate the model that ``source`` names on ``data``; ``split`` defaults to val, else test, else all.

    Of a flat folder that the model was trained on, val are the images that its training kept aside.
    Classes are matched by name, never by number; ImageNet's also by their WordNet ids. With ``out`` the table, the
    mistakes and the confusion matrices are written there. Raises DataError when the folder holds a class the model
    does not know, WeightsError when its scores are no numbers, SettingsError when it takes no RGB images.
    """
    if out is not None:
        require_outside(out, data, setting="out")
    model = at_size(open_runnable(source, class_file=class_file), input_size)
    if model.in_channels != 3:
        raise SettingsError(f"images have 3 channels, {source} takes {model.in_channels}; choose another model")
    dataset = scan_to_judge(data, {*model.class_names, *class_numbers(model.class_names)})
    for note in dataset.notes:
        _log.info("%s", note)
    divided = _divided(model, dataset, model_path(source))
    chosen = _chosen(divided, split)
    evaluation = evaluate_samples(model, dataset, divided.splits[chosen], threads=threads)
    if out is not None:
        is_all = not divided.val and not divided.split_folders
        name = "" if is_all else _IN_WORDS[chosen]
        write_atomic(out / "per_class.csv", report.per_class_csv({name: evaluation}))
        write_atomic(out / "mistakes.csv", report.mistakes_csv(evaluation.mistakes))
        for file, normalised in (("confusion_matrix", False), ("confusion_matrix_normalized", True)):
            write_atomic(out / f"{file}.png", figures.confusion_matrix(evaluation, normalised=normalised, split=name))
    return evaluation


def _divided(model: ModelFile | ExportedModel, dataset: Dataset, file: Path) -> Dataset:
    """A flat ``dataset`` as the model's training divided it; others as they are."""
    if dataset.val:
        return dataset
    parts = division_of(model, dataset, file) or grown_division_of(model, dataset, file)
    if parts is not None:
        rest = f"{len(parts.val)} are val" + (f", {len(parts.test)} test" if parts.test else "")
        _log.info("training has learned from %d of these %d images; %s", len(parts.train), len(dataset.train), rest)
        return replace(dataset, train=parts.train, val=parts.val, test=parts.test)
    warn_where_unknown(model, dataset, file)
    return dataset


def _chosen(dataset: Dataset, split: SplitChoice | None) -> SplitChoice:
    if split is None:
        if dataset.val:
            return "val"
        chosen: SplitChoice = "test" if dataset.split_folders and dataset.test else "train"
        if dataset.split_folders:
            _log.info("%s has no val images: those of %s are judged", dataset.folder, chosen)
        return chosen
    if not dataset.splits[split]:
        have = [name for name, samples in dataset.splits.items() if samples]
        raise DataError(f"{dataset.folder} has no {split} images, only {', '.join(have)}; choose one of these")
    return split


def evaluate_samples(
    model: ModelFile | ExportedModel, dataset: Dataset, samples: tuple[Sample, ...], *, threads: int | None = None
) -> Evaluation:
    """Evaluate on these images of ``dataset``; unreadable ones are left out and named in the log.

    Raises DataError where none can be judged, WeightsError for scores that are no numbers.
    """
    numbers = class_numbers(model.class_names)
    unknown = sorted({sample.class_name for sample in samples} - set(numbers))
    for name in sorted({*unknown} & {*model.class_names}):
        folders = " and ".join(folder for folder, number in numbers.items() if model.class_names[number] == name)
        raise DataError(
            f"the model has several classes called {name!r}; give the folder the WordNet id of the one that it shows, "
            f"of {folders}"
        )
    if unknown:
        raise DataError(
            f"the model does not know {len(unknown)} of the folder's classes ({_cut(unknown, 5)}); it knows "
            f"{_cut(model.class_names, 8)}; rename the folders, or judge a folder without these"
        )
    cache = DecodedImages([dataset.folder / sample.path for sample in samples], model.preprocess, 0)
    session = in_passes(open_session(model, threads=threads), model.preprocess.input_size)

    def readable(index: int) -> NDArray[np.uint8] | None:
        try:
            return cache[index]
        except DataError:  # kept with its reason in cache.unreadable
            return None

    rows, labels, names = [], [], []
    for start in range(0, len(samples), BATCH):
        batch = []
        wanted = range(start, min(start + BATCH, len(samples)))
        for index, pixels in zip(wanted, in_threads(readable, wanted, threads), strict=True):
            if pixels is None:
                continue
            batch.append(pixels)
            labels.append(numbers[samples[index].class_name])
            names.append(samples[index].path)
        if batch:
            rows.append(session.run(np.stack(batch)))
    if cache.unreadable:
        is_one = len(cache.unreadable) == 1
        text = "1 unreadable image is" if is_one else f"{len(cache.unreadable)} unreadable images are"
        _log.warning("%s left out: %s", text, listed(cache.unreadable))
    if not rows:
        raise DataError(f"none of the {len(samples)} images can be read; replace them")
    scores = np.concatenate(rows)
    if not np.isfinite(scores).all():
        raise WeightsError(
            f"{model.name or 'the network'} gives scores that are no numbers, so its weights are damaged or its "
            "training diverged; give an earlier file"
        )
    return evaluate(scores, np.array(labels, dtype=np.int64), model.class_names, names)


def _cut(names: Sequence[str], most: int) -> str:
    """The first of ``names``; dots say that there are more."""
    return ", ".join([*names[:most], *(["..."] if len(names) > most else [])])
