"""The guided search: costs are known before training, accuracies are predicted with doubt, the best guess is next.

Each trial draws one function out of those that the finished trials still allow (Thompson sampling) and takes
the network that it holds best among a few generations bred from the best networks so far, counting only
networks that meet the limits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from mnasnet.search.categorical import (
    CategoricalSampler,
    Categories,
    categories_of,
    draw_indices,
    generator,
    indices_of,
)
from mnasnet.search.extrapolation import Extrapolation
from mnasnet.search.history import History, excess_of, is_copy, outcome_of
from mnasnet.search.known_costs import KnownCosts
from mnasnet.search.problem import RewardError, SearchProblem
from mnasnet.search.surrogate import ERROR_SCALES, Features, Points, Reals, Scales, Surrogate, choose_scales, fit

Score = Callable[[Points], Reals]
Prices = Callable[[Points], list[dict[str, float]]]

INITIAL = 16  # random networks before the first prediction
DOUBT = 0.5  # of the posterior's own spread; 1 explores more than a few hundred evaluations repay
GROWTH = 1.25  # the predictor's scales are chosen anew when the finished trials have grown by this factor
GENERATIONS, CHILDREN, PARENTS = 5, 60, 25
ELITE, RANDOM_OLD, RANDOM_NEW = 10, 5, 5
BEYOND = 0.15  # of the front's range, in logarithms
_OUT_OF_LIMITS = -1e6  # below any reward
_MIN_COSTS = 8  # measured costs before they are predicted


class GuidedSampler(CategoricalSampler):
    """Predicts accuracy from the finished trials and proposes what could be best, one trial at a time.

    With a ``problem`` it knows the limits, the reward or the objectives and, where there are estimates, every
    cost; costs without an estimate are predicted from measured ones. Without a problem it is a sampler for the
    categorical parameters of any single-objective study, whose constraints it predicts and keeps; a pruned trial counts
    as what its steps promised. All it knows is a function of the finished trials and ``seed``.
    """

    def __init__(self, *, seed: int = 0, problem: SearchProblem | None = None) -> None:
        super().__init__(seed, None if problem is None else categories_of(problem.space))
        self._problem = problem
        self._known_costs = KnownCosts(problem) if problem is not None else None
        self._history = History()
        self._knowledge: _Knowledge | None = None

    def _propose(self, study: optuna.Study, trial: FrozenTrial, categories: Categories) -> tuple[int, ...]:
        """The network that a draw of the predictor holds best; a random one within the limits at first."""
        return _best_guess(self._learn(study, categories), self._known_costs, generator(self._seed, trial))

    def _require_objectives(self, study: optuna.Study) -> None:
        if self._problem is None or len(study.directions) != len(self._problem.directions):
            self._raise_error_if_multi_objective(study)

    def _learn(self, study: optuna.Study, categories: Categories) -> _Knowledge:
        new, restarted = self._history.update(study)
        if restarted or self._knowledge is None or self._knowledge.categories != categories:
            direction = study.direction if self._problem is None else None
            self._knowledge = _Knowledge(categories, self._problem, self._known_costs, direction)
            new = self._history.trials
        for trial in new:
            self._knowledge.add(trial)
        self._knowledge.leave_out(self._history.unavailable(study, categories))
        return self._knowledge


class _Knowledge:
    """What the finished trials say, in the order in which they finished."""

    def __init__(
        self,
        categories: Categories,
        problem: SearchProblem | None,
        known_costs: KnownCosts | None,
        direction: StudyDirection | None,
    ) -> None:
        self.categories = categories
        self.counts = np.asarray([len(found.choices) for found in categories.values()])
        self.problem = problem
        self._known_costs = known_costs
        self.unavailable: set[tuple[int, ...]] = set()
        self.unavailable_networks: set[str] = set()
        self.seen: set[tuple[int, ...]] = set()
        self.networks: set[str] = set()  # several combinations of choices can mean the same network
        self.points: list[tuple[int, ...]] = []  # judged
        self.values: list[float] = []  # accuracy, or the study's value with its sign
        self.merits: list[tuple[float, ...]] = []  # reward, or accuracy and objectives
        self.excesses: list[float] = []  # over the constraints that a study of somebody else sets
        self.front: list[tuple[float, ...]] = []  # the merits that no other beats
        self._sign = -1.0 if direction == StudyDirection.MINIMIZE else 1.0
        powers = ERROR_SCALES if problem is not None else (None,)
        self._extrapolation = Extrapolation()
        self._accuracy = _Predictor(categories, powers, INITIAL, known_costs.sizes if known_costs is not None else None)
        self._cost_points: list[tuple[int, ...]] = []
        self._costs: dict[str, list[float]] = {}
        self._cost_predictors: dict[str, _Predictor] = {}
        self._constraints: dict[str, tuple[list[tuple[int, ...]], list[float]]] = {}  # as costs, of somebody else's

    def leave_out(self, unavailable: set[tuple[int, ...]]) -> None:
        """Propose none of these points, and nothing that means the same network."""
        self.unavailable = unavailable
        if self._known_costs is not None:
            self.unavailable_networks = {self._known_costs.fingerprint(point) for point in unavailable}

    def add(self, trial: FrozenTrial) -> None:
        indices = indices_of(trial, self.categories)
        if indices is None:
            return
        self.seen.add(indices)
        outcome = outcome_of(trial)
        self.networks.add(outcome.get("fingerprint", ""))
        if is_copy(trial):
            return
        if outcome.get("costs"):
            self._cost_points.append(indices)
            for name, cost in outcome["costs"].items():
                self._costs.setdefault(name, []).append(cost)
        if self.problem is None:
            for name, over in trial.constraints.items():
                if np.isfinite(over):
                    points, known = self._constraints.setdefault(name, ([], []))
                    points.append(indices)
                    known.append(over)
        if trial.state == TrialState.PRUNED:
            self._add_pruned(indices, trial, outcome.get("costs", {}))
        elif trial.values:
            value = self._sign * trial.values[0] if self.problem is None else outcome.get("accuracy", trial.values[0])
            if np.isfinite(value):
                self._extrapolation.learn(self._so_far(trial, outcome.get("costs", {})), value)
                excess = excess_of(trial) if self.problem is None else 0.0
                self._judged(indices, value, (value,) if self.problem is None else tuple(trial.values), excess)
                if not any(_beats(kept, self.merits[-1]) for kept in self.front):
                    self.front = [kept for kept in self.front if not _beats(self.merits[-1], kept)]
                    self.front.append(self.merits[-1])

    def _add_pruned(self, indices: tuple[int, ...], trial: FrozenTrial, costs: Mapping[str, float]) -> None:
        """A training that was ended early still tells where it was heading; it is no part of the front."""
        so_far = self._so_far(trial, costs)
        if self.problem is None:
            if so_far and (trial.constraints or not self.is_constrained):
                own = self._extrapolation.at_most_of(so_far)
                # it was pruned before it could tell whether it meets constraints, which others may set later
                excess = excess_of(trial) if trial.constraints else np.nan
                self._judged(indices, own, (own,), excess)
        elif (value := self._extrapolation.of(so_far)) is not None:
            accuracy = min(1.0, max(0.0, value))
            self._judged(indices, accuracy, self.problem.values(accuracy, costs))

    def _so_far(self, trial: FrozenTrial, costs: Mapping[str, float]) -> dict[int, float]:
        """The accuracy after each step that the trial reported, of which the study was told the reward.

        Of a study without a problem the values as they are, more being better.
        """
        if self.problem is None:
            told = trial.intermediate_values.items()
            return {step: self._sign * value for step, value in told if np.isfinite(value)}
        if not {*self.problem.meters} <= {*costs}:
            return {}
        found = {step: self.problem.accuracy_of(value, costs) for step, value in trial.intermediate_values.items()}
        return {step: accuracy for step, accuracy in found.items() if accuracy is not None}

    def _judged(self, indices: tuple[int, ...], value: float, merit: tuple[float, ...], excess: float = 0.0) -> None:
        self.points.append(indices)
        self.values.append(value)
        self.merits.append(merit)
        self.excesses.append(excess)

    @property
    def is_constrained(self) -> bool:
        """Whether somebody else's study sets constraints."""
        return bool(self._constraints)

    def accuracy(self) -> Surrogate:
        return self._accuracy.at(self.points, self.values)

    def drawn_cost(self, name: str, rng: np.random.Generator) -> Score | None:
        """One function out of those that the measured costs allow; None while too few are known.

        Not the best guess: for that an option never measured costs nothing, and a limit that only it can meet would
        never be met.
        """
        known = self._costs.get(name, [])
        if len(known) < _MIN_COSTS or len(known) != len(self._cost_points):
            return None
        predictor = self._cost_predictors.setdefault(name, _Predictor(self.categories, (None,), _MIN_COSTS))
        logs = [float(np.log(cost)) for cost in known]
        drawn = predictor.at(self._cost_points, logs).draw(rng, DOUBT)
        return lambda points: np.asarray(np.exp(drawn(points)))

    def drawn_constraints(self, rng: np.random.Generator) -> list[Score]:
        """For each constraint of somebody else's study one of the functions that still fit; above 0 it is broken."""
        scores = []
        for name, (points, known) in sorted(self._constraints.items()):
            if len(known) >= _MIN_COSTS:
                predictor = self._cost_predictors.setdefault(name, _Predictor(self.categories, (None,), _MIN_COSTS))
                scores.append(predictor.at(points, known).draw(rng, DOUBT))
        return scores


