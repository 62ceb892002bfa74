"""Recipes and schedules: every constant where its source says."""

from __future__ import annotations

import math

import pytest

from mnasnet.errors import SettingsError
from mnasnet.train.recipe import Recipe, batch_size_for, bn_momentum_for, ema_for, mnasnet_recipe, recipe_for


def test_the_papers_learning_rate_is_0_256_at_its_batch_of_4096() -> None:
    assert mnasnet_recipe(4096, epochs=350).learning_rate == pytest.approx(0.256)


def test_the_papers_constants_are_in_its_recipe() -> None:
    recipe = mnasnet_recipe(256, epochs=350)

    assert (recipe.optimizer, recipe.momentum, recipe.weight_decay, recipe.dropout) == ("rmsprop", 0.9, 1e-5, 0.2)
    assert (recipe.label_smoothing, recipe.bn_momentum, recipe.augment, recipe.min_area) == (0.1, 0.01, "crop", 0.08)


def test_the_papers_schedule_warms_up_five_epochs_and_falls_in_steps_of_2_4_epochs() -> None:
    recipe = mnasnet_recipe(256, epochs=350)
    steps = 100

    rates = [recipe.learning_rate_at(step, steps, 350) for step in range(20 * steps)]

    assert rates[: 5 * steps] == sorted(rates[: 5 * steps])
    assert rates[0] < recipe.learning_rate / 100
    assert rates[5 * steps] == pytest.approx(recipe.learning_rate * 0.97**2)  # 5 epochs hold two stairs of 2.4
    assert rates[16 * steps] == pytest.approx(recipe.learning_rate * 0.97**6)


def test_the_cosine_ends_at_a_hundredth_of_the_peak() -> None:
    recipe = Recipe("r", "sgd", 1.0, 8, warmup_epochs=1)

    rates = [recipe.learning_rate_at(step, 10, 5) for step in range(50)]

    assert max(rates) == rates[10] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.01, abs=0.003)


def test_the_average_of_weights_starts_short_so_that_brief_runs_are_not_held_back() -> None:
    recipe = mnasnet_recipe(256, epochs=350)

    assert recipe.ema_decay_at(0) == pytest.approx(0.1)
    assert recipe.ema_decay_at(10**6) == 0.9999


@pytest.mark.parametrize(("steps", "memory"), [(30, 2), (20_000, 1000), (10**6, 10_000)])
def test_the_average_remembers_a_twentieth_of_the_run(steps: int, memory: int) -> None:
    assert ema_for(steps) == pytest.approx(1 - 1 / memory)


@pytest.mark.parametrize(("steps", "momentum"), [(30, 0.1), (300, 0.1), (1500, 0.02), (10**6, 0.01)])
def test_batch_statistics_adapt_within_a_short_fine_tuning(steps: int, momentum: float) -> None:
    assert bn_momentum_for(steps) == pytest.approx(momentum)


@pytest.mark.parametrize(("images", "batch"), [(6, 8), (60, 8), (600, 32), (1797, 64), (45_000, 128)])
def test_batches_suit_the_number_of_images(images: int, batch: int) -> None:
    assert batch_size_for(images) == batch


def test_short_runs_get_light_augmentation_and_long_ones_all_of_it() -> None:
    short = recipe_for(images=5000, epochs=10, pretrained=False)
    long = recipe_for(images=5000, epochs=100, pretrained=False)

    assert (short.augment, short.mixup) == ("light", 0.0)
    assert long.augment == "trivial"
    assert long.mixup > 0 and long.cutmix > 0


def test_a_pretrained_start_first_trains_the_new_classifier_alone() -> None:
    assert recipe_for(images=600, epochs=15, pretrained=True).frozen_epochs == 1
    assert recipe_for(images=600, epochs=15, pretrained=True, feature_extract=True).frozen_epochs == 15
    assert recipe_for(images=600, epochs=15, pretrained=False).frozen_epochs == 0


def test_a_few_frozen_epochs_beside_feature_extract_are_refused() -> None:
    with pytest.raises(SettingsError, match="frozen_epochs 3 does not go with feature_extract"):
        recipe_for(images=600, epochs=15, pretrained=True, feature_extract=True, frozen_epochs=3)

    alike = recipe_for(images=600, epochs=15, pretrained=True, feature_extract=True, frozen_epochs=15)
    assert alike.frozen_epochs == 15


