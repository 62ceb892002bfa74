"""The table of search algorithms: each name makes an Optuna sampler that knows the problem and a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from mnasnet.checks import is_whole, plain
from mnasnet.errors import SettingsError
from mnasnet.search.best_and_latest import best_and_latest
from mnasnet.search.categorical import categories_of, generator
from mnasnet.search.evolution import EvolutionSampler
from mnasnet.search.guided import GuidedSampler
from mnasnet.search.known_costs import KnownCosts
from mnasnet.search.problem import SearchProblem


def make_sampler(algorithm: str, problem: SearchProblem, *, seed: int = 0) -> BaseSampler:
    """The sampler called ``algorithm`` for ``problem``.

    Raises SettingsError for an unknown name, a seed below 0, and an algorithm that cannot look for a Pareto set.
    """
    if algorithm not in SAMPLERS:
        raise SettingsError(f"no search algorithm is called {algorithm!r}; there are {', '.join(SAMPLERS)}")
    if problem.objectives and algorithm not in PARETO:
        raise SettingsError(
            f"{algorithm} maximises one reward and cannot look for a Pareto set; take {', '.join(PARETO)}"
        )
    whole = plain(seed)
    if not is_whole(whole) or not 0 <= whole < 2**32:
        raise SettingsError(f"seed must be a whole number from 0 to 4294967295, got {seed!r}")
    return SAMPLERS[algorithm](problem, whole)


def _guided(problem: SearchProblem, seed: int) -> BaseSampler:
    return GuidedSampler(seed=seed, problem=problem)


def _ppo(problem: SearchProblem, seed: int) -> BaseSampler:
    from mnasnet.search.controller import ControllerSampler  # torch starts here, not with this table

    return ControllerSampler(seed=seed, categories=categories_of(problem.space))


def _evolution(problem: SearchProblem, seed: int) -> BaseSampler:
    return EvolutionSampler(seed=seed, categories=categories_of(problem.space), known_costs=KnownCosts(problem))


def _tpe(problem: SearchProblem, seed: int) -> BaseSampler:
    # left to itself it draws each choice alone where there are several objectives: as good, and far slower
    return SeededPerTrial(lambda s: TPESampler(seed=s, multivariate=True), seed, sees=best_and_latest)


def _nsga2(problem: SearchProblem, seed: int) -> BaseSampler:
    return SeededPerTrial(lambda s: NSGAIISampler(seed=s), seed)


def _random(problem: SearchProblem, seed: int) -> BaseSampler:
    return SeededPerTrial(lambda s: RandomSampler(seed=s), seed)


SAMPLERS: dict[str, Callable[[SearchProblem, int], BaseSampler]] = {
    "guided": _guided,
    "ppo": _ppo,
    "evolution": _evolution,
    "tpe": _tpe,
    "nsga2": _nsga2,
    "random": _random,
}

PARETO = ("guided", "nsga2", "tpe", "random")


class SeededPerTrial(BaseSampler):
    """One of Optuna's samplers, made anew for each decision with a seed from the trial's number.

    Optuna keeps a sampler's random state in the process, so a search resumed from its storage would differ
    from an uninterrupted one. Here nothing is kept: decisions follow from the stored trials and the seed.
    ``sees`` makes of the study what the sampler is shown of it.
    """

    def __init__(
        self,
        make: Callable[[int], BaseSampler],
        seed: int = 0,
        sees: Callable[[optuna.Study], optuna.Study] = lambda study: study,
    ) -> None:
        self._make = make
        self._seed = seed
        self._sees = sees
        self._unseeded = make(seed)  # the space needs no seed, and one sampler reads each trial once only

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """That of Optuna's sampler."""
        return self._unseeded.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The draw of Optuna's sampler, seeded by the trial."""
        return self._for(trial).sample_relative(self._sees(study), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The draw of Optuna's sampler, seeded by the trial and the parameter's name."""
        return self._for(trial, param_name).sample_independent(self._sees(study), trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """As Optuna's sampler does."""
        self._for(trial).before_trial(study, trial)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """As Optuna's sampler does."""
        self._for(trial).after_trial(study, trial, state, values)

    def _for(self, trial: FrozenTrial, word: str = "") -> BaseSampler:
        return self._make(int(generator(self._seed, trial, word).integers(2**32)))
