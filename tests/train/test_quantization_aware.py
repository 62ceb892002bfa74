"""Quantization-aware training: a network that rounds while it learns, and files that keep what it learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from equal_runs import checkpoint_digest
from PIL import Image
from sklearn.datasets import load_digits
from test_run import Ear
from tiny import tiny_training

from mnasnet import modelfile
from mnasnet.cli import main
from mnasnet.deploy.export import export_int8
from mnasnet.errors import SettingsError, WeightsError
from mnasnet.export.exported import read_exported
from mnasnet.export.exporter import INT8_EXPORTERS
from mnasnet.export.quantize import FOR_OPENVINO, QUANTISED, calibrated_onnx
from mnasnet.modelfile import ModelFile, network_of
from mnasnet.network.layers import merge_batch_norms
from mnasnet.network.quantized import Rounding, observed_values, quantized, rounded_weight
from mnasnet.testing import TINY, random_model, write_image_folder
from mnasnet.train.run import TrainedRun, resume, train
from mnasnet.train.run_folder import RunFolder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_folder(tmp_path_factory.mktemp("photos"), per_class=10)


@pytest.fixture(scope="module")
def start(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny_training(photos, tmp_path_factory.mktemp("start"))).model


def aware(data: Path, parent: Path, start: Path, **chosen: Any) -> TrainedRun:
    return train(tiny_training(data, parent, model=str(start), pretrained=True, quantization_aware=True, **chosen))


@pytest.fixture(scope="module")
def done(photos: Path, start: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    return aware(photos, tmp_path_factory.mktemp("aware"), start)


def seen_once(model: ModelFile) -> tuple[torch.nn.Module, torch.Tensor]:
    network = quantized(network_of(model, dropout=0.0), model.preprocess, observed_batches=1)
    x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)).clamp(-2, 2.2)
    network.train()(x)
    return network.eval(), x


def test_weights_are_rounded_to_64_steps_up_and_down_for_each_output_channel() -> None:
    weight = torch.stack([torch.linspace(-0.5, 0.1, 50), torch.linspace(-2.0, 8.0, 50), torch.zeros(50)])

    steps = rounded_weight(weight) / torch.tensor([[0.5], [8.0], [64.0]]) * 64

    torch.testing.assert_close(steps, steps.round())
    torch.testing.assert_close(steps[:2], weight[:2] / torch.tensor([[0.5], [8.0]]) * 64, atol=0.501, rtol=0)
    assert (steps[0].min(), steps[1].max()) == (-64, 64) and not steps[2].any()


def test_activations_are_rounded_to_256_numbers_of_which_zero_is_one() -> None:
    x = torch.linspace(-2, 4, 2000)

    rounded = Rounding()(x, torch.tensor(-1.0), torch.tensor(2.0))

    assert len(rounded.unique()) == 256 and 0 in rounded
    torch.testing.assert_close(rounded, x.clamp(-1, 2), atol=1.01 * 1.5 / 255, rtol=0)
    assert not Rounding()(torch.zeros(3), torch.tensor(0.0), torch.tensor(0.0)).any()


def test_ranges_are_the_mean_of_what_the_first_batches_reach() -> None:
    model = random_model()
    one, other = torch.randn(2, 4, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def seen(*batches: torch.Tensor) -> torch.Tensor:
        network = quantized(network_of(model), model.preprocess, observed_batches=2).eval()
        network(3 * one)  # nothing is observed while it is judged
        for batch in batches:
            network.train()(batch)
        return network.int8_ranges[0]  # of the stem, before which nothing is rounded by a range that moves

    torch.testing.assert_close(seen(one, 0.3 * other), (seen(one) + seen(0.3 * other)) / 2)


def test_a_network_that_rounds_has_the_dropout_of_the_plain_one_and_the_range_of_its_images() -> None:
    model = random_model()

    network = quantized(network_of(model, dropout=0.35), model.preprocess, observed_batches=1)

    assert network.dropout.p == 0.35
    assert network.image_range == pytest.approx((-0.485 / 0.229, (1 - 0.406) / 0.225))


def test_rounding_changes_scores_a_little_and_weights_keep_their_names() -> None:
    model = random_model()
    network, x = seen_once(model)

    with torch.no_grad():
        rounded, exact = network(x), network_of(model).eval()(x)

    assert 0 < float((rounded - exact).abs().max()) < 0.25 * float(exact.abs().max())
    assert set(network_of(model).state_dict()) <= set(network.state_dict())


def test_merged_normalisations_give_the_same_scores() -> None:
    network, x = seen_once(random_model())

    with torch.no_grad():
        before = network(x)
        merge_batch_norms(network)
        after = network(x)

    # float32 may round a weight to the next of 129 numbers
    torch.testing.assert_close(after, before, rtol=0.05, atol=0.05)


def test_images_and_all_weights_are_rounded_before_they_count() -> None:
    network, x = seen_once(random_model())
    merge_batch_norms(network)

    with torch.no_grad():
        before = network(x)
        for name, weight in network.named_parameters():
            if name.endswith("weight"):
                weight.copy_(rounded_weight(weight))
        low, high = map(torch.tensor, network.image_range)
        after = network(Rounding()(x, low, high))

    torch.testing.assert_close(after, before)


def test_every_weight_learns_through_the_rounding() -> None:
    network, x = seen_once(random_model())

    network(x).square().sum().backward()

    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_ranges_stay_once_they_are_observed() -> None:
    network, x = seen_once(random_model())
    before = network.int8_ranges.clone()

    network.train()(3 * x)

    assert torch.equal(network.int8_ranges, before) and int(network.int8_batches_seen) == 1


def test_the_model_file_keeps_a_range_for_every_activation(done: TrainedRun, capsys: pytest.CaptureFixture) -> None:
    model = modelfile.load(done.model)

    assert list(model.int8_ranges) == list(observed_values(TINY))
    assert all(low <= 0 < high for low, high in model.int8_ranges.values())
    assert main(["info", str(done.model)]) == 0
    assert f"{len(model.int8_ranges)} ranges of activations" in capsys.readouterr().out


def test_the_report_says_that_its_accuracies_are_in_float32(photos: Path, start: Path, tmp_path: Path) -> None:
    done = aware(photos, tmp_path / "aware", start, epochs=1, report=True)
    plain = train(tiny_training(photos, tmp_path / "plain", epochs=1, report=True))

    said = "These accuracies are in float32, those of the epochs as rounded to 8 bits"
    for page in ("report.html", "model_card.md"):
        assert said in (done.folder / page).read_text(encoding="utf-8")
        assert said not in (plain.folder / page).read_text(encoding="utf-8")


def test_a_plain_training_leaves_no_ranges(start: Path) -> None:
    assert modelfile.load(start).int8_ranges == {}


@pytest.mark.parametrize(
    "ranges", [{"stem": [0, "x"]}, {"stem": [1, 2]}, {"stem": [0]}, {"stem": 1}, {"stem": [0, float("inf")]}]
)
def test_damaged_ranges_are_refused(ranges: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.safetensors"
    real = modelfile.header_of
    monkeypatch.setattr(modelfile, "header_of", lambda model: {**real(model), "int8_ranges": ranges})
    modelfile.save(random_model(), path)

    with pytest.raises(WeightsError, match="header of .* is damaged"):
        modelfile.load(path)


def test_exported_files_compute_with_the_learned_ranges(done: TrainedRun, photos: Path, tmp_path: Path) -> None:
    model = modelfile.load(done.model)
    model = replace(model, int8_ranges={**model.int8_ranges, "pooled": (0.0, 25.5), "scores": (-12.75, 12.75)})

    (made,) = export_int8(model, tmp_path, photos, ["onnx"], max_drop=0.99)

    graph = onnx.load(made.files[0]).graph
    numbers = {constant.name: onnx.numpy_helper.to_array(constant) for constant in graph.initializer}
    scales = {node.input[0]: float(numbers[node.input[1]]) for node in graph.node if node.op_type == "QuantizeLinear"}
    assert scales["pooled"] == scales["flat"] == pytest.approx(0.1)
    assert scales["logits_QuantizeLinear_Input"] == pytest.approx(0.1)


@pytest.mark.parametrize("operators", [QUANTISED, FOR_OPENVINO])
def test_exported_files_have_the_weights_that_learned(operators: tuple[str, ...], done: TrainedRun) -> None:
    model = modelfile.load(done.model)
    side = model.preprocess.input_size
    images = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), dtype=np.uint8)
    learned = network_of(model).eval()
    merge_batch_norms(learned)

    graph = calibrated_onnx(model, list(images), pixels=False, softmax=False, operators=operators).graph

    numbers = {constant.name: onnx.numpy_helper.to_array(constant) for constant in graph.initializer}
    for name, weight in learned.named_parameters():
        if name.endswith(".weight"):
            name = name.removesuffix(".weight").removesuffix(".conv") + ".weight"
            scale = numbers[f"{name}_scale"].reshape(-1, *[1] * (weight.dim() - 1))
            written = numbers[f"{name}_quantized"] * scale
            steps = np.abs(written - rounded_weight(weight).detach().numpy()) / scale
            # where a weight lies in the middle of two numbers float32 may take either: 1e-5 of all
            assert steps.max() < 1.01 and (steps > 0.01).mean() < 1e-3, name


def test_a_stopped_training_goes_on_to_the_same_bits(
    done: TrainedRun, photos: Path, start: Path, tmp_path: Path
) -> None:
    ear = Ear(stop_after=5)
    training = tiny_training(photos, tmp_path, model=str(start), pretrained=True, quantization_aware=True)
    stopped = train(training, listeners=[ear], stop=ear.wants_to_stop)
    assert stopped.status == "stopped"

    resumed = resume(stopped.folder)

    assert checkpoint_digest(RunFolder(resumed.folder).store) == checkpoint_digest(RunFolder(done.folder).store)
    assert modelfile.load(resumed.model).int8_ranges == modelfile.load(done.model).int8_ranges


def test_it_asks_for_a_model_of_the_same_classes(photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    modelfile.save(random_model(class_names=("cat", "dog", "ship")), other)

    for asked in ({"quantization_aware": True}, {"recipe": "continue"}):  # both go on with a training
        for chosen in ({"model": str(other), "pretrained": True}, {}):
            with pytest.raises(SettingsError, match="train on these classes first"):
                train(tiny_training(photos, tmp_path, **asked, **chosen))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Handwritten digits, 450 to train and 250 to judge."""
    digits = tmp_path_factory.mktemp("digits")
    images, labels = load_digits(return_X_y=True)
    for number, (image, label) in enumerate(zip(images[:700], labels[:700], strict=True)):
        folder = digits / ("train" if number < 450 else "val") / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image.reshape(8, 8) * 15.9).astype(np.uint8)).resize((32, 32)).save(folder / f"{number}.png")
    return digits


