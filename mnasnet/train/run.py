"""A whole training: from a folder of images to a run folder with the model file and everything about it."""

from __future__ import annotations

import datetime
import json
import logging
import os
import statistics
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

import mnasnet
from mnasnet import modelfile
from mnasnet.data.cache import DecodedImages
from mnasnet.data.check import check
from mnasnet.data.folder import Dataset, Sample, scan
from mnasnet.data.header import read_header
from mnasnet.data.report import as_text, write_report
from mnasnet.data.split import Grouping, Split, read_split, split, write_split
from mnasnet.data.unreadable import MAX_BAD, listed
from mnasnet.errors import DataError, SettingsError, TrainingError
from mnasnet.files import write_atomic
from mnasnet.machine import usable_cores
from mnasnet.modelfile import ModelFile, network_of, weights_of
from mnasnet.network.build import MnasNet, build
from mnasnet.network.quantized import quantized, without_ranges
from mnasnet.network.weights import LoadedWeights, load_weights
from mnasnet.preprocess import MIN_INPUT_SIZE, Preprocess
from mnasnet.presets import PRESETS, architecture
from mnasnet.runtime.session import has_cuda, open_session
from mnasnet.spec import ArchitectureSpec
from mnasnet.train import figures, report
from mnasnet.train.batches import Balance, DecodedSquares
from mnasnet.train.evaluate import Evaluation, evaluate, log_softmax, most_wrong
from mnasnet.train.listeners import (
    Audience,
    Background,
    CsvFile,
    EndHeldBack,
    Listener,
    Reported,
    TensorBoardFiles,
)
from mnasnet.train.recipe import Augment, Recipe, RecipeName, batch_size_for, recipe_for
from mnasnet.train.run_folder import (
    RunFolder,
    exists_in,
    new_run_folder,
    only_user,
    open_run_folder,
    read_yaml,
    require_space,
    write_classes,
    write_yaml,
)
from mnasnet.train.team import Team, team_from_environment
from mnasnet.train.trainer import FitResult, Row, Status, Weights, fit, in_own_thread

_log = logging.getLogger(__name__)

FROM_SCRATCH = "mnasnet_a1_x0.5"
MISTAKES_SHOWN = 18
OBSERVED_BATCHES = 100  # at most, of quantization-aware training; ranges stay as they are after them
INPUT_SIZES = (64, 96, 128, 160, 192, 224)
LARGEST_ON_CPU = 128  # what `input_size` 0 may choose; 224 costs three times as much for a few points more

Stop = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Training:
    """What is trained on what, and how; None and 0 leave a choice to us.

    ``model`` is where weights start: ``auto`` (the bundled model), a published network's name or a file; without
    ``pretrained`` only its architecture counts. ``max_bad`` is the share of unreadable training images tolerated,
    ``cache_mb`` the memory for decoded images; without ``report`` a run leaves no pictures and pages. The other
    fields are those of :class:`mnasnet.train.recipe.Recipe`, :func:`mnasnet.data.split.split` and
    :func:`mnasnet.train.trainer.fit`.
    """

    data: Path
    model: str = "auto"
    pretrained: bool = True
    feature_extract: bool = False
    quantization_aware: bool = False
    epochs: int = 15
    input_size: int = 0
    recipe: RecipeName = "auto"
    batch_size: int = 0
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
        if self.epochs < 1:
            raise SettingsError(f"epochs must be >= 1, got {self.epochs}")
        if self.input_size and self.input_size < MIN_INPUT_SIZE:
            raise SettingsError(f"input_size must be 0 or >= {MIN_INPUT_SIZE} pixels, got {self.input_size}")
        for name in ("batch_size", "learning_rate", "patience", "max_minutes", "seed", "threads", "cache_mb"):
            if getattr(self, name) < 0:
                raise SettingsError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.device == "cuda" and not has_cuda():
            raise SettingsError("device cuda was asked for but torch sees no GPU; set device to auto or cpu")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML."""
        return {**asdict(self), "data": str(self.data.absolute()), "output_folder": str(self.output_folder.absolute())}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Training:
        """The inverse of :meth:`to_dict`; fields of other releases are left out."""
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        return cls(**{**known, "data": Path(known["data"]), "output_folder": Path(known["output_folder"])})


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A run's folder and what came of it; ``evaluation`` is None when it was stopped."""

    folder: Path
    status: Status
    reason: str
    history: tuple[Row, ...]
    evaluation: Evaluation | None
    class_names: tuple[str, ...]

    @property
    def model(self) -> Path:
        """The model file of the best epoch."""
        return RunFolder(self.folder).best

    def summary(self) -> dict[str, Any]:
        """Plain JSON values: the last line of the command."""
        return {
            "status": self.status,
            "run": str(self.folder.absolute()),
            "model": str(self.model.absolute()) if self.model.exists() else None,
            "epochs": len(self.history),
            **({f"val_{key}": value for key, value in self.evaluation.summary().items()} if self.evaluation else {}),
        }


