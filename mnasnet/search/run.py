"""A whole search: from a folder of images, a device and a budget to the best network, trained and compared."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from mnasnet.checks import is_whole, plain
from mnasnet.data.folder import scan
from mnasnet.data.split import read_split, warn_of_changed
from mnasnet.errors import RuntimeMissingError, SearchError, SettingsError
from mnasnet.files import is_full, quoted
from mnasnet.progress import Stop
from mnasnet.search import prepare
from mnasnet.search.folder import SearchFolder, open_search_folder
from mnasnet.search.longer_training import full_training_place
from mnasnet.search.notes import levelled_off
from mnasnet.search.open_search import OpenSearch, opened, read_arguments, require_same_device, write_arguments
from mnasnet.search.prepare import forecast
from mnasnet.search.progress import Progress, SearchListener, audience_of
from mnasnet.search.ranking import recorded
from mnasnet.search.records import TrialRecord, nothing_found, records
from mnasnet.search.results import NothingFoundError, SearchedRun, winning_trial
from mnasnet.search.searching import Searching
from mnasnet.search.sitting import Sitting, told_without_storage
from mnasnet.search.stage_ranking import ranking_stage
from mnasnet.search.stage_search import search_stage
from mnasnet.search.stage_training import TrainingStages
from mnasnet.search.stop import SearchStopped, stopping
from mnasnet.search.storage import telling_of_database
from mnasnet.search.teacher import require_same_teacher
from mnasnet.search.timetable import require_time
from mnasnet.train.events import Audience
from mnasnet.train.run_folder import only_user

__all__ = [
    "NothingFoundError",
    "SearchedRun",
    "Searching",
    "extend_search",
    "forecast",
    "promote",
    "report_search",
    "resume_search",
    "run_search",
]

_log = logging.getLogger(__name__)


def run_search(
    searching: Searching, *, listeners: Iterable[SearchListener] = (), stop: Stop = lambda: False
) -> SearchedRun:
    """Search in a new run folder, train the winner and leave the answer.

    ``stop`` is asked between batches; a stopped search can be resumed. Raises SettingsError, SpecError, DataError or
    LatencyError before the search begins, and NothingFoundError, everything kept, when no network could be judged.
    """
    audience = audience_of(listeners)
    folder = prepare.begin(searching, tell=lambda text: audience.hear(Progress("preparing", 0.0, text)), stop=stop)
    audience.hear(Progress("preparing", 0.0, f"run folder: {folder.path}"))
    return _with(folder, audience, stop)


def resume_search(
    path: Path | str,
    *,
    data: Path | str | None = None,
    listeners: Iterable[SearchListener] = (),
    stop: Stop = lambda: False,
) -> SearchedRun:
    """Go on with a search that was stopped or killed; with one worker as if it had not been.

    ``data`` is where its images lie now, which counts for everything later too. A search that is done only makes its
    answer again. Raises SearchError on another machine than the one that measured latency so far, and DataError
    where the images are not those of the search.
    """
    if data is not None:
        _move_images(open_search_folder(path), Path(data))
    folder = _to_go_on(path)
    if folder.read_state().get("status") == "done":
        _log.info(
            "this search is done, so its answer alone is made again; to search on, also for an extension that was "
            "killed before it began: python -m mnasnet extend %s --trials N",
            quoted(folder.path),
        )
    return _with(folder, audience_of(listeners), stop)


def _move_images(folder: SearchFolder, data: Path) -> None:
    searching, plan = read_arguments(folder)
    moved = replace(searching, data=data).with_home()
    read_split(folder.split, scan(moved.data))
    with only_user(folder.as_run):
        write_arguments(folder, moved, plan)


@telling_of_database()
def extend_search(
    path: Path | str,
    *,
    trials: int = 0,
    minutes: float = 0.0,
    listeners: Iterable[SearchListener] = (),
    stop: Stop = lambda: False,
) -> SearchedRun:
    """Search on for so many trials or minutes more, then choose finalists anew and a winner among all that there were.

    Trainings that exist already are not repeated; published networks that its minutes left out stay out of an extension
    by trials. Warns when the last third of the trials brought hardly a gain. Raises SearchError on another machine, as
    :func:`resume_search` does, and for a search that has trials or minutes left.
    """
    if trials <= 0 and minutes <= 0:
        raise SettingsError(f"extend needs trials or minutes above 0, got {trials} and {minutes:g}")
    folder = _to_go_on(path)
    with only_user(folder.as_run):
        _let_go_on(folder, trials, minutes)
        return _work(folder, audience_of(listeners), stop)


def _let_go_on(folder: SearchFolder, trials: int, minutes: float) -> None:
    """Write down that the search has so many trials or minutes more."""
    with opened(folder.path, with_device=False) as old:
        require_same_device(old)
        require_same_teacher(old.searching, old.plan)
        found = records(old.study())
        is_checked = len(recorded(folder.ranking)) >= min(
            old.searching.check_ranking, old.problem.space.count_networks()
        )
    state = folder.read_state()
    if state.get("status", "running") in ("running", "stopped") and not state.get("search_over"):
        raise SearchError(
            f"the search in {folder.path} has not spent its trials or minutes yet; let `python -m mnasnet resume "
            f"{quoted(folder.path)}` go on with it first"
        )
    warning = levelled_off(found)
    if warning:
        _log.warning("%s; extending it is not likely to pay", warning)
    searching, plan = read_arguments(folder)
    spent_s = float(state.get("seconds", 0.0))
    judged = sum(record.was_judged for record in found)
    is_done = state.get("status") == "done"
    longer = replace(
        searching,
        trials=judged + trials if trials else 0,
        minutes=spent_s / 60 + minutes if minutes else 0.0,
        # what the first part's minutes left out stays out where none end the extension
        references=searching.references and (minutes > 0 or not is_done or bool(state.get("references"))),
        # the answer keeps the networks of a check that is over, which takes none of the further minutes
        check_ranking=0 if is_checked else searching.check_ranking,
        # trainings of the first part stay comparable, and need not be repeated
        finalist_epochs=int((state.get("finalists") or {}).get("epochs", searching.finalist_epochs)),
        final_epochs=int((state.get("final") or {}).get("epochs", searching.final_epochs)),
    )
    trained = replace(plan, shared_epochs=0)  # shared weights are
    require_time(replace(longer, minutes=minutes), trained, extends=True)
    prepared_s = spent_s - plan.supernet_s
    write_arguments(folder, longer, plan)
    folder.write_state(
        finalists=None,
        final=None,
        previous_final=folder.final if folder.model.exists() else None,
        references=None,
        search_over=False,
        status="running",
        prepared_s=prepared_s,
    )


@telling_of_database()
def promote(
    path: Path | str,
    trial: int | None = None,
    *,
    epochs: int = 0,
    references: bool = False,
    listeners: Iterable[SearchListener] = (),
    stop: Stop = lambda: False,
) -> SearchedRun:
    """Train any trial of a search fully, the winner without a number; the search's own winner stays what it is.

    The answer's ``promoted`` is the model file.

    ``epochs`` 0 takes the winner's. With ``references`` the published networks are trained too, at this trial's cost.
    In place of a trial that repeats another one that one is trained, and a trial above a limit of the search all the
    same; both are told first, and the limit by the answer's notes too. Raises SearchError for a trial that has no
    network, and on another machine, as :func:`resume_search` does.
    """
    wanted = plain(epochs)
    if not is_whole(wanted):
        raise SettingsError(f"epochs must be a whole number, got {epochs!r}")
    number = plain(trial)
    if number is not None and not is_whole(number):
        raise SettingsError(f"trial must be a whole number, got {trial!r}")
    folder = _to_go_on(path)
    audience = audience_of(listeners)
    with only_user(folder.as_run), opened(folder.path, stop=stop) as here:
        require_same_device(here)
        sitting = Sitting(here, audience, stop, is_promotion=True)
        training = TrainingStages(sitting)
        found = {record.number: record for record in records(here.study())}
        record = _winner_of(here, list(found.values())) if number is None else found.get(number)
        if record is None or not record.fingerprint:
            which = f"{number}" if record is None else f"{number}, which has no network yet"
            raise SearchError(f"trial must be a finished trial of this search, 0 to {len(found) - 1}, got {which}")
        record = _told_first(record, found)
        epochs = wanted or training.final_epochs()
        promoted = full_training_place(here, record.number, epochs).run.best
        state = folder.read_state()
        status, reason = state.get("status", "stopped"), state.get("reason", "a trial was promoted")
        try:
            model = training.train_fully(record, epochs)
            if references:
                training.train_references(record, model, epochs)
        except SearchStopped:  # the search itself stays what it is
            told, why = sitting.told(status, reason), "stopped on request; the same promotion goes on from there"
            return replace(told, status="stopped", reason=why, promoted=promoted)
        return replace(sitting.answered(status, reason), promoted=promoted)


def _winner_of(here: OpenSearch, found: list[TrialRecord]) -> TrialRecord:
    """The trial that the answer calls the winner; raises SearchError where none has finished."""
    best = winning_trial(here, found)
    if best is None:
        raise SearchError(nothing_found(found, here.problem))
    return best


def _told_first(record: TrialRecord, found: Mapping[int, TrialRecord]) -> TrialRecord:
    """The trial to train for ``record``; what its user may not know is said before hours are spent on it."""
    first = record if record.duplicate_of is None else found.get(record.duplicate_of, record)
    if not first.fingerprint:  # a kill interrupted the other one
        first = record
    if first is not record:
        _log.warning(
            "trial %d repeats trial %d, so trial %d is trained: it is the same network",
            record.number,
            first.number,
            first.number,
        )
    if first.state == "infeasible":
        _log.warning(
            "trial %d is above a limit of this search (%s); it is trained all the same", first.number, first.reason
        )
    return first


@telling_of_database()
def report_search(path: Path | str) -> SearchedRun:
    """Make the answer's files again from what the folder holds, also after a kill; device and images may be away.

    Where the trials' storage is gone or away they come from ``trials.csv``. Raises SearchError when that is gone too,
    or the folder cannot be written to.
    """
    folder = open_search_folder(path)
    with _written_to(folder), opened(folder.path, with_device=False, with_images=False) as here:
        state = folder.read_state()
        status, reason = state.get("status", "running"), state.get("reason", "")
        try:
            sitting = Sitting(here, audience_of(()), lambda: False)
        except (SearchError, RuntimeMissingError) as error:
            return told_without_storage(here, status, reason, error)
        return sitting.told(status, reason)


@contextlib.contextmanager
def _written_to(folder: SearchFolder) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        cure = "make room" if is_full(error) else "give it write access, or report on a copy of it"
        raise SearchError(f"{folder.path} cannot be written to ({error.strerror or error}); {cure}") from error


def _to_go_on(path: Path | str) -> SearchFolder:
    folder = open_search_folder(path)
    warn_of_changed(folder.split, read_arguments(folder)[0].data)
    return folder


def _with(folder: SearchFolder, audience: Audience[Progress], stop: Stop) -> SearchedRun:
    with only_user(folder.as_run):
        return _work(folder, audience, stop)


@telling_of_database()
def _work(folder: SearchFolder, audience: Audience[Progress], stop: Stop) -> SearchedRun:
    with opened(folder.path, stop=stop, filling=stopping(stop)) as here:
        state = folder.read_state()
        if state.get("status") != "done":
            require_same_device(here)
        if not state.get("search_over"):  # hours before a longer training would miss it
            require_same_teacher(here.searching, here.plan)
        return _all_stages(Sitting(here, audience, stop))


def _all_stages(sitting: Sitting) -> SearchedRun:
    """The stages in order; what a stage decides is written down before it begins, and one that is over is left out."""
    searching, training = sitting.here.searching, TrainingStages(sitting)
    sitting.folder.write_state(status="running", reason="")
    try:
        reason = search_stage(sitting)
        chosen, model = training.choose_and_train()
        if searching.references:
            training.train_references(chosen, model, training.final_epochs(), most_s=sitting.left_s)
        if searching.check_ranking:
            ranking_stage(sitting)
    except SearchStopped:
        return sitting.answered("stopped", "stopped on request; resume goes on")
    return sitting.answered("done", reason)
