"""Several processes on one study: one storage, no network judged twice, every algorithm."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from mnasnet.errors import SearchError, SettingsError
from mnasnet.search.pool import Returned, search_with_pool
from mnasnet.search.problem import FunctionEvaluator, SearchProblem
from mnasnet.search.records import records
from mnasnet.search.samplers import SAMPLERS
from mnasnet.search.storage import open_storage
from mnasnet.search.study import Budget, Proposal, Search, create_study, search
from mnasnet.search.study_flags import mark_joined
from mnasnet.search.verdict import Verdict
from mnasnet.search.workers import WorkerPool, search_with_workers
from mnasnet.space import BlockChoices, SearchSpace
from mnasnet.spaces import space
from tests.search.workers_evaluators import (
    accuracy_of,
    deadly,
    dying,
    endless,
    failing,
    in_percent,
    of_variable,
    plain,
    refusing,
    slow_enough,
    stepwise,
    told_as_on_windows,
)

WORKER = """
import sys
from tests.search.test_workers import problem_of
from mnasnet.search.storage import open_storage
from mnasnet.search.study import Budget, create_study, search

path, algorithm, evaluations = sys.argv[1:]
study = create_study(problem_of(), algorithm=algorithm, seed=5, storage=open_storage(path))
search(study, problem_of(), Budget(evaluations=int(evaluations)), alone=False)
"""


INSIDE_A_PROGRAM = """
import sys
sys.executable = sys.argv[1]  # as in a program that embeds Python

import optuna
from mnasnet.search.study import Budget, create_study
from mnasnet.search.workers import search_with_workers
from tests.search.test_workers import problem_of
from tests.search.workers_evaluators import plain

study = create_study(problem_of(), algorithm="random", seed=5)
print(search_with_workers(plain, study, problem_of(), Budget(evaluations=2), workers=1))
"""


WITHOUT_A_GUARD = """
from pathlib import Path

from mnasnet.search.run import run_search
from mnasnet.search.searching import Searching
from mnasnet.search.study import Budget, create_study
from mnasnet.search.workers import search_with_workers
from tests.search.test_workers import problem_of
from tests.search.workers_evaluators import plain

if __name__ != "__main__":  # the shorter way to be there again
    run_search(Searching(data=Path("photos")))
