"""The journal file keeps Optuna's contract, and gives the same trials as Optuna's own however they were finished."""

import random

import optuna
import pytest
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState

from mnasnet.search.storage import open_storage


class TestContract(StorageTestCase):
    @pytest.fixture
    def storage(self, tmp_path) -> BaseStorage:
        return open_storage(tmp_path / "journal")


def test_trials_of_any_states_are_those_of_optunas_own_journal(tmp_path):
    rng, path = random.Random(0), tmp_path / "journal"
    ours = open_storage(path)
    study = optuna.create_study(storage=ours)
    open_trials = []
    asked = [(TrialState.RUNNING,), (TrialState.WAITING,), (TrialState.FAIL, TrialState.RUNNING), tuple(TrialState)]
    asked += [(TrialState.COMPLETE, TrialState.PRUNED), (TrialState.FAIL,), ()]

    for _ in range(60):
        if rng.random() < 0.2:
            study.enqueue_trial({"x": rng.random()})
        open_trials.append(study.ask({"x": optuna.distributions.FloatDistribution(0, 1)}))
        if rng.random() < 0.7:  # some trials finish long after later ones
            trial = open_trials.pop(rng.randrange(len(open_trials)))
            state = rng.choice((TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
            study.tell(trial, 1.0 if state == TrialState.COMPLETE else None, state=state)
        states = rng.choice(asked)
        found = ours.get_all_trials(study._study_id, deepcopy=False, states=states)
        own = JournalStorage(JournalFileBackend(str(path))).get_all_trials(study._study_id, states=states)

        assert found == own
