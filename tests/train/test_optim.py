"""The optimisers: TensorFlow's RMSProp against an independent implementation, groups, the weight average."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mnasnet.network.build import build
from mnasnet.testing import TINY
from mnasnet.train.optim import RMSpropTF, WeightAverage, optimizer_for, parameter_groups, set_learning_rate
from mnasnet.train.recipe import Recipe, mnasnet_recipe, recipe_for


def descend(optimizer_class: type[torch.optim.Optimizer], **options: float) -> torch.Tensor:
    weights = torch.nn.Parameter(torch.linspace(-2, 2, 12, dtype=torch.float64).reshape(3, 4))
    optimizer = optimizer_class([weights], lr=0.05, **options)
    for step in range(50):
        optimizer.zero_grad()
        ((weights - step / 25).sin() * weights.pow(2)).sum().backward()
        optimizer.step()
    return weights.detach()


def test_rmsprop_agrees_with_timms_over_fifty_steps() -> None:
    timm_optim = pytest.importorskip("timm.optim")

    ours = descend(RMSpropTF, alpha=0.9, eps=1e-3, momentum=0.9, weight_decay=1e-5)
    theirs = descend(timm_optim.RMSpropTF, alpha=0.9, eps=1e-3, momentum=0.9, weight_decay=1e-5)

    assert torch.allclose(ours, theirs, atol=1e-12, rtol=0)  # the same formula in float64: rounding only


def test_rmsprop_leaves_frozen_parameters_alone() -> None:
    frozen, learning = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = RMSpropTF([frozen, learning])

    learning.sum().backward()
    optimizer.step()

    assert torch.equal(frozen, torch.ones(2))
    assert not torch.equal(learning, torch.ones(2))


@pytest.mark.parametrize("pretrained", [False, True])
def test_batch_normalisation_and_biases_do_not_decay(pretrained: bool) -> None:
    network = build(TINY, 3)

    decayed, spared = parameter_groups(network, recipe_for(images=60, epochs=2, pretrained=pretrained))

    assert decayed["weight_decay"] > 0 and spared["weight_decay"] == 0
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert len(decayed["params"]) + len(spared["params"]) == len(list(network.parameters()))


def test_all_but_the_classifier_can_learn_at_a_share_of_the_rate() -> None:
    network = build(TINY, 2)
    optimizer = optimizer_for(
        network, recipe_for(images=60, epochs=2, pretrained=True, body_rate=0.25, learning_rate=0.8)
    )

    set_learning_rate(optimizer, 0.4)

    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        assert rates[id(parameter)] == (0.4 if name.startswith("classifier.") else 0.1), name


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("sgd", {"momentum": 0.8, "nesterov": True}),
        ("adamw", {"betas": (0.8, 0.999)}),
        ("rmsprop", {"momentum": 0.8, "alpha": 0.9, "eps": 1e-3}),  # the official code's
    ],
)
def test_an_optimiser_has_the_recipes_momentum_and_its_own_constants(name: str, settings: dict[str, Any]) -> None:
    optimizer = optimizer_for(build(TINY, 2), Recipe("r", name, 0.1, 8, momentum=0.8))  # type: ignore[arg-type]

    for group in optimizer.param_groups:
        assert {key: group[key] for key in settings} == settings


def test_the_papers_recipe_decays_biases_too() -> None:
    network = build(TINY, 3)

    decayed, _ = parameter_groups(network, mnasnet_recipe(8, epochs=5))

    assert any(parameter is network.classifier.bias for parameter in decayed["params"])


@pytest.mark.parametrize("name", ["auto", "mnasnet"])
def test_every_recipe_lowers_the_loss_of_a_small_network(name: str) -> None:
    torch.manual_seed(0)
    network = build(TINY, 3, dropout=0.0)
    recipe = recipe_for(name, images=60, epochs=10, pretrained=False, batch_size=32)  # type: ignore[arg-type]
    optimizer = optimizer_for(network, recipe)
    images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 3
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert losses[-1] < losses[0] / 2


def test_the_average_follows_weights_and_batch_statistics() -> None:
    network, average = build(TINY, 3), build(TINY, 3)
    follower = WeightAverage(network, average)
    with torch.no_grad():
        network.stem.bn.running_mean.fill_(4.0)
        average.stem.bn.running_mean.fill_(0.0)

    follower.update(0.75)

    assert torch.allclose(average.stem.bn.running_mean, torch.tensor(1.0))
