"""The pictures of an answer: accuracy over cost, progress, and which choices mattered, as PNG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from mnasnet.plots import BLUE, GREY, ORANGE, RED, name_points, new_figure, percent_ticks, png, settle
from mnasnet.search.answer import Answer, Contender
from mnasnet.search.costs import how, quantity
from mnasnet.search.pareto import hypervolume, pareto_front
from mnasnet.search.records import TrialRecord
from mnasnet.search.report.effects import Effects

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FARTHEST_BOUND = 2.0  # times the largest cost of a network that was tried
MOST_CHOICES = 14  # the weightiest; a picture of more cannot be read


def pareto_picture(answer: Answer) -> bytes:
    """Accuracy over the cost that mattered: trials, the front, those above a limit, and who was trained longer."""
    figure = new_figure(9, 5.6)
    axes = figure.subplots()
    axes.set_title(f"{_plain(answer.name)}: {answer.accuracy_name} of the networks tried", fontsize=11)
    axes.set_ylabel(answer.accuracy_name)
    axes.yaxis.set_major_formatter(percent_ticks())
    _clean(axes)
    if not answer.cost_names:
        _say(axes, "no trial was finished")
        return png(figure)
    cost = answer.cost_names[0]
    shown = quantity(cost)
    scale = shown.scale
    axes.set_xlabel(f"{shown.label}, {how(cost, answer.measured)}")
    judged = [r for r in answer.records if r.accuracy is not None and cost in r.costs]
    _judged(axes, answer, judged, cost, scale)
    _unjudged(axes, answer, judged, cost, scale)
    places = _contenders(axes, [(c.costs[cost] * scale, c) for c in answer.contenders if cost in c.costs])
    _limit_line(axes, answer, cost, scale)
    if axes.has_data():
        axes.margins(0.06, 0.1)
        figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=3)
    if not judged and not places:
        _say(axes, "no network was judged")
    settle(figure)
    name_points(axes, places)
    return png(figure)


def _judged(axes: Axes, answer: Answer, judged: Sequence[TrialRecord], cost: str, scale: float) -> None:
    within = [r for r in judged if not _above_target(answer, r, cost)]
    above = [r for r in judged if _above_target(answer, r, cost)]
    for group, fill, label in ((within, "full", "trials"), (above, "none", "trials above the target")):
        if group:
            xs, ys = [r.costs[cost] * scale for r in group], [r.accuracy or 0.0 for r in group]
            axes.plot(xs, ys, "o", color=GREY, fillstyle=fill, markersize=5, alpha=0.55, mew=0.8, label=label)
    front = sorted((r.costs[cost] * scale, r.accuracy or 0.0) for r in answer.pareto if cost in r.costs)
    best = answer.winner
    place = (best.costs[cost] * scale, best.accuracy or 0.0) if best is not None and cost in best.costs else None
    is_alone = front == [place]  # its star would hide the mark of the set
    if front and not is_alone:
        is_line = cost == answer.front_cost
        label = "Pareto set" if is_line else "Pareto set: no network is better in all that was sought"
        axes.plot(
            *zip(*front, strict=True), "o-" if is_line else "o", color=BLUE, markersize=6, linewidth=1.3, label=label
        )
    if best is not None and place is not None:
        label = f"winner, trial {best.number}" + (", the whole Pareto set" if is_alone else "")
        axes.plot(*place, "*", color=ORANGE, markersize=17, mec="white", label=label, zorder=5)


def _unjudged(axes: Axes, answer: Answer, judged: Sequence[TrialRecord], cost: str, scale: float) -> None:
    """Those above a limit, without an accuracy: along the foot, as far as they leave room for the others."""
    costs = [r.costs[cost] for r in answer.records if r.state == "infeasible" and cost in r.costs]
    if not costs:
        return
    limit = answer.limits.get(cost, 0.0)
    reach = 1.3 * max(limit, *(r.costs[cost] for r in judged)) if judged else max(costs)
    near = [value * scale for value in costs if value <= reach]
    further = f", {len(costs) - len(near)} of them further right" if len(near) < len(costs) else ""
    axes.plot(
        near,
        [0.02] * len(near),
        "o",
        transform=axes.get_xaxis_transform(),
        color=GREY,
        fillstyle="none",
        markersize=5,
        alpha=0.6,
        label=f"{len(costs)} above a limit, not trained{further}",
    )


def _above_target(answer: Answer, record: TrialRecord, cost: str) -> bool:
    """Whether the network was judged though its cost lies above the reward's target."""
    target = _target(answer, cost)
    return target is not None and record.costs[cost] > target


