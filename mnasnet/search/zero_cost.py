"""A score that foretells accuracy from an untrained network: what a proxy that costs training must beat."""

from __future__ import annotations

import math

import torch
from torch import nn

from mnasnet.network.build import build
from mnasnet.network.seeded import seeded
from mnasnet.spec import ArchitectureSpec


def synaptic_flow(architecture: ArchitectureSpec, input_size: int, *, num_classes: int, seed: int = 0) -> float:
    """The logarithm of the synaptic flow of fresh weights drawn by ``seed`` (eq. 2 of arXiv 2006.05467).

    That is the sum over all weights of weight times derivative of the summed scores, for an image of ones and with
    all weights made positive; no data is needed. ``input_size`` is in pixels.
    """
    with seeded(seed):
        network = build(architecture, num_classes).double().eval()  # float32 runs over in deep networks
    weights = [module.weight for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        for weight in weights:
            weight.abs_()
    flow = network(torch.ones(1, 3, input_size, input_size, dtype=torch.float64)).sum()
    gradients = torch.autograd.grad(flow, weights)
    with torch.no_grad():
        flows = [float((weight * gradient).sum()) for weight, gradient in zip(weights, gradients, strict=True)]
    return math.log(sum(flows))
