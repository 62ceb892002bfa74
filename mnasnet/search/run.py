"""A whole search: from a folder of images, a device and a budget to the best network, trained and compared."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import optuna

from mnasnet import modelfile
from mnasnet.data.check import check
from mnasnet.data.report import as_text, write_report
from mnasnet.errors import SearchError, SettingsError
from mnasnet.modelfile import ModelFile
from mnasnet.search import prepare
from mnasnet.search.answer import Answer, Contender
from mnasnet.search.answering import answer_of
from mnasnet.search.contenders import (
    Place,
    accuracy_of,
    best_trials,
    counted,
    finalist_place,
    reference_place,
    reward_of,
    train_longer,
    trial_reward,
    winner_place,
)
from mnasnet.search.evaluator import SearchStopped
from mnasnet.search.folder import KIND, SearchFolder, open_search_folder
from mnasnet.search.plan import Timetable, timetable
from mnasnet.search.prepare import forecast, forecast_of
from mnasnet.search.problem_of import OpenSearch, Stop, opened, read_arguments
from mnasnet.search.progress import Progress, SearchAudience, SearchListener, Stage
from mnasnet.search.ranked import check_ranking_of
from mnasnet.search.ranking import RankedNetwork
from mnasnet.search.references import REFERENCES, at_cost
from mnasnet.search.report.files import write_answer
from mnasnet.search.searching import LATENCY, Searching
from mnasnet.search.study import Budget, Ending, TrialRecord, records, search, winner
from mnasnet.spec import ArchitectureSpec
from mnasnet.train.listeners import EpochEnded, Event
from mnasnet.train.run_folder import only_user, write_yaml

__all__ = [
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

SearchStatus = Literal["running", "done", "stopped", "failed", "infeasible"]

MOST_FAILURES = 10  # in a row from the first trial on: then it is not the networks
MOST_IDLE_MEASURED = 300  # proposals without an evaluation, where each costs a measurement
MOST_IDLE_COUNTED = 1000
RECENT_TRIALS = 10  # whose time tells how long the next ones take
LEVELLED_OFF = 0.002  # less reward than this gained in the last third of the trials


@dataclass(frozen=True, eq=False)
class SearchedRun:
    """A search's folder and what it came to.

    ``status`` is ``done``, ``stopped`` (resume goes on), ``infeasible`` (no network meets the limits) or ``failed``.
    """

    folder: Path
    status: SearchStatus
    reason: str
    answer: Answer

    @property
    def model(self) -> Path:
        """The winner's model file; it exists once the winner is trained."""
        return SearchFolder(self.folder).model

    def _trained(self, trial: int) -> Contender | None:
        promoted = (one for one in self.answer.contenders if one.kind == "promoted")
        return next((one for one in promoted if one.trial == trial), None)

    def summary(self) -> dict[str, Any]:
        """Plain JSON values: the last line of the command."""
        best = self.answer.winner
        trained = None if best is None else self._trained(best.number)
        return {
            "status": self.status,
            "reason": self.reason,
            "run": str(self.folder.absolute()),
            "model": str(self.model.absolute()) if self.model.exists() else None,
            "report": str((self.folder / "report.html").absolute()),
            "trials": len(self.answer.records),
            "counts": self.answer.counts(),
            "best_trial": best.number if best else None,
            "best_accuracy": best.accuracy if best else None,
            "best_costs": dict(best.costs) if best else {},
            "kendall_tau": self.answer.kendall_tau,
            "val_accuracy": trained.val_accuracy if trained else None,
            "test_accuracy": trained.test_accuracy if trained else None,
            "costs": dict(trained.costs) if trained else {},
            "minutes": round(self.answer.minutes, 2),
        }


