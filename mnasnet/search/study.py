"""The search itself: propose a network, price it, judge it if it may be judged, tell the study.

The study is Optuna's own object and its storage the only memory: whatever a search knows can be read back
from there, so a killed search goes on and several processes can work on one study.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.storages._heartbeat import BaseHeartbeatThread, get_heartbeat_thread
from optuna.trial import FrozenTrial, TrialState

from mnasnet.checks import is_number, make_plain, plain
from mnasnet.errors import DataError, LatencyError, SearchError
from mnasnet.progress import Stop
from mnasnet.search.categorical import categories_of
from mnasnet.search.costs import above_limit
from mnasnet.search.history import OUTCOME, outcome_of
from mnasnet.search.journal import GRACE_BEATS, HEARTBEAT_S, RETRIES
from mnasnet.search.problem import RewardError, SearchProblem, priced
from mnasnet.search.records import State, TrialRecord, record_of, records
from mnasnet.search.samplers import make_sampler
from mnasnet.search.storage import open_storage
from mnasnet.search.study_flags import is_over, joined_at
from mnasnet.search.verdict import Verdict, judge
from mnasnet.space import Candidate, Option, SearchSpace
from mnasnet.words import amount

Ending = Literal["budget", "time", "exhausted", "stopped"]

_log = logging.getLogger(__name__)

_OPTUNA_STATES: dict[State, TrialState] = {
    "done": TrialState.COMPLETE,
    "infeasible": TrialState.PRUNED,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "unmeasured": TrialState.FAIL,
}

_PROBLEM = "problem"

MOST_FAILURES = 10  # in a row from the first trial on: then it is not the networks
POLL_S = 0.2  # how often a search that waits looks whether it should stop
MOST_SILENT = round(1.5 * GRACE_BEATS * HEARTBEAT_S / POLL_S)  # looks, by when those who show that they live are known

MOST_LISTED = 4096  # combinations of a space whose networks are listed, to see whether all of them were tried


@dataclass(frozen=True, slots=True)
class Budget:
    """When a search stops: after so many evaluations of accuracy in the whole study, or so many minutes of this run.

    Networks above a limit, repeated ones and those without a measurement are not evaluations. A space is exhausted when
    all its networks were tried; a large one counts as exhausted after ``max_idle`` proposals in a row without an
    evaluation.
    """

    evaluations: int | None = None
    minutes: float | None = None
    max_idle: int = 1000

    def __post_init__(self) -> None:
        make_plain(self)
        if self.evaluations is None and self.minutes is None:
            raise SearchError("a search needs a budget: a number of evaluations, minutes or both")
        for name, least in (("evaluations", 1), ("minutes", 0), ("max_idle", 1)):
            value = getattr(self, name)
            if value is not None and not (is_number(value) and value >= least):
                raise SearchError(f"{name} must be a number from {least} on, got {value!r}")


@dataclass
class InVain:
    """Counts networks of the space that could not be judged or measured, until one is."""

    count: int = 0

    def hear(self, record: TrialRecord) -> None:
        """Take notice of a trial that is settled."""
        if record.state == "done":
            self.count = 0
        elif record.state in ("failed", "unmeasured") and record.fingerprint:
            self.count += 1

    @property
    def told(self) -> str:
        """A sentence once they are so many that, where no other worked, it is not the networks; "" before."""
        return f"the first {self.count} networks could not be judged or measured" if self.count >= MOST_FAILURES else ""


@dataclass(frozen=True)
class Proposal:
    """A trial that waits for its accuracy: priced, within all limits and not evaluated before."""

    trial: optuna.Trial
    candidate: Candidate
    costs: Mapping[str, float]
    started: float  # seconds of the search's clock
    priced: float  # and when its costs were known


def create_study(
    problem: SearchProblem,
    *,
    algorithm: str = "guided",
    seed: int = 0,
    name: str = "search",
    storage: optuna.storages.BaseStorage | str | Path | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:
    """A new study of ``problem``, or the one called ``name`` in ``storage`` to go on with.

    ``storage`` is the path of a journal file, a database URL or one of Optuna's storages; None keeps the study in
    memory. Raises SearchError when the stored study searched another problem or used another algorithm or seed.
    """
    study = optuna.create_study(
        study_name=name,
        storage=open_storage(storage) if isinstance(storage, str | Path) else storage,
        sampler=make_sampler(algorithm, problem, seed=seed),
        pruner=pruner or optuna.pruners.NopPruner(),
        directions=list(problem.directions),
        load_if_exists=True,
    )
    identity = problem.fingerprint() | {"algorithm": algorithm, "seed": plain(seed)}
    stored = study.user_attrs.get(_PROBLEM)
    if stored is None:
        with _no_advice():  # Optuna calls names of values experimental
            study.set_metric_names(["reward" if problem.reward else "accuracy", *problem.objectives])
        study.set_user_attr(_PROBLEM, identity)  # last: a kill before leaves the names to the next call
    else:
        _require_made_with(study, identity)
    return study


def _require_made_with(study: optuna.Study, identity: Mapping[str, object]) -> None:
    """Raise SearchError where ``study`` says that it was made with other values than those of ``identity``."""
    stored = study.user_attrs.get(_PROBLEM, identity)
    different = [key for key in identity if stored.get(key) != identity[key]]
    if different:
        raise SearchError(
            f"study {study.study_name!r} was made with another {', '.join(different)}; "
            "go on with the same settings or choose another name"
        )


def _require_made_for(study: optuna.Study, problem: SearchProblem) -> None:
    """Raise SearchError for a study of another problem, whose values would be compared with this one's."""
    directions = [direction.name.lower() for direction in study.directions]
    if directions != list(problem.directions):
        raise SearchError(
            f"study {study.study_name!r} is to {', '.join(directions)} and the problem to "
            f"{', '.join(problem.directions)}; make it with create_study"
        )
    _require_made_with(study, problem.fingerprint())


