"""The start of a search: look at the data, measure the device, time two trainings, decide, write it all down."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import math
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import mnasnet
from mnasnet.data.folder import Dataset, scan
from mnasnet.data.split import Split, write_split
from mnasnet.errors import LatencyError, SearchError, SettingsError
from mnasnet.files import write_atomic
from mnasnet.latency.energy import open_counter
from mnasnet.latency.meter import Latency, NotAllowedError
from mnasnet.latency.remembered import RememberingMeter
from mnasnet.latency.table import LatencyTable
from mnasnet.machine import usable_cores
from mnasnet.runtime.session import has_cuda
from mnasnet.search.curriculum import cheapest_and_dearest
from mnasnet.search.device import profiled
from mnasnet.search.evaluator import SearchStopped
from mnasnet.search.folder import KIND, SearchFolder, new_search_folder, require_place_of_search
from mnasnet.search.images import divide
from mnasnet.search.judging import Stop
from mnasnet.search.plan import Plan, chosen_share, seconds_to_read, timed, typical_candidates, with_speeds
from mnasnet.search.problem import SearchProblem
from mnasnet.search.problem_of import OpenSearch, assemble, require_table_of_classes, require_table_of_device
from mnasnet.search.report.quantities import LATENCY
from mnasnet.search.searching import UNITS, Searching
from mnasnet.search.shared_plan import curriculum_of, shared_times, with_shared
from mnasnet.search.storage import open_storage, require_storage
from mnasnet.search.timetable import Timetable, require_time, timetable
from mnasnet.search.workers import require_guard
from mnasnet.space import SearchSpace
from mnasnet.train.plan import preprocess_for, typical_short_side
from mnasnet.train.run_folder import write_classes, write_yaml
from mnasnet.words import amount

_log = logging.getLogger(__name__)

TABLE_SHARE = 0.1  # of the minutes, at most, for the device's table where it only speeds up the search
TABLE_S = 60.0  # and so long at most where no minutes are given, or it is to become more exact
Telling = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Missed:
    """A limit, or a target that is none, which even the smallest network of the space does not meet."""

    cost: str
    smallest: float
    bound: float
    is_limit: bool = True

    @property
    def text(self) -> str:
        """Such as "parameters 4.2e+06, limit 1e+06"."""
        return f"{self.cost} {self.smallest:.4g}, {'limit' if self.is_limit else 'target'} {self.bound:.4g}"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a search will take, told before it begins; of one that goes on the seconds left, too."""

    networks: int
    plan: Plan
    times: Timetable
    trials: int
    short_epochs: int
    workers: int
    costs: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # of the smallest and the largest network
    latency_is_measured: bool = True
    missed: tuple[Missed, ...] = ()
    above_target: str = ""  # what decides where no network keeps the target
    target: tuple[str, float] | None = None  # the cost that is aimed at, and the aim
    left_s: float | None = None

    @property
    def told_of_target(self) -> str:
        """A sentence where no network of the space comes near the target, "" else."""
        cost, target = self.target or ("", 0.0)
        if max(self.costs.get(cost, (math.inf,))) >= target:
            return ""
        return (
            f"{target:g} {UNITS[cost]} is more than the largest network takes, so it decides nothing; take "
            f"{self._range(cost)}, or a larger space or input_size"
        )

    def _range(self, cost: str) -> str:
        """What networks of the space cost, in the unit of the target."""
        return f"{_span(f'{end:.3g}' for end in sorted(self.costs[cost]))} {UNITS[cost]}"

    @property
    def is_hopeless(self) -> bool:
        """Whether the smallest network costs more than twice a limit, so that no other is likely to meet it."""
        return any(one.is_limit and one.smallest > 2 * one.bound for one in self.missed)

    @property
    def told_of_missed(self) -> str:
        """A sentence where even the smallest network misses a limit or the target, "" else."""
        limits = "; ".join(one.text for one in self.missed if one.is_limit)
        if self.is_hopeless:
            return f"even the smallest network is far above the limits: {limits}; stop, or wait for the nearest"
        if limits:
            return f"even the smallest network is above the limits: {limits}; hardly one meets them, or none"
        targets = "; ".join(one.text for one in self.missed)
        return f"even the smallest network is above the target: {targets}; {self.above_target}" if targets else ""

    @property
    def short_minutes(self) -> float:
        """The minutes that short trainings of so many trials would take."""
        return self.trials * self.plan.short_trial_s / self.workers / 60

    @property
    def shared_minutes(self) -> float:
        """The minutes that shared weights would take for so many trials, their own training included."""
        plan = self.plan
        return (plan.shared_epochs * plan.shared_epoch_s + self.trials * plan.shared_trial_s / self.workers) / 60

    @property
    def text(self) -> str:
        """Lines for people."""
        plan, times = self.plan, self.times
        stages = [f"shared weights {_minutes(times.supernet_s)}"] if times.supernet_s else []
        stages.append(f"search {_minutes(times.search_s)}")
        if times.finalists_s:
            epochs = f"{times.finalists} for {amount(times.finalist_epochs, 'epoch')}"
            stages.append(f"finalists {_minutes(times.finalists_s)} ({epochs})")
        stages.append(f"full training {_minutes(times.final_s)} ({amount(times.final_epochs, 'epoch')})")
        if times.compared:
            stages.append(f"comparison {_minutes(times.references_s)}")
        if times.ranking_s:
            stages.append(f"check of the ranking {_minutes(times.ranking_s)}")
        costs = []
        for cost in self.costs:
            how = " on the device" if self.latency_is_measured else " predicted by the table of the device"
            title, how = ("latency", how) if cost == LATENCY else ("cost", "")
            costs.append(f"{title:10}{self._range(cost)}{how}, the smallest and the largest network of the space")
        if self.told_of_target:
            costs.append(f"target    {self.told_of_target}")
        if self.told_of_missed:
            costs.append(f"limits    {self.told_of_missed}")
        short = _span(map(_seconds, sorted((plan.small_s, plan.large_s))))
        left_s = None if self.left_s is None else min(self.left_s, times.total_s)  # fewer trials where networks run out
        still = " from now on" if left_s is None else f", {_minutes(left_s)} left"
        return "\n".join(
            [
                f"space     {amount(self.networks, 'network')}",
                *costs,
                f"short     {amount(self.short_epochs, 'epoch')} for each network, {short} s: "
                f"{_minutes(60 * self.short_minutes)} for {self.trials}",
                f"shared    {amount(plan.shared_epochs, 'epoch')} once for all, then {_seconds(plan.shared_trial_s)} s "
                f"for each: {_minutes(60 * self.shared_minutes)} for {self.trials}",
                f"judged    by {'shared weights' if plan.evaluator == 'shared' else 'short training'}, on "
                f"{plan.proxy_share:.0%} of the training images at {plan.input_size} px",
                f"trials    about {self.trials}",
                f"time      {', '.join(stages)}; together {_minutes(times.total_s)}{still}",
            ]
        )