def _target(answer: Answer, cost: str) -> float | None:
    """What the reward steers the cost to, if it does."""
    if answer.reward is None or answer.reward.ignores_target or cost != answer.reward_cost:
        return None
    return answer.reward.target


def _contenders(axes: Axes, found: Sequence[tuple[float, Contender]]) -> dict[str, tuple[float, float]]:
    """Draw who was trained longer, by validation accuracy; returns the places of their names."""
    places: dict[str, tuple[float, float]] = {}
    for kinds, colour, marker, label in (
        (("finalist", "promoted"), ORANGE, "D", "trained longer (validation)"),
        (("reference",), RED, "s", "for comparison (validation)"),
    ):
        group = [(c.name, (x, c.val_accuracy)) for x, c in found if c.kind in kinds and c.val_accuracy is not None]
        if group:
            points = [place for _, place in group]
            axes.plot(*zip(*points, strict=True), marker, color=colour, markersize=6.5, label=label)
            places |= dict(group)
    return places


def _limit_line(axes: Axes, answer: Answer, cost: str, scale: float) -> None:
    """Limit and target; one far beyond all networks is written down, as a line would press them into a column."""
    bounds: dict[float, list[str]] = {}
    for name, bound in (("limit", answer.limits.get(cost)), ("target", _target(answer, cost))):
        if bound is not None:
            bounds.setdefault(bound, []).append(name)
    beyond = []
    largest = axes.dataLim.x1
    for bound, names in bounds.items():
        label = " and ".join(names)
        if axes.has_data() and bound * scale > FARTHEST_BOUND * largest:
            beyond.append(f"{label} {quantity(cost).text(bound)}, beyond this picture")
        else:
            style = "-" if "limit" in names else "--"
            axes.axvline(bound * scale, color=RED, linestyle=style, linewidth=1, label=label)
    axes.text(0.99, 0.98, "\n".join(beyond), transform=axes.transAxes, ha="right", va="top", color=RED, fontsize=8)


def progress_picture(answer: Answer) -> bytes:
    """The best found so far, by trial and by minutes of work."""
    figure = new_figure(11, 3.8)
    by_trial, by_minutes = figure.subplots(1, 2, sharey=True)
    found = progress(answer)
    by_trial.set_ylabel(progress_of(answer))
    by_trial.set_xlabel("trial")
    by_trial.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    by_minutes.set_xlabel("minutes of work on trials, all workers added up")
    for axes, place in ((by_trial, 0), (by_minutes, 1)):
        _clean(axes)
        if not found:
            _say(axes, "no trial was finished")
            continue
        xs, values = [point[place] for point in found], [point[2] for point in found]
        if not answer.objectives:
            axes.plot(xs, values, "o", color=GREY, markersize=3.5, alpha=0.5, label="each trial")
        best, label = list(accumulate(values, max)), "Pareto set so far" if answer.objectives else "best so far"
        axes.step(xs, best, where="post", color=BLUE, linewidth=1.8, label=label)
    if found:
        by_trial.legend(frameon=False, fontsize=8, loc="lower right")
    return png(figure)


def progress_of(answer: Answer) -> str:
    """What :func:`progress` tells."""
    if answer.objectives:
        return "hypervolume"
    return "accuracy" if answer.reward is None else "reward"


