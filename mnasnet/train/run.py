"""A whole training: from a folder of images to a run folder with the model file and everything about it."""

from __future__ import annotations

import contextlib
import functools
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mnasnet import modelfile
from mnasnet.data.folder import Dataset, scan
from mnasnet.data.split import Split, read_split, split, warn_of_changed, write_split
from mnasnet.errors import DataError, MnasNetError, TrainingError
from mnasnet.files import is_full, quoted, write_atomic
from mnasnet.modelfile import ModelFile, Weights, network_of, weights_of
from mnasnet.network.build import MnasNet, build
from mnasnet.network.quantized import quantized, without_ranges
from mnasnet.network.seeded import seeded
from mnasnet.progress import Stop
from mnasnet.train.batches import DecodedSquares
from mnasnet.train.best import kept_of
from mnasnet.train.checkpoint import GONE, from_bytes
from mnasnet.train.distillation import Distillation, Teacher, teacher_from
from mnasnet.train.evaluate import Evaluation
from mnasnet.train.events import Audience, EndHeldBack, Event, Listener, Opened, Reported, failures_told
from mnasnet.train.held_out import grown_division_of, may_know, sketch_of
from mnasnet.train.listeners import Background, CsvFile, TensorBoardFiles
from mnasnet.train.objective import WholeNetwork
from mnasnet.train.own_thread import in_own_thread
from mnasnet.train.plan import (
    Training,
    TrainingPlan,
    device_of,
    models_of,
    plan_of,
    require_validation,
    same_start_model,
    same_teacher_model,
)
from mnasnet.train.reading import lost_images_told, read_images, readable, unreadable_paths
from mnasnet.train.results import scores_by_name, write_results
from mnasnet.train.run_folder import (
    RunFolder,
    RunFolderError,
    cannot_write,
    new_run_folder,
    only_user,
    open_run_folder,
    read_yaml,
    require_space,
    write_classes,
    write_yaml,
)
from mnasnet.train.run_state import Row, is_over
from mnasnet.train.stopping import Stopped
from mnasnet.train.team import Team, team_from_environment
from mnasnet.train.trainer import FitResult, Status, fit
from mnasnet.zoo import model_path

_log = logging.getLogger(__name__)

