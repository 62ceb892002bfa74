"""The settings of the training task."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from mnasnet.preprocess import MAX_INPUT_SIZE, MIN_INPUT_SIZE
from mnasnet.presets import PRESETS
from mnasnet.settings.model import (
    BUNDLED_MODELS,
    BatchSize,
    InputSize,
    ModelName,
    Settings,
    Tracking,
    setting,
)

_log = logging.getLogger(__name__)


def _of_recipe(meaning: str, *, le: float | None = None) -> Any:
    """A number from 0 to ``le`` that the recipe decides where it is left empty."""
    return setting(None, f"{meaning}; empty leaves it to the recipe.", unset="recipe's", ge=0, le=le, advanced=True)


class TrainSettings(Settings):
    """Settings of the training task, `train_torchvision_mnasnet`."""

    model_name: ModelName = setting(
        "auto",
        "Network to train: `auto` or `photos10` starts from the bundled model, which needs no download; any other name "
        "from its published ImageNet weights (downloaded once). Ignored where `model_weight_file` is set.",
        rule=f"one of {', '.join((*BUNDLED_MODELS, *PRESETS))}",
        suggestions=(*BUNDLED_MODELS, *PRESETS),
    )
    model_weight_file: str = setting(
        "",
        "Your own start: a model file of the training or search task, or any `.safetensors` or `.pth` weights of a "
        "MnasNet; its classifier is replaced where the classes differ. The `winner.json` of a search is a design "
        "without weights and starts from fresh ones.",
        path="file",
    )
    teacher: str = setting(
        "",
        "A trained model of the same classes, usually a larger one: a model file, a run folder or a model's name. Its "
        "answers are learned beside the labels (distillation), which lets a small network come nearer to it.",
        path="file",
    )
    epochs: int = setting(15, "How often every image is seen, 1 to 10000.", ge=1, le=10_000)
    batch_size: BatchSize = setting(
        0,
        "Images for each step, 2 to 4096; `0` suits the number of images. Where memory does not suffice the work is "
        "divided, the step stays the same.",
        rule="0 (chosen by the number of images) or a whole number from 2 to 4096",
        unset="auto",
        ge=0,
        le=4096,
    )
    accumulate_steps: int = setting(
        1,
        "Number of batches of `batch_size` images per optimizer step, one after the other: a large batch on a device "
        "that holds a small one.",
        ge=1,
        le=1024,
        advanced=True,
    )
    input_size: InputSize = setting(
        0,
        f"Side of the network's square input in pixels, {MIN_INPUT_SIZE} to {MAX_INPUT_SIZE}. `0` or `auto` suits the "
        "images: at most 128 on a CPU, 224 on a GPU.",
        rule=f"0 (chosen by the images) or a whole number from {MIN_INPUT_SIZE} to {MAX_INPUT_SIZE}",
        unset="auto",
        ge=0,
        le=MAX_INPUT_SIZE,
    )
    use_pretrained: bool = setting(True, "Start from trained weights; without it only the architecture is taken over.")
    feature_extract: bool = setting(False, "Train the classifier only and leave the trained features as they are.")
    quantization_aware: bool = setting(
        False,
        "Train a model of the same classes on so that it keeps its accuracy in 8 bits; then export it with int8.",
        advanced=True,
    )
    output_folder: str = setting(
        "", "Where run folders are made; empty is a folder of Ikomia's data, or `runs/train` elsewhere.", path="folder"
    )
    export_pth: bool = setting(False, "Also write the best weights as a torch state dict, `.pth`.")
    export_onnx: bool = setting(False, "Also write the best model as `.onnx`.")
    patience: int = setting(
        0, "Stop after this many epochs without a better validation; `0` never.", unset="off", ge=0, le=10_000
    )
    max_minutes: float = setting(
        0.0, "Stop after this time and keep the best model; `0` is no limit.", unset="no limit", ge=0.0
    )
    resume_folder: str = setting(
        "",
        "The folder of a run that was stopped or killed, to go on with it. The run's own parameters are used. Only "
        "`max_minutes`, when it is not 0, replaces the run's.",
        path="folder",
    )
    learning_rate: float = setting(
        0.0, "Peak learning rate; `0` leaves it to the recipe.", unset="recipe's", ge=0.0, le=10.0
    )
    momentum: float | None = _of_recipe("Momentum of SGD and RMSProp, first beta of AdamW", le=0.9999)
    weight_decay: float | None = _of_recipe("Weight decay", le=1.0)
    recipe: Literal["auto", "modern", "mnasnet", "continue"] = setting(
        "auto",
        "How to train: `auto` is the modern recipe (SGD or AdamW, cosine, augmentation by length of the run), "
        "`mnasnet` the paper's RMSProp, `continue` goes on with a model that was trained on these very images.",
        advanced=True,
    )
    augment: Literal["auto", "none", "crop", "light", "trivial"] = setting(
        "auto",
        "How training images are changed; `auto` leaves it to the recipe, `none` leaves them as they are but for "
        "`mixup`, `cutmix` and `erasing` where they are set.",
        advanced=True,
    )
    flip: bool = setting(True, "Mirror training images at random; turn it off where left and right differ, as in text.")
    label_smoothing: float | None = _of_recipe("Label smoothing", le=0.9)
    dropout: float | None = _of_recipe("Dropout before the classifier", le=0.9)
    mixup: float | None = _of_recipe("Share of batches with mixup", le=1.0)
    cutmix: float | None = _of_recipe("Share of batches with CutMix", le=1.0)
    erasing: float | None = _of_recipe("Share of images with a random box erased", le=1.0)
    ema: float | None = _of_recipe("Decay of the averaged weights, 0 for none", le=0.99999)
    frozen_epochs: int | None = _of_recipe("Epochs at the start in which only the classifier learns")
    balance: Literal["auto", "off", "equal"] = setting(
        "auto",
        "Show rare classes more often: `auto` when one class has over three times as many images as another, by the "
        "square root of the counts; `equal` shows all classes alike.",
        advanced=True,
    )
    val_fraction: float = setting(
        0.2,
        "Share of each class that validates where the dataset has no validation folder.",
        gt=0.0,
        le=0.9,
        advanced=True,
    )
    grouping: Literal["images", "frames"] = setting(
        "images", "`frames` keeps the frames of one video together when splitting.", advanced=True
    )
    max_bad: float = setting(
        0.05,
        "Share of unreadable training images that is tolerated; they are left out and named.",
        ge=0.0,
        le=1.0,
        advanced=True,
    )
    seed: int = setting(0, "The same seed and data give the same training.", ge=0, le=2**31 - 1, advanced=True)
    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", "Where to train; `auto` takes an NVIDIA GPU where one answers."
    )
    threads: int = setting(
        0, "Processor threads; `0` takes all cores.", unset="all cores", ge=0, le=1024, advanced=True
    )
    cache_mb: int = setting(
        2000, "Memory in MB for decoded images; what does not fit is decoded again.", ge=0, advanced=True
    )
    name: str = setting("", "Name of the run folder; empty is the name of the dataset's folder.", advanced=True)
    tracking: Tracking = setting(
        "off",
        "Where metrics are logged besides the run folder: `off`, `local` (MLflow files: Ikomia's own in its task, "
        "`./mlruns` on the command line) or an MLflow URI.",
        suggestions=("off", "local"),
        advanced=True,
    )
    tensorboard: bool = setting(
        False,
        "Write TensorBoard files: in Ikomia into its TensorBoard folder, elsewhere into the run folder.",
        advanced=True,
    )

    RETIRED: ClassVar[Mapping[str, str]] = {"num_workers": "no longer needed: images are decoded in threads"}

    @classmethod
    def translated(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Drop ``num_workers`` of release 1, whose only network was called ``mnasnet``.

        There ``model_name`` only named the file that was written.
        """
        is_release_1 = values.pop("num_workers", "") != ""
        called, known = values.get("model_name"), (*BUNDLED_MODELS, *PRESETS)
        if called == "mnasnet":
            values["model_name"] = "mnasnet1_0"
        elif is_release_1 and called and called not in known:
            _log.warning("model_name %s is no network; it is the run's name, as in release 1, of mnasnet1_0", called)
            values.update(model_name="mnasnet1_0", name=values.get("name") or called)
        return values

    def arguments(self) -> dict[str, Any]:
        """What :class:`mnasnet.train.plan.Training` takes, except data and output folder."""
        values = self.model_dump()
        for name in ("model_name", "model_weight_file", "use_pretrained", "output_folder", "resume_folder", "tracking"):
            values.pop(name)
        return {**values, "model": self.model_weight_file or self.model_name, "pretrained": self.use_pretrained}
