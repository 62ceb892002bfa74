"""Export a model: write the file, run it beside the original, and keep it only when both answer alike."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnasnet.data.find import iter_images
from mnasnet.data.folder import Dataset, Sample, scan
from mnasnet.data.images import read_image
from mnasnet.data.split import Split, split
from mnasnet.data.transforms import prepare
from mnasnet.deploy.parity import Parity, compare
from mnasnet.deploy.pictures import test_pictures
from mnasnet.deploy.recipe import recipe_markdown
from mnasnet.errors import DataError, ExportError, LatencyError
from mnasnet.export.exported import ExportedModel, read_exported
from mnasnet.export.exporter import MAX_DROP, Exporter, open_exporter, open_int8_exporter, require_int8
from mnasnet.export.int8_timing import without_made_up
from mnasnet.files import exists, expanded, write_atomic
from mnasnet.latency.meter import Latency
from mnasnet.latency.session import SessionMeter
from mnasnet.modelfile import ModelFile
from mnasnet.runtime.session import READERS, open_session
from mnasnet.train.evaluate import Evaluation
from mnasnet.train.held_out import division_of, grown_division_of, warn_where_unknown
from mnasnet.train.validate import evaluate_samples

_log = logging.getLogger(__name__)

MOST_IMAGES = 200  # for the comparison and for calibration; more change nothing that counts
RECIPE = "preprocess.md"
ROUNDING = 1e-9  # below any share of images: in binary 0.9 - 0.89 is a little more than 0.01
MAX_STEM_BYTES = 150  # file systems end at 255, and names of recipes are longer

NamedImage = tuple[str, NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class Exported:
    """One export that passed: its files, the one to open first, and what was found.

    ``before`` and ``after`` are of the labelled images, where an export may change answers (int8); then ``float_twin``
    is what the same format costs in float32, and ``cost`` what this file does, unless they could not be timed.
    """

    format: str
    precision: str
    files: tuple[Path, ...]
    parity: Parity
    before: Evaluation | None = None
    after: Evaluation | None = None
    float_twin: Cost | None = None
    cost: Cost | None = None

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(path.stat().st_size for path in self.files)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "format": self.format,
            "precision": self.precision,
            "files": [str(path) for path in self.files],
            "size_bytes": self.size_bytes,
            "parity": self.parity.to_dict(),
            "accuracy_before": self.before.accuracy if self.before else None,
            "accuracy_after": self.after.accuracy if self.after else None,
            "class_drops": class_drops(self.before, self.after) if self.before and self.after else {},
            "latency": self.cost.latency.to_dict() if self.cost else None,
            "float_size_bytes": self.float_twin.size_bytes if self.float_twin else None,
            "float_latency": self.float_twin.latency.to_dict() if self.float_twin else None,
        }


@dataclass(frozen=True, slots=True)
class Cost:
    """Size on disk and time of one image on this machine, one thread."""

    size_bytes: int
    latency: Latency


def export_model(
    model: ModelFile,
    folder: str | Path,
    formats: str | Sequence[str] = ("onnx",),
    *,
    file: Path | None = None,
    images: Sequence[str | Path] = (),
    pixels: bool = False,
    softmax: bool = False,
    kept: Callable[[Exported], None] = lambda one: None,
) -> list[Exported]:
    """Write ``model`` to ``folder`` in each format, with a ``preprocess.md``; ``kept`` hears of each when it is there.

    ``file`` is where the model lies, which is never written over. ``images`` (files and folders) are what original and
    export are compared on; without them, built-in test pictures. Nothing is written for a format whose file answers
    otherwise: ExportError then names the images.
    """
    seen = named_images(model, list(map(Path, images)))
    kind = "images" if images else "built-in test pictures"
    exporters = {name: open_exporter(name) for name in _listed(formats)}
    done = []
    for name, exporter in exporters.items():
        done.append(_proved(model, name, exporter, expanded(folder), file, seen, kind, pixels, softmax))
        kept(done[-1])
    return done


def export_int8(
    model: ModelFile,
    folder: str | Path,
    data: str | Path,
    formats: str | Sequence[str] = ("onnx",),
    *,
    file: Path | None = None,
    max_drop: float = MAX_DROP,
    pixels: bool = False,
    softmax: bool = False,
    kept: Callable[[Exported], None] = lambda one: None,
) -> list[Exported]:
    """Write ``model`` with 8-bit numbers in each of ``formats``; ``kept`` hears of each when it is there.

    ``data`` is a labelled folder: its training images calibrate, its validation images judge. Where it has no ``val/``
    they are those that the model's training kept aside, as the run folder around ``file``, the model's place, tells, or
    of other images a third of each class. Raises ExportError when accuracy falls by more than ``max_drop`` (a share
    below 1): such a file is not written, the others are.
    """
    formats = _listed(formats)
    require_int8(formats, max_drop)
    if model.in_channels != 3:
        raise ExportError(f"int8 is calibrated on RGB images, this network takes {model.in_channels} channels")
    dataset = scan(Path(data))
    parts = _parts(model, dataset, file)
    calibration = [image for _, image in _prepared(model, _evenly(_paths(dataset, parts.train or parts.val)))]
    model = replace(model, latencies=without_made_up(model.latencies))
    exporters = {name: open_int8_exporter(name, calibration) for name in formats}
    judging = parts.val or parts.train
    before = evaluate_samples(model, dataset, judging)
    shown = list(_prepared(model, _evenly(_paths(dataset, judging))))
    done, refusals = [], []
    for name, exporter in exporters.items():
        with tempfile.TemporaryDirectory() as made_in:
            target = Path(made_in) / f"{_stem(model)}{exporter.suffix}"
            quantised = exporter.quantise(model, pixels=pixels, softmax=softmax)
            exported = read_exported(quantised.write(target, {})[0])
            after = evaluate_samples(exported, dataset, judging)
            if before.accuracy - after.accuracy > max_drop + ROUNDING:
                refusals.append(_too_large_a_drop(name, before, after, max_drop))
                continue
            files = quantised.write(target, _what_it_cost(before, after))
            exported = read_exported(files[0])
            parity = compare(open_session(model, runtime="torch", device="cpu"), open_session(exported), shown)
            done.append(Exported(name, "int8", _moved(files, expanded(folder), exported, file), parity, before, after))
            try:
                twin, cost = _float_twin(model, name, Path(made_in), pixels, softmax), _cost(files)
                done[-1] = replace(done[-1], float_twin=twin, cost=cost)
            except LatencyError as error:
                _log.warning("%s is there and agrees, its latency is unmeasured: %s", done[-1].files[0], error)
        kept(done[-1])
    if refusals:
        raise ExportError(
            f"{'; '.join(refusals)}; train this model on with quantization_aware, allow a larger max_drop or stay with "
            "float32"
        )
    return done


def _listed(formats: str | Sequence[str]) -> Sequence[str]:
    return [formats] if isinstance(formats, str) else formats


def _parts(model: ModelFile, dataset: Dataset, file: Path | None) -> Split:
    """Images to calibrate and to judge; those to judge are none that the model learned from, as far as can be told."""
    if not dataset.val:
        found = division_of(model, dataset, file)
        if found is None and file is not None:
            found = grown_division_of(model, dataset, file)
        if found is not None:
            return found
        warn_where_unknown(model, dataset, file)
    return split(dataset, val_fraction=1 / 3)


def _what_it_cost(before: Evaluation, after: Evaluation) -> dict[str, float]:
    """The metrics that the header of a file in 8 bits has besides the model's."""
    return {"float32_accuracy": before.accuracy, "int8_accuracy": after.accuracy, "int8_judged_images": after.images}


