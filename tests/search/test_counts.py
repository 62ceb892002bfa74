"""Counted costs are those of the network, and they follow the candidate's input size."""

import random

import pytest

from mnasnet.errors import SettingsError
from mnasnet.network.count import count
from mnasnet.search.counts import CountMeter
from mnasnet.spaces import space


def test_counts_are_those_of_the_spec():
    candidate = space("small").random(random.Random(0))
    counts = count(candidate.architecture, 96, 10)

    assert CountMeter("multiply_adds", 96, 10).measure(candidate) == counts.multiply_adds
    assert CountMeter("parameters", 96, 10).measure(candidate) == counts.parameters
    assert CountMeter("peak_activation_bytes", 96, 10).measure(candidate) == counts.peak_activation_bytes


def test_a_weight_has_four_bytes():
    candidate = space("small").random(random.Random(0))

    assert CountMeter("model_bytes").measure(candidate) == 4 * CountMeter("parameters").measure(candidate)


def test_studies_of_earlier_releases_know_a_count_by_the_same_words():
    assert CountMeter("model_bytes", 96, 10).settings == " at 96 px, 10 classes, 3 channels, 4 bytes"
    assert CountMeter("parameters", 96, 10).settings == " at 96 px, 10 classes, 3 channels"


def test_the_candidates_own_input_size_counts():
    searched = space("resolution_width")
    candidate = searched.random(random.Random(1))
    values = searched.named_values(candidate)

    small, large = (searched.candidate(values | {"input_size": size}) for size in (96, 192))

    meter = CountMeter("multiply_adds", 224)
    # the classifier, the gates and the rounding of odd sides keep the ratio from being exactly 4
    assert meter.measure(large) == pytest.approx(4 * meter.measure(small), rel=0.1)


def test_an_unknown_count_lists_the_known_ones():
    with pytest.raises(SettingsError, match="multiply_adds, parameters"):
        CountMeter("flops")
