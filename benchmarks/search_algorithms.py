"""Search algorithms side by side on a table of real networks, where the best network is known.

The table (28 choices, ImageNet accuracy, latency on one device for some 5,000 networks of a MnasNet space) is
the public Accel-NASBench's. A closed-form surrogate fitted to it stands for training, and a second one for the
device; all 1.0449e11 networks were enumerated once, so the optimum of each task is known. The searched functions
enter through the evaluator and meter protocols, as any user's would.

    python benchmarks/search_algorithms.py --table anb-zcu102.csv --task hard --seeds 10 --budget 2000
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray

from mnasnet.reward import Reward
from mnasnet.search import pareto
from mnasnet.search.problem import FunctionEvaluator, FunctionMeter, SearchProblem
from mnasnet.search.records import TrialRecord
from mnasnet.search.samplers import PARETO, SAMPLERS
from mnasnet.search.study import Budget, create_study, search
from mnasnet.space import BlockChoices, Candidate, SearchSpace

TARGET_MS = 4.8  # the latency of the table's network nearest to MnasNet-A1
OPTIMUM = {"hard": 0.659690, "soft": 0.660354, "pareto": 241.685}  # by enumeration
REFERENCE = (0.50, 16.0)  # accuracy and ms from which the hypervolume counts; in points x ms
MARKS = (50, 100, 200, 500, 1000, 2000, 4000, 8000)

EXPANSIONS, KERNELS, SE = (1, 4, 6), (3, 5), (0.0, 0.25)
CHANNELS, STRIDES = (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 2, 1, 2, 1)
Ints, Reals = NDArray[np.int64], NDArray[np.float64]


def repeats_of(block: int) -> tuple[int, ...]:
    return (1, 2, 3, 4) if block == 5 else (1, 2, 3)


def table_space() -> SearchSpace:
    """The space of the table: expansion, kernel, squeeze-and-excitation and repeats of seven blocks."""
    blocks = tuple(
        BlockChoices(
            operator=("inverted",),
            expansion=EXPANSIONS,
            kernel=KERNELS,
            se_ratio=SE,
            channels=(channels,),
            repeats=repeats_of(b),
            stride=(stride,),
        )
        for b, (channels, stride) in enumerate(zip(CHANNELS, STRIDES, strict=True))
    )
    return SearchSpace(blocks, name="accel-nasbench", source="afzalxo/Accel-NASBench, Apache-2.0")


@dataclass
class Truth:
    """Accuracy and latency of every network of the space, in closed form; deterministic."""

    path: Path
    counts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        keys = [f"block{b}_{part}" for b in range(7) for part in ("e", "k", "l", "se")]
        options = [
            {"e": EXPANSIONS, "k": KERNELS, "l": repeats_of(b), "se": (0, 1)}[part]
            for b in range(7)
            for part in ("e", "k", "l", "se")
        ]
        with self.path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        points = np.array([[options[i].index(int(row[key])) for i, key in enumerate(keys)] for row in rows])
        self.counts = [len(found) for found in options]
        self._offsets = np.concatenate([[0], np.cumsum(self.counts)])
        top1 = np.array([float(row["top1"]) for row in rows])
        weights, self._bias = _ridge(self._pairs(points), ((100.0 - top1) / 40.0) ** -3, 1.0)
        self._singles, self._products = self._as_quadratic(weights)
        latency = np.array([float(row["latency_ms"] or "nan") for row in rows])
        known = ~np.isnan(latency)
        times, self._overhead = _ridge(np.hstack(self._blocks(points[known])), latency[known], 1e-2)
        self._times: list[float] = times.tolist()

    def accuracy(self, points: Ints) -> Reals:
        """In percent, for n x 28 places of options in the table's order."""
        one_hot = self._one_hot(points)
        score = one_hot @ self._singles + ((one_hot @ self._products) * one_hot).sum(1) + self._bias
        return np.asarray(100.0 - 40.0 * np.maximum(score, 0.3) ** (-1.0 / 3.0))

    def latency(self, points: Ints) -> Reals:
        """In milliseconds: one time per block design, added up."""
        return np.asarray([self._overhead + sum(self._block_times(row)) for row in points.tolist()])

    def point(self, candidate: Candidate) -> Ints:
        """The candidate's choices (expansion, kernel, SE, repeats per block) as 1 x 28 places in the table's order."""
        row = []
        for b in range(7):
            expansion, kernel, se, repeats = candidate.values[4 * b : 4 * b + 4]
            row += [EXPANSIONS.index(expansion), KERNELS.index(kernel), repeats_of(b).index(repeats), SE.index(se)]
        return np.array([row])

    def _one_hot(self, points: Ints) -> Reals:
        return np.hstack([np.eye(count)[points[:, i]] for i, count in enumerate(self.counts)])

    def _pairs(self, points: Ints) -> Reals:
        one_hot = self._one_hot(points)
        columns = [one_hot]
        for i in range(28):
            for j in range(i + 1, 28):
                first = one_hot[:, self._offsets[i] + 1 : self._offsets[i + 1]]
                second = one_hot[:, self._offsets[j] + 1 : self._offsets[j + 1]]
                columns.append((first[:, :, None] * second[:, None, :]).reshape(len(points), -1))
        return np.hstack(columns)

    def _block_times(self, row: list[int]) -> Iterator[float]:
        start = 0
        for b in range(7):
            counts = self.counts[4 * b : 4 * b + 4]
            e, k, repeats, se = row[4 * b : 4 * b + 4]
            yield self._times[start + ((e * counts[1] + k) * counts[2] + repeats) * counts[3] + se]
            start += counts[0] * counts[1] * counts[2] * counts[3]

    def _as_quadratic(self, weights: Reals) -> tuple[Reals, Reals]:
        """The pair weights as a matrix, so that one network costs two small products."""
        total = int(self._offsets[-1])
        products, place = np.zeros((total, total)), total
        for i in range(28):
            for j in range(i + 1, 28):
                shape = (self.counts[i] - 1, self.counts[j] - 1)
                size = shape[0] * shape[1]
                rows = slice(self._offsets[i] + 1, self._offsets[i + 1])
                columns = slice(self._offsets[j] + 1, self._offsets[j + 1])
                products[rows, columns] = weights[place : place + size].reshape(shape)
                place += size
        return weights[:total], products

    def _blocks(self, points: Ints) -> list[Reals]:
        columns = []
        for b in range(7):
            counts = self.counts[4 * b : 4 * b + 4]
            design = np.ravel_multi_index(tuple(points[:, 4 * b : 4 * b + 4].T), counts)
            columns.append(np.eye(int(np.prod(counts)))[design])
        return columns


