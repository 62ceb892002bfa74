"""Looks at every image of a dataset before epoch 1 and says what would spoil a training."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from math import sqrt
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from mnasnet.data.cache import DecodedImages
from mnasnet.data.folder import Dataset, Sample
from mnasnet.data.header import Header, read_header
from mnasnet.data.images import read_image
from mnasnet.data.split import Split, sequence_of, split
from mnasnet.data.threads import in_threads
from mnasnet.data.unreadable import MAX_BAD, Unreadable, complaint, listed, reason_of
from mnasnet.errors import DataError
from mnasnet.progress import Counted
from mnasnet.words import like_others

TINY_PX = 10  # below this side an image is mostly interpolation once it is enlarged
UNEVEN_RATIO = 10.0  # from this ratio of class sizes on, a network that ignores the small class looks good
FEW_IMAGES = 5  # training images of a class
COARSE_POINTS = 10.0  # an accuracy known no better than this cannot rank two trainings
TYPICAL_ACCURACY = 0.8  # where the interval of an accuracy is stated


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What was found. ``errors`` stop a training, ``warnings`` should be read, ``remarks`` are good to know.

    ``counts`` is images by split and class, unreadable ones included; ``identical`` are groups of files with the same
    content, ``duplicates`` those in more than one split or class. Sizes are width x height in pixels. ``val_points`` is
    half the 95 % interval of a validation accuracy of 80 %, in percentage points: smaller differences mean nothing.
    """

    folder: str
    class_names: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    split_made_by: str
    size_bytes: int
    formats: Mapping[str, int]
    kinds: Mapping[str, int]
    smallest: tuple[int, int] | None
    typical: tuple[int, int] | None
    largest: tuple[int, int] | None
    tiny: tuple[str, ...]
    unreadable: Mapping[str, tuple[Unreadable, ...]]
    identical: tuple[tuple[str, ...], ...]
    duplicates_across_splits: tuple[tuple[str, ...], ...]
    duplicates_across_classes: tuple[tuple[str, ...], ...]
    copies_within_class: int
    imbalance: float
    val_points: float | None
    ignored: Mapping[str, int]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    remarks: tuple[str, ...]

    def total(self, split_name: str) -> int:
        """The number of images in a split."""
        return sum(self.counts[split_name].values())

    def require_usable(self) -> None:
        """Raise DataError with all errors where the dataset cannot be trained on."""
        if self.errors:
            raise DataError("; ".join(self.errors))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, complete: every unreadable file and every duplicate."""
        values = asdict(self)
        values["unreadable"] = {
            name: [{"path": file.path, "reason": file.reason} for file in files]
            for name, files in self.unreadable.items()
        }
        return values


def examine(
    dataset: Dataset,
    parts: Split | None = None,
    *,
    max_bad: float = MAX_BAD,
    decoded: Mapping[str, DecodedImages] | None = None,
    threads: int | None = None,
    progress: Counted | None = None,
) -> DatasetReport:
    """Read and decode every image, in threads, and report; nothing is ever written.

    ``parts`` is the split to look at, by default what :func:`split` makes of the dataset. ``decoded`` may hold, by
    split name, the images of that split in its order: those with a place in memory are decoded through it and so need
    not be decoded again for training. ``progress`` hears (done, total). More unreadable training images than the share
    ``max_bad`` are an error in the report.
    """
    parts = parts or split(dataset)
    findings = _Findings()
    total = len(parts.samples)
    looks = in_threads(_Looker(dataset.folder, decoded or {}), _jobs(parts), threads)
    for done, (job, look) in enumerate(zip(_jobs(parts), looks, strict=True), start=1):
        findings.add(job, look)
        if progress is not None:
            progress(done, total)
    return _report(dataset, parts, findings, max_bad)


def accuracy_points(images: int) -> float:
    """Half the 95 % interval of TYPICAL_ACCURACY on ``images``, in percentage points (normal approximation)."""
    return 100 * 1.96 * sqrt(TYPICAL_ACCURACY * (1 - TYPICAL_ACCURACY) / images)


def coarse_accuracy(parts: Split) -> str:
    """What to say before a training whose validation images are too few to rank it; empty where they are enough."""
    if not parts.val or (points := accuracy_points(len(parts.val))) <= COARSE_POINTS:
        return ""
    cure = "more images would, or cross-validation: python -m mnasnet crossval, which judges every image once"
    return (
        f"an accuracy on {len(parts.val)} validation images has a ±{points:.0f} point error (95%): it cannot tell "
        f"similar trainings apart; {'that of all folds together can better' if parts.fold else cure}"
    )


class _Job(NamedTuple):
    split_name: str
    number: int  # its place in the split
    sample: Sample


def _jobs(parts: Split) -> Iterator[_Job]:
    return (
        _Job(name, number, sample) for name, samples in parts.parts.items() for number, sample in enumerate(samples)
    )


class _Look(NamedTuple):
    """What one file showed; no pixels, so that a million fit in memory."""

    digest: bytes
    size_bytes: int
    header: Header | None
    reason: str


class _Looker:
    """Reads one file: content for its digest, header, and pixels to know that they are whole."""

    def __init__(self, folder: Path, decoded: Mapping[str, DecodedImages]) -> None:
        self._folder = folder
        self._decoded = decoded

    def __call__(self, job: _Job) -> _Look:
        path = self._folder / job.sample.path
        digest, size_bytes, header, reason = b"", 0, None, ""
        try:
            kept = self._decoded.get(job.split_name)
            if kept is not None and job.number < kept.planned:
                kept[job.number]
            else:
                read_image(path, min_side=1)  # a JPEG at an eighth of its size: every byte is read, most work saved
            content = path.read_bytes()
            digest, size_bytes = hashlib.blake2b(content, digest_size=16).digest(), len(content)
            header = read_header(content)
        except DataError as error:
            reason = reason_of(error).removeprefix(f"{path}: ")
        except OSError as error:
            reason = f"cannot be opened: {error.strerror}"
        return _Look(digest, size_bytes, header, reason)


@dataclass
class _Findings:
    """Adds up what the files showed."""

    size_bytes: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    widths: array[int] = field(default_factory=lambda: array("L"))
    heights: array[int] = field(default_factory=lambda: array("L"))
    tiny: list[str] = field(default_factory=list)
    unreadable: dict[str, list[Unreadable]] = field(default_factory=dict)
    bad_by_class: Counter[tuple[str, str]] = field(default_factory=Counter)
    first: dict[bytes, _Job] = field(default_factory=dict)
    copies: dict[bytes, list[_Job]] = field(default_factory=dict)

    def add(self, job: _Job, look: _Look) -> None:
        if look.reason:
            self.unreadable.setdefault(job.split_name, []).append(Unreadable(job.sample.path, look.reason))
            self.bad_by_class[job.split_name, job.sample.class_name] += 1
            return
        self.size_bytes += look.size_bytes
        original = self.first.setdefault(look.digest, job)
        if original is not job:
            self.copies.setdefault(look.digest, [original]).append(job)
        if look.header is None:
            return
        self.formats[look.header.format] += 1
        self.kinds[look.header.kind] += 1
        self.widths.append(look.header.width)
        self.heights.append(look.header.height)
        if min(look.header.width, look.header.height) < TINY_PX:
            self.tiny.append(job.sample.path)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return list(zip(self.widths, self.heights, strict=True))


def _report(dataset: Dataset, parts: Split, findings: _Findings, max_bad: float) -> DatasetReport:
    counts = {
        name: _counted(parts.class_names, samples) for name, samples in parts.parts.items() if samples or name != "test"
    }
    sizes = findings.sizes
    groups = list(findings.copies.values())
    across_splits = [group for group in groups if len({job.split_name for job in group}) > 1]
    across_classes = [group for group in groups if len({job.sample.class_name for job in group}) > 1]
    within_class = [group for group in groups if len({(job.split_name, job.sample.class_name) for job in group}) == 1]
    within = sum(len(group) - 1 for group in within_class)
    return DatasetReport(
        folder=str(dataset.folder),
        class_names=parts.class_names,
        counts=counts,
        split_made_by=_made_by(dataset, parts),
        size_bytes=findings.size_bytes,
        formats=dict(findings.formats.most_common()),
        kinds=dict(findings.kinds.most_common()),
        smallest=min(sizes, key=lambda size: (min(size), size), default=None),
        typical=(round(median(findings.widths)), round(median(findings.heights))) if sizes else None,
        largest=max(sizes, key=lambda size: (size[0] * size[1], size), default=None),
        tiny=tuple(findings.tiny),
        unreadable={name: tuple(files) for name, files in findings.unreadable.items()},
        identical=_paths(groups),
        duplicates_across_splits=_paths(across_splits),
        duplicates_across_classes=_paths(across_classes),
        copies_within_class=within,
        imbalance=max(counts["train"].values()) / min(counts["train"].values()),
        val_points=accuracy_points(len(parts.val)) if parts.val else None,
        ignored=dataset.ignored,
        errors=tuple(_errors(parts, findings, counts, max_bad)),
        warnings=tuple(
            chain(
                dataset.notes, parts.notes, _warnings(parts, findings, counts, max_bad, across_splits, across_classes)
            )
        ),
        remarks=tuple(_remarks(findings, within)),
    )


def _counted(class_names: Sequence[str], samples: Sequence[Sample]) -> dict[str, int]:
    found = Counter(sample.class_name for sample in samples)
    return {name: found[name] for name in class_names}


def _made_by(dataset: Dataset, parts: Split) -> str:
    if parts.made_by == "folders":
        return f"validation images from {dataset.split_folders.get('val', 'val')}/"
    kept = ", frames of one video together" if parts.grouping == "frames" else ""
    if parts.fold:
        return f"{parts.fold}, seed {parts.seed}{kept}"
    return f"validation images chosen: {parts.val_fraction:.0%} of each class, seed {parts.seed}{kept}"


def _paths(groups: Sequence[Sequence[_Job]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(job.sample.path for job in group) for group in groups)


_Counts = Mapping[str, Mapping[str, int]]


def _errors(parts: Split, findings: _Findings, counts: _Counts, max_bad: float) -> Iterator[str]:
    bad = findings.unreadable.get("train", [])
    if text := complaint(bad, len(parts.train), max_bad):
        yield text
    unread = {name: findings.bad_by_class["train", name] for name in counts["train"]}
    if lost := [name for name, count in counts["train"].items() if unread[name] == count]:
        name, *others = lost
        count = sum(map(unread.__getitem__, lost))
        yield f"class {name!r}{like_others(others)} has no readable image in train ({count} unreadable); replace them"
    if parts.val and len(findings.unreadable.get("val", ())) == len(parts.val):
        yield f"none of the {len(parts.val)} validation images can be read: {listed(findings.unreadable['val'])}"
    if not parts.val:
        yield "no image is left for validation: each class has one image; add at least one more to each"


def _warnings(
    parts: Split,
    findings: _Findings,
    counts: _Counts,
    max_bad: float,
    across_splits: Sequence[Sequence[_Job]],
    across_classes: Sequence[Sequence[_Job]],
) -> Iterator[str]:
    for name, bad in findings.unreadable.items():
        total = len(parts.parts[name])
        if name == "train" and complaint(bad, total, max_bad):
            continue  # told as an error
        handling = "skipped" if name == "train" else "left out of the measurement, never replaced by others"
        noun = "image" if len(bad) == 1 else "images"
        yield f"{len(bad)} unreadable {name} {noun} {handling} ({len(bad) / total:.1%}): {listed(bad, 3)}"
    yield from _leaks(across_splits)
    if across_classes:
        job, other = _of_two_classes(across_classes[0])
        yield (
            f"{_images(len(across_classes))} under two classes, such as {job.sample.path} = {other.sample.path}: "
            "keep each in the class where it belongs"
        )
    yield from _class_sizes(counts["train"])
    if parts.made_by == "seed" and (lone := _never_validating(parts, counts["val"])):
        thing = "video" if parts.fold and parts.grouping == "frames" else "image"
        yield f"{_names(lone)} with a single {thing}: it trains, so the class's accuracy stays unknown"
    if text := coarse_accuracy(parts):
        yield text
    if findings.tiny:
        yield f"{_images(len(findings.tiny))} smaller than {TINY_PX} pixels, such as {findings.tiny[0]}: enlarged"


def _never_validating(parts: Split, val: Mapping[str, int]) -> list[str]:
    """The classes without a validation image, in a fold those that are not judged by another one either."""
    absent = [name for name, count in val.items() if count == 0]
    if not parts.fold:
        return absent
    trains = {(sample.class_name, sequence_of(sample, parts.grouping)) for sample in parts.train}
    sequences = Counter(name for name, _ in trains)
    return [name for name in absent if sequences[name] == 1]


def _leaks(across_splits: Sequence[Sequence[_Job]]) -> Iterator[str]:
    for name, other in (("val", "train"), ("test", "train"), ("test", "val")):
        leaks = [group for group in across_splits if {name, other} <= {job.split_name for job in group}]
        if not leaks:
            continue
        copy = next(job for job in leaks[0] if job.split_name == name)
        original = next(job for job in leaks[0] if job.split_name == other)
        count = sum(job.split_name == name for group in leaks for job in group)
        yield (
            f"{count} {name} {'image' if count == 1 else 'images'} also in {other}, such as "
            f"{copy.sample.path} = {original.sample.path}: the accuracy on them is no proof; delete one copy of each"
        )


def _class_sizes(train: Mapping[str, int]) -> Iterator[str]:
    smallest, largest = min(train, key=lambda name: train[name]), max(train, key=lambda name: train[name])
    if train[largest] / train[smallest] >= UNEVEN_RATIO:
        yield (
            f"class sizes are uneven, {train[largest] / train[smallest]:.0f} to 1 ({largest!r} {train[largest]}, "
            f"{smallest!r} {train[smallest]}): look at each class's recall, not at accuracy alone, and balance classes"
        )
    few = [name for name, count in train.items() if count < FEW_IMAGES]
    if few:
        yield f"{_names(few)} with fewer than {FEW_IMAGES} training images: too few to learn from"


def _remarks(findings: _Findings, within: int) -> Iterator[str]:
    read = sum(findings.kinds.values())
    grey = sum(count for kind, count in findings.kinds.items() if "grey" in kind or kind == "black and white")
    if read and grey == read:
        yield "all images are grey: their channel is repeated; colour photos would be unlike anything learnt"
    if alpha := sum(count for kind, count in findings.kinds.items() if "alpha" in kind):
        yield f"{_images(alpha)} with transparency: laid over white"
    if cmyk := findings.kinds["CMYK"]:
        yield f"{_images(cmyk)} in CMYK: turned into RGB"
    if within:
        yield f"{within} {'copy' if within == 1 else 'copies'} of images of the same class and split"


def _of_two_classes(group: Sequence[_Job]) -> tuple[_Job, _Job]:
    first = group[0]
    return first, next(job for job in group if job.sample.class_name != first.sample.class_name)


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _names(names: Sequence[str], most: int = 5) -> str:
    noun = "class" if len(names) == 1 else "classes"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{noun} {', '.join(repr(name) for name in names[:most])}{more}"
