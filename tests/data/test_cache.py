import multiprocessing
import pickle
import sys

import numpy as np
import pytest
from PIL import Image

from mnasnet.data.cache import DecodedImages
from mnasnet.data.images import read_image
from mnasnet.data.transforms import prepare
from mnasnet.errors import DataError
from mnasnet.preprocess import Preprocess
from mnasnet.testing import coloured_image

PLENTY = 10**8


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


def test_images_keep_their_aspect_and_small_ones_their_size(paths):
    images = DecodedImages(paths, 32, PLENTY)
    images.fill()

    assert images[0].shape == (10, 20, 3)
    assert images[1].shape == (32, int(32 * 91 / 60), 3)
    assert images[2].shape == (int(32 * 97 / 61), 32, 3)
    assert images[1].dtype == np.uint8
    assert not images[1].flags.writeable


def test_kept_and_streamed_images_are_the_same_pixels_whatever_the_threads(paths):
    streamed = DecodedImages(paths, 32, 0)
    for threads in (1, 7):
        kept = DecodedImages(paths, 32, PLENTY, threads=threads)
        kept.fill()

        assert (kept.planned, streamed.planned) == (20, 0)
        assert all(np.array_equal(kept[index], streamed[index]) for index in range(20))


def test_after_filling_no_file_is_read_again(paths):
    images = DecodedImages(paths, 32, PLENTY)
    images.fill()
    for path in paths:
        path.unlink()

    assert images[19].shape[0] == 32
    images.fill()  # nothing left to do


def test_an_image_asked_for_is_kept_too(paths):
    images = DecodedImages(paths, 32, PLENTY)
    first = images[5].copy()
    paths[5].unlink()

    assert np.array_equal(images[5], first)


def test_memory_is_stated_and_within_the_budget(paths):
    images = DecodedImages(paths, 32, PLENTY)
    images.fill()

    assert images.memory_bytes == sum(images[index].nbytes for index in range(20))
    assert images.description == "20 of 20 images stay decoded in 0.1 MB"


def test_what_exceeds_the_budget_streams(paths):
    images = DecodedImages(paths, 32, 20_000)
    images.fill()

    assert 0 < images.planned < 20
    assert images.memory_bytes <= 20_000
    assert images[19].shape[0] == 32
    assert "are decoded when needed" in images.description


def test_validation_images_are_exactly_what_inference_sees(paths):
    recipe = Preprocess(32, 36)
    images = DecodedImages.prepared(paths, recipe, PLENTY)
    images.fill()

    for index, path in enumerate(paths):
        assert np.array_equal(images[index], prepare(read_image(path, min_side=36), recipe))


def test_large_photos_decoded_at_reduced_size_fit_their_place(tmp_path):
    sizes = [(1001, 667), (667, 1003), (515, 515), (2047, 129), (333, 777)]
    for number, size in enumerate(sizes):
        Image.new("RGB", size, (200, 100, 50)).save(tmp_path / f"{number}.jpg")
    images = DecodedImages(sorted(tmp_path.iterdir()), 32, PLENTY)
    images.fill()

    assert images.unreadable == ()
    assert [images[index].shape[:2] for index in range(5)] == [
        (int(32 * height / min(width, height)), int(32 * width / min(width, height))) for width, height in sizes
    ]


def test_photos_turned_by_exif_are_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    coloured_image((1, 2, 3), width=90, height=60).save(tmp_path / "a.jpg", exif=exif)

    images = DecodedImages([tmp_path / "a.jpg"], 30, PLENTY)
    images.fill()

    assert images[0].shape == (45, 30, 3)
    assert images.planned == 1


def test_unreadable_images_are_reported_and_raise_when_asked_for(paths):
    paths[3].write_bytes(b"")
    whole = paths[4].read_bytes()
    paths[4].write_bytes(whole[: len(whole) // 2])
    images = DecodedImages(paths, 32, PLENTY)

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
        DecodedImages(paths, 32, PLENTY).fill()


def test_progress_is_heard(paths):
    heard = []

    DecodedImages(paths, 32, PLENTY).fill(lambda done, total: heard.append((done, total)))

    assert heard[-1] == (20, 20)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forked_processes_share_the_memory(paths):
    images = DecodedImages(paths, 32, PLENTY)
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
    images = DecodedImages(paths, 32, PLENTY)
    images.fill()

    copy = pickle.loads(pickle.dumps(images))  # how spawn passes arguments

    assert copy.memory_bytes == 0
    assert np.array_equal(copy[7], images[7])


def test_the_last_image_is_followed_by_an_end(paths):
    images = DecodedImages(paths, 32, 0)

    assert len(list(images)) == len(images) == 20
