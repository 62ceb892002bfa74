"""Recipes: every number that decides what a training does to the weights, and the schedules made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from mnasnet.checks import require_kinds, require_words
from mnasnet.errors import SettingsError

RecipeName = Literal["auto", "modern", "mnasnet", "continue"]
Optimizer = Literal["sgd", "adamw", "rmsprop"]
Schedule = Literal["cosine", "exponential"]
Augment = Literal["none", "crop", "light", "trivial"]

FINAL_SHARE = 0.01  # of the peak learning rate, where the cosine ends


@dataclass(frozen=True, slots=True)
class Recipe:
    """How weights are trained; a value that is stored with every run.

    ``learning_rate`` is the peak, already scaled to ``batch_size``. ``weight_decay`` spares batch normalisation and,
    unless ``decay_biases``, biases. ``bn_momentum`` is torch's: the weight of the newest batch. ``ema`` is the decay
    of the running average of the weights, 0 for none. ``augment`` is ``none``, ``crop`` (crop and flip, as in the
    official code), ``light`` (crop, flip, light and colour) or ``trivial`` (light, then one random operation an
    image: TrivialAugment, arXiv 2103.10158). ``min_area`` is the smallest share of the image that a crop keeps.
    ``mixup``, ``cutmix`` and ``erasing`` are the shares of batches, batches and images they are applied to.
    During ``frozen_epochs`` only the classifier learns; afterwards the rest learns at ``body_rate`` times its rate.
    With ``identity_start`` fresh layers with a skip add nothing to it at first. ``clip_norm`` 0 means no clipping.
    """

    name: str
    optimizer: Optimizer
    learning_rate: float
    batch_size: int
    momentum: float = 0.9
    weight_decay: float = 0.0
    decay_biases: bool = False
    schedule: Schedule = "cosine"
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.1
    dropout: float = 0.2
    bn_momentum: float = 0.1
    ema: float = 0.0
    augment: Augment = "light"
    flip: bool = True
    min_area: float = 0.35
    mixup: float = 0.0
    cutmix: float = 0.0
    erasing: float = 0.0
    frozen_epochs: int = 0
    body_rate: float = 1.0
    identity_start: bool = False
    clip_norm: float = 0.0

    def __post_init__(self) -> None:
        require_words(self)
        if not 0 < self.learning_rate < math.inf:
            raise SettingsError(f"learning_rate must be above 0, got {self.learning_rate!r}")
        if self.batch_size < 2:
            raise SettingsError(f"batch_size must be >= 2, batch normalisation needs two images; got {self.batch_size}")
        for name in ("momentum", "label_smoothing", "dropout", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingsError(f"{name} must be at least 0 and below 1, got {getattr(self, name)!r}")
        for name in ("mixup", "cutmix", "erasing", "body_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} must lie in 0 to 1, got {getattr(self, name)!r}")
        if round(self.mixup + self.cutmix, 9) > 1:
            raise SettingsError(
                "mixup and cutmix must be at most 1 together, since a batch gets one of them, got "
                f"{self.mixup} and {self.cutmix}; lower one"
            )
        if not 0 < self.bn_momentum <= 1 or not 0 < self.min_area <= 1:
            raise SettingsError(
                f"bn_momentum and min_area must be above 0 and at most 1, got {self.bn_momentum} and {self.min_area}"
            )

    def learning_rate_at(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """The learning rate of optimiser step ``step``, counted from 0 over the whole run."""
        warmup_steps = self.warmup_epochs * steps_per_epoch
        if step < warmup_steps:
            return self.learning_rate * (step + 1) / (warmup_steps + 1)
        if self.schedule == "exponential":
            # x 0.97 every 2.4 epochs, a staircase counted from step 0: arXiv 1807.11626 section 5 and the
            # official code (tensorflow/tpu, models/official/mnasnet/mnasnet_utils.py)
            return float(self.learning_rate * 0.97 ** (step / steps_per_epoch // 2.4))
        progress = (step - warmup_steps) / max(1.0, epochs * steps_per_epoch - warmup_steps)
        cosine = (1 + math.cos(math.pi * min(1.0, progress))) / 2
        return self.learning_rate * (FINAL_SHARE + (1 - FINAL_SHARE) * cosine)

    def ema_decay_at(self, step: int) -> float:
        """The decay of the average after step ``step``: small at first, so that short runs are not held back.

        (1 + t) / (10 + t) is the ramp of TensorFlow's ``ExponentialMovingAverage(num_updates=t)``.
        """
        return min(self.ema, (1 + step) / (10 + step))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The inverse of :meth:`to_dict`; raises SettingsError with the field that does not fit."""
        known = {field.name: field for field in fields(cls)}
        for name in values:
            if name not in known:
                raise SettingsError(f"not a training recipe: unknown field {name!r}; there are {', '.join(known)}")
        for name, field in known.items():
            if name not in values and field.default is MISSING:
                raise SettingsError(f"not a training recipe: it lacks {name!r}")
        require_kinds(cls, values)
        return cls(**values)


