"""The journal file keeps Optuna's contract, and gives the same trials as Optuna's own however they were finished.

A disk that is full, slow or away for a moment costs neither the study nor a living trial.
"""

import errno
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState

from mnasnet.errors import SearchError
from mnasnet.search.journal_lock import GRACE_S, JournalLock
from mnasnet.search.storage import open_storage, require_storage


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


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_a_line_that_a_full_disk_cut_off_does_not_spoil_the_next(tmp_path, kept):
    path = tmp_path / "journal"
    study = optuna.create_study(storage=open_storage(path))
    study.tell(study.ask({"x": optuna.distributions.FloatDistribution(0, 1)}), 1.0)
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines(keepends=True)[1][:kept])

    again = optuna.load_study(study_name=study.study_name, storage=open_storage(path))
    again.ask({"x": optuna.distributions.FloatDistribution(0, 1)})

    states = [trial.state for trial in study.get_trials()]
    assert states == [TrialState.COMPLETE, TrialState.RUNNING]
    assert optuna.load_study(study_name=study.study_name, storage=open_storage(path)).trials == study.trials
    assert path.read_bytes().startswith(whole)


def test_a_write_so_slow_that_another_process_took_its_lock_away_counts(tmp_path, monkeypatch):
    path = tmp_path / "journal"
    study = optuna.create_study(storage=open_storage(path))
    to_disk = os.fsync

    def slow(file: int) -> None:
        to_disk(file)
        (tmp_path / "journal.lock").unlink()

    monkeypatch.setattr(os, "fsync", slow)
    study.set_user_attr("told", 1)

    assert optuna.load_study(study_name=study.study_name, storage=open_storage(path)).user_attrs == {"told": 1}


DIES_WRITING = """
import os, signal, sys
import optuna
from mnasnet.search.journal_lock import GRACE_S, JournalLock
from mnasnet.search.storage import open_storage
study = optuna.load_study(study_name="one", storage=open_storage(sys.argv[1]))
os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)
study.set_user_attr("written by", "a process that is dead now")
"""