def test_a_start_that_knows_the_classes_keeps_its_features_nearly_as_they_are() -> None:
    known = recipe_for(images=600, epochs=15, pretrained=True, knows_classes=True)

    assert known.body_rate == 0.1
    assert recipe_for(images=600, epochs=15, pretrained=True).body_rate == 1.0
    # getting used to 8 bits is gentle as it is
    assert (
        recipe_for(images=600, epochs=15, pretrained=True, knows_classes=True, quantization_aware=True).body_rate == 1
    )


def test_what_was_trained_on_the_same_images_goes_on_with_nothing_held_back() -> None:
    recipe = recipe_for("continue", images=600, epochs=15, pretrained=True, knows_classes=True)

    assert (recipe.frozen_epochs, recipe.body_rate) == (0, 1.0)
    assert recipe.learning_rate == recipe_for(images=600, epochs=15, pretrained=True).learning_rate


@pytest.mark.parametrize("images", [600, 45_000])
def test_fresh_networks_start_as_their_skips_but_in_the_papers_recipe(images: int) -> None:
    assert recipe_for(images=images, epochs=10, pretrained=False).identity_start
    assert not recipe_for("mnasnet", images=images, epochs=10, pretrained=False).identity_start
    assert not recipe_for(images=images, epochs=10, pretrained=True).identity_start


def test_what_the_user_chose_wins() -> None:
    recipe = recipe_for("mnasnet", images=600, epochs=5, pretrained=False, learning_rate=0.5, dropout=0.0)

    assert (recipe.learning_rate, recipe.dropout, recipe.optimizer) == (0.5, 0.0, "rmsprop")


def test_without_augmentation_images_are_neither_mixed_nor_erased_unless_asked() -> None:
    plain = recipe_for(images=600, epochs=100, pretrained=True, augment="none")
    asked = recipe_for(images=600, epochs=100, pretrained=True, augment="none", erasing=0.5)

    assert (plain.mixup, plain.cutmix, plain.erasing) == (0, 0, 0)
    assert (asked.mixup, asked.cutmix, asked.erasing) == (0, 0, 0.5)


def test_mixup_and_cutmix_share_the_batches() -> None:
    recipe = recipe_for(images=600, epochs=100, pretrained=True, mixup=0.9)

    assert (recipe.mixup, recipe.cutmix) == (0.9, pytest.approx(0.1))
    with pytest.raises(SettingsError, match=r"at most 1 together.* got 0.9 and 0.2"):
        recipe_for(images=600, epochs=100, pretrained=True, mixup=0.9, cutmix=0.2)


@pytest.mark.parametrize(
    ("field", "value"), [("learning_rate", math.inf), ("batch_size", 1), ("mixup", 1.5), ("dropout", 1.0)]
)
def test_a_value_that_cannot_be_is_refused_with_its_name(field: str, value: float) -> None:
    with pytest.raises(SettingsError, match=field):
        recipe_for(images=600, epochs=5, pretrained=False, **{field: value})


def test_a_value_of_another_kind_is_refused_before_it_is_reckoned_with() -> None:
    with pytest.raises(SettingsError, match=r"^mixup must be a number, got '0\.5'$"):
        recipe_for(images=600, epochs=5, pretrained=False, mixup="0.5")


def test_a_recipe_survives_its_dictionary() -> None:
    recipe = mnasnet_recipe(64, epochs=10)

    assert Recipe.from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"momentums": 0.9}, "unknown field 'momentums'"),
        ({"clip_norm": "much"}, "clip_norm must be a number, got 'much'"),
        ({"flip": "no"}, "flip must be true or false, got 'no'"),
        ({"frozen_epochs": 1.5}, "frozen_epochs must be a whole number, got 1.5"),
    ],
)
def test_an_error_in_a_stored_recipe_names_the_field(change: dict[str, object], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        Recipe.from_dict({**mnasnet_recipe(16, 10).to_dict(), **change})


def test_a_stored_recipe_that_lacks_a_field_says_which() -> None:
    with pytest.raises(SettingsError, match="lacks 'batch_size'"):
        Recipe.from_dict({"name": "mine", "optimizer": "sgd", "learning_rate": 0.1})
