"""Evaluators that worker processes and clusters make for themselves."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from mnasnet.search.problem import Evaluator, FunctionEvaluator, Report
from mnasnet.space import Candidate

Stop = Callable[[], bool]


def accuracy_of(candidate: Candidate) -> float:
    return 0.5 + 0.05 * sum(value == 5 for value in candidate.values)


def plain(stop: Stop) -> Evaluator:
    return FunctionEvaluator(accuracy_of)


def of_variable(name: str, stop: Stop) -> Evaluator:
    """The value of an environment variable as accuracy, in hundredths."""
    return FunctionEvaluator(lambda candidate: float(os.environ[name]) / 100)


def refusing(stop: Stop) -> Evaluator:
    raise ValueError("the images went missing")


def dying(stop: Stop) -> Evaluator:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("dead")


def told_as_on_windows(mark: Path, stop: Stop) -> Evaluator:
    """As :func:`endless`, where a pipe's end is an error to who looks whether something came."""

    def poll(pipe: Connection, timeout_s: float = 0.0) -> bool:
        if wait([pipe], timeout_s):
            raise BrokenPipeError(errno.EPIPE, "The pipe has been ended")
        return False

    Connection.poll = poll
    return Endless(mark, False, stop)


class Percent:
    """Reports percent where shares belong."""

    def evaluate(self, candidate: Candidate, report: Report) -> float:
        report(1, 55.0)
        return 0.55


def in_percent(stop: Stop) -> Evaluator:
    return Percent()


def failing(stop: Stop) -> Evaluator:
    def fail(candidate: Candidate) -> float:
        raise RuntimeError("out of memory")

    return FunctionEvaluator(fail)


@dataclass(frozen=True)
class Deadly:
    """Kills its process at each network's first ``deaths`` attempts; ``folder`` counts them."""

    folder: Path
    deaths: int
    every: int = 1  # only of networks whose count of 5x5 kernels is a multiple

    def evaluate(self, candidate: Candidate, report: Report) -> float:
        fives = sum(value == 5 for value in candidate.values)
        for attempt in range(self.deaths if fives % self.every == 0 else 0):
            mark = self.folder / f"{candidate.fingerprint}-{attempt}"
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return accuracy_of(candidate)


def deadly(folder: Path, deaths: int, every: int, stop: Stop) -> Evaluator:
    return Deadly(folder, deaths, every)


@dataclass(frozen=True)
class Endless:
    """Waits until told to stop, or for ever when ``deaf``; touches ``mark`` when it begins."""

    mark: Path
    deaf: bool
    stop: Stop

    def evaluate(self, candidate: Candidate, report: Report) -> float:
        self.mark.touch()
        while self.deaf or not self.stop():
            time.sleep(0.02)
        raise KeyboardInterrupt  # as a stopped training, no Exception


def endless(mark: Path, deaf: bool, stop: Stop) -> Evaluator:
    return Endless(mark, deaf, stop)


class Stepwise:
    """Reports five steps, each a fifth better."""

    def evaluate(self, candidate: Candidate, report: Report) -> float:
        for step in range(5):
            report(step, accuracy_of(candidate) * step / 5)
        return accuracy_of(candidate)


def stepwise(stop: Stop) -> Evaluator:
    return Stepwise()


def slow_enough(stop: Stop) -> Evaluator:
    """Half a second each, so that a kill finds somebody at work."""

    def judge(candidate: Candidate) -> float:
        time.sleep(0.5)
        return accuracy_of(candidate)

    return FunctionEvaluator(judge)
