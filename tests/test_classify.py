"""The classifier: arrays, files, folders; same answer whichever way an image comes."""

import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from inspect import signature
from multiprocessing import get_context

import numpy as np
import pytest
from PIL import Image

import mnasnet
from mnasnet.classify import Classifier, Prediction, softmax
from mnasnet.errors import DataError, SettingsError, WeightsError
from mnasnet.testing import random_model, write_image_folder


@pytest.fixture(scope="module")
def classifier():
    return Classifier(random_model())


def frames(count=5):
    return [np.random.default_rng(seed).integers(0, 256, (60 + seed, 90, 3), dtype=np.uint8) for seed in range(count)]


def test_confidences_are_a_distribution_most_likely_first(classifier):
    prediction = classifier.predict(frames(1))[0]

    assert sorted(prediction.names) == sorted(classifier.class_names)
    assert sum(prediction.confidences) == pytest.approx(1, abs=1e-5)
    assert list(prediction.confidences) == sorted(prediction.confidences, reverse=True)
    assert prediction.label == prediction.names[0]


def test_as_many_classes_are_named_as_asked_for_or_as_there_are():
    classifier = Classifier(random_model(class_names=[f"class {number}" for number in range(7)]))

    assert [len(classifier.predict(frames(1), top_k=count)[0].names) for count in (1, 5, 7, 99)] == [1, 5, 7, 7]


def test_scores_of_any_size_make_probabilities():
    scores = np.array([[1e30, 0, 0], [1e3, 1e3, 0], [0, 0, 0], [-1e30, -1e30, -1e30]], np.float32)

    np.testing.assert_allclose(softmax(scores), [[1, 0, 0], [0.5, 0.5, 0], [1 / 3] * 3, [1 / 3] * 3], rtol=1e-6)


def test_a_large_photo_in_a_file_keeps_the_detail_that_the_network_sees(classifier, tmp_path):
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8))
    photo = coarse.resize((400, 320), Image.Resampling.BICUBIC)
    photo.save(tmp_path / "photo.jpg", quality=98)

    from_file, from_pixels = (classifier.prepare(one).astype(int) for one in (tmp_path / "photo.jpg", photo))

    # 2.0 where it is decoded at half its size, 5.7 at a quarter, 23 at an eighth
    assert np.abs(from_file - from_pixels).mean() < 4


def test_a_batch_gives_what_single_images_give(classifier):
    together = classifier.predict(frames(), top_k=2)
    alone = [classifier.predict([frame], top_k=2)[0] for frame in frames()]

    assert [p.names for p in together] == [p.names for p in alone]
    np.testing.assert_allclose([p.confidences for p in together], [p.confidences for p in alone], atol=1e-6)


def test_a_file_gives_what_its_pixels_give(classifier, tmp_path):
    frame = frames(1)[0]
    Image.fromarray(frame).save(tmp_path / "bild ä.PNG")

    assert classifier.predict([tmp_path / "bild ä.PNG"]) == classifier.predict([frame])