def forecast(searching: Searching, stop: Stop = lambda: False, *, tell: Telling = lambda text: None) -> Forecast:
    """Time a small and a large network and foresee the whole search; nothing is left behind.

    ``tell`` hears of each step. Raises what the search itself would: SettingsError when the minutes are too few,
    SearchError when its storage or its cluster is away.
    """
    searching = searching.with_home()
    _require_what_it_needs(searching)
    # a table that is all there is to price networks is measured here too
    steers_only = searching.profile and searching.latency == "measured" and not searching.latency_table
    table_s = _rounds_s(searching) if searching.needs_latency and steers_only else 0.0
    with tempfile.TemporaryDirectory(prefix="mnasnet-search-") as folder:
        unprofiled = replace(searching, profile=False)
        search = prepared(unprofiled, SearchFolder(Path(folder)), tell=tell, stop=stop, spent_s=table_s)
        try:
            return forecast_of(search)
        finally:
            search.close()


def forecast_of(search: OpenSearch) -> Forecast:
    """What a prepared search will take."""
    networks = search.problem.space.count_networks()
    asked = replace(search.searching, trials=min(search.searching.trials, networks))
    times = timetable(asked, search.plan, spent_s=search.folder.prepared_s)
    trials = round(times.search_s * asked.workers / max(search.plan.trial_s, 1e-9))
    trials = min(trials, asked.trials or trials, networks)
    return Forecast(
        networks=networks,
        plan=search.plan,
        times=times,
        trials=trials,
        short_epochs=asked.proxy_epochs,
        workers=asked.workers,
        costs=_costs(search),
        latency_is_measured=asked.latency == "measured",
        missed=tuple(_missed(search.problem, search.plan.input_size)),
        above_target=asked.reward_function.explain_above(),
        target=_target(search.problem),
    )


def _missed(problem: SearchProblem, input_size: int) -> Iterator[Missed]:
    """What the smallest network misses; nothing where its costs cannot be told, as the trials will say."""
    bounds = {name: (limit, True) for name, limit in problem.limits.items()}
    if problem.reward is not None and not problem.reward.ignores_target:
        bounds.setdefault(problem.reward_cost, (problem.reward.target, False))
    smallest, _ = cheapest_and_dearest(problem.space, input_size)
    with contextlib.suppress(LatencyError):
        for name, (bound, is_limit) in bounds.items():
            cost = float(problem.meters[name].measure(smallest))
            if cost > bound:
                yield Missed(name, cost, bound, is_limit)