class _Predictor:
    """Fits surrogates to a growing list at fixed lengths only, so that the fit depends on nothing but the list."""

    def __init__(
        self,
        categories: Categories,
        powers: Sequence[int | None],
        first: int,
        sizes: Callable[[Points], Reals] | None = None,
    ) -> None:
        self._features = Features(list(categories), [len(found.choices) for found in categories.values()], sizes)
        self._powers = powers
        self._first = first
        self._scales: tuple[int, Scales] | None = None
        self._fitted: tuple[int, Surrogate] | None = None

    def at(self, points: Sequence[tuple[int, ...]], values: Sequence[float]) -> Surrogate:
        length = len(points) - len(points) % max(1, len(points) // 64)
        if self._fitted is None or self._fitted[0] != length:
            scales_at = _last_step(self._first, length)
            if self._scales is None or self._scales[0] != scales_at:
                known = np.asarray(points[:scales_at]), np.asarray(values[:scales_at])
                self._scales = scales_at, choose_scales(self._features, *known, self._powers)
            known = np.asarray(points[:length]), np.asarray(values[:length])
            self._fitted = length, fit(self._features, *known, self._scales[1])
        return self._fitted[1]


def _last_step(first: int, length: int) -> int:
    """The largest number up to ``length`` in the sequence that starts at ``first`` and grows by GROWTH."""
    step = min(first, length)
    while max(step + 1, int(step * GROWTH)) <= length:
        step = max(step + 1, int(step * GROWTH))
    return step


def _best_guess(knowledge: _Knowledge, known_costs: KnownCosts | None, rng: np.random.Generator) -> tuple[int, ...]:
    prices = _prices(knowledge, known_costs, rng)
    score = _first_score(knowledge, prices)
    if len(knowledge.points) >= INITIAL:
        score, order = _score(knowledge, prices, rng)
        others = rng.integers(len(knowledge.points), size=RANDOM_OLD)
        parents = np.asarray([knowledge.points[i] for i in [*order[:ELITE], *others]])
        fresh = _random_points(knowledge.counts, RANDOM_NEW, rng)
        ranked = _evolve(np.vstack([parents, fresh]), score, knowledge.counts, rng)
    else:
        ranked = _random_points(knowledge.counts, 1, rng)
        if score(ranked)[0] < 0.0:
            ranked = _evolve(_random_points(knowledge.counts, CHILDREN, rng), score, knowledge.counts, rng)
            within = ranked[score(ranked) >= 0.0]
            # any network within the limits, not the one furthest from them
            ranked = within[rng.permutation(len(within))] if len(within) else ranked
    for point in ranked.tolist():
        if _is_new(knowledge, known_costs, tuple(point)):
            return tuple(point)
    return _unseen(knowledge, known_costs, ranked, rng)


def _is_new(knowledge: _Knowledge, known_costs: KnownCosts | None, point: tuple[int, ...]) -> bool:
    if point in knowledge.seen or point in knowledge.unavailable:
        return False
    if known_costs is None:
        return True
    network = known_costs.fingerprint(point)
    return network not in knowledge.networks and network not in knowledge.unavailable_networks


def _unseen(
    knowledge: _Knowledge, known_costs: KnownCosts | None, ranked: Points, rng: np.random.Generator
) -> tuple[int, ...]:
    """A random network nobody has tried; in a space all but used up, one already tried."""
    for _ in range(200):
        point = draw_indices(knowledge.categories, rng)
        if _is_new(knowledge, known_costs, point):
            return point
    return tuple(ranked[0].tolist())


def _first_score(knowledge: _Knowledge, prices: Prices) -> Score:
    """0 for networks within the limits as far as is known, else minus the excess."""
    problem = knowledge.problem
    if problem is None:
        return lambda points: np.zeros(len(points))

    def score(points: Points) -> Reals:
        return np.asarray([-problem.total_excess(row) for row in prices(points)])

    return score


def _score(knowledge: _Knowledge, prices: Prices, rng: np.random.Generator) -> tuple[Score, NDArray[np.int64]]:
    """How good a point is by one draw of the predictor, and the judged points ordered by what was measured."""
    drawn = knowledge.accuracy().draw(rng, DOUBT)
    problem = knowledge.problem
    merits = np.asarray(knowledge.merits)
    if problem is None:
        excesses = np.nan_to_num(knowledge.excesses, nan=np.inf if knowledge.is_constrained else 0.0)
        order = np.lexsort((-merits[:, 0], excesses))
        return _within(knowledge.drawn_constraints(rng), drawn), order
    ceilings = _ceilings(np.asarray(knowledge.front), rng) if problem.objectives else None
    if ceilings is not None:
        over = np.maximum(merits[:, 1:] / ceilings - 1.0, 0.0).sum(axis=1)
        order = np.argsort(np.where(over > 0.0, over, -merits[:, 0]), kind="stable")
    else:
        order = np.argsort(-merits[:, 0], kind="stable")

    def score(points: Points) -> Reals:
        accuracies, costs = np.clip(drawn(points), 0.0, 1.0).tolist(), prices(points)
        return np.asarray([_merit(problem, a, row, ceilings) for a, row in zip(accuracies, costs, strict=True)])

    return score, order


def _within(constraints: Sequence[Score], value: Score) -> Score:
    """``value`` where no constraint is above 0; all others are worse, by how far they are above."""
    if not constraints:
        return value

    def score(points: Points) -> Reals:
        over = np.sum([np.maximum(constraint(points), 0.0) for constraint in constraints], axis=0)
        return np.where(over > 0.0, -1e100 * (1.0 + over), value(points))

    return score


def _merit(problem: SearchProblem, accuracy: float, costs: Mapping[str, float], ceilings: Reals | None) -> float:
    excess = problem.total_excess(costs)
    if ceilings is not None:
        pairs = zip(problem.objectives, ceilings.tolist(), strict=True)
        excess += sum(max(0.0, costs[name] / ceiling - 1.0) for name, ceiling in pairs if name in costs)
    if excess > 0.0:
        return _OUT_OF_LIMITS - excess
    if problem.objectives or (problem.reward is not None and problem.reward_cost not in costs):
        return accuracy
    try:
        return problem.values(accuracy, costs)[0]
    except RewardError:
        return _OUT_OF_LIMITS


def _ceilings(front: Reals, rng: np.random.Generator) -> Reals:
    """Bounds on the objectives for this trial, drawn from the front's range and somewhat beyond both ends.

    Every trial looks for the most accurate network below its own bounds; together they fill the front. Bounds
    below the cheapest network lead to cheaper ones. An objective that is the same on the whole front has none.
    """
    costs = np.log(front[:, 1:])
    low, high = costs.min(axis=0), costs.max(axis=0)
    place = -BEYOND + rng.random(len(low)) * (1.0 + 2.0 * BEYOND)
    return np.where(high > low, np.exp(low + place * (high - low)), np.inf)


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether ``one`` is as good in all: the first is better when higher, the others when lower."""
    return one[0] >= other[0] and all(a <= b for a, b in zip(one[1:], other[1:], strict=True))


def _prices(knowledge: _Knowledge, known_costs: KnownCosts | None, rng: np.random.Generator) -> Prices:
    """For each point the costs that matter: estimated, else by one draw of the predictor, else left out."""
    problem = knowledge.problem
    if problem is None or known_costs is None:
        return lambda points: [{} for _ in range(len(points))]
    wanted = {*problem.limits, *problem.objectives} | ({problem.reward_cost} if problem.reward else set())
    has_estimates = bool(wanted & set(problem.estimates))
    drawn = {name: knowledge.drawn_cost(name, rng) for name in sorted(wanted - set(problem.estimates))}

    def prices(points: Points) -> list[dict[str, float]]:
        rows = [dict(known_costs.costs(tuple(point))) if has_estimates else {} for point in points.tolist()]
        for name, cost in drawn.items():
            if cost is not None:
                for row, value in zip(rows, cost(points).tolist(), strict=True):
                    row[name] = value
        return rows

    return prices


def _evolve(start: Points, score: Score, counts: NDArray[np.int64], rng: np.random.Generator) -> Points:
    """Different points bred from ``start``, best first: a few generations of crossover and mutation."""
    pool = np.unique(start, axis=0)
    scores = score(pool)
    for _ in range(GENERATIONS):
        parents = pool[np.argsort(-scores, kind="stable")[:PARENTS]]
        children = parents[rng.integers(len(parents), size=CHILDREN)]
        mates = parents[rng.integers(len(parents), size=CHILDREN)]
        swapped = (rng.random(children.shape) < 0.5) & (rng.random((CHILDREN, 1)) < 0.4)
        children = np.where(swapped, mates, children)
        mutated = rng.random(children.shape) < 1.0 / len(counts)
        children = np.where(mutated, _random_points(counts, CHILDREN, rng), children)
        pool, scores = _merge(pool, scores, children, score)
    return pool[np.argsort(-scores, kind="stable")]


def _merge(pool: Points, scores: Reals, children: Points, score: Score) -> tuple[Points, Reals]:
    known = {tuple(point) for point in pool.tolist()}
    new = sorted({tuple(point) for point in children.tolist()} - known)
    if not new:
        return pool, scores
    added = np.asarray(new, dtype=np.int64)
    return np.vstack([pool, added]), np.concatenate([scores, score(added)])


def _random_points(counts: NDArray[np.int64], number: int, rng: np.random.Generator) -> Points:
    return np.asarray(rng.integers(0, counts, size=(number, len(counts))), dtype=np.int64)