OBSERVED_BATCHES = 100  # at most, of quantization-aware training; ranges stay as they are after them


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A run's folder and what came of it; ``evaluation``, on the validation images, is None when it was stopped.

    ``test`` is there where the dataset has test images. Where several processes train together, only the one that
    writes has them.
    """

    folder: Path
    status: Status
    reason: str
    history: tuple[Row, ...]
    evaluation: Evaluation | None
    class_names: tuple[str, ...]
    test: Evaluation | None = None

    @property
    def model(self) -> Path:
        """The model file of the best epoch, in a fold of the last one."""
        return RunFolder(self.folder).best

    @property
    def report(self) -> Path:
        """The page that tells the whole run, once it is written."""
        return RunFolder(self.folder).report

    def summary(self) -> dict[str, Any]:
        """Plain JSON values: the last line of the command."""
        return {
            "status": self.status,
            "run": str(self.folder.absolute()),
            "model": str(self.model.absolute()) if self.model.exists() else None,
            "epochs": len(self.history),
            **{f"{split}_{key}": value for split, one in self.judged.items() for key, value in one.summary().items()},
        }

    @property
    def judged(self) -> dict[str, Evaluation]:
        """What the model is worth by split: val, and test where there is one; empty when the run was stopped."""
        return {split: one for split, one in (("val", self.evaluation), ("test", self.test)) if one is not None}

    def sentences(self) -> list[str]:
        """What the model is worth, for people: the test images, which decided nothing, come last."""
        names = {"val": "validation", "test": "test"}
        return [one.sentence(names[split]) for split, one in self.judged.items()]


def train(
    training: Training,
    *,
    parts: Split | None = None,
    listeners: Iterable[Listener] = (),
    stop: Stop = lambda: False,
) -> TrainedRun:
    """Train and leave a new run folder.

    ``parts`` says which images train and validate; without it the training's own settings decide. ``stop`` is asked
    between batches, within those that take long and between the results' files, in any thread; a stopped run can be
    resumed. Raises DataError, SettingsError, WeightsError
    or TrainingError, each with the cause and the next step.
    """
    with team_from_environment(device_of(training)) as team:
        dataset = scan(training.data)
        if parts is None:
            parts = _as_known(training, dataset) or split(
                dataset, val_fraction=training.val_fraction, seed=training.seed, grouping=training.grouping
            )
        require_validation(parts)
        team.require_same(parts.fingerprint, "their images")
        plan = plan_of(training, parts, dataset)
        run = _new_run(training, plan, parts, team)
        if team.writes:
            _log.info("run folder: %s", run.path)
        try:
            return _go_on(training, plan, dataset, parts, run, team, listeners, stop)
        except MnasNetError:
            if team.writes and not run.store.folder.exists():  # refused before it began: a number spent on nothing
                shutil.rmtree(run.path, ignore_errors=True)
            raise


def _as_known(training: Training, dataset: Dataset) -> Split | None:
    """The division that the training of the start, else of the teacher, made of these images; None of others.

    So none validates that it has learned from; where the teacher knows some of them all the same, the log says so.
    """
    divisions = {}
    for source, model in models_of(training).items():
        file = model_path(source)
        parts = grown_division_of(model, dataset, file)
        if parts is not None:
            divisions[source] = parts
        elif (not dataset.val or model.training.get("val_fraction")) and may_know(model, dataset, file) is not False:
            _log.warning(
                "%s may have learned from images of this folder, and from which cannot be told: of those it knows, the "
                "validation accuracy says nothing",
                source,
            )
    if not divisions:
        return None
    source, parts = next(iter(divisions.items()))
    _log.info(
        "%s has learned from images of this folder: those that its training kept aside are kept aside again; %s",
        source,
        f"{len(parts.val)} images validate" + (f", {len(parts.test)} test" if parts.test else ""),
    )
    learned = {*divisions.get(training.teacher, parts).train}
    if known := sum(sample in learned for sample in parts.val + parts.test):
        _log.warning(
            "the teacher %s has learned from %d of these, so their accuracy may be flattered; take a start and a "
            "teacher that kept the same images aside",
            training.teacher,
            known,
        )
    return replace(parts, fold="")  # from a fold's model on it is a training like others


def resume(
    folder: Path | str,
    *,
    data: Path | str | None = None,
    max_minutes: float | None = None,
    parts: Split | None = None,
    listeners: Iterable[Listener] = (),
    stop: Stop = lambda: False,
) -> TrainedRun:
    """Go on with a run that was stopped or killed, to the same bits as if it had not been.

    ``data`` is where its images lie now, should they have moved; ``max_minutes`` replaces the run's own limit; both
    count the next time too. ``parts`` are its images where the caller knows them. A run that is done only makes its
    report again. With several hosts the run's folder must be reachable from each.
    """
    run = open_run_folder(folder)
    values = read_yaml(run.arguments)
    if kind := values.get("kind"):
        raise TrainingError(
            f"{run.path} is the folder of a {kind}, not of one training; go on with it by python -m mnasnet resume "
            f"{quoted(run.path)}"
        )
    try:
        training, plan = Training.from_dict(values["asked"]), TrainingPlan.from_dict(values["made_of_it"])
    except (KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(
            f"{run.arguments} is not complete ({error}); update the mnasnet package where a newer release wrote it, "
            "else start a new run"
        ) from error
    if run.results.exists() and not run.store.holds_any:
        raise RunFolderError(
            f"{run.store.folder} has no checkpoint any more, and without one a run that has begun cannot go on; "
            "bring it back, or start a new run"
        )
    if max_minutes is not None:
        training = replace(training, max_minutes=max_minutes)
    if data is not None:
        training = replace(training, data=Path(data))
    if not training.data.is_dir():
        raise DataError(f"the images of {run.path} are not in {training.data} any more; give --data their new place")
    if training.teacher and not _is_trained(run, training):  # images would be read before the first step misses it
        same_teacher_model(training, plan.teacher)
    with team_from_environment(device_of(training)) as team:
        dataset = scan(training.data)
        if parts is None:
            parts = read_split(run.split, dataset)
            if team.writes:
                warn_of_changed(run.split, dataset.folder)
        return _go_on(training, plan, dataset, parts, run, team, listeners, stop)


def _is_trained(run: RunFolder, training: Training) -> bool:
    """Whether no epoch is left, so that at most results are missing."""
    data = run.store.load()
    if data is None:
        return False
    values = from_bytes(data).values
    return is_over(values["epoch"], values["best"], epochs=training.epochs, patience=training.patience)


def _new_run(training: Training, plan: TrainingPlan, parts: Split, team: Team) -> RunFolder:
    path = None
    if team.writes:
        name = training.name or training.data.absolute().name
        run = new_run_folder(training.output_folder, name, data=training.data)
        try:
            write_split(parts, run.split, training.data)
            write_classes(run.classes, plan.class_names)
            write_yaml(run.arguments, {"asked": training.to_dict(), "made_of_it": plan.to_dict()})
        except OSError as error:
            shutil.rmtree(run.path, ignore_errors=True)  # a folder in which nothing could be begun helps nobody
            raise cannot_write(run.path, error) from error
        path = str(run.path).encode()
    return RunFolder(Path((team.share_bytes(path) or b"").decode()))


def _go_on(
    training: Training,
    plan: TrainingPlan,
    dataset: Dataset,
    parts: Split,
    run: RunFolder,
    team: Team,
    listeners: Iterable[Listener],
    stop: Stop,
) -> TrainedRun:
    """Train from the run's checkpoint, or from the start, to the end, and write what the run leaves."""
    with only_user(run) if team.writes else contextlib.nullcontext():
        network = _start_network(training, plan, run, images=len(parts.train))
        if team.writes:
            require_space(run, 4 * sum(parameter.numel() for parameter in network.parameters()))
            _keep_what_was_told(training, run)
        try:
            train_images, val_images, test_cache = read_images(training, plan, dataset, parts, run, team, stop)
        except Stopped:
            return TrainedRun(run.path, "stopped", "stopped while images were read", (), None, plan.class_names)
        save = _saver(run, training, plan, parts, unreadable_paths(run, team))
        if run.best_whole_epoch.exists() and team.writes:  # the epoch whose part stood for it is trained on now
            run.best_whole_epoch.replace(run.best)

        def save_best(weights: Weights, row: Row) -> None:
            if row["partial"] and run.best.exists():
                write_atomic(run.best_whole_epoch, run.best.read_bytes())
            save(run.best, weights, row)

        tensorboard = [Background(TensorBoardFiles(run.path / "tensorboard"))] if training.tensorboard else []
        audience = Audience[Event]([CsvFile(run.results), *tensorboard, *listeners])
        until_written = EndHeldBack(audience)
        with failures_told(tensorboard), lost_images_told(run):
            if team.writes:
                audience.hear(Opened(run.path))
            result = _fitted(
                network, train_images, val_images, training, plan, parts, run, team, save_best, until_written, stop
            )
            found: dict[str, Evaluation] = {}
            if team.writes:
                _save_end(run, result, save)
            if team.writes and result.status != "stopped":
                try:
                    with lost_images_told(run):
                        found = write_results(training, plan, parts, run, team, val_images, test_cache, result, stop)
                except Stopped as stopped:
                    reason = f"stopped while the results were written, without {stopped}"
                    until_written.release(stopped=reason)
                    return TrainedRun(run.path, "stopped", reason, result.history, None, plan.class_names)
                audience.hear(Reported(scores_by_name(found, kept_of(parts)), run.results_to_share()))
            until_written.release()
            return TrainedRun(
                run.path,
                result.status,
                result.reason,
                result.history,
                found.get("validation"),
                plan.class_names,
                found.get("test"),
            )