def _target(problem: SearchProblem) -> tuple[str, float] | None:
    """The cost that is aimed at, and the aim; None where there is none, or where one too large says something too."""
    reward = problem.reward
    if reward is None or reward.ignores_target or reward.form == "absolute":
        return None
    return problem.reward_cost, reward.target


def _costs(search: OpenSearch) -> dict[str, tuple[float, float]]:
    """Latency and what the target is about, of the smallest and the largest network; nothing that cannot be told."""
    small, large = cheapest_and_dearest(search.problem.space, search.plan.input_size)
    found = {}
    for name in dict.fromkeys((LATENCY, search.searching.reward_cost)):
        meter = search.problem.meters.get(name)
        with contextlib.suppress(LatencyError):  # the trials say so
            if meter is not None:
                found[name] = (float(meter.measure(small)), float(meter.measure(large)))
    return found


def begin(searching: Searching, *, tell: Telling, stop: Stop) -> SearchFolder:
    """Make a new search folder with everything decided; a start that fails or is stopped leaves none."""
    require_guard()
    searching = searching.with_home()
    _require_what_it_needs(searching)
    if "://" in searching.storage:
        open_storage(searching.storage)  # which makes its tables
    name = searching.name or searching.data.absolute().name
    folder = new_search_folder(searching.output_folder, name, data=searching.data)
    try:
        search = prepared(searching, folder, tell=tell, stop=stop)
        search.close()
    except BaseException:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise
    return folder


def _require_what_it_needs(searching: Searching) -> None:
    """Raise what is wrong with settings and data, or away, before anything is made, measured or trained."""
    searching.open_space()
    scan(searching.data)
    require_place_of_search(searching.output_folder, data=searching.data)
    if searching.storage:
        require_storage(searching.storage)
    if searching.cost == "energy":
        open_counter()
    if searching.ray:
        from mnasnet.search.cluster import require_cluster  # the optional package ray

        require_cluster(searching.ray)


def prepared(
    searching: Searching,
    folder: SearchFolder,
    *,
    tell: Telling = lambda text: None,
    stop: Stop = lambda: False,
    spent_s: float = 0.0,
    clock: Callable[[], float] = time.monotonic,
) -> OpenSearch:
    """Decide everything and write it into ``folder``; ``spent_s`` seconds of the minutes are gone already.

    Raises SettingsError when the minutes are too few for these images on this machine.
    """
    began = clock() - spent_s
    space = searching.open_space()
    dataset = scan(searching.data)
    parts = divide(
        dataset,
        val_fraction=searching.val_fraction,
        test_fraction=searching.test_fraction,
        seed=searching.seed,
        grouping=searching.grouping,
    )
    plan = _first_plan(searching, dataset, parts, space)
    write_split(parts, folder.split, searching.data)
    write_classes(folder.classes, parts.class_names)
    write_atomic(folder.space, json.dumps(space.to_dict(), indent=1).encode())
    _bring_table(searching, folder)
    measuring = searching if folder.table.exists() else replace(searching, latency="measured")  # until there is a table
    search = assemble(folder, measuring, plan, dataset, parts, stop=stop)
    try:
        if searching.needs_latency and search.table is not None:
            require_table_of_classes(search.table, len(parts.class_names))
            _require_prices(search, search.table)
            _warn_of(search.table)
        wants_table = searching.needs_latency and (searching.profile or searching.latency == "table")
        if wants_table and search.table is None and _make_table(search, searching, tell=tell, stop=stop):
            search.close()
            search = assemble(folder, searching, plan, dataset, parts, stop=stop)
        if searching.needs_latency and (searching.latency == "measured" or searching.latency_table):
            tell("measuring a first network")
            first = _first_latency(search)  # a device that is away is told at once
            if search.table is not None:
                require_table_of_device(search.table, first)
        small, large = typical_candidates(space, search.problem, input_size=plan.input_size, seed=searching.seed)
        tell("timing a small and a large network")
        speeds = timed(search.training, small, large)
        plan = with_speeds(replace(plan, proxy_share=chosen_share(searching, parts, speeds)), searching, parts, speeds)
        plan = replace(plan, read_s=round(seconds_to_read(search.images), 2))
        times = shared_times(search.training, space, curriculum_of(searching), speeds)
        plan = with_shared(plan, searching, space, times, images=len(parts.train), spent_s=clock() - began)
        spent_s = round(clock() - began, 1)
        require_time(searching, plan, spent_s=spent_s)
        folder.write_state(prepared_s=spent_s, seconds=spent_s)
        write_yaml(folder.arguments, {"kind": KIND, "asked": searching.to_dict(), "made_of_it": plan.to_dict()})
    except SearchStopped:
        raise SearchError("stopped before the first trial; nothing is left behind, start again") from None
    finally:
        search.close()  # also of what failed: its measuring process would live as long as this one
    return assemble(folder, searching, plan, dataset, parts, stop=stop)


