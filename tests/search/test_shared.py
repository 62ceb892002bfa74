"""Shared weights as an evaluator: any algorithm searches with them, at the cost of one training."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mnasnet.data.folder import scan
from mnasnet.search.counts import CountMeter
from mnasnet.search.curriculum import Curriculum, extreme
from mnasnet.search.images import SearchImages, divide
from mnasnet.search.problem import SearchProblem
from mnasnet.search.records import records
from mnasnet.search.shared_weights import SharedWeights
from mnasnet.search.stop import SearchStopped
from mnasnet.search.study import Budget, create_study, search
from mnasnet.search.supernet import recalibrate
from mnasnet.space import BlockChoices, SearchSpace
from mnasnet.testing import write_image_folder
from mnasnet.train.checkpoint import CheckpointStore
from mnasnet.train.events import EpochEnded, Event, Stepped
from mnasnet.train.objective import predict_logits

SPACE = SearchSpace(
    (
        BlockChoices(operator=("separable",), channels=(8,)),
        BlockChoices(operator=("inverted3", "inverted6"), kernel=(3, 5), channels=(16,), repeats=(1, 2), stride=(2,)),
    ),
    stem_channels=8,
    head_channels=32,
    input_sizes=(32, 48),
)


def silent(step: int, accuracy: float) -> None:
    """Nobody listens to steps here."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> SearchImages:
    folder = write_image_folder(tmp_path_factory.mktemp("images"), per_class=24)
    return SearchImages(folder, divide(scan(folder)), short_side=60, largest_px=48, threads=1)


@pytest.fixture(scope="module")
def shared(images: SearchImages, tmp_path_factory: pytest.TempPathFactory) -> SharedWeights:
    weights = SharedWeights(
        SPACE,
        images,
        48,
        epochs=12,
        curriculum=Curriculum(warmup=0.2),
        store=CheckpointStore(tmp_path_factory.mktemp("s")),
    )
    weights.train()
    return weights


@pytest.mark.parametrize("algorithm", ["guided", "evolution", "ppo", "random"])
def test_every_algorithm_searches_with_shared_weights_unchanged(shared: SharedWeights, algorithm: str) -> None:
    problem = SearchProblem(
        SPACE, shared, {"multiply_adds": CountMeter("multiply_adds", 48, 3)}, limits={"multiply_adds": 1e9}
    )
    study = create_study(problem, algorithm=algorithm)

    search(study, problem, Budget(evaluations=3))

    judged = [record for record in records(study) if record.state == "done"]
    assert len({record.fingerprint for record in judged}) == 3
    assert all(0 <= record.accuracy <= 1 for record in judged)


def test_a_network_is_judged_in_seconds_and_always_alike(shared: SharedWeights) -> None:
    candidate = extreme(SPACE, "largest")
    before = {name: value.clone() for name, value in shared.train().state_dict().items()}

    began = time.perf_counter()
    first = shared.evaluate(candidate, silent)
    seconds = time.perf_counter() - began

    assert shared.evaluate(candidate, silent) == first
    assert all(torch.equal(value, before[name]) for name, value in shared.train().state_dict().items())
    assert seconds < 5  # 18 images: it takes a tenth of a second


def test_the_score_is_the_probability_of_the_right_class_with_statistics_of_training_images_at_the_networks_size(
    shared: SharedWeights, images: SearchImages
) -> None:
    candidate = extreme(SPACE, "smallest")
    assert candidate.input_size == 32
    val = images.val(32)

    network = shared.train().cut_out(candidate.architecture)
    recalibrate(network, images.train(), images.preprocess(32))
    scores = predict_logits(network, val, images.preprocess(32))

    probabilities = torch.from_numpy(scores).softmax(1)[torch.arange(len(val.labels)), torch.from_numpy(val.labels)]
    assert shared.evaluate(candidate, silent) == pytest.approx(float(probabilities.mean()), abs=1e-5)
    assert not set(images.parts.val) & set(images.parts.train)


def test_weights_learn(shared: SharedWeights) -> None:
    assert shared.evaluate(extreme(SPACE, "largest"), silent) > 0.5  # three colours: chance is a third


def test_another_process_takes_trained_weights_from_the_store(shared: SharedWeights) -> None:
    heard: list[Event] = []

    class Ears:
        def hear(self, event: Event) -> None:
            heard.append(event)

    again = SharedWeights(SPACE, shared.images, 48, epochs=12, curriculum=shared.curriculum, store=shared.store)
    again.train([Ears()])

    candidate = extreme(SPACE, "largest")
    assert not any(isinstance(event, Stepped) for event in heard)
    assert again.evaluate(candidate, silent) == shared.evaluate(candidate, silent)


def test_ctrl_c_ends_the_training_and_keeps_what_it_learned(
    images: SearchImages, tmp_path: Path, ctrl_c: Callable[[], None]
) -> None:
    class Finger:
        def hear(self, event: Event) -> None:
            if isinstance(event, EpochEnded) and event.row["epoch"] == 2:
                ctrl_c()

    store = CheckpointStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        SharedWeights(SPACE, images, 48, epochs=100_000, store=store).train([Finger()])

    assert store.load() is not None


def test_stop_ends_training_and_judging(images: SearchImages, shared: SharedWeights, tmp_path: Path) -> None:
    stopping = SharedWeights(SPACE, images, 48, epochs=12, stop=lambda: True)
    with pytest.raises(SearchStopped):
        stopping.evaluate(extreme(SPACE, "largest"), silent)

    trained = SharedWeights(
        SPACE, images, 48, epochs=12, curriculum=shared.curriculum, store=shared.store, stop=lambda: True
    )
    with pytest.raises(SearchStopped):
        trained.evaluate(extreme(SPACE, "largest"), silent)


def test_a_proxy_size_replaces_the_networks_own(images: SearchImages) -> None:
    small = replace(images, largest_px=32)
    weights = SharedWeights(SPACE, small, 48, epochs=1, proxy_input_size=32)

    assert weights.size_of(extreme(SPACE, "largest")) == 32
    assert 0 <= weights.evaluate(extreme(SPACE, "largest"), silent) <= 1


def test_the_worst_class_can_be_what_counts(shared: SharedWeights) -> None:
    worst = SharedWeights(
        SPACE, shared.images, 48, epochs=12, curriculum=shared.curriculum, store=shared.store, accuracy="worst_recall"
    )
    candidate = extreme(SPACE, "smallest")

    assert 0 < worst.evaluate(candidate, silent) < shared.evaluate(candidate, silent)


def test_networks_of_equal_accuracy_are_told_apart(shared: SharedWeights, images: SearchImages) -> None:
    pair = [extreme(SPACE, "largest"), extreme(SPACE, "smallest")]
    right = []
    for candidate in pair:
        val = images.val(shared.size_of(candidate))
        scores = predict_logits(shared.cut_out(candidate), val, images.preprocess(shared.size_of(candidate)))
        right.append(int((scores.argmax(1) == val.labels).sum()))

    assert right[0] == right[1] == len(images.parts.val)
    assert shared.evaluate(pair[0], silent) != shared.evaluate(pair[1], silent)


def test_the_report_says_how_accuracy_was_judged_and_what_it_costs(shared: SharedWeights) -> None:
    assert "with shared weights, trained once for all networks in 12 epochs" in shared.describe()
    assert f"batch statistics come from {len(shared.images.parts.train)} of them" in shared.describe()
    half = SharedWeights(SPACE, replace(shared.images, share=0.5), 48, epochs=1)
    assert "in 1 epoch on 50% of" in half.describe()
    assert f"batch statistics come from {len(half.images.train().labels)} of them" in half.describe()
