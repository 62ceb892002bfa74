"""The paper's controller (arXiv 1807.11626, section 4.2): a recurrent network that emits the choices one token
at a time, trained with PPO (arXiv 1707.06347) on the reward, batch by batch. It is an Optuna sampler.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from mnasnet.search.categorical import CategoricalSampler, Categories, generator, indices_of
from mnasnet.search.extrapolation import Extrapolation
from mnasnet.search.history import History, excess_of, is_copy, outcome_of
from mnasnet.search.policy import ControllerSettings, Policy


class ControllerSampler(CategoricalSampler):
    """Draws each trial from a policy that is a pure fold over the finished trials, batch by batch.

    Nothing is kept beside the storage: made anew after a crash, the sampler replays the updates and goes on
    with the same policy. A trial above a limit, whatever its value, counts as worse than the worst that was
    judged before it; where none was, as less than 0 and than the worst by the time that its batch is full. One that a
    pruner ended counts as what its steps promised: without it, the policy would hear of nothing but good networks. So
    does each that repeats it, or a policy that prefers such a network would hear nothing against it.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        categories: Categories | None = None,
        settings: ControllerSettings | None = None,
    ) -> None:
        super().__init__(seed, categories)
        self._settings = settings or ControllerSettings()
        self._history = History()
        self._learner: _Learner | None = None

    def _propose(self, study: optuna.Study, trial: FrozenTrial, categories: Categories) -> Sequence[int]:
        """One sequence of tokens drawn from the policy."""
        return self._learn(study, categories).sample(generator(self._seed, trial).random(len(categories)))

    def _learn(self, study: optuna.Study, categories: Categories) -> Policy:
        new, restarted = self._history.update(study)
        if restarted or self._learner is None or self._learner.categories != categories:
            sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
            self._learner = _Learner(categories, sign, self._seed, self._settings)
            new = self._history.trials
        self._learner.add(new)
        return self._learner.policy


class _Learner:
    """The policy and the finished trials that wait for a full batch."""

    def __init__(self, categories: Categories, sign: float, seed: int, settings: ControllerSettings) -> None:
        self.categories = categories
        self.policy = Policy([len(found.choices) for found in categories.values()], seed, settings)
        self._sign = sign
        self._settings = settings
        self._entropy = settings.entropy
        self._judged: set[tuple[int, ...]] = set()
        self._repeated = 0  # of those waiting
        self._waiting: list[tuple[tuple[int, ...], float, bool]] = []  # the last: nothing was judged by then
        self._worst: float | None = None
        self._extrapolation = Extrapolation()
        self._steps: dict[str, dict[int, float]] = {}  # of networks that a pruner ended, by fingerprint

    def add(self, trials: Sequence[FrozenTrial]) -> None:
        """Take in finished trials; whenever a batch is full the policy is updated."""
        for trial in trials:
            indices = indices_of(trial, self.categories)
            reward = self._reward(trial)
            if indices is None or reward is None:
                continue
            self._repeated += indices in self._judged
            self._judged.add(indices)
            self._waiting.append((indices, reward, self._worst is None))
            if len(self._waiting) == self._settings.batch:
                worst = min(0.0, self._worst or 0.0)
                tokens: NDArray[np.int64] = np.asarray([indices for indices, _, _ in self._waiting])
                rewards = [reward + worst if is_early else reward for _, reward, is_early in self._waiting]
                self.policy.update(tokens, np.asarray(rewards), self._next_entropy())
                if self._worst is None:  # these rewards say who is nearer to the limits, not how much a network gets
                    self.policy.forget_level()
                self._waiting.clear()

    def _next_entropy(self) -> float:
        """The weight of entropy for the batch that is full."""
        settings = self._settings
        settles = self._repeated > settings.most_repeated * settings.batch
        step = settings.entropy_step if settles else 1 / settings.entropy_step
        self._entropy = max(settings.entropy, self._entropy * step)
        self._repeated = 0
        return self._entropy

    def _reward(self, trial: FrozenTrial) -> float | None:
        excess = excess_of(trial)
        told = trial.intermediate_values.items()
        so_far = {step: self._sign * value for step, value in told if np.isfinite(value)}
        if trial.state == TrialState.COMPLETE and trial.values and not excess > 0.0:
            reward = self._sign * float(trial.values[0])
            if not np.isfinite(reward):
                return None
            self._extrapolation.learn(so_far, reward)
            self._worst = reward if self._worst is None else min(self._worst, reward)
            return reward
        if not excess > 0.0:
            so_far = self._steps_of_network(trial, so_far)
            return None if self._worst is None or not so_far else self._extrapolation.at_most_of(so_far)
        worst = self._worst or 0.0
        share = excess / (1.0 + excess) if np.isfinite(excess) else 1.0
        return worst - 0.1 * (abs(worst) or 1.0) * share

    def _steps_of_network(self, trial: FrozenTrial, so_far: dict[int, float]) -> dict[int, float]:
        """The steps of a trial that a pruner ended; those of the first one where it repeats its network."""
        network = outcome_of(trial).get("fingerprint", "")
        if is_copy(trial):
            return so_far or self._steps.get(network, {})
        self._steps[network] = so_far
        return so_far
