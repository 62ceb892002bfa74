"""Optuna's categorical parameters as indices, and what our samplers of them have in common."""

from __future__ import annotations

import abc
import logging
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial

from mnasnet.errors import SettingsError, SpecError
from mnasnet.space import SearchSpace

_log = logging.getLogger(__name__)

Categories = dict[str, CategoricalDistribution]


class CategoricalSampler(optuna.samplers.BaseSampler, abc.ABC):
    """Samples the categorical parameters of a trial all at once, and draws others evenly.

    Which they are is given, or what the study's finished trials share. Random numbers depend on nothing but ``seed``
    and the trial's number.
    """

    def __init__(self, seed: int, categories: Categories | None) -> None:
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise SettingsError(f"the sampler's seed must be a whole number >= 0, got {seed!r}")
        self._seed = int(seed)
        self._given = categories
        self._has_told = False

    @abc.abstractmethod
    def _propose(self, study: optuna.Study, trial: FrozenTrial, categories: Categories) -> Sequence[int]:
        """The place of the option to take in each of ``categories``, of which there is one or more."""

    def _require_objectives(self, study: optuna.Study) -> None:
        """Raise ValueError for a study with objectives that the sampler cannot serve."""
        self._raise_error_if_multi_objective(study)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The given parameters, or the categorical ones that the study's trials share."""
        self._require_objectives(study)
        return dict(shared_categories(study) if self._given is None else self._given)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """What the sampler proposes for the trial."""
        self._require_objectives(study)
        categories, others = split_categories(search_space)
        _require_different(categories)
        params = {name: draw_independently(self._seed, study, trial, name, found) for name, found in others.items()}
        return params | params_at(self._propose(study, trial, categories), categories) if categories else params

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """An even draw, for parameters that appear in the middle of a trial."""
        self._require_objectives(study)
        if not self._has_told and not isinstance(param_distribution, CategoricalDistribution):
            self._has_told = True
            _log.warning(
                "%s searches categorical parameters, %s is none and drawn evenly; offer its values by "
                "suggest_categorical, or take one of Optuna's samplers",
                type(self).__name__,
                param_name,
            )
        _require_different(split_categories({param_name: param_distribution})[0])
        return draw_independently(self._seed, study, trial, param_name, param_distribution)


def _require_different(categories: Categories) -> None:
    """Raise SpecError for options such as True and 1: a finished trial does not tell which of them it had."""
    for name, found in categories.items():
        for place, option in enumerate(found.choices):
            if (first := found.choices.index(option)) < place:
                raise SpecError(
                    f"the options of {name} must differ, got {list(found.choices)}, of which Optuna takes "
                    f"{found.choices[first]!r} and {option!r} for the same; leave one out, or write words"
                )


def generator(seed: int, trial: FrozenTrial, word: str = "") -> np.random.Generator:
    """Random numbers that depend on nothing but seed, trial number and ``word``: a resumed search goes on alike."""
    return np.random.default_rng((seed, trial.number, zlib.crc32(word.encode())))


def categories_of(space: SearchSpace) -> Categories:
    """The choices of ``space`` as Optuna's distributions, in their order."""
    return {choice.name: CategoricalDistribution(choice.options) for choice in space.choices}


def shared_categories(study: optuna.Study) -> Categories:
    """The categorical parameters that all finished trials of any study share: its search space, if none is given."""
    shared = IntersectionSearchSpace(include_pruned=True).calculate(study)
    return {name: found for name, found in shared.items() if isinstance(found, CategoricalDistribution)}


def split_categories(distributions: Mapping[str, BaseDistribution]) -> tuple[Categories, dict[str, BaseDistribution]]:
    """The categorical distributions and the others."""
    categories: Categories = {}
    others: dict[str, BaseDistribution] = {}
    for name, distribution in distributions.items():
        if isinstance(distribution, CategoricalDistribution):
            categories[name] = distribution
        else:
            others[name] = distribution
    return categories, others


def indices_of(trial: FrozenTrial, categories: Categories) -> tuple[int, ...] | None:
    """The place of each option of the trial; None when it has other parameters or options."""
    indices = []
    for name, distribution in categories.items():
        if not _is_same(trial.distributions.get(name), distribution):
            return None
        indices.append(int(distribution.to_internal_repr(trial.params[name])))
    return tuple(indices)


def _is_same(found: BaseDistribution | None, distribution: CategoricalDistribution) -> bool:
    """Equality of distributions; Optuna's own is slow, and asked for every choice of every trial."""
    if isinstance(found, CategoricalDistribution):
        alike = found.choices == distribution.choices  # but 1 is no True, which the types tell
        if alike and [*map(type, found.choices)] == [*map(type, distribution.choices)]:
            return True
    return bool(found == distribution)


def params_at(indices: Sequence[int], categories: Categories) -> dict[str, Any]:
    """Optuna's parameters for the options at ``indices``."""
    return {name: found.choices[i] for i, (name, found) in zip(indices, categories.items(), strict=True)}


def draw_indices(categories: Categories, rng: np.random.Generator) -> tuple[int, ...]:
    """Options drawn independently and evenly."""
    return tuple(int(rng.integers(len(found.choices))) for found in categories.values())


def draw_independently(seed: int, study: optuna.Study, trial: FrozenTrial, name: str, distribution: Any) -> Any:
    """One parameter drawn evenly, for parameters that a sampler does not handle itself."""
    sampler = optuna.samplers.RandomSampler(seed=int(generator(seed, trial, name).integers(2**32)))
    return sampler.sample_independent(study, trial, name, distribution)