def test_a_tilde_is_the_home_folder_of_images_and_of_a_class_file(classifier, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    Image.fromarray(frames(1)[0]).save(tmp_path / "x.png")
    (tmp_path / "names.txt").write_text("\n".join(f"thing {number}" for number in range(10)))

    assert classifier.predict("~/x.png") == classifier.predict(frames(1))
    assert Classifier.load(class_file="~/names.txt").class_names[0] == "thing 0"


def test_another_process_opens_the_classifier_that_it_is_sent(classifier):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        (there,) = pool.submit(classifier.predict, frames(1)).result()

    (here,) = classifier.predict(frames(1))
    assert there.names == here.names
    np.testing.assert_allclose(there.confidences, here.confidences, atol=1e-6)


def test_nothing_in_nothing_out(classifier):
    assert classifier.predict([]) == []


def test_an_image_that_opencv_could_not_read_is_told_so(classifier):
    with pytest.raises(DataError, match="got NoneType; the image file behind it could not be read"):
        classifier.predict(None)


def test_less_sure_than_the_threshold_is_unknown():
    prediction = Prediction(("cat", "dog"), (0.6, 0.4))

    assert prediction.or_unknown(0.7).label == "unknown"
    assert prediction.or_unknown(0.7).confidences == (0.6, 0.4)
    assert prediction.or_unknown(0.6).label == "cat"


def test_of_an_unknown_nothing_but_unknown_is_shown():
    prediction = Prediction(("cat", "dog"), (0.6, 0.4))

    assert prediction.shown_pairs == prediction.pairs == (("cat", 0.6), ("dog", 0.4))
    assert prediction.or_unknown(0.7).shown_pairs == (("unknown", 0.6),)
    assert prediction.or_unknown(0.7).pairs == prediction.pairs


def test_a_class_that_is_called_unknown_is_a_class():
    prediction = Prediction(("unknown", "dog"), (0.6, 0.4))

    assert not prediction.is_unknown
    assert prediction.or_unknown(0.7).names == ("unknown", "dog")


def test_weights_that_give_no_numbers_are_refused():
    model = random_model()
    weights = {name: value * 1e30 if name.endswith("weight") else value for name, value in model.weights.items()}

    with pytest.raises(WeightsError, match="gives scores that are no numbers"):
        Classifier(replace(model, weights=weights)).predict(frames(1))


@pytest.mark.parametrize("scores", [(0, np.nan, 0), (0, np.inf, 0), (np.inf, -np.inf, 0)])
@pytest.mark.filterwarnings("error")  # the error says it all
def test_one_score_that_is_no_number_is_enough_to_refuse_and_large_ones_are_not(scores):
    model = random_model()

    def with_bias(*bias):
        return Classifier(replace(model, weights={**model.weights, "classifier.bias": np.array(bias, np.float32)}))

    assert with_bias(2e38, 3e38, 0).predict(frames(1))[0].label == "dog"
    with pytest.raises(WeightsError, match="gives scores that are no numbers"):
        with_bias(*scores).predict(frames(1))


def test_another_input_size_changes_what_the_network_sees():
    assert Classifier(random_model(), input_size=96).prepare(frames(1)[0]).shape == (96, 96, 3)


def test_an_input_size_below_32_is_refused():
    with pytest.raises(SettingsError, match="input_size must be a whole number from 32 to 2048, got 16"):
        Classifier(random_model(), input_size=16)


def test_a_network_of_other_channels_is_refused():
    with pytest.raises(SettingsError, match="images have 3 channels, this network takes 1"):
        Classifier(random_model(in_channels=1))


def test_a_folder_with_bad_files_gives_every_reason_and_every_other_result(classifier, tmp_path):
    write_image_folder(tmp_path, per_class=33)  # 99 images
    (tmp_path / "red" / "000.jpg").write_bytes(b"")
    (tmp_path / "green" / "001.jpg").write_bytes(b"not an image")
    whole = (tmp_path / "blue" / "002.jpg").read_bytes()
    (tmp_path / "blue" / "002.jpg").write_bytes(whole[: len(whole) // 2])
    paths = sorted(tmp_path.rglob("*.jpg"))

    results = list(classifier.classify_files(paths, batch_size=7))

    assert [result.path for result in results] == paths
    bad = {result.path.name: result.error for result in results if result.prediction is None}
    assert set(bad) == {"000.jpg", "001.jpg", "002.jpg"}
    assert "empty" in bad["000.jpg"]
    assert all(bad.values())


def test_a_bad_file_in_a_plain_prediction_is_an_error(classifier, tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"")

    with pytest.raises(DataError, match="empty"):
        classifier.predict([tmp_path / "x.jpg"])


def test_importing_the_package_brings_no_heavy_library():
    code = (
        "import sys, mnasnet;"
        "heavy = {'torch', 'cv2', 'optuna', 'onnxruntime', 'numpy', 'pydantic'} & set(sys.modules);"
        "assert not heavy, heavy"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_classifying_on_the_cpu_needs_no_torch(tmp_path):
    from mnasnet import modelfile

    modelfile.save(random_model(), tmp_path / "m.safetensors")
    Image.fromarray(frames(1)[0]).save(tmp_path / "x.jpg")
    code = (
        "import sys; from mnasnet import Classifier; from mnasnet.runtime import session;"
        "session.has_cuda = lambda: False;"
        f"Classifier.load({str(tmp_path / 'm.safetensors')!r}).predict([{str(tmp_path / 'x.jpg')!r}]);"
        "assert 'torch' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_single_image_is_a_batch_of_one(classifier, tmp_path):
    frame = frames(1)[0]
    Image.fromarray(frame).save(tmp_path / "x.png")

    expected = classifier.predict([frame])

    assert classifier.predict(frame) == classifier.predict(str(tmp_path / "x.png")) == expected
    assert classifier.predict(image for image in [frame]) == expected
    assert classifier.predict(Image.fromarray(frame)) == expected


@pytest.mark.parametrize("top_k", [0, -1, "3", 2.5, True])
def test_a_top_k_that_is_no_count_is_refused(classifier, top_k):
    with pytest.raises(SettingsError, match=f"top_k must be a whole number >= 1, got {top_k!r}"):
        classifier.predict(frames(1), top_k=top_k)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"device": "gpu"}, "device must be one of auto, cpu, cuda, got 'gpu'"),
        ({"precision": "fp16"}, "precision must be one of fp32, bf16, got 'fp16'"),
        ({"threads": 0}, "threads must be a whole number >= 1, got 0"),
        ({"threads": True}, "threads must be a whole number >= 1, got True"),
        ({"input_size": "224"}, "input_size must be a whole number from 32 to 2048, got '224'"),
        ({"input_size": 10_000_000}, "input_size must be a whole number from 32 to 2048, got 10000000"),
    ],
)
def test_wrong_options_name_the_valid_ones(option, message):
    with pytest.raises(SettingsError, match=message):
        Classifier(random_model(), **option)


def test_a_model_is_loaded_with_every_option_of_the_classifier():
    taken, loaded = ({*map(str, signature(call).parameters.values())} for call in (Classifier, Classifier.load))

    assert {option for option in taken if not option.startswith("model")} <= loaded
    assert Classifier.load(input_size=64, threads=1).preprocess.input_size == 64


def test_numbers_of_numpy_and_paths_as_text_are_taken(tmp_path):
    Image.fromarray(frames(1)[0]).save(tmp_path / "x.png")
    classifier = Classifier(random_model(), threads=np.int64(1), input_size=np.int32(64))

    (found,) = classifier.classify_files([str(tmp_path / "x.png")], batch_size=np.int64(2))

    assert found.path == tmp_path / "x.png" and found.prediction is not None


@pytest.mark.parametrize("batch_size", [0, 1.5, None, "4"])
def test_a_batch_size_that_is_no_count_is_refused(classifier, batch_size):
    with pytest.raises(SettingsError, match=f"batch_size must be a whole number >= 1, got {batch_size!r}"):
        next(classifier.classify_files([], batch_size=batch_size))


@pytest.mark.parametrize("path", [None, 3, np.zeros((64, 64, 3), np.uint8)])
def test_what_is_no_path_is_refused_by_its_type(classifier, path):
    with pytest.raises(DataError, match=f"classify_files takes paths, got {type(path).__name__}; give arrays"):
        next(classifier.classify_files([path]))


def test_what_is_no_model_or_image_is_told_what_to_take_instead(classifier, tmp_path):
    Image.fromarray(frames(1)[0]).save(tmp_path / "x.png")

    with pytest.raises(SettingsError, match=r"got str; give names and files to Classifier\.load"):
        Classifier("auto")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="takes a name or a file, got ModelFile; give a model"):
        Classifier.load(classifier.model)  # type: ignore[arg-type]
    with (tmp_path / "x.png").open("rb") as file, pytest.raises(DataError, match="got an open file; open it by PIL"):
        classifier.predict(file)


