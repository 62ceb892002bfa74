"""The answer of a search, read from what its folder holds: study, trainings, latencies."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna

from mnasnet.errors import SearchError
from mnasnet.files import quoted
from mnasnet.latency.remembered import RememberingMeter
from mnasnet.reward import Reward
from mnasnet.search.answer import EXPECTED, EXPORT, EXTEND, PROMOTE, WORST_RECALL, Answer, Contender
from mnasnet.search.contenders import best_trials, contender, places, rank_agreement
from mnasnet.search.costs import ENERGY, LATENCY, quantity
from mnasnet.search.doubts import doubts
from mnasnet.search.folder import SearchFolder
from mnasnet.search.open_search import OpenSearch
from mnasnet.search.ranking import Ranking, rank, recorded
from mnasnet.search.records import TrialRecord, extrapolated_accuracies, pareto_set, records
from mnasnet.search.references import REFERENCES, WIDTHS
from mnasnet.search.searching import FEWEST_RANKED, Searching
from mnasnet.search.study_flags import joined_at
from mnasnet.search.watch import MOST_UNMEASURED

SearchStatus = Literal["running", "done", "stopped", "failed", "infeasible"]

LEVELLED_OFF = 0.002  # less reward than this gained in the last third of the trials


def answer_of(
    search: OpenSearch, found: list[TrialRecord], status: str, reason: str, seconds: float, note: str = ""
) -> Answer:
    """Everything that the search came to so far; ``found`` are its trials."""
    asked, problem = search.searching, search.problem
    contenders = list(_contenders(search, found))
    finalists = [one for one in contenders if one.kind == "finalist"]
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
        kendall_tau=rank_agreement(finalists),
        ranking=ranking,
        accuracy_name=_accuracy_name(search),
        val_images=len(search.parts.val),
        status=status,
        reason=reason,
        minutes=seconds / 60,
        extrapolated=extrapolated_accuracies(found, problem),
        winner_reward=asked.reward_function if problem.objectives else None,
        made_on=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        notes=[
            text
            for text in (
                _about_reward(search),
                about_target(problem.reward, asked.reward_cost, found),
                _about_table(search),
                *doubts(search),
                _about_8_bits(search),
                "" if ranking is None else f"shared weights: {ranking.sentence(asked.proxy_epochs)}",
                _about_start(search, contenders),
                _about_costs(contenders),
                _about_finalists(search, found, status),
                about_promoted(problem.limits, found, contenders),
                about_device_away(found, status),
                _about_references(search, contenders, status),
                note,
            )
            if text
        ],
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


def _device(search: OpenSearch) -> str:
    """The device in words, with engine and version, from a latency that was measured on it."""
    conditions = [] if search.table is None else [search.table.conditions]
    for latency in (*conditions, *RememberingMeter(search.device_meter, search.folder.latencies).latencies()):
        return latency.measured_on
    return "not measured"


def _about_reward(search: OpenSearch) -> str:
    reward = search.problem.reward
    return reward.explain() if reward is not None and reward.ignores_target else ""


def about_target(reward: Reward | None, cost: str, found: Sequence[TrialRecord]) -> str:
    """That even the dearest network takes less than half of what was allowed; an absolute reward aims all the same."""
    tried = [record.costs[cost] for record in found if cost in record.costs]
    if reward is None or reward.ignores_target or reward.form == "absolute" or not tried:
        return ""
    if max(tried) >= reward.target / 2:
        return ""
    shown = quantity(cost)
    return (
        f"the target of {shown.text(reward.target)} never bound: the dearest network tried has {shown.title} "
        f"{shown.text(max(tried))}; a larger space or input_size would make use of the rest, a smaller target would "
        "favour cheaper networks"
    )


def _about_table(search: OpenSearch) -> str:
    if search.table is None:
        return ""
    error = search.table.error.sentence if search.table.error else "of unknown error"
    use = "prices every trial" if search.searching.latency == "table" else "steers the proposals"
    trust = f"; do not trust it: {search.table.distrust}" if search.table.distrust else ""
    return f"the table of {search.table.conditions.measured_on}: {error}, {use}{trust}"


def _about_8_bits(search: OpenSearch) -> str:
    """That latency is of other numbers than accuracy, and the command that tells both of one file."""
    asked = search.searching
    if asked.precision != "int8" or not asked.needs_latency:
        return ""
    return (
        f"latency is of 8 bits made up for timing, accuracy and size are of float32: {EXPORT} --int8 --data "
        f"{quoted(asked.data)} makes and judges the file"
    )


def _ranking(search: OpenSearch) -> Ranking | None:
    """The check of the shared weights as far as it got; None where there is none, or too few networks for one."""
    networks = list(recorded(search.folder.ranking).values())
    return rank(networks, seed=search.searching.seed) if len(networks) >= FEWEST_RANKED else None


def _about_start(search: OpenSearch, contenders: Sequence[Contender]) -> str:
    """That networks which are compared did not start alike."""
    fresh = next((one.name for one in contenders if one.kind == "reference" and one.trial is not None), None)
    if search.shared is None or fresh is None:
        return ""
    return (
        f"finalists and winner went on from shared weights, which had {search.shared.epochs} epochs on these images; "
        f"published networks started from fresh ones, so compare designs with the row {fresh!r}"
    )


def _about_costs(contenders: Sequence[Contender]) -> str:
    """Which published networks cannot be had at the winner's cost."""
    ends = {f" x{WIDTHS[0]:g}": "narrowest", f" x{WIDTHS[-1]:g}": "widest"}
    found = [
        f"{one.name} is the {word} that is trained"
        for one in contenders
        for end, word in ends.items()
        if one.kind == "reference" and one.name.endswith(end)
    ]
    return f"{', '.join(found)}: look at its cost before you compare it" if found else ""


