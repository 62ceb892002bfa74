"""The training of a supernet, and the statistics that a network cut out of it needs before it is judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mnasnet.data.transforms import normalise
from mnasnet.network.build import MnasNet
from mnasnet.network.seeded import seeded
from mnasnet.network.supernet import Supernet
from mnasnet.preprocess import Preprocess
from mnasnet.progress import Stop
from mnasnet.search.curriculum import Curriculum, extreme
from mnasnet.search.images import SearchImages
from mnasnet.space import Candidate, SearchSpace
from mnasnet.train.batches import DecodedSquares, Images
from mnasnet.train.checkpoint import CheckpointStore
from mnasnet.train.events import Listener
from mnasnet.train.objective import LossTerm, predict_logits
from mnasnet.train.recipe import Recipe, batch_size_for, modern_recipe
from mnasnet.train.team import Team
from mnasnet.train.trainer import FitResult, fit

CALIBRATION_IMAGES = 512
CALIBRATION_BATCH = 64
WATCHED_IMAGES = 500  # that the largest network is judged on after each epoch, for people to watch: 2 points of noise

# Every step trains one or a few of a space's networks, so shared weights need many steps before anything else: with
# 31 an epoch, batches of 128 of 4,000 photos, they had hardly learned after 45 epochs.
ENOUGH_STEPS = 10_000
SMALLEST_BATCH = 32


def train_supernet(
    space: SearchSpace,
    images: SearchImages,
    *,
    input_size: int,
    epochs: int,
    proxy_input_size: int = 0,
    curriculum: Curriculum = Curriculum(),  # noqa: B008  # a frozen value
    flip: bool = True,
    seed: int = 0,
    store: CheckpointStore | None = None,
    listeners: Iterable[Listener] = (),
    stop: Stop = lambda: False,
) -> FitResult[Supernet]:
    """Train the shared weights of ``space`` for ``epochs``, or go on with what ``store`` holds.

    Images are learned at the largest of the space's input sizes (pixels), at ``input_size`` where it leaves that
    open, and reduced for networks of smaller sizes; ``proxy_input_size``, where not 0, replaces all sizes. The
    accuracies that listeners hear of are those of the largest network. The result's ``average`` is the supernet to
    judge with. Raises TrainingError as :func:`mnasnet.train.trainer.fit` does.
    """
    largest_px = proxy_input_size or max(space.input_sizes, default=input_size)
    preprocess = images.preprocess(largest_px)
    train, val = images.train(), _some(images.val(largest_px), WATCHED_IMAGES)
    recipe = supernet_recipe(images=len(train.labels), epochs=epochs, flip=flip)
    with seeded(seed):
        supernet = Supernet(space, images.num_classes, dropout=recipe.dropout)
    return fit(
        supernet,
        train,
        val,
        recipe,
        preprocess,
        epochs=epochs,
        seed=seed,
        balance="auto",
        objective=SharedObjective(space, curriculum, seed, recipe.label_smoothing, train, sized=not proxy_input_size),
        team=Team(device=images.device),
        store=store,
        identity={
            "space": space.fingerprint,
            "curriculum": curriculum.to_dict(),
            "images": images.parts.fingerprint,
            "training_images": len(train.labels),
            "largest_px": largest_px,
        },
        listeners=listeners,
        stop=stop,
        prefetch=train.streams or images.device != "cpu",
    )


def supernet_recipe(*, images: int, epochs: int, flip: bool = True) -> Recipe:
    """The recipe of a training of shared weights: small batches until the steps suffice, little augmentation.

    Each network sees a small part of the steps, so none comes to know the images by heart; AdamW, because it gives
    parts that learn seldom steps as large as those of the others.
    """
    batch_size = batch_size_for(images)
    while batch_size > SMALLEST_BATCH and epochs * images < ENOUGH_STEPS * batch_size:
        batch_size //= 2
    recipe = modern_recipe(images, epochs, batch_size, pretrained=False)
    return replace(
        recipe,
        name="shared weights",
        optimizer="adamw",
        learning_rate=3e-3 * math.sqrt(batch_size / 64),
        weight_decay=0.05,
        warmup_epochs=min(2.0, epochs / 6),
        augment="light",
        mixup=0.0,
        cutmix=0.0,
        erasing=0.0,
        flip=flip,
    )


def _some(images: DecodedSquares, count: int) -> DecodedSquares:
    """At most ``count`` of the images, spread evenly."""
    chosen = _spread(len(images.labels), count)
    return replace(images, numbers=images.numbers[chosen], labels=images.labels[chosen])


def _spread(total: int, count: int) -> NDArray[np.int64]:
    """At most ``count`` of ``total`` indices, spread evenly."""
    indices: NDArray[np.int64] = np.linspace(0, total - 1, min(count, total)).round().astype(np.int64)
    return indices


@dataclass(frozen=True)
class SharedObjective:
    """Lets the networks that ``curriculum`` names learn; an epoch is judged by the largest of ``space``.

    ``calibration`` are images to gather batch statistics from. With ``sized`` each network learns at its own input
    size, without it all learn at that of the batch.
    """

    space: SearchSpace
    curriculum: Curriculum
    seed: int
    label_smoothing: float
    calibration: Images
    sized: bool = True

    def helpers(self) -> Sequence[nn.Module]:
        """None."""
        return ()

    def terms(
        self, forward: Callable[..., Tensor], x: Tensor, targets: Tensor, *, step: int, steps: int
    ) -> Iterator[LossTerm]:
        """The first network learns from the labels, the others from its answers."""
        teacher, *students = self.curriculum.networks(self.space, seed=self.seed, step=step, steps=steps)
        weight = 1 / (1 + len(students))  # the recipe's learning rate is for one loss
        logits = forward(self._input(x, teacher), teacher.architecture)
        loss = F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing, reduction="sum")
        yield LossTerm(loss, logits, weight)
        answers = logits.detach().softmax(1)
        for student in students:
            logits = forward(self._input(x, student), student.architecture)
            yield LossTerm(F.cross_entropy(logits, answers, reduction="sum"), logits, weight)

    def _input(self, x: Tensor, candidate: Candidate) -> Tensor:
        return resampled(x, candidate.input_size if self.sized else None)

    def scores(
        self,
        network: Supernet,
        images: Images,
        preprocess: Preprocess,
        team: Team,
        stop: Stop,
        batch_size: int,
    ) -> NDArray[np.float32] | None:
        """Those of the largest network."""
        largest = network.cut_out(extreme(self.space, "largest").architecture)
        recalibrate(largest, self.calibration, preprocess, device=team.device)
        return predict_logits(largest, images, preprocess, team, stop, batch_size)


@torch.no_grad()
def recalibrate(
    network: MnasNet,
    images: Images,
    preprocess: Preprocess,
    *,
    count: int = CALIBRATION_IMAGES,
    device: str = "cpu",
) -> None:
    """Give ``network`` the batch statistics of at most ``count`` images, spread evenly, in place; weights stay.

    Without it a network cut out of shared weights is no better than chance. The cost is a forward pass over
    ``count`` images. Leaves the network in evaluation mode.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [module.momentum for module in norms]
    network.eval()
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # the plain mean over all batches
        module.train()
    chosen = _spread(len(images.labels), count)
    batches = max(1, round(len(chosen) / CALIBRATION_BATCH))
    for first in range(batches):
        batch = chosen[first::batches]  # images lie in order of their classes, and each batch needs all of them
        x = torch.from_numpy(normalise(images.read(batch), preprocess)).to(device)
        network(resampled(x, preprocess.input_size).contiguous(memory_format=torch.channels_last))
    network.eval()
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum


def resampled(x: Tensor, side_px: int | None) -> Tensor:
    """A batch, N x 3 x S x S, resampled to ``side_px``; unchanged where that is None or its own size."""
    if side_px is None or side_px == x.shape[-1]:
        return x
    return F.interpolate(x, (side_px, side_px), mode="bilinear", antialias=True)
