"""Each image is decoded once where memory holds them, and read again where it does not."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tiny import tiny_training

from mnasnet import modelfile
from mnasnet.data.folder import scan
from mnasnet.data.images import read_image
from mnasnet.data.split import split
from mnasnet.errors import DataError
from mnasnet.files import quoted
from mnasnet.testing import write_image_folder
from mnasnet.train.events import EpochEnded, Event
from mnasnet.train.run import TrainedRun, resume, train
from mnasnet.train.run_folder import RunFolder


def test_images_that_do_not_fit_the_memory_budget_are_streamed_to_the_same_bits(data: Path, tmp_path: Path) -> None:
    cached = train(tiny_training(data, tmp_path, epochs=1))
    streamed = train(tiny_training(data, tmp_path, epochs=1, cache_mb=0))

    assert modelfile.load(streamed.model).fingerprint == modelfile.load(cached.model).fingerprint


def framed_images(folder: Path, brightness: int) -> Path:
    """Images of 80 x 60 pixels, of which inference sees the middle, without this frame of two pixels."""
    for path in write_image_folder(folder, per_class=4).rglob("*.jpg"):
        image = Image.new("RGB", (80, 60), (brightness,) * 3)
        image.paste(Image.fromarray(read_image(path)[2:-2, 2:-2]), (2, 2))
        image.save(path, "PNG")
    return folder


@pytest.mark.parametrize("cache_mb", [2000, 0])
def test_without_augmentation_nothing_is_learned_from_what_inference_cuts_off(cache_mb: int, tmp_path: Path) -> None:
    black, white = (
        train(tiny_training(framed_images(tmp_path / name, brightness), tmp_path, augment="none", cache_mb=cache_mb))
        for name, brightness in (("black", 0), ("white", 255))
    )

    assert modelfile.load(black.model).fingerprint == modelfile.load(white.model).fingerprint


class Decoded:
    """Counts how often each file is decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times: Counter[str] = Counter()
        for module in ("mnasnet.data.cache", "mnasnet.data.check"):
            monkeypatch.setattr(f"{module}.read_image", self._read)

    def _read(self, path: Path, *, min_side: int | None = None) -> NDArray[np.uint8]:
        self.times[str(path)] += 1
        return read_image(path, min_side=min_side)


def test_no_image_that_fits_in_memory_is_decoded_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_image_folder(tmp_path / "data", per_class=6, splits=("train", "val", "test"))
    decoded = Decoded(monkeypatch)

    train(tiny_training(data, tmp_path / "runs", report=True))

    assert set(decoded.times.values()) == {1} and len(decoded.times) == 3 * 18


def test_most_of_the_memory_is_for_validation_where_that_has_most_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_image_folder(tmp_path / "data", per_class=2, splits=("train",))
    write_image_folder(data / "val", per_class=100)
    decoded = Decoded(monkeypatch)

    train(tiny_training(data, tmp_path / "runs", epochs=1, cache_mb=1))  # 300 of 3 kB, 6 of 4 kB

    assert set(decoded.times.values()) == {1}


def test_the_training_images_of_a_run_that_is_over_are_not_decoded_for_its_report(
    data: Path, done: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(shutil.copytree(done.folder, tmp_path / "run"))
    training_images = json.loads(run.split.read_bytes())["train"]
    decoded = Decoded(monkeypatch)

    assert resume(run.path).status == "done"

    assert not {str(data / path) for paths in training_images.values() for path in paths} & set(decoded.times)
    assert set(decoded.times.values()) == {1}


def test_an_image_that_vanishes_during_a_run_is_told_with_the_way_on(tmp_path: Path) -> None:
    data = write_image_folder(tmp_path / "data", per_class=6)
    run = RunFolder(tmp_path / "runs" / "run")
    image = data / split(scan(data)).train[0].path
    content = image.read_bytes()

    class LosesAnImage:
        def hear(self, event: Event) -> None:
            if isinstance(event, EpochEnded) and event.row["epoch"] == 1:
                image.unlink()

    with pytest.raises(DataError) as caught:
        train(tiny_training(data, tmp_path / "runs", cache_mb=0), listeners=[LosesAnImage()])
    image.write_bytes(content)

    assert str(caught.value) == (
        f"{image}: there is no such file; the run is kept: bring the image back, then `python -m mnasnet resume "
        f"{quoted(run.path)}` goes on; its best model so far is {run.best}"
    )
    assert resume(run.path).status == "done"
