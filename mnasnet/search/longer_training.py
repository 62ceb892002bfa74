"""The networks that are trained longer than a trial: finalists, the winner, promoted trials, references.

Each is an ordinary training in a run folder of its own inside the search's, so that it can be killed and resumed
like any other, and its model file is one like any other.
"""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import re
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from mnasnet import modelfile
from mnasnet.errors import LatencyError, WeightsError
from mnasnet.files import write_atomic
from mnasnet.latency.meter import Latency, RunnableMeter
from mnasnet.latency.remembered import quietest
from mnasnet.modelfile import ModelFile, weights_of
from mnasnet.progress import Stop
from mnasnet.search.answer import Contender, ContenderKind
from mnasnet.search.costs import COUNTS, LATENCY
from mnasnet.search.counts import CountMeter
from mnasnet.search.open_search import OpenSearch
from mnasnet.search.searching import Searching
from mnasnet.search.shared_weights import SharedWeights
from mnasnet.search.stop import SearchStopped
from mnasnet.search.teacher import require_same_teacher
from mnasnet.space import Candidate
from mnasnet.spec import ArchitectureSpec
from mnasnet.train.events import Listener
from mnasnet.train.plan import Training
from mnasnet.train.run import resume, train
from mnasnet.train.run_folder import RunFolder, only_user
from mnasnet.words import amount

SHARED_START = "shared weights"  # what a training that began from them says it started from


@dataclass(frozen=True, slots=True)
class Place:
    """A longer training: whose it is and the folder, below the search's, where it lies."""

    folder: Path
    name: str
    kind: ContenderKind
    trial: int | None = None

    @property
    def run(self) -> RunFolder:
        """Where the training's files lie."""
        return RunFolder(self.folder)

    def trained_model(self) -> ModelFile | None:
        """The trained model; None before the training's end."""
        if not self.run.best.exists():
            return None
        try:
            model = modelfile.load(self.run.best)
        except WeightsError:  # half of a copy, or damaged: train again
            return None
        return model if "accuracy" in model.metrics else None

    def lacks_results(self, *, with_report: bool) -> bool:
        """Whether a stop or a kill came between the trained model and the last file that its training leaves."""
        last_file = self.run.report if with_report else self.run.per_class
        return self.run.arguments.exists() and not last_file.exists()


def finalist_place(search: OpenSearch, trial: int) -> Place:
    """Where a finalist is trained longer."""
    return Place(search.folder.path / "finalists" / f"trial{trial}", f"trial {trial}", "finalist", trial)


def full_training_place(search: OpenSearch, trial: int, epochs: int) -> Place:
    """Where a trial is trained fully."""
    folder = search.folder.path / "trained" / f"trial{trial}_{epochs}epochs"
    return Place(folder, f"trial {trial}, fully trained", "promoted", trial)


def fresh_place(search: OpenSearch, trial: int, epochs: int) -> Place:
    """Where a trial's network is trained from fresh weights as published networks are."""
    folder = search.folder.path / "references" / f"trial{trial}_{epochs}epochs"
    return Place(folder, f"trial {trial}, from fresh weights", "reference", trial)


def reference_place(search: OpenSearch, name: str, width: float, input_size: int, epochs: int) -> Place:
    """Where a published network is trained under the winner's recipe."""
    folder = search.folder.path / "references" / f"{name}_x{width:g}_{input_size}px_{epochs}epochs"
    return Place(folder, f"{name} x{width:g}", "reference")


def places(search: OpenSearch) -> Iterator[Place]:
    """Every longer training that was begun: finalists, full ones (a trial's own of the search first), references."""
    folder = search.folder.path
    final_epochs = int(search.folder.final.get("epochs", 0))
    for (number,) in _found(folder / "finalists", r"trial(\d+)"):
        yield finalist_place(search, int(number))
    trained = [(int(trial), int(epochs)) for trial, epochs in _found(folder / "trained", r"trial(\d+)_(\d+)epochs")]
    for trial, epochs in sorted(trained, key=lambda one: (one[0], one[1] != final_epochs, one[1])):
        place = full_training_place(search, trial, epochs)
        is_only = sum(other == trial for other, _ in trained) == 1
        yield place if is_only else replace(place, name=f"{place.name}, {amount(epochs, 'epoch')}")
    for number, count in _found(folder / "references", r"trial(\d+)_(\d+)epochs"):
        yield fresh_place(search, int(number), int(count))
    for name, width, size, count in _found(folder / "references", r"(.+)_x([\d.]+)_(\d+)px_(\d+)epochs"):
        yield reference_place(search, name, float(width), int(size), int(count))


