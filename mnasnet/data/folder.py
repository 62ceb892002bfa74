"""An image folder as a value: its classes, images and splits, found by one walk that reads names, not images."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from mnasnet.data.find import VIDEO_SUFFIXES, looks_like_image
from mnasnet.data.labelled import is_labelled_copy
from mnasnet.data.names import is_junk, natural_order
from mnasnet.errors import DataError, SettingsError
from mnasnet.files import expanded
from mnasnet.words import like_others

SplitName = Literal["train", "val", "test"]

#: split -> the folder names that mean it, in any case
SPLIT_FOLDERS: dict[SplitName, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}

#: names that nearly mean a split, such as train_set, val2017 and test1
_LIKE_A_SPLIT = re.compile(
    r"(train(ing)?|val(id(ation)?)?|test(ing)?|dev|eval(uation)?)([\W_]*(train|val|test|set|data|images?|split|\d+))*",
    re.IGNORECASE,
)

#: folders of datasets that say where objects are in an image
_OF_DETECTION = frozenset({"labels", "annotations", "imagesets"})

#: the folders that training tools, ours among them, write into, and what such tools leave there
OUTPUT_FOLDERS = frozenset({"runs", "mlruns"})
_LEFT_BY_RUNS = ("args.yaml", "meta.yaml", "benchmark.csv", "per_class.csv")


class Sample(NamedTuple):
    """One labelled image: its path relative to the dataset's folder, with ``/``, and its class."""

    path: str
    class_name: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a folder holds. A flat folder of class folders has all its images in ``train`` and no ``val``.

    ``class_names`` are in natural order (1, 2, 10), each has at least one image in ``train``; samples are in order of
    their paths. ``split_folders`` tells which folder was taken for which split, ``ignored`` counts what was left
    aside by kind, ``notes`` are warnings in words.
    """

    folder: Path
    class_names: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...] = ()
    test: tuple[Sample, ...] = ()
    split_folders: Mapping[SplitName, str] = field(default_factory=dict)
    ignored: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def splits(self) -> dict[SplitName, tuple[Sample, ...]]:
        """The samples by split."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The samples of all splits."""
        return self.train + self.val + self.test


def scan(folder: Path) -> Dataset:
    """Find classes and images in ``folder``: ``train/`` with ``val/`` and ``test/``, or class folders.

    The first folder level is the class, everything below belongs to it. Nothing is opened except files without a
    telling name, nothing is written. Raises DataError where no classifier could be trained, with the reason.
    """
    walk, layout, found = _walked(folder, to_train=True)
    _require_classes(walk.root, found, layout)
    _require_no_unknown_splits(walk.root, found["train"], layout)
    aligned = _aligned(found, layout, walk.notes)
    _require_training_images(aligned, layout)
    _require_text([walk.root.absolute().name, *aligned["train"]])
    _note_empty_validation(aligned, sorted(aligned["train"], key=natural_order), layout, walk.notes)
    return _as_dataset(walk, layout, aligned, aligned["train"])


def scan_to_judge(folder: Path, known: Collection[str]) -> Dataset:
    """Find the images in ``folder`` to judge a model of the classes ``known`` by; any split and any classes will do.

    Names that differ from the model's only in capitals or spaces are taken for them; folders without images do not
    count. Raises DataError where there is no image.
    """
    walk, layout, found = _walked(folder, to_train=False)
    by_key = _by_spelling(known)
    aligned = {split: _renamed(one, known, by_key, layout.get(split, ""), walk.notes) for split, one in found.items()}
    present = {name for classes in aligned.values() for name, paths in classes.items() if paths}
    if not present and (stray := walk.ignored["images outside class folders"]):
        images = "its image lies" if stray == 1 else f"its {stray} images lie"
        raise DataError(
            f"{folder} has no class folders, {images} directly in it; give the folder that holds the classes"
        )
    _require_images(folder, bool(present))
    return _as_dataset(walk, layout, aligned, present)


