"""What a search itself costs a trial: propose, store, tell, without any training.

Each algorithm searches a space of 25 choices with a judge and a meter that cost nothing, its study in a journal
file. Processor time, so that busy neighbours count little; still only numbers of one run compare.

    python benchmarks/search_overhead.py --trials 2000
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import optuna

from mnasnet.reward import Reward
from mnasnet.search.counts import CountMeter
from mnasnet.search.problem import FunctionEvaluator, SearchProblem
from mnasnet.search.samplers import SAMPLERS
from mnasnet.search.storage import open_storage
from mnasnet.search.study import Budget, TrialRecord, create_study, search
from mnasnet.space import Candidate, space

MARKS = (100, 500, 1000, 2000, 5000, 10000)
WINDOW = 50  # trials before each mark whose median is given


def accuracy_of(candidate: Candidate) -> float:
    """Rises with the number of 5x5 kernels and with squeeze-and-excitation, somewhat unevenly."""
    return 0.5 + 0.02 * sum(value == 5 for value in candidate.values) + 0.01 * sum(v == 0.25 for v in candidate.values)


def measure(algorithm: str, trials: int, folder: Path) -> list[float]:
    """CPU milliseconds of each trial."""
    meter = CountMeter("parameters", num_classes=10)
    problem = SearchProblem(
        space("around_a1"),
        FunctionEvaluator(accuracy_of),
        meters={"parameters": meter},
        reward=Reward(3e6),
        reward_cost="parameters",
        estimates={"parameters": meter},
    )
    study = create_study(problem, algorithm=algorithm, storage=open_storage(folder / algorithm))
    moments = [time.process_time()]

    def note(record: TrialRecord) -> None:
        moments.append(time.process_time())

    search(study, problem, Budget(evaluations=trials), on_trial=note)
    return [1000.0 * (after - before) for before, after in itertools.pairwise(moments)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithms", nargs="+", default=["guided", "ppo", "evolution"], choices=tuple(SAMPLERS))
    parser.add_argument("--trials", type=int, default=2000, help="evaluations of accuracy")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    marks = [mark for mark in MARKS if mark <= arguments.trials]
    print("CPU ms a trial, median of the", WINDOW, "before each number of trials; mean of all")
    print("| algorithm | " + " | ".join(str(mark) for mark in marks) + " | mean |")
    print("|---" * (len(marks) + 2) + "|")
    with tempfile.TemporaryDirectory() as folder:
        for algorithm in arguments.algorithms:
            spent = measure(algorithm, arguments.trials, Path(folder))
            cells = [f"{statistics.median(spent[mark - WINDOW : mark]):.1f}" for mark in marks]
            print(f"| {algorithm} | {' | '.join(cells)} | {statistics.mean(spent):.1f} |", flush=True)


if __name__ == "__main__":
    main()
