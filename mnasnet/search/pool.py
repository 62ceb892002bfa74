"""A search whose networks are judged elsewhere, several at a time: by worker processes or by a cluster.

Only the calling process asks, prices and tells. So the storage has one writer, whatever it is; the budget is
never overrun; a measured latency is not disturbed by another measurement; and who judges needs to know nothing but
the evaluator.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import optuna

from mnasnet.progress import Stop
from mnasnet.search.journal import RETRIES
from mnasnet.search.problem import Evaluator, SearchProblem
from mnasnet.search.records import TrialRecord
from mnasnet.search.study import POLL_S, Budget, Ending, Proposal, Search
from mnasnet.search.verdict import Verdict
from mnasnet.space import Candidate

MakeEvaluator = Callable[[Stop], Evaluator]
"""Makes the evaluator in the process that judges; its argument says whether to stop. Must be picklable: a function of
a module, or functools.partial of one and plain values."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """A network's accuracy so far; its judge waits for :meth:`Pool.answer`."""

    number: int
    step: int
    accuracy: float


@dataclass(frozen=True, slots=True)
class Returned:
    """A network's judge is done with it."""

    number: int
    verdict: Verdict


class Pool(Protocol):
    """Processes that judge networks, each network known by its trial's number."""

    def has_room(self) -> bool:
        """Whether somebody is free now."""
        ...

    def judge(self, number: int, candidate: Candidate) -> None:
        """Give a network to somebody who is free."""
        ...

    def events(self, timeout_s: float) -> Sequence[StepReport | Returned]:
        """What came in since the last call, waiting so long for a first one.

        Raises SearchError when nobody is left who could judge.
        """
        ...

    def answer(self, number: int, hopeless: bool) -> None:
        """Answer a StepReport: whether to give the network up."""
        ...


def search_with_pool(
    pool: Pool,
    study: optuna.Study,
    problem: SearchProblem,
    budget: Budget,
    *,
    on_trial: Callable[[TrialRecord], object] = lambda record: None,
    should_stop: Stop = lambda: False,
) -> Ending:
    """Search until the budget is spent, and say what ended it; trials that were left running are taken up first.

    It leads the study. When stopped it returns at once: networks in work stay running trials, to be judged again on
    resume, or are left to the processes that joined.
    """
    with contextlib.closing(Search(study, problem)) as steps:
        left = steps.left_running()
        dispatcher = _Dispatcher(pool, steps)
        started, idle = time.monotonic(), 0
        while not should_stop():
            steps.require_hope()
            out_of_time = budget.minutes is not None and time.monotonic() - started >= 60.0 * budget.minutes
            elsewhere = steps.in_work_elsewhere()
            in_work = len(dispatcher.in_work) + elsewhere
            wanted = budget.evaluations is None or steps.evaluations() + in_work < budget.evaluations
            all_tried = not left and steps.has_tried_all(in_work)
            goes_on = wanted and not all_tried and not out_of_time and idle < budget.max_idle
            if goes_on and pool.has_room() and not dispatcher.lost:
                proposal = steps.propose(left.pop(0) if left else None)
                if isinstance(proposal, Proposal):
                    idle = 0
                    dispatcher.give(proposal)
                else:
                    idle += 1
                    on_trial(proposal)
            elif goes_on or dispatcher.in_work or (elsewhere and (all_tried or not wanted) and not out_of_time):
                for record in dispatcher.settled(POLL_S):
                    on_trial(record)
            else:
                return "budget" if not wanted else "time" if out_of_time else "exhausted"
        return "stopped"


class _Dispatcher:
    """The networks in work, and how often each was given to somebody."""

    def __init__(self, pool: Pool, steps: Search) -> None:
        self.in_work: dict[int, Proposal] = {}
        self.lost: list[int] = []  # their judge was killed; to be given to another
        self._pool = pool
        self._steps = steps
        self._losses: dict[int, int] = {}

    def give(self, proposal: Proposal) -> None:
        """Let somebody judge the network."""
        number = proposal.trial.number
        self.in_work[number] = proposal
        self._pool.judge(number, proposal.candidate)

    def settled(self, timeout_s: float) -> list[TrialRecord]:
        """The trials that got their answer, waiting so long for a first event; lost networks are given again."""
        while self.lost and self._pool.has_room():
            self.give(self.in_work[self.lost.pop(0)])
        done = []
        for event in self._pool.events(timeout_s):
            proposal = self.in_work[event.number]
            if isinstance(event, StepReport):
                hopeless = self._steps.is_hopeless(proposal, event.step, event.accuracy)
                self._pool.answer(event.number, hopeless)
            elif event.verdict.kind == "lost" and self._losses.get(event.number, 0) < RETRIES:
                self._losses[event.number] = self._losses.get(event.number, 0) + 1
                self.lost.append(event.number)
            else:
                del self.in_work[event.number]
                done.append(self._steps.settle(proposal, event.verdict))
        return done