def progress(answer: Answer) -> list[tuple[int, float, float]]:
    """Of each judged network: its trial, the minutes of work on trials until then, its reward or else accuracy.

    Of a search for trade-offs the hypervolume of the Pareto set until then, which alone says how good that is.
    """
    minutes = accumulate(record.seconds / 60.0 for record in answer.records)
    judged = [
        (record, spent)
        for record, spent in zip(answer.records, minutes, strict=True)
        if record.is_result and record.values
    ]
    found = [record for record, _ in judged]
    values = _hypervolumes(found, answer.objectives) if answer.objectives else [record.values[0] for record in found]
    return [(record.number, spent, value) for (record, spent), value in zip(judged, values, strict=True)]


def _hypervolumes(found: Sequence[TrialRecord], costs: Sequence[str]) -> list[float]:
    """That of the Pareto set after each network, from accuracy 0 and the highest cost of each kind: at most 1."""
    highest = {name: max(record.costs[name] for record in found) for name in costs} if found else {}
    front = np.zeros((0, 1 + len(costs)))
    values = [0.0]
    for record in found:
        point = np.array([record.accuracy or 0.0, *(1.0 - record.costs[name] / highest[name] for name in costs)])
        if (front >= point).all(axis=1).any():
            values.append(values[-1])
            continue
        # what the network adds: its own box, less what the front has of that, which few of the front's tell
        shared = np.minimum(front, point).tolist()
        known = hypervolume([shared[place] for place in pareto_front(shared)], [0.0] * len(point))
        values.append(values[-1] + max(0.0, float(point.prod()) - known))
        front = np.vstack([front[(front > point).any(axis=1)], point])
    return values[1:]


def choices_picture(found: Effects) -> bytes:
    """What each option adds to accuracy and to cost, for the weightiest choices."""
    shown = found.choices[:MOST_CHOICES]
    figure = new_figure(11, 1.9 + 0.42 * max(3, len(shown)))
    columns = 2 if found.cost_name else 1
    panels = figure.subplots(1, columns, sharey=True, squeeze=False)[0]
    if not shown:
        _say(panels[0], "too few networks were judged")
        panels[0].set_axis_off()
        return png(figure)
    _panel(panels[0], found, lambda option: 100 * option.accuracy)
    panels[0].set_xlabel("points of accuracy")
    weights = [f"{effect.choice}  ({effect.weight:.0%})" for effect in shown]
    panels[0].set_yticks(range(len(shown)), weights)
    panels[0].invert_yaxis()
    if found.cost_name:
        _panel(panels[1], found, lambda option: 100 * (option.cost or 0.0))
        panels[1].set_xlabel(f"percent of {quantity(found.cost_name).title}")
    figure.suptitle(
        f"What each option adds, {found.networks} networks; in brackets the choice's share of the effect on accuracy\n"
        f"additive fit, predicts {max(0.0, found.explained):.0%} of the variance of networks left out",
        fontsize=10,
    )
    return png(figure)


def _panel(axes: Axes, found: Effects, value: Callable[..., float]) -> None:
    _clean(axes)
    axes.axvline(0, color=GREY, linewidth=0.8)
    for row, effect in enumerate(found.choices[:MOST_CHOICES]):
        ordered = sorted(effect.options, key=value)
        axes.plot([value(option) for option in ordered], [row] * len(ordered), color=BLUE, linewidth=1, alpha=0.4)
        for option in ordered:
            place = (value(option), row)
            axes.plot(*place, "o", color=BLUE, markersize=5, fillstyle="full" if option.tried else "none")
        for option, side in ((ordered[0], -1), (ordered[-1], 1)):
            axes.annotate(
                str(option.option),
                (value(option), row),
                (7 * side, 0),
                textcoords="offset points",
                ha="right" if side < 0 else "left",
                va="center",
                fontsize=8,
            )
    axes.margins(0.2, 0.06)


def _clean(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


def _plain(name: str) -> str:
    return name.replace("$", r"\$")  # matplotlib would take it for a formula
