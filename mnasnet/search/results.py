"""What a search came to, read from what its folder holds: study, trainings, latencies."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna

from mnasnet.errors import SearchError
from mnasnet.latency.agreement import kendall_tau
from mnasnet.search.answer import EXPECTED, WORST_RECALL, Answer, Contender, ranked_finalists
from mnasnet.search.costs import ENERGY, LATENCY
from mnasnet.search.folder import SearchFolder
from mnasnet.search.longer_training import contender, places
from mnasnet.search.notes import notes_of
from mnasnet.search.open_search import OpenSearch
from mnasnet.search.ranking import Ranking, rank, recorded
from mnasnet.search.records import TrialRecord, extrapolated_accuracies, pareto_set, records
from mnasnet.search.searching import FEWEST_RANKED, Searching
from mnasnet.search.selection import best_trials
from mnasnet.search.study_flags import joined_at

SearchStatus = Literal["running", "done", "stopped", "failed", "infeasible"]

FEWEST_FOR_TAU = 3  # two networks are in the right order half the time by chance


def answer_of(
    search: OpenSearch, found: list[TrialRecord], status: str, reason: str, seconds: float, note: str = ""
) -> Answer:
    """Everything that the search came to so far; ``found`` are its trials."""
    asked, problem = search.searching, search.problem
    contenders = list(_contenders(search, found))
    ranking = _ranking(search)
    return Answer(
        name=search.folder.path.name,
        space=problem.space,
        algorithm=asked.algorithm,
        seed=asked.seed,
        evaluator=(search.shared or search.training).describe(),
        reward=problem.reward,
        reward_cost=asked.reward_cost,
        objectives=problem.objectives,
        limits=problem.limits,
        device=_device(search),
        measured={name: _is_measured(name, asked) for name in problem.meters},
        records=found,
        winner=winning_trial(search, found),
        pareto=pareto_set(found, [name for name in asked.traded_costs if name in problem.meters]),
        contenders=contenders,
        kendall_tau=rank_agreement(contenders),
        ranking=ranking,
        accuracy_name=_accuracy_name(search),
        val_images=len(search.parts.val),
        status=status,
        reason=reason,
        minutes=seconds / 60,
        extrapolated=extrapolated_accuracies(found, problem),
        winner_reward=asked.reward_function if problem.objectives else None,
        made_on=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        notes=[*notes_of(search, found, contenders, ranking, status), *([note] if note else [])],
    )


def trials_s(study: optuna.Study, workers: int) -> float:
    """The seconds that the trials so far took at least; unknown, so 0, where other processes judged some of them."""
    if joined_at(study) is not None:
        return 0.0
    return sum(record.seconds for record in records(study)) / workers


def _accuracy_name(search: OpenSearch) -> str:
    name = "top-1 accuracy" if search.searching.accuracy == "top1" else WORST_RECALL
    return f"{EXPECTED}{name}" if search.shared else name


def _is_measured(name: str, asked: Searching) -> bool:
    return name == ENERGY or (name == LATENCY and asked.latency == "measured")


def winning_trial(search: OpenSearch, found: list[TrialRecord]) -> TrialRecord | None:
    """The trial that was, or would be, trained fully: after the finalists' training the best of them."""
    final = search.folder.final
    if final:
        trained = next((record for record in found if record.number == final["trial"]), None)
        if trained is not None:  # trials of a report that was written before it do not have it
            return trained
    best = best_trials(found, search.searching, 1)
    return best[0] if best else None


def _contenders(search: OpenSearch, found: list[TrialRecord]) -> Iterator[Contender]:
    """Every longer training that is over."""
    thought = {record.number: record.accuracy for record in found}
    for place in places(search):
        one = contender(search, place, thought.get(place.trial) if place.trial is not None else None)
        if one is not None:
            yield one


def rank_agreement(contenders: Sequence[Contender]) -> float | None:
    """Kendall's tau of what the search had thought of the finalists against their longer training."""
    pairs = ranked_finalists(contenders)
    if len(pairs) < FEWEST_FOR_TAU:
        return None
    proxy, longer = (np.array(values, np.float64) for values in zip(*pairs, strict=True))
    return kendall_tau(proxy, longer)


def _device(search: OpenSearch) -> str:
    """The device in words, with engine and version, from a latency that was measured on it."""
    conditions = [] if search.table is None else [search.table.conditions]
    for latency in (*conditions, *search.remembered.latencies()):
        return latency.measured_on
    return "not measured"


def _ranking(search: OpenSearch) -> Ranking | None:
    """The check of the shared weights as far as it got; None where there is none, or too few networks for one."""
    networks = list(recorded(search.folder.ranking).values())
    return rank(networks, seed=search.searching.seed) if len(networks) >= FEWEST_RANKED else None


@dataclass(frozen=True, eq=False)
class SearchedRun:
    """A search's folder and what it came to.

    ``status`` is ``done``, ``stopped`` (resume goes on), ``infeasible`` (no network meets the limits) or ``failed``.
    ``promoted`` is the model file of the trial that was just promoted, perhaps another than the winner; where that was
    stopped it does not exist yet.
    """

    folder: Path
    status: SearchStatus
    reason: str
    answer: Answer
    promoted: Path | None = None

    @property
    def model(self) -> Path:
        """The winner's model file; it exists once the winner is trained."""
        return SearchFolder(self.folder).model

    @property
    def report(self) -> Path:
        """The page that tells all of it."""
        return SearchFolder(self.folder).report

    def summary(self) -> dict[str, Any]:
        """Plain JSON values: the last line of the command."""
        best = self.answer.winner
        trained = None if best is None else self.answer.trained(best.number)
        return {
            "status": self.status,
            "reason": self.reason,
            "run": str(self.folder.absolute()),
            "model": str(self.model.absolute()) if self.model.exists() else None,
            "promoted": str(self.promoted.absolute()) if self.promoted and self.promoted.exists() else None,
            "report": str(self.report.absolute()),
            "trials": len(self.answer.records),
            "counts": self.answer.counts(),
            "winner_trial": best.number if best else None,
            "winner_trial_accuracy": best.accuracy if best else None,
            "winner_trial_costs": dict(best.costs) if best else {},
            "kendall_tau": self.answer.kendall_tau,
            "val_accuracy": trained.val_accuracy if trained else None,
            "test_accuracy": trained.test_accuracy if trained else None,
            "costs": dict(trained.costs) if trained else {},
            "minutes": round(self.answer.minutes, 2),
        }


class NothingFoundError(SearchError):
    """A search that ended without a network; ``searched`` is what it came to all the same."""

    def __init__(self, message: str, searched: SearchedRun) -> None:
        super().__init__(message)
        self.searched = searched
