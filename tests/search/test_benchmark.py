"""The benchmark of search algorithms runs through the public protocols; its own arithmetic is right."""

import csv
import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "search_algorithms.py"
    spec = importlib.util.spec_from_file_location("search_algorithms", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def table(benchmark, tmp_path_factory) -> Path:
    """A made-up table in the real one's form: larger networks are better and slower."""
    rng = random.Random(0)
    path = tmp_path_factory.mktemp("table") / "table.csv"
    keys = [f"block{b}_{part}" for b in range(7) for part in ("e", "k", "l", "se")]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*keys, "top1", "latency_ms"])
        for _ in range(300):
            row = []
            for b in range(7):
                row += [
                    rng.choice((1, 4, 6)),
                    rng.choice((3, 5)),
                    rng.choice(benchmark.repeats_of(b)),
                    rng.choice((0, 1)),
                ]
            writer.writerow([*row, 45 + 0.2 * sum(row), 1 + 0.05 * sum(row)])
    return path


@pytest.mark.parametrize("task", ["hard", "soft", "pareto"])
def test_every_task_runs_and_reports_its_marks(task, benchmark, table):
    result = benchmark.run(task, "guided", 0, 50, 0.27, benchmark.Truth(table))

    assert result["ending"] == "budget"
    assert list(result["marks"]) == [50]
    assert "guided" in benchmark.table_of([result])


def test_the_space_of_the_table_has_its_1_0449e11_networks(benchmark):
    assert benchmark.table_space().size == 36**6 * 48


def test_the_hypervolume_counts_what_the_front_dominates(benchmark):
    # from 50 % and 16 ms: 10 points over 8 ms, then 5 points more over the last 4
    assert benchmark.hypervolume([(0.60, 8.0), (0.65, 12.0), (0.58, 9.0), (0.7, 20.0)]) == pytest.approx(100.0)