def _ridge(design: Reals, values: Reals, strength: float) -> tuple[Reals, float]:
    centre, mean, spread = design.mean(0), values.mean(), values.std()
    centred = design - centre
    gram = centred.T @ centred + strength * np.eye(design.shape[1])
    weights = np.linalg.solve(gram, centred.T @ ((values - mean) / spread)) * spread
    return weights, float(mean - centre @ weights)


def check(truth: Truth, space: SearchSpace) -> None:
    """Compare three networks with the published figures of this surrogate; raises AssertionError."""
    for text, accuracy, latency in (
        ("1666666|3353553|1223341|TTTTTTT", 66.207783, 8.394672),
        ("1646666|3353353|1233231|FFTFTTF", 65.039544, 4.801852),
        ("1446666|3355353|1333241|FFFFFFF", 64.680816, 4.404274),
    ):
        expansions, kernels, repeats, se = text.split("|")
        values = []
        for b in range(7):
            values += [int(expansions[b]), int(kernels[b]), SE[se[b] == "T"], int(repeats[b])]
        point = truth.point(space.candidate(values))
        assert abs(truth.accuracy(point)[0] - accuracy) < 1e-5, (text, truth.accuracy(point))
        assert abs(truth.latency(point)[0] - latency) < 1e-5, (text, truth.latency(point))


def problem_of(
    task: str, truth: Truth, space: SearchSpace, noise: float, seed: int, *, estimates: bool = True
) -> SearchProblem:
    """The search problem of a task.

    ``noise`` in points of accuracy: the spread between trainings of one network, fixed per network and seed.
    ``estimates`` says whether the latency is known before a network is measured.
    """

    def accuracy(candidate: Candidate) -> float:
        exact = float(truth.accuracy(truth.point(candidate))[0])
        if noise:
            key = zlib.crc32(candidate.fingerprint.encode())
            exact += noise * float(np.random.default_rng((seed, key)).standard_normal())
        return min(1.0, max(0.0, exact / 100.0))

    meter = FunctionMeter(lambda candidate: float(truth.latency(truth.point(candidate))[0]))
    reward = None if task == "pareto" else Reward(TARGET_MS, "hard" if task == "hard" else "soft")
    return SearchProblem(
        space,
        FunctionEvaluator(accuracy),
        meters={"latency_ms": meter},
        reward=reward,
        reward_cost="latency_ms" if reward else "",
        objectives=("latency_ms",) if task == "pareto" else (),
        estimates={"latency_ms": meter} if estimates else {},
    )


