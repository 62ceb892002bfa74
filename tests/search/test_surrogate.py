"""The predictor: recovers what it can express, and doubts where it knows nothing."""

import numpy as np
import pytest

from mnasnet.search.surrogate import ERROR_SCALES, Features, Scales, choose_scales, fit

NAMES = [f"block{b}.{part}" for b in range(3) for part in ("kernel", "layers")]
COUNTS = [2, 3] * 3


def random_points(rng: np.random.Generator, number: int) -> np.ndarray:
    return rng.integers(0, COUNTS, size=(number, len(COUNTS)))


def additive(points: np.ndarray) -> np.ndarray:
    return points @ np.linspace(0.01, 0.03, len(COUNTS)) + 0.5


def test_features_pair_the_choices_of_a_block_apart_from_the_others():
    features = Features(NAMES, COUNTS)

    assert features.singles == 1 + sum(COUNTS)  # the constant is one of them
    assert features.within == 3 * (1 * 2)
    assert features(random_points(np.random.default_rng(0), 4), across=False).shape == (4, 1 + 15 + 6)


@pytest.mark.parametrize("number", [20, 200])
def test_an_additive_truth_is_recovered_in_both_forms(number):
    rng = np.random.default_rng(0)
    features, points, fresh = Features(NAMES, COUNTS), random_points(rng, number), random_points(rng, 50)
    scales = Scales(signal=1e6, within=1e-6, across=0.0, power=None)

    surrogate = fit(features, points, additive(points), scales)

    # noise-free, additive and a prior that hardly pulls
    np.testing.assert_allclose(surrogate.mean(fresh), additive(fresh), atol=1e-4)


def test_the_evidence_trusts_single_options_when_effects_add_up():
    rng = np.random.default_rng(0)
    features, points = Features(NAMES, COUNTS), random_points(rng, 200)

    scales = choose_scales(features, points, additive(points) + 0.001 * rng.standard_normal(200))

    assert scales.across <= 0.01


def test_the_dual_and_the_primal_form_agree():
    rng = np.random.default_rng(1)
    features = Features(NAMES, COUNTS)
    points = random_points(rng, 22)  # as many as features: primal
    scales = Scales(signal=10.0, within=0.3, across=0.0, power=None)
    fresh = random_points(rng, 30)

    primal = fit(features, points, additive(points), scales)
    # two features more than points through a group of pairs across blocks with next to no variance: dual
    dual = fit(features, points, additive(points), Scales(10.0, 0.3, 1e-12, None))

    np.testing.assert_allclose(dual.mean(fresh), primal.mean(fresh), atol=1e-6)
    spreads = [
        np.std([form.draw(np.random.default_rng(i), 1.0)(fresh) for i in range(2000)], axis=0)
        for form in (primal, dual)
    ]
    # the standard error of the spread of 2,000 draws is 1.6 %; 6 of them for the difference of two, at 30 points
    np.testing.assert_allclose(*spreads, rtol=0.14)


def test_draws_differ_most_where_nothing_was_seen():
    rng = np.random.default_rng(2)
    features = Features(NAMES, COUNTS)
    points = random_points(rng, 40)
    points[:, 0] = 0  # option 1 of the first choice is never seen
    values = additive(points) + 0.001 * rng.standard_normal(40)
    surrogate = fit(features, points, values, choose_scales(features, points, values))
    seen, unseen = points[:1], points[:1].copy()
    unseen[0, 0] = 1

    draws = [surrogate.draw(np.random.default_rng(i), 1.0) for i in range(100)]

    spread = [np.std([draw(point)[0] for draw in draws]) for point in (seen, unseen)]
    assert spread[1] > 2 * spread[0]


def test_the_mean_of_many_draws_is_the_mean():
    rng = np.random.default_rng(3)
    features = Features(NAMES, COUNTS)
    points = random_points(rng, 15)
    scales = Scales(1.0, 0.3, 0.0, None)
    surrogate = fit(features, points, additive(points) + 0.01 * rng.standard_normal(15), scales)
    fresh = random_points(rng, 5)

    draws = np.array([surrogate.draw(np.random.default_rng(i), 1.0)(fresh) for i in range(2000)])

    # the standard error of 2,000 draws is 1/45 of their spread; 5 of them are a chance below one in a million
    assert (np.abs(draws.mean(0) - surrogate.mean(fresh)) < 5 * draws.std(0) / np.sqrt(2000)).all()


@pytest.mark.parametrize("power", ERROR_SCALES)
def test_what_is_predicted_on_a_scale_of_the_error_is_an_accuracy_again(power):
    features, points = Features(NAMES, COUNTS), random_points(np.random.default_rng(5), 40)
    values = 0.5 + 0.1 * (additive(points) - 0.5)  # so near to each other that what adds up on one scale does on all

    surrogate = fit(features, points, values, Scales(1e6, 1.0, 0.0, power))

    np.testing.assert_allclose(surrogate.mean(points), values, atol=0.001)


def test_errors_that_multiply_are_predicted_on_a_scale_of_the_error():
    rng = np.random.default_rng(4)
    features, points = Features(NAMES, COUNTS), random_points(rng, 150)
    accuracies = 1.0 - 0.6 * np.exp(-(points @ np.linspace(0.1, 0.3, len(COUNTS))))

    assert choose_scales(features, points, accuracies).power is not None


def test_a_known_size_is_a_feature_of_its_own_and_teaches_from_few_points():
    rng = np.random.default_rng(4)
    widths = np.array([1.0, 2.0, 4.0])

    def log_size(points: np.ndarray) -> np.ndarray:  # a product over blocks: its logarithm adds up
        return np.log(widths[points[:, 1::2]]).sum(axis=1, keepdims=True)

    def grows_with_size(points: np.ndarray) -> np.ndarray:
        return 0.5 + 0.05 * log_size(points)[:, 0]

    points, fresh = random_points(rng, 8), random_points(rng, 200)
    noisy = grows_with_size(points) + 0.002 * rng.standard_normal(8)
    errors = []
    for features in (Features(NAMES, COUNTS), Features(NAMES, COUNTS, log_size)):
        surrogate = fit(features, points, noisy, choose_scales(features, points, noisy, (None,)))
        errors.append(np.abs(surrogate.mean(fresh) - grows_with_size(fresh)).mean())

    assert errors[1] < 0.7 * errors[0]
