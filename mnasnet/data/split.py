"""Which images train and which validate: decided once, written down, and read back unchanged on resume."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import floor
from pathlib import Path, PurePosixPath
from typing import Literal

from mnasnet.data.folder import Dataset, Sample
from mnasnet.errors import DataError
from mnasnet.files import write_json
from mnasnet.words import amount, like_others

_log = logging.getLogger(__name__)

SCHEMA = 1

SPLIT_FILE = "split.json"  # beside what was trained with it
#: "images": every image for itself; "frames": images whose names differ only in a last number stay together
Grouping = Literal["images", "frames"]


@dataclass(frozen=True, slots=True)
class Split:
    """Samples for training, validation and test, each in order of their paths.

    ``made_by`` is "folders" where the dataset came with validation images, else "seed": then ``val_fraction``,
    ``seed`` and ``grouping`` tell how it was made. ``fold`` says which one of a cross-validation it is, if any.
    """

    class_names: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...] = ()
    made_by: Literal["folders", "seed"] = "folders"
    val_fraction: float = 0.0
    seed: int = 0
    grouping: Grouping = "images"
    notes: tuple[str, ...] = ()
    fold: str = ""

    @property
    def parts(self) -> dict[str, tuple[Sample, ...]]:
        """The samples by split: train, val, test."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The samples of all parts."""
        return self.train + self.val + self.test

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits, equal exactly for equal classes and equal paths in each part."""
        content = json.dumps([self.class_names, self.train, self.val, self.test])
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def labels(self, samples: Iterable[Sample]) -> list[int]:
        """The class number of each sample: its place in ``class_names``."""
        numbers = {name: number for number, name in enumerate(self.class_names)}
        return [numbers[sample.class_name] for sample in samples]


def split(dataset: Dataset, *, val_fraction: float = 0.2, seed: int = 0, grouping: Grouping = "images") -> Split:
    """The dataset's own validation images, or else ``val_fraction`` of each class's training images.

    The choice depends on the seed and the relative paths alone: neither on the machine nor on the order of files,
    and an image added later leaves the others mostly where they were. Each class keeps at least one image in
    training and, where it has two, gives at least one to validation. With ``grouping="frames"`` the frames of one
    video (names equal up to the last number) stay on one side; a class that is a single video is cut in two at one
    place in time. Raises DataError where ``val_fraction`` does not lie between 0 and 1.
    """
    if not 0 < val_fraction < 1:
        raise DataError(f"val_fraction must lie between 0 and 1, got {val_fraction}; 0.2 is usual")
    if dataset.val:
        return Split(dataset.class_names, dataset.train, dataset.val, dataset.test)
    chooser = _Chooser(val_fraction, seed, grouping)
    by_class: dict[str, list[Sample]] = {name: [] for name in dataset.class_names}
    for sample in dataset.train:
        by_class[sample.class_name].append(sample)
    chosen = {sample for name in dataset.class_names for sample in chooser.validation_of(by_class[name])}
    return Split(
        class_names=dataset.class_names,
        train=tuple(sample for sample in dataset.train if sample not in chosen),
        val=tuple(sample for sample in dataset.train if sample in chosen),
        test=dataset.test,
        made_by="seed",
        val_fraction=val_fraction,
        seed=seed,
        grouping=grouping,
        notes=tuple(chooser.notes),
    )


def write_split(split: Split, path: Path, folder: Path | None = None) -> None:
    """Write ``split.json``, whole or not at all; with ``folder``, which holds the images, also how large each is."""
    sizes: dict[str, list[int]] = {}
    if folder is not None:
        sizes = {name: [size_of(folder / one.path) for one in samples] for name, samples in split.parts.items()}
    values = {
        "schema": SCHEMA,
        "made_by": split.made_by,
        "val_fraction": split.val_fraction,
        "seed": split.seed,
        "grouping": split.grouping,
        "fingerprint": split.fingerprint,
        "class_names": split.class_names,
        "notes": split.notes,
        "fold": split.fold,
        "bytes": sizes,
        **{name: _paths_by_class(samples) for name, samples in split.parts.items()},
    }
    write_json(path, values)


def read_split(path: Path, dataset: Dataset) -> Split:
    """Read ``split.json`` and make sure that ``dataset`` still holds its images.

    Images that came since belong to no part and are left out, so that a resumed run stays the same run. Raises
    DataError naming images that went missing or classes that changed.
    """
    found = written_split(path)
    if found.class_names != dataset.class_names:
        gone = sorted(set(found.class_names) - set(dataset.class_names))
        new = sorted(set(dataset.class_names) - set(found.class_names))
        raise DataError(
            f"the classes in {dataset.folder} are not those of {path}: missing {gone or 'none'}, new {new or 'none'}; "
            "bring the folder back to what it was, or start a new run"
        )
    present = {sample.path for sample in dataset.samples}
    wanted = [sample.path for sample in found.samples]
    missing = [name for name in wanted if name not in present]
    if missing:
        shown = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
        raise DataError(
            f"{len(missing)} of {len(wanted)} images of {path} are missing in {dataset.folder}: {shown}; "
            "bring them back, or start a new run"
        )
    if added := len(present.difference(wanted)):
        many, them = (f"{added} images were", "them") if added > 1 else ("1 image was", "it")
        _log.warning("%s added to %s since %s was written; that run does without %s", many, dataset.folder, path, them)
    return found


def written_sizes(path: Path) -> dict[str, int]:
    """Path of each image -> its bytes when ``split.json`` at ``path`` was written; empty where that does not say."""
    parts = written_split(path).parts
    sizes = json.loads(path.read_bytes()).get("bytes", {})
    return {
        sample.path: size
        for name, samples in parts.items()
        for sample, size in zip(samples, sizes.get(name, ()), strict=False)
    }


def size_of(path: Path) -> int:
    """The size of a file in bytes, -1 where it cannot be told."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def warn_of_changed(path: Path, folder: Path) -> None:
    """Log which images in ``folder`` have another size than when ``split.json`` at ``path`` was written."""
    changed = [name for name, then in written_sizes(path).items() if size_of(folder / name) not in (then, -1)]
    if changed:
        shown = ", ".join(changed[:5]) + (" ..." if len(changed) > 5 else "")
        _log.warning(
            "%s of %s changed since %s was written: %s; from here on what is there now counts, so the result is not "
            "that of a run that was never stopped",
            amount(len(changed), "image"), folder, path, shown,
        )  # fmt: skip