def _as_dataset(
    walk: _Walk, layout: Mapping[SplitName, str], aligned: Mapping[SplitName, _Classes], class_names: Iterable[str]
) -> Dataset:
    samples = {
        split: tuple(sorted(Sample(path, name) for name, paths in classes.items() for path in paths))
        for split, classes in aligned.items()
    }
    return Dataset(
        folder=walk.root,
        class_names=tuple(sorted(class_names, key=natural_order)),
        train=samples.get("train", ()),
        val=samples.get("val", ()),
        test=samples.get("test", ()),
        split_folders=layout,
        ignored=dict(sorted(walk.ignored.items())),
        notes=tuple(walk.notes),
    )


def _walked(folder: Path, *, to_train: bool) -> tuple[_Walk, dict[SplitName, str], dict[SplitName, _Classes]]:
    """The folder, which of its folders is which split, and the images of each class there."""
    folder = expanded(folder)  # workflows carry paths as text that no shell has looked at
    _require_folder(folder)
    walk = _Walk(folder)
    layout = _layout(walk, to_train=to_train)
    found: dict[SplitName, _Classes] = {split: walk.classes_below(name) for split, name in layout.items()}
    return walk, layout, found or {"train": walk.classes_below("")}


def require_outside(place: Path, data: Path, *, setting: str = "output_folder") -> None:
    """Raise SettingsError for a place to write to within the dataset, where it would be taken for a class."""
    place, inside = expanded(place).resolve(), expanded(data).resolve()
    if place.is_relative_to(inside) and not _is_output(inside.joinpath(*place.relative_to(inside).parts[:1])):
        raise SettingsError(
            f"{setting} must lie outside of the dataset, into which nothing is written, got {place} in {data}; "
            "choose another place"
        )


def _require_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    if not folder.exists():
        raise DataError(f"the dataset must be an existing folder, {folder} does not exist{_nearest(folder)}")
    if zipfile.is_zipfile(folder) or folder.name.lower().endswith((".zip", ".tar", ".tgz", ".gz", ".7z", ".rar")):
        raise DataError(f"the dataset must be a folder, {folder} is an archive; unpack it and give the folder inside")
    raise DataError(f"the dataset must be a folder, {folder} is a file; give the folder that holds the class folders")


def _nearest(folder: Path) -> str:
    """What exists in the place of a folder that does not."""
    parent = next((parent for parent in folder.parents if parent.is_dir()), Path("/"))
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        missing = folder.relative_to(parent).parts[0]
        names = [entry.name for entry in entries if _is_folder(entry)]
        if near := difflib.get_close_matches(missing, names, n=1, cutoff=0.6):
            return f"; did you mean {parent / near[0]}?"
    return f"; {parent} does" if parent != Path() else ""


