"""What is trained on what and how, as asked; and what is made of it once images and start are known."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import mnasnet
from mnasnet.checks import make_as_declared
from mnasnet.data.folder import Dataset, Sample
from mnasnet.data.header import read_header
from mnasnet.data.split import Grouping, Split
from mnasnet.data.unreadable import MAX_BAD
from mnasnet.errors import DataError, NewerSchemaError, SettingsError, SpecError
from mnasnet.files import exists, expanded
from mnasnet.machine import usable_cores
from mnasnet.modelfile import ModelFile
from mnasnet.preprocess import MIN_INPUT_SIZE, Preprocess
from mnasnet.presets import PRESETS, architecture
from mnasnet.runtime.session import has_cuda
from mnasnet.spec import ArchitectureSpec
from mnasnet.train.batches import Balance
from mnasnet.train.distillation import require_teacher_of
from mnasnet.train.recipe import Augment, Recipe, RecipeName, batch_size_for, recipe_for
from mnasnet.train.run_folder import RunFolderError
from mnasnet.zoo import BUNDLED, open_model

INPUT_SIZES = (64, 96, 128, 160, 192, 224)
LARGEST_ON_CPU = 128  # what `input_size` 0 may choose; 224 costs three times as much for a few points more
MEASURED_IMAGES = 200  # whose median tells the size of a dataset's images


@dataclass(frozen=True, slots=True)
class Training:
    """What is trained on what, and how; None and 0 leave a choice to us.

    ``model`` is where weights start: ``auto`` (the bundled model), a published network's name or a file; without
    ``pretrained`` only its architecture counts, and an architecture file (.json) has no more. ``teacher`` names a
    trained model in the same way, whose answers are learned too (:mod:`mnasnet.train.distillation`); "" is none.
    ``max_bad`` is the share of unreadable training images tolerated, ``cache_mb`` the memory for decoded images;
    without ``report`` a run leaves no pictures and pages. The other fields are those of
    :class:`mnasnet.train.recipe.Recipe`, :func:`mnasnet.data.split.split` and :func:`mnasnet.train.trainer.fit`.
    """

    data: Path
    model: str = "auto"
    pretrained: bool = True
    teacher: str = ""
    feature_extract: bool = False
    quantization_aware: bool = False
    epochs: int = 15
    input_size: int = 0
    recipe: RecipeName = "auto"
    batch_size: int = 0
    accumulate_steps: int = 1
    learning_rate: float = 0.0
    momentum: float | None = None
    weight_decay: float | None = None
    label_smoothing: float | None = None
    dropout: float | None = None
    augment: Augment | Literal["auto"] = "auto"
    flip: bool = True
    mixup: float | None = None
    cutmix: float | None = None
    erasing: float | None = None
    ema: float | None = None
    frozen_epochs: int | None = None
    balance: Balance = "auto"
    patience: int = 0
    max_minutes: float = 0.0
    val_fraction: float = 0.2
    grouping: Grouping = "images"
    max_bad: float = MAX_BAD
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 0
    cache_mb: int = 2000
    output_folder: Path = Path("runs/train")
    name: str = ""
    export_pth: bool = False
    export_onnx: bool = False
    tensorboard: bool = False
    report: bool = True

    def __post_init__(self) -> None:
        make_as_declared(self)
        for name in ("data", "output_folder"):  # no shell has looked at a ~ that is written in Python
            object.__setattr__(self, name, expanded(getattr(self, name)))
        if self.epochs < 1:
            raise SettingsError(f"epochs must be >= 1, got {self.epochs}")
        if self.accumulate_steps < 1:
            raise SettingsError(f"accumulate_steps must be >= 1, got {self.accumulate_steps}")
        if self.input_size and self.input_size < MIN_INPUT_SIZE:
            raise SettingsError(f"input_size must be 0 or >= {MIN_INPUT_SIZE} pixels, got {self.input_size}")
        for name in (
            "batch_size",
            "learning_rate",
            "weight_decay",
            "patience",
            "max_minutes",
            "seed",
            "threads",
            "cache_mb",
        ):
            if (getattr(self, name) or 0) < 0:
                raise SettingsError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.device == "cuda" and not has_cuda():
            raise SettingsError("device cuda was asked for but torch sees no GPU; set device to auto or cpu")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML."""
        paths = {name: str(getattr(self, name).absolute()) for name in ("data", "output_folder")}
        models = {name: from_any_folder(getattr(self, name)) for name in ("model", "teacher")}
        return {**asdict(self), **models, **paths}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Training:
        """The inverse of :meth:`to_dict`; fields of other releases are left out."""
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        return cls(**known)


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What was made of a :class:`Training` once the data was known; a resumed run uses it as it stands."""

    class_names: tuple[str, ...]
    architecture: ArchitectureSpec
    preprocess: Preprocess
    recipe: Recipe
    started_from: str
    threads: int
    stored_px: int
    version: str
    teacher: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML."""
        return {
            **{field.name: getattr(self, field.name) for field in fields(self)},
            "class_names": list(self.class_names),
            "architecture": self.architecture.to_dict(),
            "preprocess": {
                **self.preprocess.to_dict(),
                "mean": list(self.preprocess.mean),
                "std": list(self.preprocess.std),
            },
            "recipe": self.recipe.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingPlan:
        """The inverse of :meth:`to_dict`."""
        return cls(
            **{
                **values,
                "class_names": tuple(values["class_names"]),
                "architecture": ArchitectureSpec.from_dict(values["architecture"]),
                "preprocess": Preprocess.from_dict(values["preprocess"]),
                "recipe": Recipe.from_dict(values["recipe"]),
            }
        )


def device_of(training: Training) -> str:
    """``cuda`` or ``cpu``."""
    return "cuda" if training.device != "cpu" and has_cuda() else "cpu"


def require_validation(parts: Split, *, uses: Sequence[str] = ("training", "validation")) -> None:
    """Raise DataError where no image is left to validate on, when those of a class are divided among ``uses``."""
    if not parts.val:
        raise DataError(
            f"no image is left for validation; add images, at least {len(uses)} for each class: for "
            f"{', '.join(uses[:-1])} and {uses[-1]}"
        )


def plan_of(training: Training, parts: Split, dataset: Dataset) -> TrainingPlan:
    """Decide what ``training`` leaves open; raises SettingsError or WeightsError where its parts do not fit."""
    base = start_model(training)
    if training.quantization_aware:
        _require_trained_on(parts.class_names, base, "quantization_aware gets a trained model used to 8 bits")
    if training.recipe == "continue":
        _require_trained_on(parts.class_names, base, "recipe continue goes on with a trained model")
    spec = base.architecture if base else _architecture(training.model)
    teacher = teacher_model(training)
    if teacher is not None:
        require_teacher_of(parts.class_names, teacher, training.teacher)
    short_side = typical_short_side(dataset.folder, parts.train)
    at_a_time = training.batch_size or batch_size_for(len(parts.train))
    like = base.preprocess if base else Preprocess()
    preprocess = preprocess_for(training.input_size, short_side, device=device_of(training), like=like)
    recipe = recipe_for(
        training.recipe,
        images=len(parts.train),
        epochs=training.epochs,
        pretrained=base is not None,
        knows_classes=base is not None and {*parts.class_names} <= {*base.class_names},
        feature_extract=training.feature_extract,
        quantization_aware=training.quantization_aware,
        batch_size=min(at_a_time * training.accumulate_steps, max(2, len(parts.train))),
        learning_rate=training.learning_rate or None,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        label_smoothing=training.label_smoothing,
        dropout=training.dropout,
        augment=None if training.augment == "auto" else training.augment,
        flip=training.flip,
        mixup=training.mixup,
        cutmix=training.cutmix,
        erasing=training.erasing,
        ema=training.ema,
        frozen_epochs=training.frozen_epochs,
    )
    if recipe.frozen_epochs > training.epochs:
        raise SettingsError(
            f"frozen_epochs must be at most epochs, which is {training.epochs}, got {recipe.frozen_epochs}; to train "
            "only the classifier set feature_extract"
        )
    return TrainingPlan(
        class_names=parts.class_names,
        architecture=spec,
        preprocess=preprocess,
        recipe=recipe,
        started_from=in_words(training.model, base) or "fresh weights",
        teacher=in_words(training.teacher, teacher),
        threads=training.threads or max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))),
        stored_px=stored_side(preprocess.input_size, short_side),
        version=mnasnet.__version__,
    )