def new_places(sizes: Mapping[str, int], dataset: Dataset) -> dict[str, list[Sample]]:
    """Path of each image that was moved, or whose folder was renamed -> where it may lie in ``dataset`` now.

    ``sizes`` are those of :func:`written_sizes`. An image that is not at its path any more, or has another size
    there, is known again by its file's name and size.
    """
    gone = {path: size for path, size in sizes.items() if size_of(dataset.folder / path) != size}
    alike: dict[tuple[str, int], list[Sample]] = {(PurePosixPath(path).name, size): [] for path, size in gone.items()}
    for sample in dataset.samples if gone else ():
        if sample.path in gone or sample.path not in sizes:
            look = (PurePosixPath(sample.path).name, size_of(dataset.folder / sample.path))
            alike.get(look, []).append(sample)
    return {path: found for path, size in gone.items() if (found := alike[PurePosixPath(path).name, size])}


def carried(written: Split, sizes: Mapping[str, int], dataset: Dataset) -> Split:
    """``written`` with each image where it lies in ``dataset`` now, see :func:`new_places`.

    What may be an image of training as well as another counts as that of training.
    """
    places = new_places(sizes, dataset)
    train, val, test = (
        {place for one in samples for place in places.get(one.path, [one])} for samples in written.parts.values()
    )
    return replace(
        written, train=tuple(sorted(train)), val=tuple(sorted(val - train)), test=tuple(sorted(test - train))
    )


def grown(written: Split, dataset: Dataset) -> Split:
    """``written`` for a flat ``dataset`` that may have changed since.

    Images that are in it stay on their side, frames of one video beside the others; new images are divided as the
    rest was, and become test images only beside frames of their video that are.
    """
    grouping = written.grouping
    fresh = split(dataset, val_fraction=written.val_fraction or 0.2, seed=written.seed, grouping=grouping)
    chosen = set(fresh.val)
    sides = {sample.path: name for name, samples in written.parts.items() for sample in samples}
    side_of = {sequence_of(one, grouping): name for name in ("test", "val", "train") for one in written.parts[name]}

    def side(sample: Sample) -> str:
        known = sides.get(sample.path) or side_of.get(sequence_of(sample, grouping))
        return known or ("val" if sample in chosen else "train")

    placed = [(sample, side(sample)) for sample in dataset.train]
    learned = {sample.class_name for sample, name in placed if name == "train"}  # others are divided anew
    parts: dict[str, list[Sample]] = {"train": [], "val": [], "test": list(fresh.test)}
    for sample, name in placed:
        anew = sample.class_name not in learned and name != "test"
        parts[("val" if sample in chosen else "train") if anew else name].append(sample)
    train, val, test = (tuple(parts[name]) for name in ("train", "val", "test"))
    return replace(fresh, train=train, val=val, test=test, notes=written.notes)


