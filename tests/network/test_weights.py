"""Weights files of others: recognised by their shapes, read without running anything, mismatches explained."""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tracemalloc
import zipfile
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel

from mnasnet.errors import WeightsError
from mnasnet.modelfile import weights_of
from mnasnet.network.build import build
from mnasnet.network.naming import from_our_names, layout_of, to_our_names
from mnasnet.network.weights import adopt, load_weights
from mnasnet.network.weights_file import converter_command, unwrapped
from mnasnet.presets import MNASNET_A1, MNASNET_B1, PRESETS
from mnasnet.spec import ArchitectureSpec, BlockSpec
from mnasnet.testing import TINY, random_model


@pytest.fixture(scope="module")
def half_width():
    """torchvision's narrowest network, five classes."""
    torch.manual_seed(0)
    return torchvision.models.mnasnet0_5(num_classes=5)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pth"


def saved(content, path):
    torch.save(content, path)
    return path


def assert_holds(loaded, network):
    """The loaded weights are the network's, value by value, in the order of both."""
    original = [value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")]
    assert len(original) == len(loaded.weights)
    assert all(np.array_equal(ours, value.numpy()) for ours, value in zip(loaded.weights.values(), original))


def test_architecture_classes_and_layout_are_read_from_a_torchvision_file(half_width, path):
    loaded = load_weights(saved(half_width.state_dict(), path))

    assert loaded.architecture == PRESETS["mnasnet0_5"] and loaded.architecture.name == "mnasnet0_5"
    assert (loaded.layout, loaded.num_classes, loaded.in_channels) == ("torchvision", 5, 3)
    assert_holds(loaded, half_width)


def test_a_timm_file_with_gates_and_another_number_of_channels_is_recognised(path):
    network = timm.create_model("semnasnet_075", num_classes=2, in_chans=4)

    loaded = load_weights(saved(network.state_dict(), path))

    assert (loaded.architecture.name, loaded.layout) == ("semnasnet_075", "timm")
    assert (loaded.num_classes, loaded.in_channels) == (2, 4)
    assert_holds(loaded, network)


@pytest.mark.parametrize("width", [0.35, 0.6, 1.4])
def test_widths_without_a_preset_are_recognised(path, width):
    network = torchvision.models.MNASNet(width, num_classes=3)

    loaded = load_weights(saved(network.state_dict(), path))

    assert loaded.architecture == MNASNET_B1.scaled(width)


def test_widths_of_nobody_s_multiplier_are_recognised(path):
    blocks = tuple(replace(block, channels=10 + 2 * index) for index, block in enumerate(MNASNET_A1.blocks))
    spec = replace(MNASNET_A1, blocks=blocks, stem_channels=12, head_channels=100)

    loaded = load_weights(saved(build(spec, 3).state_dict(), path))

    assert loaded.architecture == spec and loaded.architecture.name == "mnasnet_a1_custom"
    assert loaded.layout == "mnasnet"


def test_torchvision_files_of_version_1_keep_their_unscaled_stem(path):
    """Before torchvision 0.5 the stem and first block kept 32 and 16 channels at every width."""
    current = torchvision.models.mnasnet0_5(num_classes=4)
    state = current.state_dict()
    state._metadata = OrderedDict({"": {"version": 1}})
    old_stem = {"layers.0.weight": (32, 3, 3, 3), "layers.3.weight": (32, 1, 3, 3), "layers.6.weight": (16, 32, 1, 1)}
    old_stem |= {"layers.8.0.layers.0.weight": (48, 16, 1, 1), "layers.8.0.layers.3.weight": (48, 1, 3, 3)}
    old_stem |= {"layers.8.0.layers.6.weight": (16, 48, 1, 1)}
    channels = {1: 32, 4: 32, 7: 16}
    for key, shape in old_stem.items():
        state[key] = torch.randn(shape)
    for number, width in channels.items():
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            state[f"layers.{number}.{leaf}"] = torch.rand(width) + 0.5
    for number in (1, 4):
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            state[f"layers.8.0.layers.{number}.{leaf}"] = torch.rand(48) + 0.5
    with pytest.warns(UserWarning, match="saved using the previous version"):
        current.load_state_dict(state)  # torchvision itself takes it, and rebuilds its stem
    current.eval()

    loaded = load_weights(saved(state, path))

    network = build(loaded.architecture, 4).eval()
    network.load_state_dict({key: torch.from_numpy(value) for key, value in loaded.weights.items()}, strict=False)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(x), current(x), atol=1e-5, rtol=1e-5)
    assert loaded.architecture.name == "mnasnet_b1_x0.5_unscaled_stem"