def test_a_model_is_shown_without_its_millions_of_numbers(classifier):
    assert len(repr(classifier.model)) < 20_000


def test_public_names_are_listed_before_they_are_used():
    assert {"Classifier", "Prediction", "architecture"} <= {*dir(mnasnet)}


def test_a_model_made_for_one_size_is_used_at_it_and_says_so(caplog):
    model = replace(random_model(), training={"input_sizes": [64, 64]})

    classifier = Classifier(model, input_size=224)

    assert classifier.preprocess.input_size == 64
    assert "made for 64 px: it works at 64 px, and input_size 224 is not used" in caplog.text


@pytest.mark.parametrize(("asked", "used"), [(64, 96), (96, 96), (112, 112), (128, 128), (224, 128)])
def test_a_model_made_for_some_sizes_is_used_at_the_nearest(asked, used, caplog):
    model = replace(random_model(input_size=100), training={"input_sizes": [96, 128]})

    assert Classifier(model, input_size=asked).preprocess.input_size == used
    assert ("made for 96 to 128 px" in caplog.text) == (asked != used)


def test_bytes_of_a_file_are_not_taken_for_many_images(classifier):
    for encoded in (b"\xff\xd8\xff", bytearray(b"\xff\xd8\xff")):
        with pytest.raises(DataError, match="decode what a file holds first, by cv2.imdecode, or give its path"):
            classifier.predict(encoded)
    with pytest.raises(DataError, match="must be a NumPy array, height x width x 3, got int"):
        classifier.predict(5)


def test_a_memoryview_of_a_frame_is_that_frame(classifier):
    frame = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)

    assert classifier.predict(memoryview(frame)) == classifier.predict(frame)