class _Walk:
    """Reads folders once each and remembers what it left aside."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ignored: Counter[str] = Counter()
        self.notes: list[str] = []
        self._nested: list[tuple[str, list[str]]] = []  # classes whose sub-folders may be the classes, with these

    def folders(self, relative: str) -> list[str]:
        """The names of the sub-folders of ``relative`` that are not junk."""
        return sorted(entry.name for entry in self._entries(relative) if _is_folder(entry) and not _is_left_out(entry))

    def has_images(self, relative: str) -> bool:
        """Whether an image lies directly in ``relative``."""
        return any(not is_junk(entry.name) and _is_image(entry) for entry in self._entries(relative))

    def classes_below(self, relative: str) -> dict[str, list[str]]:
        """Class name -> paths of its images; a class folder without images has an empty list."""
        classes: dict[str, list[str]] = {}
        stray, copies = 0, list[str]()
        self._nested.clear()
        for entry in self._entries(relative):
            if _is_left_out(entry):
                self.ignored[f"{entry.name}/" if _is_folder(entry) else entry.name] += 1
            elif _is_folder(entry):
                place = _joined(relative, entry.name)
                images = list(self._images_of_class(place))
                if images or not _holds_copies_alone(self.root / place):
                    classes[entry.name] = images
                else:
                    copies.append(place)
            elif _is_image(entry):
                stray += 1
            else:
                self.ignored[_kind(entry)] += 1
        if copies:
            place = f"{copies[0]}/{like_others(copies[1:])}"
            self.notes.append(f"the folder {place} is left out: it holds annotated pictures of classify alone")
        self._note_nested_classes()
        self._note_hidden_classes(classes)
        if stray:
            where = f"{relative}/" if relative else "the dataset's folder"
            self.ignored["images outside class folders"] += stray
            noun = "1 image" if stray == 1 else f"{stray} images"
            self.notes.append(f"{noun} directly in {where} left out: the class folder is missing")
        return classes

    def _images_of_class(self, class_folder: str) -> Iterator[str]:
        """Every image at any depth, each folder once, whatever links point where."""
        path = self.root / class_folder
        seen = {_identity(self.root), _identity(path.parent), _identity(path)}
        pending = [class_folder]
        with_images: Counter[str] = Counter()
        while pending:
            current = pending.pop()
            below = []
            for entry in self._entries(current):
                if is_junk(entry.name):
                    self.ignored[f"{entry.name}/" if _is_folder(entry) else entry.name] += 1
                elif _is_folder(entry):
                    below.append(entry)
                elif _is_image(entry):
                    with_images[current] += 1
                    yield _joined(current, entry.name)
                else:
                    self.ignored[_kind(entry)] += 1
            pending += [_joined(current, entry.name) for entry in reversed(self._first_visits(below, seen))]
        self._look_for_nested_classes(class_folder, with_images)

    def _first_visits(self, folders: list[os.DirEntry[str]], seen: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
        """The folders not seen before; real ones go before links, so that a link never hides what it points to."""
        fresh = []
        for entry in sorted(folders, key=lambda entry: entry.is_symlink()):
            identity = _identity(entry.path)
            if identity in seen:
                self.ignored["links to a folder already read"] += 1
                continue
            seen.add(identity)
            fresh.append(entry)
        return sorted(fresh, key=lambda entry: entry.name)

    def _note_hidden_classes(self, classes: Mapping[str, list[str]]) -> None:
        """Classes that hold one folder each, all of other names: those names may be the classes."""
        places = {name: {path.rpartition("/")[0] for path in paths} for name, paths in classes.items() if paths}
        names = [PurePosixPath(place).name for found in places.values() for place in found]
        are_lone = all(len(found) == 1 for found in places.values()) and not set(names) & set(places)
        if are_lone and 1 < len(names) == len(set(names)) and not any(re.search(r"\d", name) for name in names):
            self.notes.append(
                f"each class holds one folder ({_listed(sorted(names))}); "
                "if these are the classes, move them one level up"
            )

    def _look_for_nested_classes(self, class_folder: str, with_images: Counter[str]) -> None:
        names = sorted({PurePosixPath(path).name for path in with_images if path != class_folder}, key=natural_order)
        if class_folder in with_images or len(names) < 2 or any(re.search(r"\d", name) for name in names):
            return
        if {name.lower() for name in names} <= {name for folders in SPLIT_FOLDERS.values() for name in folders}:
            note = (
                f"the splits inside class folders ({_listed(names)}) are not used, their images are mixed; for splits, "
                "put the class folders into train/ and val/"
            )
            self.notes += [note] if note not in self.notes else []
            return
        self._nested.append((PurePosixPath(class_folder).name, names))

    def _note_nested_classes(self) -> None:
        if not self._nested:
            return
        (name, below), *others = self._nested
        self.notes.append(
            f"class {name!r}{like_others(others)} is one class with all its sub-folders ({_listed(below)}); "
            "if these are the classes, move them one level up"
        )

    def _entries(self, relative: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / relative) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(
                f"cannot read the folder {self.root / relative}: {error.strerror}; give it read access, or move it out "
                "of the dataset"
            ) from error


def _layout(walk: _Walk, *, to_train: bool) -> dict[SplitName, str]:
    """Which sub-folder is which split; empty for a flat folder of class folders. To train there must be a train."""
    folders = walk.folders("")
    layout: dict[SplitName, str] = {}
    for split, names in SPLIT_FOLDERS.items():
        fitting = [folder for folder in folders if folder.lower() in names]
        if len(fitting) > 1:
            raise DataError(f"the {split} images must lie in one folder, {walk.root} has {_listed(fitting)}; keep one")
        if fitting:
            layout[split] = fitting[0]
    others = [folder for folder in folders if folder not in layout.values()]
    if _are_classes(walk, layout, others):
        _note_split_names_as_classes(walk, layout)
        return {}
    if to_train and layout and "train" not in layout:
        raise DataError(
            f"a dataset with {_listed(list(layout.values()))} needs a train folder beside it, {walk.root} has none; "
            "rename the folder of training images to train, or give a folder that holds only class folders"
        )
    if not layout:
        _note_sibling_splits(walk)
    for folder in others if layout else ():
        beside = next(iter(layout.values()))
        walk.ignored[f"{folder}/ beside {beside}/"] += 1
        walk.notes.append(f"the folder {folder}/ beside {beside}/ is left out: it is no split")
    return layout


def _are_classes(walk: _Walk, layout: Mapping[SplitName, str], others: list[str]) -> bool:
    """Whether folders named like splits are classes: beside other classes, with images in place of class folders."""
    if not layout or not others:
        return False
    if "train" not in layout:
        return True
    return not walk.folders(layout["train"]) and walk.has_images(layout["train"])


def _note_split_names_as_classes(walk: _Walk, layout: Mapping[SplitName, str]) -> None:
    names = _listed(list(layout.values()))
    walk.notes.append(
        f"{names} taken as a class, because class folders lie beside it; for splits, put the class folders into train/"
    )


def _note_sibling_splits(walk: _Walk) -> None:
    """The user may have given ``train`` itself; the images in its sibling ``val`` would be missed."""
    parent = walk.root.resolve().parent
    if walk.root.resolve().name.lower() not in SPLIT_FOLDERS["train"]:
        return
    siblings = [name for name in (*SPLIT_FOLDERS["val"], *SPLIT_FOLDERS["test"]) if (parent / name).is_dir()]
    if siblings:
        walk.notes.append(f"{siblings[0]}/ beside this folder is not used; did you mean to give {parent}?")


_Classes = dict[str, list[str]]


def _require_classes(folder: Path, found: Mapping[SplitName, _Classes], layout: Mapping[SplitName, str]) -> None:
    """At least two classes and at least one image, or an error that guesses what went wrong."""
    train = found["train"]
    where = folder / layout.get("train", "")
    if not train:
        raise DataError(
            f"a dataset needs one folder per class, {where} has none; "
            f"put the images of each class into a folder of the class's name{_unread_labels(folder, where)}"
        )
    if len(train) == 1 and not any(set(classes) - set(train) for classes in found.values()):
        (name,) = train
        raise DataError(f"needs >= 2 classes, found 1 ({name!r}) in {where}. {_guess(where / name, folder)}")
    _require_images(folder, any(paths for classes in found.values() for paths in classes.values()))


def _require_images(folder: Path, has_some: bool) -> None:
    if not has_some:
        raise DataError(f"no images in {folder}; images are files such as .jpg, .png, .webp, .tif in the class folders")


def _guess(only_class: Path, folder: Path) -> str:
    below = first = _folders_in(only_class)
    while len(below) == 1:
        only_class /= below[0]
        below = _folders_in(only_class)
    if below:
        return f"Its sub-folders look like the dataset: did you mean {only_class}?"
    if first:
        return f"It holds the folder {first[0]!r} alone: give each class a folder of its own"
    if unread := _unread_labels(folder, only_class.parent):
        return f"Give each class a folder of its own{unread}"
    return "Did you point to train/ instead of its parent?"


def _folders_in(folder: Path) -> list[str]:
    return [entry.name for entry in os.scandir(folder) if entry.is_dir() and not is_junk(entry.name)]


def _unread_labels(*folders: Path) -> str:
    """What to add where a dataset's labels may lie in a file."""
    for folder in folders:
        names = sorted(entry.name for entry in os.scandir(folder) if not is_junk(entry.name))
        for name in names:
            if name.lower().endswith((".csv", ".tsv", ".xlsx", "coco.json")):
                return f"; labels in {name} are not read"
    return ""