@dataclass
class Trace:
    """True quality after each evaluation: of the network that looked best, or the hypervolume of all."""

    task: str
    truth: Truth
    space: SearchSpace
    reward: Reward | None
    evaluations: int = 0
    marks: dict[int, float] = field(default_factory=dict)
    _best: tuple[float, float] = (-1.0, -1.0)  # as observed, in truth
    _points: list[tuple[float, float]] = field(default_factory=list)

    def __call__(self, record: TrialRecord) -> None:
        if record.state != "done" or record.duplicate_of is not None:
            return
        self.evaluations += 1
        candidate = self.space.candidate(record.params)
        accuracy = float(self.truth.accuracy(self.truth.point(candidate))[0]) / 100.0
        latency = record.costs["latency_ms"]
        if self.reward is None:
            self._points.append((accuracy, latency))
        else:
            true = self.reward(accuracy, latency)
            self._best = max(self._best, (record.values[0], true))
        if self.evaluations in MARKS:
            self.marks[self.evaluations] = hypervolume(self._points) if self.reward is None else self._best[1]


def hypervolume(points: Sequence[tuple[float, float]]) -> float:
    """Points of accuracy x milliseconds dominated between the reference and the front."""
    least, latest = REFERENCE
    return 100.0 * pareto.hypervolume([(accuracy, -latency) for accuracy, latency in points], (least, -latest))


def run(
    task: str, algorithm: str, seed: int, budget: int, noise: float, truth: Truth, *, estimates: bool = True
) -> dict[str, object]:
    """One search; returns its quality at each mark and the CPU milliseconds per trial, the truth included."""
    space = table_space()
    problem = problem_of(task, truth, space, noise, seed, estimates=estimates)
    study = create_study(problem, algorithm=algorithm, seed=seed)
    trace = Trace(task, truth, space, problem.reward)
    started = time.process_time()
    ending = search(study, problem, Budget(evaluations=budget), on_trial=trace)
    seconds = time.process_time() - started
    trials = len(study.get_trials(deepcopy=False))
    return {
        "task": task,
        "algorithm": algorithm,
        "seed": seed,
        "noise": noise,
        "estimates": estimates,
        "marks": trace.marks,
        "ending": ending,
        "trials": trials,
        "cpu_ms_per_trial": round(1000.0 * seconds / max(1, trials), 2),
    }


def table_of(results: Sequence[dict[str, object]]) -> str:
    """Markdown: mean +- standard deviation over seeds at each mark."""
    marks = sorted({mark for result in results for mark in result["marks"]})  # type: ignore[attr-defined]
    digits = 1 if results[0]["task"] == "pareto" else 4
    lines = ["| algorithm | seeds | " + " | ".join(f"N={mark}" for mark in marks) + " | CPU ms/trial |"]
    lines.append("|---" * (len(marks) + 3) + "|")
    for algorithm in dict.fromkeys(str(result["algorithm"]) for result in results):
        mine = [result for result in results if result["algorithm"] == algorithm]
        cells = []
        for mark in marks:
            found = [result["marks"][mark] for result in mine if mark in result["marks"]]  # type: ignore[index,operator]
            cells.append(f"{np.mean(found):.{digits}f}+-{np.std(found):.{digits}f}" if found else "")
        speed = np.mean([float(str(result["cpu_ms_per_trial"])) for result in mine])
        lines.append(f"| {algorithm} | {len(mine)} | " + " | ".join(cells) + f" | {speed:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=Path("../shared/data/anb-zcu102.csv"))
    parser.add_argument("--task", choices=tuple(OPTIMUM), default="hard")
    parser.add_argument(
        "--algorithms", nargs="+", default=None, help=f"of {', '.join(SAMPLERS)}; default: all that can"
    )
    parser.add_argument("--budget", type=int, default=500, help="evaluations of accuracy")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--noise", type=float, default=0.0, help="points of accuracy; 0.27 is the table's own")
    parser.add_argument("--no-estimates", action="store_true", help="latency is only known once measured")
    parser.add_argument("--results", type=Path, help="append one JSON line per search to this file")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    truth = Truth(arguments.table)
    check(truth, table_space())
    results = []
    for algorithm in arguments.algorithms or (PARETO if arguments.task == "pareto" else tuple(SAMPLERS)):
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            result = run(
                arguments.task,
                algorithm,
                seed,
                arguments.budget,
                arguments.noise,
                truth,
                estimates=not arguments.no_estimates,
            )
            results.append(result)
            print(json.dumps(result), file=sys.stderr, flush=True)
            if arguments.results:
                with arguments.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(result) + "\n")
    print(f"\ntask {arguments.task}, optimum {OPTIMUM[arguments.task]}, noise {arguments.noise} points\n")
    print(table_of(results))


if __name__ == "__main__":
    main()