def test_a_searched_network_is_taken_with_the_architecture_that_was_asked_for(path):
    model = random_model(TINY)
    saved({key: torch.from_numpy(value) for key, value in model.weights.items()}, path)

    assert load_weights(path, expected=TINY).architecture == TINY
    with pytest.raises(WeightsError, match="no published MnasNet's blocks.*give the model file that the search"):
        load_weights(path)


@pytest.mark.parametrize("head", [torch.nn.Linear(1280, 6), torch.nn.Sequential(torch.nn.Linear(1280, 6))])
def test_a_replaced_classifier_is_found(path, head):
    network = torchvision.models.mnasnet0_5()
    network.classifier = head

    assert load_weights(saved(network.state_dict(), path)).num_classes == 6


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3, "best": 0.9},
        lambda state: {"model": state, "optimizer": {"state": {}}, "args": argparse.Namespace(lr=0.1)},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"model._orig_mod.module.{key}": value for key, value in state.items()}},
        lambda state: {**state, "epoch": 3},
    ],
    ids=["state_dict", "model and args", "nested", "module", "orig_mod", "three prefixes", "mixed with numbers"],
)
def test_wrappers_and_prefixes_are_opened(half_width, tmp_path, wrap):
    loaded = load_weights(saved(wrap(half_width.state_dict()), tmp_path / "model_best.pth.tar"))

    assert_holds(loaded, half_width)


@pytest.mark.parametrize("key", ["ema", "state_dict_ema", "model_ema"])
def test_averaged_weights_come_before_the_last_ones(half_width, path, key):
    averaged = AveragedModel(half_width)  # adds module. and n_averaged, as in torchvision's training script
    averaged.update_parameters(half_width)
    last = {name: value + 1 for name, value in half_width.state_dict().items()}

    loaded = load_weights(saved({"model": last, "state_dict": last, key: averaged.state_dict()}, path))

    assert_holds(loaded, half_width)


@pytest.mark.parametrize(
    "average",
    [
        lambda network: {"decay": 0.99, "num_updates": torch.tensor(5)},
        lambda network: dict(network.named_parameters()),
        lambda network: {"decay": 0.99, "shadow": dict(network.named_parameters())},
    ],
)
def test_an_average_that_is_no_whole_network_is_passed_over(half_width, path, average):
    loaded = load_weights(saved({"state_dict": half_width.state_dict(), "ema": average(half_width)}, path))

    assert_holds(loaded, half_width)


def test_a_damaged_pickle_is_called_damaged(half_width, path):
    saved(half_width.state_dict(), path)
    data = bytearray(path.read_bytes())
    data[1000:6000] = bytes(5000)
    path.write_bytes(data)

    with pytest.raises(WeightsError, match="is damaged or incomplete") as caught:
        load_weights(path)
    assert "weights_only=False" not in str(caught.value)


def test_prefixed_and_bare_weights_together_are_refused(half_width, path):
    state = half_width.state_dict()
    both = {**state, **{f"module.{key}": value for key, value in state.items()}}

    with pytest.raises(WeightsError, match=r"holds layers\.0\.weight twice, with and without a prefix"):
        load_weights(saved(both, path))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_other_precisions_become_float32(half_width, tmp_path, kind, suffix):
    state = {key: value.to(kind) for key, value in half_width.state_dict().items()}
    path = tmp_path / f"w{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)

    loaded = load_weights(path)

    assert {value.dtype for value in loaded.weights.values()} == {np.dtype("float32")}
    rounded = half_width.layers[0].weight.to(kind).float().detach().numpy()
    assert np.array_equal(loaded.weights["stem.conv.weight"], rounded)


