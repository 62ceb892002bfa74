"""A search, stage by stage: judge networks, train finalists, the winner and the references, write the answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import optuna

from mnasnet import modelfile
from mnasnet.data.check import check
from mnasnet.data.report import as_text, write_report
from mnasnet.errors import LatencyError, SearchError
from mnasnet.modelfile import ModelFile
from mnasnet.search.answering import NothingFoundError, SearchedRun, SearchStatus, answer_of, levelled_off, trials_s
from mnasnet.search.company import set_over
from mnasnet.search.contenders import (
    Place,
    accuracy_of,
    best_trials,
    counted,
    epoch_seconds,
    finalist_place,
    finalist_trials,
    fresh_place,
    reference_place,
    reward_of,
    train_longer,
    winner_place,
)
from mnasnet.search.curriculum import extreme
from mnasnet.search.evaluator import SearchStopped
from mnasnet.search.folder import SearchFolder
from mnasnet.search.judging import Stop
from mnasnet.search.plan import epoch_s_of
from mnasnet.search.prepare import forecast_of
from mnasnet.search.problem_of import OpenSearch
from mnasnet.search.progress import Progress, SearchAudience, Stage
from mnasnet.search.ranking import RankedNetwork, check_ranking
from mnasnet.search.references import REFERENCES, at_cost
from mnasnet.search.report.files import write_answer
from mnasnet.search.searching import LATENCY
from mnasnet.search.study import Budget, Ending, TrialRecord, records, search, winner
from mnasnet.search.timetable import (
    ANSWER_S,
    LEAST_TRIALS,
    MARGIN,
    SCALING_S,
    SETTING_UP_S,
    Timetable,
    after_trials,
    compared_networks,
    holds_another_finalist,
    timetable,
    training_s,
)
from mnasnet.search.watch import Watch, was_judged
from mnasnet.search.workers import search_with_workers
from mnasnet.space import Candidate
from mnasnet.spec import ArchitectureSpec
from mnasnet.train.listeners import EpochEnded, Event
from mnasnet.words import amount

_log = logging.getLogger(__name__)

MOST_IDLE_MEASURED = 300  # proposals without an evaluation, where each costs a measurement
MOST_IDLE_COUNTED = 1000
LEAST_IDLE, IDLE_PER_TRIAL = 60, 10  # who asks for few trials does not wait for hundreds of proposals
IDLE_PER_COMBINATION = 4  # in a small space most have been met by then

KEPT_EVERY_S = 20.0  # the time spent is written down, for a search that is killed
LATE = 0.05  # of the minutes that a training may end late, or the epoch that began before


@dataclass(eq=False)
class Work:
    """One process's work on a search, stage by stage; what a stage decides is written down before it begins."""

    here: OpenSearch
    audience: SearchAudience
    stop: Stop
    clock: Callable[[], float] = time.monotonic
    times: Timetable = field(init=False)
    share: float = field(default=0.0, init=False)
    _began: float = field(init=False)  # as if it had been in one sitting
    _kept: float = field(init=False)
    _setup_s: float = field(default=0.0, init=False)  # of the longer trainings so far, the most besides the epochs

    def __post_init__(self) -> None:
        self._kept = self.clock()
        self._began = self._kept - self._spent_before()
        self.times = timetable(self.here.searching, self.here.plan, spent_s=self.folder.prepared_s)

    @property
    def folder(self) -> SearchFolder:
        """Where everything lies."""
        return self.here.folder

    @property
    def spent_s(self) -> float:
        """The seconds of all sittings so far."""
        return self.clock() - self._began

    @property
    def left_s(self) -> float:
        """What is left of the minutes for everything but the check of the ranking and the answer."""
        minutes = self.here.searching.minutes
        return 60 * minutes - self.spent_s - self.times.ranking_s - ANSWER_S if minutes else float("inf")

    def _spent_before(self) -> float:
        """What earlier sittings took; one that was killed is known by its trials, and from time to time by itself."""
        by_trials_s = trials_s(self.here.study(), self.here.searching.workers)
        return max(float(self.folder.read_state().get("seconds", 0.0)), by_trials_s)

    @property
    def _first_stage(self) -> Stage:
        return "searching" if self.here.shared is None else "supernet"

    def done(self) -> SearchedRun:
        """All stages in order, those that are over left out."""
        self.folder.write_state(status="running", reason="")
        try:
            reason = self.search()
            chosen, model = self.choose_and_train()
            if self.here.searching.references:
                self.train_references(chosen, model, self.final_epochs(), most_s=self.left_s)
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
        for line in forecast_of(here).text.splitlines():
            self.tell(self._first_stage, 0.0, line)
        self._look_at_images()
        if hopeless := self._no_network_can_meet_limits():
            self.tell(self._first_stage, 0.0, hopeless)
        else:
            self._train_shared_weights()
        found = records(study)
        limit_s = self._limit_s(found)
        watch = Watch(
            here,
            found,
            limit_s=limit_s,
            later_s=self.times.after_search_s,
            tell=partial(self.tell, "searching"),
            stop=self.stop,
        )
        set_over(study, False)
        ending = self._run(study, watch, limit_s)
        if ending == "stopped" and not watch.hopeless:
            raise SearchStopped
        set_over(study, True)
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
            progress=stopping(self.stop),
        )
        write_report(found, here.folder.path)
        _log.info("%s", as_text(found))

    def _no_network_can_meet_limits(self) -> str:
        """A sentence where even the smallest network costs more than twice a limit, "" else.

        Trials then find the nearest network, but it is no use to train weights for them.
        """
        problem, smallest = self.here.problem, extreme(self.here.problem.space, "smallest")
        try:
            costs = {name: float(problem.meters[name].measure(smallest)) for name in problem.limits}
        except LatencyError:
            return ""  # the trials say so
        far = [name for name, excess in problem.excess(costs).items() if excess > 1.0]
        beyond = ", ".join(f"{name} {costs[name]:.4g}, limit {problem.limits[name]:.4g}" for name in far)
        return (
            f"even the smallest network is far above the limits: {beyond}; stop, or wait for the nearest" if far else ""
        )

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
        """Train networks alone, as many as the minutes hold, to see how far the shared weights can be trusted.

        Raises SearchStopped.
        """
        wanted, judged, longest_s = self.here.searching.check_ranking, 0, 0.0
        self.tell("ranking", 0.0, f"training {wanted} networks alone")

        def has_time() -> bool:
            return longest_s <= self.left_s + self.times.ranking_s

        def told(network: RankedNetwork) -> None:
            nonlocal judged, longest_s
            judged += 1
            longest_s = max(longest_s, network.shared_s + network.alone_s)
            left_s = (wanted - judged) / wanted * self.times.ranking_s
            text = f"network {judged} of {wanted}: shared {network.shared:.1%}, trained alone {network.alone:.1%}"
            self.tell("ranking", judged / wanted, text, left_s)

        here = self.here
        assert here.shared is not None  # the settings refuse the check of a search without shared weights
        ranking = check_ranking(
            here.problem.space,
            wanted,
            shared=here.shared,
            alone=here.training,
            input_size=here.plan.input_size,
            num_classes=len(here.plan.class_names),
            clock=time.perf_counter,
            seed=here.searching.seed,
            record=here.folder.ranking,
            on_network=told,
            goes_on=has_time,
        )
        too_few = f"the minutes held {judged} of {wanted} networks, too few to compare"
        self.tell("ranking", 1.0, ranking.sentence() if ranking else too_few, 0.0)

    def _limit_s(self, found: Sequence[TrialRecord]) -> float:
        """The seconds for trials: what later stages leave, but always enough for some trials."""
        later_s = self.times.after_search_s - self.times.ranking_s  # which left_s leaves out already
        lacking = LEAST_TRIALS - sum(was_judged(record) for record in found)
        least_s = lacking * self.here.plan.trial_s / self.here.searching.workers
        unfinished_s = self.here.plan.trial_s / 2  # what the last trial is likely to take too long
        return max(self.left_s - later_s / MARGIN - unfinished_s, least_s, 0.0)

    def _run(self, study: optuna.Study, watch: Watch, limit_s: float) -> Ending:
        asked = self.here.searching
        if not limit_s:
            return "time"
        most_idle = MOST_IDLE_MEASURED if asked.needs_latency and asked.latency == "measured" else MOST_IDLE_COUNTED
        idle = min(most_idle, IDLE_PER_COMBINATION * self.here.problem.space.size)
        if asked.trials:
            idle = min(idle, max(LEAST_IDLE, IDLE_PER_TRIAL * asked.trials))
        budget = Budget(
            evaluations=asked.trials or None, minutes=limit_s / 60 if limit_s < float("inf") else None, max_idle=idle
        )
        hooks: Any = {"on_trial": watch.hear, "should_stop": watch.should_stop}
        judging = self.here.judging
        if asked.ray:
            from mnasnet.search.cluster import search_on_cluster  # the optional package ray

            return search_on_cluster(
                judging,
                study,
                self.here.problem,
                budget,
                address=asked.ray,
                cpus=asked.ray_cpus,
                gpus=asked.ray_gpus,
                **hooks,
            )
        if asked.workers > 1:
            threads = self.here.plan.threads
            return search_with_workers(
                judging, study, self.here.problem, budget, workers=asked.workers, threads=threads, **hooks
            )
        return search(study, self.here.problem, budget, **hooks)

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
        searched = self.answered("infeasible" if infeasible and not failed else "failed", text)
        raise NothingFoundError(f"{text}; all trials are kept in {self.folder.path}", searched)

    # -- training ------------------------------------------------------------------------------------------------

    def choose_and_train(self) -> tuple[TrialRecord, ModelFile]:
        """Train the finalists longer, choose the winner, train it fully and write the search's model file."""
        here = self.here
        found = {record.number: record for record in records(here.study())}
        chosen = self._winner_of_finalists(found)
        if not self.folder.read_state().get("final"):
            self._plan_the_rest([chosen], finalists=0)
            self.folder.write_state(final={"trial": chosen.number, "epochs": self.times.final_epochs})
        model = self.train_fully(chosen, self.final_epochs(), most_s=self.left_s)
        modelfile.save(replace(model, name=self.folder.path.name), self.folder.model)
        return chosen, model

    def _plan_the_rest(self, networks: Sequence[TrialRecord], *, finalists: int) -> None:
        """Fit finalists and epochs to the time that is left, by what is known of these networks' speed by now."""
        asked, plan = replace(self.here.searching, finalists=finalists), self.here.plan
        if asked.minutes:
            plan = replace(plan, read_s=max(plan.read_s, self._setup_s - SETTING_UP_S))
            epoch_s = max(self._epoch_s(network) for network in networks)
            rest = after_trials(asked, plan, self.left_s, epoch_s)
            self.times = replace(rest, search_s=self.times.search_s, ranking_s=self.times.ranking_s)

    def _epoch_s(self, trial: TrialRecord) -> float:
        """The seconds of an epoch of a full training: as the finalist took, else by its trial."""
        longer = epoch_seconds(finalist_place(self.here, trial.number))
        if longer is not None:
            return longer
        return epoch_s_of(trial, self.here.plan)

    def _winner_of_finalists(self, found: dict[int, TrialRecord]) -> TrialRecord:
        asked, state = self.here.searching, self.folder.read_state()
        if not state.get("finalists"):
            best = finalist_trials(list(found.values()), asked, max(1, asked.finalists), self._multiply_adds)
            self._plan_the_rest(best, finalists=asked.finalists)
            numbers = [one.number for one in best[: max(1, self.times.finalists)]]
            self.folder.write_state(finalists={"trials": numbers, "epochs": self.times.finalist_epochs})
            state = self.folder.read_state()
        numbers, epochs = state["finalists"]["trials"], int(state["finalists"]["epochs"])
        if len(numbers) < 2:
            return found[numbers[0]]
        rewards: dict[int, float] = {}
        for index, number in enumerate(numbers):
            place = finalist_place(self.here, number)
            if (
                index
                and place.finished() is None
                and not self._holds_another_finalist(found[numbers[index - 1]], epochs)
            ):
                numbers = numbers[:index]  # the machine has become slower: the winner's training comes first
                self.folder.write_state(finalists={"trials": numbers, "epochs": epochs})
                break
            most_s = (self.left_s - self.times.final_s / 2) / (len(numbers) - index)
            model = self._train(
                "finalists", index / len(numbers), 1 / len(numbers), place, found[number], epochs, most_s=most_s
            )
            costs = self._costs_of(model)
            rewards[number] = reward_of(asked, accuracy_of(asked, model.metrics) or 0.0, costs)
        return found[max(numbers, key=lambda number: (rewards[number], -number))]

    def _holds_another_finalist(self, last: TrialRecord, epochs: int) -> bool:
        asked, plan = self.here.searching, self.here.plan
        if not asked.minutes:
            return True
        return holds_another_finalist(asked, plan, self.left_s, self._epoch_s(last), epochs)

    def _multiply_adds(self, record: TrialRecord) -> float:
        candidate = self.here.problem.space.candidate(record.params)
        size = candidate.input_size or self.here.plan.input_size
        return counted(self.here, candidate.architecture, size)["multiply_adds"]

    def train_fully(self, record: TrialRecord, epochs: int, *, most_s: float = float("inf")) -> ModelFile:
        """Train one trial's network with the final recipe and judge it on the test images."""
        place = winner_place(self.here, record.number, epochs)
        return self._train("training", 0.0, 1.0, place, record, epochs, final=True, most_s=most_s)

    def train_references(
        self, record: TrialRecord, model: ModelFile, epochs: int, *, most_s: float = float("inf")
    ) -> None:
        """Train the published networks, scaled to the cost of ``model``, the trial's, with the recipe of fresh weights.

        Where it started from shared weights its own design comes first, from fresh ones as they do. Those that
        ``most_s`` seconds do not hold are left out, which the answer tells.
        """
        plan, until_s = self.here.plan, self.spent_s + most_s
        known: dict[str, dict[str, float]] = self.folder.read_state().get("references") or {}
        widths = known.get(str(record.number))
        size = model.preprocess.input_size
        epoch_s = epoch_seconds(winner_place(self.here, record.number, epochs))
        needed_s = training_s(replace(plan, epoch_s=epoch_s or plan.epoch_s), epochs)
        is_shared = self.here.shared is not None
        fewest_s = (1 + is_shared) * needed_s + SCALING_S * len(REFERENCES)  # two designs, or there is no comparison
        if widths is None and most_s < fewest_s:
            return
        # foreseen or not, they are part of what is left to do now
        networks = compared_networks(plan)
        self.times = replace(self.times, compared=True, references_s=networks * (needed_s + SCALING_S))
        if widths is None:
            self.tell("references", 0.0, "scaling the published networks to the winner's cost")
            wanted = self._costs_of(model)[self.here.searching.reward_cost]
            widths = {}
            for name, spec in REFERENCES.items():
                _, widths[name] = at_cost(spec, wanted, lambda scaled: self._cost_of(scaled, size))
                if self.stop():
                    raise SearchStopped
            self.folder.write_state(references={**known, str(record.number): widths})
        compared = [(fresh_place(self.here, record.number, epochs), model.architecture)] if is_shared else []
        for name, width in widths.items():
            spec = REFERENCES[name].scaled(width).named(f"{REFERENCES[name].name}_x{width:g}")
            compared.append((reference_place(self.here, name, width, size, epochs), spec))
        part = 1 / len(compared)
        for index, (place, spec) in enumerate(compared):
            if self.spent_s + needed_s > until_s and place.finished() is None:
                continue
            most_s = until_s - self.spent_s
            self._train_spec("references", index * part, part, place, spec, size, epochs, final=True, most_s=most_s)

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
        most_s: float = float("inf"),
    ) -> ModelFile:
        candidate = self.here.problem.space.candidate(record.params)
        spec = candidate.architecture.named(f"{self.folder.path.name}_trial{record.number}")
        size = candidate.input_size or self.here.plan.input_size
        return self._train_spec(
            stage, before, part, place, spec, size, epochs, final=final, most_s=most_s, start=candidate
        )

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
        most_s: float = float("inf"),
        start: Candidate | None = None,
    ) -> ModelFile:
        late_s = LATE * 60 * self.here.searching.minutes
        self.tell(stage, before, f"{place.name}: {amount(epochs, 'epoch')}")

        def heard(epoch: int, accuracy: float) -> None:
            share = before + part * epoch / epochs
            self.tell(stage, share, f"{place.name}: epoch {epoch} of {epochs}, validation accuracy {accuracy:.1%}")

        began = self.clock()
        model = train_longer(
            self.here,
            place,
            spec,
            input_size=input_size,
            epochs=epochs,
            with_test=final,
            shared_start=start,
            most_minutes=max(0.01, most_s + late_s) / 60 if most_s < float("inf") else 0.0,
            listeners=[_Epochs(heard)],
            stop=self.stop,
        )
        self._setup_s = max(self._setup_s, self.clock() - began - epochs * (epoch_seconds(place) or 0.0))
        return model

    def _costs_of(self, model: ModelFile) -> dict[str, float]:
        size, name = model.preprocess.input_size, self.here.searching.reward_cost
        costs = counted(self.here, model.architecture, size)
        if model.latencies:
            costs[LATENCY] = float(model.latencies[0]["undisturbed_ms"])
        return costs if name in costs else {**costs, name: self._cost_of(model.architecture, size)}

    def _cost_of(self, spec: ArchitectureSpec, input_size: int) -> float:
        name = self.here.searching.reward_cost
        if name == LATENCY:
            return self.here.device_meter.measure(spec, input_size).undisturbed_ms
        return self.here.problem.meters[name].measure(Candidate((), spec, input_size))

    # -- telling -------------------------------------------------------------------------------------------------

    def tell(self, stage: Stage, share: float, text: str, eta_s: float | None = None, **more: Any) -> None:
        """Pass on where the search stands; ``share`` is of the stage."""
        if self.clock() - self._kept > KEPT_EVERY_S:
            self._kept = self.clock()
            self.folder.write_state(seconds=round(self.spent_s, 1))
        total = max(self.times.total_s, 1e-9)
        done = self.times.share_before(stage) + share * self.times.seconds().get(stage, 0.0) / total
        left = eta_s if eta_s is not None else (1 - done) * total
        self.share = max(self.share, min(1.0, done))  # an estimate that grew must not turn a bar back
        self.audience.hear(Progress(stage, self.share, text, left, **more))

    def answered(self, status: SearchStatus, reason: str) -> SearchedRun:
        """Write the state and the answer's files."""
        self.folder.write_state(status=status, reason=reason, seconds=round(self.spent_s, 1))
        searched = self.told(status, reason)
        if status == "done":
            self.audience.hear(Progress("answering", 1.0, reason, 0.0, best=searched.answer.winner))
        return searched

    def told(self, status: SearchStatus, reason: str) -> SearchedRun:
        """Write the answer's files alone, which may be done beside the process that searches."""
        note = levelled_off(records(self.here.study()))
        answer = answer_of(self.here, status, reason, self.spent_s, note=note)
        write_answer(answer, self.folder.path)
        return SearchedRun(self.folder.path, status, reason, answer)


@dataclass(frozen=True, eq=False)
class _Epochs:
    """Hears of a training's epochs."""

    heard: Callable[[int, float], None]

    def hear(self, event: Event) -> None:
        """Pass on the number and the validation accuracy of an epoch that ended."""
        if isinstance(event, EpochEnded):
            self.heard(int(event.row["epoch"]), float(event.row["val_accuracy"]))


def stopping(stop: Stop) -> Callable[[int, int], None]:
    """A progress hook that raises SearchStopped when ``stop`` says so."""

    def watch(done: int, total: int) -> None:
        if stop():
            raise SearchStopped

    return watch