def _found(folder: Path, pattern: str) -> list[tuple[str, ...]]:
    """What the names in ``folder`` that match ``pattern`` tell, numbers in their order."""
    matches = (re.fullmatch(pattern, path.name) for path in folder.glob("*"))
    groups = [match.groups() for match in matches if match]
    return sorted(groups, key=lambda group: [(float(text), "") if text[0].isdigit() else (0.0, text) for text in group])


def train_longer(
    search: OpenSearch,
    place: Place,
    architecture: ArchitectureSpec,
    *,
    input_size: int,
    epochs: int,
    with_test: bool,
    shared_start: Candidate | None = None,
    most_minutes: float = 0.0,
    listeners: Sequence[Listener] = (),
    stop: Stop = lambda: False,
) -> ModelFile:
    """Train a network to its end, or go on where it was left, then measure it on the device.

    Without ``with_test`` the test images are not looked at. ``shared_start``, a network of the space, starts from its
    part of the shared weights where the search has them, anything else from fresh ones. A training that takes
    unexpectedly long ends after ``most_minutes`` with the best epoch so far; 0 is no limit. Raises SearchStopped when
    asked to stop, and what trainings raise.
    """
    is_unfinished = place.trained_model() is None or place.lacks_results(with_report=with_test)
    if is_unfinished:
        parts = search.parts if with_test else replace(search.parts, test=())
        with _quietly():
            if place.run.arguments.exists():
                ended = resume(place.folder, data=search.searching.data, parts=parts, listeners=listeners, stop=stop)
            else:
                shutil.rmtree(place.folder, ignore_errors=True)  # of a start that was killed at once
                if search.shared is not None and shared_start is not None:
                    start = _cut_out(search, search.shared, place, shared_start, architecture)
                else:
                    start = _designed(search, place, architecture)
                training = replace(
                    start,
                    epochs=epochs,
                    input_size=input_size,
                    output_folder=place.folder.parent,
                    name=place.folder.name,
                    report=with_test,
                    max_minutes=most_minutes,
                )
                ended = train(training, parts=parts, listeners=listeners, stop=stop)
        if ended.status == "stopped":
            raise SearchStopped
    model = place.trained_model()
    assert model is not None
    if is_unfinished or not model.latencies:  # a card from elsewhere, put in meanwhile, is not the search's
        latency = measured(search, model)
        with only_user(place.run):  # which removes what a kill within this left
            modelfile.replace_latencies(place.run.best, (latency.to_dict(),))
        model = replace(model, latencies=(latency.to_dict(),))
    return model


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the lines in which a training describes the images, which the search has described already."""
    log = logging.getLogger("mnasnet.train")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


def _designed(search: OpenSearch, place: Place, architecture: ArchitectureSpec) -> Training:
    """A training from fresh weights."""
    spec = _network_file(search, place, "json")
    write_atomic(spec, json.dumps(architecture.to_dict(), indent=1).encode())
    return replace(_as_asked(search), model=str(spec), pretrained=False)


def _cut_out(
    search: OpenSearch, shared: SharedWeights, place: Place, candidate: Candidate, architecture: ArchitectureSpec
) -> Training:
    """A training that goes on with the candidate's part of the shared weights, which know these images already."""
    model = ModelFile(
        architecture=architecture,
        weights=weights_of(shared.cut_out(candidate)),
        class_names=search.plan.class_names,
        preprocess=search.images.preprocess(shared.size_of(candidate)),
        name=SHARED_START,
    )
    file = _network_file(search, place, "safetensors")
    modelfile.save(model, file)
    return replace(_as_asked(search), model=str(file), recipe="continue")


