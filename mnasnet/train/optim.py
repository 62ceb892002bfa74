"""Optimisers for a recipe: torch's own, TensorFlow's RMSProp, and the running average of weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mnasnet.train.recipe import Recipe


class RMSpropTF(torch.optim.Optimizer):
    """RMSProp as TensorFlow computes it: epsilon under the root, accumulator from 1, rate inside the momentum.

    torch.optim.RMSprop puts epsilon outside the root and starts at 0, which is another optimiser: with the paper's
    epsilon of 1e-3 and its rates the first steps would be many times too large.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        *,
        alpha: float = 0.9,
        eps: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "alpha": alpha, "eps": eps, "momentum": momentum, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of all parameters that have a gradient."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            for p in params:
                if not self.state[p]:
                    self.state[p] = {"square": torch.ones_like(p), "velocity": torch.zeros_like(p)}
            grads: list[Tensor] = [p.grad for p in params]
            squares = [self.state[p]["square"] for p in params]
            velocities = [self.state[p]["velocity"] for p in params]
            if group["weight_decay"]:  # half the square in the loss: coupled, as the official code adds it
                grads = list(torch._foreach_add(grads, params, alpha=group["weight_decay"]))
            torch._foreach_lerp_(squares, torch._foreach_mul(grads, grads), 1 - group["alpha"])
            roots = torch._foreach_add(squares, group["eps"])
            torch._foreach_sqrt_(roots)
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_addcdiv_(velocities, grads, roots, value=group["lr"])
            torch._foreach_sub_(params, velocities)


def optimizer_for(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser; its learning rate is set before each step by :func:`set_learning_rate`."""
    groups = parameter_groups(network, recipe)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups, recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0, foreach=True
        )
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, recipe.learning_rate, betas=(recipe.momentum, 0.999), foreach=True)
    return RMSpropTF(groups, recipe.learning_rate, momentum=recipe.momentum)


def parameter_groups(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameters that decay and that do not, those of the classifier apart: ``rate`` is their share of the rate."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        is_norm = ".bn." in name
        is_bias = name.endswith(".bias") and not is_norm
        decay = 0.0 if is_norm or (is_bias and not recipe.decay_biases) else recipe.weight_decay
        rate = 1.0 if name.startswith("classifier.") else recipe.body_rate
        groups.setdefault((decay, rate), []).append(parameter)
    return [{"params": params, "weight_decay": decay, "rate": rate} for (decay, rate), params in groups.items()]


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Use ``learning_rate``, of which each group takes its share, for the next step."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["rate"]


class WeightAverage:
    """Keeps ``average`` an exponential moving average of ``network``, batch statistics included."""

    def __init__(self, network: nn.Module, average: nn.Module) -> None:
        self._sources = _floating(network)
        self._targets = _floating(average)

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Move the average towards the network by ``1 - decay``."""
        torch._foreach_lerp_(self._targets, self._sources, 1 - decay)


def _floating(network: nn.Module) -> list[Tensor]:
    return [value.detach() for value in network.state_dict().values() if value.is_floating_point()]
