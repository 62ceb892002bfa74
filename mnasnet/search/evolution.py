"""Regularized evolution with ageing (Real et al., arXiv 1802.01548, algorithm 1) as an Optuna sampler."""

from __future__ import annotations

import math

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from mnasnet.search.categorical import CategoricalSampler, Categories, draw_indices, generator, indices_of
from mnasnet.search.history import History, excess_of, is_copy, outcome_of
from mnasnet.search.known_costs import KnownCosts

#: how fit: minus the excess over constraints, then the step reached (the end is beyond all), then the value; the point
_Living = tuple[tuple[float, float, float], tuple[int, ...]]


class EvolutionSampler(CategoricalSampler):
    """The best of a random sample of the youngest ``population`` trials has a child that differs in one choice or two.

    The population is the last ``population`` finished trials: the oldest dies, not the worst. After ``initial``
    random trials every trial is a child. Random numbers depend only on seed and trial number, and no state is
    kept that the storage does not have. With ``known_costs`` children known to exceed a limit or a hard reward's
    target are drawn again, and so are children seen before. In a study with constraints whoever meets them wins over
    who does not, and of two who do not the nearer one; a pruned trial loses to a finished one, and to one that came
    further.

    Population, sample and second mutation were chosen on benchmarks/search_algorithms.py; the paper's 100, 25
    and no second mutation are for 20,000 evaluations.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        categories: Categories | None = None,
        known_costs: KnownCosts | None = None,
        population: int = 50,
        sample: int = 15,
        initial: int = 20,
        second_mutation: float = 0.5,
        attempts: int = 200,
    ) -> None:
        super().__init__(seed, categories)
        self._known_costs = known_costs
        self._population = population
        self._sample = sample
        self._initial = initial
        self._second_mutation = second_mutation
        self._attempts = attempts
        self._history = History()
        self._seen: set[tuple[int, ...]] = set()
        self._networks: set[str] = set()

    def _propose(self, study: optuna.Study, trial: FrozenTrial, categories: Categories) -> tuple[int, ...]:
        """A child of the population, or a random point at first."""
        new, restarted = self._history.update(study)
        if restarted:
            self._seen.clear()
            self._networks.clear()
        self._seen.update(found for found in (indices_of(done, categories) for done in new) if found is not None)
        self._networks.update(outcome_of(done).get("fingerprint", "") for done in new)
        taken = self._seen | self._history.unavailable(study, categories)
        rng = generator(self._seed, trial)
        population = self._living(study, categories)
        child: tuple[int, ...] = ()
        for _ in range(self._attempts):
            if len(population) < self._initial:
                child = draw_indices(categories, rng)
            else:
                child = _mutate(_tournament(population, self._sample, rng), categories, rng)
                if rng.random() < self._second_mutation:
                    child = _mutate(child, categories, rng)
            if child not in taken and self._is_worth_trying(child):
                break
        return child

    def _is_worth_trying(self, child: tuple[int, ...]) -> bool:
        if self._known_costs is None:
            return True
        return self._known_costs.is_promising(child) and self._known_costs.fingerprint(child) not in self._networks

    def _living(self, study: optuna.Study, categories: Categories) -> list[_Living]:
        sign = 1.0 if study.direction == optuna.study.StudyDirection.MAXIMIZE else -1.0
        living: list[_Living] = []
        constrained = any(trial.constraints for trial in self._history.trials)
        for trial in reversed(self._history.trials):
            reached = self._reached(trial)
            if constrained and trial.state == TrialState.PRUNED and not trial.constraints:
                reached = None  # pruned before it told whether it meets them
            indices = None if reached is None or is_copy(trial) else indices_of(trial, categories)
            if reached is not None and indices is not None:
                step, value = reached
                living.append(((-excess_of(trial), step, sign * value), indices))
                if len(living) == self._population:
                    break
        return living

    def _reached(self, trial: FrozenTrial) -> tuple[float, float] | None:
        """How far the trial came, and with what value; None for one that says nothing.

        A pruned one counts in studies of somebody else, whose pruner may leave few others; in ours it was hopeless.
        """
        if trial.state == TrialState.COMPLETE:
            return math.inf, trial.values[0]
        steps = trial.intermediate_values
        if trial.state != TrialState.PRUNED or self._known_costs is not None or not steps:
            return None
        last = max(steps)
        return (float(last), steps[last]) if math.isfinite(steps[last]) else None


def _tournament(population: list[_Living], sample: int, rng: np.random.Generator) -> tuple[int, ...]:
    entrants = rng.choice(len(population), size=min(sample, len(population)), replace=False)
    return max((population[int(i)] for i in entrants), key=lambda entrant: entrant[0])[1]


def _mutate(parent: tuple[int, ...], categories: Categories, rng: np.random.Generator) -> tuple[int, ...]:
    """``parent`` with one choice, drawn evenly, set to another option."""
    open_places = [i for i, found in enumerate(categories.values()) if len(found.choices) > 1]
    if not open_places:
        return parent
    place = open_places[int(rng.integers(len(open_places)))]
    count = len(list(categories.values())[place].choices)
    other = (parent[place] + 1 + int(rng.integers(count - 1))) % count
    return (*parent[:place], other, *parent[place + 1 :])