def _first_plan(searching: Searching, dataset: Dataset, parts: Split, space: SearchSpace) -> Plan:
    device = "cuda" if searching.device != "cpu" and has_cuda() else "cpu"
    if searching.device == "cuda" and device != "cuda":
        raise SettingsError("device cuda was asked for but torch sees no GPU; set device to auto or cpu")
    short_side = typical_short_side(dataset.folder, parts.train)
    size = space.input_sizes[0] if space.input_sizes else searching.input_size
    return Plan(
        class_names=parts.class_names,
        short_side=short_side,
        input_size=preprocess_for(size, short_side, device=device).input_size,
        proxy_share=searching.proxy_share or 1.0,
        threads=searching.train_threads or max(1, usable_cores() // searching.workers),
        device=device,
        study=f"search-{secrets.token_hex(4)}" if searching.storage else "search",
        small_s=0.0,
        large_s=0.0,
        epoch_s=0.0,
        version=mnasnet.__version__,
    )


def _bring_table(searching: Searching, folder: SearchFolder) -> None:
    """Copy the user's table, so that the search stays what it is when that file changes."""
    if searching.latency_table:
        LatencyTable.load(Path(searching.latency_table)).save(folder.table)


def _require_prices(search: OpenSearch, table: LatencyTable) -> None:
    """Raise LatencyError where the user's table lacks the smallest network of the space, at any of its input sizes."""
    smallest, _ = cheapest_and_dearest(search.problem.space, search.plan.input_size)
    for size in search.problem.space.input_sizes or (search.plan.input_size,):
        table.predict_ms(smallest.architecture, size)


def _warn_of(table: LatencyTable) -> None:
    if table.distrust:
        _log.warning("do not trust the latency table of %s: %s", table.conditions.measured_on, table.distrust)


def _first_latency(search: OpenSearch) -> Latency:
    """The smallest network's, measured on the device and remembered."""
    smallest, _ = cheapest_and_dearest(search.problem.space, search.plan.input_size)
    meter = RememberingMeter(search.device_meter, search.folder.latencies)
    return meter.measure(smallest.architecture, smallest.input_size or search.plan.input_size)


def _make_table(search: OpenSearch, searching: Searching, *, tell: Telling, stop: Stop) -> bool:
    """Measure the device's table and say how far it can be trusted.

    False where the time does not hold it, or a device drops out of one that would only steer.
    """

    def watch(done: int, total: int) -> None:
        if stop():
            raise SearchStopped
        if done == 1 or done % 25 == 0:
            tell(f"measuring the device: {done} of {total} timings of pieces and networks")

    try:
        table = profiled(
            search.problem.space,
            search.device_meter,
            search.plan.input_size,
            most_seconds=math.inf if searching.latency == "table" else _table_limit_s(searching),
            rounds_s=_rounds_s(searching),
            made_on=datetime.date.today().isoformat(),
            seed=searching.seed,
            progress=watch,
        )
    except NotAllowedError:
        raise
    except LatencyError as failure:
        if searching.latency == "table":
            raise LatencyError(
                f"{failure}; `python -m mnasnet profile` makes the table too and goes on where it was stopped: give "
                "its file as latency_table"
            ) from failure
        _log.warning("%s; the search goes without a table of the device", failure)
        return False
    if table is not None:
        table.save(search.folder.table)
        error = table.error.sentence if table.error else "error unknown, too few networks were measured whole"
        tell(f"table of the device: {len(table.piece_ms)} pieces, {error}")
        _warn_of(table)
    return table is not None


def _table_limit_s(searching: Searching) -> float:
    """How long the table may take where it only speeds up the search."""
    return TABLE_SHARE * 60 * searching.minutes or TABLE_S


def _rounds_s(searching: Searching) -> float:
    """How long its further rounds may take, which make it more exact: longer where it is all that prices networks."""
    limit_s = _table_limit_s(searching)
    return limit_s if searching.latency == "table" else min(TABLE_S, limit_s)


def _span(ends: Iterable[str]) -> str:
    """Such as "12 to 33"; a single number where both ends read the same."""
    return " to ".join(dict.fromkeys(ends))


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 9.95 else f"{seconds:.1f}" if seconds >= 0.05 else "<0.1"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 600 else f"{seconds / 60:.1f} min"