def start_model(training: Training) -> ModelFile | None:
    """The model whose weights are the start; None to start from fresh ones."""
    if not training.pretrained or _is_architecture_file(training.model):
        if training.feature_extract:
            raise SettingsError(
                "feature_extract needs trained features; set pretrained (use_pretrained) and a model with weights"
            )
        return None
    return _of_images(open_model(training.model, numbered=True), training.model)


def teacher_model(training: Training) -> ModelFile | None:
    """The model whose answers are learned; None where there is none."""
    return _of_images(open_model(training.teacher), training.teacher) if training.teacher else None


def _of_images(model: ModelFile, source: str) -> ModelFile:
    """``model``, which the user calls ``source``; raises SettingsError where it takes no RGB images."""
    if model.in_channels != 3:
        raise SettingsError(f"images have 3 channels, {source} takes {model.in_channels}; choose another model")
    return model


def models_of(training: Training) -> dict[str, ModelFile]:
    """The models that ``training`` learns from, its start, then its teacher, by what the user calls them."""
    named = ((training.model, start_model(training)), (training.teacher, teacher_model(training)))
    return {source: model for source, model in named if model is not None}


def in_words(source: str, model: ModelFile | None) -> str:
    """What a run remembers of the ``model`` that ``source`` names: its name and the fingerprint of its weights."""
    return f"{model.name or Path(source).name} ({model.fingerprint})" if model else ""


