"""The model file: what goes in comes out, and damage is named."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from small_disk import room_for

from mnasnet import modelfile
from mnasnet.errors import WeightsError
from mnasnet.preprocess import Preprocess
from mnasnet.testing import random_model


def test_everything_comes_back(tmp_path):
    model = replace(
        random_model(class_names=("Katze", "犬", "café & co 🚀", 'say "hi"\n')),
        preprocess=Preprocess(96, 110, interpolation="bicubic"),
        metrics={"accuracy": 0.93},
        training={"epochs": 3},
        latencies=({"device": "here", "median_ms": 1.5},),
        name="pets",
    )

    modelfile.save(model, tmp_path / "ü model.safetensors")
    read = modelfile.load(tmp_path / "ü model.safetensors")

    for field in ("architecture", "class_names", "preprocess", "metrics", "training", "latencies", "name"):
        assert getattr(read, field) == getattr(model, field)
    assert read.fingerprint == model.fingerprint


def test_a_tilde_is_the_home_folder_where_a_model_is_saved_and_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    modelfile.save(random_model(), "~/models/m.safetensors")

    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert modelfile.is_model_file("~/models/m.safetensors")
    assert modelfile.load("~/models/m.safetensors").fingerprint == random_model().fingerprint


def test_a_fingerprint_tells_architectures_of_the_same_weights_apart():
    model = random_model()
    other = replace(model, architecture=replace(model.architecture, bn_epsilon=1e-3))

    assert other.fingerprint != model.fingerprint == random_model().fingerprint


def test_a_network_is_made_without_drawing_from_the_numbers_of_others():
    before = torch.get_rng_state()

    modelfile.network_of(random_model())

    assert torch.equal(torch.get_rng_state(), before)


def test_weights_stay_as_they_were_taken_while_their_network_learns():
    network = modelfile.network_of(random_model())
    taken = modelfile.weights_of(network)["classifier.weight"]
    with torch.no_grad():
        network.classifier.weight += 1

    assert not np.array_equal(taken, network.classifier.weight.detach().numpy())


def test_half_precision_halves_the_file_and_keeps_the_answer(tmp_path):
    model = random_model()
    modelfile.save(model, tmp_path / "full.safetensors")
    modelfile.save(model, tmp_path / "half.safetensors", half=True)

    sizes = [(tmp_path / name).stat().st_size for name in ("half.safetensors", "full.safetensors")]
    read = modelfile.load(tmp_path / "half.safetensors")

    assert sizes[0] < 0.7 * sizes[1]
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        full, half = (modelfile.network_of(m).eval()(x) for m in (model, read))
    # float16 keeps 11 bits: weights are right to 5e-4 of their size
    torch.testing.assert_close(half, full, atol=0.01, rtol=0.01)


def test_latencies_that_come_at_the_same_time_are_all_kept(tmp_path):
    modelfile.save(random_model(), path := tmp_path / f"{'long ' * 48}.safetensors")

    def add(number):
        modelfile.update_latencies(path, lambda there: (*there, {"number": number}))

    with ThreadPoolExecutor(4) as pool:  # a thread is kept out as a process is
        list(pool.map(add, range(12)))

    assert sorted(card["number"] for card in modelfile.load(path).latencies) == list(range(12))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["a", "ab", "abc", "abcd"])
def test_new_latencies_leave_the_weights_where_readers_expect_them_and_a_link_a_link(tmp_path, name):
    modelfile.save(random_model(), path := tmp_path / "m.safetensors")
    link = tmp_path / "link.safetensors"
    link.symlink_to(path)

    modelfile.replace_latencies(link, ({"device": name},))

    assert link.is_symlink() and modelfile.load(path).latencies == ({"device": name},)
    assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0  # as safetensors has it


def test_what_a_killed_process_left_of_its_lock_is_no_obstacle(tmp_path):
    modelfile.save(random_model(), path := tmp_path / "m.safetensors")
    (tmp_path / ".m.safetensors.lock").touch()

    modelfile.replace_latencies(path, ({"number": 1},))

    assert modelfile.load(path).latencies == ({"number": 1},)
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]


@pytest.mark.parametrize(
    "change", [{"schema": 0}, {"schema": True}, {"class_names": ["\ud800", "b", "c"]}, {"name": "\ud800"}]
)
def test_a_header_that_no_version_wrote_is_damaged(tmp_path, change):
    from safetensors.numpy import save

    model = random_model()
    header = json.dumps({**modelfile.header_of(model), **change})
    path = tmp_path / "m.safetensors"
    path.write_bytes(save(dict(model.weights), metadata={"mnasnet": header}))

    with pytest.raises(WeightsError, match=r"header of .*m\.safetensors is damaged"):
        modelfile.load(path)


def test_a_file_of_a_newer_schema_asks_for_an_update(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    with monkeypatch.context() as newer:
        newer.setattr(modelfile, "SCHEMA", 99)
        modelfile.save(random_model(), path)

    with pytest.raises(WeightsError, match=r"schema 99, newer than 1; update the mnasnet package"):
        modelfile.load(path)


@pytest.mark.parametrize("keep_bytes", [0, 7, 100, 5000])
def test_a_truncated_file_is_named(tmp_path, keep_bytes):
    path = tmp_path / "m.safetensors"
    modelfile.save(random_model(), path)
    path.write_bytes(path.read_bytes()[:keep_bytes])

    with pytest.raises(WeightsError, match=r"m\.safetensors is not a whole safetensors file"):
        modelfile.load(path)


def test_a_damaged_header_is_named(tmp_path):
    from safetensors.numpy import save

    path = tmp_path / "m.safetensors"
    path.write_bytes(save({"x": np.zeros(1, np.float32)}, metadata={"mnasnet": json.dumps({"schema": 1})}))

    with pytest.raises(WeightsError, match="header of .*m.safetensors is damaged"):
        modelfile.load(path)


def change_header(path, **changes):
    """Rewrite the header's fields; ``__metadata__`` replaces all of it."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    outer = json.loads(content[8 : 8 + size])
    if "__metadata__" in changes:
        outer |= changes
    else:
        outer["__metadata__"]["mnasnet"] = json.dumps(json.loads(outer["__metadata__"]["mnasnet"]) | changes)
    header = json.dumps(outer).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + size :])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("training", {"input_sizes": [64]}),
        ("training", {"input_sizes": "64"}),
        ("training", {"input_sizes": [64, 32]}),
        ("training", None),
        ("metrics", []),
        ("name", 7),
        ("class_names", "abc"),
        ("class_names", [1, 2, 3]),
        ("latencies", [1]),
        ("in_channels", 3.0),
        ("schema", 10**4000),
        ("int8_ranges", {"x": [0, 10**400]}),
        ("int8_ranges", {"x": [1, 2]}),
        ("preprocess", random_model().preprocess.to_dict() | {"mean": ["a", "b", "c"]}),
        ("preprocess", random_model().preprocess.to_dict() | {"input_size": 10_000_000, "resize": 10_000_000}),
        ("preprocess", random_model().preprocess.to_dict() | {"std": [10**400] * 3}),
    ],
)
def test_a_header_of_wrong_values_is_named(tmp_path, field, value):
    path = tmp_path / "m.safetensors"
    modelfile.save(random_model(), path)
    change_header(path, **{field: value})

    with pytest.raises(WeightsError, match=r"m\.safetensors"):
        modelfile.load(path)


