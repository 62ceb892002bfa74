"""The start of a search: look at the data, measure the device, time two trainings, decide, write it all down."""

from __future__ import annotations

import contextlib
import datetime
import logging
import math
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mnasnet
from mnasnet.data.folder import Dataset, scan
from mnasnet.data.split import Split, write_split
from mnasnet.errors import LatencyError, SearchError, SettingsError
from mnasnet.files import is_full
from mnasnet.latency.energy import open_counter
from mnasnet.latency.meter import Latency, NotAllowedError
from mnasnet.latency.table import LatencyTable
from mnasnet.machine import usable_cores
from mnasnet.network.count import count
from mnasnet.preprocess import MIN_INPUT_SIZE
from mnasnet.progress import Stop
from mnasnet.runtime.session import has_cuda
from mnasnet.search.costs import ENERGY, LATENCY
from mnasnet.search.curriculum import cheapest_and_dearest
from mnasnet.search.device import profiled, require_meter_device
from mnasnet.search.folder import SearchFolder, new_search_folder, require_place_of_search, require_space_of_search
from mnasnet.search.forecast import Forecast, forecast_of
from mnasnet.search.images import divide
from mnasnet.search.notes import table_doubts
from mnasnet.search.open_search import (
    OpenSearch,
    assemble,
    require_table_of_classes,
    require_table_of_device,
    write_arguments,
    write_space,
)
from mnasnet.search.plan import SearchPlan, chosen_share, seconds_to_read, timed, typical_candidates, with_speeds
from mnasnet.search.searching import Searching
from mnasnet.search.shared_plan import curriculum_of, shared_times, with_shared
from mnasnet.search.stop import SearchStopped
from mnasnet.search.storage import open_storage, require_storage
from mnasnet.search.teacher import require_fair_teacher, seconds_per_answer
from mnasnet.search.timetable import require_time
from mnasnet.search.workers import require_guard
from mnasnet.space import SearchSpace
from mnasnet.train.plan import Training, in_words, preprocess_for, teacher_model, typical_short_side
from mnasnet.train.run_folder import cannot_write, write_classes

_log = logging.getLogger(__name__)

TABLE_SHARE = 0.1  # of the minutes, at most, for the device's table where it only speeds up the search
TABLE_S = 60.0  # and so long at most where no minutes are given, or it is to become more exact
Telling = Callable[[str], None]


class NothingBegunError(SearchError):
    """A search that was stopped while it prepared: nothing of it is kept."""


def forecast(searching: Searching, stop: Stop = lambda: False, *, tell: Telling = lambda text: None) -> Forecast:
    """Time a small and a large network and foresee the whole search; nothing is left behind.

    ``tell`` hears of each step. Raises what the search itself would: SettingsError when the minutes are too few,
    SearchError when its storage or its cluster is away, NothingBegunError when it is stopped.
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
        smallest, _ = cheapest_and_dearest(searching.open_space(), MIN_INPUT_SIZE)
        parameters = count(smallest.architecture, MIN_INPUT_SIZE, num_classes=1).parameters
        require_space_of_search(folder, 4 * parameters)  # for the winner's training, perhaps hours later
        search = prepared(searching, folder, tell=tell, stop=stop)
        search.close()
    except BaseException as error:
        shutil.rmtree(folder.path, ignore_errors=True)
        if isinstance(error, OSError) and is_full(error):
            raise cannot_write(folder.path, error) from error
        raise
    return folder


def _require_what_it_needs(searching: Searching) -> None:
    """Raise what is wrong with settings and data, or away, before anything is made, measured or trained."""
    searching.open_space()
    scan(searching.data)
    require_place_of_search(searching.output_folder, data=searching.data)
    if searching.storage:
        require_storage(searching.storage)
    require_meter_device(searching)
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
) -> OpenSearch:
    """Decide everything and write it into ``folder``; ``spent_s`` seconds of the minutes are gone already.

    Raises SettingsError when the minutes are too few for these images on this machine, NothingBegunError when stopped.
    """
    began = time.monotonic() - spent_s
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
    teacher = teacher_model(Training(searching.data, teacher=searching.teacher))
    if teacher is not None:
        require_fair_teacher(searching, teacher, dataset, parts)
    write_split(parts, folder.split, searching.data)
    write_classes(folder.classes, parts.class_names)
    write_space(folder, space)
    if searching.latency_table:  # copied, so that the search stays what it is when that file changes
        LatencyTable.load(Path(searching.latency_table)).save(folder.table)
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
            tell(f"latency is that of {first.measured_on}")
            if search.table is not None:
                require_table_of_device(search.table, first)
            for doubt in table_doubts(search):
                _log.warning("%s", doubt)
            if searching.latency == "measured":
                plan = replace(plan, measure_s=round(_seconds_to_measure(search, LATENCY), 2))
        if searching.cost == "energy":
            tell("measuring the energy of a network")
            plan = replace(plan, measure_s=round(plan.measure_s + _seconds_to_measure(search, ENERGY), 2))
        small, large = typical_candidates(space, search.problem, input_size=plan.input_size, seed=searching.seed)
        tell("timing a small and a large network")
        speeds = timed(search.training, small, large)
        if teacher is not None:
            tell("timing the teacher")
            images, preprocess = len(parts.train), search.images.preprocess(plan.input_size)
            each_s = seconds_per_answer(
                teacher, preprocess, images=images, device=plan.device, threads=plan.threads, stop=stop
            )
            taught_by = in_words(searching.teacher, teacher)
            plan = replace(plan, teacher=taught_by, teacher_s=round(each_s * images, 3))
        share = chosen_share(searching, parts, speeds, measure_s=plan.measure_s)
        plan = with_speeds(replace(plan, proxy_share=share), searching, parts, speeds)
        plan = replace(plan, read_s=round(seconds_to_read(search.images), 2))
        curriculum = curriculum_of(searching)
        times = shared_times(search.training, space, curriculum, speeds, measure_s=plan.measure_s)
        plan = with_shared(plan, searching, space, times, images=len(parts.train), spent_s=time.monotonic() - began)
        spent_s = round(time.monotonic() - began, 1)
        require_time(searching, plan, spent_s=spent_s)
        folder.write_state(prepared_s=spent_s, seconds=spent_s)
        write_arguments(folder, searching, plan)
    except SearchStopped:
        raise NothingBegunError("stopped before the first trial; nothing is left behind, start again") from None
    finally:
        search.close()  # also of what failed: its measuring process would live as long as this one
    return assemble(folder, searching, plan, dataset, parts, stop=stop)


def _first_plan(searching: Searching, dataset: Dataset, parts: Split, space: SearchSpace) -> SearchPlan:
    device = "cuda" if searching.device != "cpu" and has_cuda() else "cpu"
    if searching.device == "cuda" and device != "cuda":
        raise SettingsError("device cuda was asked for but torch sees no GPU; set device to auto or cpu")
    short_side = typical_short_side(dataset.folder, parts.train)
    size = space.input_sizes[0] if space.input_sizes else searching.input_size
    return SearchPlan(
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
    return search.remembered.measure(smallest.architecture, smallest.input_size or search.plan.input_size)


def _seconds_to_measure(search: OpenSearch, cost: str) -> float:
    """How long measuring a network's ``cost`` takes, by the largest: the first waited for the device's process too."""
    _, largest = cheapest_and_dearest(search.problem.space, search.plan.input_size)
    began = time.monotonic()
    with contextlib.suppress(LatencyError):  # the trials say so
        search.problem.meters[cost].measure(largest)
    return time.monotonic() - began


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