def test_the_lock_of_a_process_that_was_killed_in_its_write_costs_no_wait(tmp_path):
    path = tmp_path / "journal"
    study = optuna.create_study(storage=open_storage(path), study_name="one")
    killed = subprocess.run([sys.executable, "-c", DIES_WRITING, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "journal.lock").exists()

    began = time.monotonic()
    study.set_user_attr("then", "another")

    assert time.monotonic() - began < GRACE_S / 2
    assert study.user_attrs == {"written by": "a process that is dead now", "then": "another"}


@pytest.mark.parametrize("has_nameless_files", [True, False])
def test_a_lock_names_its_owner_whatever_the_folder_can(tmp_path, monkeypatch, has_nameless_files):
    if not has_nameless_files:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    (tmp_path / "journal").touch()
    lock = JournalLock(tmp_path / "journal")

    lock.acquire()

    assert f" {os.getpid()} " in (tmp_path / "journal.lock").read_text()
    lock.release()
    assert [path.name for path in tmp_path.iterdir()] == ["journal"]


def test_a_lock_that_windows_is_just_removing_is_waited_for(tmp_path, monkeypatch):
    """Between a file's removal and its end Windows lets nobody open or make one of that name."""
    (tmp_path / "journal").touch()
    make, refused = os.open, iter([True, True])

    def refusing(path, *given):
        if str(path).endswith(".lock") and next(refused, False):
            raise PermissionError(errno.EACCES, "Access is denied")
        return make(path, *given)

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    monkeypatch.setattr(os, "open", refusing)
    lock = JournalLock(tmp_path / "journal")

    lock.acquire()

    assert (tmp_path / "journal.lock").exists()
    lock.release()


def test_a_full_disk_leaves_no_lock_behind(tmp_path, monkeypatch):
    (tmp_path / "journal").touch()
    lock, write = JournalLock(tmp_path / "journal"), os.write

    def full(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        lock.acquire()
    monkeypatch.setattr(os, "write", write)

    assert not (tmp_path / "journal.lock").exists()
    lock.acquire()


@pytest.mark.parametrize("owner", ["", "another-machine 1 2", "another-machine"])
def test_a_lock_that_may_be_a_living_processs_is_waited_for_until_it_is_old(tmp_path, owner):
    (tmp_path / "journal").touch()
    (tmp_path / "journal.lock").write_text(owner)
    lock = JournalLock(tmp_path / "journal", grace_s=0.3)

    began = time.monotonic()
    lock.acquire()

    assert time.monotonic() - began > 0.3
    lock.release()
    assert not (tmp_path / "journal.lock").exists()


def test_a_living_process_keeps_its_lock_while_it_writes(tmp_path):
    (tmp_path / "journal").touch()
    first, second = JournalLock(tmp_path / "journal"), JournalLock(tmp_path / "journal")
    first.acquire()
    has_it = threading.Event()
    waiting = threading.Thread(target=lambda: (second.acquire(), has_it.set()), daemon=True)
    waiting.start()

    assert not has_it.wait(0.3)
    first.release()
    assert has_it.wait(10)
    first.release()  # not its own any more
    assert (tmp_path / "journal.lock").exists()


def test_optunas_own_lock_and_ours_respect_each_other(tmp_path):
    path = tmp_path / "journal"
    path.touch()
    optunas, ours = JournalFileOpenLock(str(path), grace_period=3), JournalLock(path)
    ours.acquire()
    has_it = threading.Event()
    threading.Thread(target=lambda: (optunas.acquire(), has_it.set()), daemon=True).start()

    assert not has_it.wait(0.3)
    ours.release()
    assert has_it.wait(10)
    threading.Thread(target=lambda: (ours.acquire(), has_it.clear()), daemon=True).start()
    time.sleep(0.3)
    assert has_it.is_set()
    optunas.release()


def test_a_file_that_is_away_for_a_moment_costs_a_beat_and_not_the_trial(tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    storage = open_storage(there / "journal")
    trial = optuna.create_study(storage=storage).ask()

    there.rename(tmp_path / "away")
    storage.record_heartbeat(trial._trial_id)
    (tmp_path / "away").rename(there)
    storage.record_heartbeat(trial._trial_id)

    assert "heartbeat" in storage.get_trial(trial._trial_id).system_attrs


def test_a_database_that_is_away_for_a_moment_costs_a_beat_and_not_the_trial(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}?timeout=0")
    trial = optuna.create_study(storage=storage).ask()
    busy = sqlite3.connect(tmp_path / "study.db")
    busy.execute("BEGIN EXCLUSIVE")

    storage.record_heartbeat(trial._trial_id)
    busy.close()
    storage.record_heartbeat(trial._trial_id)

    beats = sqlite3.connect(tmp_path / "study.db").execute("SELECT count(*) FROM trial_heartbeats").fetchone()
    assert beats == (1,)


def test_several_may_begin_a_database_together(tmp_path):
    url, together = f"sqlite:///{tmp_path / 'study.db'}", threading.Barrier(4)

    def begin(name: str) -> optuna.Study:
        together.wait()
        return optuna.create_study(storage=open_storage(url), study_name=name)

    with ThreadPoolExecutor(4) as pool:
        studies = list(pool.map(begin, "abcd"))

    assert sorted(optuna.get_all_study_names(open_storage(url))) == [study.study_name for study in studies]


def test_a_folder_is_no_file_for_a_study(tmp_path):
    with pytest.raises(SearchError, match=r"Is a directory"):
        open_storage(tmp_path)


def test_a_mistyped_folder_is_told_and_not_made(tmp_path):
    with pytest.raises(SearchError, match=r"trials cannot be kept in .*: there is no folder .*rnus; set storage to"):
        open_storage(tmp_path / "rnus" / "study.journal")

    assert not (tmp_path / "rnus").exists()


@pytest.mark.parametrize("ask", [open_storage, require_storage])
@pytest.mark.parametrize("content", [b'{"images": [1]}', b"three notes", b"\0" * 4096, b"\x89PNG\r\n"])
def test_a_file_of_another_kind_is_left_as_it_is(tmp_path, content, ask):
    (tmp_path / "coco.json").write_bytes(content)

    with pytest.raises(SearchError, match=r"coco.json is no journal of trials; set storage to a new file"):
        ask(str(tmp_path / "coco.json"))

    assert [path.name for path in tmp_path.iterdir()] == ["coco.json"]
    assert (tmp_path / "coco.json").read_bytes() == content


@pytest.mark.parametrize("ask", [open_storage, require_storage])
def test_the_path_of_a_database_is_told_its_url(tmp_path, ask):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    optuna.create_study(storage=open_storage(url))

    with pytest.raises(SearchError, match=f"study.db is no journal of trials but a database; set storage to {url}"):
        ask(str(tmp_path / "study.db"))


@pytest.mark.parametrize("kept", [0, 1, 5, 15])
def test_a_journal_whose_very_first_line_was_cut_off_is_begun_again(tmp_path, kept):
    optuna.create_study(storage=open_storage(tmp_path / "whole"))
    (tmp_path / "journal").write_bytes((tmp_path / "whole").read_bytes()[:kept])

    optuna.create_study(storage=open_storage(tmp_path / "journal"), study_name="again")

    assert optuna.get_all_study_names(open_storage(tmp_path / "journal")) == ["again"]


@pytest.mark.parametrize("damage", [b"\0" * 512, b'{"op_code":4,', b"\xff\xfe"])
def test_a_journal_with_a_damaged_line_can_be_read_up_to_it(tmp_path, damage):
    path = tmp_path / "journal"
    optuna.create_study(storage=open_storage(path), study_name="one").set_user_attr("told", 1)
    whole = path.read_bytes()
    path.write_bytes(whole + damage + b"\n" + whole.splitlines(keepends=True)[1])

    with pytest.raises(SearchError, match=r"the journal .*journal is damaged in line 3; .* cut it off before that"):
        open_storage(path)

    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    assert optuna.load_study(study_name="one", storage=open_storage(path)).user_attrs == {"told": 1}
