"""Open any model: the bundled one, published weights by name, and files of ours or of others."""

from __future__ import annotations

import difflib
import functools
import logging
import operator
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from mnasnet import modelfile
from mnasnet.errors import WeightsError
from mnasnet.export.exported import ExportedModel, is_exported, read_exported
from mnasnet.files import as_text, exists, expanded, is_file
from mnasnet.modelfile import ModelFile
from mnasnet.network.download import PUBLISHED, Progress, Published, fetch, is_here, published_by_content, sha256_of
from mnasnet.network.naming import Layout
from mnasnet.network.weights import LoadedWeights, load_weights
from mnasnet.preprocess import Preprocess
from mnasnet.presets import PRESETS, architecture
from mnasnet.spec import ArchitectureSpec

_log = logging.getLogger(__name__)

_Named = TypeVar("_Named", ModelFile, ExportedModel)

BUNDLED = {"photos10": Path(__file__).parent / "models" / "photos10.safetensors"}
_IMAGENET_NAMES_FILE = Path(__file__).parent / "models" / "imagenet_classes.txt"
_IMAGENET_FOLDERS_FILE = Path(__file__).parent / "models" / "imagenet_synsets.txt"
WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt", ".tar", ".bin", ".ckpt", ".onnx", ".xml", ".tflite", ".pte")
CLASS_FILES = ("classes.txt", "class_names.txt")  # beside weights: Ikomia's MnasNet task, its timm task


def open_model(
    source: str | Path = "auto",
    *,
    class_file: str | Path | None = None,
    expected: str | ArchitectureSpec | None = None,
    numbered: bool = False,
) -> ModelFile:
    """The model that ``source`` names: ``auto`` or a bundled model, published weights, or a file.

    ``class_file`` has one class name a line; without it names come from the file, from ``classes.txt`` beside it or,
    for 1000 classes, from ImageNet. ``expected`` (a preset's name or a spec) refuses files of other networks.
    ``numbered`` takes weights whose classes have no names too, or a ``classes.txt`` of other classes beside them.
    Raises WeightsError.
    """
    wanted = architecture(expected) if isinstance(expected, str) else expected
    name = "photos10" if source == "auto" else str(source)
    if name in BUNDLED:
        model = _bundled(name)
    elif name in PRESETS and not isinstance(source, Path):
        model = open_published(name)
    else:
        return _open_file(Path(_existing(source)), class_file=class_file, expected=wanted, numbered=numbered)
    return _with_names_of(class_file, model, name)


def open_runnable(
    source: str | Path = "auto", *, class_file: str | Path | None = None, numbered: bool = False
) -> ModelFile | ExportedModel:
    """Like :func:`open_model`, for use alone: an exported file, which cannot be trained, is welcome too."""
    path = model_path(source)
    if is_exported(path) and is_file(path):
        return _with_names_of(class_file, read_exported(path), str(path))
    if inside := _runnable_in(path):
        raise WeightsError(f"{path} is a folder; give one of its files: {', '.join(inside[:5])}")
    return open_model(source, class_file=class_file, numbered=numbered)


def open_published(name: str, *, progress: Progress | None = None, base_url: str | None = None) -> ModelFile:
    """The network ``name`` with its published ImageNet weights, downloaded once; raises WeightsError.

    ``progress`` and ``base_url`` are those of :func:`mnasnet.network.download.fetch`.
    """
    weights = PUBLISHED.get(name)
    if weights is None:
        raise WeightsError(
            f"{name} has no published weights; published are {', '.join(PUBLISHED)}; "
            "train this network from scratch (use_pretrained false), or give its weights as a file"
        )
    path = fetch(weights, base_url=base_url, progress=progress)
    return _converted(weights, path) or _convert(weights, path)