def _float_twin(model: ModelFile, name: str, folder: Path, pixels: bool, softmax: bool) -> Cost:
    exporter = open_exporter(name)
    return _cost(exporter.export(model, folder / f"float{exporter.suffix}", pixels=pixels, softmax=softmax))


def _cost(files: Sequence[Path]) -> Cost:
    exported = read_exported(files[0])
    meter = SessionMeter(READERS[exported.format][0])
    return Cost(sum(path.stat().st_size for path in files), meter.measure_model(exported))


def named_images(model: ModelFile, paths: Sequence[Path]) -> list[NamedImage]:
    """The images of ``paths``, at most ``MOST_IMAGES`` spread evenly, prepared; without paths the test pictures."""
    if model.in_channels != 3:
        raise ExportError(
            f"an export is compared on RGB images, this network takes {model.in_channels} channels; "
            "write it with mnasnet.export.onnx.to_onnx and compare it on your own data"
        )
    if not paths:
        return [(name, prepare(picture, model.preprocess)) for name, picture in test_pictures()]
    found = list(_prepared(model, _evenly(list(iter_images(paths)))))
    if not found:
        raise DataError(f"no readable image in {', '.join(map(str, paths))}; give images to compare the export on")
    return found


def class_drops(before: Evaluation, after: Evaluation) -> dict[str, float]:
    """Recall lost by each class that lost any, the largest loss first."""
    drops = {
        old.name: old.recall - new.recall
        for old, new in zip(before.classes, after.classes, strict=True)
        if old.recall is not None and new.recall is not None and old.recall > new.recall
    }
    return dict(sorted(drops.items(), key=lambda item: -item[1]))


