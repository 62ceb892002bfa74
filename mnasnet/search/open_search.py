"""The problem and the study of a search folder: all that a process needs to work on it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import optuna

from mnasnet.data.folder import Dataset, scan
from mnasnet.data.split import Split, read_split, written_split
from mnasnet.errors import DataError, NewerSchemaError, SearchError, SettingsError
from mnasnet.files import quoted, write_atomic
from mnasnet.latency.energy import EnergyCounter, EnergyMeter, open_counter
from mnasnet.latency.isolated import IsolatedMeter
from mnasnet.latency.meter import Latency, LatencyMeter
from mnasnet.latency.meters import DISTANT
from mnasnet.latency.remembered import RememberingMeter
from mnasnet.latency.table import LatencyTable, TableMeter
from mnasnet.machine import without_cores
from mnasnet.progress import Counted, Stop
from mnasnet.runtime.session import Runtime
from mnasnet.search.costs import COUNTS, ENERGY, LATENCY
from mnasnet.search.counts import CountMeter
from mnasnet.search.device import EnergyCost, LatencyCost, device_now, open_device_meter
from mnasnet.search.evaluators import EvaluatorFactory
from mnasnet.search.folder import KIND, SearchFolder, SearchFolderError, open_search_folder
from mnasnet.search.images import SearchImages
from mnasnet.search.plan import SearchPlan
from mnasnet.search.problem import Meter, SearchProblem
from mnasnet.search.searching import Searching
from mnasnet.search.shared_weights import SharedWeights
from mnasnet.search.short_training import ShortTraining
from mnasnet.search.storage import open_storage, storage_with_study, without_password
from mnasnet.search.study import create_study
from mnasnet.space import SearchSpace
from mnasnet.space_file import space_of
from mnasnet.spec import ArchitectureSpec
from mnasnet.train.reading import unreadable_paths
from mnasnet.train.run_folder import read_yaml, write_yaml
from mnasnet.train.team import Team
from mnasnet.words import amount

PRUNED_FROM_TRIAL = 8  # the median of fewer tells little
PRUNED_FROM_EPOCH = 2


@dataclass(frozen=True, eq=False)
class OpenSearch:
    """A search folder with everything made of it; close it to end the measuring process."""

    folder: SearchFolder
    searching: Searching
    plan: SearchPlan
    dataset: Dataset
    parts: Split
    images: SearchImages
    training: ShortTraining
    shared: SharedWeights | None
    evaluator_factory: EvaluatorFactory
    device_meter: LatencyMeter
    table: LatencyTable | None
    problem: SearchProblem

    @property
    def remembered(self) -> RememberingMeter:
        """The device's meter, with every latency that the search has measured."""
        return RememberingMeter(self.device_meter, self.folder.latencies)

    def study(self) -> optuna.Study:
        """The study in its storage, made at the search's beginning; raises SearchError when it is another's or gone."""
        return _study(self.folder, self.searching, self.plan, self.problem)

    def close(self) -> None:
        """End the measuring process, if there is one."""
        if isinstance(self.device_meter, IsolatedMeter):
            self.device_meter.close()


@contextlib.contextmanager
def opened(
    path: Path,
    *,
    stop: Stop = lambda: False,
    filling: Counted = lambda done, total: None,
    with_device: bool = True,
    with_images: bool = True,
) -> Iterator[OpenSearch]:
    """The search in ``path``, read from its files alone, so that any process on any machine can open it.

    ``with_device`` False is for who measures nothing: the device may be away; ``with_images`` False for who judges
    nothing. Raises SearchError where there is no search, and DataError when images went missing.
    """
    folder = open_search_folder(path)
    searching, plan = read_arguments(folder)
    if with_images:
        if not searching.data.is_dir():
            raise DataError(
                f"the images of {folder.path} are not in {searching.data} any more; bring them back, or give their new "
                f"place once with python -m mnasnet resume {quoted(folder.path)} --data FOLDER"
            )
        dataset = scan(searching.data)
        parts = read_split(folder.split, dataset)
    else:
        parts = written_split(folder.split)
        dataset = Dataset(searching.data, parts.class_names, parts.train, parts.val, parts.test)  # as it was
    search = assemble(folder, searching, plan, dataset, parts, stop=stop, filling=filling, with_device=with_device)
    try:
        yield search
    finally:
        search.close()


def _study(folder: SearchFolder, searching: Searching, plan: SearchPlan, problem: SearchProblem) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # our own lines tell of each trial
    return create_study(
        problem,
        algorithm=searching.algorithm,
        seed=searching.seed,
        name=plan.study,
        storage=_storage(folder, searching, plan),
        pruner=_pruner(searching),
    )


def _storage(folder: SearchFolder, searching: Searching, plan: SearchPlan) -> optuna.storages.BaseStorage:
    """The storage of the trials; raises SearchError where a search that had begun is not in it any more."""
    location = searching.storage or folder.study
    if "status" not in folder.read_state():
        return open_storage(location)
    storage = storage_with_study(location, plan.study)
    if storage is None:
        place = without_password(searching.storage) if searching.storage else folder.study.name
        raise SearchFolderError(
            f"the trials of the search are not in {place} any more; bring them back to go on with it, or see with "
            "`python -m mnasnet report` what else its folder tells"
        )
    return storage


def read_arguments(folder: SearchFolder) -> tuple[Searching, SearchPlan]:
    """What was asked for and what was made of it."""
    values = read_yaml(folder.arguments)
    try:
        return Searching.from_dict(values["asked"]), SearchPlan.from_dict(values["made_of_it"])
    except (KeyError, TypeError) as error:
        raise SearchFolderError(
            f"{folder.arguments} is not complete ({error}); update the mnasnet package where a newer release wrote it, "
            "else start a new search"
        ) from error


