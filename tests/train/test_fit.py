"""What a training computes beside its weights: statistics, terms, limits and figures, in numbers known beforehand."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mnasnet.data.transforms import normalise
from mnasnet.modelfile import Weights, network_of, weights_of
from mnasnet.network.build import MnasNet
from mnasnet.preprocess import Preprocess
from mnasnet.testing import random_model
from mnasnet.train.batches import StoredImages
from mnasnet.train.checkpoint import CheckpointStore
from mnasnet.train.objective import LossTerm, WholeNetwork, predict_logits
from mnasnet.train.recipe import Recipe
from mnasnet.train.run_state import Row
from mnasnet.train.trainer import FitResult, fit

LABELS = np.arange(32) % 3
IMAGES = StoredImages(np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), dtype=np.uint8), LABELS)
SIZE = Preprocess(32, 32)
RECIPE = Recipe("r", "sgd", 0.05, 16, dropout=0.0, augment="none", label_smoothing=0.0)  # two steps an epoch


def fitted(network: MnasNet, recipe: Recipe = RECIPE, **chosen: Any) -> FitResult[MnasNet]:
    return fit(network, IMAGES, IMAGES, recipe, SIZE, **{"epochs": 2, **chosen})


def test_running_statistics_are_at_first_the_plain_mean_over_all_batches() -> None:
    network = network_of(random_model(input_size=32), dropout=0.0)
    with torch.no_grad():
        mean = network.stem.get_submodule("conv")(torch.from_numpy(normalise(IMAGES.pixels, SIZE))).mean((0, 2, 3))

    result = fitted(network, replace(RECIPE, learning_rate=1e-9), epochs=1)

    assert torch.allclose(result.average.stem.get_submodule("bn").running_mean, mean, atol=1e-5)


def test_a_step_goes_no_further_than_the_clipped_gradient() -> None:
    network = network_of(random_model(input_size=32), dropout=0.0)
    before = copy.deepcopy(network)

    fitted(network, replace(RECIPE, learning_rate=1.0, momentum=0.0, clip_norm=1e-4))

    moved = [(a - b).detach().square().sum() for a, b in zip(network.parameters(), before.parameters(), strict=True)]
    assert 0 < float(torch.stack(moved).sum().sqrt()) < 4.1e-4  # four steps of 1e-4, and rounding


def test_the_average_of_weights_is_what_is_judged_and_announced() -> None:
    network, announced = network_of(random_model(input_size=32), dropout=0.0), []

    def announce(weights: Weights, row: Row) -> None:
        announced.append(weights)

    result = fitted(network, replace(RECIPE, ema=0.9), kept="last", on_best=announce)

    logits = torch.from_numpy(predict_logits(result.average, IMAGES, SIZE))
    assert result.history[-1]["val_loss"] == pytest.approx(float(F.cross_entropy(logits, torch.from_numpy(LABELS))))
    assert len(announced) == 2
    for name, value in weights_of(result.average).items():
        assert np.array_equal(announced[-1][name], value)
    assert not torch.equal(network.classifier.weight, result.average.classifier.weight)


def test_each_epoch_counts_its_own_images() -> None:
    moments = itertools.count()

    result = fitted(network_of(random_model(input_size=32)), epochs=3, clock=lambda: float(next(moments)))

    assert len({row["images_per_second"] for row in result.history}) == 1
    assert [row["epoch"] for row in result.history] == [1, 2, 3]


def test_time_that_was_spent_before_a_stop_counts_for_the_limit(tmp_path: Path) -> None:
    store, moments, asked = CheckpointStore(tmp_path), itertools.count(step=10), itertools.count()
    network = network_of(random_model(input_size=32))

    stopped = fitted(network, store=store, clock=lambda: float(next(moments)), stop=lambda: next(asked) == 5)
    resumed = fitted(network, store=store, max_minutes=0.1)

    assert (stopped.status, resumed.status) == ("stopped", "time")


class Halves(WholeNetwork):
    """Twice the loss at half its weight, and a term that teaches nothing and is right about nothing."""

    def terms(
        self, forward: Callable[..., Tensor], x: Tensor, targets: Tensor, *, step: int, steps: int
    ) -> Iterator[LossTerm]:
        for term in WholeNetwork.terms(self, forward, x, targets, step=step, steps=steps):
            yield LossTerm(2 * term.loss, term.logits, 0.5)
        yield LossTerm(torch.zeros((), requires_grad=True), torch.eye(9)[torch.full((len(x),), 8)])


def test_terms_count_by_their_weight_and_the_first_is_heard() -> None:
    plain, halves = (
        fitted(network_of(random_model(input_size=32), dropout=0.0), objective=objective)
        for objective in (WholeNetwork(), Halves())
    )

    for one, other in zip(plain.average.parameters(), halves.average.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    for one, other in zip(plain.history, halves.history, strict=True):
        assert other["train_loss"] == pytest.approx(2 * one["train_loss"], rel=1e-4)
        assert other["train_accuracy"] == one["train_accuracy"] > 0