def test_a_header_nested_too_deep_is_named(tmp_path):
    path = tmp_path / "m.safetensors"
    modelfile.save(random_model(), path)
    change_header(path, __metadata__={"mnasnet": "[" * 1_000_000})

    with pytest.raises(WeightsError, match=r"header of .*m\.safetensors is damaged"):
        modelfile.load(path)


def test_a_header_without_metadata_is_no_model_file(tmp_path):
    path = tmp_path / "m.safetensors"
    modelfile.save(random_model(), path)
    change_header(path, __metadata__=None)

    assert not modelfile.is_model_file(path)
    with pytest.raises(WeightsError, match="not a model file of this package"):
        modelfile.load(path)


@pytest.mark.parametrize("text", ['{"__metadata__": 5}', "[" * 1_000_000])
def test_a_header_that_is_no_mapping_is_no_model_file(tmp_path, text):
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text.encode())

    assert not modelfile.is_model_file(path)


def test_one_name_for_each_output_is_required():
    with pytest.raises(WeightsError, match="got 2 names for 3 outputs"):
        replace(random_model(), class_names=("a", "b"))


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "m.safetensors"
    modelfile.save(random_model(seed=1), path)
    before = path.read_bytes()
    other = random_model(seed=2)

    with room_for(20_000), pytest.raises(OSError):
        modelfile.save(other, path)

    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_foreign_safetensors_file_is_not_taken_for_a_model_file(tmp_path):
    save_file({"x": np.zeros(1, np.float32)}, tmp_path / "x.safetensors")

    assert not modelfile.is_model_file(tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match="not a model file of this package"):
        modelfile.load(tmp_path / "x.safetensors")