def known_without_weights(name: str, *, class_file: str | Path | None = None) -> dict[str, Any] | None:
    """What is known of the network ``name`` whose published weights are not here, as a model file's header has it.

    None where opening it downloads nothing; ``class_names`` are empty where nobody published weights and there is no
    ``class_file``. Raises WeightsError for one of other classes.
    """
    weights = PUBLISHED.get(name)
    if name not in PRESETS or (weights is not None and is_here(weights)):
        return None
    published = imagenet_class_names() if weights is not None else ()
    return {
        "schema": modelfile.SCHEMA,
        "name": name,
        "architecture": PRESETS[name].to_dict(),
        "class_names": list(_names_of(class_file, published, name)),
        "preprocess": (weights.preprocess if weights is not None else Preprocess()).to_dict(),
        "in_channels": 3,
        "metrics": _metrics_of(weights) if weights is not None else {},
        "training": _training_of(weights) if weights is not None else {},
        "latencies": [],
    }


def _open_file(
    path: Path, *, class_file: str | Path | None, expected: ArchitectureSpec | None, numbered: bool
) -> ModelFile:
    """The model in a file of this package, or in weights of torchvision, timm or Ikomia."""
    if is_file(path) and modelfile.is_model_file(path):
        model = modelfile.load(path)
        if expected is not None and model.architecture != expected:
            raise WeightsError(
                f"{path} is {model.architecture.name or model.name}, you asked {expected.name}; "
                "ask for auto to take the file's own network"
            )
        return _with_names_of(class_file, model, str(path))
    if is_exported(path) and is_file(path):
        raise WeightsError(
            f"{path} is an exported file: `classify`, `val` and `benchmark` run it, but nothing else can be made of "
            "it; give the model file it was exported from"
        )
    loaded = load_weights(path, expected=expected)
    if loaded.header:
        return _with_names_of(class_file, modelfile.with_header(loaded.header, loaded.weights, path), str(path))
    published = published_by_content(path)
    if published is not None:
        return _with_names_of(class_file, _published_model(published, loaded), str(path))
    return ModelFile(
        architecture=loaded.architecture,
        weights=loaded.weights,
        class_names=(
            _names_or_numbers(path, loaded.num_classes)
            if numbered and not class_file
            else _class_names(path, class_file, loaded.num_classes)
        ),
        preprocess=default_preprocess(loaded.layout, loaded.num_classes),
        in_channels=loaded.in_channels,
        name=_name_of(path),
    )


def _name_of(path: Path) -> str:
    """A file's name without what tells its kind; other dots stay, as in those of two epochs' checkpoints."""
    name = as_text(path.name)
    while (suffix := Path(name).suffix).lower() in WEIGHTS_SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def model_path(source: str | Path) -> Path:
    """The file that ``source`` means: itself, or the best model of the training or search whose folder it is."""
    path = expanded(source)
    best = path / "weights" / "best.safetensors"
    return best if is_file(best) else path


def files_of(source: str | Path) -> tuple[Path, ...]:
    """The files that decide what a model file or exported file means: itself and what lies beside it by a fixed name.

    None for an empty ``source``. The files need not exist.
    """
    if not str(source):
        return ()
    path = model_path(source)
    if not path.name:  # "." or "/": a folder, for which no file is named
        return (path,)
    return (path, path.with_suffix(".bin"), *(path.with_name(name) for name in CLASS_FILES))


def carries_names(source: str | Path) -> bool:
    """Whether the file that ``source`` means has class names inside, as model files and exported files do."""
    path = model_path(source)
    return is_exported(path) or (is_file(path) and modelfile.is_model_file(path))