@pytest.fixture(scope="module")
def reads_digits(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    parent = tmp_path_factory.mktemp("float")
    run = train(tiny_training(digits, parent, epochs=14, learning_rate=0.01, batch_size=16))
    return modelfile.load(run.model)


@pytest.mark.slow
@pytest.mark.parametrize("name", INT8_EXPORTERS)
def test_a_trained_network_keeps_its_accuracy_in_every_format(
    name: str, reads_digits: ModelFile, digits: Path, tmp_path: Path
) -> None:
    (made,) = export_int8(reads_digits, tmp_path, digits, [name], max_drop=0.99)

    assert made.before.accuracy > 0.7
    assert made.before.accuracy - made.after.accuracy < 0.05  # of 250 images; rounding turns some of the close ones


@pytest.mark.slow
def test_it_brings_back_most_of_what_8_bits_cost(reads_digits: ModelFile, digits: Path, tmp_path: Path) -> None:
    uneven = tmp_path / "uneven.safetensors"
    modelfile.save(with_uneven_channels(reads_digits), uneven)

    learned = aware(digits, tmp_path / "aware", uneven, epochs=5, batch_size=16)

    for name in INT8_EXPORTERS:  # each against itself: how much 8 bits cost differs by runtime and processor
        (plain,) = export_int8(modelfile.load(uneven), tmp_path / "plain", digits, [name], max_drop=0.99)
        (made,) = export_int8(modelfile.load(learned.model), tmp_path, digits, [name], max_drop=0.99)
        lost = plain.before.accuracy - plain.after.accuracy
        assert lost > 0.05
        assert plain.before.accuracy - made.after.accuracy < lost / 2
        assert read_exported(made.files[0]).header["metrics"]["int8_accuracy"] == made.after.accuracy


def with_uneven_channels(model: ModelFile, factor: float = 100.0, channels: int = 4) -> ModelFile:
    """The same function in float32 with a few channels a hundred times as large as others: one range suits no one."""
    weights = {name: value.copy() for name, value in model.weights.items()}
    for layer in (
        name.removesuffix(".expand.bn.weight") for name in model.weights if name.endswith(".expand.bn.weight")
    ):
        weights[f"{layer}.expand.bn.weight"][:channels] *= factor
        weights[f"{layer}.expand.bn.bias"][:channels] *= factor
        weights[f"{layer}.depthwise.conv.weight"][:channels] /= factor
    return replace(model, weights=weights)