def _require_no_unknown_splits(folder: Path, train: _Classes, layout: Mapping[SplitName, str]) -> None:
    """Raise DataError for a folder of splits whose names are not known: each split would be taken for a class."""
    names = [name for name, paths in train.items() if paths]
    for_training = [name for name in names if name.lower().startswith("train")]
    if layout or not 0 < len(for_training) < len(names) or not all(map(_LIKE_A_SPLIT.fullmatch, names)):
        return
    raise DataError(
        f"{_listed(names)} in {folder} look like splits, not like classes; name them train and val (and test), each "
        "with one folder per class"
    )


def _aligned(
    found: Mapping[SplitName, _Classes], layout: Mapping[SplitName, str], notes: list[str]
) -> dict[SplitName, _Classes]:
    """The same classes under the same names in every split; train decides how a name is written."""
    train = found["train"]
    by_key = _by_spelling(train)
    for names in by_key.values():
        if len(names) > 1:
            notes.append(
                f"classes {_listed(names)} differ only in {_difference(names)}; join them if they are the same"
            )
    aligned: dict[SplitName, _Classes] = {"train": dict(train)}
    for split, classes in found.items():
        if split != "train":
            aligned[split] = _renamed(classes, train, by_key, layout[split], notes)
    if "test" in aligned:
        known = set(train) | set(aligned.get("val", ()))
        if unknown := {name: aligned["test"].pop(name) for name in [*aligned["test"]] if name not in known}:
            name, *others = unknown
            count, whose = sum(map(len, unknown.values())), "their" if others else "its"
            place = f"{layout['test']}/{name}{like_others(others)}"
            notes.append(f"{place} is no class of train; {whose} {count} images are left out")
    return aligned