def seeded_rank(key: str, seed: int) -> bytes:
    """What to sort by for a random but reproducible order of ``key``; the key at the end settles equal hashes."""
    text = f"{seed}/{key}".encode(errors="surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest() + text


def sequence_of(sample: Sample, grouping: Grouping) -> str:
    """What is equal for images that stay on one side: an image's own path, or the video that a frame is of.

    A video is the folders below the class and the file's name up to its last separator and number. The class is not
    part of it, so that one video sorted into two classes stays together.
    """
    if grouping == "images":
        return sample.path
    parts = PurePosixPath(sample.path)
    below = parts.parts[parts.parts.index(sample.class_name) + 1 : -1] if sample.class_name in parts.parts else ()
    stem = re.sub(r"[\s._-]*\d+$", "", parts.stem)
    return "/".join((*below, stem))


class _Chooser:
    """Chooses validation images class by class; groups that reach over several classes are decided once."""

    def __init__(self, val_fraction: float, seed: int, grouping: Grouping) -> None:
        self._val_fraction = val_fraction
        self._seed = seed
        self._grouping: Grouping = grouping
        self._validates: dict[str, bool] = {}
        self._cut: dict[str, list[tuple[str, str]]] = {}  # why -> the classes cut at one place in time, and how much

    def validation_of(self, samples: list[Sample]) -> list[Sample]:
        """The validation images among all images of one class; ``samples`` come in order of their paths."""
        if len(samples) < 2:
            return []
        wanted = min(len(samples) - 1, max(1, floor(len(samples) * self._val_fraction + 0.5)))
        groups: dict[str, list[Sample]] = {}
        for sample in samples:
            groups.setdefault(sequence_of(sample, self._grouping), []).append(sample)
        if len(groups) == 1:
            return self._later_part(samples, wanted, "is one sequence of images")
        chosen = [sample for key, group in groups.items() if self._validates.get(key) for sample in group]
        for key in sorted((key for key in groups if key not in self._validates), key=self._rank):
            # the last group may overshoot, but never by more than it would fall short without it
            takes = len(chosen) + len(groups[key]) / 2 <= wanted or not chosen
            self._validates[key] = takes
            if takes:
                chosen += groups[key]
        if not 0 < len(chosen) < len(samples):
            return self._later_part(samples, wanted, "shares its sequences with other classes")
        return chosen

    def _later_part(self, samples: list[Sample], wanted: int, why: str) -> list[Sample]:
        self._cut.setdefault(why, []).append((samples[0].class_name, f"{wanted} of {len(samples)}"))
        return samples[-wanted:]

    @property
    def notes(self) -> list[str]:
        """A warning for each reason why classes had to be cut in two."""
        return [
            f"class {name!r}{like_others(others)} {why}: its last {part} images validate; "
            "neighbouring frames look alike, so its accuracy may be flattering"
            for why, ((name, part), *others) in self._cut.items()
        ]

    def _rank(self, key: str) -> bytes:
        return seeded_rank(key, self._seed)


def _paths_by_class(samples: Iterable[Sample]) -> dict[str, list[str]]:
    paths: dict[str, list[str]] = {}
    for sample in samples:
        paths.setdefault(sample.class_name, []).append(sample.path)
    return paths


def written_split(path: Path) -> Split:
    """What ``split.json`` holds, whatever has become of the images; raises DataError where it cannot be read."""
    try:
        values = json.loads(path.read_bytes())
        schema = values["schema"]
        if not isinstance(schema, int) or schema > SCHEMA:
            raise DataError(f"{path} has schema {schema!r}, this version reads up to {SCHEMA}; update mnasnet")
        return Split(
            class_names=tuple(values["class_names"]),
            train=_samples(values["train"]),
            val=_samples(values["val"]),
            test=_samples(values["test"]),
            made_by=values["made_by"],
            val_fraction=values["val_fraction"],
            seed=values["seed"],
            grouping=values["grouping"],
            notes=tuple(values["notes"]),
            fold=values.get("fold", ""),
        )
    except OSError as error:
        raise DataError(
            f"cannot read the split {path}, which images train and which validate: {error.strerror}; bring it back, or "
            "start a new run"
        ) from error
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a split that mnasnet wrote ({error}); start a new run") from error


def _samples(paths_by_class: Mapping[str, list[str]]) -> tuple[Sample, ...]:
    return tuple(sorted(Sample(path, name) for name, paths in paths_by_class.items() for path in paths))