def _proved(
    model: ModelFile,
    name: str,
    exporter: Exporter,
    folder: Path,
    file: Path | None,
    images: list[NamedImage],
    kind: str,
    pixels: bool,
    softmax: bool,
) -> Exported:
    with tempfile.TemporaryDirectory() as made_in:
        target = Path(made_in) / f"{_stem(model)}{exporter.suffix}"
        files = exporter.export(model, target, pixels=pixels, softmax=softmax)
        exported = read_exported(files[0])
        parity = compare(open_session(model, runtime="torch", device="cpu"), open_session(exported), images, kind)
        if not parity.same:
            raise ExportError(f"the {name} export of {_stem(model)} is not the same network: {parity.sentence}")
        return Exported(name, exported.precision, _moved(files, folder, exported, file), parity)


def _moved(files: tuple[Path, ...], folder: Path, exported: ExportedModel, original: Path | None) -> tuple[Path, ...]:
    """Put the proved files in their place, the one that is opened first at last; a link there stays one."""
    _require_own(files, folder, original)
    new = [folder / path.name for path in files if not exists(folder / path.name)]
    try:
        for path in reversed(files):
            write_atomic(Path(os.path.realpath(folder / path.name)), path.read_bytes())
        recipe = folder / f"{files[0].name}.{RECIPE}"
        write_atomic(Path(os.path.realpath(recipe)), recipe_markdown(exported, files[0]).encode())
    except BaseException as error:
        if folder / files[0].name in new and not exists(folder / files[0].name):  # half an export would be in the way
            for path in new:
                path.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise ExportError(
            f"cannot write to {folder}: {error.strerror or error}; free space or choose another"
        ) from error
    return tuple(folder / path.name for path in files)


def _require_own(files: tuple[Path, ...], folder: Path, original: Path | None) -> None:
    """Raise ExportError where one of ``files`` would take the place of somebody's weights in ``folder``."""
    for path in files:
        target = folder / path.name
        if original is not None and exists(target) and exists(original) and target.samefile(original):
            raise ExportError(f"an export never replaces the model it is made from, {target}; give another folder")
        is_second = path is not files[0]
        if is_second and exists(target) and not exists(folder / files[0].name):  # of an export both would be there
            raise ExportError(
                f"an export only replaces an export, {target} has no {files[0].name} beside it and may be weights; "
                "move it, or give another folder"
            )


def _prepared(model: ModelFile, paths: Iterable[Path]) -> Iterable[NamedImage]:
    for path in paths:
        try:
            yield str(path), prepare(read_image(path, min_side=model.preprocess.resize), model.preprocess)
        except DataError:
            continue  # an unreadable image compares nothing


def _paths(dataset: Dataset, samples: Sequence[Sample]) -> list[Path]:
    return [dataset.folder / sample.path for sample in samples]


def _evenly(paths: list[Path]) -> list[Path]:
    """At most ``MOST_IMAGES`` of them, from every part of the list and so from every class folder."""
    if len(paths) <= MOST_IMAGES:
        return paths
    return [paths[round(place)] for place in np.linspace(0, len(paths) - 1, MOST_IMAGES)]


def _too_large_a_drop(name: str, before: Evaluation, after: Evaluation, max_drop: float) -> str:
    worst = ", ".join(f"{name} {100 * drop:.1f}" for name, drop in list(class_drops(before, after).items())[:5])
    fall = f"from {before.accuracy:.1%} to {after.accuracy:.1%} on {before.images} images"
    return (
        f"int8 for {name} lowers accuracy {fall}, by more than max_drop {max_drop:.1%}; points of recall lost by "
        f"class: {worst}"
    )


def _stem(model: ModelFile) -> str:
    plain = "".join(sign if sign.isalnum() or sign in "-_." else "_" for sign in model.name).strip(".")
    return plain.encode()[:MAX_STEM_BYTES].decode(errors="ignore") or "model"
