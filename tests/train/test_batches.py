"""What a step sees: order, balance, augmentation, mixing; all of it a function of seed, epoch and step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mnasnet.data.transforms import normalise
from mnasnet.preprocess import Preprocess
from mnasnet.train.batches import changed, draw_changes, epoch_batches
from mnasnet.train.recipe import Recipe

LABELS = np.array([0] * 40 + [1] * 40 + [2] * 5)
PREPROCESS = Preprocess(32, 32)
PLAIN = Recipe("plain", "sgd", 0.1, 8, augment="none")


def pixels(count: int = 6, side: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def result(recipe: Recipe, *, count: int = 6, side: int = 32, step: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(count) % 3
    changes = draw_changes(count, recipe, seed=0, epoch=0, step=step)
    return changed(pixels(count, side), labels, changes, recipe, PREPROCESS, 3)


def test_every_image_comes_once_an_epoch_in_an_order_of_its_own() -> None:
    first, second = (np.concatenate(epoch_batches(LABELS, 8, seed=1, epoch=epoch)) for epoch in (0, 1))

    assert sorted(first) == sorted(second) == list(range(len(LABELS)))
    assert first.tolist() != second.tolist()


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    once, again = (np.concatenate(epoch_batches(LABELS, 8, seed=1, epoch=3)).tolist() for _ in range(2))
    other = np.concatenate(epoch_batches(LABELS, 8, seed=2, epoch=3)).tolist()

    assert once == again != other


@pytest.mark.parametrize(
    ("images", "sizes"), [(17, [8, 9]), (18, [6, 6, 6]), (23, [7, 8, 8]), (16, [8, 8]), (8, [8]), (2, [2]), (1, [1])]
)
def test_an_epoch_is_cut_evenly_and_one_image_left_over_joins_a_batch(images: int, sizes: list[int]) -> None:
    batches = epoch_batches(np.zeros(images, np.int64), 8, seed=0, epoch=0)

    assert [len(batch) for batch in batches] == sizes


@pytest.mark.parametrize("batch_size", [2, 3, 8, 32, 64])
@pytest.mark.parametrize("smallest", [2, 4])
def test_no_batch_is_too_small_and_none_larger_than_asked_by_more_than_what_was_left_over(
    batch_size: int, smallest: int
) -> None:
    for images in range(smallest, 200):
        labels = np.zeros(images, np.int64)
        sizes = [len(batch) for batch in epoch_batches(labels, batch_size, seed=0, epoch=0, smallest=smallest)]
        over = images % batch_size

        assert sum(sizes) == images and max(sizes) - min(sizes) <= 1
        assert min(sizes) >= min(smallest, batch_size)
        assert max(sizes) <= batch_size or over < smallest


def test_equal_balance_shows_all_classes_alike_and_each_image_of_a_class_in_turn() -> None:
    order = np.concatenate(epoch_batches(LABELS, 8, seed=0, epoch=0, balance="equal"))

    counts = np.bincount(LABELS[order])
    assert len(order) == len(LABELS)
    assert counts.max() - counts.min() <= 1
    assert np.ptp(np.bincount(order, minlength=85)[80:]) <= 1


def test_auto_balance_leaves_even_data_alone_and_lifts_rare_classes() -> None:
    even, uneven = LABELS[:80], LABELS
    lifted = np.concatenate(epoch_batches(uneven, 8, seed=0, epoch=0, balance="auto"))

    assert sorted(np.concatenate(epoch_batches(even, 8, seed=0, epoch=0, balance="auto"))) == list(range(80))
    assert 5 < np.bincount(LABELS[lifted])[2] < 28


def test_without_augmentation_the_input_is_what_inference_makes_of_the_image() -> None:
    x, _ = result(PLAIN)

    assert torch.allclose(x, torch.from_numpy(normalise(pixels(), PREPROCESS)), atol=1e-5)
    assert x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("augment", ["crop", "light", "trivial"])
def test_augmented_inputs_have_the_networks_size_and_stay_within_the_range_of_pixels(augment: str) -> None:
    recipe = replace(PLAIN, augment=augment, erasing=0.5)
    low, high = (float(normalise(np.full((1, 1, 1, 3), v, np.uint8), PREPROCESS).flatten()[0]) for v in (0, 255))

    x, _ = result(recipe, count=64, side=40)

    assert x.shape == (64, 3, 32, 32)
    assert torch.isfinite(x).all()
    assert x[:, 0].min() >= low - 1e-4 and x[:, 0].max() <= high + 1e-4


def test_augmentation_is_a_function_of_the_step() -> None:
    recipe = replace(PLAIN, augment="trivial", mixup=0.5, cutmix=0.5, erasing=0.5)

    assert torch.equal(result(recipe, step=4)[0], result(recipe, step=4)[0])
    assert not torch.equal(result(recipe, step=4)[0], result(recipe, step=5)[0])


def test_processes_that_share_a_batch_draw_the_same_changes() -> None:
    recipe = replace(PLAIN, augment="trivial", erasing=0.5)
    changes = draw_changes(6, recipe, seed=0, epoch=0, step=0)
    whole, _ = changed(pixels(), torch.arange(6) % 3, changes, recipe, PREPROCESS, 3)

    own = np.array([1, 3, 5])
    part, _ = changed(pixels()[own], torch.tensor([1, 0, 2]), changes.rows(own), recipe, PREPROCESS, 3)

    assert torch.allclose(part, whole[own], atol=1e-6)


def test_without_flip_nothing_is_mirrored() -> None:
    halves = np.zeros((32, 32, 32, 3), np.uint8)
    halves[:, :, :16] = 255
    recipe = replace(PLAIN, augment="crop", flip=False, min_area=0.9)

    changes = draw_changes(32, recipe, seed=0, epoch=0, step=0)
    x, _ = changed(halves, torch.zeros(32, dtype=torch.int64), changes, recipe, PREPROCESS, 3)

    assert (x[..., :8].mean((1, 2, 3)) > x[..., -8:].mean((1, 2, 3))).all()


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_targets_are_shares_of_two_classes(kind: str) -> None:
    _, targets = result(replace(PLAIN, **{kind: 1.0}))

    assert targets.shape == (6, 3)
    assert torch.allclose(targets.sum(1), torch.ones(6))
    assert (targets > 0).sum(1).max() == 2


def test_erasing_blanks_a_box_with_the_mean_colour() -> None:
    x, _ = result(replace(PLAIN, erasing=1.0), count=16)

    assert ((x == 0).all(1).float().mean((1, 2)) > 0.01).all()
