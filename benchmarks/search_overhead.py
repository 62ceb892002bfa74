"""What a search itself costs a trial: propose, store, tell, without any training.

Each algorithm searches a space of 25 choices with a judge and a meter that cost nothing, its study in a journal
file; then the study is opened by a new process's means and reported. Processor time, so that busy neighbours count
little; still only numbers of one run compare.

    python benchmarks/search_overhead.py --trials 2000

With --ray the same judge works in two local worker processes and then on a Ray cluster, one after the other. That is
wall time, since the work is spread over processes; start the cluster first:

    ray start --head --num-cpus=2
    python benchmarks/search_overhead.py --ray auto --trials 500
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import optuna

from mnasnet.reward import Reward
from mnasnet.search.answer import Answer
from mnasnet.search.cluster import search_on_cluster
from mnasnet.search.counts import CountMeter
from mnasnet.search.problem import Evaluator, FunctionEvaluator, SearchProblem
from mnasnet.search.records import TrialRecord, pareto_set, records, winner
from mnasnet.search.report.files import write_answer
from mnasnet.search.samplers import SAMPLERS
from mnasnet.search.storage import open_storage
from mnasnet.search.study import Budget, create_study, search
from mnasnet.search.workers import search_with_workers
from mnasnet.space import Candidate
from mnasnet.spaces import space

MARKS = (100, 500, 1000, 2000, 5000, 10000)
WINDOW = 50  # trials before each mark whose median is given
WORKERS = 2


def accuracy_of(candidate: Candidate) -> float:
    """Rises with the number of 5x5 kernels and with squeeze-and-excitation, somewhat unevenly."""
    return 0.5 + 0.02 * sum(value == 5 for value in candidate.values) + 0.01 * sum(v == 0.25 for v in candidate.values)


def make_evaluator(stop: Callable[[], bool]) -> Evaluator:
    """The judge, in the process that judges."""
    return FunctionEvaluator(accuracy_of)


def problem_of() -> SearchProblem:
    meter = CountMeter("parameters", num_classes=10)
    return SearchProblem(
        space("around_a1"),
        FunctionEvaluator(accuracy_of),
        meters={"parameters": meter},
        reward=Reward(3e6),
        reward_cost="parameters",
        estimates={"parameters": meter},
    )


def measure(algorithm: str, trials: int, journal: Path) -> list[float]:
    """CPU milliseconds of each trial."""
    problem = problem_of()
    study = create_study(problem, algorithm=algorithm, storage=open_storage(journal))
    moments = [time.process_time()]

    def note(record: TrialRecord) -> None:
        moments.append(time.process_time())

    search(study, problem, Budget(evaluations=trials), on_trial=note)
    return [1000.0 * (after - before) for before, after in itertools.pairwise(moments)]


def resume_and_report(algorithm: str, trials: int, journal: Path) -> tuple[float, float, float, float]:
    """CPU seconds to open the study, to judge one more network, to write the whole report; and the page's MB."""
    problem = problem_of()
    moments = [time.process_time()]
    study = create_study(problem, algorithm=algorithm, storage=open_storage(journal))
    found = records(study)
    moments.append(time.process_time())
    search(study, problem, Budget(evaluations=trials + 1))
    moments.append(time.process_time())
    answer = Answer(
        name=algorithm,
        space=problem.space,
        algorithm=algorithm,
        seed=0,
        evaluator="a function of the choices",
        reward=problem.reward,
        reward_cost="parameters",
        objectives=(),
        limits={},
        device="none",
        measured={"parameters": False},
        records=found,
        winner=winner(study, problem),
        pareto=pareto_set(found, ["parameters"]),
        status="done",
        reason="the trials are spent",
        minutes=0.0,
    )
    folder = journal.parent / f"{algorithm}-report"
    folder.mkdir()
    write_answer(answer, folder)
    moments.append(time.process_time())
    opened, resumed, reported = (after - before for before, after in itertools.pairwise(moments))
    return opened, resumed, reported, (folder / "report.html").stat().st_size / 1e6


def spread(address: str, trials: int) -> None:
    """Print the wall milliseconds a trial of local workers, then of the cluster."""
    print(f"wall ms a trial of {trials}, algorithm random, {WORKERS} local workers and a cluster; the start beside it")
    print("| judged by | start | a trial |")
    print("|---|---|---|")
    for name in ("local workers", "Ray"):
        problem, moments = problem_of(), [time.perf_counter()]

        def note(record: TrialRecord, moments: list[float] = moments) -> None:
            moments.append(time.perf_counter())

        study, budget = create_study(problem, algorithm="random"), Budget(evaluations=trials)
        if name == "Ray":
            search_on_cluster(make_evaluator, study, problem, budget, address=address, on_trial=note)
        else:
            search_with_workers(make_evaluator, study, problem, budget, workers=WORKERS, on_trial=note)
        each_ms = 1000 * (moments[-1] - moments[1]) / (len(moments) - 2)
        print(f"| {name} | {moments[1] - moments[0]:.1f} s | {each_ms:.1f} ms |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithms", nargs="+", default=["guided", "ppo", "evolution"], choices=tuple(SAMPLERS))
    parser.add_argument("--trials", type=int, default=2000, help="evaluations of accuracy")
    parser.add_argument("--ray", metavar="ADDRESS", help="a cluster to compare with local workers, or auto")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if arguments.ray:
        spread(arguments.ray, arguments.trials)
        return
    marks = [mark for mark in MARKS if mark <= arguments.trials]
    print("CPU ms a trial, median of the", WINDOW, "before each number of trials; mean of all; then of the whole study")
    print("| algorithm | " + " | ".join(f"{mark:,}" for mark in marks) + " | mean | open | resume | report | page |")
    print("|---" * (len(marks) + 6) + "|")
    with tempfile.TemporaryDirectory() as folder:
        for algorithm in arguments.algorithms:
            journal = Path(folder) / algorithm
            spent = measure(algorithm, arguments.trials, journal)
            cells = [f"{statistics.median(spent[mark - WINDOW : mark]):.1f}" for mark in marks]
            opened, resumed, reported, page_mb = resume_and_report(algorithm, arguments.trials, journal)
            whole = f"{opened:.1f} s | {resumed:.1f} s | {reported:.1f} s | {page_mb:.1f} MB"
            print(f"| {algorithm} | {' | '.join(cells)} | {statistics.mean(spent):.1f} | {whole} |", flush=True)


if __name__ == "__main__":
    main()
