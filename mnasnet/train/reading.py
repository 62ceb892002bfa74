"""The images of a run: looked at once, read, and kept decoded as far as memory allows."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mnasnet.data.cache import DecodedImages
from mnasnet.data.check import examine
from mnasnet.data.folder import Dataset, Sample
from mnasnet.data.images import ImageFileError
from mnasnet.data.report import as_text, write_report
from mnasnet.data.split import Split
from mnasnet.data.unreadable import listed
from mnasnet.errors import DataError, TrainingError
from mnasnet.files import quoted
from mnasnet.preprocess import Preprocess
from mnasnet.progress import Counted, Stop
from mnasnet.train.batches import DecodedSquares
from mnasnet.train.plan import Training, TrainingPlan
from mnasnet.train.run_folder import RunFolder, cannot_write
from mnasnet.train.stopping import Stopped, done_by_writer, leaving_together
from mnasnet.train.team import Team

_log = logging.getLogger(__name__)


def read_images(
    training: Training, plan: TrainingPlan, dataset: Dataset, parts: Split, run: RunFolder, team: Team, stop: Stop
) -> tuple[DecodedSquares, DecodedSquares, DecodedImages]:
    """Training and validation images, decoded as far as memory allows, without those that cannot be read; test images.

    The first time every image is looked at, and what would spoil the training is said and written down. Training and
    test images of a run that goes on are decoded when they are needed: it may be over. Raises Stopped.
    """
    budget = training.cache_mb * 1_000_000
    square = replace(plan.preprocess, input_size=plan.stored_px, resize=plan.stored_px)
    if plan.recipe.augment == "none":  # nothing is cut from them later: they are what inference sees
        square = plan.preprocess
    wanted = 3 * square.input_size**2 * len(parts.train)
    val = decoded(dataset.folder, parts.val, plan.preprocess, max(budget // 4, budget - wanted), plan.threads)
    train = decoded(dataset.folder, parts.train, square, budget - val.memory_bytes, plan.threads)
    rest = budget - val.memory_bytes - train.memory_bytes
    test = decoded(dataset.folder, parts.test, plan.preprocess, rest, plan.threads)

    def examined(leave: Stop) -> None:
        if _listed_in(run.dataset_report) is not None:
            return
        _log.info("looking at %d images", len(parts.train) + len(parts.val) + len(parts.test))
        found = examine(
            dataset,
            parts,
            max_bad=training.max_bad,
            decoded={"train": train, "val": val, "test": test},
            threads=plan.threads,
            progress=_leaving(leave),
        )
        _log.info("%s", as_text(found))
        found.require_usable()  # before it is written: whoever mends the images of a run has them looked at again
        try:
            write_report(found, run.path)
        except OSError as error:
            raise cannot_write(run.path, error) from error

    done_by_writer(team, examined, stop)
    unreadable = unreadable_paths(run, team)
    with leaving_together(team):
        val.fill(_leaving(stop), max_bad=1.0)
    known = {str(dataset.folder / path) for path in unreadable}
    for one in val.unreadable:
        if one.path not in known:  # it could be read when the run began, which is not to be judged on others now
            raise _image_lost(run, f"{one.path}: {one.reason}")
    for cache, what in ((val, "validation"), (train, "training")):
        _log.info("%s: %s", what, cache.description)
        if cache.unreadable:
            many = len(cache.unreadable) > 1
            text = f"{len(cache.unreadable)} unreadable {what} image{'s are' if many else ' is'} left out"
            _log.warning("%s: %s", text, listed(cache.unreadable))
    train_squares = squares(train, parts, parts.train, unreadable, stop)
    val_squares = squares(val, parts, parts.val, unreadable, stop)
    if not len(val_squares.labels):
        raise DataError(f"no validation image can be read: {listed(val.unreadable)}; replace them")
    missing = sorted(set(range(len(plan.class_names))) - set(train_squares.labels.tolist()))
    if missing:
        raise DataError(f"class {plan.class_names[missing[0]]!r} has no readable training image; add or replace images")
    return train_squares, val_squares, test


def _leaving(leave: Stop) -> Counted:
    """Progress that raises Stopped once ``leave`` says so."""

    def progress(done: int, total: int) -> None:
        if leave():
            raise Stopped

    return progress


@contextlib.contextmanager
def lost_images_told(run: RunFolder) -> Iterator[None]:
    """Say how the run goes on where an image cannot be read any more that could when it began."""
    try:
        yield
    except ImageFileError as error:
        raise _image_lost(run, str(error)) from error


def _image_lost(run: RunFolder, what: str) -> DataError:
    best = f"; its best model so far is {run.best}" if run.best.exists() else ""
    return DataError(
        f"{what}; the run is kept: bring the image back, then `python -m mnasnet resume {quoted(run.path)}` goes "
        f"on{best}"
    )


def readable(parts: Split, unreadable: frozenset[str]) -> dict[str, int]:
    """How many images of each part can be read."""
    counts = {name: sum(sample.path not in unreadable for sample in samples) for name, samples in parts.parts.items()}
    return {name: count for name, count in counts.items() if count}


def decoded(
    folder: Path, samples: Sequence[Sample], preprocess: Preprocess, budget_bytes: int, threads: int
) -> DecodedImages:
    """Where images prepared by ``preprocess`` are kept once they are read."""
    paths = [folder / sample.path for sample in samples]
    return DecodedImages(paths, preprocess, budget_bytes, threads=threads)


def unreadable_paths(run: RunFolder, team: Team) -> frozenset[str]:
    """The paths that could not be read when the run began; a resumed run leaves out the same."""
    data = team.share_bytes(_listed_in(run.dataset_report) if team.writes else None)
    if data is None:
        raise TrainingError(
            f"{run.dataset_report} is damaged, which says what images could not be read; remove it, then resume"
        )
    return frozenset(json.loads(data))


def _listed_in(report: Path) -> bytes | None:
    """The paths of unreadable images as JSON; None where the report of them is missing or damaged."""
    try:
        groups = json.loads(report.read_bytes())["unreadable"].values()
        return json.dumps([file["path"] for group in groups for file in group]).encode()
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def squares(
    cache: DecodedImages,
    parts: Split,
    samples: Sequence[Sample],
    unreadable: frozenset[str],
    stop: Stop = lambda: False,
) -> DecodedSquares:
    """The images and their labels, without ``unreadable`` ones."""
    numbers = np.array([number for number in cache.readable if samples[number].path not in unreadable], dtype=np.int64)
    return DecodedSquares(cache, numbers, np.asarray(parts.labels(samples), dtype=np.int64)[numbers], stop)
