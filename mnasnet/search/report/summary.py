"""An answer in a few sentences, for the terminal and the head of the page."""

from __future__ import annotations

from collections.abc import Mapping

from mnasnet.search.answer import Answer, Contender
from mnasnet.search.report.quantities import how, quantity
from mnasnet.train.listeners import duration
from mnasnet.words import amount


def summary_lines(answer: Answer) -> list[str]:
    """What was found, what it was found by, and how it compares; one sentence a line."""
    return [
        _winner(answer),
        _effort(answer),
        *(_longer(contender) for contender in answer.contenders),
        *([tau_sentence(answer)] if answer.kendall_tau is not None else []),
    ]


def tau_sentence(answer: Answer) -> str:
    """How well the search's own judgement ranked the finalists."""
    if answer.kendall_tau is None:
        return ""
    ranked = sum(c.kind == "finalist" and c.proxy_accuracy is not None for c in answer.contenders)
    return (
        f"Kendall tau {answer.kendall_tau:.2f} between what the search thought of {ranked} networks and their longer "
        "training: 1 is the same order, 0 no relation, -1 the reverse."
    )


def costs_in_words(costs: Mapping[str, float], measured: Mapping[str, bool]) -> str:
    """Costs with their units, each said to be measured or predicted where it was not counted."""
    words = []
    for name, value in costs.items():
        source = how(name, measured)
        said = "" if source == "counted" else f" {source}"
        words.append(f"{quantity(name).title} {quantity(name).text(value)}{said}")
    return ", ".join(words)


def _winner(answer: Answer) -> str:
    best = answer.winner
    if best is None or best.accuracy is None:
        return f"No winner: {answer.reason or 'no trial was finished'}."
    share = "on" if answer.is_of_worst_class else "of"  # a class is judged by some of them
    images = f" {share} {answer.val_images} validation images" if answer.val_images else ""
    costs = {name: best.costs[name] for name in answer.cost_names if name in best.costs}
    return (
        f"Winner: trial {best.number}, {answer.accuracy_name} {best.accuracy:.1%}{images}; "
        f"{costs_in_words(costs, answer.measured)}."
    )


def _effort(answer: Answer) -> str:
    states = ", ".join(f"{count} {state}" for state, count in answer.counts().items()) or "none"
    return (
        f"{amount(len(answer.records), 'trial')} in {duration(60 * answer.minutes)} ({states}); "
        f"{amount(len(answer.pareto), 'network')} in the Pareto set."
    )


def _longer(contender: Contender) -> str:
    parts = [f"{amount(contender.epochs, 'epoch')}{' from shared weights' if contender.from_shared else ''}"]
    if contender.val_accuracy is not None:
        parts.append(f"validation {contender.val_accuracy:.1%}")
    if contender.test_accuracy is not None:
        parts.append(f"test {contender.test_accuracy:.1%}")
    parts += [f"{quantity(name).title} {quantity(name).text(value)}" for name, value in contender.costs.items()]
    return f"{contender.name} ({contender.kind}): {', '.join(parts)}."
