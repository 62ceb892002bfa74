"""A sampler that reads every trial for every proposal is shown the best and the latest ones only."""

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial

from mnasnet.search.best_and_latest import best_and_latest
from mnasnet.search.samplers import SeededPerTrial

KERNEL = {"kernel": CategoricalDistribution((3, 5))}


def study_of(*values: float | tuple[float, ...], directions: tuple[str, ...] = ("maximize",)) -> optuna.Study:
    """A study with one finished trial for each of ``values``."""
    study = optuna.create_study(directions=directions)
    for value in values:
        several = value if isinstance(value, tuple) else (value,)
        study.add_trial(create_trial(values=several, params={"kernel": 3}, distributions=KERNEL))
    return study


def numbers(study: optuna.Study) -> list[int]:
    return [trial.number for trial in study.get_trials()]


def test_a_short_study_is_seen_whole():
    study = study_of(1.0, 2.0, 3.0)

    assert best_and_latest(study, best=1, latest=2) is study


def test_of_a_long_study_the_best_and_the_latest_trials_are_seen():
    study = study_of(0.1, 0.9, 0.2, 0.8, 0.9, 0.3, 0.4, 0.5)

    assert numbers(best_and_latest(study, best=3, latest=2)) == [1, 3, 4, 6, 7]


def test_where_less_is_better_the_least_are_seen():
    study = study_of(0.1, 0.9, 0.2, 0.8, 0.7, directions=("minimize",))

    assert numbers(best_and_latest(study, best=1, latest=2)) == [0, 3, 4]


def test_a_trial_above_a_limit_or_without_an_end_is_none_of_the_best():
    study = study_of(0.1)
    above = study.ask(KERNEL)
    above.set_constraint("latency_ms", 1.0)
    study.tell(above, 0.9)
    study.tell(study.ask(KERNEL), state=TrialState.FAIL)
    for value in (0.2, 0.3):
        study.tell(study.ask(KERNEL), value)

    assert numbers(best_and_latest(study, best=1, latest=1)) == [4]
    assert numbers(best_and_latest(study, best=2, latest=1)) == [3, 4]


def test_of_a_study_with_several_objectives_the_pareto_set_is_seen():
    study = study_of((0.9, 5.0), (0.8, 6.0), (0.7, 2.0), (0.6, 3.0), (0.5, 4.0), directions=("maximize", "minimize"))

    assert numbers(best_and_latest(study, best=1, latest=1)) == [0, 2, 4]


def test_a_trial_above_a_limit_is_not_in_the_pareto_set_that_is_seen():
    study = study_of((0.8, 6.0), directions=("maximize", "minimize"))
    above = study.ask(KERNEL)
    above.set_constraint("latency_ms", 1.0)
    study.tell(above, (0.9, 1.0))
    for values in ((0.7, 7.0), (0.6, 8.0)):
        study.tell(study.ask(KERNEL), values)

    assert numbers(best_and_latest(study, best=1, latest=1)) == [0, 3]


def test_the_pareto_set_is_optuna_s_own_but_for_equal_trials():
    rng = np.random.default_rng(0)
    values = [(float(a), float(b)) for a, b in rng.integers(0, 12, (80, 2))]
    study = study_of(*values, directions=("maximize", "minimize"))

    found = [trial.values for trial in best_and_latest(study, best=1, latest=1).get_trials()[:-1]]

    assert sorted(found) == sorted(map(list, {tuple(trial.values) for trial in study.best_trials}))


@pytest.mark.parametrize("states", [(TrialState.COMPLETE,), (TrialState.RUNNING,)])
def test_trials_are_told_apart_by_state(states):
    study = study_of(0.1, 0.9, 0.2)
    study.ask(KERNEL)

    seen = best_and_latest(study, best=1, latest=2).get_trials(states=states)

    assert [trial.number for trial in seen] == {(TrialState.COMPLETE,): [1, 2], (TrialState.RUNNING,): [3]}[states]


class NotesWhatItSees(optuna.samplers.RandomSampler):
    """A sampler that notes in the trial how many it was shown."""

    def infer_relative_search_space(self, study, trial):
        return KERNEL

    def sample_relative(self, study, trial, search_space):
        study._storage.set_trial_system_attr(trial._trial_id, "shown", len(study.get_trials()))
        return {"kernel": 5}


def test_what_a_sampler_notes_of_a_long_study_is_in_the_study():
    study = study_of(*[0.5] * 9)
    study.sampler = SeededPerTrial(
        lambda seed: NotesWhatItSees(seed=seed), sees=lambda whole: best_and_latest(whole, best=1, latest=3)
    )

    trial = study.ask(KERNEL)

    assert trial.params == {"kernel": 5}
    assert study.get_trials()[trial.number].system_attrs["shown"] == 4