def test_the_file_format_before_torch_1_6_is_read(half_width, path):
    torch.save(half_width.state_dict(), path, _use_new_zipfile_serialization=False)

    assert_holds(load_weights(path), half_width)


def test_content_counts_and_not_the_suffix(half_width, tmp_path):
    save_file(half_width.state_dict(), tmp_path / "weights.bin")

    assert_holds(load_weights(tmp_path / "weights.bin"), half_width)


def test_a_whole_model_is_refused_with_what_it_wanted_to_run_and_a_converter(half_width, path):
    with pytest.raises(WeightsError) as caught:
        load_weights(saved(half_width, path))

    text = str(caught.value)
    assert "holds a whole pickled model, code included" in text
    assert "torchvision.models.mnasnet.MNASNet" in text
    assert 'python -c "import sys, torch' in text and "\n" not in text


def test_nothing_in_a_pickle_is_executed(path, tmp_path):
    class Attack:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'pwned')!r}, 'w')",)

    for legacy in (False, True):
        torch.save({"state_dict": Attack()}, path, _use_new_zipfile_serialization=not legacy)

        with pytest.raises(WeightsError, match=r"holds more than weights, and loading it could run anything; .*exec"):
            load_weights(path)

    assert not (tmp_path / "pwned").exists()


def test_the_converter_line_makes_a_file_that_loads(half_width, tmp_path):
    whole = saved(half_width, tmp_path / "my model's $file.pth")
    command = converter_command(whole).replace("python", sys.executable, 1)

    subprocess.run(command, shell=True, check=True)

    assert_holds(load_weights(tmp_path / "my model's $file-weights.pth"), half_width)


def test_the_converter_lines_program_takes_the_network_out_of_a_training_checkpoint(half_width, tmp_path, monkeypatch):
    whole = saved({"epoch": 1, "model": half_width, "ema": None}, tmp_path / "last.pth")
    _, _, program, *files = shlex.split(converter_command(whole))
    monkeypatch.setattr(sys, "argv", ["-c", *files])

    exec(program, {})

    assert_holds(load_weights(tmp_path / "last-weights.pth"), half_width)


@pytest.mark.parametrize("version", ["2.5.1+cu121", "1.13.0", "2.0"])
def test_pickles_are_refused_on_a_torch_with_an_unsafe_unpickler(half_width, path, monkeypatch, version):
    saved(half_width.state_dict(), path)
    monkeypatch.setattr(torch, "__version__", version)

    with pytest.raises(
        WeightsError, match=re.escape(f"torch before 2.6 cannot read safely, and this is torch {version}")
    ):
        load_weights(path)


def test_safetensors_are_read_on_any_torch(half_width, tmp_path, monkeypatch):
    save_file(half_width.state_dict(), tmp_path / "w.safetensors")
    monkeypatch.setattr(torch, "__version__", "2.5.1")

    assert_holds(load_weights(tmp_path / "w.safetensors"), half_width)


