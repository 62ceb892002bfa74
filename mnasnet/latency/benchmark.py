"""Accuracy beside latency on one device: published networks, a reference, and models of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mnasnet.checks import is_number
from mnasnet.errors import LatencyError, SpecError
from mnasnet.export.exported import ExportedModel
from mnasnet.export.int8_timing import is_made_up
from mnasnet.files import as_text, expanded, is_file
from mnasnet.latency.meter import AwayError, Latency, NotAllowedError, RunnableMeter
from mnasnet.latency.remote import RemoteMeter
from mnasnet.latency.session import SessionMeter
from mnasnet.latency.untrained import untrained_model
from mnasnet.modelfile import ModelFile
from mnasnet.network.count import Counts, count
from mnasnet.network.download import IMAGENET_CLASSES, PUBLISHED
from mnasnet.presets import MOBILENET_V2, PRESETS
from mnasnet.progress import Counted
from mnasnet.spec import ArchitectureSpec
from mnasnet.zoo import model_path

Kind = Literal["published", "reference", "yours"]
MOBILENET_V2_TOP1_PERCENT = 71.878  # torchvision's MobileNet_V2_Weights.IMAGENET1K_V1
IMAGENET = "ImageNet, published"


@dataclass(frozen=True, eq=False)
class Subject:
    """A network to be measured.

    ``accuracy_percent`` is None where nobody says it, ``accuracy_on`` names the images; ``path`` is of a user's file.
    """

    name: str
    kind: Kind
    model: ModelFile | ExportedModel
    accuracy_percent: float | None = None
    accuracy_on: str = ""
    path: Path | None = None

    @property
    def counts(self) -> Counts | None:
        """What the network costs on any device; None for an exported file that does not tell its architecture."""
        own = self.model
        try:
            spec = (
                ArchitectureSpec.from_dict(own.header["architecture"])
                if isinstance(own, ExportedModel)
                else own.architecture
            )
        except (KeyError, SpecError):
            return None
        return count(spec, own.preprocess.input_size, len(own.class_names), own.in_channels)


@dataclass(frozen=True, eq=False)
class Row:
    """One subject on one meter: a latency, or the reason there is none."""

    subject: Subject
    meter: str
    latency: Latency | None = None
    failure: str = ""

    @property
    def is_of_made_up_numbers(self) -> bool:
        """Whether a network in float was timed in 8 bits, which tells of no file of the user's."""
        return self.latency is not None and is_made_up(self.subject.model, self.latency.precision)

    def to_dict(self) -> dict[str, Any]:
        """Flat plain values, the columns of the table."""
        subject, latency, counts = self.subject, self.latency, self.subject.counts
        return {
            "name": subject.name,
            "kind": subject.kind,
            "accuracy_percent": subject.accuracy_percent,
            "accuracy_on": subject.accuracy_on,
            "input_size": subject.model.preprocess.input_size,
            "parameters": counts.parameters if counts else None,
            "multiply_adds": counts.multiply_adds if counts else None,
            "meter": self.meter,
            "undisturbed_ms": round(latency.undisturbed_ms, 4) if latency else None,
            "median_ms": round(latency.median_ms, 4) if latency else None,
            "p90_ms": round(latency.p90_ms, 4) if latency else None,
            "n": latency.n if latency else 0,
            "threads": latency.threads if latency else None,
            "batch": latency.batch if latency else None,
            "quiet": latency.quiet if latency else None,
            "note": latency.note if latency else f"unmeasured: {self.failure}",
            "device": latency.device if latency else "",
            "runtime": f"{latency.runtime} {latency.runtime_version} {latency.precision}" if latency else "",
        }


def published(input_size: int = 224) -> list[Subject]:
    """The networks with published weights and MobileNetV2, as random weights: nothing is downloaded."""
    found = [by_name(name, input_size) for name in (*PUBLISHED, MOBILENET_V2.name)]
    return [subject for subject in found if subject is not None]


def by_name(name: str, input_size: int) -> Subject | None:
    """The published network called ``name``, as random weights; None for any other name.

    At another size than its own the published accuracy does not hold and is left out.
    """
    if name == MOBILENET_V2.name:
        model = untrained_model(MOBILENET_V2, input_size, IMAGENET_CLASSES)
        return Subject(name, "reference", model, MOBILENET_V2_TOP1_PERCENT if input_size == 224 else None, IMAGENET)
    if name not in PRESETS or Path(name).is_file():
        return None
    model, weights = untrained_model(PRESETS[name], input_size, IMAGENET_CLASSES), PUBLISHED.get(name)
    if weights is None:
        return Subject(name, "published", model, None, "")
    holds = input_size == weights.preprocess.input_size
    return Subject(name, "published", model, weights.top1_percent if holds else None, IMAGENET)


def own(source: str, model: ModelFile | ExportedModel) -> Subject:
    """A model of the user's, its accuracy taken from the file where training wrote it there."""
    metrics: Mapping[str, Any] = model.header.get("metrics", {}) if isinstance(model, ExportedModel) else model.metrics
    found = _accuracy(metrics, model.preprocess.input_size)
    if isinstance(model, ExportedModel) and model.precision != "fp32":
        found = _accuracy_in_8_bits(metrics)  # the others are of the network before
    given, path = expanded(source), model_path(source)
    accuracy_percent, accuracy_on = found or (None, "")
    name = as_text(given.name if is_file(given) else source)
    if isinstance(model, ExportedModel):
        model = replace(model, name=name)  # as errors call it: files of several formats have the name of one model
    return Subject(name, "yours", model, accuracy_percent, accuracy_on, path if is_file(path) else None)


