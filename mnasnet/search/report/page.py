"""``report.html``: the whole answer as one interactive page that needs no other file and no network."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import mnasnet
from mnasnet.pages import render
from mnasnet.reward import Reward
from mnasnet.search.answer import Answer, Contender
from mnasnet.search.costs import LATENCY, how, quantity
from mnasnet.search.report.effects import Effects
from mnasnet.search.report.figures import progress, progress_of
from mnasnet.search.report.summary import summary_lines, tau_sentence, winner_costs
from mnasnet.spec import BlockSpec
from mnasnet.train.evaluate import wilson_interval
from mnasnet.words import duration


def report_html(answer: Answer, found: Effects, picture: bytes, files: Sequence[str]) -> str:
    """The page. ``picture`` (PNG) stands in where scripts are forbidden; ``files`` are named at the end."""
    summary = summary_lines(answer)
    costs, measured = winner_costs(answer)
    return render(
        "search.html",
        answer=answer,
        judged=sum(record.was_judged for record in answer.records),
        headline=summary[0],
        effort=summary[1],
        winner_costs=[(quantity(name), value, how(name, measured)) for name, value in costs.items()],
        duration=duration(60 * answer.minutes),
        reward=_reward(answer),
        limits={quantity(name).title: quantity(name).text(limit) for name, limit in answer.limits.items()},
        quantities={name: quantity(name) for name in answer.cost_names},
        sources={name: how(name, answer.measured) for name in answer.cost_names},
        columns=_columns(answer),
        contenders=[_contender(answer, contender) for contender in _ordered(answer)],
        compared=any(contender.kind == "reference" for contender in answer.contenders),
        from_shared=any(contender.from_shared for contender in answer.contenders),
        tau=tau_sentence(answer),
        effects=found,
        picture=base64.b64encode(picture).decode(),
        files=files,
        version=mnasnet.__version__,
        data=page_data(answer, found),
    )


def page_data(answer: Answer, found: Effects) -> dict[str, Any]:
    """What the page's script draws from, as compact JSON values: 10,000 trials are some megabytes."""
    costs = answer.cost_names
    choices = answer.space.choices
    designs = _Places()
    reasons = _Places()
    trials = []
    for record in answer.records:
        candidate = answer.candidate(record)
        spec = None if candidate is None else candidate.architecture
        trials.append(
            [
                record.number,
                answer.state_of(record),
                _rounded(record.accuracy),
                _rounded(record.values[0] if record.values and not answer.objectives else None),
                round(record.seconds, 1),
                reasons.of(record.reason),
                record.duplicate_of,
                [_rounded(record.costs.get(name)) for name in costs],
                [c.options.index(record.params[c.name]) if c.name in record.params else -1 for c in choices],
                [] if spec is None else [designs.of(block) for block in spec.blocks],
                None if spec is None else [spec.stem_channels, spec.stem_stride, spec.head_channels],
                None if candidate is None else candidate.input_size,
            ]
        )
    target = answer.reward is not None and not answer.reward.ignores_target
    return {
        "accuracy": answer.accuracy_name,
        "costs": [
            {"name": name, "title": shown.title, "label": shown.label, "scale": shown.scale, "unit": shown.unit,
             "how": how(name, answer.measured)}
            for name, shown in ((name, quantity(name)) for name in costs)
        ],
        "target": {answer.reward_cost: answer.reward.target} if answer.reward is not None and target else {},
        "limits": dict(answer.limits),
        "choices": [{"name": choice.name, "options": list(choice.options)} for choice in choices],
        "designs": [asdict(design) for design in designs.items],
        "reasons": reasons.items,
        "trials": trials,
        "frontCost": answer.front_cost,
        "pareto": [record.number for record in answer.pareto],
        "winner": None if answer.winner is None else answer.winner.number,
        "contenders": [
            {"name": c.name, "kind": c.kind, "trial": c.trial, "epochs": c.epochs, "validation": c.val_accuracy,
             "test": c.test_accuracy, "costs": [_rounded(c.costs.get(name)) for name in costs]}
            for c in answer.contenders
        ],
        "progress": [[number, _rounded(spent), _rounded(value)] for number, spent, value in progress(answer)],
        "progressOf": progress_of(answer),
        "effects": [asdict(effect) for effect in found.choices],
        "effectsCost": quantity(found.cost_name).title if found.cost_name else "",
    }  # fmt: skip


class _Places:
    """Different values in the order in which they first came, each told by its place."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._places: dict[Any, int] = {}

    def of(self, value: BlockSpec | str) -> int:
        if value not in self._places:
            self._places[value] = len(self.items)
            self.items.append(value)
        return self._places[value]


def _ordered(answer: Answer) -> list[Contender]:
    """The cheapest first, so that those of equal cost stand side by side."""
    first = answer.cost_names[:1]
    return sorted(answer.contenders, key=lambda c: [c.costs.get(name, math.inf) for name in first])


_MOST_COLUMNS = 3


def _columns(answer: Answer) -> list[str]:
    """The costs in the table of those trained longer: the measured latency, then what the search cared for."""
    measured = any(contender.latency for contender in answer.contenders)
    return list(dict.fromkeys([*([LATENCY] if measured else []), *answer.cost_names]))[:_MOST_COLUMNS]


def _contender(answer: Answer, contender: Contender) -> dict[str, Any]:
    latency = contender.latency or {}
    costs = {LATENCY: latency["undisturbed_ms"], **contender.costs} if latency else contender.costs
    disturbed = latency.get("note", "") if not latency.get("quiet", True) else ""
    texts = [quantity(name).text(costs[name]) if name in costs else "–" for name in _columns(answer)]
    if disturbed:
        texts[0] += "*"
    return {
        "contender": contender,
        "validation": _interval(answer, contender.val_accuracy, contender.val_images),
        "test": _interval(answer, contender.test_accuracy, contender.test_images),
        "costs": texts,
        "disturbed": disturbed,
    }


def _interval(answer: Answer, accuracy: float | None, images: int) -> tuple[float, float] | None:
    """The 95 % interval of an accuracy from so many images; None of a worst class, whose images are fewer."""
    if accuracy is None or images < 1 or answer.is_of_worst_class:
        return None
    return wilson_interval(round(accuracy * images), images)


def _reward(answer: Answer) -> str:
    """What was maximised, in words."""
    if answer.objectives:
        names = ", ".join(quantity(name).title for name in answer.objectives)
        chosen = "" if answer.winner_reward is None else f"; the winner by {_rule(answer, answer.winner_reward)}"
        return f"the Pareto set of {answer.accuracy_name} against {names}{chosen}"
    return answer.accuracy_name if answer.reward is None else _rule(answer, answer.reward)


def _rule(answer: Answer, reward: Reward) -> str:
    target = quantity(answer.reward_cost).text(reward.target)
    title = quantity(answer.reward_cost).title
    return f"the {reward.form} reward of {answer.accuracy_name} and {title}, target {target}"


def _rounded(value: float | None) -> float | None:
    """Six significant digits: more than anybody reads, and half the bytes."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