def train(
    training: Training,
    *,
    parts: Split | None = None,
    listeners: Iterable[Listener] = (),
    stop: Stop = lambda: False,
) -> TrainedRun:
    """Train and leave a new run folder.

    ``parts`` says which images train and validate; without it the training's own settings decide. ``stop`` is asked
    between batches; a stopped run can be resumed. Raises DataError, SettingsError, WeightsError
    or TrainingError, each with the cause and the next step.
    """
    with team_from_environment(_device(training)) as team:
        dataset = scan(training.data)
        if parts is None:
            parts = split(dataset, val_fraction=training.val_fraction, seed=training.seed, grouping=training.grouping)
        require_validation(parts)
        team.require_same(parts.fingerprint, "their images")
        plan = _plan(training, parts, dataset)
        run = _new_run(training, plan, parts, team)
        if team.writes:
            _log.info("run folder: %s", run.path)
        return _go_on(training, plan, dataset, parts, run, team, listeners, stop)


def resume(
    folder: Path,
    *,
    max_minutes: float | None = None,
    parts: Split | None = None,
    listeners: Iterable[Listener] = (),
    stop: Stop = lambda: False,
) -> TrainedRun:
    """Go on with a run that was stopped or killed, to the same bits as if it had not been.

    ``max_minutes`` replaces the run's own limit; ``parts`` are its images where the caller knows them. A run that is
    done only makes its report again. With several hosts the run's folder must be reachable from each.
    """
    run = open_run_folder(folder)
    values = read_yaml(run.arguments)
    try:
        training, plan = Training.from_dict(values["asked"]), _Plan.from_dict(values["made_of_it"])
    except (KeyError, TypeError) as error:
        raise TrainingError(f"{run.arguments} is not complete ({error}); start a new run") from error
    if max_minutes is not None:
        training = replace(training, max_minutes=max_minutes)
    with team_from_environment(_device(training)) as team:
        dataset = scan(training.data)
        return _go_on(training, plan, dataset, parts or read_split(run.split, dataset), run, team, listeners, stop)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What was made of a :class:`Training` once the data was known; a resumed run uses it as it stands."""

    class_names: tuple[str, ...]
    architecture: ArchitectureSpec
    preprocess: Preprocess
    recipe: Recipe
    started_from: str
    threads: int
    stored_px: int
    version: str

    def to_dict(self) -> dict[str, Any]:
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
    def from_dict(cls, values: Mapping[str, Any]) -> _Plan:
        return cls(
            **{
                **values,
                "class_names": tuple(values["class_names"]),
                "architecture": ArchitectureSpec.from_dict(values["architecture"]),
                "preprocess": Preprocess.from_dict(values["preprocess"]),
                "recipe": Recipe.from_dict(values["recipe"]),
            }
        )


def _device(training: Training) -> str:
    return "cuda" if training.device != "cpu" and has_cuda() else "cpu"


def require_validation(parts: Split) -> None:
    """Raise DataError where no image is left to validate on."""
    if not parts.val:
        raise DataError(
            "no image is left for validation: every class has a single image; add images, at least two for each class"
        )


def _plan(training: Training, parts: Split, dataset: Dataset) -> _Plan:
    base = _start_model(training)
    if training.quantization_aware:
        _require_trained_on(parts.class_names, base)
    spec = base.architecture if base else _architecture(training.model)
    short_side = typical_short_side(dataset.folder, parts.train)
    like = base.preprocess if base else Preprocess()
    preprocess = preprocess_for(training.input_size, short_side, device=_device(training), like=like)
    recipe = recipe_for(
        training.recipe,
        images=len(parts.train),
        epochs=training.epochs,
        pretrained=base is not None,
        feature_extract=training.feature_extract,
        quantization_aware=training.quantization_aware,
        batch_size=min(training.batch_size or batch_size_for(len(parts.train)), max(2, len(parts.train))),
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
    return _Plan(
        class_names=parts.class_names,
        architecture=spec,
        preprocess=preprocess,
        recipe=recipe,
        started_from=f"{base.name or Path(training.model).name} ({base.fingerprint})" if base else "fresh weights",
        threads=training.threads or max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))),
        stored_px=stored_side(preprocess.input_size, short_side),
        version=mnasnet.__version__,
    )


def _start_model(training: Training) -> ModelFile | None:
    """The model whose weights are the start; None to start from fresh ones."""
    from mnasnet.zoo import open_model

    if not training.pretrained:
        if training.feature_extract:
            raise SettingsError("feature_extract needs trained features; set pretrained (use_pretrained) too")
        return None
    path = Path(training.model)
    is_foreign = path.is_file() and not modelfile.is_model_file(path)
    model = _without_names(load_weights(path)) if is_foreign else open_model(training.model)
    if model.in_channels != 3:
        raise SettingsError(f"images have 3 channels, {training.model} takes {model.in_channels}; choose another model")
    return model


def _require_trained_on(class_names: tuple[str, ...], base: ModelFile | None) -> None:
    """Raise SettingsError unless quantization-aware training has a model to go on with."""
    if base is None or base.class_names != class_names:
        raise SettingsError(
            "quantization_aware gets a trained model used to 8 bits, it trains none; train on these classes first and "
            "give the model file as model_weight_file"
        )


def _without_names(loaded: LoadedWeights) -> ModelFile:
    """Weights of others as a start: their class names, which may be unknown, are going to be replaced."""
    from mnasnet.zoo import default_preprocess

    return ModelFile(
        architecture=loaded.architecture,
        weights=loaded.weights,
        class_names=tuple(f"class {index}" for index in range(loaded.num_classes)),
        preprocess=default_preprocess(loaded.layout, loaded.num_classes),
        in_channels=loaded.in_channels,
    )


def _architecture(model: str) -> ArchitectureSpec:
    """The network that ``model`` names, without its weights."""
    if model == "auto":
        return architecture("mnasnet_a1", 0.5)
    if model in PRESETS:
        return PRESETS[model]
    path = Path(model)
    if path.suffix == ".json" and path.is_file():
        return ArchitectureSpec.from_dict(json.loads(path.read_text(encoding="utf-8")))
    from mnasnet.zoo import open_model

    return open_model(model).architecture


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
    """The side in pixels at which training images are kept decoded.

    A little more than the network sees, so that crops stay sharp, but never more than the images have.
    """
    return max(MIN_INPUT_SIZE, min(round(1.15 * input_size), short_side))


def typical_short_side(folder: Path, samples: Sequence[Sample], most: int = 200) -> int:
    """The median short side in pixels of some images, evenly spread."""
    chosen = samples[:: max(1, len(samples) // most)]
    headers = [read_header(folder / sample.path) for sample in chosen]
    sides = [min(header.width, header.height) for header in headers if header is not None]
    return int(statistics.median(sides)) if sides else 224


def _new_run(training: Training, plan: _Plan, parts: Split, team: Team) -> RunFolder:
    path = None
    if team.writes:
        run = new_run_folder(training.output_folder, training.name or training.data.absolute().name)
        write_split(parts, run.split)
        write_classes(run.classes, plan.class_names)
        write_yaml(run.arguments, {"asked": training.to_dict(), "made_of_it": plan.to_dict()})
        path = str(run.path).encode()
    return RunFolder(Path((team.share_bytes(path) or b"").decode()))


def _go_on(
    training: Training,
    plan: _Plan,
    dataset: Dataset,
    parts: Split,
    run: RunFolder,
    team: Team,
    listeners: Iterable[Listener],
    stop: Stop,
) -> TrainedRun:
    """Train from the run's checkpoint, or from the start, to the end, and write what the run leaves."""
    with only_user(run) if team.writes else _nobody():
        network = _start_network(training, plan, run, images=len(parts.train))
        if team.writes:
            require_space(run, 4 * sum(parameter.numel() for parameter in network.parameters()))
        try:
            train_images, val_images = _read_images(training, plan, dataset, parts, run, team, stop)
        except _Stopped:
            return TrainedRun(run.path, "stopped", "stopped while images were read", (), None, plan.class_names)
        save_best = _saver(run, training, plan, parts)
        tensorboard = [Background(TensorBoardFiles(run.path / "tensorboard"))] if training.tensorboard else []
        interrupted = threading.Event()
        audience = Audience([CsvFile(run.results), *tensorboard, *listeners])
        until_written = EndHeldBack(audience)
        in_memory = train_images.cache.planned == len(train_images.cache)
        result = in_own_thread(
            lambda: fit(
                network,
                train_images,
                val_images,
                plan.recipe,
                plan.preprocess,
                epochs=training.epochs,
                seed=training.seed,
                balance=training.balance,
                patience=training.patience,
                max_minutes=training.max_minutes,
                team=team,
                store=run.store,
                identity={
                    "images": parts.fingerprint,
                    "training_images": len(train_images.labels),
                    "architecture": plan.architecture.fingerprint,
                    "preprocess": plan.to_dict()["preprocess"],
                },
                on_best=lambda weights, row: save_best(run.best, weights, row),
                listeners=[until_written],
                stop=lambda: stop() or interrupted.is_set(),
                prefetch=team.device != "cpu" or not in_memory,
            ),
            threads=plan.threads,
            on_interrupt=interrupted.set,
        )
        evaluation = None
        if team.writes:
            save_best(run.last, weights_of(result.average), result.history[-1] if result.history else {})
            if not run.best.exists():
                save_best(run.best, weights_of(result.average), {})
            if result.status != "stopped":
                evaluation = _write_results(training, plan, dataset, parts, run, team, val_images, result)
                audience.hear(Reported(_scores_by_name(evaluation), run.results_to_share()))
        until_written.release()
        return TrainedRun(run.path, result.status, result.reason, result.history, evaluation, plan.class_names)


