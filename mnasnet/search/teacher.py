"""The teacher of a search's longer trainings: it must know the classes and no test image, and its answers take time."""

from __future__ import annotations

import logging
import statistics
import time

import torch

from mnasnet.data.folder import Dataset
from mnasnet.data.split import Split
from mnasnet.errors import SettingsError
from mnasnet.modelfile import ModelFile
from mnasnet.preprocess import Preprocess
from mnasnet.search.plan import SearchPlan
from mnasnet.search.searching import Searching
from mnasnet.train.distillation import require_teacher_of, teacher_from
from mnasnet.train.held_out import division_of, may_know
from mnasnet.train.own_thread import in_own_thread
from mnasnet.train.plan import Training, same_teacher_model
from mnasnet.train.recipe import batch_size_for
from mnasnet.zoo import model_path

_log = logging.getLogger(__name__)

TIMED_BATCHES = 5


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


def seconds_per_answer(model: ModelFile, preprocess: Preprocess, *, images: int, device: str, threads: int) -> float:
    """How long the answer of ``model`` to one image takes in a training on ``images`` so prepared, by noise."""
    teacher = teacher_from(model, model.class_names, preprocess, device)
    batch = batch_size_for(images)
    noise = torch.zeros(batch, 3, preprocess.input_size, preprocess.input_size, device=device)

    def timed() -> float:
        began = time.perf_counter()
        teacher.scores(noise).sum().item()
        return time.perf_counter() - began

    seconds = in_own_thread(lambda stop: [timed() for _ in range(TIMED_BATCHES)], stop=lambda: False, threads=threads)
    return statistics.median(seconds) / batch
