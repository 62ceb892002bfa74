"""A run told to people: ``per_class.csv``, ``mistakes.csv``, ``model_card.md`` and one whole ``report.html``."""

from __future__ import annotations

import base64
import csv
import io
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mnasnet
from mnasnet.data.check import COARSE_POINTS
from mnasnet.machine import processor_name
from mnasnet.modelfile import ModelFile
from mnasnet.network.count import count
from mnasnet.pages import render
from mnasnet.train.best import Kept
from mnasnet.train.evaluate import ClassScore, Evaluation, Mistake
from mnasnet.train.figures import MOST_CLASSES_NAMED
from mnasnet.train.listeners import csv_bytes
from mnasnet.words import duration

MOST_TAKEN = 10  # pairs of classes that are shown


@dataclass(frozen=True, eq=False)
class Story:
    """All that card and report tell of one run.

    ``evaluations`` are by split: ``validation``, maybe ``test``. ``pictures`` are PNG contents by file name.
    ``warnings`` are sentences about the data, ``mistakes`` those of the picture. ``asked`` is what the user set,
    ``recipe`` what was made of it. ``best_epoch`` is the one whose weights the model has.
    """

    title: str
    model: ModelFile
    status: str
    history: Sequence[Mapping[str, Any]]
    best_epoch: int
    evaluations: Mapping[str, Evaluation]
    images: Mapping[str, int]
    asked: Mapping[str, Any]
    recipe: Mapping[str, Any]
    started_from: str
    seconds: float
    machine: str
    made_on: str
    teacher: str = ""
    kept: Kept = "best"
    warnings: Sequence[str] = ()
    mistakes: Sequence[Mistake] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    files: Sequence[str] = ()

    @property
    def best(self) -> str:
        """Which epoch the model is of, in words."""
        epochs, epoch = len(self.history), int(self.model.metrics.get("epoch", 0))
        if epoch > epochs:  # time ended within it
            return f"the model is of a part of epoch {epoch}"
        return f"{self.kept} epoch {self.best_epoch} of {epochs}"


def per_class_csv(evaluations: Mapping[str, Evaluation]) -> bytes:
    """Images, precision, recall and F1 of each class, by split."""
    return csv_bytes([_class_row(split, score) for split, one in evaluations.items() for score in one.classes])


def _class_row(split: str, score: ClassScore) -> dict[str, Any]:
    def rounded(value: float | None) -> Any:
        return "" if value is None else round(value, 4)

    return {
        "split": split,
        "class": score.name,
        "images": score.images,
        "precision": rounded(score.precision),
        "recall": rounded(score.recall),
        "f1": rounded(score.f1),
    }