def run_search(
    searching: Searching, *, listeners: Iterable[SearchListener] = (), stop: Stop = lambda: False
) -> SearchedRun:
    """Search in a new run folder, train the winner and leave the answer.

    ``stop`` is asked between batches; a stopped search can be resumed. Raises SettingsError, SpecError, DataError or
    LatencyError before the search begins, and SearchError, everything kept, when no network could be judged.
    """
    audience = SearchAudience(listeners)
    folder = prepare.begin(searching, tell=lambda text: audience.hear(Progress("preparing", 0.0, text)), stop=stop)
    audience.hear(Progress("preparing", 0.0, f"run folder: {folder.path}"))
    return _with(folder, audience, stop)


def resume_search(path: Path, *, listeners: Iterable[SearchListener] = (), stop: Stop = lambda: False) -> SearchedRun:
    """Go on with a search that was stopped or killed; with one worker as if it had not been.

    A search that is done only makes its answer again.
    """
    return _with(open_search_folder(path), SearchAudience(listeners), stop)


def extend_search(
    path: Path,
    *,
    trials: int = 0,
    minutes: float = 0.0,
    listeners: Iterable[SearchListener] = (),
    stop: Stop = lambda: False,
) -> SearchedRun:
    """Search on for so many trials or minutes more, then choose finalists and winner anew.

    Trainings that exist already are not repeated. Warns when the last third of the trials brought hardly a gain.
    """
    if trials <= 0 and minutes <= 0:
        raise SettingsError(f"extend needs trials or minutes above 0, got {trials} and {minutes:g}")
    folder = open_search_folder(path)
    with opened(folder.path) as old:
        found = records(old.study())
    warning = levelled_off(found)
    if warning:
        _log.warning("%s; extending it is not likely to pay", warning)
    searching, plan = read_arguments(folder)
    state = folder.read_state()
    judged = sum(_was_judged(record) for record in found)
    spent_minutes = sum(record.seconds for record in found) / searching.workers / 60
    longer = replace(
        searching,
        trials=judged + trials if trials else 0,
        minutes=(searching.minutes or spent_minutes) + minutes if minutes else 0.0,
        # trainings of the first part stay comparable, and need not be repeated
        finalist_epochs=int((state.get("finalists") or {}).get("epochs", searching.finalist_epochs)),
        final_epochs=int((state.get("final") or {}).get("epochs", searching.final_epochs)),
    )
    write_yaml(folder.arguments, {"kind": KIND, "asked": longer.to_dict(), "made_of_it": plan.to_dict()})
    folder.write_state(finalists=None, final=None, references=None, search_over=False, status="running")
    return _with(folder, SearchAudience(listeners), stop)


def promote(
    path: Path,
    trial: int | None = None,
    *,
    epochs: int = 0,
    references: bool = False,
    listeners: Iterable[SearchListener] = (),
    stop: Stop = lambda: False,
) -> SearchedRun:
    """Train any trial of a search fully, the winner without a number; the search's own winner stays what it is.

    ``epochs`` 0 takes the winner's. With ``references`` the published networks are trained too, at this trial's cost.
    Raises SearchError for a trial that has no network.
    """
    folder = open_search_folder(path)
    audience = SearchAudience(listeners)
    with only_user(folder.as_run), opened(folder.path, stop=stop) as here:
        work = _Work(here, audience, stop)
        found = {record.number: record for record in records(here.study())}
        record = winner(here.study(), here.problem) if trial is None else found.get(trial)
        if record is None or not record.fingerprint:
            raise SearchError(f"trial must be a finished trial of this search, 0 to {len(found) - 1}, got {trial}")
        try:
            model = work.train_fully(record, epochs or work.final_epochs())
            if references:
                work.train_references(model, epochs or work.final_epochs())
        except SearchStopped:
            return work.answered("stopped", "stopped on request")
        state = folder.read_state()
        return work.answered(state.get("status", "stopped"), state.get("reason", "a trial was promoted"))


def report_search(path: Path) -> SearchedRun:
    """Make the answer's files again from what the folder holds, also after a kill."""
    folder = open_search_folder(path)
    with opened(folder.path) as here:
        state = folder.read_state()
        status = state.get("status", "running")
        return _Work(here, SearchAudience(()), lambda: False).answered(status, state.get("reason", ""))


