"""Knowledge distillation: what a trained model, the teacher, answers is learned beside the labels.

G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnasnet.errors import SettingsError
from mnasnet.modelfile import ModelFile, network_of
from mnasnet.network.build import MnasNet
from mnasnet.network.layers import merge_batch_norms
from mnasnet.preprocess import Preprocess
from mnasnet.train.objective import LossTerm, WholeNetwork
from mnasnet.words import like_others

SHARE = 0.9  # of the loss that is about the teacher's answers: with 0.7 less is gained, labels guard against a bad one
TEMPERATURE = 2.0  # scores are divided by it: the classes that the teacher thinks second and third count for more


@dataclass(frozen=True, eq=False)
class Teacher:
    """A trained network that looks at the batches of another; made by :func:`teacher_from`.

    ``columns`` are the places of the other's classes among its own. What is normalised for the other becomes what it
    has learned from by ``scale`` and ``shift``, 1 x 3 x 1 x 1, and is resized to ``input_size``.
    """

    network: MnasNet
    columns: Tensor
    scale: Tensor
    shift: Tensor
    input_size: int

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """Its scores, N x classes, of images N x 3 x S x S that are ready for the one who learns."""
        x = x * self.scale + self.shift
        if x.shape[-1] != self.input_size:
            x = F.interpolate(x, (self.input_size, self.input_size), mode="bilinear", antialias=True)
        scores: Tensor = self.network(x.contiguous(memory_format=torch.channels_last))
        return scores[:, self.columns]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distillation(WholeNetwork):
    """The network as it is learns the labels and, for ``SHARE`` of the loss, the answers of what ``teacher`` opens.

    The answers' part is T^2 times the Kullback-Leibler divergence of the softened probabilities, which keeps its
    gradients as large as the labels' (section 2 of arXiv 1503.02531). Both see the very same pixels, as in arXiv
    2106.05237.
    """

    teacher: Callable[[], Teacher]

    def terms(
        self, forward: Callable[..., Tensor], x: Tensor, targets: Tensor, *, step: int, steps: int
    ) -> Iterator[LossTerm]:
        """One forward pass of either network."""
        logits = forward(x)
        told = F.log_softmax(self.teacher().scores(x) / TEMPERATURE, 1)
        answers = F.kl_div(F.log_softmax(logits / TEMPERATURE, 1), told, reduction="sum", log_target=True)
        labels = F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing, reduction="sum")
        yield LossTerm((1 - SHARE) * labels + SHARE * TEMPERATURE**2 * answers, logits)

    def helpers(self) -> Sequence[nn.Module]:
        """The teacher's network, which is opened by that: within a step its threads would wait for each other."""
        return (self.teacher().network,)


def require_teacher_of(class_names: Sequence[str], model: ModelFile, source: str) -> None:
    """Raise SettingsError unless ``model``, called ``source`` by the user, knows all these classes."""
    missing = [name for name in class_names if name not in model.class_names]
    if missing:
        raise SettingsError(
            f"teacher must know every class of the images, {missing[0]}{like_others(missing[1:])} is unknown to "
            f"{source}; train it on them first"
        )


def teacher_from(model: ModelFile, class_names: Sequence[str], preprocess: Preprocess, device: str) -> Teacher:
    """``model`` as the teacher of a network that learns ``class_names``, in their order, from images so prepared."""
    network = network_of(model).eval().requires_grad_(False)
    merge_batch_norms(network)
    (mean, std), (own_mean, own_std) = (
        (torch.tensor(one.mean).view(1, 3, 1, 1), torch.tensor(one.std).view(1, 3, 1, 1))
        for one in (preprocess, model.preprocess)
    )
    return Teacher(
        network=network.to(device, memory_format=torch.channels_last),  # type: ignore[call-overload]
        columns=torch.tensor([model.class_names.index(name) for name in class_names], device=device),
        scale=(std / own_std).to(device),
        shift=((mean - own_mean) / own_std).to(device),
        input_size=model.preprocess.input_size,
    )
