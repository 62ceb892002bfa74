"""The preprocessing recipe and the pixels it gives."""

import json
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from mnasnet.data import opencv as opencv_module
from mnasnet.data.resample import resampler
from mnasnet.data.transforms import normalise, prepare, source_box
from mnasnet.errors import SpecError
from mnasnet.preprocess import Preprocess


@pytest.mark.parametrize("size", [(640, 480), (641, 480), (644, 480), (480, 644), (300, 500), (224, 224), (97, 1201)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_pixels_equal_torchvisions_resize_and_center_crop(size, interpolation):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC))
    recipe = Preprocess(224, 256, interpolation=interpolation)

    ours = prepare(image, recipe)

    mode = v2.InterpolationMode(interpolation)
    reference = v2.Compose([v2.Resize(256, mode, antialias=True), v2.CenterCrop(224)])
    theirs = np.asarray(reference(Image.fromarray(image)))
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    # both round to whole numbers twice, at different places
    assert difference.max() <= 2
    assert difference.mean() < 0.2


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("side", [90, 144])  # at half the size many sums are halves
def test_a_small_board_without_opencv_gives_the_same_pixels(side, interpolation, monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    recipe = Preprocess(72, 72, interpolation=interpolation)
    expected = prepare(image, recipe)

    monkeypatch.setattr("mnasnet.data.resample.opencv", lambda: None)

    np.testing.assert_array_equal(prepare(image, recipe), expected)


def test_squash_keeps_the_whole_image():
    image = np.zeros((50, 100, 3), np.uint8)
    image[:, :25] = 255  # the middle has nothing of it

    prepared = prepare(image, Preprocess(32, 32, crop="squash"))

    assert prepared.shape == (32, 32, 3)
    assert (prepared[:, :7] == 255).all() and (prepared[:, 9:] == 0).all()


def test_normalise_gives_channels_first_floats_as_torchvision_does():
    batch = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    recipe = Preprocess(32, 32)

    ours = normalise(batch, recipe)

    theirs = v2.functional.normalize(torch.from_numpy(batch).permute(0, 3, 1, 2) / 255, recipe.mean, recipe.std)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)


def test_at_another_size_keeps_the_proportion():
    assert Preprocess(224, 256).at(112) == Preprocess(112, 128)
    assert Preprocess(224, 256).at(97) == Preprocess(97, 111)  # 110.9


def test_round_trip_through_json_values():
    recipe = Preprocess(96, 110, "squash", "bicubic", (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))

    assert Preprocess.from_dict(recipe.to_dict()) == recipe


def test_numbers_of_numpy_and_lists_make_the_same_recipe():
    recipe = Preprocess(np.int64(64), np.int32(72), mean=np.array([0.5, 0.25, 0.5]), std=[0.5, 0.25, 0.5])

    plain = Preprocess(64, 72, mean=(0.5, 0.25, 0.5), std=(0.5, 0.25, 0.5))
    assert (recipe, hash(recipe), json.dumps(recipe.to_dict())) == (plain, hash(plain), json.dumps(plain.to_dict()))


def test_the_largest_input_and_the_strongest_zoom_are_possible():
    assert Preprocess(2048, 16 * 2048, mean=(0, 1, 0), std=(1, 1, 1)).at(32) == Preprocess(
        32, 16 * 32, mean=(0, 1, 0), std=(1, 1, 1)
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"input_size": 16}, "input_size must be >= 32 pixels, got 16"),
        ({"input_size": 64, "resize": 32}, "resize must be >= input_size, got resize 32 for input_size 64"),
        ({"crop": "tiles"}, "crop must be one of center, squash, got 'tiles'"),
        ({"std": (1, 1, 0)}, r"std must be above 0, it divides, got \(1, 1, 0\)"),
        ({"input_size": 10_000_000, "resize": 10_000_000}, "input_size must be at most 2048 pixels, got 10,000,000"),
        ({"resize": 10_000_000}, "resize must be at most 16 times input_size, got resize 10,000,000 for"),
        ({"mean": ("a", "b", "c")}, r"mean and std need three numbers from 0 to 1, got \('a', 'b', 'c'\)"),
        ({"mean": (0.5, 0.5)}, "mean and std need three numbers"),
        ({"mean": (123.7, 116.3, 103.5)}, "mean and std need three numbers from 0 to 1"),
        ({"std": (0.5, 0.5)}, "mean and std need three numbers"),
        ({"mean": 0.5}, "mean and std need three numbers from 0 to 1, got 0.5"),
        ({"input_size": True}, "input_size must be a whole number of pixels, got True"),
        ({"mean": (0.5, 0.5, float("nan"))}, "mean and std need three numbers"),
        ({"std": (0.5, 0.5, 10**400)}, "mean and std need three numbers"),
    ],
)
def test_impossible_recipes_name_rule_and_value(fields, message):
    with pytest.raises(SpecError, match=message):
        Preprocess(**fields)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("height", "width"), [(480, 640), (37, 1000), (1000, 37), (64, 64), (2, 3), (2100, 3001)])
