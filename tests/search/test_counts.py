"""Counted costs are those of the network, and they follow the candidate's input size."""

import random
from dataclasses import replace

import pytest

from mnasnet import modelfile
from mnasnet.errors import SettingsError
from mnasnet.latency.meter import Latency
from mnasnet.latency.untrained import untrained_model
from mnasnet.network.count import count
from mnasnet.search.counts import CountMeter
from mnasnet.spaces import space

LATENCY = Latency("Intel(R) Xeon(R) Processor, 2 cores", "onnxruntime", "1.23.4", "fp32", 1, 1, 64, 250, 1.2, 1.3, 1.4)


def test_counts_are_those_of_the_spec():
    candidate = space("small").random(random.Random(0))
    counts = count(candidate.architecture, 96, 10)

    assert CountMeter("multiply_adds", 96, 10).measure(candidate) == counts.multiply_adds
    assert CountMeter("parameters", 96, 10).measure(candidate) == counts.parameters
    assert CountMeter("peak_activation_bytes", 96, 10).measure(candidate) == counts.peak_activation_bytes


def test_a_study_knows_a_count_by_its_words():
    assert CountMeter("model_bytes", 96, 10).settings == " at 96 px, 10 classes, 3 channels, 4 bytes, whole file"
    assert CountMeter("parameters", 96, 10).settings == " at 96 px, 10 classes, 3 channels"


@pytest.mark.parametrize(("name", "classes"), [("small", 3), ("paper", 10), ("tiny", 1000)])
def test_a_model_file_is_no_larger_than_counted(tmp_path, name, classes):
    candidate = space(name).random(random.Random(0))
    model = replace(
        untrained_model(candidate.architecture, 64, classes),
        metrics={f"test_{measure}": 0.123456789012345 for measure in ("accuracy", "worst_recall", "loss", "images")},
        training={f"setting_{number}": "as long as a name" for number in range(20)},
        latencies=(LATENCY.to_dict(),),
    )

    modelfile.save(model, tmp_path / "model.safetensors")

    size = (tmp_path / "model.safetensors").stat().st_size
    counted = CountMeter("model_bytes", 64, classes).measure(candidate)
    assert size <= counted <= 1.01 * size + 10_000
    assert count(candidate.architecture, 64, classes).tensors == len(model.weights)


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
