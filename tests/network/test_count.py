"""Costs computed from the spec are those that the built network shows when it runs."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from mnasnet.network.build import build
from mnasnet.network.count import count
from mnasnet.network.layers import merge_batch_norms
from mnasnet.presets import PRESETS
from mnasnet.spec import ArchitectureSpec, BlockSpec


class Trace(TorchDispatchMode):
    """Every operation that torch really runs, as the memory blocks it reads and writes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.constant = {value.untyped_storage()._cdata for value in network.state_dict().values()}
        self.steps: list[dict[int, int]] = []
        self.kept: list[torch.Tensor] = []  # no block is freed, so no address comes twice

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        tensors = [leaf for leaf in tree_leaves((arguments, keywords, result)) if isinstance(leaf, torch.Tensor)]
        self.kept += tensors
        blocks = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
        self.steps.append({block: size for block, size in blocks.items() if block not in self.constant})
        return result

    def peak_bytes(self) -> int:
        """The most that must exist at one time when each block is freed after its last use."""
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        size: dict[int, int] = {}
        for step, blocks in enumerate(self.steps):
            for block, nbytes in blocks.items():
                first.setdefault(block, step)
                last[block] = step
                size[block] = nbytes
        return max(
            sum(size[block] for block in size if first[block] <= step <= last[block]) for step in range(len(self.steps))
        )


def measured_peak(spec: ArchitectureSpec, input_size: int, num_classes: int, in_channels: int) -> int:
    # the meta device runs the same operations on the same shapes without the arithmetic
    with torch.device("meta"):
        network = build(spec, num_classes, in_channels).eval()
        x = torch.empty(1, in_channels, input_size, input_size)
        merge_batch_norms(network)
    with torch.no_grad(), Trace(network) as trace:
        network(x)
    return trace.peak_bytes()


def measured_multiply_adds(spec: ArchitectureSpec, input_size: int, num_classes: int, in_channels: int) -> int:
    with torch.device("meta"):
        network = build(spec, num_classes, in_channels).eval()
        x = torch.empty(1, in_channels, input_size, input_size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x)
    return counter.get_total_flops() // 2


def built_parameters(spec: ArchitectureSpec, num_classes: int, in_channels: int) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(spec, num_classes, in_channels).parameters())


def assert_counts_are_exact(spec, input_size, num_classes=1000, in_channels=3):
    counts = count(spec, input_size, num_classes, in_channels)

    assert counts.parameters == built_parameters(spec, num_classes, in_channels)
    assert counts.multiply_adds == measured_multiply_adds(spec, input_size, num_classes, in_channels)
    assert counts.peak_activation_bytes == measured_peak(spec, input_size, num_classes, in_channels)


def test_the_measured_peak_of_a_network_small_enough_to_add_up_by_hand():
    spec = ArchitectureSpec((BlockSpec("conv", 4, stride=2),), stem_channels=4, head_channels=8)

    # 32 px: image 1 x 32 x 32, stem 4 x 16 x 16: 1024 + 1024 values; block 4 x 8 x 8: 1024 + 256; head 256 + 512
    assert measured_peak(spec, 32, num_classes=2, in_channels=1) == 4 * (1024 + 1024)


def test_the_measured_peak_holds_what_waits_for_the_skip():
    spec = ArchitectureSpec((BlockSpec("inverted", 8, expansion=6),), stem_channels=8, head_channels=8)

    # 32 px, maps of 16 x 16: the depthwise convolution reads and writes 48 channels while 8 wait to be added
    assert measured_peak(spec, 32, num_classes=2, in_channels=3) == 4 * 16 * 16 * (48 + 48 + 8)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("input_size", [97, pytest.param(224, marks=pytest.mark.slow)])
def test_presets_are_counted_exactly(name, input_size):
    assert_counts_are_exact(PRESETS[name], input_size)


@pytest.mark.parametrize("skip", ["none", "identity", "pool"])
@pytest.mark.parametrize("se_ratio", [0.0, 0.25])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("operator", ["conv", "separable", "inverted"])
def test_every_operator_with_every_option_is_counted_exactly(operator, kernel, se_ratio, skip):
    expansion = 6 if operator == "inverted" else 1
    block = BlockSpec(operator, 16, kernel, 2, 2, expansion, se_ratio, skip)
    spec = ArchitectureSpec((block, BlockSpec(operator, 24, kernel, 1, 2, expansion, se_ratio, skip)), 8)

    assert_counts_are_exact(spec, 64, num_classes=7)


BLOCKS = st.builds(
    lambda operator, expansion, **options: BlockSpec(
        operator, expansion=expansion if operator == "inverted" else 1, **options
    ),
    operator=st.sampled_from(["conv", "separable", "inverted"]),
    expansion=st.integers(2, 7),
    channels=st.integers(1, 40),
    kernel=st.sampled_from([3, 5, 7]),
    stride=st.sampled_from([1, 2]),
    repeats=st.integers(1, 3),
    se_ratio=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    skip=st.sampled_from(["none", "identity", "pool"]),
)
SPECS = st.builds(
    ArchitectureSpec,
    blocks=st.lists(BLOCKS, min_size=1, max_size=5).map(tuple),
    stem_channels=st.integers(1, 24),
    stem_stride=st.sampled_from([1, 2]),
    head_channels=st.integers(1, 64),
    bn_epsilon=st.sampled_from([1e-5, 1e-3]),
)


@given(spec=SPECS, input_size=st.integers(32, 80), num_classes=st.integers(1, 20), in_channels=st.integers(1, 5))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_architecture_is_counted_exactly(spec, input_size, num_classes, in_channels):
    assert_counts_are_exact(spec, input_size, num_classes, in_channels)