def _scores_by_name(evaluation: Evaluation) -> dict[str, float]:
    """Scores as tracking services take them: of the whole, then of each class."""
    scores = {f"best_val_{name}": float(value) for name, value in evaluation.summary().items()}
    for one in evaluation.classes:
        for name in ("precision", "recall", "f1"):
            value = getattr(one, name)
            if value is not None:
                scores[f"{name}/{one.name}"] = value
    return scores


class _Stopped(Exception):  # noqa: N818  # not an error
    """The user stopped before training began."""


def _nobody() -> Any:
    import contextlib

    return contextlib.nullcontext()


def _start_network(training: Training, plan: _Plan, run: RunFolder, *, images: int) -> MnasNet:
    """The network before its first step; where a checkpoint exists its weights come from there instead."""
    network = _float_network(training, plan, run)
    if not training.quantization_aware:
        return network
    half = training.epochs * images // plan.recipe.batch_size // 2  # the other half learns with ranges that stay
    return quantized(network, plan.preprocess, observed_batches=max(1, min(OBSERVED_BATCHES, half)))


def _float_network(training: Training, plan: _Plan, run: RunFolder) -> MnasNet:
    classes, dropout, momentum = len(plan.class_names), plan.recipe.dropout, plan.recipe.bn_momentum
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        network = build(plan.architecture, classes, dropout=dropout, bn_momentum=momentum)
    has_checkpoint = run.store.last.exists() or run.store.before_last.exists()
    base = None if has_checkpoint else _start_model(training)
    if base is None:
        return network
    trained = network_of(base, dropout=dropout, bn_momentum=momentum)
    if base.class_names == plan.class_names:
        return trained
    trained.classifier, trained.num_classes = network.classifier, classes
    return trained


