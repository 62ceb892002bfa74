"""Short training: what a network's accuracy in a search means, and that it is the same each time."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import optuna
import pytest
import torch
from PIL import Image
from tiny_search import SPACE

from mnasnet.data.folder import scan
from mnasnet.errors import DataError
from mnasnet.search.images import VAL_MEMORY, SearchImages, divide, share_of
from mnasnet.search.short_training import ShortTraining, seed_of
from mnasnet.search.stop import SearchStopped
from mnasnet.space_file import space_of
from mnasnet.testing import write_image_folder
from mnasnet.train.batches import Images, changed, draw_changes

CANDIDATE = space_of(SPACE).candidate_at([0] * 6)
OTHER = space_of(SPACE).candidate_at([1] * 6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_image_folder(tmp_path_factory.mktemp("data"), per_class=12)


@pytest.fixture(scope="module")
def images(folder):
    return SearchImages(folder, divide(scan(folder)), short_side=60, largest_px=32)


def evaluator(images, **chosen) -> ShortTraining:
    return ShortTraining(images, **{"input_size": 32, "epochs": 2, **chosen})


def nobody(step: int, accuracy: float) -> None:
    """Hears of steps and says nothing."""


class TestDividing:
    def test_a_flat_folder_is_cut_into_three_parts_that_share_no_image(self, folder):
        parts = divide(scan(folder), val_fraction=0.25, test_fraction=0.25)

        paths = [sample.path for sample in parts.samples]
        assert [len(samples) for samples in parts.parts.values()] == [21, 6, 9]
        assert len(set(paths)) == len(paths) == 36

    def test_the_validation_folder_is_kept_for_the_last_figure(self, tmp_path):
        dataset = scan(write_image_folder(tmp_path, per_class=10, splits=("train", "val")))

        parts = divide(dataset)

        assert parts.test == dataset.val
        assert set(parts.val) < set(dataset.train)

    def test_a_dataset_with_all_three_folders_is_taken_as_it_is(self, tmp_path):
        dataset = scan(write_image_folder(tmp_path, per_class=4, splits=("train", "val", "test")))

        parts = divide(dataset)

        assert (parts.train, parts.val, parts.test) == (dataset.train, dataset.val, dataset.test)

    def test_another_seed_divides_otherwise_the_same_seed_alike(self, folder):
        dataset = scan(folder)

        assert divide(dataset, seed=1) == divide(dataset, seed=1) != divide(dataset, seed=2)

    def test_classes_of_two_images_leave_nothing_to_validate(self, tmp_path):
        with pytest.raises(DataError, match="at least 3 for each class: for training, validation and test"):
            divide(scan(write_image_folder(tmp_path, per_class=2)))

        assert divide(scan(write_image_folder(tmp_path / "three", per_class=3))).val

    def test_beside_a_test_folder_two_images_of_a_class_are_enough(self, tmp_path):
        with pytest.raises(DataError, match="at least 2 for each class: for training and validation"):
            divide(scan(write_image_folder(tmp_path, per_class=1, splits=("train", "test"))))

        assert divide(scan(write_image_folder(tmp_path / "two", per_class=2, splits=("train", "test")))).val

    def test_a_share_takes_as_much_of_each_class(self, folder):
        parts = divide(scan(folder))

        chosen = share_of(parts, 0.5)

        assert [sum(sample.class_name == name for sample in chosen) for name in parts.class_names] == [4, 4, 4]
        assert set(share_of(parts, 0.001)) <= set(chosen)


class TestUnreadableImages:
    @pytest.fixture
    def parts(self, tmp_path):
        return divide(scan(write_image_folder(tmp_path, per_class=12)))

    @pytest.mark.parametrize("cache_mb", [0, 2000])
    def test_are_left_out_whatever_the_memory_holds(self, parts, tmp_path, cache_mb):
        bad = {parts.train[5].path, parts.val[0].path}
        for path in bad:
            (tmp_path / path).write_bytes((tmp_path / path).read_bytes()[:300])
        images = SearchImages(tmp_path, parts, short_side=60, largest_px=32, cache_mb=cache_mb)
        images.train(), images.val(32)  # made before all were looked at

        images.leave_out(frozenset(bad))

        assert len(images.train().labels) == len(parts.train) - 1
        assert [len(images.val(px).labels) for px in (32, 48)] == [len(parts.val) - 1] * 2
        assert 0 <= evaluator(images, epochs=1).evaluate(CANDIDATE, nobody) <= 1

    def test_of_the_validation_are_no_training_images(self, parts, tmp_path):
        (tmp_path / parts.val[0].path).write_bytes(b"")
        images = SearchImages(tmp_path, parts, short_side=60, largest_px=32, max_bad=0.0)

        assert len(images.val(32).labels) == len(parts.val) - 1
        (tmp_path / parts.train[0].path).write_bytes(b"")
        with pytest.raises(DataError, match=f"1 of {len(parts.train)} training images are unreadable"):
            images.train()


class TestSmallNetworksOfALargeSpace:
    @pytest.fixture
    def checkered(self, tmp_path):
        """Images of 400 px, black and white every 6 px: at 96 px still to be seen, but paler."""
        place = np.arange(400) // 6
        white = (place[:, None] + place) % 2 == 0
        picture = Image.fromarray(np.repeat(white[:, :, None], 3, axis=2).astype(np.uint8) * 255)
        for path in (tmp_path / name / f"{number}.png" for name in "ab" for number in range(8)):
            path.parent.mkdir(exist_ok=True)
            picture.save(path)
        return tmp_path

    def test_learn_from_images_as_pale_as_those_kept_for_their_size(self, checkered, monkeypatch):
        parts = divide(scan(checkered))

        def spread(largest_px: int) -> float:
            images, trained_with = SearchImages(checkered, parts, short_side=400, largest_px=largest_px), []

            def fit(network: object, train: Images, *others: object, **more: object) -> SimpleNamespace:
                trained_with.append(train)
                return SimpleNamespace(status="done", history=[])

            monkeypatch.setattr("mnasnet.search.short_training.fit", fit)
            training = evaluator(images, input_size=96)
            training.evaluate(CANDIDATE, nobody)
            (train,) = trained_with
            recipe, count = training.recipe(len(train.labels)), len(train.labels)
            changes = draw_changes(count, recipe, seed=0, epoch=0, step=0)
            pixels, labels = train.read(np.arange(count)), torch.from_numpy(train.labels)
            x, _ = changed(pixels, labels, changes, recipe, images.preprocess(96), 2)
            return float(x.std())

        assert spread(224) == pytest.approx(spread(96), rel=0.1)  # without a filter more than twice as much


class TestJudging:
    def test_the_same_network_gets_the_same_accuracy_again(self, images):
        first = evaluator(images).evaluate(CANDIDATE, nobody)

        assert 0 <= first <= 1
        assert evaluator(images).evaluate(CANDIDATE, nobody) == first

    def test_random_numbers_belong_to_the_network_and_the_seed(self):
        assert seed_of(CANDIDATE, 0) == seed_of(CANDIDATE, 0)
        assert len({seed_of(CANDIDATE, 0), seed_of(CANDIDATE, 1), seed_of(OTHER, 0)}) == 3

    def test_every_epoch_is_reported_but_the_last_after_which_nothing_is_saved(self, images):
        heard = []

        def patient(step: int, accuracy: float) -> None:
            heard.append(step)
            if step == 3:
                raise optuna.TrialPruned("hopeless")

        accuracy = evaluator(images, epochs=3).evaluate(CANDIDATE, patient)

        assert heard == [1, 2]
        assert 0 <= accuracy <= 1

    def test_a_pruner_ends_the_training_at_once(self, images):
        heard = []

        def hopeless(step: int, accuracy: float) -> None:
            heard.append(step)
            raise optuna.TrialPruned("hopeless")

        with pytest.raises(optuna.TrialPruned):
            evaluator(images, epochs=50).evaluate(CANDIDATE, hopeless)
        assert heard == [1]

    def test_colours_are_learned(self, images):
        accuracy = evaluator(images, epochs=25, flip=False).evaluate(CANDIDATE, nobody)

        assert accuracy > 0.9  # of three classes; chance is a third

    def test_worst_class_recall_is_at_most_the_accuracy(self, images):
        top1 = evaluator(images).evaluate(CANDIDATE, nobody)

        worst = evaluator(images, accuracy="worst_recall").evaluate(CANDIDATE, nobody)

        assert worst <= top1

    def test_a_stop_is_no_failure_of_the_network(self, images):
        with pytest.raises(SearchStopped):
            evaluator(images, epochs=50, stop=lambda: True).evaluate(CANDIDATE, nobody)

    def test_ctrl_c_ends_a_training_after_its_batch(self, images, ctrl_c):
        def press(step: int, accuracy: float) -> None:
            if step == 1:
                ctrl_c()

        with pytest.raises(KeyboardInterrupt):
            evaluator(images, epochs=100_000).evaluate(CANDIDATE, press)

    def test_images_are_decoded_once_for_all_networks(self, images):
        evaluator(images).evaluate(CANDIDATE, nobody)
        train, val = images.train(), images.val(32)

        evaluator(images).evaluate(OTHER, nobody)

        assert images.train() is train and images.val(32) is val
        assert train.cache.planned == len(train.cache)

    def test_all_input_sizes_together_keep_to_the_memory(self, folder):
        sizes = (96, 128, 160)
        fresh = SearchImages(folder, divide(scan(folder)), 60, 160, val_sizes=len(sizes), cache_mb=1)

        caches = [fresh.val(size).cache for size in sizes]

        assert sum(cache.memory_bytes for cache in caches) <= VAL_MEMORY * 1e6
        assert all(0 < cache.planned < len(cache) for cache in caches)  # each would take more

    def test_time_is_foreseen_without_looking_at_an_image(self, folder):
        fresh = SearchImages(folder, divide(scan(folder)), short_side=60, largest_px=32)

        seconds = evaluator(fresh).seconds_per_image(CANDIDATE, 32, images=100)

        assert 0 < seconds < 0.5