def read_class_file(path: str | Path) -> tuple[str, ...]:
    """One class name a line, UTF-8 with or without mark, any line ends; blank lines do not count.

    Raises WeightsError on a name that comes twice, with the line numbers. ImageNet's own list is let through: two
    of its names, crane and maillot, stand for two classes each.
    """
    path = expanded(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # of the line ends in use, read_text makes this one
    except UnicodeDecodeError as error:
        raise WeightsError(
            f"class file {path} must be UTF-8 text ({error.reason} at byte {error.start}); "
            "save it as UTF-8 in an editor"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: what cannot be a path
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"cannot read class file {path}: {reason}; check its path") from error
    numbered = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    names = tuple(name for _, name in numbered)
    if not names:
        raise WeightsError(f"class file {path} has no names; write one class name a line")
    first_line: dict[str, int] = {}
    for number, name in numbered:
        if name in first_line and not _is_twice_in_imagenet(name, len(names)):
            raise WeightsError(
                f"class file {path} has {name!r} on lines {first_line[name]} and {number}; "
                "each class needs a name of its own"
            )
        first_line.setdefault(name, number)
    return names


def default_preprocess(layout: Layout, num_classes: int) -> Preprocess:
    """The recipe of the library whose names a file has; files themselves do not carry it.

    timm: bicubic from 256. torchvision: bilinear from 256 for ImageNet; other class counts come from Ikomia's train
    task, which validates on the short side resized to the input size.
    """
    if layout == "timm":
        return Preprocess(interpolation="bicubic")
    if layout == "torchvision" and num_classes != 1000:
        return Preprocess(input_size=224, resize=224)
    return Preprocess()


@functools.cache
def imagenet_class_names() -> tuple[str, ...]:
    """The 1000 class names of ILSVRC 2012 in the order of all published weights.

    The file has them as torchvision's ``models/_meta.py`` (BSD-3-Clause) does, which takes seconds to import.
    """
    return tuple(_IMAGENET_NAMES_FILE.read_text(encoding="utf-8").splitlines())


def class_numbers(class_names: Sequence[str]) -> dict[str, int]:
    """Which output of a model of these classes a folder of images is about, by the folder's name.

    A class's folder has its name. Where the classes are ImageNet's 1000, whose names differ a little from list to
    list, it may have its WordNet id instead, such as ``n01440764`` of the tench, as ImageNet's own folders do. A name
    that two classes share tells neither.
    """
    counts = Counter(class_names)
    numbers = {name: number for number, name in enumerate(class_names) if counts[name] == 1}
    known = imagenet_class_names()
    if len(class_names) == len(known) and sum(map(operator.eq, class_names, known)) > len(known) / 2:
        folders = _IMAGENET_FOLDERS_FILE.read_text(encoding="utf-8").split()
        numbers.update({folder: number for number, folder in enumerate(folders)})
    return numbers


def _runnable_in(path: Path) -> list[str]:
    """What can be run of the folder that ``path`` is, where exported files are among it; an ``.xml`` alone is none."""
    if not (exists(path) and path.is_dir()):
        return []
    inside = [child for child in sorted(path.iterdir()) if child.suffix.lower() in WEIGHTS_SUFFIXES]
    exported = [child for child in inside if is_exported(child)]
    alone = {child for child in exported if child.suffix.lower() == ".xml" and child.with_suffix(".bin") not in inside}
    seconds = {child.with_suffix(".bin") for child in exported}
    return [child.name for child in inside if child not in alone | seconds] if set(exported) - alone else []


def _bundled(name: str) -> ModelFile:
    path = BUNDLED[name]
    if not path.is_file():
        raise WeightsError(f"this installation lacks its bundled model {path}; install the mnasnet package again")
    return modelfile.load(path)


def _converted(published: Published, path: Path) -> ModelFile | None:
    """The model file made from ``path`` at its first use: it opens without torch, in a fraction of the time."""
    converted = path.with_suffix(".safetensors")
    if not modelfile.is_model_file(converted):
        return None
    try:
        model = modelfile.load(converted)
    except WeightsError as error:
        _log.warning("%s; making it again", error)
        return None
    is_current = model.training.get("sha256") == sha256_of(path) and model.preprocess == published.preprocess
    return model if is_current else None


def _convert(published: Published, path: Path) -> ModelFile:
    model = _published_model(published, load_weights(path, expected=PRESETS[published.name]))
    model = replace(model, training={**model.training, "sha256": sha256_of(path)})
    try:
        modelfile.save(model, path.with_suffix(".safetensors"))
    except OSError as error:  # a full or read-only disk costs time at the next start, nothing else
        _log.warning("cannot keep %s as a model file: %s", published.name, error.strerror or error)
    return model


def _published_model(published: Published, loaded: LoadedWeights) -> ModelFile:
    return ModelFile(
        architecture=PRESETS[published.name],
        weights=loaded.weights,
        class_names=imagenet_class_names(),
        preprocess=published.preprocess,
        metrics=_metrics_of(published),
        training=_training_of(published),
        name=published.name,
    )


def _metrics_of(published: Published) -> dict[str, float]:
    return {"imagenet_top1_percent": published.top1_percent, "imagenet_top5_percent": published.top5_percent}


def _training_of(published: Published) -> dict[str, str]:
    return {"weights": published.file_name, "licence": published.licence, "dataset": "ImageNet-1k"}


def _existing(source: str | Path) -> Path:
    path = model_path(source)
    if exists(path) or isinstance(source, Path) or path.suffix in WEIGHTS_SUFFIXES or len(path.parts) > 1:
        return path
    known = ("auto", *BUNDLED, *PUBLISHED)
    near = difflib.get_close_matches(str(source), known, n=3, cutoff=0.5)
    meant = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(known)}"
    raise WeightsError(f"no model and no file is called {str(source)!r}; {meant}")