def _by_spelling(names: Iterable[str]) -> dict[str, list[str]]:
    """Names that differ only in capitals, spaces or the way accents are stored together."""
    by_key: dict[str, list[str]] = {}
    for name in names:
        by_key.setdefault(_spelling_key(name), []).append(name)
    return by_key


def _renamed(
    classes: _Classes, known: Collection[str], by_key: Mapping[str, list[str]], split_folder: str, notes: list[str]
) -> _Classes:
    renamed: _Classes = {}
    respelled: dict[str, list[tuple[str, str]]] = {}  # in what the names differ -> which, and the class
    for name, paths in classes.items():
        alike = by_key.get(_spelling_key(name), [])
        target = name if name in known or len(alike) != 1 else alike[0]
        if target != name:
            respelled.setdefault(_difference((name, target)), []).append((name, target))
        renamed.setdefault(target, []).extend(paths)
    for only, ((name, target), *others) in respelled.items():
        place = f"{_joined(split_folder, name)}{like_others(others)}"
        notes.append(f"{place} is taken as class {target!r}: the names differ only in {only}")
    return renamed


def _spelling_key(name: str) -> str:
    """Equal for names that differ only in capitals, spaces or the way accents are stored (macOS splits them)."""
    return " ".join(_composed(name).casefold().split())