def _accuracy(metrics: Mapping[str, Any], input_size: int) -> tuple[float, str] | None:
    if (published_percent := _percent(metrics.get("imagenet_top1_percent"), of=100)) is not None:
        return published_percent, IMAGENET
    if (at_size := _percent(metrics.get(f"accuracy_at_{input_size}_px"))) is not None:  # the bundled model
        return at_size, f"{metrics.get('test_images', 'its')} test images"
    for prefix, images in (("test_", "test"), ("", "validation")):  # as training writes them
        if (percent := _percent(metrics.get(f"{prefix}accuracy"))) is not None:
            return percent, f"{metrics.get(f'{prefix}images', 'its')} {images} images"
    return None


def _percent(value: object, *, of: int = 1) -> float | None:
    """``value``, a share of ``of``, in percent; None where it is none: a header can hold anything."""
    return 100 / of * float(value) if is_number(value) and 0 <= value <= of else None


def told_apart(subjects: Sequence[Subject]) -> list[Subject]:
    """``subjects``, those of equal names called by as much of their paths as tells them apart."""
    named = []
    for subject in subjects:
        own_path = subject.path and subject.path.absolute()
        paths = {one.path.absolute() for one in subjects if one.name == subject.name and one.path}
        if own_path and (rivals := paths - {own_path}):
            parts, others = own_path.parts, [path.parts for path in rivals]
            count = next(n for n in range(1, len(parts) + 1) if all(other[-n:] != parts[-n:] for other in others))
            subject = replace(subject, name="/".join(parts[-count:]))
        named.append(subject)
    return named


def _accuracy_in_8_bits(metrics: Mapping[str, Any]) -> tuple[float, str] | None:
    if (percent := _percent(metrics.get("int8_accuracy"))) is None:
        return None
    images, before = f"{metrics.get('int8_judged_images', 'its')} images", _percent(metrics.get("float32_accuracy"))
    return percent, images + ("" if before is None else f", where float32 had {before:.1f}%")


def measure_all(
    subjects: Sequence[Subject], meters: Mapping[str, RunnableMeter], *, progress: Counted | None = None
) -> list[Row]:
    """Every subject on every meter that it is made for; what cannot be measured gives its reason.

    Published networks of one architecture are timed once. A device that is away is waited for once, and one that
    refuses this caller is asked once.
    """
    pairs = [
        (subject, name)
        for name, meter in meters.items()
        for subject in subjects
        if _takes(meter, subject) or not any(_takes(other, subject) for other in meters.values())
    ]
    rows, meters = [], dict(meters)
    timed: dict[tuple[str, object], Latency] = {}
    refused: dict[str, NotAllowedError] = {}
    for subject, name in pairs:
        network = name, _network_of(subject)
        try:
            if name in refused:
                raise refused[name]
            if network not in timed:
                timed[network] = meters[name].measure_model(subject.model)
            rows.append(_row(subject, name, timed[network]))
        except LatencyError as error:
            told = _in_its_numbers(name, subject) if _takes(meters[name], subject) else name
            rows.append(Row(subject, told, failure=str(error)))
            if isinstance(error, NotAllowedError):
                refused[name] = error
            elif isinstance(error, AwayError):  # it was waited for once
                meters[name] = _impatient(meters[name])
        if progress is not None:
            progress(len(rows), len(pairs))
    return rows


def _network_of(subject: Subject) -> object:
    """Equal for networks that are equally fast: published ones of one architecture, since their weights are random."""
    model = subject.model
    if subject.kind == "yours" or isinstance(model, ExportedModel):
        return subject
    return model.architecture.fingerprint, model.preprocess.input_size


def _impatient(meter: RunnableMeter) -> RunnableMeter:
    """``meter``, which no longer waits for a device that is away."""
    if not isinstance(meter, RemoteMeter):
        return meter
    return replace(meter, address=replace(meter.address, wait_minutes=0.0))


def _takes(meter: RunnableMeter, subject: Subject) -> bool:
    return meter.takes(subject.model) if isinstance(meter, SessionMeter) else True


def _row(subject: Subject, name: str, latency: Latency) -> Row:
    is_rounded = latency.precision == "bf16"
    if is_rounded or is_made_up(subject.model, latency.precision):  # only an int8 export has an accuracy of its own
        subject = replace(subject, accuracy_percent=None, accuracy_on="")
    return Row(subject, _in_its_numbers(name, subject), latency)


def _in_its_numbers(meter: str, subject: Subject) -> str:
    """The meter's name for ``subject``: an exported file in 8 bits runs in them by a meter of fp32 too."""
    is_int8 = isinstance(subject.model, ExportedModel) and subject.model.precision == "int8"
    return meter.replace("fp32", "int8") if is_int8 else meter


def with_card(cards: Sequence[Mapping[str, Any]], latency: Latency) -> tuple[Mapping[str, Any], ...]:
    """The latency cards of a model file with this one added; it takes the place of one of the same conditions."""
    new = latency.to_dict()
    conditions = ("device", "runtime", "precision", "threads", "batch", "input_size", "predicted")
    updated = tuple(new if all(card.get(key) == new[key] for key in conditions) else card for card in cards)
    return updated if new in updated else (*updated, new)


def resized(subject: Subject, input_size: int) -> Subject:
    """The subject at another input size, where its accuracy is unknown; an exported file has one size."""
    model = subject.model
    if isinstance(model, ExportedModel) or model.preprocess.input_size == input_size:
        return subject
    model = replace(model, preprocess=model.preprocess.at(input_size))
    return replace(subject, model=model, accuracy_percent=None, accuracy_on="")
