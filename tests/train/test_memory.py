"""When memory does not suffice the work is divided and the step stays the same."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from equal_runs import checkpoint_digest

from mnasnet.errors import TrainingError
from mnasnet.network.build import MnasNet
from mnasnet.preprocess import Preprocess
from mnasnet.testing import TINY
from mnasnet.train.batches import StoredImages
from mnasnet.train.checkpoint import CheckpointStore
from mnasnet.train.own_thread import in_own_thread
from mnasnet.train.recipe import Recipe
from mnasnet.train.trainer import FitResult, fit

LABELS = np.arange(32) % 3
NOISE = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), dtype=np.uint8)
IMAGES = StoredImages(NOISE, LABELS)
FEW = StoredImages(NOISE[:4], LABELS[:4])


class SmallDevice(MnasNet):
    """A network on a device whose memory holds ``room`` training images."""

    room = 10**9

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and len(x) > self.room:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {len(x)} images.")
        return super().forward(x)


def train_on(room: int, recipe: Recipe, images: StoredImages = IMAGES, **chosen: Any) -> FitResult:
    torch.manual_seed(0)
    network = SmallDevice(TINY, 3, dropout=0.0)
    network.room = room
    return fit(network, images, FEW, recipe, Preprocess(32, 32), epochs=3, **chosen)


def parts_told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The numbers of images at a time that the training told of; other threads may log meanwhile."""
    return re.findall(r"(\d+) images at a time", caplog.text)


def test_a_divided_batch_takes_the_very_step_of_the_whole_batch() -> None:
    # only the classifier learns here: batch statistics, which do depend on the division, stay as they are
    recipe = Recipe("r", "sgd", 0.1, 16, dropout=0.0, frozen_epochs=3)

    whole, divided = train_on(10**9, recipe), train_on(5, recipe)

    assert torch.allclose(whole.average.classifier.weight, divided.average.classifier.weight, atol=1e-6)


@pytest.mark.parametrize(("batch_size", "accumulate_steps"), [(2, 1), (10, 5), (3, 2)])
def test_an_odd_number_of_images_leaves_none_alone(batch_size: int, accumulate_steps: int) -> None:
    """Batch normalisation cannot work on one."""
    images = StoredImages(NOISE[:11], LABELS[:11])

    result = train_on(10**9, Recipe("r", "sgd", 0.1, batch_size), images, accumulate_steps=accumulate_steps)

    assert len(result.history) == 3


@pytest.mark.parametrize("threads", [1, 2])
def test_accumulated_batches_take_the_very_step_of_one_large_batch(
    threads: int, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = Recipe("r", "sgd", 0.1, 16, dropout=0.0, frozen_epochs=3)

    whole = train_on(10**9, recipe)
    accumulated = in_own_thread(lambda _: train_on(4, recipe, accumulate_steps=4), threads=threads)

    assert torch.allclose(whole.average.classifier.weight, accumulated.average.classifier.weight, atol=1e-6)
    assert parts_told(caplog) == []  # four images at a time were enough from the start


def test_the_batch_is_halved_until_it_fits_and_the_user_is_told(caplog: pytest.LogCaptureFixture) -> None:
    result = train_on(5, Recipe("r", "sgd", 0.01, 16))

    assert result.status == "done"
    assert parts_told(caplog) == ["8", "4"]
    assert "16 a step as before" in caplog.text


def test_parts_of_a_batch_that_do_not_fit_are_divided_further(caplog: pytest.LogCaptureFixture) -> None:
    recipe = Recipe("r", "sgd", 0.1, 64, dropout=0.0, frozen_epochs=3)
    twice = StoredImages(np.concatenate([NOISE, NOISE]), np.concatenate([LABELS, LABELS]))

    whole = in_own_thread(lambda _: train_on(10**9, recipe, twice), threads=1)
    divided = in_own_thread(lambda _: train_on(10, recipe, twice), threads=2)  # parts of 32 images

    assert parts_told(caplog) == ["32", "16", "8"]
    assert torch.allclose(whole.average.classifier.weight, divided.average.classifier.weight, atol=1e-6)


def test_a_resumed_training_keeps_the_parts_that_memory_had_room_for(tmp_path: Path) -> None:
    recipe, asked = Recipe("r", "sgd", 0.1, 16, dropout=0.5), itertools.count()
    whole, store = CheckpointStore(tmp_path / "whole"), CheckpointStore(tmp_path / "broken")

    train_on(5, recipe, store=whole)
    train_on(5, recipe, store=store, stop=lambda: next(asked) > 1)
    train_on(10**9, recipe, store=store)

    assert checkpoint_digest(store) == checkpoint_digest(whole)


def test_a_device_too_small_for_two_images_is_an_error_with_the_next_step() -> None:
    with pytest.raises(TrainingError, match="smaller batch_size or input_size"):
        train_on(1, Recipe("r", "sgd", 0.01, 16))