def recipe_for(
    name: RecipeName = "auto",
    *,
    images: int,
    epochs: int,
    pretrained: bool,
    knows_classes: bool = False,
    feature_extract: bool = False,
    quantization_aware: bool = False,
    **chosen: Any,
) -> Recipe:
    """The recipe called ``name`` for a dataset of ``images``; ``auto`` is the modern one.

    ``continue`` is for weights that have learned from these very images: nothing is frozen or held back.
    ``knows_classes`` says that the trained start names these very classes already.
    ``chosen`` are fields of :class:`Recipe` that the user decided; None leaves the choice to the recipe. Raises
    SettingsError for a field that is none or cannot have its value, and for ``frozen_epochs`` beside
    ``feature_extract``, which freezes all.
    """
    if name not in get_args(RecipeName):
        raise SettingsError(f"recipe must be one of {', '.join(get_args(RecipeName))}, got {name!r}")
    chosen = {field: value for field, value in chosen.items() if value is not None}
    require_kinds(Recipe, chosen)
    batch_size = int(chosen.get("batch_size") or batch_size_for(images))
    if name == "mnasnet":
        made = mnasnet_recipe(batch_size, epochs)
    elif name == "continue":
        made = continued_recipe(images, epochs, batch_size)
    else:
        made = modern_recipe(images, epochs, batch_size, pretrained=pretrained, knows_classes=knows_classes)
    if quantization_aware:
        # a trained model is only to get used to rounding: a low rate, images as they are (arXiv 1806.08342, section 4)
        gentle: dict[str, Any] = {"augment": "light", "mixup": 0.0, "cutmix": 0.0, "erasing": 0.0, "frozen_epochs": 0}
        gentle |= {"learning_rate": made.learning_rate / 10, "body_rate": 1.0}
        made = replace(made, name=f"{made.name}, 8 bits", **gentle)
    if feature_extract and chosen.get("frozen_epochs", epochs) != epochs:
        raise SettingsError(
            f"frozen_epochs {chosen['frozen_epochs']} does not go with feature_extract, which trains only the "
            f"classifier in all {epochs} epochs; leave one of the two out"
        )
    if feature_extract:
        chosen["frozen_epochs"] = epochs
    try:
        return replace(made, **{**_completed(chosen, made), "batch_size": batch_size})
    except TypeError as error:
        raise SettingsError(f"not a training recipe: {error}") from error


def _completed(chosen: Mapping[str, Any], made: Recipe) -> dict[str, Any]:
    """``chosen`` and what follows: ``augment`` none is none of any kind, a mix leaves room for the other."""
    if chosen.get("augment") == "none":
        return {"mixup": 0.0, "cutmix": 0.0, "erasing": 0.0, **chosen}
    completed = {**chosen}
    for one, other in (("mixup", "cutmix"), ("cutmix", "mixup")):
        if one in chosen and other not in chosen:
            completed[other] = max(0.0, min(getattr(made, other), 1 - chosen[one]))
    return completed


def batch_size_for(images: int) -> int:
    """A power of two from 8 to 128 that leaves a small dataset enough steps an epoch."""
    return int(min(128, max(8, 2 ** int(math.log2(max(16, images) / 16)))))


