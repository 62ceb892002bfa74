"""Our networks are those of torchvision and timm: same outputs, same training step, same costs."""

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from mnasnet.modelfile import weights_of
from mnasnet.network.build import build
from mnasnet.network.naming import from_our_names
from mnasnet.network.statedict import state_dict_of
from mnasnet.network.weights import adopt
from mnasnet.network.weights_file import unwrapped
from mnasnet.presets import PRESETS, architecture

TORCHVISION = [name for name, spec in PRESETS.items() if "torchvision" in spec.source]
TIMM = [name for name, spec in PRESETS.items() if "timm" in spec.source] + ["mnasnet_small"]
TORCHVISION_MOMENTUM = 1 - 0.9997  # _BN_MOMENTUM of torchvision/models/mnasnet.py
CLASSES = 11


def reference_network(name: str) -> nn.Module:
    """The library's own network with random weights and random batch statistics, so that each of them matters."""
    torch.manual_seed(len(name))
    if name in TORCHVISION:
        network = getattr(torchvision.models, name)(num_classes=CLASSES, dropout=0.0)
    else:
        network = timm.create_model(name, num_classes=CLASSES)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
    return network


def our_network(name: str, reference: nn.Module) -> nn.Module:
    loaded = adopt(unwrapped(reference.state_dict(), name), name, expected=PRESETS[name])
    momentum = TORCHVISION_MOMENTUM if name in TORCHVISION else 0.1
    network = build(loaded.architecture, loaded.num_classes, loaded.in_channels, dropout=0.0, bn_momentum=momentum)
    missing, unexpected = network.load_state_dict(
        {key: torch.from_numpy(value) for key, value in loaded.weights.items()}, strict=False
    )
    assert not unexpected and all(key.endswith("num_batches_tracked") for key in missing)
    return network


def pixels(count: int, size: int = 64) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def train_one_step(network: nn.Module) -> None:
    network.train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    loss = F.cross_entropy(network(pixels(4)), torch.tensor([0, 3, 5, 10]))
    loss.backward()
    optimiser.step()