def _names_or_numbers(path: Path, num_classes: int) -> tuple[str, ...]:
    try:
        return _class_names(path, None, num_classes)
    except WeightsError as error:
        _log.info("%s; until then its classes are numbered", error)
        return tuple(f"class {index}" for index in range(num_classes))


def _class_names(path: Path, class_file: str | Path | None, num_classes: int) -> tuple[str, ...]:
    """Names for weights that carry none."""
    beside = [path.with_name(name) for name in CLASS_FILES if is_file(path.with_name(name))]
    chosen = class_file or (beside[0] if beside else None)
    if chosen is not None:
        names = read_class_file(chosen)
        if len(names) != num_classes:
            raise WeightsError(
                f"{path} has {num_classes} classes, class file {chosen} has {len(names)}; "
                "give the class file that belongs to these weights"
            )
        _log.info("%s: class names from %s", path, chosen)
        return names
    if num_classes == len(imagenet_class_names()):
        return imagenet_class_names()
    raise WeightsError(
        f"{path} has {num_classes} classes but no names; put {CLASS_FILES[0]} beside it or set "
        "class_file (--class-file), one name a line in the order of training"
    )


def _with_names_of(class_file: str | Path | None, model: _Named, origin: str) -> _Named:
    names = _names_of(class_file, model.class_names, origin)
    return model if names == model.class_names else replace(model, class_names=names)


def _names_of(class_file: str | Path | None, inside: tuple[str, ...], origin: str) -> tuple[str, ...]:
    """The names of ``class_file`` for those ``inside``: a translation is welcome, a contradiction is an error."""
    if not class_file:
        return inside
    names = read_class_file(class_file)
    if not inside or names == inside:
        return names
    shown = ", ".join(inside[:10]) + (", ..." if len(inside) > 10 else "")
    if len(names) != len(inside):
        raise WeightsError(
            f"{origin}: weights have {len(inside)} classes, class file {len(names)} ({class_file}). "
            f"Names in weights: {shown}. To use them leave the class file out (class_file='' in Ikomia)"
        )
    for name, own in zip(names, inside, strict=True):
        if name != own and name in inside and not _is_twice_in_imagenet(name, len(names)):
            raise WeightsError(
                f"{origin}: class file {class_file} has {name!r} for class {own!r}, which would mislabel images. "
                f"Names in weights: {shown}. To use them leave the class file out (class_file='' in Ikomia)"
            )
    _log.info("class names come from %s, not from %s (%s)", class_file, origin, shown)
    return names


def _is_twice_in_imagenet(name: str, count: int) -> bool:
    return count == 1000 and name in ("crane", "maillot")
