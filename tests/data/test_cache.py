import multiprocessing
import pickle
import sys

import numpy as np
import pytest

from mnasnet.data.cache import DecodedImages
from mnasnet.data.images import read_image
from mnasnet.data.transforms import prepare
from mnasnet.errors import DataError
from mnasnet.preprocess import Preprocess
from mnasnet.testing import coloured_image

PLENTY = 10**8
RECIPE = Preprocess(32, 36)


@pytest.fixture
def paths(tmp_path):
    """20 images of different sizes, lying and upright, one smaller than any cache asks for."""
    for number in range(20):
        width, height = (90 + number, 60) if number % 2 else (61, 95 + number)
        coloured_image((10 * number, 99, 200), width=width, height=height, seed=number).save(
            tmp_path / f"{number:02d}.jpg"
        )
    coloured_image((9, 9, 9), width=20, height=10).save(tmp_path / "00.jpg")
    return sorted(tmp_path.iterdir())


def test_images_are_exactly_what_inference_sees(paths):
    images = DecodedImages(paths, RECIPE, PLENTY)
    images.fill()

    for index, path in enumerate(paths):
        assert np.array_equal(images[index], prepare(read_image(path, min_side=36), RECIPE))
        assert images[index].dtype == np.uint8 and not images[index].flags.writeable


def test_kept_and_streamed_images_are_the_same_pixels_whatever_the_threads(paths):
    streamed = DecodedImages(paths, RECIPE, 0)
    for threads in (1, 7):
        kept = DecodedImages(paths, RECIPE, PLENTY, threads=threads)
        kept.fill()

        assert (kept.planned, streamed.planned) == (20, 0)
        assert all(np.array_equal(kept[index], streamed[index]) for index in range(20))


def test_after_filling_no_file_is_read_again(paths):
    images = DecodedImages(paths, RECIPE, PLENTY)
    images.fill()
    for path in paths:
        path.unlink()

    assert images[19].shape == (32, 32, 3)
    images.fill()  # nothing left to do


def test_an_image_asked_for_is_kept_too(paths):
    images = DecodedImages(paths, RECIPE, PLENTY)
    first = images[5].copy()
    paths[5].unlink()

    assert np.array_equal(images[5], first)


def test_memory_is_stated_and_within_the_budget(paths):
    images = DecodedImages(paths, RECIPE, PLENTY)
    images.fill()

    assert images.memory_bytes == sum(images[index].nbytes for index in range(20)) == 20 * 3 * 32**2
    assert images.description == "20 of 20 images stay decoded in 0.1 MB"


def test_what_exceeds_the_budget_streams(paths):
    images = DecodedImages(paths, RECIPE, 20_000)
    images.fill()

    assert images.planned == 6 and images.memory_bytes == 6 * 3 * 32**2
    assert images[19].shape == (32, 32, 3) and not images[19].flags.writeable
    assert images.description == "6 of 20 images stay decoded in 0.0 MB, 14 are decoded when needed"


def test_unreadable_images_are_reported_and_raise_when_asked_for(paths):
    paths[3].write_bytes(b"")
    whole = paths[4].read_bytes()
    paths[4].write_bytes(whole[: len(whole) // 2])
    images = DecodedImages(paths, RECIPE, PLENTY)

    images.fill(max_bad=0.2)

    assert [file.path for file in images.unreadable] == [str(paths[3]), str(paths[4])]
    assert images.unreadable[0].reason.startswith("empty file")
    assert images.readable == [index for index in range(20) if index not in (3, 4)]
    with pytest.raises(DataError, match="empty file"):
        images[3]


def test_too_many_unreadable_images_are_an_error_naming_the_first(paths):
    for path in paths[3:6]:
        path.write_bytes(b"")

    with pytest.raises(DataError, match=r"3 of 20 training images are unreadable \(15.0%\)"):
        DecodedImages(paths, RECIPE, PLENTY).fill()


def test_progress_is_heard(paths):
    heard = []

    DecodedImages(paths, RECIPE, PLENTY).fill(lambda done, total: heard.append((done, total)))

    assert heard[-1] == (20, 20)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forked_processes_share_the_memory(paths):
    images = DecodedImages(paths, RECIPE, PLENTY)
    images.fill()
    expected = int(images[7].sum())
    for path in paths:
        path.unlink()
    results = multiprocessing.get_context("fork").SimpleQueue()

    process = multiprocessing.get_context("fork").Process(target=lambda: results.put(int(images[7].sum())))
    process.start()
    process.join(20)

    assert results.get() == expected


def test_a_spawned_process_gets_the_same_pixels_by_decoding(paths):
    images = DecodedImages(paths, RECIPE, PLENTY)
    images.fill()

    copy = pickle.loads(pickle.dumps(images))  # how spawn passes arguments

    assert copy.memory_bytes == 0
    assert np.array_equal(copy[7], images[7])


def test_the_last_image_is_followed_by_an_end(paths):
    images = DecodedImages(paths, RECIPE, 0)

    assert len(list(images)) == len(images) == 20