@pytest.mark.parametrize("name", TORCHVISION + TIMM)
def test_reference_weights_give_the_reference_output(name):
    reference = reference_network(name).eval()
    network = our_network(name, reference).eval()

    with torch.no_grad():
        expected, ours = reference(pixels(2)), network(pixels(2))

    assert expected.std() > 1e-3, "an output that is flat anyway would prove nothing"
    # the bound; both run the same kernels, so most names differ by 0.0
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", TORCHVISION + TIMM)
def test_one_training_step_moves_weights_and_statistics_as_the_reference_does(name):
    reference = reference_network(name)
    network = our_network(name, reference)

    train_one_step(reference)
    train_one_step(network)

    # compared under our names, as after a training of the reference; float32 sums in another order: 1e-5
    expected = adopt(unwrapped(reference.state_dict(), name), name).weights
    ours = weights_of(network)
    assert list(ours) == list(expected)
    for key, value in expected.items():
        torch.testing.assert_close(torch.from_numpy(ours[key]), torch.from_numpy(value), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", TORCHVISION + TIMM)
def test_our_weights_go_back_into_the_reference(name):
    reference = reference_network(name)
    weights = weights_of(our_network(name, reference))
    names = from_our_names(weights, "torchvision" if name in TORCHVISION else "timm")

    state = {names[key]: torch.from_numpy(value) for key, value in weights.items()}

    original = {key: value for key, value in reference.state_dict().items() if "num_batches" not in key}
    assert set(state) == set(original)
    assert all(torch.equal(state[key], value) for key, value in original.items())


# The table of MnasNet's published counts: parameters, millions of multiply-adds at 224 px, stem and block widths.
# mnasnet_b1 x0.35 ... x1.4 and mnasnet_a1 by width; the other names must agree with their width's row.
TABLE = [
    ("mnasnet_b1", 0.35, 1_788_232, 58.9, (16, 8, 8, 16, 32, 32, 64, 112)),
    ("mnasnet_b1", 0.5, 2_218_512, 104.5, (16, 8, 16, 24, 40, 48, 96, 160)),
    ("mnasnet0_5", 1.0, 2_218_512, 104.5, (16, 8, 16, 24, 40, 48, 96, 160)),
    ("mnasnet_050", 1.0, 2_218_512, 104.5, (16, 8, 16, 24, 40, 48, 96, 160)),
    ("mnasnet_b1", 0.75, 3_170_208, 215.5, (24, 16, 24, 32, 64, 72, 144, 240)),
    ("mnasnet0_75", 1.0, 3_170_208, 215.5, (24, 16, 24, 32, 64, 72, 144, 240)),
    ("mnasnet_075", 1.0, 3_170_208, 215.5, (24, 16, 24, 32, 64, 72, 144, 240)),
    ("mnasnet_b1", 1.0, 4_383_312, 314.4, (32, 16, 24, 40, 80, 96, 192, 320)),
    ("mnasnet1_0", 1.0, 4_383_312, 314.4, (32, 16, 24, 40, 80, 96, 192, 320)),
    ("mnasnet_100", 1.0, 4_383_312, 314.4, (32, 16, 24, 40, 80, 96, 192, 320)),
    ("mnasnet_b1", 1.3, 6_282_256, 526.4, (40, 24, 32, 56, 104, 128, 248, 416)),
    ("mnasnet1_3", 1.0, 6_282_256, 526.4, (40, 24, 32, 56, 104, 128, 248, 416)),
    ("mnasnet_b1", 1.4, 7_115_728, 588.8, (48, 24, 32, 56, 112, 136, 272, 448)),
    ("mnasnet_140", 1.0, 7_115_728, 588.8, (48, 24, 32, 56, 112, 136, 272, 448)),
    ("mnasnet_a1", 0.5, 2_082_006, 103.2, (16, 8, 16, 24, 40, 56, 80, 160)),
    ("semnasnet_050", 1.0, 2_082_006, 103.2, (16, 8, 16, 24, 40, 56, 80, 160)),
    ("mnasnet_a1", 0.75, 2_912_278, 223.4, (24, 16, 24, 32, 64, 88, 120, 240)),
    ("semnasnet_075", 1.0, 2_912_278, 223.4, (24, 16, 24, 32, 64, 88, 120, 240)),
    ("mnasnet_a1", 1.0, 3_887_038, 311.6, (32, 16, 24, 40, 80, 112, 160, 320)),
    ("semnasnet_100", 1.0, 3_887_038, 311.6, (32, 16, 24, 40, 80, 112, 160, 320)),
    ("mnasnet_a1", 1.4, 6_105_992, 586.3, (48, 24, 32, 56, 112, 160, 224, 448)),
    ("semnasnet_140", 1.0, 6_105_992, 586.3, (48, 24, 32, 56, 112, 160, 224, 448)),
    ("mnasnet_small", 1.0, 2_030_264, 68.3, (8, 8, 16, 16, 32, 32, 88, 144)),
]


@pytest.mark.parametrize(("name", "width", "parameters", "millions", "channels"), TABLE)
def test_costs_and_widths_are_the_published_ones(name, width, parameters, millions, channels):
    from mnasnet.network.count import count

    spec = architecture(name, width)
    counts = count(spec, 224)

    assert counts.parameters == parameters
    assert round(counts.multiply_adds / 1e6, 1) == millions
    assert (spec.stem_channels, *(block.channels for block in spec.blocks)) == channels


def test_every_preset_of_the_table_is_checked():
    assert set(PRESETS) == {row[0] for row in TABLE}


@pytest.mark.parametrize("name", ["mnasnet1_0", "mnasnet0_5", "semnasnet_050", "mnasnet_small"])
def test_a_state_dict_of_ours_is_the_librarys_own(name, tmp_path):
    reference = reference_network(name)
    weights = weights_of(our_network(name, reference))
    torch.save(state_dict_of(weights, "{}"), tmp_path / "ours.pth")
    if name in TORCHVISION:
        theirs = getattr(torchvision.models, name)(num_classes=CLASSES, dropout=0.0)
    else:
        theirs = timm.create_model(name, num_classes=CLASSES)

    theirs.load_state_dict(torch.load(tmp_path / "ours.pth", weights_only=True))

    assert torch.equal(theirs.eval()(pixels(2)), reference.eval()(pixels(2)))