class Search:
    """The steps of a search, one trial at a time; a loop, a pool or a cluster calls them.

    Not shared between threads: each process that works on the study has its own. One of them, that which leads, may be
    ``alone`` on it until others join. From then on they show each other that they are alive: trials of one that died
    are marked as failed and their networks proposed once more. Close it to leave trials in work to the others.

    Raises SearchError for a study that was made for another problem.
    """

    def __init__(
        self,
        study: optuna.Study,
        problem: SearchProblem,
        *,
        alone: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _require_made_for(study, problem)
        self.study = study
        self.problem = problem
        self._alone = alone
        self._clock = clock
        self._has_helpers = not alone
        self._in_work: dict[int, optuna.Trial] = {}
        self._left: set[int] = set()  # by a killed process, for this one to take up
        self._beats: dict[int, BaseHeartbeatThread] = {}  # of the trials in work, where others must know of them
        self._first: dict[str, FrozenTrial] = {}  # the trial that settled each network
        self._failures: Counter[str] = Counter()  # judgements that failed, by network
        self._read: set[int] = set()
        self._has_read = False
        self._is_sampler_done = False
        self._evaluations = 0
        self._in_vain = InVain()

    def evaluations(self) -> int:
        """How many networks had their accuracy judged, finished, pruned or failed, in the whole study."""
        self._read_finished()
        return self._evaluations

    def has_tried_all(self, in_work: int = 0) -> bool:
        """Whether every network of the space is settled, or one of the ``in_work`` that are judged now.

        Also when the study's sampler, such as Optuna's for grids, says that it has proposed all that it knows.
        """
        self._read_finished()
        return self._is_sampler_done or all_tried(self.problem.space, self._first, in_work)

    def require_hope(self) -> None:
        """Raise SearchError where the first networks all failed, so many that it is not they."""
        told = self._in_vain.told
        if not told:
            return
        found = records(self.study)
        if not any(record.is_result for record in found):
            reason = next(record.reason for record in reversed(found) if record.state in ("failed", "unmeasured"))
            raise SearchError(f"{told}; the last reason: {reason}; fix that and search on, the study keeps its trials")

    def propose(self, trial: optuna.Trial | None = None) -> Proposal | TrialRecord:
        """Ask for the next network (or take up ``trial``) and price it.

        Returns a Proposal to be evaluated, or the record of a trial that is settled already because it
        repeats another, cannot be measured or lies above a limit.
        """
        started = self._clock()
        trial = trial or _ask(self.study, alone=not self._has_helpers)
        self._in_work[trial.number] = trial
        self._has_helpers = self._has_helpers or joined_at(self.study) is not None
        if self._has_helpers:
            self._beats[trial.number] = get_heartbeat_thread(trial._trial_id, self.study._storage)
            self._beats[trial.number].start()
        space = self.problem.space
        if foreign := _foreign_option(trial, space):
            return self._settle(trial, None, "failed", started, reason=f"not a network of the space: {foreign}")
        values = [trial.suggest_categorical(choice.name, choice.options) for choice in space.choices]
        candidate = space.candidate([_option(value) for value in values])
        self._read_finished()
        twin = self._first.get(candidate.fingerprint)
        if twin is not None:
            return self._repeat(trial, candidate, twin, started)
        rival = self._judged_elsewhere(trial, candidate)
        if rival is not None:
            reason = f"trial {rival} is judging this network"
            return self._settle(trial, candidate, "pruned", started, reason=reason, duplicate_of=rival, is_left=True)
        try:
            costs = {name: priced(name, meter, candidate) for name, meter in self.problem.meters.items()}
        except LatencyError as error:
            return self._settle(trial, candidate, "unmeasured", started, reason=str(error))
        excess = self.problem.excess(costs)
        with _told_again():
            for name, value in excess.items():
                trial.set_constraint(name, value)
        if any(value > 0.0 for value in excess.values()):
            limits = self.problem.limits
            over = "; ".join(above_limit(name, costs[name], limits[name]) for name in excess if excess[name] > 0)
            return self._settle(trial, candidate, "infeasible", started, costs=costs, excess=excess, reason=over)
        return Proposal(trial, candidate, costs, started, self._clock())

    def evaluate(self, proposal: Proposal) -> TrialRecord:
        """Judge the network here and settle its trial; an evaluator's error is recorded, not raised."""

        def report(step: int, accuracy: float) -> None:
            if self.is_hopeless(proposal, step, accuracy):
                raise optuna.TrialPruned(hopeless_after(step))

        return self.settle(proposal, judge(self.problem.evaluator, proposal.candidate, report))

    def is_hopeless(self, proposal: Proposal, step: int, accuracy: float) -> bool:
        """Note the accuracy so far and ask the study's pruner whether to give the network up."""
        if self.problem.objectives:
            return False  # Optuna prunes by one value only
        try:
            value = self.problem.values(accuracy, proposal.costs)[0]
        except RewardError:  # which may still say something at the end
            return False
        with _told_again():
            proposal.trial.report(value, step)
        return proposal.trial.should_prune()

    def settle(self, proposal: Proposal, verdict: Verdict) -> TrialRecord:
        """Tell the study what became of a proposed network.

        Raises DataError where an image is away, with which every further network would fail too: the search ends, and
        this network is judged when it is resumed.
        """
        if verdict.kind == "unread":
            raise DataError(f"{verdict.reason}; the search is kept: bring the image back, then resume it")
        state: State = verdict.kind if verdict.kind in ("done", "pruned") else "failed"
        reason, values = verdict.reason, tuple[float, ...]()
        if state == "done" and not 0.0 <= verdict.accuracy <= 1.0:
            state, reason = "failed", f"accuracy must lie in 0 to 1, the evaluator returned {verdict.accuracy!r}"
        if state == "done":
            try:
                values = self.problem.values(verdict.accuracy, proposal.costs)
            except RewardError as error:
                state, reason = "failed", str(error)
        return self._settle(
            proposal.trial,
            proposal.candidate,
            state,
            proposal.started,
            priced=proposal.priced,
            costs=proposal.costs,
            accuracy=verdict.accuracy if state == "done" else None,
            values=values,
            reason=reason,
        )

    def close(self) -> None:
        """Leave trials that are not settled to others, where there are any; else they wait to be taken up again."""
        for beat in self._beats.values():
            beat.join()
        self._beats.clear()
        if self._has_helpers:
            for trial in self._in_work.values():
                self._give_back(trial)
        self._in_work.clear()

    def left_running(self) -> list[optuna.Trial]:
        """The trials that a killed process left behind, to be taken up with :meth:`propose`.

        Of one that leads only those from before others joined: a later one of a living process looks the same.
        """
        if not self._alone:
            return []
        joined = joined_at(self.study)
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        left = [trial for trial in running if joined is None or trial.number < joined]
        self._left = {trial.number for trial in left}
        return [optuna.Trial(self.study, trial._trial_id) for trial in sorted(left, key=lambda t: t.number)]

    def in_work_elsewhere(self) -> int:
        """How many networks other processes are judging now; those of processes that died are given up first."""
        if not self._has_helpers:
            return 0
        _fail_stale(self.study)
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return sum(trial.number not in self._left and trial.number not in self._in_work for trial in running)

    def _give_back(self, trial: optuna.Trial) -> None:
        """Mark the trial as failed; while the search goes on another process judges its network.

        That is no retry: however often somebody stops, the network is not to blame.
        """
        with contextlib.suppress(UpdateFinishedTrialError):
            self.study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            if trial.params and not is_over(self.study):
                self.study.enqueue_trial(trial.params)

    def _judged_elsewhere(self, trial: optuna.Trial, candidate: Candidate) -> int | None:
        """The earlier trial of another worker that is judging the same network now, if any."""
        names = [choice.name for choice in self.problem.space.choices]
        for other in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if other.number < trial.number and all(name in other.params for name in names):
                twin = self.problem.space.candidate([other.params[name] for name in names])
                if twin.fingerprint == candidate.fingerprint:
                    return int(other.number)
        return None

    def _repeat(self, trial: optuna.Trial, candidate: Candidate, twin: FrozenTrial, started: float) -> TrialRecord:
        """Settle ``trial`` like the earlier trial of the same network, without measuring or judging again."""
        told = outcome_of(twin)
        with _told_again():
            for name, value in told.get("excess", {}).items():
                trial.set_constraint(name, value)
        return self._settle(
            trial,
            candidate,
            told["state"],
            started,
            costs=told.get("costs", {}),
            excess=told.get("excess"),
            accuracy=told.get("accuracy"),
            values=tuple(twin.values or ()) if told["state"] == "done" else (),
            reason=told.get("reason", ""),
            duplicate_of=told.get("duplicate_of", twin.number),
        )

    def _settle(
        self,
        trial: optuna.Trial,
        candidate: Candidate | None,
        state: State,
        started: float,
        *,
        priced: float | None = None,
        costs: Mapping[str, float] | None = None,
        excess: Mapping[str, float] | None = None,
        accuracy: float | None = None,
        values: tuple[float, ...] = (),
        reason: str = "",
        duplicate_of: int | None = None,
        is_left: bool = False,
    ) -> TrialRecord:
        """Write down what became of the trial; ``is_left`` says that its network is left to another worker."""
        now = self._clock()
        outcome: dict[str, Any] = {"state": state, "after": len(self._read)}  # so many trials, for their order
        if candidate is not None:
            outcome["fingerprint"] = candidate.fingerprint
        optional = {
            "costs": dict(costs or {}),
            "excess": dict(excess or {}),
            "accuracy": accuracy,
            "reason": reason,
            "duplicate_of": duplicate_of,
            "seconds": round(now - started, 3),
            "judged_s": None if priced is None else round(now - priced, 3),
        }
        outcome |= {key: value for key, value in optional.items() if value not in (None, "", {})}
        # a network left to another worker tells samplers nothing, so for Optuna it is no pruned trial
        told = TrialState.FAIL if is_left else _OPTUNA_STATES[state]
        self._in_work.pop(trial.number, None)
        if trial.number in self._beats:
            self._beats.pop(trial.number).join()
        try:
            trial.set_user_attr(OUTCOME, outcome)  # before tell: a finished trial cannot be changed
            frozen = self.study.tell(trial, list(values) if values else None, state=told, skip_if_finished=True)
        except UpdateFinishedTrialError:  # another process took this one for dead, and judges the network again
            frozen = self.study._storage.get_trial(trial._trial_id)
        except RuntimeError as error:  # of a sampler that ends Optuna's own loop; the trial is told all the same
            if "Study.stop" not in str(error):
                raise
            self._is_sampler_done = True
            frozen = self.study._storage.get_trial(trial._trial_id)
        self._remember(frozen)
        record = record_of(frozen)
        self._in_vain.hear(record)
        return record

    def _read_finished(self) -> None:
        if not self._has_helpers and self._has_read:
            return  # whatever has finished since was settled here
        self._has_read = True
        for trial in self.study.get_trials(deepcopy=False, states=tuple(set(_OPTUNA_STATES.values()))):
            if trial.number not in self._read:
                self._remember(trial)

    def _remember(self, trial: FrozenTrial) -> None:
        """Note who settled a network. A failure is not final: as many retries as a kill gets may judge it again."""
        self._read.add(trial.number)
        outcome = outcome_of(trial)
        if outcome.get("state") in ("done", "pruned", "infeasible") and trial.state != TrialState.FAIL:
            self._first.setdefault(outcome["fingerprint"], trial)
        # one without a fingerprint was no network of the space
        was_judged = outcome.get("state") in ("done", "pruned", "failed") and "fingerprint" in outcome
        if "duplicate_of" not in outcome and was_judged:
            self._evaluations += 1
            if outcome["state"] == "failed":
                self._failures[outcome["fingerprint"]] += 1
                if self._failures[outcome["fingerprint"]] > RETRIES:
                    self._first.setdefault(outcome["fingerprint"], trial)


def search(
    study: optuna.Study,
    problem: SearchProblem,
    budget: Budget,
    *,
    on_trial: Callable[[TrialRecord], object] = lambda record: None,
    should_stop: Stop = lambda: False,
    alone: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> Ending:
    """Search in this process until the budget is spent, and say what ended it.

    ``alone`` says that this process leads: the trials that it left running when it was killed are taken up first, and
    the search goes on exactly as if it had not been killed. Of several processes at most one may say so, after the
    others have called :func:`mnasnet.search.study_flags.mark_joined`; trials of one that died are judged again by the
    others after a while. At the end it waits for the networks that others are judging, also for one that a killed
    process left while it was alone: first let such a study go on alone. Raises SearchError for a study that was made
    for another problem.
    """
    with contextlib.closing(Search(study, problem, alone=alone, clock=clock)) as steps:
        waiting = steps.left_running()
        started, idle, polls = clock(), 0, 0
        while True:
            if should_stop():
                return "stopped"
            steps.require_hope()
            if budget.evaluations is not None and steps.evaluations() >= budget.evaluations:
                return "budget"
            if budget.minutes is not None and clock() - started >= 60.0 * budget.minutes:
                return "time"
            elsewhere = steps.in_work_elsewhere()
            is_tried = not waiting and steps.has_tried_all(elsewhere)
            if idle >= budget.max_idle or (is_tried and not elsewhere):
                return "exhausted"
            if is_tried or (budget.evaluations is not None and steps.evaluations() + elsewhere >= budget.evaluations):
                time.sleep(POLL_S)  # those may still turn out to be no evaluations
                polls += 1
                if polls == MOST_SILENT:
                    _log.warning(
                        "waiting for %s that others are judging; of a process that was killed while it searched alone, "
                        "nobody can tell: let one with alone=True, or resume, take its trial up",
                        amount(elsewhere, "network"),
                    )
                continue
            proposal = steps.propose(waiting.pop(0) if waiting else None)
            record = steps.evaluate(proposal) if isinstance(proposal, Proposal) else proposal
            idle = 0 if isinstance(proposal, Proposal) else idle + 1
            on_trial(record)


def all_tried(space: SearchSpace, tried: Collection[str], in_work: int = 0) -> bool:
    """Whether the fingerprints ``tried`` and ``in_work`` others are all networks of ``space``; False of a large one."""
    networks = _networks_of(space)
    return networks is not None and len(networks.difference(tried)) <= in_work


@lru_cache(maxsize=8)
def _networks_of(space: SearchSpace) -> frozenset[str] | None:
    """The fingerprints of all networks; None where they are too many to list."""
    if space.size > MOST_LISTED:
        return None
    places = itertools.product(*(range(len(choice.options)) for choice in space.choices))
    return frozenset(space.candidate_at(place).fingerprint for place in places)


def _ask(study: optuna.Study, *, alone: bool) -> optuna.Trial:
    """The next trial; among others those of processes that died are given up first, to be tried once more."""
    if not alone:
        _fail_stale(study)
    with _no_advice():
        return study.ask()


def _fail_stale(study: optuna.Study) -> None:
    """Mark the trials of processes that died as failed."""
    with _no_advice():
        fail_stale_trials(study)


@contextlib.contextmanager
def _no_advice() -> Iterator[None]:
    """Optuna expects heartbeats to be its own loop's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.filterwarnings("ignore", "Heartbeat of storage is supposed to be used with Study.optimize")
        yield


@contextlib.contextmanager
def _told_again() -> Iterator[None]:
    """A trial that a killed process left tells what is known already; Optuna would warn of each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The (constraint|reported) value is ignored because")
        yield


def hopeless_after(step: int) -> str:
    """The reason of a trial that the pruner ended."""
    return f"hopeless after step {step}"


def _foreign_option(trial: optuna.Trial, space: SearchSpace) -> str:
    """What is wrong with a trial that somebody enqueued with an option that the space does not have, "" else."""
    fixed = trial.study._storage.get_trial_system_attrs(trial._trial_id).get("fixed_params", {})
    for name, distribution in categories_of(space).items():
        if name in fixed:
            try:
                distribution.to_internal_repr(fixed[name])
            except ValueError as error:
                return f"{name}: {error}"
    return ""


def _option(value: Any) -> Option:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise SearchError(f"an option must be a number or a word, the storage returned {value!r}")
    return value
