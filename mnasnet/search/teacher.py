"""The teacher of a search's longer trainings: it must know the classes and no test image, and its answers take time."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable

import torch

from mnasnet.data.folder import Dataset
from mnasnet.data.split import Split
from mnasnet.errors import SettingsError
from mnasnet.modelfile import ModelFile
from mnasnet.preprocess import Preprocess
from mnasnet.progress import Stop
from mnasnet.search.plan import SearchPlan
from mnasnet.search.searching import Searching
from mnasnet.search.stop import SearchStopped
from mnasnet.train.distillation import require_teacher_of, teacher_from
from mnasnet.train.held_out import division_of, may_know
from mnasnet.train.own_thread import in_own_thread
from mnasnet.train.plan import Training, same_teacher_model
from mnasnet.train.recipe import batch_size_for
from mnasnet.zoo import model_path

_log = logging.getLogger(__name__)

TIMED_BATCHES, TIMED_S = 5, 2.0  # whichever comes first: the minutes of a search are for searching


def require_fair_teacher(searching: Searching, model: ModelFile, dataset: Dataset, parts: Split) -> None:
    """Raise SettingsError unless ``model`` knows all classes and has learned from no test image.

    Where nobody can tell from which it has learned, the log says so.
    """
    require_teacher_of(parts.class_names, model, searching.teacher)
    file = model_path(searching.teacher)
    division = division_of(model, dataset, file)
    learned = {sample.path for sample in division.train} if division else set()
    known = sum(sample.path in learned for sample in parts.test)
    if known:
        raise SettingsError(
            f"a search judges its winner by images that are new to its teacher too, and {searching.teacher} has "
            f"learned from {known} of {len(parts.test)}; train the teacher with --seed {searching.seed} --val-fraction "
            f"{searching.test_fraction:g} --grouping {searching.grouping}, which keeps the search's test images aside"
        )
    if division is None and may_know(model, dataset, file) is not False:
        _log.warning(
            "%s may have learned from the images that judge the winner, and from which cannot be told: the last "
            "accuracy may be flattered",
            searching.teacher,
        )


def require_same_teacher(searching: Searching, plan: SearchPlan) -> None:
    """Raise RunFolderError where another model lies in the teacher's place by now, WeightsError where none does."""
    same_teacher_model(Training(searching.data, teacher=searching.teacher), plan.teacher)


def seconds_per_answer(
    model: ModelFile,
    preprocess: Preprocess,
    *,
    images: int,
    device: str,
    threads: int,
    stop: Stop = lambda: False,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """How long the answer of ``model`` to one image takes in a training on ``images`` so prepared, by noise.

    Raises SearchStopped.
    """
    teacher = teacher_from(model, model.class_names, preprocess, device)
    batch = batch_size_for(images)
    noise = torch.zeros(batch, 3, preprocess.input_size, preprocess.input_size, device=device)

    def timed(stop: Stop) -> list[float]:
        teacher.scores(noise[:1]).sum().item()  # the first time a device has to get ready
        seconds: list[float] = []
        while len(seconds) < TIMED_BATCHES and sum(seconds) < TIMED_S:
            if stop():
                raise SearchStopped
            began = clock()
            teacher.scores(noise).sum().item()
            seconds.append(clock() - began)
        return seconds

    return statistics.median(in_own_thread(timed, stop=stop, threads=threads)) / batch