def _fitted(
    network: MnasNet,
    train_images: DecodedSquares,
    val_images: DecodedSquares,
    training: Training,
    plan: TrainingPlan,
    parts: Split,
    run: RunFolder,
    team: Team,
    save_best: Callable[[Weights, Row], None],
    listener: Listener,
    stop: Stop,
) -> FitResult[MnasNet]:
    """The network trained, in a thread of its own, which an interrupt stops as ``stop`` does."""
    return in_own_thread(
        lambda stop: fit(
            network,
            train_images,
            val_images,
            plan.recipe,
            plan.preprocess,
            epochs=training.epochs,
            seed=training.seed,
            balance=training.balance,
            accumulate_steps=training.accumulate_steps,
            patience=training.patience,
            kept=kept_of(parts),
            max_minutes=training.max_minutes,
            objective=_objective(training, plan, team),
            team=team,
            store=run.store,
            identity={
                "images": parts.fingerprint,
                "training_images": len(train_images.labels),
                "architecture": plan.architecture.fingerprint,
                "preprocess": plan.to_dict()["preprocess"],
                **({"teacher": plan.teacher} if plan.teacher else {}),
            },
            on_best=save_best,
            listeners=[listener],
            stop=stop,
            prefetch=train_images.streams or team.device != "cpu",
        ),
        stop=stop,
        threads=plan.threads,
    )


