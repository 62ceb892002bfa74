"""The stages of longer trainings: finalists, the winner, and the published networks beside it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mnasnet import modelfile
from mnasnet.errors import DivergedError, SearchError, WeightsError
from mnasnet.files import quoted
from mnasnet.modelfile import Latencies, ModelFile
from mnasnet.search.costs import LATENCY
from mnasnet.search.longer_training import (
    Place,
    accuracy_of,
    counted,
    epoch_seconds,
    finalist_place,
    fresh_place,
    full_training_place,
    places,
    reference_place,
    train_longer,
)
from mnasnet.search.open_search import OpenSearch
from mnasnet.search.plan import epoch_s_of
from mnasnet.search.progress import EpochListener, Stage
from mnasnet.search.records import TrialRecord, merit, records
from mnasnet.search.references import REFERENCES, at_cost
from mnasnet.search.selection import best_trials, finalist_trials, reward_of
from mnasnet.search.sitting import Sitting
from mnasnet.search.stop import SearchStopped
from mnasnet.search.timetable import (
    SCALING_S,
    SETTING_UP_S,
    after_trials,
    compared_networks,
    holds_another_finalist,
    training_s,
)
from mnasnet.space import Candidate
from mnasnet.spec import ArchitectureSpec
from mnasnet.words import amount

_log = logging.getLogger(__name__)

MOST_DIVERGED = 3  # winners, one after another: then the cause is none of theirs
LATE = 0.05  # of the minutes that a training may end late, or the epoch that began before


@dataclass(eq=False)
class TrainingStages:
    """Trains networks longer than a trial; a training that exists already is not repeated."""

    sitting: Sitting
    _setup_s: float = field(default=0.0, init=False)  # of the longer trainings so far, the most besides the epochs

    @property
    def _here(self) -> OpenSearch:
        return self.sitting.here

    def choose_and_train(self) -> tuple[TrialRecord, ModelFile]:
        """Train the finalists longer, choose the winner, train it fully and write the search's model file.

        A network whose training diverges is left out. Raises SearchError when that befalls ``MOST_DIVERGED`` winners.
        """
        here, attempts = self._here, 0
        found = {record.number: record for record in records(here.study())}
        while True:
            attempts += 1
            chosen = self._winner_of_finalists(found)
            if not here.folder.read_state().get("final"):
                self._plan_the_rest([chosen], finalists=0)
            here.folder.write_state(final={"trial": chosen.number, "epochs": self.final_epochs()})
            try:
                model = self.train_fully(chosen, self.final_epochs(), most_s=self.sitting.left_s)
                break
            except DivergedError as error:
                del found[chosen.number]
                if attempts == MOST_DIVERGED or not best_trials(list(found.values()), here.searching, 1):
                    raise SearchError(
                        f"the training of each of the best {amount(attempts, 'network')} diverged, of the last one "
                        f"{error}; `python -m mnasnet promote {quoted(here.folder.path)} TRIAL` trains another trial"
                    ) from error
        latencies = _latencies_of(model, here.folder.model)
        modelfile.save(replace(model, name=here.folder.path.name, latencies=latencies), here.folder.model)
        here.folder.write_state(previous_final=None)
        return chosen, model

    def _plan_the_rest(self, networks: Sequence[TrialRecord], *, finalists: int) -> None:
        """Fit finalists and epochs to the time that is left, by what is known of these networks' speed by now."""
        asked, plan = replace(self._here.searching, finalists=finalists), self._here.plan
        if asked.minutes:
            plan = replace(plan, read_s=max(plan.read_s, self._setup_s - SETTING_UP_S))
            epoch_s = max(self._epoch_s(network) for network in networks)
            rest = after_trials(asked, plan, self.sitting.left_s, epoch_s)
            self.sitting.times = replace(
                rest, search_s=self.sitting.times.search_s, ranking_s=self.sitting.times.ranking_s
            )

    def _epoch_s(self, trial: TrialRecord) -> float:
        """The seconds of an epoch of a full training: as the finalist took, else by its trial."""
        longer = epoch_seconds(finalist_place(self._here, trial.number))
        if longer is not None:
            return longer
        return epoch_s_of(trial, self._here.plan)

    def _winner_of_finalists(self, found: dict[int, TrialRecord]) -> TrialRecord:
        asked, state = self._here.searching, self._here.folder.read_state()
        if found.keys().isdisjoint((state.get("finalists") or {}).get("trials", [])):
            best = finalist_trials(list(found.values()), asked, max(1, asked.finalists), self._multiply_adds)
            self._plan_the_rest(best, finalists=asked.finalists)
            numbers = [one.number for one in best[: max(1, self.sitting.times.finalists)]]
            epochs = self.sitting.times.finalist_epochs
            numbers += self._earlier_rivals(numbers, epochs, found)
            self._here.folder.write_state(finalists={"trials": numbers, "epochs": epochs})
            state = self._here.folder.read_state()
        numbers = [number for number in state["finalists"]["trials"] if number in found]
        epochs = int(state["finalists"]["epochs"])
        if len(numbers) < 2:
            return found[numbers[0]]
        merits: dict[int, tuple[float, ...]] = {}
        late: list[int] = []
        waiting = [number for number in numbers if finalist_place(self._here, number).trained_model() is None]
        for index, number in enumerate(numbers):
            place, is_waiting = finalist_place(self._here, number), number in waiting
            if is_waiting and merits and not self._holds_another_finalist(found[[*merits][-1]], epochs):
                late.append(number)  # the machine has become slower: the winner's training comes first
                continue
            most_s = (self.sitting.left_s - self.sitting.times.final_s / 2) / max(1, len(waiting))
            part, network = 1 / len(numbers), self._network_of(found[number])
            task = index * part, part, place, *network, epochs
            with contextlib.suppress(DivergedError):
                merits[number] = self._merit(self._train("finalists", *task, final=False, most_s=most_s))
            if is_waiting:
                waiting.remove(number)
        if not merits:
            return found[numbers[0]]
        if late:
            in_time = [number for number in numbers if number not in late]
            self._here.folder.write_state(finalists={"trials": in_time, "epochs": epochs})
        return found[max(merits, key=lambda number: (merits[number], -number))]

    def _merit(self, model: ModelFile) -> tuple[float, ...]:
        """How good a finalist is, as it was measured after its training: within the limits, or near to them, first.

        Of equal ones the cheapest is the best.
        """
        asked, costs = self._here.searching, self._costs_of(model)
        reward = reward_of(asked, accuracy_of(asked, model.metrics) or 0.0, costs)
        return -self._here.problem.total_excess(costs), *merit(reward, costs, asked.traded_costs)

    def _earlier_rivals(self, numbers: Sequence[int], epochs: int, found: Mapping[int, TrialRecord]) -> list[int]:
        """The finalists that the search trained for as many epochs before it was extended; none for one not trained."""
        trained = []
        for place in places(self._here):
            model = place.trained_model() if place.kind == "finalist" and place.trial in found else None
            if place.trial is not None and model is not None and int(model.training["epochs"]) == epochs:
                trained.append(place.trial)
        is_compared = len(numbers) > 1 or numbers[0] in trained
        return [number for number in trained if number not in numbers] if is_compared else []

    def _holds_another_finalist(self, last: TrialRecord, epochs: int) -> bool:
        asked, plan = self._here.searching, self._here.plan
        if not asked.minutes:
            return True
        return holds_another_finalist(asked, plan, self.sitting.left_s, self._epoch_s(last), epochs)

    def _multiply_adds(self, record: TrialRecord) -> float:
        spec, size, _ = self._network_of(record)
        return counted(self._here, spec, size)["multiply_adds"]

    def train_fully(self, record: TrialRecord, epochs: int, *, most_s: float = float("inf")) -> ModelFile:
        """Train one trial's network with the final recipe and judge it on the test images."""
        place = full_training_place(self._here, record.number, epochs)
        return self._train("training", 0.0, 1.0, place, *self._network_of(record), epochs, final=True, most_s=most_s)

    def train_references(
        self, record: TrialRecord, model: ModelFile, epochs: int, *, most_s: float = float("inf")
    ) -> None:
        """Train the published networks, scaled to the cost of ``model``, the trial's, with the recipe of fresh weights.

        Where it started from shared weights its own design comes first, from fresh ones as they do. Those that
        ``most_s`` seconds do not hold are left out, which the answer tells.
        """
        plan, until_s = self._here.plan, self.sitting.spent_s + most_s
        known: dict[str, dict[str, float]] = self._here.folder.read_state().get("references") or {}
        widths = known.get(str(record.number))
        size = model.preprocess.input_size
        epoch_s = epoch_seconds(full_training_place(self._here, record.number, epochs))
        needed_s = training_s(replace(plan, epoch_s=epoch_s or plan.epoch_s), epochs)
        is_shared = self._here.shared is not None
        fewest_s = (1 + is_shared) * needed_s + SCALING_S * len(REFERENCES)  # two designs, or there is no comparison
        if widths is None and most_s < fewest_s:
            return
        # foreseen or not, they are part of what is left to do now
        networks = compared_networks(plan)
        self.sitting.times = replace(self.sitting.times, compared=True, references_s=networks * (needed_s + SCALING_S))
        if widths is None:
            self.sitting.tell("references", 0.0, "scaling the published networks to the winner's cost")
            wanted = self._costs_of(model)[self._here.searching.reward_cost]
            widths = {}
            for name, spec in REFERENCES.items():
                _, widths[name] = at_cost(spec, wanted, lambda scaled: self._cost_of(scaled, size))
                if self.sitting.stop():
                    raise SearchStopped
            self._here.folder.write_state(references={**known, str(record.number): widths})
        compared = [(fresh_place(self._here, record.number, epochs), model.architecture)] if is_shared else []
        for name, width in widths.items():
            spec = REFERENCES[name].scaled(width).named(f"{REFERENCES[name].name}_x{width:g}")
            compared.append((reference_place(self._here, name, width, size, epochs), spec))
        part = 1 / len(compared)
        for index, (place, spec) in enumerate(compared):
            if self.sitting.spent_s + needed_s > until_s and place.trained_model() is None:
                continue
            most_s = until_s - self.sitting.spent_s
            task = index * part, part, place, spec, size, None, epochs
            with contextlib.suppress(DivergedError):
                self._train("references", *task, final=True, most_s=most_s)

    def final_epochs(self) -> int:
        """The epochs of a full training, the same for all of a search."""
        return int((self._here.folder.read_state().get("final") or {}).get("epochs", self.sitting.times.final_epochs))

    def _network_of(self, record: TrialRecord) -> tuple[ArchitectureSpec, int, Candidate]:
        """A trial's network under its name, its input size in pixels, and what it is in the space."""
        candidate = self._here.problem.space.candidate(record.params)
        spec = candidate.architecture.named(f"{self._here.folder.path.name}_trial{record.number}")
        return spec, candidate.input_size or self._here.plan.input_size, candidate

    def _train(
        self,
        stage: Stage,
        before: float,
        part: float,
        place: Place,
        spec: ArchitectureSpec,
        input_size: int,
        start: Candidate | None,
        epochs: int,
        *,
        final: bool,
        most_s: float,
    ) -> ModelFile:
        """A longer training, ``part`` of a stage of which ``before`` is done.

        One that diverges is written down and raises DivergedError, at once where it did so before.
        """
        diverged = self._here.folder.diverged
        if place.folder in diverged:
            raise DivergedError(diverged[place.folder])
        late_s = LATE * 60 * self._here.searching.minutes
        self.sitting.tell(stage, before, f"{place.name}: {amount(epochs, 'epoch')}")

        def heard(epoch: int, accuracy: float) -> None:
            share = before + part * epoch / epochs
            self.sitting.tell(
                stage, share, f"{place.name}: epoch {epoch} of {epochs}, validation accuracy {accuracy:.1%}"
            )

        began = time.monotonic()
        try:
            model = train_longer(
                self._here,
                place,
                spec,
                input_size=input_size,
                epochs=epochs,
                with_test=final,
                shared_start=start,
                most_minutes=max(0.01, most_s + late_s) / 60 if most_s < float("inf") else 0.0,
                listeners=[EpochListener(heard)],
                stop=self.sitting.stop,
            )
        except DivergedError as error:
            words = str(error).partition("; set ")[0]  # a lower learning rate, which no search asks for
            _log.warning("%s is left out, its training diverged: %s", place.name, words)
            self._here.folder.leave_out(place.folder, words)
            raise DivergedError(words) from error
        self._setup_s = max(self._setup_s, time.monotonic() - began - epochs * (epoch_seconds(place) or 0.0))
        return model

    def _costs_of(self, model: ModelFile) -> dict[str, float]:
        size, name = model.preprocess.input_size, self._here.searching.reward_cost
        costs = counted(self._here, model.architecture, size)
        if model.latencies:
            costs[LATENCY] = float(model.latencies[0]["undisturbed_ms"])
        return costs if name in costs else {**costs, name: self._cost_of(model.architecture, size)}

    def _cost_of(self, spec: ArchitectureSpec, input_size: int) -> float:
        name = self._here.searching.reward_cost
        if name == LATENCY:
            return self._here.device_meter.measure(spec, input_size).undisturbed_ms
        return self._here.problem.meters[name].measure(Candidate((), spec, input_size))


def _latencies_of(model: ModelFile, file: Path) -> Latencies:
    """Those in ``file`` where it holds ``model`` already: its user may have stored some since."""
    try:
        there = modelfile.load(file)
    except WeightsError:
        return model.latencies
    return there.latencies if there.fingerprint == model.fingerprint else model.latencies
