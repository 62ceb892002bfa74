"""Sentences that the reader of an answer must see: what does not bind, cannot be trusted or was left out, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mnasnet.files import quoted
from mnasnet.reward import Reward
from mnasnet.search.answer import EXPORT, EXTEND, PROMOTE, Contender
from mnasnet.search.costs import LATENCY, above_limit, quantity
from mnasnet.search.curriculum import cheapest_and_dearest
from mnasnet.search.longer_training import Place, places
from mnasnet.search.monitor import MOST_UNMEASURED
from mnasnet.search.open_search import OpenSearch
from mnasnet.search.ranking import Ranking
from mnasnet.search.records import TrialRecord
from mnasnet.search.references import REFERENCES, WIDTHS
from mnasnet.search.searching import Searching
from mnasnet.search.selection import best_trials
from mnasnet.words import amount

FAR_OFF = 0.5  # of what was measured; a busy device explains less
ERRORS_OFF = 3  # times the table's own mean error
LEVELLED_OFF = 0.002  # less reward than this gained in the last third of the trials


def notes_of(
    search: OpenSearch,
    found: Sequence[TrialRecord],
    contenders: Sequence[Contender],
    ranking: Ranking | None,
    status: str,
) -> list[str]:
    """All that there is to say beside the answer's numbers, as far as the search is by now."""
    reward, asked = search.problem.reward, search.searching
    told = (
        _about_reward(reward),
        about_target(reward, asked.reward_cost, found),
        _about_table(search),
        *table_doubts(search),
        _about_8_bits(asked),
        "" if ranking is None else f"shared weights: {ranking.sentence(asked.proxy_epochs)}",
        _about_teacher(search, contenders),
        _about_start(search, contenders),
        _about_costs(contenders),
        _about_diverged(search),
        _about_finalists(search, found, status),
        about_promoted(search.problem.limits, found, contenders),
        about_device_away(found, status),
        _about_references(search, contenders, status),
    )
    return [text for text in told if text]


def _about_reward(reward: Reward | None) -> str:
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


def table_doubts(search: OpenSearch) -> Iterator[str]:
    """Sentences about the table that was given; none for one that the search made itself, or before it measures."""
    table = search.table
    if table is None or not search.searching.latency_table:
        return
    smallest, _ = cheapest_and_dearest(search.problem.space, search.plan.input_size)
    network = smallest.architecture, smallest.input_size or search.plan.input_size
    measured = search.remembered.known(*network)
    if measured is None:
        return
    name, made, now_ms = table.conditions.measured_on, table.conditions, measured.undisturbed_ms
    latency = quantity(LATENCY)
    priced_ms = table.predict_ms(*network)
    error = table.error.mape_percent / 100 if table.error else 0.0
    if abs(priced_ms / now_ms - 1) > max(FAR_OFF, ERRORS_OFF * error):
        yield (
            f"the table of {name} prices the smallest network at {latency.text(priced_ms)}, measured it took "
            f"{latency.text(now_ms)}; profile the device again"
        )
    if measured.runtime_version != made.runtime_version:
        day = f" on {table.made_on}" if table.made_on else ""
        yield (
            f"the table of {name} was made{day} with {made.runtime} {made.runtime_version}, the device has "
            f"{measured.runtime_version} now; profile it again where prices and measurements differ"
        )


def _about_8_bits(asked: Searching) -> str:
    """That latency is of other numbers than accuracy, and the command that tells both of one file."""
    if asked.precision != "int8" or not asked.needs_latency:
        return ""
    return (
        f"latency is of 8 bits made up for timing, accuracy and size are of float32: {EXPORT} --int8 --data "
        f"{quoted(asked.data)} makes and judges the file"
    )


def _about_teacher(search: OpenSearch, contenders: Sequence[Contender]) -> str:
    """Whose answers the networks that are compared have learned."""
    if not search.plan.teacher or not contenders:
        return ""
    return f"all longer trainings learned the answers of {search.plan.teacher} beside the labels"


def _about_start(search: OpenSearch, contenders: Sequence[Contender]) -> str:
    """That networks which are compared did not start alike."""
    fresh = next((one.name for one in contenders if one.kind == "reference" and one.trial is not None), None)
    if search.shared is None or fresh is None:
        return ""
    return (
        f"finalists and winner went on from shared weights, which had {amount(search.shared.epochs, 'epoch')} on these "
        f"images; published networks started from fresh ones, so compare designs with the row {fresh!r}"
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


def _about_diverged(search: OpenSearch) -> str:
    """Which longer trainings are missing because they diverged."""
    lost = [place.name for place in _diverged(search)]
    return f"left out, their training diverged: {', '.join(lost)}" if lost else ""


def _diverged(search: OpenSearch) -> list[Place]:
    lost = search.folder.diverged
    return [place for place in places(search) if place.folder in lost]


def _about_finalists(search: OpenSearch, found: Sequence[TrialRecord], status: str) -> str:
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
            above.append(f"{one.name} ({'; '.join(above_limit(name, costs[name], limit) for name, limit in over)})")
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
    known = [(one.kind, one.name) for one in contenders] + [(one.kind, one.name) for one in _diverged(search)]
    compared = {name.partition(" x")[0] for kind, name in known if kind == "reference"}
    missing = [name for name in REFERENCES if name not in compared]
    if status != "done" or not missing:
        return ""
    why = "the minutes did not hold their training" if search.searching.references else "references is off"
    return f"not compared with {', '.join(missing)}: {why}; {PROMOTE} --references trains them as the winner was"


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