def same_start_model(training: Training, started_from: str) -> ModelFile | None:
    """As :func:`start_model`, for a run that began with ``started_from``; raises RunFolderError for another model."""
    return _same(training.model, start_model(training), started_from)


def same_teacher_model(training: Training, teacher: str) -> ModelFile | None:
    """As :func:`teacher_model`, for a run that learns from ``teacher``; raises RunFolderError for another model."""
    return _same(training.teacher, teacher_model(training), teacher)


def _same(source: str, model: ModelFile | None, remembered: str) -> ModelFile | None:
    if model is not None and not remembered.endswith(f"({model.fingerprint})"):
        raise RunFolderError(
            f"a run goes on with the model that it began with, {remembered}, but {source} is "
            f"{in_words(source, model)} now; bring that model back, or start a new run"
        )
    return model


def from_any_folder(model: str) -> str:
    """``model`` as it means the same wherever a run goes on: a file's path absolute, the name of a model as it is."""
    path = expanded(model)
    is_path = model not in ("", "auto", *BUNDLED, *PRESETS) and exists(path)
    return str(path.absolute()) if is_path else model


def _require_trained_on(class_names: tuple[str, ...], base: ModelFile | None, purpose: str) -> None:
    """Raise SettingsError unless there is a model of these classes to go on with."""
    if base is None or base.class_names != class_names:
        raise SettingsError(
            f"{purpose}, it trains none; train on these classes first and give the model file as model_weight_file"
        )


def _architecture(model: str) -> ArchitectureSpec:
    """The network that ``model`` names, without its weights."""
    if model == "auto":
        return architecture("mnasnet_a1", 0.5)
    if model in PRESETS:
        return PRESETS[model]
    if _is_architecture_file(model):
        try:
            return ArchitectureSpec.from_dict(json.loads(expanded(model).read_text(encoding="utf-8")))
        except NewerSchemaError:
            raise
        except (ValueError, TypeError) as error:
            raise SpecError(f"{model} holds no architecture: {error}; take the winner.json of a search") from error
    return open_model(model).architecture


def _is_architecture_file(model: str) -> bool:
    path = expanded(model)
    return path.suffix == ".json" and path.is_file()


def preprocess_for(input_size: int, short_side: int, *, device: str, like: Preprocess = Preprocess()) -> Preprocess:  # noqa: B008
    """``like`` at the wanted size; where nobody wants one (0), at a size that suits images of this short side."""
    size = input_size
    if not size:
        largest = INPUT_SIZES[-1] if device == "cuda" else LARGEST_ON_CPU
        size = next((size for size in INPUT_SIZES if size >= min(short_side, largest)), INPUT_SIZES[-1])
    if short_side <= size:  # enlarging an image only to cut its border off would lose pixels
        return replace(like, input_size=size, resize=size)
    return like.at(size)


def stored_side(input_size: int, short_side: int) -> int:
    """The side in pixels at which training images are kept decoded, to be cut and turned.

    A little more than the network sees, so that crops stay sharp, but never more than the images have.
    """
    return max(MIN_INPUT_SIZE, min(round(1.15 * input_size), short_side))


def typical_short_side(folder: Path, samples: Sequence[Sample]) -> int:
    """The median short side in pixels of some images, evenly spread."""
    chosen = samples[:: max(1, len(samples) // MEASURED_IMAGES)]
    headers = [read_header(folder / sample.path) for sample in chosen]
    sides = [min(header.width, header.height) for header in headers if header is not None]
    return int(statistics.median(sides)) if sides else 224
