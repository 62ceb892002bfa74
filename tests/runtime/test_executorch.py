"""ExecuTorch gives the network's own scores, and its files are complete; making a program takes half a minute."""

import json
import logging
import re
import subprocess
import sys

import numpy as np
import pytest

from mnasnet.classify import Classifier
from mnasnet.deploy.export import export_model
from mnasnet.errors import WeightsError
from mnasnet.export.checksum import CHECKSUM_KEY
from mnasnet.export.executorch import to_executorch
from mnasnet.latency.session import SessionMeter
from mnasnet.packages import is_installed
from mnasnet.testing import random_model, write_image_folder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_installed("executorch"), reason="executorch is not installed"),
]


@pytest.fixture(scope="module")
def model():
    return random_model()


@pytest.fixture(scope="module")
def done(model, tmp_path_factory):
    return export_model(model, tmp_path_factory.mktemp("executorch"), ["executorch"], pixels=True, softmax=True)[0]


def test_the_file_is_the_same_network_and_classify_takes_it_back(model, done):
    batch = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    classifier = Classifier.load(done.files[0], threads=1)

    found = classifier.predict(list(batch))

    assert done.parity.same and done.parity.max_difference < 1e-5
    assert classifier.class_names == model.class_names and classifier.preprocess == model.preprocess
    assert classifier.description.startswith("executorch") and classifier.description.endswith("threads=1")
    for own, expected in zip(found, Classifier(model, runtime="onnxruntime").predict(list(batch)), strict=True):
        assert own.names == expected.names
        np.testing.assert_allclose(own.confidences, expected.confidences, atol=1e-5)


def test_the_recipes_program_gives_our_answer(model, done, tmp_path):
    photo = write_image_folder(tmp_path / "photos", per_class=1) / "red" / "000.jpg"
    recipe = done.files[0].with_name(f"{done.files[0].name}.preprocess.md").read_text(encoding="utf-8")
    program = re.search(r"```python\n(.*?)```", recipe, re.DOTALL)[1]
    (done.files[0].parent / "program.py").write_text(program, encoding="utf-8")

    shown = subprocess.run(
        [sys.executable, "-X", "utf8", "program.py", str(photo)],
        cwd=done.files[0].parent, capture_output=True, text=True, encoding="utf-8", check=True,
    ).stdout  # fmt: skip

    expected = Classifier(model, runtime="onnxruntime").predict([photo])[0]
    label, confidence = shown.strip().splitlines()[-1].rsplit(" ", 1)
    assert label == expected.label
    assert float(confidence) == pytest.approx(expected.confidence, abs=1e-3)


def test_its_speed_is_measured_with_as_many_threads_as_asked(model):
    latency = SessionMeter("executorch").measure_model(model)

    assert (latency.runtime, latency.threads, latency.precision) == ("executorch", 1, "fp32")
    assert 0 < latency.undisturbed_ms <= latency.median_ms


def test_networks_with_different_threads_take_turns(model, done, tmp_path):
    program = (
        "import json, sys, numpy as np\n"
        "from mnasnet.classify import Classifier\n"
        "image = np.load(sys.argv[2])\n"
        "one, two = (Classifier.load(sys.argv[1], threads=threads) for threads in (1, 2))\n"
        "found = [classifier.predict([image])[0] for classifier in (one, two, two, one)]\n"
        "print(json.dumps([[list(one.names), list(map(float, one.confidences))] for one in found]))\n"
    )
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    np.save(tmp_path / "image.npy", image)

    # in a process of its own, since a network that waits for threads that are gone waits for ever
    printed = subprocess.run(
        [sys.executable, "-c", program, str(done.files[0]), str(tmp_path / "image.npy")],
        stdout=subprocess.PIPE, text=True, check=True, timeout=300,
    ).stdout  # fmt: skip

    expected = Classifier(model, runtime="onnxruntime").predict([image])[0]
    answers = json.loads(printed.splitlines()[-1])
    assert len(answers) == 4
    for names, confidences in answers:
        assert tuple(names) == expected.names
        np.testing.assert_allclose(confidences, expected.confidences, atol=1e-5)


def test_making_a_program_leaves_the_log_as_it_was(model):
    logging.disable(logging.INFO)
    try:
        to_executorch(model)

        assert logging.root.manager.disable == logging.INFO
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("content", [b"", b"<html>", b"ET12" * 100])
def test_a_damaged_program_is_named(content, tmp_path):
    (tmp_path / "m.pte").write_bytes(content)

    with pytest.raises(WeightsError, match="m.pte is damaged or no ExecuTorch program"):
        Classifier.load(tmp_path / "m.pte")


def test_a_flipped_bit_of_a_weight_is_noticed(model, done, tmp_path):
    content = bytearray(done.files[0].read_bytes())
    content[content.index(model.weights["classifier.weight"].tobytes()) + 2] ^= 1
    (tmp_path / "m.pte").write_bytes(content)

    with pytest.raises(WeightsError, match=r"m\.pte has other weights than were exported"):
        Classifier.load(tmp_path / "m.pte")


def test_files_of_before_there_was_a_checksum_open(done, tmp_path):
    content = done.files[0].read_bytes()
    (tmp_path / "m.pte").write_bytes(content.replace(CHECKSUM_KEY.encode(), b"x" * len(CHECKSUM_KEY)))

    assert Classifier.load(tmp_path / "m.pte").class_names == Classifier.load(done.files[0]).class_names