def write_arguments(folder: SearchFolder, searching: Searching, plan: SearchPlan) -> None:
    """Keep what :func:`read_arguments` reads."""
    write_yaml(folder.arguments, {"kind": KIND, "asked": searching.to_dict(), "made_of_it": plan.to_dict()})


def read_space(folder: SearchFolder) -> SearchSpace:
    """The space as it was when the search began."""
    try:
        return space_of(json.loads(folder.space.read_bytes()))
    except NewerSchemaError:
        raise
    except (OSError, ValueError) as error:
        raise SearchFolderError(f"the space in {folder.space} cannot be read ({error}); start a new search") from error


def write_space(folder: SearchFolder, space: SearchSpace) -> None:
    """Keep what :func:`read_space` reads."""
    write_atomic(folder.space, json.dumps(space.to_dict(), indent=1).encode())


def require_same_device(search: OpenSearch) -> None:
    """Raise SearchError where other latencies would be mixed with those that the search has: of another machine than
    this one, or of another device that answers at the address of the first.
    """
    asked = search.searching
    is_distant = asked.meter in DISTANT
    if not asked.needs_latency or (asked.latency != "measured" and not is_distant):
        return
    known = search.remembered.latencies()
    if search.table is not None and is_distant:
        known = [search.table.conditions, *known]
    now = device_now(asked) if known else ""
    if is_distant:
        here = f"now {now} answers; bring the first device back, or start a new search"
    else:
        here = f"this is {now}; use that machine, or search with an agent, a table of the device or a counted cost"
    for latency in known:
        if now and without_cores(latency.device) != without_cores(now):
            raise SearchError(f"the search measures latency on {latency.device}, {here}")


def require_table_of_device(table: LatencyTable, measured: Latency) -> None:
    """Raise SettingsError where a table's prices would be mixed with measurements under other conditions."""
    if not measured.is_comparable(table.conditions):
        raise SettingsError(
            f"the latency table is of {table.conditions.measured_on}; this search measures on {measured.measured_on}; "
            "set meter (remote with agent_url, or adb), meter_device, precision and meter_threads to the table's, or "
            "profile the device that is measured"
        )


def require_table_of_classes(table: LatencyTable, classes: int) -> None:
    """Raise SettingsError where a table priced classifiers of another size: in small networks they take much of all."""
    if table.num_classes not in (0, classes):
        raise SettingsError(
            f"the latency table is of networks for {amount(table.num_classes, 'class', 'classes')}, these images have "
            f"{classes}; make one by python -m mnasnet profile with --classes {classes}"
        )


def assemble(
    folder: SearchFolder,
    searching: Searching,
    plan: SearchPlan,
    dataset: Dataset,
    parts: Split,
    *,
    stop: Stop = lambda: False,
    filling: Counted = lambda done, total: None,
    with_device: bool = True,
) -> OpenSearch:
    """Put images, evaluator, meters and limits together; nothing is decoded or measured yet."""
    space = read_space(folder)
    looked_at = folder.as_run.dataset_report.exists()
    unreadable = unreadable_paths(folder.as_run, Team()) if looked_at else frozenset()
    factory = EvaluatorFactory(folder, searching, plan, parts, space, unreadable)
    images = factory.images(dataset.folder, filling)
    training, shared = factory.short(images, stop), factory.shared(images, stop)
    device_meter = open_device_meter(searching, len(plan.class_names), stop) if with_device else _NoDevice()
    table = LatencyTable.load(folder.table) if folder.table.exists() else None
    estimates: dict[str, Meter] = {
        name: CountMeter(name, plan.input_size, num_classes=len(plan.class_names)) for name in COUNTS
    }
    meters = dict(estimates)
    if searching.needs_latency:
        if table is not None:
            estimates[LATENCY] = LatencyCost(TableMeter(table), plan.input_size)
        if searching.latency == "table":
            if table is None:
                raise SearchError(f"{folder.table} is missing, the search's prices come from it; start a new search")
            meters[LATENCY] = estimates[LATENCY]
        else:
            meters[LATENCY] = LatencyCost(RememberingMeter(device_meter, folder.latencies), plan.input_size)
    if searching.cost == "energy":
        energy = EnergyMeter(
            open_counter() if with_device else EnergyCounter(()),
            cast("Runtime", searching.meter),
            "bf16" if searching.precision == "bf16" else "fp32",
            searching.meter_threads,
            len(plan.class_names),
        )
        meters[ENERGY] = EnergyCost(energy, plan.input_size)
    problem = SearchProblem(
        space,
        shared or training,
        meters=meters,
        reward=None if searching.objective_names else searching.reward_function,
        reward_cost="" if searching.objective_names else searching.reward_cost,
        objectives=searching.objective_names,
        limits=searching.limits,
        estimates=estimates,
    )
    return OpenSearch(
        folder, searching, plan, dataset, parts, images, training, shared, factory, device_meter, table, problem
    )


@dataclass(frozen=True, slots=True)
class _NoDevice:
    """Stands where the device would, for who measures nothing."""

    def measure(self, architecture: ArchitectureSpec, input_size: int) -> Latency:
        """Must not be called."""
        raise AssertionError("the search was opened without its device")


def _pruner(searching: Searching) -> optuna.pruners.BasePruner:
    if not searching.pruning or searching.objective_names or searching.accuracy != "top1":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(n_startup_trials=PRUNED_FROM_TRIAL, n_warmup_steps=PRUNED_FROM_EPOCH)