def mistakes_csv(mistakes: Iterable[Mistake]) -> bytes:
    """The images that were taken for another class, by their paths within the dataset."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "class", "predicted", "confidence"))
    writer.writerows((one.image, one.true, one.predicted, f"{one.confidence:.4f}") for one in mistakes)
    return text.getvalue().encode(errors="surrogateescape")


def machine_description(device: str, threads: int) -> str:
    """What trained: processor or GPU, threads, versions."""
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else processor_name()
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}, {versions}"


def model_card(story: Story) -> str:
    """What the model is, how good it is, on what it was trained and where it must not be trusted, as Markdown."""
    model, recipe = story.model, story.model.preprocess
    counts = count(model.architecture, recipe.input_size, len(model.class_names), model.in_channels)
    lines = [
        f"# {_md(story.title)}",
        "",
        f"An image classifier for {len(model.class_names)} classes, a network of the MnasNet family "
        f"(arXiv 1807.11626), trained with mnasnet {mnasnet.__version__} on {story.made_on}.",
        "",
        "## Model",
        "",
        f"- network: {_md(model.architecture.name or 'unnamed')}, {counts.parameters:,} parameters, "
        f"{counts.multiply_adds / 1e6:.1f} million multiply-adds",
        f"- input: {recipe.input_size} x {recipe.input_size} pixels RGB, {recipe.crop} crop from "
        f"{recipe.resize}, {recipe.interpolation}; mean {recipe.mean}, standard deviation {recipe.std}",
        f"- started from: {_md(story.started_from)}",
        *([f"- learned from the answers of: {_md(story.teacher)}"] if story.teacher else []),
        f"- weights: {model.fingerprint}",
        f"- classes: {', '.join(_md(name) for name in model.class_names)}",
        "",
        "## How good it is",
        "",
        "| images | number | accuracy | 95% interval | macro F1 | worst recall | calibration error |",
        "|---|---|---|---|---|---|---|",
    ]
    for split, result in story.evaluations.items():
        low, high = result.interval
        lines.append(
            f"| {split} | {result.images} | {result.accuracy:.2%} | {low:.2%} to {high:.2%} | {result.macro_f1:.3f} "
            f"| {result.worst_recall:.2%} | {result.calibration_error:.3f} |"
        )
    for split, result in story.evaluations.items():
        lines += ["", f"| class | {split} images | precision | recall | F1 |", "|---|---|---|---|---|"]
        lines += [
            f"| {_md(score.name)} | {score.images} | {_share(score.precision)} | {_share(score.recall)} "
            f"| {_share(score.f1)} |"
            for score in result.classes
        ]
    lines += [
        "",
        "## Training",
        "",
        f"- images: {', '.join(f'{number} {name}' for name, number in story.images.items())}",
        f"- {story.status}; {story.best}; {duration(story.seconds)} on {_md(story.machine)}",
        *(f"- {name}: {_md(_plain(value))}" for name, value in story.recipe.items()),
        "",
        "## Limits",
        "",
        *(f"- {_md(warning)}" for warning in story.warnings),
        *(f"- {_md(limit)}" for limit in _limits(story)),
        "",
    ]
    return "\n".join(lines)


def _limits(story: Story) -> list[str]:
    """Where the model must not be trusted, as plain sentences."""
    limits = []
    if story.model.int8_ranges:
        told = "These accuracies are in float32, those of the epochs as rounded to 8 bits; export with int8"
        limits.append(f"{told} judges the file itself.")
    result = story.evaluations.get("validation")
    if result is not None:
        low, high = result.interval
        if len(story.history) > 1 and story.kept == "best":
            limits.append("The best epoch was chosen by the validation images, which flatters their accuracy a little.")
        points = 50 * (high - low)
        known = f"On {result.images} validation images this accuracy is known to ±{points:.1f} points"
        more = "more images or a cross-validation" if story.kept == "best" else "all folds together"
        cure = f"; {more} would tell more" if points > COARSE_POINTS else ""
        limits.append(f"{known}: smaller differences mean nothing{cure}.")
        weak = [score for score in result.classes if score.recall is not None and score.recall < 0.5]
        if weak:
            names = ", ".join(score.name for score in weak[:10])
            limits.append(f"Fewer than half of the images are recognised in: {names}.")
    if "test" not in story.evaluations:
        limits.append("There were no test images; the accuracy on new images is not known better than by validation.")
    threshold = "" if result is None else f": {result.unknown_at_half()}"
    limits.append(f"An image of none of these classes is given one of them too; use a confidence threshold{threshold}.")
    return limits


def _md(text: str) -> str:
    """``text`` as plain Markdown: what would be markup or a tag is escaped."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>&~])", r"\\\1", " ".join(text.split()))


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def report_html(story: Story) -> str:
    """The whole run as one page that needs no other file and no network."""
    counts = count(
        story.model.architecture,
        story.model.preprocess.input_size,
        len(story.model.class_names),
        story.model.in_channels,
    )
    return render(
        "training.html",
        story=story,
        model=story.model,
        counts=counts,
        duration=duration(story.seconds),
        version=mnasnet.__version__,
        pictures={name: base64.b64encode(content).decode() for name, content in story.pictures.items()},
        captions=_CAPTIONS,
        limits=_limits(story),
        shows_numbers=len(story.model.class_names) > MOST_CLASSES_NAMED,
        most_taken=MOST_TAKEN,
    )


_CAPTIONS = {
    "results.png": "Training and validation, epoch by epoch",
    "confusion_matrix_normalized.png": "Which classes are taken for which, in percent of the true class",
    "confusion_matrix.png": "The same in numbers of images",
    "most_wrong.png": "Mistakes on validation images",
}