def mnasnet_recipe(batch_size: int, epochs: int) -> Recipe:
    """The paper's training (arXiv 1807.11626, section 5) with what only the official code tells.

    The code is tensorflow/tpu, models/official/mnasnet. RMSProp itself, with decay 0.9 and epsilon 1e-3 under the
    root, is :class:`mnasnet.train.optim.RMSpropTF`.
    """
    return Recipe(
        name="mnasnet",
        optimizer="rmsprop",
        learning_rate=0.016 * batch_size / 256,  # base_learning_rate of mnasnet_main.py; 0.256 at the paper's 4096
        batch_size=batch_size,
        momentum=0.9,  # paper
        weight_decay=1e-5,  # paper; in the code on everything but batch normalisation
        decay_biases=True,
        schedule="exponential",
        warmup_epochs=min(5.0, epochs / 4),  # paper: 5 of 350; shorter runs keep room to learn
        label_smoothing=0.1,  # code
        dropout=0.2,  # paper: on the last layer
        bn_momentum=0.01,  # paper: 0.99 in TensorFlow's convention
        ema=0.9999,  # code: moving_average_decay; evaluation uses the averaged weights
        augment="crop",
        min_area=0.08,  # code: Inception preprocessing, area 0.08 to 1
    )


def modern_recipe(
    images: int, epochs: int, batch_size: int, *, pretrained: bool, knows_classes: bool = False
) -> Recipe:
    """Our default: cosine schedule, averaged weights, and as much augmentation as the run is long enough for.

    Stronger augmentation pays only when the network sees each image often, so it follows the number of epochs;
    a pretrained start on few images overfits sooner and gets it earlier. A start that knows the classes has little to
    learn from few images and much to forget: its features move at a tenth of the rate. New classes need all of it
    (``benchmarks/README.md``).
    """
    steps = max(1, epochs * max(1, images // batch_size))
    long, very_long = epochs >= (10 if pretrained else 20), epochs >= 60
    common: dict[str, Any] = {
        "batch_size": batch_size,
        "ema": ema_for(steps),
        "bn_momentum": bn_momentum_for(steps),
        "augment": "trivial" if long else "light",
        "mixup": 0.2 if very_long else 0.0,
        "cutmix": 0.3 if very_long else 0.0,
        "erasing": 0.25 if long else 0.1,
        "clip_norm": 5.0,
    }
    if pretrained:
        return Recipe(
            name="modern (fine-tuning)",
            optimizer="adamw",
            learning_rate=1e-3 * math.sqrt(batch_size / 32),  # Adam's rate grows with the root of the batch
            weight_decay=0.02,
            warmup_epochs=min(1.0, epochs / 5),
            frozen_epochs=1 if epochs >= 5 else 0,
            body_rate=0.1 if knows_classes else 1.0,
            **common,
        )
    if steps < 10_000:  # plain SGD has not travelled far enough by then
        return Recipe(
            name="modern (short)",
            identity_start=True,
            optimizer="adamw",
            # on photos twice as much ended alike, half as much behind
            learning_rate=6e-3 * math.sqrt(batch_size / 64),
            weight_decay=0.05,
            warmup_epochs=min(2.0, epochs / 6),
            **common,
        )
    return Recipe(
        name="modern",
        identity_start=True,
        optimizer="sgd",
        learning_rate=0.15 * batch_size / 128,
        weight_decay=3e-4,
        warmup_epochs=min(3.0, epochs / 8),
        **common,
    )


def continued_recipe(images: int, epochs: int, batch_size: int) -> Recipe:
    """For weights that have learned from these very images, of which nothing can be forgotten: all of them move."""
    tuned = modern_recipe(images, epochs, batch_size, pretrained=True)
    return replace(tuned, name="modern (going on)", frozen_epochs=0)


def ema_for(steps: int) -> float:
    """A decay whose memory is a twentieth of the run, at most 10,000 steps."""
    return 1 - 1 / min(10_000.0, max(2.0, steps / 20))


def bn_momentum_for(steps: int) -> float:
    """Torch's momentum such that running statistics forget their start within a tenth of the run.

    The published torchvision networks carry 0.0003, which never adapts in a short fine-tuning.
    """
    return min(0.1, max(0.01, 30 / steps))