search_with_workers(plain, create_study(problem_of()), problem_of(), Budget(evaluations=2), workers=1)
"""


def problem_of() -> SearchProblem:
    return SearchProblem(space("small"), FunctionEvaluator(accuracy_of))


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", SAMPLERS)
def test_two_processes_share_one_study(algorithm, tmp_path, pytestconfig):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = str(tmp_path / "journal")
    create_study(problem_of(), algorithm=algorithm, seed=5, storage=open_storage(path))

    command = [sys.executable, "-c", WORKER, path, algorithm, "40"]
    workers = [subprocess.Popen(command, cwd=pytestconfig.rootpath) for _ in range(2)]

    assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    study = create_study(problem_of(), algorithm=algorithm, seed=5, storage=open_storage(path))
    judged = [record.fingerprint for record in records(study) if record.state == "done" and record.duplicate_of is None]
    assert len(set(judged)) == len(judged)
    assert 40 <= len(judged) <= 41  # each worker may have had one in hand when the budget was reached


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for the program is a shell script")
def test_workers_are_pythons_also_inside_a_program_that_embeds_python(tmp_path, pytestconfig):
    studio = tmp_path / "studio"
    studio.write_text(f"#!/bin/sh\ntouch {tmp_path / 'started again'}\n", encoding="utf-8")
    studio.chmod(0o755)

    command = [sys.executable, "-c", INSIDE_A_PROGRAM, str(studio)]
    run = subprocess.run(command, cwd=pytestconfig.rootpath, capture_output=True, text=True, check=False, timeout=300)

    assert run.returncode == 0, run.stderr
    assert not (tmp_path / "started again").exists()


def test_a_program_without_a_guard_is_told_of_it_by_its_first_worker(tmp_path, pytestconfig):
    program = tmp_path / "program.py"
    program.write_text(WITHOUT_A_GUARD, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(pytestconfig.rootpath)}

    run = subprocess.run(
        [sys.executable, str(program)], env=environment, capture_output=True, text=True, check=False, timeout=300
    )

    assert "SearchError: this process reads the program again" in run.stderr
    assert run.stderr.splitlines()[-1].startswith("mnasnet.errors.SearchError: a worker process ended before it was re")


def test_a_network_that_another_worker_is_judging_is_left_to_it():
    single = SearchSpace((BlockChoices(channels=(16,), kernel=(3, 5)),))
    problem = SearchProblem(single, FunctionEvaluator(accuracy_of))
    study = create_study(problem, algorithm="random", seed=0)
    steps = Search(study, problem)

    proposals = [steps.propose() for _ in range(6)]

    waiting = [proposal for proposal in proposals if isinstance(proposal, Proposal)]
    assert len({proposal.candidate.fingerprint for proposal in waiting}) == len(waiting) == 2
    left = [record for record in records(study) if record.state == "pruned"]
    assert "is judging this network" in left[0].reason


def test_a_search_that_is_not_alone_leaves_running_trials_to_their_workers_and_waits_for_the_last():
    study = create_study(problem_of(), algorithm="random", seed=0)
    elsewhere = study.ask()
    heard = []

    def give_up_elsewhere(record):
        heard.append(record)
        if len(heard) == 2:  # with the one elsewhere these are the budget
            threading.Timer(0.5, study.tell, (elsewhere,), {"state": TrialState.FAIL}).start()

    search(study, problem_of(), Budget(evaluations=3), alone=False, on_trial=give_up_elsewhere)

    assert [record.state for record in records(study)] == ["failed", "done", "done", "done"]
    assert [record.number for record in heard] == [1, 2, 3]


class AtOnce:
    """A pool of two who judge as soon as they are asked."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def has_room(self) -> bool:
        return len(self.given) < 2

    def judge(self, number, candidate) -> None:
        self.given.append(number)

    def events(self, timeout_s: float) -> list[Returned]:
        if not self.given:
            time.sleep(timeout_s)
        done, self.given = self.given, []
        return [Returned(number, Verdict("done", 0.5)) for number in done]

    def answer(self, number: int, hopeless: bool) -> None:
        raise AssertionError("nobody reports a step")


@pytest.mark.parametrize("go_on", [search, partial(search_with_pool, AtOnce())], ids=["alone", "with a pool"])
def test_the_last_networks_that_a_killed_process_left_are_judged_though_others_have_joined(tmp_path, go_on):
    study = study_of(storage=open_storage(tmp_path / "journal"))
    killed = Search(study, problem_of())
    killed.propose()
    killed.propose()
    mark_joined(study)
    again, until = study_of(storage=open_storage(tmp_path / "journal")), time.monotonic() + 10

    ending = go_on(again, problem_of(), Budget(evaluations=2), should_stop=lambda: time.monotonic() > until)

    assert ending == "budget"
    assert [record.state for record in records(again)] == ["done", "done"]


@pytest.mark.parametrize("go_on", [search, partial(search_with_pool, AtOnce())], ids=["alone", "with a pool"])
def test_networks_of_two_problems_never_meet_in_one_study(go_on):
    study = study_of()
    other = replace(problem_of(), space=space("tiny"))

    with pytest.raises(SearchError, match="was made with another space"):
        go_on(study, other, Budget(evaluations=1))
    assert not study.trials


def study_of(problem: SearchProblem | None = None, algorithm: str = "random", **arguments) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return create_study(problem or problem_of(), algorithm=algorithm, seed=5, **arguments)


