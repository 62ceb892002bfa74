"""Which images of a folder a model has not learned from: the division that its training made of them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mnasnet.data.folder import Dataset, Sample
from mnasnet.data.split import (
    SPLIT_FILE,
    Split,
    carried,
    grown,
    new_places,
    read_split,
    size_of,
    split,
    written_sizes,
    written_split,
)
from mnasnet.errors import DataError
from mnasnet.export.exported import ExportedModel
from mnasnet.modelfile import ModelFile
from mnasnet.words import amount

_log = logging.getLogger(__name__)

SKETCHED = 64  # training images that a model file remembers


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
    for path in _split_files(file):
        try:
            found = read_split(path, dataset)
        except DataError:  # of other images
            continue
        if found.fingerprint == fingerprint:
            return found
    try:
        again = split(
            dataset,
            val_fraction=float(training.get("val_fraction", 0.2)),
            seed=int(training.get("seed", 0)),
            grouping=training.get("grouping", "images"),
        )
    except (DataError, TypeError, ValueError, OverflowError):  # a header can hold anything
        return None
    return again if again.fingerprint == fingerprint else None


def grown_division_of(model: ModelFile | ExportedModel, dataset: Dataset, file: Path) -> Split | None:
    """As :func:`division_of`, to train further: what came since to a flat ``dataset`` is divided too, not left out.

    Images that were moved, or whose folder was renamed, stay on their side. None where the dataset's own
    folders say what validates.
    """
    training = training_of(model)
    present = {sample.path for sample in dataset.samples}
    for path in _split_files(file) if training.get("images_fingerprint") else ():
        try:
            written = written_split(path)
        except DataError:
            continue
        if written.fingerprint != training["images_fingerprint"]:
            continue
        if written.made_by == "folders" and dataset.val:
            return None
        now = carried(written, written_sizes(path), dataset)
        has_its_name = training.get("data") == dataset.folder.absolute().name
        has_all = present.issuperset(sample.path for sample in (*now.train, *now.val))
        if not dataset.val and (has_its_name or has_all):
            parts = grown(now, dataset)
            _warn_of_lost(sum(one.path not in present for one in now.train), {*parts.val} - {*now.val}, dataset)
            return parts
    return division_of(model, dataset, file if dataset.val else None)


def sketch_of(folder: Path, samples: Iterable[Sample]) -> dict[str, str]:
    """A few of the images in ``folder``, by which they are known again elsewhere: those of the smallest hashes.

    The hash of each one's file name and size -> that of its content.
    """
    looks = sorted((_look(folder / one.path), one.path) for one in samples)[:SKETCHED]
    sketch = {}
    for look, path in looks:
        with suppress(OSError):
            sketch[look] = _digest((folder / path).read_bytes())
    return sketch


def may_know(model: ModelFile | ExportedModel, dataset: Dataset, file: Path | None) -> bool | None:
    """Whether ``model`` has learned from images of ``dataset``, also where some came or went since.

    Images are the same where the file's name and size are; where no run folder lies beside ``file``, those that it
    remembers are looked for. None where no more than half are there, or only the dataset's name says so.
    """
    training = training_of(model)
    for path in _split_files(file) if training.get("images_fingerprint") else ():
        try:
            is_its_own = written_split(path).fingerprint == training["images_fingerprint"]
        except DataError:
            continue
        if is_its_own and (seen := written_sizes(path)):
            moved = new_places(seen, dataset)
            same = sum(name in moved or size_of(dataset.folder / name) == size for name, size in seen.items())
            return True if 2 * same > len(seen) else None if same else False
    if division_of(model, dataset, file) is not None:
        return True
    sketch = training.get("images_sketch")
    remembered = sketch if isinstance(sketch, Mapping) else {}
    same = _found_again(remembered, dataset)
    if 2 * same > len(remembered):
        return True
    return None if same or training.get("data") == dataset.folder.absolute().name else False


def _found_again(sketch: Mapping[str, Any], dataset: Dataset) -> int:
    """How many images of ``sketch``, see :func:`sketch_of`, are in ``dataset``."""
    found = set()
    for sample in dataset.samples if sketch else ():
        path = dataset.folder / sample.path
        if (look := _look(path)) in sketch and look not in found:
            with suppress(OSError):
                if _digest(path.read_bytes()) == sketch[look]:
                    found.add(look)
    return len(found)


def _look(path: Path) -> str:
    return _digest(f"{path.name}/{size_of(path)}".encode(errors="surrogatepass"))


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def warn_where_unknown(model: ModelFile | ExportedModel, dataset: Dataset, file: Path | None) -> None:
    """Log that ``model`` may know images of ``dataset``, whose division could not be found."""
    if may_know(model, dataset, file) is not False:
        _log.warning(
            "%s has no val images, and which of them this model was trained on cannot be told: of those it was, the "
            "accuracy says nothing",
            dataset.folder,
        )


def _warn_of_lost(lost: int, new: Collection[Sample], dataset: Dataset) -> None:
    """Log that ``new`` validation images may be some of the ``lost`` ones that a model has learned from."""
    if lost and new:
        _log.warning(
            "%s that this model has learned from cannot be found in %s; where they lie there under other names they "
            "may be among %s that validate: for those it knows, the accuracy says nothing",
            amount(lost, "image"), dataset.folder, amount(len(new), "new image"),
        )  # fmt: skip


def _split_files(file: Path | None) -> list[Path]:
    """Where the run of a model file may have kept its division."""
    folders = [] if file is None else [file.absolute().parent, file.absolute().parent.parent]
    return [folder / SPLIT_FILE for folder in folders if (folder / SPLIT_FILE).is_file()]