@pytest.mark.filterwarnings("ignore:'torch.load' received a zip file")
def test_a_torchscript_program_is_refused(half_width, path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)

    with pytest.raises(WeightsError, match="is a TorchScript program, not weights"):
        load_weights(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.pth", b"", "is empty; copy or download it again"),
        ("w.pth", b"<!DOCTYPE html><html>404</html>", "is a web page, not weights"),
        ("w.pth", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer.*git lfs pull"),
        ("w.onnx", b"\x08\x0a\x12\x07pytorch", "is an ONNX export"),
        ("winner.json", b'{"blocks": []}', "a run's network is weights/best.safetensors in its folder"),
        ("w.pth", b"GIF89a", "is neither a safetensors nor a PyTorch file"),
        ("w.pth", b"PK\x03\x04 and then nothing", "is damaged or incomplete"),
        ("w.pth", b"\x80\x02}", "is damaged or incomplete"),
        ("w.safetensors", b"\x00" * 40, "is not a whole safetensors file"),
    ],
)
def test_a_file_of_another_kind_is_named_for_what_it_is(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(WeightsError, match=message):
        load_weights(tmp_path / name)


def test_a_truncated_file_is_named(half_width, path):
    saved(half_width.state_dict(), path)
    path.write_bytes(path.read_bytes()[:100_000])

    with pytest.raises(WeightsError, match=r"weights\.pth is damaged or incomplete"):
        load_weights(path)


def test_a_zip_of_something_else_is_named(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cat.jpg", b"")

    with pytest.raises(WeightsError, match=r"weights\.pth is damaged or incomplete"):
        load_weights(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"x")

    with pytest.raises(WeightsError, match="there is no file .*none.pth"):
        load_weights(tmp_path / "none.pth")
    with pytest.raises(WeightsError, match=r"is a folder; give one of its files: a\.pth"):
        load_weights(tmp_path)


def test_a_folder_of_runs_names_them(tmp_path):
    for name in ("first", "second"):
        (tmp_path / "train" / name / "weights").mkdir(parents=True)
    (tmp_path / "train" / "second" / "weights" / "best.safetensors").touch()

    with pytest.raises(WeightsError, match=r"train is a folder; give one of the runs in it: second$"):
        load_weights(tmp_path / "train")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}, {"state_dict": {"x": "y"}}])
def test_a_file_without_tensors_is_named(path, content):
    with pytest.raises(WeightsError, match="save model.state_dict\\(\\)"):
        load_weights(saved(content, path))


def test_another_network_of_the_family_is_named(half_width, path):
    saved(half_width.state_dict(), path)

    with pytest.raises(WeightsError, match=r"weights\.pth is mnasnet0_5, you asked mnasnet1_0; ask for mnasnet0_5"):
        load_weights(path, expected=PRESETS["mnasnet1_0"])


def test_timm_and_torchvision_names_of_one_network_are_no_mismatch(half_width, path):
    saved(half_width.state_dict(), path)

    assert load_weights(path, expected=PRESETS["mnasnet_050"]).num_classes == 5


def test_missing_and_extra_weights_are_summed_up_in_one_line(half_width, path):
    state = {key: value for key, value in half_width.state_dict().items() if not key.startswith("layers.8.0.layers.1.")}
    state["loss.alpha"] = torch.zeros(1)

    with pytest.raises(WeightsError) as caught:
        load_weights(saved(state, path))

    text = str(caught.value)
    assert "is mnasnet0_5, but 4 weights are missing (blocks.1.0.expand.bn.weight, " in text
    assert "1 weight is unknown (loss.alpha)" in text and "\n" not in text


def test_a_backbone_without_a_classifier_is_told_so(half_width, path):
    state = {key: value for key, value in half_width.state_dict().items() if not key.startswith("classifier.")}

    with pytest.raises(WeightsError, match="is mnasnet0_5 without its classifier; save the network with one"):
        load_weights(saved(state, path))


def test_a_file_that_lost_a_layer_is_still_recognised(half_width, path):
    state = {key: value for key, value in half_width.state_dict().items() if not key.startswith("layers.12.3.")}

    with pytest.raises(WeightsError, match="looks like mnasnet_b1, but 15 weights are missing"):
        load_weights(saved(state, path))


def test_a_weight_of_another_shape_is_named(half_width, path):
    state = {**half_width.state_dict(), "classifier.1.bias": torch.zeros(9)}

    with pytest.raises(
        WeightsError, match=r"1 weight is of another shape \(classifier.bias \(9,\) instead of \(5,\)\)"
    ):
        load_weights(saved(state, path))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_another_family_is_refused_by_its_names(path, name):
    with pytest.raises(WeightsError, match="holds no MnasNet: its first weights are"):
        load_weights(saved(getattr(torchvision.models, name)().state_dict(), path))