def _read_images(
    training: Training, plan: _Plan, dataset: Dataset, parts: Split, run: RunFolder, team: Team, stop: Stop
) -> tuple[DecodedSquares, DecodedSquares]:
    """Training and validation images, decoded as far as memory allows, without those that cannot be read.

    The first time every image is looked at, and what would spoil the training is said and written down.
    """
    budget = training.cache_mb * 1_000_000
    square = replace(plan.preprocess, input_size=plan.stored_px, resize=plan.stored_px)
    val = _cache(dataset.folder, parts.val, plan.preprocess, budget // 4, plan.threads)
    train = _cache(dataset.folder, parts.train, square, budget - val.memory_bytes, plan.threads)

    def progress(done: int, total: int) -> None:
        if stop():
            raise _Stopped

    if team.writes and not run.dataset_report.exists():
        _log.info("looking at %d images", len(parts.train) + len(parts.val) + len(parts.test))
        found = check(
            dataset,
            parts,
            max_bad=training.max_bad,
            decoded={"train": train, "val": val},
            threads=plan.threads,
            progress=progress,
        )
        write_report(found, run.path)
        _log.info("%s", as_text(found))
    unreadable = _unreadable(run, team)
    for cache, what in ((val, "validation"), (train, "training")):
        cache.fill(progress, max_bad=1.0)
        _log.info("%s: %s", what, cache.description)
        if cache.unreadable:
            many = len(cache.unreadable) > 1
            text = f"{len(cache.unreadable)} unreadable {what} image{'s are' if many else ' is'} left out"
            _log.warning("%s: %s", text, listed(cache.unreadable))
    train_squares = _squares(train, parts, parts.train, unreadable)
    val_squares = _squares(val, parts, parts.val, unreadable)
    if not len(val_squares.labels):
        raise DataError(f"no validation image can be read: {listed(val.unreadable)}; replace them")
    missing = sorted(set(range(len(plan.class_names))) - set(train_squares.labels.tolist()))
    if missing:
        raise DataError(f"class {plan.class_names[missing[0]]!r} has no readable training image; add or replace images")
    return train_squares, val_squares


def _cache(
    folder: Path, samples: Sequence[Sample], preprocess: Preprocess, budget_bytes: int, threads: int
) -> DecodedImages:
    paths = [folder / sample.path for sample in samples]
    return DecodedImages.prepared(paths, preprocess, max(0, budget_bytes), threads=threads)


def _unreadable(run: RunFolder, team: Team) -> frozenset[str]:
    """The paths that could not be read when the run began; a resumed run leaves out the same."""
    data = team.share_bytes(run.dataset_report.read_bytes() if team.writes else None) or b"{}"
    files = json.loads(data)["unreadable"].values()
    return frozenset(file["path"] for group in files for file in group)


def _squares(
    cache: DecodedImages, parts: Split, samples: Sequence[Sample], unreadable: frozenset[str]
) -> DecodedSquares:
    numbers = np.array([number for number in cache.readable if samples[number].path not in unreadable], dtype=np.int64)
    return DecodedSquares(cache, numbers, np.asarray(parts.labels(samples), dtype=np.int64)[numbers])


def _saver(run: RunFolder, training: Training, plan: _Plan, parts: Split) -> Callable[[Path, Weights, Row], None]:
    """Writes model files of this run; equal weights give equal files."""
    about = {
        "data": training.data.absolute().name,
        "images": {name: len(samples) for name, samples in parts.parts.items()},
        "images_fingerprint": parts.fingerprint,
        "started_from": plan.started_from,
        "epochs": training.epochs,
        "seed": training.seed,
        "recipe": plan.recipe.to_dict(),
        "version": plan.version,
    }

    def save(path: Path, weights: Weights, row: Mapping[str, Any]) -> None:
        metrics = {key: row[key] for key in ("epoch", "val_accuracy", "val_loss") if key in row}
        weights, ranges = without_ranges(plan.architecture, weights)
        model = ModelFile(
            architecture=plan.architecture,
            weights=weights,
            class_names=plan.class_names,
            preprocess=plan.preprocess,
            metrics=metrics,
            training=about,
            int8_ranges=ranges,
            name=run.path.name,
        )
        try:
            modelfile.save(model, path)
        except OSError as error:
            raise TrainingError(
                f"cannot write the model file {path}: {error.strerror}; make room, then resume"
            ) from error

    return save


def _write_results(
    training: Training,
    plan: _Plan,
    dataset: Dataset,
    parts: Split,
    run: RunFolder,
    team: Team,
    val_images: DecodedSquares,
    result: FitResult[MnasNet],
) -> Evaluation:
    """Judge the best model as users will run it, and write tables, pictures, card, report and exports."""
    model = modelfile.load(run.best)
    logits = _scores(model, val_images, plan.threads)
    evaluations = {"validation": evaluate(logits, val_images.labels, plan.class_names)}
    if parts.test:
        cache = _cache(dataset.folder, parts.test, plan.preprocess, 0, plan.threads)
        test_images = _squares(cache, parts, parts.test, _unreadable(run, Team()))
        if len(test_images.labels):
            test_logits = _scores(model, test_images, plan.threads)
            evaluations["test"] = evaluate(test_logits, test_images.labels, plan.class_names)
    main = evaluations["validation"]
    metrics = {**model.metrics, **main.summary()}
    if "test" in evaluations:
        metrics |= {f"test_{key}": value for key, value in evaluations["test"].summary().items()}
    model = replace(model, metrics=metrics)
    modelfile.save(model, run.best)
    _export(training, model, run)
    write_atomic(run.path / "per_class.csv", report.per_class_csv(main))
    if not training.report:
        return main
    pictures = {
        "confusion_matrix.png": figures.confusion_matrix(main, normalised=False),
        "confusion_matrix_normalized.png": figures.confusion_matrix(main, normalised=True),
        "most_wrong.png": _mistakes(val_images, logits, plan.class_names),
    }
    if result.history:
        pictures["results.png"] = figures.curves(result.history)
    for name, content in pictures.items():
        write_atomic(run.path / name, content)
    written = {*exists_in(run.path), "model_card.md", "report.html"}
    story = report.Story(
        title=run.path.name,
        model=model,
        status=result.reason,
        history=result.history,
        best_epoch=result.best["epoch"] if result.best else 0,
        evaluations=evaluations,
        images={name: len(samples) for name, samples in parts.parts.items() if samples},
        asked=_asked(training),
        recipe=plan.recipe.to_dict(),
        started_from=plan.started_from,
        seconds=sum(row["seconds"] for row in result.history),
        machine=report.machine_description(team.device, plan.threads),
        made_on=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        warnings=json.loads(run.dataset_report.read_bytes())["warnings"],
        pictures=pictures,
        files=sorted(written),
    )
    write_atomic(run.path / "model_card.md", report.model_card(story).encode(errors="surrogateescape"))
    write_atomic(run.path / "report.html", report.report_html(story).encode(errors="replace"))
    return main


def _asked(training: Training) -> dict[str, Any]:
    """What the user set, without folders of this machine: a report is made to be passed on."""
    defaults = Training(data=training.data)
    names = [field.name for field in fields(Training) if field.name not in ("data", "output_folder", "name", "model")]
    changed = {name: getattr(training, name) for name in names if getattr(training, name) != getattr(defaults, name)}
    return {"data": training.data.absolute().name, "model": Path(training.model).name, **changed}


def _scores(model: ModelFile, images: DecodedSquares, threads: int) -> NDArray[np.float32]:
    """Scores of all images through the engine that inference uses, N x classes."""
    session = open_session(model, device="cpu", threads=threads)
    starts = range(0, len(images.labels), 64)
    return np.concatenate(
        [session.run(images.read(np.arange(start, min(start + 64, len(images.labels))))) for start in starts]
    )


def _mistakes(images: DecodedSquares, logits: NDArray[np.float32], class_names: Sequence[str]) -> bytes:
    chosen = most_wrong(logits, images.labels, MISTAKES_SHOWN)
    confidence = np.exp(log_softmax(logits[chosen]).max(1)) if len(chosen) else np.zeros(0)
    return figures.mistakes(
        list(images.read(chosen)) if len(chosen) else [],
        [class_names[images.labels[index]] for index in chosen],
        [class_names[logits[index].argmax()] for index in chosen],
        confidence.tolist(),
    )


def _export(training: Training, model: ModelFile, run: RunFolder) -> None:
    """The same weights for other programs: a plain torch state dict, an ONNX graph."""
    if training.export_pth:
        import io

        content = io.BytesIO()
        torch.save({name: torch.from_numpy(np.array(value)) for name, value in model.weights.items()}, content)
        write_atomic(run.best.with_suffix(".pth"), content.getvalue())
    if training.export_onnx:
        from mnasnet.export.onnx import to_onnx

        write_atomic(run.best.with_suffix(".onnx"), to_onnx(model).SerializeToString())