def _about_finalists(search: OpenSearch, found: list[TrialRecord], status: str) -> str:
    """That the best trial won without longer trainings of others."""
    chosen = (search.folder.read_state().get("finalists") or {}).get("trials", [])
    if status != "done" or search.searching.finalists < 2 or len(chosen) != 1:
        return ""
    best = len(best_trials(found, search.searching, 2))
    why = "the minutes did not hold longer trainings" if best > 1 else "no other trial was finished"
    return f"the winner is the best trial, no finalists were compared: {why}"


def about_promoted(limits: Mapping[str, float], found: Sequence[TrialRecord], contenders: Sequence[Contender]) -> str:
    """Which networks that were trained fully lie above a limit of the search, and by how much."""
    priced = {record.number: record.costs for record in found}
    above = []
    for one in contenders:
        costs = {**priced.get(-1 if one.trial is None else one.trial, {}), **one.costs}
        over = [(name, limit) for name, limit in limits.items() if costs.get(name, 0.0) > limit]
        if one.kind == "promoted" and over:
            told = (
                f"{quantity(name).title} {quantity(name).text(costs[name])}, {costs[name] / limit - 1:.2%} above "
                f"{quantity(name).text(limit)}"
                for name, limit in over
            )
            above.append(f"{one.name} ({'; '.join(told)})")
    return f"not within the limits of this search: {', '.join(above)}" if above else ""


def about_device_away(found: Sequence[TrialRecord], status: str) -> str:
    """Why the last networks were not measured, where that ended the search, and how it goes on."""
    last = [record for record in found if record.duplicate_of is None][-MOST_UNMEASURED:]
    if status != "done" or len(last) < MOST_UNMEASURED or any(record.state != "unmeasured" for record in last):
        return ""
    cause = last[-1].reason.partition(";")[0]
    return f"the search ended early: {cause}; {EXTEND} --trials 10 goes on when the device measures again"


def _about_references(search: OpenSearch, contenders: Sequence[Contender], status: str) -> str:
    """What the winner was not compared with, and the command that adds it."""
    compared = {one.name.partition(" x")[0] for one in contenders if one.kind == "reference"}
    missing = [name for name in REFERENCES if name not in compared]
    if status != "done" or not missing:
        return ""
    why = "the minutes did not hold their training" if search.searching.references else "references is off"
    return f"not compared with {', '.join(missing)}: {why}; {PROMOTE} --references trains them as the winner was"


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


def levelled_off(found: Sequence[TrialRecord]) -> str:
    """A sentence when the last third of the judged trials brought hardly a gain in reward; else empty.

    Where several values count, accuracy alone says nothing of the gain.
    """
    judged = [record.values for record in found if record.is_result]
    values = [first for first, *others in judged if not others]
    if len(values) < 9:
        return ""
    gain = max(values) - max(values[: -(len(values) // 3)])
    if gain >= LEVELLED_OFF:
        return ""
    told = f"raised the best by {gain:.4f}" if round(gain, 4) else "found nothing better"
    return f"the gain has levelled off: the last {len(values) // 3} of {len(values)} trials {told}"