def test_what_a_file_of_another_family_holds_is_told_in_one_order(tmp_path):
    save_file({name: torch.zeros(2) for name in "hgfedcba"}, tmp_path / "other.safetensors")

    with pytest.raises(WeightsError, match="its first weights are a, b, c; give MnasNet weights"):
        load_weights(tmp_path / "other.safetensors")


def test_a_large_file_of_another_network_is_refused_without_reading_its_weights(tmp_path):
    size_bytes = 2**27
    tensor = {"dtype": "F16", "shape": [size_bytes // 2], "data_offsets": [0, size_bytes]}
    header = json.dumps({"model.embed_tokens.weight": tensor}).encode()
    path = tmp_path / "language.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, 8 + len(header) + size_bytes)
    tracemalloc.start()

    with pytest.raises(WeightsError, match="holds no MnasNet: its first weights are embed_tokens.weight"):
        load_weights(path)

    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < size_bytes / 10


def test_a_relative_in_timm_s_layout_is_refused(path):
    with pytest.raises(WeightsError, match="no published MnasNet's blocks"):
        load_weights(saved(timm.create_model("efficientnet_lite0").state_dict(), path))


def test_a_weight_that_claims_more_numbers_than_the_file_has_is_refused(half_width, path):
    state = {**half_width.state_dict(), "classifier.1.weight": torch.zeros(1).expand(2_000_000, 2_000_000)}  # 16 TB
    torch.save(state, path)

    with pytest.raises(WeightsError, match=r"classifier.1.weight has the shape \(2000000, 2000000\) and fewer numbers"):
        load_weights(path)


def test_negative_variances_are_refused(half_width, path):
    state = half_width.state_dict()
    torch.save({**state, "layers.1.running_var": -state["layers.1.running_var"]}, path)

    with pytest.raises(WeightsError, match="layers.1.running_var holds negative variances"):
        load_weights(path)


def test_weights_of_a_diverged_training_are_refused(half_width, path):
    state = {**half_width.state_dict(), "classifier.1.bias": torch.full((5,), float("nan"))}

    with pytest.raises(WeightsError, match=r"classifier\.1\.bias holds NaN or infinity; the training diverged"):
        load_weights(saved(state, path))


SEARCHED = ArchitectureSpec(
    (
        BlockSpec("separable", 8, repeats=2, se_ratio=0.25),
        BlockSpec("conv", 16, 5, 2, 2, skip="none"),
        BlockSpec("inverted", 24, 5, 2, 2, 3, 0.25, "pool"),
    ),
    stem_channels=8,
)


@pytest.mark.parametrize("spec", [MNASNET_B1, MNASNET_A1, SEARCHED], ids=["B1", "A1", "searched"])
def test_names_go_to_timm_and_back(spec):
    ours = list(weights_of(build(spec, 3)))

    theirs = from_our_names(ours, "timm")

    assert layout_of(theirs.values()) == "timm"
    assert list(to_our_names(theirs.values(), "timm").values()) == ours


def test_names_go_to_torchvision_and_back():
    ours = list(weights_of(build(MNASNET_B1, 3)))

    theirs = from_our_names(ours, "torchvision")

    assert layout_of(theirs.values()) == "torchvision"
    assert list(to_our_names(theirs.values(), "torchvision").values()) == ours


def test_a_network_that_torchvision_cannot_hold_is_refused():
    with pytest.raises(WeightsError, match=r"torchvision has no names for blocks\.2\.0\.se\.reduce"):
        from_our_names(weights_of(build(MNASNET_A1, 3)), "torchvision")


def test_nobody_s_names_have_no_layout():
    assert layout_of(["fc.weight", "conv1.weight"]) is None


def test_loading_from_memory_needs_no_file(half_width):
    assert_holds(adopt(unwrapped(half_width.state_dict(), "memory"), "memory"), half_width)