class TestWorkerProcesses:
    def test_the_budget_counts_over_all_workers_and_nothing_is_judged_twice(self, tmp_path):
        study = study_of(storage=open_storage(tmp_path / "journal"))
        heard = []

        ending = search_with_workers(
            plain, study, problem_of(), Budget(evaluations=15), workers=2, on_trial=heard.append
        )

        assert ending == "budget"
        judged = [record.fingerprint for record in heard if record.duplicate_of is None]
        assert len(judged) == len(set(judged)) == 15
        assert sorted(heard, key=lambda record: record.number) == records(study)

    def test_a_small_space_ends_with_its_last_network(self):
        block = BlockChoices(channels=(16,), stride=(2,), kernel=(3, 5), filters=(0.5, 1.0))
        problem = SearchProblem(SearchSpace((block,)), FunctionEvaluator(accuracy_of))
        study = study_of(problem, algorithm="guided")

        ending = search_with_workers(plain, study, problem, Budget(evaluations=100), workers=2)

        assert ending == "exhausted"
        assert [(record.state, record.duplicate_of) for record in records(study)] == 4 * [("done", None)]

    def test_a_killed_workers_network_is_judged_again_by_another(self, tmp_path):
        study = study_of()

        search_with_workers(partial(deadly, tmp_path, 1, 3), study, problem_of(), Budget(evaluations=6), workers=2)

        assert {record.state for record in records(study)} == {"done"}
        assert list(tmp_path.iterdir()), "no worker was killed"

    def test_a_network_that_kills_its_worker_twice_has_failed(self, tmp_path):
        study = study_of()

        search_with_workers(partial(deadly, tmp_path, 9, 3), study, problem_of(), Budget(evaluations=8), workers=2)

        failed = [record for record in records(study) if record.state == "failed"]
        assert failed
        assert all(record.reason == "its worker process ended by signal 9 (SIGKILL)" for record in failed)
        assert sum(record.state == "done" for record in records(study)) + len(failed) == 8

    def test_a_worker_that_dies_before_any_is_ready_ends_the_search_with_the_cause(self):
        study = study_of()

        with pytest.raises(SearchError, match=r"ended before it was ready, by signal 9 \(SIGKILL\)"):
            search_with_workers(dying, study, problem_of(), Budget(evaluations=3), workers=1)

        assert records(study) == []

    def test_workers_that_die_of_every_network_end_the_search_with_the_cause(self, tmp_path):
        with pytest.raises(SearchError, match=r"4 worker processes ended .* signal 9 \(SIGKILL\)"):
            search_with_workers(
                partial(deadly, tmp_path, 9, 1), study_of(), problem_of(), Budget(evaluations=3), workers=1
            )

    def test_workers_that_cannot_begin_say_why(self):
        with pytest.raises(SearchError, match="could not prepare its work: ValueError: the images went missing"):
            search_with_workers(refusing, study_of(), problem_of(), Budget(evaluations=3), workers=1)

    def test_a_failed_evaluation_is_recorded_with_its_reason(self):
        study = study_of()

        search_with_workers(failing, study, problem_of(), Budget(evaluations=2), workers=1)

        assert [record.reason for record in records(study)] == ["RuntimeError: out of memory"] * 2

    def test_a_wrong_accuracy_so_far_fails_its_trial_and_not_the_search(self):
        study = study_of()

        search_with_workers(in_percent, study, problem_of(), Budget(evaluations=2), workers=1)

        assert [record.state for record in records(study)] == ["failed"] * 2
        assert "the accuracy so far must lie in 0 to 1" in records(study)[0].reason

    def test_a_hopeless_network_is_pruned_in_its_worker(self):
        study = study_of(pruner=optuna.pruners.MedianPruner(n_startup_trials=5))

        search_with_workers(stepwise, study, problem_of(), Budget(evaluations=20), workers=1)

        pruned = [record for record in records(study) if record.state == "pruned"]
        assert {record.state for record in records(study)} == {"done", "pruned"}
        assert pruned[0].reason.startswith("hopeless after step")

    def test_a_worker_computes_with_its_share_of_the_threads(self):
        study = study_of()

        make = partial(of_variable, "OMP_NUM_THREADS")
        search_with_workers(make, study, problem_of(), Budget(evaluations=1), workers=1, threads=3)

        assert records(study)[0].accuracy == 0.03

    def test_a_search_needs_a_worker(self):
        with pytest.raises(SettingsError, match="workers must be >= 1, got 0"):
            search_with_workers(plain, study_of(), problem_of(), Budget(evaluations=1), workers=0)