def test_pixels_are_pillows_but_for_rounding(height, width, interpolation):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (max(2, height // 8), max(2, width // 8), 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    recipe = Preprocess(input_size=65, resize=74, interpolation=interpolation)

    ours = prepare(image, recipe)

    box = source_box(width, height, recipe)
    theirs = Image.fromarray(image).resize((65, 65), Image.Resampling[interpolation.upper()], box=box)
    difference = np.abs(ours.astype(int) - np.asarray(theirs).astype(int))
    # Pillow rounds after the rows, we after the columns; bicubic also cuts its overshoot off there
    assert interpolation == "bicubic" or difference.max() <= 2
    assert (difference > 2).mean() < 0.05
    assert difference.mean() < 0.6


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("grey", [0, 1, 127, 254, 255])
@pytest.mark.parametrize("side", [7, 100, 1999])
def test_an_even_surface_keeps_its_value(interpolation, grey, side):
    recipe = Preprocess(input_size=64, resize=70, interpolation=interpolation)

    prepared = prepare(np.full((side, side + 3, 3), grey, np.uint8), recipe)

    assert (prepared == grey).all()


@pytest.mark.parametrize(("limit", "value"), [("_SMALL", 1_000), ("_CACHED", 1_000), ("_CACHED", 10**9)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_pixels_do_not_depend_on_how_the_sums_are_cut(interpolation, limit, value, monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    recipe = Preprocess(input_size=224, resize=256, interpolation=interpolation)
    prepared = prepare(image, recipe)

    monkeypatch.setattr(f"mnasnet.data.resample.{limit}", value)
    with ThreadPoolExecutor(1) as fresh:  # a thread lays its sums out once for images of one size
        again = fresh.submit(prepare, image, recipe).result()

    np.testing.assert_array_equal(again, prepared)


def test_pixels_do_not_depend_on_what_was_resized_before():
    rng = np.random.default_rng(0)
    sizes = [(480, 640), (40, 30), (480, 640), (480, 641), (1500, 70), (480, 640)]
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    recipes = [Preprocess(64, 72), Preprocess(64, 72, interpolation="bicubic"), Preprocess(224, 224, crop="squash")]
    jobs = [(image, recipe) for image in images for recipe in recipes]
    alone = []
    for job in jobs:
        with ThreadPoolExecutor(1) as fresh:
            alone.append(fresh.submit(prepare, *job).result())

    in_turns = [prepare(*job) for job in jobs]

    for ours, theirs in zip(in_turns, alone, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_process_that_was_forked_while_a_thread_resized_can_resize():
    """A lock that a thread held at that moment stays locked in the new process."""
    image, recipe = np.zeros((80, 80, 3), np.uint8), Preprocess(64, 64)
    prepare(image, recipe)

    with ThreadPoolExecutor(1) as other, opencv_module._lock:
        assert other.submit(prepare, image, recipe).result(timeout=60).shape == (64, 64, 3)


def test_images_of_growing_sizes_leave_the_memory_of_the_largest_alone():
    recipe = Preprocess(64, 64)
    images = [np.zeros((side, side, 3), np.uint8) for side in range(400, 1200, 100)]

    def left_by(several):
        with ThreadPoolExecutor(1) as fresh:
            tracemalloc.start()
            fresh.submit(list, (prepare(image, recipe) for image in several)).result()
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return held

    left_by(images)  # the weights of each size are made once

    # the sums of each size are laid out once as well, with some objects for each
    assert left_by(images) < 1.3 * left_by(images[-1:])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("side", [2, 63, 1999])
def test_every_sum_is_exact_in_float32_whatever_its_order(interpolation, side):
    matrices = resampler((side, side), (0.0, 0.5, side - 0.5, side), (64, 64), interpolation).columns.matrices

    steps = matrices.astype(np.float64) * 2**15
    assert (steps == np.round(steps)).all()
    assert np.abs(steps).sum(-1).max() * 255 < 2**24  # up to which float32 has all whole numbers


def test_threads_do_not_disturb_each_others_pixels():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (200 + 40 * number, 300, 3), dtype=np.uint8) for number in range(8)]
    recipe = Preprocess(64, 72)
    alone = [prepare(image, recipe) for image in images]

    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda image: prepare(image, recipe), images * 8))

    np.testing.assert_array_equal(together, alone * 8)


def test_a_strange_image_holds_no_memory_for_good():
    image = np.zeros((32, 60_000, 3), np.uint8)
    recipe = Preprocess(64, 64, crop="squash")
    prepare(image[:, :500], recipe)
    tracemalloc.start()

    prepare(image, recipe)  # takes 23 MB meanwhile, 11 of them in one array

    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 16 << 20


def test_any_layout_in_memory_gives_the_same_pixels():
    image = np.random.default_rng(0).integers(0, 256, (97, 131, 3), dtype=np.uint8)
    recipe = Preprocess(64, 72)

    for layout in (np.asfortranarray(image), np.ascontiguousarray(image[..., ::-1])[..., ::-1]):
        np.testing.assert_array_equal(prepare(layout, recipe), prepare(image, recipe))
