"""What a step sees: order, balance, augmentation, mixing; all of it a function of seed, epoch and step."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from mnasnet.data.transforms import normalise
from mnasnet.preprocess import Preprocess
from mnasnet.train.batches import Changes, changed, draw_changes, epoch_batches
from mnasnet.train.recipe import Recipe

LABELS = np.array([0] * 40 + [1] * 40 + [2] * 5)
PREPROCESS = Preprocess(32, 32)
AS_IS = Preprocess(32, 32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))  # pixels from 0 to 1
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
    # by the roots of 40, 40 and 5 images
    assert np.bincount(LABELS[lifted]).tolist() == [36, 36, 13]


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
def test_mixed_targets_are_the_shares_of_two_classes_in_the_pixels(kind: str) -> None:
    """Black images are of class 0 and white ones of class 1, so that an image's mean is its share of white."""
    recipe, labels = replace(PLAIN, **{kind: 1.0}), torch.tensor([0, 1, 0, 1, 1])
    images = np.zeros((5, 32, 32, 3), np.uint8) + (255 * labels.numpy().astype(np.uint8))[:, None, None, None]

    boxes = []
    for step in range(20):
        changes = draw_changes(5, recipe, seed=0, epoch=0, step=step)
        x, targets = changed(images, labels, changes, recipe, AS_IS, 3)

        assert torch.allclose(targets[:, 1], x.mean((1, 2, 3)), atol=1e-6)
        assert torch.allclose(targets.sum(1), torch.ones(5)) and targets[:, 2].max() == 0
        _, share, (top, bottom, left, right) = changes.mix
        boxes.append((bottom - top) * (right - left) / (1 - share))  # less where the image's edge cuts it off

    assert max(boxes) == pytest.approx(1 if kind == "cutmix" else 0)


def test_batches_are_mixed_as_often_as_the_recipe_says() -> None:
    recipe = replace(PLAIN, mixup=0.2, cutmix=0.3)

    kinds = Counter(draw_changes(1, recipe, seed=0, epoch=0, step=step).mix[0] for step in range(500))

    assert kinds["mixup"] / 500 == pytest.approx(0.2, abs=0.1)  # five standard deviations
    assert kinds["cutmix"] / 500 == pytest.approx(0.3, abs=0.1)


def test_a_crop_lies_within_the_image_and_has_the_area_and_shape_that_it_may_have() -> None:
    affine = draw_changes(2000, replace(PLAIN, augment="crop", min_area=0.25), seed=0, epoch=0, step=0).affine

    width, height = np.abs(affine[:, 0, 0]), affine[:, 1, 1]
    area, shape = width * height, width / height
    assert (area.min(), area.max()) == (pytest.approx(0.25, abs=0.01), pytest.approx(1, abs=0.05))
    assert (shape.min(), shape.max()) == (pytest.approx(3 / 4, abs=0.01), pytest.approx(4 / 3, abs=0.01))
    edges = np.abs(affine[:, :, 2]) + np.stack([width, height], 1)
    assert edges.max() == pytest.approx(1, abs=0.01)
    assert (affine[:, 0, 0] < 0).mean() == pytest.approx(0.5, abs=0.06)  # mirrored; five standard deviations


ROTATE, SHEAR_X, SHEAR_Y, BRIGHTNESS, CONTRAST, SATURATION = 1, 2, 3, 6, 7, 8


def test_images_are_turned_and_sheared_by_the_strength_that_is_drawn() -> None:
    changes = draw_changes(500, replace(PLAIN, augment="trivial"), seed=0, epoch=0, step=0)
    across, down = (changes.affine[:, i, 1 - i] / changes.affine[:, i, i] for i in (0, 1))

    for operation, right, below in (
        (ROTATE, -np.tan(np.radians(30 * changes.strength)), np.tan(np.radians(30 * changes.strength))),
        (SHEAR_X, 0.3 * changes.strength, 0 * changes.strength),
        (SHEAR_Y, 0 * changes.strength, 0.3 * changes.strength),
    ):
        drawn = changes.operation == operation
        np.testing.assert_allclose(across[drawn], right[drawn], atol=1e-5)
        np.testing.assert_allclose(down[drawn], below[drawn], atol=1e-5)


