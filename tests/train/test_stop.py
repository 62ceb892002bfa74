"""A stop is heard in the middle of whatever takes long, and costs nothing but what was not whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from equal_runs import checkpoint_digest
from numpy.typing import NDArray
from tiny import tiny_training
from torch import nn

from mnasnet import modelfile
from mnasnet.data.cache import DecodedImages
from mnasnet.network.build import MnasNet
from mnasnet.network.quantized import Rounding, quantized
from mnasnet.preprocess import Preprocess
from mnasnet.progress import Stop
from mnasnet.runtime.session import Session, open_session
from mnasnet.testing import TINY, write_image_folder
from mnasnet.train.batches import StoredImages
from mnasnet.train.checkpoint import CheckpointStore
from mnasnet.train.events import EpochEnded, Event, Started, Stepped
from mnasnet.train.own_thread import in_own_thread
from mnasnet.train.recipe import Recipe
from mnasnet.train.replicas import SMALLEST_PART
from mnasnet.train.run import resume, train
from mnasnet.train.run_folder import RunFolder
from mnasnet.train.trainer import FitResult, fit

LABELS = np.arange(2 * SMALLEST_PART) % 3
IMAGES = StoredImages(np.random.default_rng(0).integers(0, 256, (len(LABELS), 32, 32, 3), dtype=np.uint8), LABELS)
FEW = StoredImages(IMAGES.pixels[:4], LABELS[:4])
RECIPE = Recipe("r", "sgd", 0.1, len(LABELS), dropout=0.3)


class Alarm:
    """A stop that is asked for ``after_s`` an event of this kind was heard."""

    def __init__(self, kind: type, after_s: float = 0.0) -> None:
        self._kind, self._after_s = kind, after_s
        self.rings_at = float("inf")

    def hear(self, event: Event) -> None:
        if isinstance(event, self._kind):
            self.rings_at = min(self.rings_at, time.monotonic() + self._after_s)

    def __call__(self) -> bool:
        return time.monotonic() >= self.rings_at

    @property
    def late_s(self) -> float:
        """How long ago it rang."""
        return time.monotonic() - self.rings_at


def train_in(
    folder: Path,
    threads: int,
    *,
    slow: Callable[[nn.Module], None] = lambda _: None,
    in_8_bits: bool = False,
    **given: object,
) -> FitResult:
    torch.manual_seed(0)
    network = MnasNet(TINY, 3, dropout=0.3)
    if in_8_bits:
        network = quantized(network, Preprocess(32, 32), observed_batches=1)
    slow(network)

    def work(_: Stop) -> FitResult:
        return fit(network, IMAGES, FEW, RECIPE, Preprocess(32, 32), epochs=2, store=CheckpointStore(folder), **given)

    return in_own_thread(work, threads=threads)


def every_layer_takes(
    seconds: float, *, backwards: bool = False, while_training: bool = True
) -> Callable[[nn.Module], None]:
    def wait(gradient: torch.Tensor | None = None) -> None:
        time.sleep(seconds)

    def hook(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if layer.training == while_training:
            inputs[0].register_hook(wait) if backwards else wait()

    def slow(network: nn.Module) -> None:
        for layer in network.modules():
            if isinstance(layer, (nn.BatchNorm2d, Rounding)):
                layer.register_forward_pre_hook(hook)

    return slow


@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("in_8_bits", [False, True], ids=["plain", "in 8 bits"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_that_takes_long_is_left_in_its_middle_and_taken_again(
    threads: int, in_8_bits: bool, backwards: bool, tmp_path: Path
) -> None:
    slow, alarm = every_layer_takes(0.6, backwards=backwards), Alarm(Started)
    train_so = partial(train_in, threads=threads, in_8_bits=in_8_bits)

    stopped = train_so(tmp_path / "stopped", slow=slow, stop=alarm, listeners=[alarm])
    late_s = alarm.late_s
    resumed = train_so(tmp_path / "stopped")
    whole = train_so(tmp_path / "whole")

    assert (stopped.status, len(stopped.history)) == ("stopped", 0)
    assert late_s < 5  # the step would have lasted nine
    assert resumed.status == whole.status == "done"
    digests = [checkpoint_digest(CheckpointStore(tmp_path / name)) for name in ("stopped", "whole")]
    assert digests[0] == digests[1]


def test_judging_that_takes_long_is_left_in_its_middle(tmp_path: Path) -> None:
    slow, alarm = every_layer_takes(0.6, while_training=False), Alarm(Stepped, after_s=0.3)

    stopped = train_in(tmp_path, 1, slow=slow, in_8_bits=True, stop=alarm, listeners=[alarm])

    assert (stopped.status, len(stopped.history)) == ("stopped", 0)
    assert alarm.late_s < 5


def test_a_stop_is_heard_while_the_images_of_a_batch_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_image_folder(tmp_path / "data", per_class=40)
    alarm = Alarm(Started)
    decode = DecodedImages._decode

    def slow(self: DecodedImages, index: int) -> NDArray[np.uint8]:
        if alarm():
            time.sleep(0.3)
        return decode(self, index)

    monkeypatch.setattr(DecodedImages, "_decode", slow)

    stopped = train(tiny_training(data, tmp_path, batch_size=96, cache_mb=0), listeners=[alarm], stop=alarm)

    assert (stopped.status, alarm.late_s < 5) == ("stopped", True)  # the batch would take fifteen
    monkeypatch.undo()
    assert resume(stopped.folder).status == "done"


def test_images_are_judged_by_their_pixels_so_that_a_stop_does_not_wait_for_many_large_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_image_folder(tmp_path / "data", per_class=4)
    judged: list[int] = []

    def open_counting(*arguments: Any, **named: Any) -> Session:
        session = open_session(*arguments, **named)
        run = session.run
        monkeypatch.setattr(session, "run", lambda images: (judged.append(len(images)), run(images))[1])
        return session

    monkeypatch.setattr("mnasnet.train.results.open_session", open_counting)

    monkeypatch.setattr("mnasnet.train.results.PIXELS_AT_A_TIME", 3 * 32**2 + 1)

    train(tiny_training(data, tmp_path, val_fraction=0.5, epochs=1))

    assert judged == [3, 3]


@pytest.mark.parametrize("last_written", ["best.onnx", "per_class.csv", "confusion_matrix.png"])
def test_a_stop_while_results_are_written_says_what_is_left_out_and_resume_writes_it(
    last_written: str, tmp_path: Path
) -> None:
    data = write_image_folder(tmp_path / "data", per_class=8)
    run = RunFolder(tmp_path / "run")

    def stop() -> bool:
        return any(run.path.rglob(last_written))

    stopped = train(tiny_training(data, tmp_path, epochs=1, report=True, export_onnx=True), stop=stop)

    assert (stopped.status, stopped.evaluation) == ("stopped", None)
    assert "stopped while the results were written, without " in stopped.reason and "report.html" in stopped.reason
    assert not (run.path / "report.html").exists()
    assert modelfile.load(run.best).class_names == stopped.class_names
    assert resume(run.path).evaluation is not None
    assert (run.path / "report.html").exists()


def test_a_stop_while_the_best_model_is_judged_is_heard(tmp_path: Path) -> None:
    data = write_image_folder(tmp_path / "data", per_class=8)
    alarm = Alarm(EpochEnded)

    stopped = train(tiny_training(data, tmp_path, epochs=1), listeners=[alarm], stop=alarm)
    again = Alarm(Started)
    once_more = resume(stopped.folder, listeners=[again], stop=again)

    assert (stopped.status, once_more.status) == ("stopped", "stopped")
    assert once_more.model.exists()
