"""What a training step learns from and what an epoch is judged by: the plain network, or parts of a shared one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mnasnet.data.transforms import normalise
from mnasnet.network.build import MnasNet
from mnasnet.network.layers import merge_batch_norms
from mnasnet.network.supernet import Supernet
from mnasnet.preprocess import Preprocess
from mnasnet.progress import Stop
from mnasnet.train.batches import Images
from mnasnet.train.stopping import StopHooks, Stopped, hooked_layers, leaving_together
from mnasnet.train.team import Team

_Network_contra = TypeVar("_Network_contra", MnasNet, Supernet, contravariant=True)

EVALUATION_BATCH = 128
# What torch computes fastest on a CPU: MnasNet 1.0 at 224 px takes 7 ms an image in batches of 16, 10 ms in those of 8
# and 17 ms in those of 128; at 64 px a batch of 128 is as fast as any (benchmarks/evaluation_batch.py).
CACHED_PIXELS, FEWEST_AT_ONCE = 600_000, 16


@dataclass(frozen=True, slots=True)
class LossTerm:
    """One forward pass to learn from: the loss summed over its images, the scores, and how much it counts."""

    loss: Tensor
    logits: Tensor  # N x classes
    weight: float = 1.0


class Objective(Protocol[_Network_contra]):
    """What one step learns from and what an epoch is judged by."""

    def terms(
        self, forward: Callable[..., Tensor], x: Tensor, targets: Tensor, *, step: int, steps: int
    ) -> Iterator[LossTerm]:
        """The terms of one batch's loss in step ``step`` of ``steps``, the first being what listeners hear of.

        Each is learned before the next is asked for. ``forward`` is the network in this device's precision.
        """
        ...

    def helpers(self) -> Sequence[nn.Module]:
        """The networks that ``terms`` runs beside the one that learns; asked for before the first step of a sitting."""
        ...

    def scores(
        self,
        network: _Network_contra,
        images: Images,
        preprocess: Preprocess,
        team: Team,
        stop: Stop,
        batch_size: int,
    ) -> NDArray[np.float32] | None:
        """Scores of all images, N x classes; None when stopped."""
        ...


@dataclass(frozen=True, slots=True)
class WholeNetwork:
    """The plain objective: cross-entropy of the network as it is."""

    label_smoothing: float = 0.0

    def terms(
        self, forward: Callable[..., Tensor], x: Tensor, targets: Tensor, *, step: int, steps: int
    ) -> Iterator[LossTerm]:
        """One forward pass."""
        logits = forward(x)
        yield LossTerm(F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing, reduction="sum"), logits)

    def helpers(self) -> Sequence[nn.Module]:
        """None."""
        return ()

    def scores(
        self,
        network: MnasNet,
        images: Images,
        preprocess: Preprocess,
        team: Team,
        stop: Stop,
        batch_size: int,
    ) -> NDArray[np.float32] | None:
        """Those of the network."""
        return predict_logits(network, images, preprocess, team, stop, batch_size)


def evaluation_batch(input_size: int, device: str) -> int:
    """How many images of ``input_size`` pixels are evaluated at once where memory allows."""
    if device != "cpu":
        return EVALUATION_BATCH
    return min(EVALUATION_BATCH, max(FEWEST_AT_ONCE, CACHED_PIXELS // input_size**2))


@torch.inference_mode()
def predict_logits(
    network: MnasNet,
    images: Images,
    preprocess: Preprocess,
    team: Team = Team(),  # noqa: B008  # a frozen value
    stop: Stop = lambda: False,
    batch_size: int = EVALUATION_BATCH,
) -> NDArray[np.float32] | None:
    """Scores of all images, N x classes, from a copy in evaluation mode; None when stopped.

    ``batch_size`` is what memory allows; a processor takes no more at once than its caches hold.
    """
    ready = copy.deepcopy(network).eval()
    merge_batch_norms(ready)
    ready = ready.to(memory_format=torch.channels_last)
    count = len(images.labels)
    own = np.asarray(team.rows_of(count), dtype=np.int64)
    rows = [torch.zeros(0, network.num_classes, device=team.device)]
    stop_hooks = StopHooks(hooked_layers(ready))
    batch_size = min(batch_size, evaluation_batch(preprocess.input_size, team.device))
    try:
        with leaving_together(team):
            for start in range(0, len(own), batch_size):
                if stop():
                    raise Stopped
                x = torch.from_numpy(normalise(images.read(own[start : start + batch_size]), preprocess))
                with stop_hooks.armed(stop):
                    rows.append(ready(x.to(team.device).contiguous(memory_format=torch.channels_last)).float())
    except Stopped:
        return None
    return team.gather_rows(torch.cat(rows), count).cpu().numpy()