def _objective(training: Training, plan: TrainingPlan, team: Team) -> WholeNetwork:
    """The labels, and a teacher's answers where there is one; it is opened at the first step."""
    if not training.teacher:
        return WholeNetwork(plan.recipe.label_smoothing)

    @functools.cache
    def teacher() -> Teacher:
        model = same_teacher_model(training, plan.teacher)
        assert model is not None
        return teacher_from(model, plan.class_names, plan.preprocess, team.device)

    return Distillation(plan.recipe.label_smoothing, teacher=teacher)


def _save_end(run: RunFolder, result: FitResult[MnasNet], save: Callable[[Path, Weights, Row], None]) -> None:
    """Write the model file of the end, which is that of the best epoch too where there is none."""
    weights, row = weights_of(result.average), result.history[-1] if result.history else {}
    save(run.last, weights, row)
    if not run.best.exists():
        if result.history:
            _log.warning("%s is gone since the best epoch; the last weights take its place", run.best.name)
        save(run.best, weights, row)


def _keep_what_was_told(training: Training, run: RunFolder) -> None:
    """Write down what :func:`resume` was told anew, for the next time."""
    values, told = read_yaml(run.arguments), training.to_dict()
    asked = {**values["asked"], "data": told["data"], "max_minutes": told["max_minutes"]}
    if asked != values["asked"]:
        try:
            write_yaml(run.arguments, {**values, "asked": asked})
        except OSError as error:
            raise cannot_write(run.path, error) from error


def _start_network(training: Training, plan: TrainingPlan, run: RunFolder, *, images: int) -> MnasNet:
    """The network before its first step; where a checkpoint exists its weights come from there instead."""
    network = _float_network(training, plan, run)
    if not training.quantization_aware:
        return network
    half = training.epochs * images // plan.recipe.batch_size // 2  # the other half learns with ranges that stay
    return quantized(network, plan.preprocess, observed_batches=max(1, min(OBSERVED_BATCHES, half)))


def _float_network(training: Training, plan: TrainingPlan, run: RunFolder) -> MnasNet:
    recipe, classes = plan.recipe, len(plan.class_names)
    dropout, momentum = recipe.dropout, recipe.bn_momentum
    with seeded(training.seed):
        network = build(
            plan.architecture,
            classes,
            dropout=dropout,
            bn_momentum=momentum,
            identity_start=recipe.identity_start,
        )
    base = None if run.store.holds_any else same_start_model(training, plan.started_from)
    if base is None:
        return network
    trained = network_of(base, dropout=dropout, bn_momentum=momentum)
    if base.class_names == plan.class_names:
        return trained
    known = [
        (row, base.class_names.index(name)) for row, name in enumerate(plan.class_names) if name in base.class_names
    ]
    fresh, learnt = network.classifier, trained.classifier
    with torch.no_grad():  # a class that the start knows keeps its row, wherever it stands among the new ones
        for row, old_row in known:
            fresh.weight[row] = learnt.weight[old_row]
            fresh.bias[row] = learnt.bias[old_row]
    trained.classifier, trained.num_classes = fresh, classes
    return trained


def _saver(
    run: RunFolder, training: Training, plan: TrainingPlan, parts: Split, unreadable: frozenset[str]
) -> Callable[[Path, Weights, Row], None]:
    """Writes model files of this run; equal weights give equal files."""
    about = {
        "data": training.data.absolute().name,
        "images": readable(parts, unreadable),
        "images_fingerprint": parts.fingerprint,
        "images_sketch": sketch_of(training.data, (one for one in parts.train if one.path not in unreadable)),
        "started_from": plan.started_from,
        **({"teacher": plan.teacher} if plan.teacher else {}),
        "val_fraction": parts.val_fraction,
        "grouping": parts.grouping,
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
        if not run.path.exists():  # or a new one would be made in its place
            raise RunFolderError(f"cannot write the model file {path}: {GONE}")
        try:
            modelfile.save(model, path)
        except OSError as error:
            cure = "make room" if is_full(error) else "give write access"
            raise TrainingError(f"cannot write the model file {path}: {error.strerror}; {cure}, then resume") from error

    return save