DAMAGES = [
    (lambda w: w.pop("blocks.3.0.full.bn.running_mean"), "blocks.3.0.full.bn.running_mean is missing"),
    (lambda w: w.update({"stem.bn.weight": np.ones(1, np.float32)}), r"stem.bn.weight must have shape \(8,\)"),
    (lambda w: w.update({"extra": np.ones(1, np.float32)}), "extra is unknown"),
    (lambda w: w["head.bn.bias"].fill(np.nan), "head.bn.bias holds values that are no numbers"),
    (lambda w: w["head.bn.running_var"].fill(-1), "head.bn.running_var holds negative variances"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_weights_that_do_not_fit_are_named(tmp_path, damage, message):
    model = random_model()
    weights = {name: value.copy() for name, value in model.weights.items()}
    damage(weights)
    header = json.dumps(modelfile.header_of(model))
    save_file(weights, tmp_path / "m.safetensors", metadata={modelfile.HEADER_KEY: header})

    with pytest.raises(WeightsError, match=f"m.safetensors is damaged: {message}"):
        modelfile.load(tmp_path / "m.safetensors")


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_what_could_not_be_read_again_is_not_written_over_a_good_file(tmp_path, damage, message):
    model, path = random_model(), tmp_path / "m.safetensors"
    modelfile.save(model, path)
    weights = {name: value.copy() for name, value in model.weights.items()}
    damage(weights)

    with pytest.raises(WeightsError, match=f"this model cannot be saved: {message}.*; take its weights by"):
        modelfile.save(replace(model, weights=weights), path)

    assert modelfile.load(path).fingerprint == model.fingerprint


def test_weights_too_large_for_16_bits_are_not_written(tmp_path):
    model = random_model()
    weights = {**model.weights, "head.bn.bias": np.full_like(model.weights["head.bn.bias"], 1e5)}

    with pytest.raises(WeightsError, match=r"head.bn.bias holds values that are no numbers.*, or save without half"):
        modelfile.save(replace(model, weights=weights), tmp_path / "m.safetensors", half=True)


def test_class_names_that_are_no_text_are_not_written(tmp_path):
    with pytest.raises(WeightsError, match="this model cannot be saved: class names must be text"):
        modelfile.save(replace(random_model(), class_names=(1, 2, 3)), tmp_path / "m.safetensors")


@pytest.mark.parametrize("wrap", [torch.compile, torch.nn.DataParallel, torch.optim.swa_utils.AveragedModel])
def test_a_wrapped_network_gives_the_weights_of_the_one_within(wrap):
    network = modelfile.network_of(random_model())

    weights = modelfile.weights_of(wrap(network))

    assert replace(random_model(), weights=weights).fingerprint == random_model().fingerprint


def test_a_path_may_be_text(tmp_path):
    path = str(tmp_path / "m.safetensors")
    modelfile.save(random_model(), path)

    assert modelfile.is_model_file(path)
    assert modelfile.load(path).fingerprint == random_model().fingerprint