class TestStopping:
    @pytest.mark.parametrize("deaf", [False, pytest.param(True, marks=pytest.mark.slow)])
    def test_a_stop_reaches_all_workers_within_ten_seconds_and_resuming_goes_on(self, deaf, tmp_path):
        mark = tmp_path / "begun"
        study = study_of()
        stopped_at = []

        def should_stop() -> bool:
            if mark.exists():
                stopped_at.append(time.monotonic())
            return mark.exists()

        make = partial(endless, mark, deaf)
        ending = search_with_workers(
            make, study, problem_of(), Budget(evaluations=3), workers=2, should_stop=should_stop
        )

        assert ending == "stopped"
        assert time.monotonic() - stopped_at[0] < 10
        assert {record.state for record in records(study)} == {"running"}
        search(study, problem_of(), Budget(evaluations=3))
        assert [record.state for record in records(study)] == ["done"] * 3

    def test_a_stop_that_windows_tells_by_an_error_is_no_network_that_failed(self, tmp_path, capfd):
        mark = tmp_path / "begun"
        make = partial(told_as_on_windows, mark)

        ending = search_with_workers(
            make, study_of(), problem_of(), Budget(evaluations=1), workers=1, should_stop=mark.exists
        )

        assert ending == "stopped"
        assert "Broken" not in capfd.readouterr().err

    def test_workers_end_with_a_search_that_was_killed(self, tmp_path, pytestconfig):
        mark = tmp_path / "begun"
        program = subprocess.Popen([sys.executable, "-c", ENDLESS, str(mark)], cwd=pytestconfig.rootpath, stdout=-1)
        assert program.stdout is not None
        worker = int(program.stdout.readline())
        while not mark.exists():
            assert program.poll() is None
            time.sleep(0.05)  # until the worker judges

        program.kill()
        program.wait()

        deadline = time.monotonic() + 10
        while is_alive(worker):
            assert time.monotonic() < deadline
            time.sleep(0.05)


ENDLESS = """
import sys
from functools import partial
from pathlib import Path
from mnasnet.search.workers import WorkerPool
from tests.search.test_workers import problem_of
from tests.search.workers_evaluators import endless

space = problem_of().space
with WorkerPool(partial(endless, Path(sys.argv[1]), False), workers=1) as pool:
    while not pool.has_room():
        pool.events(1.0)
    pool.judge(0, space.candidate_at([0] * len(space.choices)))
    print(*pool.process_ids(), flush=True)
    pool.events(1000.0)
"""


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    # a process that nobody has waited for is dead too
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
def test_a_search_whose_workers_are_killed_at_random_ends_with_its_budget(tmp_path):
    rng = random.Random(1)
    study = study_of(storage=open_storage(tmp_path / "journal"))
    over = threading.Event()
    kills = []

    with WorkerPool(slow_enough, workers=2) as pool:
        while not pool.has_room():  # one that dies before ends the search
            pool.events(1.0)

        def kill_now_and_then() -> None:
            while not over.wait(rng.uniform(2.0, 5.0)):
                victim = rng.choice(pool.process_ids())
                os.kill(victim, signal.SIGKILL)
                kills.append(victim)

        killer = threading.Thread(target=kill_now_and_then)
        killer.start()
        ending = search_with_pool(pool, study, problem_of(), Budget(evaluations=60))
        over.set()
        killer.join()

    assert ending == "budget"
    assert len(kills) >= 3
    found = records(study)
    assert sum(record.state in ("done", "failed") and record.duplicate_of is None for record in found) == 60
    assert all(record.state != "running" for record in found)
    assert all("SIGKILL" in record.reason for record in found if record.state == "failed")
