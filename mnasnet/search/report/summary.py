"""An answer in a few sentences, for the terminal and the head of the page."""

from __future__ import annotations

from collections.abc import Mapping

from mnasnet.search.answer import EXPECTED, Answer, Contender, ranked_finalists
from mnasnet.search.costs import how, quantity
from mnasnet.words import amount, duration

FEWEST_FOR_ORDER = 10  # networks, for Kendall's tau to be read at all


def summary_lines(answer: Answer) -> list[str]:
    """What was found, what it was found by, and how it compares; one sentence a line."""
    return [
        _winner(answer),
        _effort(answer),
        *(_longer(contender, answer.role_of(contender)) for contender in answer.contenders),
        *([tau_sentence(answer)] if answer.kendall_tau is not None else []),
    ]


def tau_sentence(answer: Answer) -> str:
    """How well the search's own judgement ranked the finalists."""
    if answer.kendall_tau is None:
        return ""
    caution = f" Of fewer than {FEWEST_FOR_ORDER} networks chance decides much of it."
    ranked = len(ranked_finalists(answer.contenders))
    return (
        f"Kendall tau {answer.kendall_tau:.2f} between what the search thought of {ranked} networks and their longer "
        f"training: 1 is the same order, 0 no relation, -1 the reverse.{caution if ranked < FEWEST_FOR_ORDER else ''}"
    )


def costs_in_words(costs: Mapping[str, float], measured: Mapping[str, bool]) -> str:
    """Costs with their units, each said to be measured or predicted where it was not counted."""
    words = []
    for name, value in costs.items():
        source = how(name, measured)
        said = "" if source == "counted" else f" {source}"
        words.append(f"{quantity(name).title} {quantity(name).text(value)}{said}")
    return ", ".join(words)


def winner_costs(answer: Answer) -> tuple[Mapping[str, float], Mapping[str, bool]]:
    """The winner's costs, as far as they are known after its full training those, and which were measured."""
    if answer.winner is None:
        return {}, answer.measured
    trained = answer.trained(answer.winner.number)
    found = {**answer.winner.costs, **(trained.costs if trained else {})}
    costs = {name: found[name] for name in answer.cost_names if name in found}
    return costs, answer.measured if trained is None else answer.measured_when_trained


def _winner(answer: Answer) -> str:
    best = answer.winner
    if best is None or best.accuracy is None:
        return f"No winner: {answer.reason or 'no trial was finished'}."
    trained = answer.trained(best.number)
    accuracy = _after_training(answer, trained, best.accuracy) if trained else _in_trial(answer, best.accuracy)
    return f"Winner: trial {best.number}, {accuracy}; {costs_in_words(*winner_costs(answer))}."


def _after_training(answer: Answer, trained: Contender, in_trial: float) -> str:
    """The accuracy that counts, and behind it that of the trial."""
    found = (
        (trained.test_accuracy, trained.test_images, "test"),
        (trained.val_accuracy, trained.val_images, "validation"),
    )
    parts = [_share(answer, accuracy, count, kind) for accuracy, count, kind in found if accuracy is not None]
    name = answer.accuracy_name.removeprefix(EXPECTED)
    kind = answer.accuracy_name.removesuffix(name)
    return f"{name} {' and '.join(parts)} after its full training, in its trial {kind}{in_trial:.1%}"


def _in_trial(answer: Answer, accuracy: float) -> str:
    if not answer.val_images:
        return f"{answer.accuracy_name} {accuracy:.1%}"
    if answer.accuracy_name.startswith(EXPECTED):  # a mean of probabilities
        return f"{answer.accuracy_name} {accuracy:.1%} on {answer.val_images} validation images"
    return f"{answer.accuracy_name} {_share(answer, accuracy, answer.val_images, 'validation')}"


def _share(answer: Answer, accuracy: float, images: int, kind: str) -> str:
    joint = "on" if answer.is_of_worst_class else "of"  # a class is judged by some of them
    return f"{accuracy:.1%} {joint} {images} {kind} images"


def _effort(answer: Answer) -> str:
    states = ", ".join(f"{count} {state}" for state, count in answer.counts().items()) or "none"
    return (
        f"{amount(len(answer.records), 'trial')} in {duration(60 * answer.minutes)} ({states}); "
        f"{amount(len(answer.pareto), 'network')} in the Pareto set."
    )


def _longer(contender: Contender, role: str) -> str:
    parts = [f"{amount(contender.epochs, 'epoch')}{' from shared weights' if contender.from_shared else ''}"]
    if contender.val_accuracy is not None:
        parts.append(f"validation {contender.val_accuracy:.1%}")
    if contender.test_accuracy is not None:
        parts.append(f"test {contender.test_accuracy:.1%}")
    parts += [f"{quantity(name).title} {quantity(name).text(value)}" for name, value in contender.costs.items()]
    return f"{contender.name} ({role}): {', '.join(parts)}."
