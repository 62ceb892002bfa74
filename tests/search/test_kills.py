"""A search killed by SIGKILL at random moments goes on to exactly the answer of the uninterrupted one."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from killed_search import problem_of
from PIL import Image
from sklearn.datasets import load_digits
from tiny_search import tiny_searching, told_of

from mnasnet.search.progress import Progress
from mnasnet.search.records import records
from mnasnet.search.run import Searching, report_search, resume_search, run_search
from mnasnet.search.storage import open_storage
from mnasnet.search.study import Budget, create_study, search

# no more than it needs is imported, so that most of a killed process' life is the search
WORKER = """
import sys
sys.path.insert(0, "tests/search")
from killed_search import go_on
go_on(sys.argv[1], int(sys.argv[2]))
"""


@pytest.mark.parametrize(("kills", "evaluations"), [(2, 30), pytest.param(30, 200, marks=pytest.mark.slow)])
def test_a_killed_search_ends_like_the_uninterrupted_one(kills, evaluations, tmp_path, pytestconfig):
    rng = random.Random(kills)
    path = str(tmp_path / "journal")
    command = [sys.executable, "-c", WORKER, path, str(evaluations)]
    for _ in range(kills):
        worker = subprocess.Popen(command, cwd=pytestconfig.rootpath, stdout=subprocess.PIPE)
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0.0, 0.3))  # the random moment of the kill, not a wait for something
        worker.kill()
        worker.wait()

    subprocess.run(command, cwd=pytestconfig.rootpath, check=True, stdout=subprocess.DEVNULL)

    whole = create_study(problem_of(), algorithm="guided", seed=11)
    search(whole, problem_of(), Budget(evaluations=evaluations))
    resumed = create_study(problem_of(), algorithm="guided", seed=11, storage=open_storage(path))
    assert [(r.params, r.values) for r in records(resumed)] == [(r.params, r.values) for r in records(whole)]
    assert {record.state for record in records(resumed)} == {"done"}


SITTING = """
import sys
sys.path[:0] = ["tests", "tests/search"]
from tests.search.test_kills import sit
sit(sys.argv[1], sys.argv[2])
"""


class Aloud:
    """Says each trial and each epoch on standard output, where the one who kills listens."""

    def hear(self, progress: Progress) -> None:
        print(progress.stage, progress.text, sep=": ", flush=True)


def whole_search(data: Path, parent: Path) -> Searching:
    """Eight trials of two epochs, three finalists of three, twelve epochs of the winner: 29 steps, each said."""
    return tiny_searching(data, parent, trials=8, finalists=3, finalist_epochs=3, final_epochs=12)


STEPS = 29


def sit(data: str, parent: str) -> None:
    """Begin the search, or go on with it."""
    run = Path(parent) / "runs" / "tiny"
    if (run / "args.yaml").exists():
        resume_search(run, listeners=[Aloud()])
    else:
        run_search(whole_search(Path(data), Path(parent)), listeners=[Aloud()])


def step_of(line: str) -> set[str]:
    """The trial or the epoch that a line tells the end of, if any; the same when it is told again."""
    stage, _, text = line.partition(": ")
    if text.startswith("trial") and (stage == "searching" or "epoch " in text):
        return {line.partition(", validation")[0].partition(", accuracy")[0]}
    return set()


def write_digits(folder: Path, count: int = 400) -> Path:
    digits = load_digits()
    for number, (ink, digit) in enumerate(zip(digits.images[:count], digits.target[:count], strict=True)):
        path = folder / str(digit) / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 - 15.9 * ink).astype("uint8")).resize((32, 32)).convert("RGB").save(path)
    return folder


@pytest.mark.slow
def test_a_whole_search_with_real_trainings_killed_thirty_times_ends_like_the_uninterrupted_one(tmp_path, pytestconfig):
    data, parent = write_digits(tmp_path / "digits"), tmp_path / "killed"
    command = [sys.executable, "-c", SITTING, str(data), str(parent)]
    rng, steps, killed_in = random.Random(0), set(), []
    for kill in range(30):
        # so many steps more that the winner is being trained, and not nearly over, at the last kill
        wanted = len(steps) + (rng.random() < (STEPS - 8 - len(steps)) / (30 - kill))
        process = subprocess.Popen(command, cwd=pytestconfig.rootpath, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            stage = line.partition(": ")[0]
            steps.update(step_of(line))
            if stage != "preparing" and len(steps) >= wanted:
                break
        time.sleep(rng.uniform(0.0, 0.4))  # the random moment of the kill, not a wait for something
        assert process.poll() is None, "the search was over before its last kill"
        process.kill()
        for line in process.stdout:  # said while we waited
            steps.update(step_of(line))
        process.wait()
        killed_in.append(stage)

    subprocess.run(command, cwd=pytestconfig.rootpath, check=True, stdout=subprocess.DEVNULL)

    assert {"searching", "finalists", "training"} <= set(killed_in)
    killed, whole = report_search(parent / "runs" / "tiny"), run_search(whole_search(data, tmp_path / "whole"))
    assert told_of(killed) == told_of(whole)  # the model's fingerprint among it, of the last bit of its weights