def levelled_off(found: Sequence[TrialRecord]) -> str:
    """A sentence when the last third of the judged trials brought hardly a gain in reward; else empty."""
    values = [record.values[0] for record in found if record.state == "done" and record.duplicate_of is None]
    if len(values) < 9:
        return ""
    before, gain = max(values[: -(len(values) // 3)]), 0.0
    gain = max(0.0, max(values) - before)
    if gain >= LEVELLED_OFF:
        return ""
    return (
        f"the gain has levelled off: the last {len(values) // 3} of {len(values)} trials raised the best by {gain:.4f}"
    )


def _with(folder: SearchFolder, audience: SearchAudience, stop: Stop) -> SearchedRun:
    with only_user(folder.as_run), opened(folder.path, stop=stop, filling=_stopping(stop)) as here:
        return _Work(here, audience, stop).done()


def _stopping(stop: Stop) -> Callable[[int, int], None]:
    def watch(done: int, total: int) -> None:
        if stop():
            raise SearchStopped

    return watch


@dataclass(eq=False)
class _Work:
    """One process's work on a search, stage by stage; what a stage decides is written down before it begins."""

    here: OpenSearch
    audience: SearchAudience
    stop: Stop
    clock: Callable[[], float] = time.monotonic
    started: float = field(init=False)
    times: Timetable = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.clock()
        self.times = timetable(self.here.searching, self.here.plan)

    @property
    def folder(self) -> SearchFolder:
        return self.here.folder

    @property
    def _first_stage(self) -> Stage:
        return "searching" if self.here.shared is None else "supernet"

    def done(self) -> SearchedRun:
        """All stages in order, those that are over left out."""
        self.folder.write_state(status="running", reason="")
        try:
            reason = self.search()
            model = self.choose_and_train()
            if self.here.searching.references:
                self.train_references(model, self.final_epochs())
            if self.here.searching.check_ranking:
                self.check_ranking()
        except SearchStopped:
            return self.answered("stopped", "stopped on request; resume goes on")
        return self.answered("done", reason)

    # -- searching -----------------------------------------------------------------------------------------------

    def search(self) -> str:
        """Search until the budget is spent, and say why it ended; raises SearchError when nothing was found."""
        state = self.folder.read_state()
        if state.get("search_over"):
            return str(state.get("search_ended", ""))
        here = self.here
        study = here.study()
        self.tell(self._first_stage, 0.0, forecast_of(here).text.replace("\n", "; "))
        self._look_at_images()
        self._train_shared_weights()
        watch = _Watch(self, records(study))
        ending = self._run(study, watch)
        if ending == "stopped" and not watch.hopeless:
            raise SearchStopped
        found = records(study)
        if not best_trials(found, here.searching, 1):
            self._give_up(found)
        reason = {
            "budget": "the trials are spent",
            "time": "the time for searching is used up",
            "exhausted": "no new network within the limits turned up any more",
            "stopped": "too many trials failed",
        }[ending]
        self.folder.write_state(search_over=True, search_ended=reason)
        return reason

    def _look_at_images(self) -> None:
        """Decode them before the first trial; the first time say what of them would spoil a training."""
        here, images = self.here, self.here.images
        train = images.train()
        if here.folder.as_run.dataset_report.exists():
            return
        val = images.val(here.searching.proxy_input_size or here.plan.input_size)
        decoded = {"val": val.cache, **({"train": train.cache} if images.share >= 1 else {})}
        self.tell(self._first_stage, 0.0, f"looking at {sum(map(len, here.parts.parts.values()))} images")
        found = check(
            here.dataset,
            here.parts,
            max_bad=here.searching.max_bad,
            decoded=decoded,
            threads=here.plan.threads,
            progress=_stopping(self.stop),
        )
        write_report(found, here.folder.path)
        _log.info("%s", as_text(found))

    def _train_shared_weights(self) -> None:
        """Train them to the end, where they judge; raises SearchStopped when asked to stop."""
        shared = self.here.shared
        if shared is None:
            return
        self.tell("supernet", 0.0, f"training the shared weights: {shared.epochs} epochs")

        def heard(epoch: int, accuracy: float) -> None:
            text = f"shared weights: epoch {epoch} of {shared.epochs}, largest network {accuracy:.1%}"
            self.tell("supernet", epoch / shared.epochs, text)

        shared.train([_Epochs(heard)])

    def check_ranking(self) -> None:
        """Train networks alone to see how far the shared weights can be trusted; raises SearchStopped."""
        wanted, judged = self.here.searching.check_ranking, 0

        def told(network: RankedNetwork) -> None:
            nonlocal judged
            judged += 1
            left_s = (wanted - judged) * self.here.plan.short_trial_s
            text = f"network {judged} of {wanted}: shared {network.shared:.1%}, trained alone {network.alone:.1%}"
            self.tell("ranking", 1.0, text, left_s)

        ranking = check_ranking_of(self.here, on_network=told)
        self.tell("ranking", 1.0, ranking.sentence(), 0.0)

    def _run(self, study: optuna.Study, watch: _Watch) -> Ending:
        asked = self.here.searching
        left_s = self.times.search_limit_s - watch.spent_s
        if left_s <= 0:
            return "time"
        idle = MOST_IDLE_MEASURED if asked.needs_latency and asked.latency == "measured" else MOST_IDLE_COUNTED
        budget = Budget(
            evaluations=asked.trials or None, minutes=left_s / 60 if left_s < float("inf") else None, max_idle=idle
        )
        if asked.workers > 1:
            from mnasnet.search.workers import search_with_workers  # starts processes; most searches need none

            return search_with_workers(
                self.folder.path,
                study,
                self.here.problem,
                budget,
                workers=asked.workers,
                on_trial=watch.hear,
                should_stop=watch.should_stop,
            )
        return search(study, self.here.problem, budget, on_trial=watch.hear, should_stop=watch.should_stop)

    def _give_up(self, found: Sequence[TrialRecord]) -> None:
        """Say truthfully that there is no answer, keep everything and raise SearchError."""
        failed = [record for record in found if record.state == "failed"]
        infeasible = any(record.state == "infeasible" for record in found)
        if failed:
            text = f"all {len(failed)} networks that were judged failed; the last reason: {failed[-1].reason}"
        else:
            try:
                winner(self.here.study(), self.here.problem)
            except SearchError as error:
                text = str(error)
        self.answered("infeasible" if infeasible and not failed else "failed", text)
        raise SearchError(f"{text}; all trials are kept in {self.folder.path}")

    # -- training ------------------------------------------------------------------------------------------------

    def choose_and_train(self) -> ModelFile:
        """Train the finalists longer, choose the winner, train it fully and write the search's model file."""
        here = self.here
        found = {record.number: record for record in records(here.study())}
        chosen = self._winner_of_finalists(found)
        state = self.folder.read_state()
        if not state.get("final"):
            self.folder.write_state(final={"trial": chosen.number, "epochs": self.times.final_epochs})
        model = self.train_fully(chosen, self.final_epochs())
        modelfile.save(replace(model, name=self.folder.path.name), self.folder.model)
        return model

    def _winner_of_finalists(self, found: dict[int, TrialRecord]) -> TrialRecord:
        asked, state = self.here.searching, self.folder.read_state()
        if not state.get("finalists"):
            best = best_trials(list(found.values()), asked, max(1, asked.finalists))
            epochs = self.times.finalist_epochs
            self.folder.write_state(finalists={"trials": [one.number for one in best], "epochs": epochs})
            state = self.folder.read_state()
        numbers, epochs = state["finalists"]["trials"], int(state["finalists"]["epochs"])
        if len(numbers) < 2:
            return found[numbers[0]]
        rewards: dict[int, float] = {}
        for index, number in enumerate(numbers):
            place = finalist_place(self.here, number)
            model = self._train("finalists", index / len(numbers), 1 / len(numbers), place, found[number], epochs)
            costs = self._costs_of(model)
            rewards[number] = reward_of(asked, accuracy_of(asked, model.metrics) or 0.0, costs)
        return found[max(numbers, key=lambda number: (rewards[number], -number))]

    def train_fully(self, record: TrialRecord, epochs: int) -> ModelFile:
        """Train one trial's network with the final recipe and judge it on the test images."""
        return self._train("training", 0.0, 1.0, winner_place(self.here, record.number), record, epochs, final=True)

    def train_references(self, model: ModelFile, epochs: int) -> None:
        """Train the published networks, scaled to the cost of ``model``, as it was trained."""
        state = self.folder.read_state()
        if not state.get("references"):
            self.tell("references", 0.0, "scaling the published networks to the winner's cost")
            size = model.preprocess.input_size
            wanted = self._costs_of(model)[self.here.searching.reward_cost]
            widths = {}
            for name, spec in REFERENCES.items():
                _, widths[name] = at_cost(spec, wanted, lambda scaled: self._cost_of(scaled, size))
                if self.stop():
                    raise SearchStopped
            self.folder.write_state(references=widths)
            state = self.folder.read_state()
        widths = state["references"]
        for index, (name, width) in enumerate(widths.items()):
            place = reference_place(self.here, name, width)
            spec = REFERENCES[name].scaled(width).named(f"{REFERENCES[name].name}_x{width:g}")
            self._train_spec(
                "references",
                index / len(widths),
                1 / len(widths),
                place,
                spec,
                model.preprocess.input_size,
                epochs,
                final=True,
            )

    def final_epochs(self) -> int:
        """The epochs of a full training, the same for all of a search."""
        return int((self.folder.read_state().get("final") or {}).get("epochs", self.times.final_epochs))

    def _train(
        self,
        stage: Stage,
        before: float,
        part: float,
        place: Place,
        record: TrialRecord,
        epochs: int,
        *,
        final: bool = False,
    ) -> ModelFile:
        candidate = self.here.problem.space.candidate(record.params)
        spec = candidate.architecture.named(f"{self.folder.path.name}_trial{record.number}")
        size = candidate.input_size or self.here.plan.input_size
        return self._train_spec(stage, before, part, place, spec, size, epochs, final=final)

    def _train_spec(
        self,
        stage: Stage,
        before: float,
        part: float,
        place: Place,
        spec: ArchitectureSpec,
        input_size: int,
        epochs: int,
        *,
        final: bool,
    ) -> ModelFile:
        self.tell(stage, before, f"{place.name}: {epochs} epochs")

        def heard(epoch: int, accuracy: float) -> None:
            share = before + part * epoch / epochs
            self.tell(stage, share, f"{place.name}: epoch {epoch} of {epochs}, validation accuracy {accuracy:.1%}")

        return train_longer(
            self.here,
            place,
            spec,
            input_size=input_size,
            epochs=epochs,
            with_test=final,
            listeners=[_Epochs(heard)],
            stop=self.stop,
        )

    def _costs_of(self, model: ModelFile) -> dict[str, float]:
        costs = counted(self.here, model.architecture, model.preprocess.input_size)
        if model.latencies:
            costs[LATENCY] = float(model.latencies[0]["undisturbed_ms"])
        return costs

    def _cost_of(self, spec: ArchitectureSpec, input_size: int) -> float:
        name = self.here.searching.reward_cost
        if name != LATENCY:
            return counted(self.here, spec, input_size)[name]
        return self.here.device_meter.measure(spec, input_size).undisturbed_ms

    # -- telling -------------------------------------------------------------------------------------------------

    def tell(self, stage: Stage, share: float, text: str, eta_s: float | None = None, **more: Any) -> None:
        """Pass on where the search stands; ``share`` is of the stage."""
        sizes = {
            "supernet": self.times.supernet_s,
            "searching": self.times.search_s,
            "finalists": self.times.finalists_s,
            "training": self.times.final_s,
            "references": self.times.references_s,
        }
        total = max(self.times.total_s, 1e-9)
        done = self.times.share_before(stage) + share * sizes.get(stage, 0.0) / total
        left = eta_s if eta_s is not None else (1 - done) * total
        self.audience.hear(Progress(stage, min(1.0, done), text, left, **more))

    def answered(self, status: SearchStatus, reason: str) -> SearchedRun:
        """Write the state and the answer's files."""
        seconds = float(self.folder.read_state().get("seconds", 0.0)) + self.clock() - self.started
        self.folder.write_state(status=status, reason=reason, seconds=round(seconds, 1))
        answer = answer_of(self.here, status, reason, seconds, note=levelled_off(records(self.here.study())))
        write_answer(answer, self.folder.path)
        if status == "done":
            self.audience.hear(Progress("answering", 1.0, reason, 0.0, best=answer.winner))
        return SearchedRun(self.folder.path, status, reason, answer)


class _Watch:
    """Hears of every trial: tells it on, knows the time spent, and notices when nothing works."""

    def __init__(self, work: _Work, before: Sequence[TrialRecord]) -> None:
        self._work = work
        asked = work.here.searching
        self._trials, self._workers = asked.trials, asked.workers
        judged = [record for record in before if _was_judged(record)]
        self._judged = len(judged)
        self._seconds = [record.seconds for record in judged]
        self.spent_s = sum(record.seconds for record in before) / self._workers
        done = best_trials(before, asked, 1)
        self._best = done[0] if done else None
        self._failures = 0

    @property
    def hopeless(self) -> bool:
        """Whether so many trials failed without one that worked that it is not the networks."""
        return self._best is None and self._failures >= MOST_FAILURES

    def should_stop(self) -> bool:
        """Whether the user, or a run of failures, ends the search."""
        return self._work.stop() or self.hopeless

    def hear(self, record: TrialRecord) -> None:
        """Take notice of a trial that is settled."""
        self.spent_s += record.seconds / self._workers
        if _was_judged(record):
            self._judged += 1
            self._seconds.append(record.seconds)
        if record.state in ("failed", "unmeasured"):
            self._failures += 1
        asked = self._work.here.searching
        if record.state == "done" and record.duplicate_of is None:
            self._failures = 0
            if self._best is None or trial_reward(record, asked) > trial_reward(self._best, asked):
                self._best = record
        left_s = self._left_s()
        share = self.spent_s / max(self.spent_s + left_s, 1e-9)
        later_s = self._work.times.total_s - self._work.times.search_s
        text = _line_of(record)
        self._work.tell("searching", share, text, left_s + later_s, record=record, best=self._best)

    def _left_s(self) -> float:
        """The seconds that searching will still take."""
        latest = self._seconds[-RECENT_TRIALS:]
        mean_s = sum(latest) / len(latest) if latest else self._work.here.plan.trial_s
        by_trials_s = (self._trials - self._judged) * mean_s / self._workers if self._trials else math.inf
        return max(0.0, min(by_trials_s, self._work.times.search_limit_s - self.spent_s))


def _was_judged(record: TrialRecord) -> bool:
    return record.duplicate_of is None and record.state in ("done", "pruned", "failed")


def _line_of(record: TrialRecord) -> str:
    accuracy = "" if record.accuracy is None else f", accuracy {record.accuracy:.1%}"
    return f"trial {record.number}: {record.state}{accuracy}"


@dataclass(frozen=True, eq=False)
class _Epochs:
    """Hears of a training's epochs."""

    heard: Callable[[int, float], None]

    def hear(self, event: Event) -> None:
        """Pass on the number and the validation accuracy of an epoch that ended."""
        if isinstance(event, EpochEnded):
            self.heard(int(event.row["epoch"]), float(event.row["val_accuracy"]))
