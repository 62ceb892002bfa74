"""One builder makes every network, for any image size, channels and classes, and as a backbone."""

from dataclasses import replace

import pytest
import torch
from torchvision.models.feature_extraction import create_feature_extractor

from mnasnet.errors import SpecError
from mnasnet.network.build import build
from mnasnet.network.layers import DepthwiseConv2d
from mnasnet.network.shapes import expected_shapes
from mnasnet.presets import MNASNET_B1, PRESETS, architecture
from mnasnet.spec import ArchitectureSpec, BlockSpec

SMALL = architecture("semnasnet_050")


def test_feature_maps_come_at_strides_4_to_32_and_an_embedding_after_the_head():
    network = build(MNASNET_B1, 3).eval()

    with torch.no_grad():
        maps, embedding = network.feature_maps(torch.zeros(2, 3, 64, 64)), network.embed(torch.zeros(2, 3, 64, 64))

    assert {stride: tuple(features.shape) for stride, features in maps.items()} == {
        4: (2, 24, 16, 16),
        8: (2, 40, 8, 8),
        16: (2, 96, 4, 4),
        32: (2, 320, 2, 2),
    }
    assert embedding.shape == (2, 1280)


def test_a_map_of_stride_2_comes_where_asked_for():
    with torch.device("meta"):
        maps = build(MNASNET_B1, 3).feature_maps(torch.empty(1, 3, 64, 64), least_stride=2)

    assert maps[2].shape == (1, 16, 32, 32) and list(maps) == [2, 4, 8, 16, 32]


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (("mnasnet_a1", 10), "a network is built of an ArchitectureSpec, got 'mnasnet_a1'; presets.architecture gives"),
        ((SMALL, 10.5), "num_classes must be a whole number >= 1, got 10.5"),
        ((SMALL, None), "num_classes must be a whole number >= 1, got None"),
        ((SMALL, 0), "num_classes must be a whole number >= 1, got 0"),
        ((SMALL, 3, 0), "in_channels must be a whole number >= 1, got 0"),
        ((SMALL, 10, "3"), "in_channels must be a whole number >= 1, got '3'"),
    ],
)
def test_what_makes_no_network_is_refused_with_the_rule(arguments, rule):
    with pytest.raises(SpecError, match=rule):
        build(*arguments)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_backbone_with_four_strides(name):
    spec = PRESETS[name]
    with torch.device("meta"):
        maps = build(spec, 5).eval().feature_maps(torch.empty(1, 3, 97, 97))

    # sides round up: 97 -> 49 -> 25 -> 13 -> 7 -> 4
    assert {stride: features.shape[-1] for stride, features in maps.items()} == {4: 25, 8: 13, 16: 7, 32: 4}


def test_the_classifier_reads_the_embedding():
    network = build(SMALL, 4).eval()
    x = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))

    with torch.no_grad():
        torch.testing.assert_close(network(x), network.classifier(network.embed(x)), atol=0, rtol=0)


@pytest.mark.parametrize("size", [32, 33, 97])
@pytest.mark.parametrize("in_channels", [1, 4, 5])
def test_odd_sizes_and_any_number_of_channels_run(size, in_channels):
    network = build(SMALL, 3, in_channels).eval()

    with torch.no_grad():
        logits = network(torch.ones(1, in_channels, size, size))

    assert logits.shape == (1, 3) and logits.isfinite().all()


def test_a_rectangle_of_odd_sides_runs():
    with torch.no_grad():
        assert build(SMALL, 3).eval()(torch.ones(1, 3, 33, 97)).shape == (1, 3)


@pytest.mark.parametrize("num_classes", [1, 2, 1001])
def test_any_number_of_classes(num_classes):
    with torch.device("meta"):
        assert build(SMALL, num_classes)(torch.empty(2, 3, 64, 64)).shape == (2, num_classes)


@pytest.mark.parametrize("skip", ["none", "identity", "pool"])
@pytest.mark.parametrize("se_ratio", [0.0, 0.25])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("operator", ["conv", "separable", "inverted"])
def test_every_operator_with_every_option_trains_a_step(operator, kernel, se_ratio, skip):
    expansion = 3 if operator == "inverted" else 1
    blocks = (
        BlockSpec(operator, 8, kernel, 2, 2, expansion, se_ratio, skip),
        BlockSpec(operator, 12, kernel, 1, 1, expansion, se_ratio, skip),
    )
    network = build(ArchitectureSpec(blocks, stem_channels=8, head_channels=16), 2)

    network(torch.randn(2, 3, 33, 33)).square().sum().backward()

    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


