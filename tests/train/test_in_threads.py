"""Trainings in threads of one process: each comes to what it comes to alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError

import numpy as np
import torch

from mnasnet.modelfile import network_of
from mnasnet.network.build import MnasNet
from mnasnet.preprocess import Preprocess
from mnasnet.testing import random_model
from mnasnet.train.batches import StoredImages
from mnasnet.train.recipe import Recipe
from mnasnet.train.trainer import FitResult, fit

IMAGES = StoredImages(np.random.default_rng(0).integers(0, 256, (48, 32, 32, 3), dtype=np.uint8), np.arange(48) % 3)


def trained(seed: int, meet: Callable[[], object] = lambda: None) -> FitResult[MnasNet]:
    """Two epochs with much dropout; ``meet`` is called in each step just before its random numbers are drawn."""
    network = network_of(random_model(), dropout=0.5)
    network.dropout.register_forward_pre_hook(lambda module, inputs: meet() and None)
    recipe = Recipe("r", "sgd", 0.05, 16, dropout=0.5, ema=0.9)
    return fit(network, IMAGES, IMAGES, recipe, Preprocess(32, 32), epochs=2, seed=seed)


def test_two_that_step_at_the_same_time_learn_what_each_learns_alone() -> None:
    alone = [trained(seed) for seed in (1, 2)]
    both_between_seed_and_draw = Barrier(2)

    def meet() -> None:
        with contextlib.suppress(BrokenBarrierError):  # they never are, so one waits for the other in vain
            both_between_seed_and_draw.wait(timeout=0.5)

    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(lambda seed: trained(seed, meet), (1, 2)))

    for one, other in zip(alone, together, strict=True):
        for name, value in one.average.state_dict().items():
            assert torch.equal(value, other.average.state_dict()[name]), name


def test_the_programs_own_random_numbers_are_left_as_they_were() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    trained(1)

    assert torch.equal(torch.rand(3), expected)
