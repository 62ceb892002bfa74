"""Architectures are values: equal or not, written and read, and impossible ones refused with the reason."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet.errors import SpecError
from mnasnet.presets import MNASNET_A1, MNASNET_B1, PRESETS, architecture
from mnasnet.spec import ArchitectureSpec, BlockSpec, round_channels


@pytest.mark.parametrize("name", PRESETS)
def test_an_architecture_survives_json(name):
    spec = PRESETS[name]

    read = ArchitectureSpec.from_dict(json.loads(json.dumps(spec.to_dict())))

    assert read == spec
    assert (read.name, read.source, read.fingerprint) == (spec.name, spec.source, spec.fingerprint)


@given(
    channels=st.integers(1, 512),
    kernel=st.sampled_from([3, 5, 7]),
    stride=st.sampled_from([1, 2]),
    repeats=st.integers(1, 6),
    expansion=st.integers(2, 9),
    se_ratio=st.floats(0, 1, allow_subnormal=False),  # engines loaded by other tests flush those to 0
    skip=st.sampled_from(["none", "identity", "pool"]),
    epsilon=st.floats(1e-9, 0.5),
)
def test_any_architecture_survives_json(channels, kernel, stride, repeats, expansion, se_ratio, skip, epsilon):
    block = BlockSpec("inverted", channels, kernel, stride, repeats, expansion, se_ratio, skip)
    spec = ArchitectureSpec((block, BlockSpec("conv", 8)), bn_epsilon=epsilon)

    read = ArchitectureSpec.from_dict(json.loads(json.dumps(spec.to_dict())))

    assert read == spec and read.fingerprint == spec.fingerprint and hash(read) == hash(spec)


def test_name_and_source_are_labels_only():
    renamed = MNASNET_B1.named("mine", "a friend")

    assert renamed == MNASNET_B1
    assert renamed.fingerprint == MNASNET_B1.fingerprint
    assert renamed.named("again").source == "a friend"
    assert PRESETS["mnasnet1_0"] == PRESETS["mnasnet_100"]


def test_every_other_difference_shows_in_equality_and_fingerprint():
    blocks = MNASNET_B1.blocks
    others = [
        MNASNET_A1,
        replace(MNASNET_B1, bn_epsilon=1e-3),
        replace(MNASNET_B1, stem_channels=24),
        replace(MNASNET_B1, stem_stride=1),
        replace(MNASNET_B1, head_channels=640),
        replace(MNASNET_B1, blocks=(*blocks[:-1], replace(blocks[-1], skip="pool"))),
        replace(MNASNET_B1, blocks=(*blocks[:-1], replace(blocks[-1], kernel=5))),
    ]

    assert all(other != MNASNET_B1 for other in others)
    assert len({spec.fingerprint for spec in (MNASNET_B1, *others)}) == len(others) + 1


def test_a_fingerprint_is_the_same_in_another_process():
    code = "from mnasnet.presets import MNASNET_A1; print(MNASNET_A1.fingerprint)"

    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert child.stdout.strip() == MNASNET_A1.fingerprint


@pytest.mark.parametrize(("one", "other"), [(0, 0.0), (0.0, -0.0), (1, 1.0)])
def test_equal_networks_have_equal_fingerprints_however_their_numbers_are_written(one, other):
    spec, twin = (ArchitectureSpec((BlockSpec("conv", 8, se_ratio=ratio),)) for ratio in (one, other))

    assert spec == twin
    assert spec.fingerprint == twin.fingerprint


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [
        ("mnasnet_a1", "36ead4a3d21dedbb"),
        ("mnasnet_b1", "501e94fb4750b3b0"),
        ("mnasnet_small", "8943637fce28f9e2"),
        ("mnasnet0_5", "d462f3c10c3d7811"),
        ("semnasnet_140", "e1f6284763d9867c"),
    ],
)
def test_fingerprints_stay_as_files_and_studies_have_them(name, fingerprint):
    assert PRESETS[name].fingerprint == fingerprint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": 4}, "kernel must be odd to keep the image centred, got 4"),
        ({"kernel": 0}, "kernel must be a whole number >= 1, got 0"),
        ({"stride": 3}, "stride must be 1 or 2, got 3"),
        ({"stride": True}, "stride must be 1 or 2, got True"),
        ({"stride": 1.0}, r"stride must be 1 or 2, got 1\.0"),
        ({"channels": 0}, "channels must be a whole number >= 1, got 0"),
        ({"channels": 8.0}, r"channels must be a whole number >= 1, got 8\.0"),
        ({"repeats": True}, "repeats must be a whole number >= 1, got True"),
        ({"se_ratio": 1.5}, r"se_ratio must lie in 0 to 1, got 1\.5"),
        ({"se_ratio": True}, "se_ratio must lie in 0 to 1, got True"),
        ({"skip": "dense"}, "skip must be one of none, identity, pool, got 'dense'"),
        ({"operator": "attention"}, "operator must be one of conv, separable, inverted, got 'attention'"),
        ({"expansion": 6}, "only inverted blocks expand; 'conv' must have expansion 1, got 6"),
        ({"operator": "inverted"}, "an inverted block needs expansion >= 2; .* write operator 'separable'"),
    ],
)
def test_an_impossible_block_says_the_rule_and_the_value(options, message):
    with pytest.raises(SpecError, match=message):
        BlockSpec(**{"operator": "conv", "channels": 8, **options})


def test_the_smallest_and_the_largest_block_that_are_allowed_are_blocks():
    assert BlockSpec("inverted", 1, 1, expansion=2).channels == 1
    assert BlockSpec("inverted", 65_536, 31, repeats=64, expansion=64, se_ratio=1.0).channels == 65_536


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blocks": ()}, "an architecture needs at least one block, got none"),
        ({"stem_channels": -1}, "stem_channels must be a whole number >= 1, got -1"),
        ({"stem_channels": np.True_}, "stem_channels must be a whole number >= 1, got True"),
        ({"stem_stride": 4}, "stem_stride must be 1 or 2, got 4"),
        ({"stem_stride": 2.0}, r"stem_stride must be 1 or 2, got 2\.0"),
        ({"head_channels": 1.5}, r"head_channels must be a whole number >= 1, got 1\.5"),
        ({"bn_epsilon": 0}, "bn_epsilon must lie between 0 and 1, got 0"),
        ({"bn_epsilon": "small"}, "bn_epsilon must lie between 0 and 1, got 'small'"),
    ],
)
def test_an_impossible_architecture_says_the_rule_and_the_value(options, message):
    with pytest.raises(SpecError, match=message):
        replace(MNASNET_B1, **options)


def test_numbers_of_numpy_and_lists_make_the_same_network():
    block = BlockSpec("inverted", np.int64(16), kernel=np.uint8(5), expansion=np.int32(6), se_ratio=np.float32(0.25))
    network = ArchitectureSpec([block], stem_channels=np.int64(16), bn_epsilon=np.float64(0.001))

    plain = ArchitectureSpec((BlockSpec("inverted", 16, 5, expansion=6, se_ratio=0.25),), 16, bn_epsilon=0.001)
    assert (network, network.fingerprint, hash(network)) == (plain, plain.fingerprint, hash(plain))


def test_a_newer_schema_asks_for_an_update():
    with pytest.raises(SpecError, match="architecture schema 99 is newer than 1; update the mnasnet package"):
        ArchitectureSpec.from_dict({**MNASNET_B1.to_dict(), "schema": 99})


@pytest.mark.parametrize(
    "damage",
    [
        {"blocks": None},
        {"blocks": [{"operator": "conv"}]},
        {"width": 2},
        {"blocks": [{"colour": "red"}]},
        {"blocks": [7]},
    ],
)
def test_values_that_are_no_architecture_are_refused(damage):
    with pytest.raises(SpecError, match="not an architecture: "):
        ArchitectureSpec.from_dict({**MNASNET_B1.to_dict(), **damage})


def test_missing_blocks_are_refused():
    with pytest.raises(SpecError, match="not an architecture: 'blocks'"):
        ArchitectureSpec.from_dict({"schema": 1})


def test_an_unknown_network_suggests_near_names():
    with pytest.raises(SpecError, match=r"no network is called 'mnasnet1\.0'; did you mean mnasnet1_0"):
        architecture("mnasnet1.0")


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: architecture(None), "a published network is called by a name such as mnasnet_a1, got None"),
        (lambda: architecture("mnasnet_b1", "0.5"), "width must lie between 0 and 10, got '0.5'"),
        (lambda: ArchitectureSpec(({"operator": "conv"},)), "each block must be a BlockSpec, got {.*from_dict reads"),
    ],
)
def test_other_kinds_of_values_are_refused_with_the_rule(make, rule):
    with pytest.raises(SpecError, match=rule):
        make()


def test_a_width_names_the_network():
    assert architecture("mnasnet_b1", 0.35).name == "mnasnet_b1_x0.35"
    assert architecture("mnasnet_b1").name == "mnasnet_b1"


@pytest.mark.parametrize("width", [0, -1, 11])
def test_a_width_out_of_bounds_is_refused(width):
    with pytest.raises(SpecError, match=f"width must lie between 0 and 10, got {width}"):
        MNASNET_B1.scaled(width)


@given(st.floats(1, 4000))
def test_rounded_channels_are_multiples_of_8_and_never_below_90_percent(channels):
    rounded = round_channels(channels)

    assert rounded % 8 == 0 and rounded >= 0.9 * channels
    # the nearest multiple is at most 4 away; the 90 % rule adds at most 8 more
    assert rounded <= max(8, channels + 12)


def test_only_the_first_layer_of_a_block_changes_stride_and_width():
    layers = MNASNET_A1.layers()[2]

    assert [(layer.in_channels, layer.out_channels, layer.stride, layer.skip) for layer in layers] == [
        (24, 40, 2, "none"),
        (40, 40, 1, "identity"),
        (40, 40, 1, "identity"),
    ]
    assert [layer.se_channels for layer in layers] == [6, 10, 10]  # a quarter of each layer's input


@pytest.mark.parametrize(("channels", "skip"), [(16, "pool"), (8, "pool"), (4, "none")])
def test_a_pooled_skip_also_works_where_a_layer_strides_or_widens_but_not_where_it_narrows(channels, skip):
    network = ArchitectureSpec((BlockSpec("conv", channels, stride=2, skip="pool"),), stem_channels=8)

    assert network.layers()[0][0].skip == skip
