"""The first stage: shared weights where they judge, then networks judged until the budget is spent."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import optuna

from mnasnet.data.check import examine
from mnasnet.data.report import as_text, write_report
from mnasnet.search.forecast import forecast_of
from mnasnet.search.monitor import TrialMonitor
from mnasnet.search.notes import table_doubts
from mnasnet.search.progress import EpochListener, Stage
from mnasnet.search.records import TrialRecord, nothing_found, records
from mnasnet.search.results import NothingFoundError
from mnasnet.search.selection import best_trials
from mnasnet.search.sitting import Sitting
from mnasnet.search.stop import SearchStopped, stopping
from mnasnet.search.study import Budget, Ending, all_tried, search
from mnasnet.search.study_flags import set_over
from mnasnet.search.timetable import LEAST_TRIALS, MARGIN
from mnasnet.search.workers import search_with_workers
from mnasnet.space import SearchSpace
from mnasnet.words import amount

_log = logging.getLogger(__name__)

MOST_IDLE_MEASURED = 300  # proposals without an evaluation, where each costs a measurement
MOST_IDLE_COUNTED = 1000
LEAST_IDLE, IDLE_PER_TRIAL = 60, 10  # who asks for few trials does not wait for hundreds of proposals
IDLE_PER_COMBINATION = 4  # in a small space most have been met by then


def search_stage(sitting: Sitting) -> str:
    """Search until the budget is spent, and say why it ended; raises SearchError when nothing was found."""
    state = sitting.folder.read_state()
    if state.get("search_over"):
        return str(state.get("search_ended", ""))
    here = sitting.here
    study = here.study()
    left_s = _go_on(sitting, records(study))
    foreseen = replace(forecast_of(here), left_s=left_s)
    for line in foreseen.text.splitlines():
        sitting.tell("forecast", 0.0, line, left_s)
    _look_at_images(sitting)
    if not foreseen.is_hopeless:  # trials then find the nearest network, but it is no use to train weights for them
        _train_shared_weights(sitting, left_s)
    found = records(study)
    limit_s = _limit_s(sitting, found)
    monitor = _monitor(sitting, found, limit_s)
    set_over(study, False)
    ending = _run(sitting, study, monitor, limit_s)
    monitor.tell_repeats()
    if ending == "stopped" and not monitor.hopeless:
        raise SearchStopped
    set_over(study, True)
    found = records(study)
    if not best_trials(found, here.searching, 1):
        _give_up(sitting, found)
    reason = {
        "budget": "the trials are spent",
        "time": "the time for searching is used up",
        "exhausted": _exhausted(here.problem.space, found),
        "stopped": monitor.hopeless,
    }[ending]
    sitting.folder.write_state(search_over=True, search_ended=reason)
    return reason


def _go_on(sitting: Sitting, found: Sequence[TrialRecord]) -> float | None:
    """Let progress begin with what earlier sittings did; the seconds left, None where this is the first."""
    if found:
        share, left_s = _monitor(sitting, found, _limit_s(sitting, found)).standing
        sitting.begin_at("searching", share)
        return left_s
    supernet_s = sitting.times.supernet_s
    if not supernet_s or not sitting.here.folder.supernet.holds_any:
        return None
    trained_s = min(sitting.spent_s - sitting.folder.prepared_s, supernet_s)  # as far as the clock knows
    sitting.begin_at("supernet", trained_s / supernet_s)
    return sitting.times.total_s - trained_s


def _monitor(sitting: Sitting, found: Sequence[TrialRecord], limit_s: float) -> TrialMonitor:
    return TrialMonitor(
        sitting.here,
        found,
        limit_s=limit_s,
        later_s=sitting.times.after_search_s,
        tell=partial(sitting.tell, "searching"),
        stop=sitting.stop,
    )


def _first_stage(sitting: Sitting) -> Stage:
    return "searching" if sitting.here.shared is None else "supernet"


def _look_at_images(sitting: Sitting) -> None:
    """Decode them before the first trial; the first time say what of them would spoil a training."""
    here, images = sitting.here, sitting.here.images
    train = images.train()
    if here.folder.as_run.dataset_report.exists():
        return
    val = images.val(here.searching.proxy_input_size or here.plan.input_size)
    decoded = {"val": val.cache, **({"train": train.cache} if images.share >= 1 else {})}
    sitting.tell(_first_stage(sitting), 0.0, f"looking at {len(here.parts.samples)} images")
    found = examine(
        here.dataset,
        here.parts,
        max_bad=here.searching.max_bad,
        decoded=decoded,
        threads=here.plan.threads,
        progress=stopping(sitting.stop),
    )
    found.require_usable()
    images.leave_out(frozenset(file.path for files in found.unreadable.values() for file in files))
    write_report(found, here.folder.path)
    _log.info("%s", as_text(found))


def _train_shared_weights(sitting: Sitting, left_s: float | None) -> None:
    """Train them to the end, where they judge; raises SearchStopped when asked to stop."""
    shared = sitting.here.shared
    if shared is None:
        return
    sitting.tell("supernet", 0.0, f"training the shared weights: {amount(shared.epochs, 'epoch')}", left_s)

    def heard(epoch: int, accuracy: float) -> None:
        text = f"shared weights: epoch {epoch} of {shared.epochs}, largest network {accuracy:.1%}"
        sitting.tell("supernet", epoch / shared.epochs, text)

    shared.train([EpochListener(heard)])


def _limit_s(sitting: Sitting, found: Sequence[TrialRecord]) -> float:
    """The seconds for trials: what later stages leave, but always enough for some trials."""
    later_s = sitting.times.after_search_s - sitting.times.ranking_s  # which left_s leaves out already
    lacking = LEAST_TRIALS - sum(record.was_judged for record in found)
    least_s = lacking * sitting.here.plan.trial_s / sitting.here.searching.workers
    unfinished_s = sitting.here.plan.trial_s / 2  # what the last trial is likely to take too long
    return max(sitting.left_s - later_s / MARGIN - unfinished_s, least_s, 0.0)


def _run(sitting: Sitting, study: optuna.Study, monitor: TrialMonitor, limit_s: float) -> Ending:
    asked = sitting.here.searching
    if not limit_s:
        return "time"
    most_idle = MOST_IDLE_MEASURED if asked.needs_latency and asked.latency == "measured" else MOST_IDLE_COUNTED
    idle = min(most_idle, IDLE_PER_COMBINATION * sitting.here.problem.space.size)
    if asked.trials:
        idle = min(idle, max(LEAST_IDLE, IDLE_PER_TRIAL * asked.trials))
    budget = Budget(
        evaluations=asked.trials or None, minutes=limit_s / 60 if limit_s < float("inf") else None, max_idle=idle
    )
    hooks: Any = {"on_trial": monitor.hear, "should_stop": monitor.should_stop}
    factory = replace(sitting.here.evaluator_factory, unreadable=sitting.here.images.unreadable)
    if asked.ray:
        from mnasnet.search.cluster import search_on_cluster  # the optional package ray

        return search_on_cluster(
            factory,
            study,
            sitting.here.problem,
            budget,
            address=asked.ray,
            cpus=asked.ray_cpus,
            gpus=asked.ray_gpus,
            **hooks,
        )
    if asked.workers > 1:
        threads = sitting.here.plan.threads
        return search_with_workers(
            factory, study, sitting.here.problem, budget, workers=asked.workers, threads=threads, **hooks
        )
    return search(study, sitting.here.problem, budget, **hooks)


def _exhausted(space: SearchSpace, found: Sequence[TrialRecord]) -> str:
    tried = {record.fingerprint for record in found if record.state in ("done", "pruned", "infeasible")}
    if all_tried(space, tried):
        all_of_them = f"all {len(tried):,} networks of the space were tried"
        return all_of_them if len(tried) > 1 else "the only network of the space was tried"
    return "no new network within the limits turned up any more"


def _give_up(sitting: Sitting, found: Sequence[TrialRecord]) -> None:
    """Say truthfully that there is no answer, keep everything and raise SearchError."""
    failed = [record for record in found if record.state == "failed"]
    infeasible = any(record.state == "infeasible" for record in found)
    if failed:
        text = f"all {len(failed)} networks that were judged failed; the last reason: {failed[-1].reason}"
    else:
        text = nothing_found(found, sitting.here.problem)
        asked = sitting.here.searching
        if infeasible and asked.needs_latency and asked.latency == "table":
            text = "; ".join((text, "latencies are prices of the table", *table_doubts(sitting.here)))
    searched = sitting.answered("infeasible" if infeasible and not failed else "failed", text)
    raise NothingFoundError(f"{text}; all trials are kept in {sitting.folder.path}", searched)
