"""A Ray cluster judges the networks of one search.

The calling process asks, prices and tells; tasks only judge. So machines of the cluster need neither the study's
file nor a database, and what they must share is what the evaluator reads: the same folder of images under the same
path, the run folder where shared weights lie in it, and this package in the same version.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
import urllib.parse
import uuid
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import optuna

from mnasnet.errors import RuntimeMissingError, SearchError, SettingsError
from mnasnet.progress import Stop
from mnasnet.search.pool import MakeEvaluator, Returned, StepReport, search_with_pool
from mnasnet.search.problem import Evaluator, SearchProblem
from mnasnet.search.records import TrialRecord
from mnasnet.search.study import Budget, Ending, hopeless_after
from mnasnet.search.verdict import Verdict, judge
from mnasnet.space import Candidate

CONNECT_TIMEOUT_S = 20.0
MAILBOX_S = 0.2  # how long its answer is waited for before tasks are looked at; it comes within milliseconds
SILENCE_S = 120.0  # without an answer the cluster is away; on a busy one a process takes many seconds to start


def search_on_cluster(
    make_evaluator: MakeEvaluator,
    study: optuna.Study,
    problem: SearchProblem,
    budget: Budget,
    *,
    address: str,
    cpus: float = 1.0,
    gpus: float = 0.0,
    on_trial: Callable[[TrialRecord], object] = lambda record: None,
    should_stop: Stop = lambda: False,
) -> Ending:
    """Search with all the Ray cluster at ``address`` has: host:port, ray://host:port, or ``auto`` for this machine.

    Each network takes ``cpus`` cores and ``gpus`` GPUs, either may be a fraction, and trains where they are free. A
    network whose process or machine is lost is judged once more elsewhere. Raises RuntimeMissingError without the
    package ray, and SearchError when the cluster cannot be reached or cannot judge.
    """
    with RayPool(make_evaluator, address=address, cpus=cpus, gpus=gpus) as pool:
        return search_with_pool(pool, study, problem, budget, on_trial=on_trial, should_stop=should_stop)


def require_cluster(address: str) -> None:
    """Connect to the cluster and leave it; raises what :func:`search_on_cluster` would of one that is away."""
    ray = _ray()
    _connect(ray, address)
    ray.shutdown()


class RayPool:
    """Ray tasks that judge networks; a context that connects to the cluster and ends its tasks."""

    def __init__(self, make_evaluator: MakeEvaluator, *, address: str, cpus: float = 1.0, gpus: float = 0.0) -> None:
        if cpus <= 0 or gpus < 0:
            raise SettingsError(f"a network needs more than 0 cores and no negative GPUs, got {cpus:g} and {gpus:g}")
        self._make = make_evaluator
        self._address = address
        self._cpus, self._gpus = cpus, gpus
        self._name = uuid.uuid4().hex
        self._numbers: dict[Any, int] = {}  # by the task's reference
        self._asked: tuple[Any, float] | None = None  # the mailbox, and since when it has not answered

    def __enter__(self) -> RayPool:
        self._ray = _ray()
        _connect(self._ray, self._address)
        try:
            options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
            self._mailbox = self._ray.remote(**options)(_Mailbox).remote()
            # a lost task is given again by the search, which counts how often
            self._task = self._ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_retries=0)(_judge)
            self._make_reference = self._ray.put(self._make)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def has_room(self) -> bool:
        """Whether the cluster, as large as it is now, has resources for one more network.

        One always may wait for a cluster that is still starting its machines.
        """
        return len(self._numbers) < max(1, self._places())

    def judge(self, number: int, candidate: Candidate) -> None:
        """Start a task for a network."""
        task = self._task.remote(self._name, self._make_reference, number, candidate, self._mailbox)
        self._numbers[task] = number

    def answer(self, number: int, hopeless: bool) -> None:
        """Tell the task that reported whether to give the network up."""
        self._mailbox.answer.remote(number, hopeless)

    def events(self, timeout_s: float) -> Sequence[StepReport | Returned]:
        """What the tasks reported and returned, and the networks whose task was lost."""
        reports = [report for report in self._reports() if report.number in self._numbers.values()]
        if reports:
            return reports
        if not self._numbers:
            time.sleep(timeout_s)
            return []
        done, _ = self._ray.wait(list(self._numbers), num_returns=1, timeout=timeout_s)
        return [Returned(self._numbers.pop(task), self._verdict(task)) for task in done]

    def close(self) -> None:
        """End all tasks at once and leave the cluster as it was."""
        for task in self._numbers:
            self._ray.cancel(task, force=True)
        self._numbers.clear()
        self._ray.shutdown()

    def _places(self) -> int:
        resources = self._ray.cluster_resources()
        by_cores = resources.get("CPU", 0.0) / self._cpus
        return int(min(by_cores, resources.get("GPU", 0.0) / self._gpus) if self._gpus else by_cores)

    def _reports(self) -> list[StepReport]:
        asked, since = self._asked or (self._mailbox.take.remote(), time.monotonic())
        self._asked = asked, since
        try:
            answered, _ = self._ray.wait([asked], timeout=MAILBOX_S)
            if not answered and time.monotonic() - since < SILENCE_S:
                return []  # its process is still being started, or starved; tasks go on meanwhile
            found: list[StepReport] = self._ray.get(asked, timeout=MAILBOX_S)
        except self._ray.exceptions.RayError as error:
            raise SearchError(
                f"the Ray cluster at {self._address} does not answer any more ({_first_line(error)}); resume goes on"
            ) from error
        self._asked = None
        return found

    def _verdict(self, task: Any) -> Verdict:
        try:
            returned: Verdict | str = self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:  # raised outside of the evaluator: by the task's own start
            raise SearchError(f"a task of the cluster could not begin: {_last_line(error)}") from error
        except self._ray.exceptions.RayError as error:
            return Verdict("lost", reason=f"its task was lost: {_first_line(error)}")
        if isinstance(returned, str):
            raise SearchError(f"a task of the cluster could not prepare its work: {returned}")
        return returned


class _Mailbox:
    """Where tasks report a step and wait for the answer: an actor of the cluster."""

    def __init__(self) -> None:
        self._reports: list[StepReport] = []
        self._answers: dict[int, asyncio.Future[bool]] = {}

    async def ask(self, number: int, step: int, accuracy: float) -> bool:
        """Report a step and wait for whether to give the network up."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self._reports.append(StepReport(number, step, accuracy))
        return await answer

    async def take(self) -> list[StepReport]:
        """The reports since the last call."""
        reports, self._reports = self._reports, []
        return reports

    async def answer(self, number: int, hopeless: bool) -> None:
        """Answer the last report of a network."""
        waiting = self._answers.pop(number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(hopeless)


_evaluators: dict[str, Evaluator] = {}  # by pool: a process of the cluster makes its evaluator once


def _judge(pool: str, make_evaluator: MakeEvaluator, number: int, candidate: Candidate, mailbox: Any) -> Verdict | str:
    """One network's verdict, in a process of the cluster; a text says why there is no evaluator."""
    ray = _ray()
    if pool not in _evaluators:
        _evaluators.clear()  # of an earlier search
        try:
            _evaluators[pool] = make_evaluator(lambda: False)  # a stopped search cancels its tasks
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    def report(step: int, accuracy: float) -> None:
        if ray.get(mailbox.ask.remote(number, step, accuracy)):
            raise optuna.TrialPruned(hopeless_after(step))

    return judge(_evaluators[pool], candidate, report)


def _ray() -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    try:
        import ray
    except ImportError as error:
        raise RuntimeMissingError("Ray is not installed; run: pip install ray") from error
    module: ModuleType = ray
    return module


def _connect(ray: ModuleType, address: str) -> None:
    if ray.is_initialized():
        raise SearchError("this process is connected to a Ray cluster already; call ray.shutdown() first")
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # Ray raises many kinds, some of them plain RuntimeError and ConnectionError
        raise SearchError(
            f"no Ray cluster can be reached at {address} ({_first_line(error)}); start one with `ray start --head` and "
            "give its address; where it asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH here too"
        ) from error


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: Ray itself tries for many minutes."""
    parts = urllib.parse.urlsplit(f"//{address.rpartition('://')[2]}")  # ray://host:port is a cluster behind a proxy
    if parts.hostname and parts.port:
        socket.create_connection((parts.hostname, parts.port), timeout=CONNECT_TIMEOUT_S).close()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _last_line(error: Exception) -> str:
    return str(error).strip().rpartition("\n")[2]