def _difference(names: Iterable[str]) -> str:
    """In what names of one spelling differ."""
    return "how accents are stored" if len(set(map(_composed, names))) == 1 else "capitals or spaces"


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _require_training_images(aligned: Mapping[SplitName, _Classes], layout: Mapping[SplitName, str]) -> None:
    names = sorted({name for classes in aligned.values() for name in classes}, key=natural_order)
    empty = [name for name in names if not aligned["train"].get(name)]
    if not empty:
        return
    elsewhere = ", ".join(
        f"{len(paths)} in {layout[split]}"
        for split, classes in aligned.items()
        if split != "train" and (paths := classes.get(empty[0]))
    )
    if empty[0].lower() in _OF_DETECTION or "labels" in map(str.lower, empty):
        raise DataError(
            f"the folder {empty[0]!r} holds no images: this looks like a dataset for detection, with labelled boxes; a "
            "classifier needs one folder per class, with its images"
        )
    where = "train" if "train" in layout else "its folder"
    near = difflib.get_close_matches(empty[0], [name for name in names if aligned["train"].get(name)], n=1, cutoff=0.7)
    hint = f", rename it if it is {near[0]!r}" if near and elsewhere else ""
    more = f"; the same holds for {_listed(empty[1:])}" if empty[1:] else ""
    raise DataError(
        f"class {empty[0]!r} has 0 images in {where}" + (f" ({elsewhere})" if elsewhere else "") + f"{more}; "
        f"every class needs images to learn from: add some{hint}, or remove the folder from every split"
    )


def _require_text(names: Iterable[str]) -> None:
    """A model file keeps the names of its dataset and classes; Linux allows names that are no text."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"names of folders must be UTF-8, got {name!r}; rename this folder") from error


def _note_empty_validation(
    aligned: Mapping[SplitName, _Classes], class_names: Iterable[str], layout: Mapping[SplitName, str], notes: list[str]
) -> None:
    has_images: dict[SplitName, set[str]] = {
        split: {name for name in class_names if classes.get(name)} for split, classes in aligned.items()
    }
    judges: tuple[tuple[SplitName, SplitName], ...] = (("val", "test"), ("test", "val"))
    for split, other in judges:
        if split not in aligned:
            continue
        if not has_images[split]:
            notes.append(f"{layout[split]}/ has no images of the training's classes and is not used")
            continue
        known, judge = has_images.get(other, set()), layout.get(other, "")
        if other == "val" and not known:  # a part of the training images of each class will validate
            known, judge = has_images["train"], "validation images"
        missing = [name for name in class_names if name not in has_images[split]]
        for names, comes in (
            ([name for name in missing if name in known], f"judged by {judge} alone"),
            ([name for name in missing if name not in known], "its accuracy stays unknown"),
        ):
            if names:
                notes.append(f"{_listed(names)} without images in {layout[split]}: kept as class, {comes}")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that points at itself
        return False


def _is_image(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file() and looks_like_image(entry.path) and not is_labelled_copy(entry.path)
    except OSError:
        return False


def _is_left_out(entry: os.DirEntry[str]) -> bool:
    """Junk, and what trainings wrote; only meant for the levels where a folder could be taken for a class."""
    return is_junk(entry.name) or (_is_folder(entry) and _is_output(Path(entry.path)))


def _is_output(folder: Path) -> bool:
    """Whether tools write into ``folder``: it is called so, and has their files below or no image directly in it.

    They write into folders of their own there, where photos of a class lie beside each other.
    """
    if folder.name.lower() not in OUTPUT_FOLDERS:
        return False
    if any(next(folder.glob(f"{between}{name}"), None) for name in _LEFT_BY_RUNS for between in ("", "*/", "*/*/")):
        return True
    try:
        with os.scandir(folder) as entries:
            return not any(looks_like_image(entry.path) for entry in entries)
    except OSError:  # it is not there yet, or may not be read
        return True


def _holds_copies_alone(folder: Path) -> bool:
    """Whether ``classify --annotate`` filled ``folder``, and nobody has put anything else there."""
    files = [path for path in folder.rglob("*") if path.is_file() and not is_junk(path.name)]
    return bool(files) and all(map(is_labelled_copy, files))


def _kind(entry: os.DirEntry[str]) -> str:
    """How a file that is no image is counted."""
    suffix = PurePosixPath(entry.name).suffix.lower()
    if is_labelled_copy(entry.path):
        return "annotated pictures of classify"
    if entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110
        return "broken links"
    if suffix in VIDEO_SUFFIXES:
        return f"*{suffix} (video: write its frames as images)"
    return f"*{suffix}" if suffix else "files without suffix"


def _identity(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116
    return status.st_dev, status.st_ino


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _listed(names: list[str], most: int = 5) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
