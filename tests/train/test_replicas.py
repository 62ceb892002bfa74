"""Threads that learn from parts of a batch take the step of the whole batch, whatever their timing."""

from __future__ import annotations

import copy
import itertools
import random
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from equal_runs import checkpoint_digest
from tiny import tiny_training
from torch import Tensor, nn

from mnasnet.modelfile import network_of
from mnasnet.network.build import MnasNet
from mnasnet.network.supernet import Supernet
from mnasnet.preprocess import Preprocess
from mnasnet.space import BlockChoices, SearchSpace
from mnasnet.testing import random_model, write_image_folder
from mnasnet.train.batches import StoredImages
from mnasnet.train.checkpoint import CheckpointStore, from_bytes
from mnasnet.train.events import Event as Heard
from mnasnet.train.events import Stepped
from mnasnet.train.own_thread import in_own_thread
from mnasnet.train.recipe import Recipe
from mnasnet.train.replicas import SMALLEST_PART, Replicas, replicas_for
from mnasnet.train.run import resume, train
from mnasnet.train.run_folder import RunFolder
from mnasnet.train.trainer import FitResult, fit

COUNT = 2 * SMALLEST_PART + 5
FIRST, SECOND = SMALLEST_PART + 3, SMALLEST_PART + 2  # images of the two parts
LABELS = np.arange(COUNT) % 3
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8)
TWICE = np.arange(2 * (2 * SMALLEST_PART - 5)) % COUNT  # an epoch of two batches that divide, unevenly
IMAGES = StoredImages(PIXELS[TWICE], LABELS[TWICE])
BATCH = (torch.randn(COUNT, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.from_numpy(LABELS))


def network_with(dropout: float = 0.0, *, norms_learn: bool = True) -> MnasNet:
    network = network_of(random_model(), dropout=dropout).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train(norms_learn)
    return network


def backward(network: nn.Module, x: Tensor, labels: Tensor) -> int:
    (F.cross_entropy(network(x), labels, reduction="sum") / COUNT).backward()
    return len(x)


def learned_from(network: MnasNet, replicas: int) -> list[int]:
    learners = Replicas(network, replicas)
    try:
        return learners.learn(backward, *BATCH)
    finally:
        learners.close()


def gradients(network: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in network.parameters() if parameter.grad is not None]


def test_parts_have_the_gradient_of_the_whole_batch() -> None:
    whole, divided = network_with(norms_learn=False), network_with(norms_learn=False)

    assert learned_from(whole, 1) == [COUNT]
    assert learned_from(divided, 2) == [FIRST, SECOND]

    # sums in another order: float32 rounds at 6e-8 of the largest
    for one, other in zip(gradients(whole), gradients(divided), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-6 * max(1.0, float(one.abs().max())))


def test_shared_weights_learn_in_parts_too() -> None:
    torch.manual_seed(0)
    searched = SearchSpace((BlockChoices(operator=("separable", "inverted3"), channels=(8, 16), layers=(0, 1)),))
    whole = Supernet(searched, 3).eval()
    divided = copy.deepcopy(whole)
    architecture = searched.random(random.Random(0)).architecture

    def learn(network: nn.Module, x: Tensor, labels: Tensor) -> None:
        (F.cross_entropy(network(x, architecture), labels, reduction="sum") / COUNT).backward()

    learn(whole, *BATCH)
    learners = Replicas(divided, 2)
    learners.learn(learn, *BATCH)
    learners.close()

    assert 0 < len(gradients(whole)) < len(list(whole.parameters()))  # operators that were not chosen learn nothing
    for one, other in zip(gradients(whole), gradients(divided), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-6 * max(1.0, float(one.abs().max())))


def test_batch_statistics_are_the_mean_over_all_images() -> None:
    whole, divided = network_with(), network_with()

    learned_from(whole, 1)
    learned_from(divided, 2)

    assert torch.allclose(whole.stem.bn.running_mean, divided.stem.bn.running_mean, atol=1e-6)
    assert not torch.equal(divided.stem.bn.running_mean, network_with().stem.bn.running_mean)
    assert int(divided.stem.bn.num_batches_tracked) == int(whole.stem.bn.num_batches_tracked)


def after_two_steps(network: nn.Module, replicas: int, momentum: float = 0.0) -> nn.Module:
    """``network`` after the second of two steps from 89 images, of which three parts have 30, 30 and 29."""
    x, labels = (torch.cat([one, one[:20]]) for one in BATCH)
    learners = Replicas(network, replicas)
    for scale in (1.0, -2.0):
        network.zero_grad(set_to_none=True)
        learners.learn(backward, scale * x, labels)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = momentum
    learners.close()
    return network


def test_every_step_in_three_parts_has_the_gradient_of_the_whole_batch() -> None:
    whole, divided = (after_two_steps(network_with(norms_learn=False), replicas) for replicas in (1, 3))

    for one, other in zip(gradients(whole), gradients(divided), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-6 * max(1.0, float(one.abs().max())))


def test_batch_statistics_move_on_from_all_images_whatever_the_momentum() -> None:
    def means(replicas: int) -> Tensor:
        network = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return after_two_steps(network, replicas, momentum=0.7)[0].running_mean

    assert torch.allclose(means(1), means(3), rtol=0, atol=1e-7)  # the parts' own means are some 1e-3


def test_frozen_batch_statistics_stay_to_the_bit() -> None:
    network = network_with(norms_learn=False)
    before = [buffer.clone() for buffer in network.buffers()]

    learned_from(network, 2)

    assert all(torch.equal(one, other) for one, other in zip(before, network.buffers(), strict=True))


def test_the_outcome_does_not_depend_on_which_thread_is_first() -> None:
    def learned_in_turn(first_rows: int) -> list[Tensor]:
        network, done = network_with(dropout=0.5), Event()

        def in_turn(replica: nn.Module, x: Tensor, labels: Tensor) -> None:
            if len(x) != first_rows:
                assert done.wait(60)
            backward(replica, x, labels)
            done.set()

        torch.manual_seed(1)
        learners = Replicas(network, 2)
        learners.learn(in_turn, *BATCH)
        learners.close()
        return [*gradients(network), *network.buffers()]

    one, other = learned_in_turn(FIRST), learned_in_turn(SECOND)

    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_parts_draw_dropout_of_their_own_in_each_step_at_the_asked_rate() -> None:
    learners = Replicas(network_with(dropout=0.25), 3)
    kept = [
        mask
        for _ in range(2)
        for mask in learners.learn(
            lambda replica, x: replica.dropout(torch.ones(len(x), 1000)), torch.zeros(3 * SMALLEST_PART, 1)
        )
    ]
    learners.close()

    assert not any(torch.equal(one, other) for one, other in itertools.combinations(kept, 2))
    for mask in kept:
        assert torch.equal(mask.unique(), torch.tensor([0, 1 / 0.75]))
        # 32,000 draws: the share of zeros has a standard deviation of 0.0024
        assert float((mask == 0).float().mean()) == pytest.approx(0.25, abs=0.02)


def test_an_error_in_one_part_is_raised_when_all_are_at_rest() -> None:
    ended: list[int] = []

    def fail(replica: nn.Module, x: Tensor, labels: Tensor) -> None:
        if len(x) == FIRST:
            raise MemoryError("of the first part")
        backward(replica, x, labels)
        ended.append(len(x))

    learners = Replicas(network_with(), 2)
    with pytest.raises(MemoryError, match="of the first part"):
        learners.learn(fail, *BATCH)

    assert ended == [SECOND]
    learners.close()


def test_learning_threads_leave_the_number_of_torch_threads_as_it_was() -> None:
    def seen() -> tuple[int, list[int], int]:
        learners = Replicas(network_with(), 2)
        inside = learners.learn(lambda network, x: torch.get_num_threads(), BATCH[0])
        learners.close()
        return torch.get_num_threads(), inside, in_own_thread(lambda _: torch.get_num_threads())

    assert in_own_thread(lambda _: seen(), threads=5) == (5, [2, 2], 5)


@pytest.mark.parametrize(
    ("batch_size", "threads", "replicas"), [(128, 2, 2), (128, 64, 4), (64, 4, 2), (63, 4, 1), (2, 4, 1), (64, 1, 1)]
)
def test_no_part_is_too_small_for_batch_statistics(batch_size: int, threads: int, replicas: int) -> None:
    assert replicas_for(batch_size, threads) == replicas


@pytest.mark.parametrize(("images", "parts"), [(63, [32, 31]), (56, [28, 28]), (55, [55])])
def test_a_batch_a_little_smaller_than_asked_is_divided_as_a_whole_one(images: int, parts: list[int]) -> None:
    """As an epoch that is cut evenly has them: 1,257 images in batches of 64 are batches of 62 and 63."""
    learners = Replicas(network_with(), 2)

    found = learners.learn(lambda network, x: len(x), torch.zeros(images, 1))

    learners.close()
    assert found == parts


class StopAfter:
    """Asks to stop after so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def hear(self, event: Heard) -> None:
        self.left -= isinstance(event, Stepped)

    def __call__(self) -> bool:
        return self.left <= 0


def fitted(threads: int, store: CheckpointStore, steps: int = 1000, **chosen: Any) -> FitResult[MnasNet]:
    stop = StopAfter(steps)
    recipe = Recipe("r", "sgd", 0.05, 2 * SMALLEST_PART, dropout=0.5, mixup=0.5, ema=0.9, **chosen)
    return in_own_thread(
        lambda _: fit(
            network_with(dropout=0.5),
            IMAGES,
            IMAGES,
            recipe,
            Preprocess(32, 32),
            epochs=3,
            store=store,
            listeners=[stop],
            stop=stop,
        ),
        threads=threads,
    )


def test_a_resumed_training_keeps_its_parts_on_another_number_of_threads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = fitted(2, CheckpointStore(tmp_path / "whole"))
    store = CheckpointStore(tmp_path / "moved")

    stopped = fitted(2, store, steps=3)
    moved = fitted(1, store)

    assert (stopped.status, moved.status) == ("stopped", "done")
    assert "the number of threads was 2 and is 1" in caplog.text and "torch was" not in caplog.text
    assert from_bytes(store.load() or b"").values["replicas"] == 2
    # tensors of this network are too small for torch to divide among threads: every sum keeps its order
    for one, other in zip(whole.average.state_dict().values(), moved.average.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_features_that_were_frozen_learn_from_all_parts_once_they_are_free(tmp_path: Path) -> None:
    whole, store = CheckpointStore(tmp_path / "whole"), CheckpointStore(tmp_path / "broken")

    fitted(2, whole, frozen_epochs=1)
    fitted(2, store, steps=3, frozen_epochs=1)
    fitted(2, store, frozen_epochs=1)  # begins with features that are free

    assert checkpoint_digest(store) == checkpoint_digest(whole)


def test_a_run_in_parts_goes_on_to_the_bits_of_one_that_was_not_stopped(tmp_path: Path) -> None:
    data = write_image_folder(tmp_path / "data", per_class=50)  # 120 to learn from: two batches of 60
    chosen = {"threads": 2, "batch_size": 2 * SMALLEST_PART, "dropout": 0.3, "mixup": 0.3}
    stop = StopAfter(3)

    whole = train(tiny_training(data, tmp_path / "whole", **chosen))
    stopped = train(tiny_training(data, tmp_path / "stopped", **chosen), listeners=[stop], stop=stop)
    resumed = resume(stopped.folder)

    store = RunFolder(resumed.folder).store
    assert from_bytes(store.load() or b"").values["replicas"] == 2
    assert checkpoint_digest(store) == checkpoint_digest(RunFolder(whole.folder).store)


def test_a_checkpoint_of_an_older_release_goes_on_with_whole_batches(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    fitted(2, store, steps=3)
    checkpoint = from_bytes(store.load() or b"")
    store.save(type(checkpoint)(checkpoint.tensors, {k: v for k, v in checkpoint.values.items() if k != "replicas"}))

    fitted(2, store)

    assert from_bytes(store.load() or b"").values["replicas"] == 1