def test_fresh_weights_are_drawn_by_fan_out_and_biases_are_zero():
    torch.manual_seed(0)
    block = BlockSpec("inverted", 128, expansion=3, se_ratio=0.5, skip="none")
    network = build(ArchitectureSpec((block,), stem_channels=128, head_channels=256), 400)
    layer, rows = network.blocks[0][0], network.classifier.weight.detach()

    # 3,456 numbers or more: their deviation lies within 5 % of the true one
    for convolution, fan_out in ((layer.expand.conv, 384), (layer.depthwise.conv, 9), (layer.se.reduce, 64)):
        assert float(convolution.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
    limit = 1 / 400**0.5
    assert float(rows.max()) == pytest.approx(limit, rel=0.01) and float(rows.min()) == pytest.approx(-limit, rel=0.01)
    for bias in (layer.se.reduce.bias, layer.se.restore.bias, network.classifier.bias):
        assert not bias.any()


def test_dropout_and_normalisations_are_as_asked_for_everywhere():
    network = build(replace(SMALL, bn_epsilon=0.01), 3, dropout=1.0, bn_momentum=0.03).train()

    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert {(module.momentum, module.eps) for module in norms} == {(0.03, 0.01)}
    assert not network(torch.randn(2, 3, 32, 32)).any()  # nothing is left but the classifier's bias, which is 0


@pytest.mark.parametrize("skip", ["identity", "pool"])
def test_an_identity_start_makes_layers_their_skips_and_still_teaches_all_that_lies_before(skip):
    block = BlockSpec("inverted", 8, repeats=2, expansion=3, se_ratio=0.25, skip=skip)
    network = build(ArchitectureSpec((block,), stem_channels=8, head_channels=16), 2, identity_start=True)
    layer = network.blocks[0][1].eval()
    x = torch.rand(1, 8, 6, 6)

    assert torch.equal(layer(x), x if skip == "identity" else torch.nn.AvgPool2d(3, 1, 1, count_include_pad=False)(x))

    network.train()(torch.rand(4, 3, 33, 33)).square().sum().backward()
    assert layer.project.bn.weight.grad.abs().min() > 0


def test_an_identity_start_leaves_layers_alone_that_have_no_skip_or_end_in_a_relu():
    blocks = (BlockSpec("separable", 8, skip="none"), BlockSpec("conv", 8, repeats=2, skip="identity"))
    network = build(ArchitectureSpec(blocks, stem_channels=8, head_channels=16), 2, identity_start=True)

    scales = [value for name, value in network.named_parameters() if name.endswith("bn.weight")]
    assert len(scales) == 6 and all(value.min() == 1 for value in scales)


@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize("name", PRESETS)
def test_the_shapes_known_from_the_spec_are_those_of_the_network_in_its_order(name, in_channels):
    with torch.device("meta"):
        state = build(PRESETS[name], 7, in_channels).state_dict()

    built = [(key, tuple(value.shape)) for key, value in state.items() if not key.endswith("num_batches_tracked")]
    assert list(expected_shapes(PRESETS[name], 7, in_channels).items()) == built


def test_a_pooled_skip_adds_the_mean_of_the_neighbourhood_and_zeros_for_new_channels():
    block = BlockSpec("conv", 3, stride=2, skip="pool")
    layer = build(ArchitectureSpec((block,), stem_channels=2, head_channels=4), 2).eval().blocks[0][0]
    torch.nn.init.zeros_(layer.full.conv.weight)  # nothing but the skip is left
    x = torch.arange(32.0).reshape(1, 2, 4, 4)

    with torch.no_grad():
        out = layer(x)

    # corner: mean of 0, 1, 4, 5; its right neighbour: mean of columns 1 to 3 in rows 0 and 1
    assert out[0, 0, 0].tolist() == [2.5, 4.0]
    assert out[0, 2].abs().max() == 0


@pytest.mark.parametrize("height, width", [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (1, 6), (7, 2)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_a_depthwise_convolution_learns_the_same_on_images_smaller_than_its_kernel(kernel, stride, height, width):
    torch.manual_seed(0)
    ours = DepthwiseConv2d(4, 4, kernel, stride, kernel // 2, groups=4, bias=False)
    plain = torch.nn.Conv2d(4, 4, kernel, stride, kernel // 2, groups=4, bias=False)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(3, 4, height, width).contiguous(memory_format=torch.channels_last)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()

    out, expected = ours(mine), plain(theirs)
    out.square().sum().backward()
    expected.square().sum().backward()

    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(mine.grad, theirs.grad)
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad)


@pytest.mark.parametrize("training", [True, False])
def test_tools_that_trace_a_network_take_it_in_both_modes(training):
    """torchvision's feature extractor traces in both; the gradient of small maps goes a way of its own."""
    network = build(architecture("mnasnet_small"), 10).train(training)

    features = create_feature_extractor(network, {"blocks.3": "c"})

    assert features(torch.rand(2, 3, 32, 32))["c"].shape[2:] == (2, 2)