def _network_file(search: OpenSearch, place: Place, suffix: str) -> Path:
    return search.folder.path / "networks" / f"{place.folder.name}.{suffix}"


def _as_asked(search: OpenSearch) -> Training:
    """What all longer trainings of a search have in common."""
    asked = search.searching
    require_same_teacher(asked, search.plan)
    return Training(
        data=asked.data,
        teacher=asked.teacher,
        flip=asked.flip,
        seed=asked.seed,
        device=asked.device,
        threads=search.plan.threads,
        cache_mb=asked.cache_mb,
        max_bad=asked.max_bad,
    )


def measured(search: OpenSearch, model: ModelFile) -> Latency:
    """The latency of a trained model on the search's device, measured afresh.

    Where that was disturbed and the trial's measurement was faster, the trial's counts as one more attempt. A device
    that has gone away since the trial, or is another one now, costs no winner: the trial's counts. Raises LatencyError
    where there is none.
    """
    meter, size = search.device_meter, model.preprocess.input_size
    earlier = search.remembered.known(model.architecture, size)
    try:
        if hasattr(meter, "measure_model"):
            fresh = quietest(lambda: cast("RunnableMeter", meter).measure_model(model))
        else:
            fresh = quietest(lambda: meter.measure(model.architecture, size))
        fresh = search.remembered.beside_others(fresh)
    except LatencyError as error:
        if earlier is None:
            raise
        return _of_its_trial(earlier, f"not since: {error}")
    if fresh.quiet or earlier is None or earlier.undisturbed_ms >= fresh.undisturbed_ms:
        return fresh
    return _of_its_trial(earlier, "disturbed since")


def _of_its_trial(latency: Latency, since: str) -> Latency:
    """The trial's ``latency``, which says that it is that and what happened ``since``."""
    return latency.with_note(f"measured in its trial, {since}")


def contender(search: OpenSearch, place: Place, proxy_accuracy: float | None = None) -> Contender | None:
    """What a longer training came to; None before its end."""
    model = place.trained_model()
    if model is None:
        return None
    latency = model.latencies[0] if model.latencies else None
    costs = counted(search, model.architecture, model.preprocess.input_size)
    if latency is not None:
        costs[LATENCY] = float(latency["undisturbed_ms"])
    return Contender(
        name=place.name,
        kind=place.kind,
        trial=place.trial,
        epochs=len(_rows(place)) or int(model.training["epochs"]),
        from_shared=str(model.training["started_from"]).startswith(SHARED_START),
        proxy_accuracy=proxy_accuracy,
        val_accuracy=accuracy_of(search.searching, model.metrics),
        val_images=int(model.metrics["images"]),
        test_accuracy=accuracy_of(search.searching, model.metrics, "test_"),
        test_images=int(model.metrics.get("test_images", 0)),
        costs=costs,
        latency=latency,
        model=place.run.best.relative_to(search.folder.path).as_posix(),
    )


def epoch_seconds(place: Place) -> float | None:
    """The seconds of an epoch of a longer training, the slowest half of them; None before its first epoch."""
    seconds = sorted(float(row["seconds"]) for row in _rows(place))
    return statistics.mean(seconds[len(seconds) // 2 :]) if seconds else None


def _rows(place: Place) -> list[dict[str, str]]:
    """The epochs of a longer training so far."""
    try:
        return list(csv.DictReader(place.run.results.read_text(encoding="utf-8").splitlines()))
    except FileNotFoundError:
        return []


def accuracy_of(searching: Searching, metrics: Mapping[str, Any], prefix: str = "") -> float | None:
    """The kind of accuracy that the search is about, from a model file's metrics."""
    key = f"{prefix}accuracy" if searching.accuracy == "top1" else f"{prefix}worst_recall"
    return float(metrics[key]) if key in metrics else None


def counted(search: OpenSearch, architecture: ArchitectureSpec, input_size: int) -> dict[str, float]:
    """The costs that are counted, of any network."""
    candidate = Candidate((), architecture, input_size)
    classes = len(search.plan.class_names)
    return {name: CountMeter(name, input_size, num_classes=classes).measure(candidate) for name in COUNTS}