def colours(changes: Changes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Brightness (of each channel, with its tint), contrast and saturation of images, read from what they do."""
    of_grey = changes.colour.sum(2)
    brightness = of_grey + changes.shade
    saturation = 1 - changes.colour[:, 0, 1] / of_grey[:, 0] / 0.587
    return brightness, (of_grey / brightness)[:, 0], saturation


@pytest.mark.parametrize("augment", ["light", "trivial"])
def test_colours_change_by_a_fifth_and_further_where_that_is_drawn(augment: str) -> None:
    changes = draw_changes(2000, replace(PLAIN, augment=augment), seed=0, epoch=0, step=0)
    brightness, contrast, saturation = colours(changes)

    assert (brightness.max(1) / brightness.min(1)).max() == pytest.approx(1.05 / 0.95, abs=0.01)  # the tint
    kinds = ((BRIGHTNESS, brightness.mean(1), 0.25), (CONTRAST, contrast, 0.2), (SATURATION, saturation, 0.2))
    for operation, factor, reach in kinds:
        further = 1 + 0.9 * changes.strength * (changes.operation == operation)
        assert (factor / further).min() == pytest.approx(1 - reach, abs=0.05)
        assert (factor / further).max() == pytest.approx(1 + reach, abs=0.05)


def test_contrast_and_saturation_leave_the_mean_of_a_grey_image_as_it_is() -> None:
    grey = np.random.default_rng(0).integers(64, 129, (50, 32, 32, 1), np.uint8).repeat(3, 3)
    recipe = replace(PLAIN, augment="light")
    still = draw_changes(50, PLAIN, seed=0, epoch=0, step=0).affine
    changes = replace(draw_changes(50, recipe, seed=0, epoch=0, step=0), affine=still)

    x, _ = changed(grey, torch.zeros(50, dtype=torch.int64), changes, recipe, AS_IS, 3)

    brightness, contrast, _ = colours(changes)
    before = torch.from_numpy(grey / 255.0)
    np.testing.assert_allclose(x.mean((2, 3)), brightness * before.mean((1, 2)).numpy(), rtol=1e-4)
    np.testing.assert_allclose(x.std((2, 3)), brightness * contrast[:, None] * before.std((1, 2)).numpy(), rtol=1e-4)


def trivial(operation: int, strength: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Images before and after one of trivial's operations alone, N x 3 x S x S in 0 to 1."""
    images = 40 + pixels() // 2
    nothing = draw_changes(6, PLAIN, seed=0, epoch=0, step=0)
    drawn = replace(nothing, operation=np.full(6, operation), strength=np.full(6, strength, np.float32))
    x, _ = changed(images, torch.arange(6) % 3, drawn, replace(PLAIN, augment="trivial"), AS_IS, 3)
    return torch.from_numpy(images).permute(0, 3, 1, 2) / 255, x


SHARPNESS, POSTERIZE, SOLARIZE, AUTOCONTRAST = 9, 10, 11, 12


def test_trivials_operations_on_pixels_do_what_their_names_say() -> None:
    before, blurred = trivial(SHARPNESS, -2 / 3)
    assert torch.allclose(blurred[:, :, 5, 7], before[:, :, 4:7, 6:9].mean((2, 3)), atol=1e-5)
    before, sharp = trivial(SHARPNESS, 2 / 3)
    assert torch.allclose(sharp, (2 * before - blurred).clamp(0, 1), atol=1e-5)

    before, few = trivial(POSTERIZE, -0.9)
    assert torch.allclose(few, (10 * before).round() / 10, atol=1e-5)
    before, turned = trivial(SOLARIZE, -0.9)
    assert torch.allclose(turned, torch.where(before > 0.46, 1 - before, before), atol=1e-5)
    before, stretched = trivial(AUTOCONTRAST, 0.3)
    assert torch.allclose(stretched, v2.functional.autocontrast(before), atol=1e-5)


def test_a_share_of_images_has_a_fiftieth_to_a_fifth_erased() -> None:
    top, bottom, left, right = draw_changes(2000, replace(PLAIN, erasing=0.25), seed=0, epoch=0, step=0).hidden.T

    area = (bottom - top) * (right - left)
    assert (area > 0).mean() == pytest.approx(0.25, abs=0.05)  # five standard deviations
    assert (area[area > 0].min(), area.max()) == (pytest.approx(0.02, abs=0.005), pytest.approx(0.2, abs=0.005))
    assert min(top.min(), left.min()) >= 0 and max(bottom.max(), right.max()) <= 1


def test_erasing_blanks_a_box_with_the_mean_colour() -> None:
    x, _ = result(replace(PLAIN, erasing=1.0), count=16)

    assert ((x == 0).all(1).float().mean((1, 2)) > 0.01).all()
