"""Several processes of this machine judge the networks of one search."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import optuna

from mnasnet.errors import SearchError, SettingsError
from mnasnet.machine import python_program, usable_cores
from mnasnet.memory import one_arena
from mnasnet.progress import Stop
from mnasnet.search.pool import MakeEvaluator, Returned, StepReport, search_with_pool
from mnasnet.search.problem import SearchProblem
from mnasnet.search.records import TrialRecord
from mnasnet.search.study import Budget, Ending, hopeless_after
from mnasnet.search.verdict import Verdict, judge
from mnasnet.space import Candidate

GRACE_S = 7.0  # for workers to end by themselves after a stop
MOST_DEATHS = 3  # of each worker's, in a row and without a network judged in between

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Message = StepReport | Returned | str  # "" says that the evaluator is ready, another text that it could not be made


def search_with_workers(
    make_evaluator: MakeEvaluator,
    study: optuna.Study,
    problem: SearchProblem,
    budget: Budget,
    *,
    workers: int,
    threads: int = 0,
    on_trial: Callable[[TrialRecord], object] = lambda record: None,
    should_stop: Stop = lambda: False,
) -> Ending:
    """Search with so many worker processes, which judge accuracy; everything else happens here, as in `search`.

    ``threads`` of each worker; 0 is its share of the cores. A network whose worker is killed is judged once more by
    another one. Programs start it below ``if __name__ == "__main__":``, as every program that starts processes.
    Raises SearchError when workers cannot begin or die one after the other; the study can then be resumed.
    """
    with WorkerPool(make_evaluator, workers=workers, threads=threads) as pool:
        return search_with_pool(pool, study, problem, budget, on_trial=on_trial, should_stop=should_stop)


def require_guard() -> None:
    """Raise SearchError in a worker that reads the program that started it, and has come to the search there."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # by which multiprocessing itself knows
        raise SearchError(
            "this process reads the program again that started it, and would begin the search anew; start the search "
            'below if __name__ == "__main__": in your program'
        )


@dataclass(eq=False)
class _Worker:
    """A process and its two pipes; closing ``lifeline``, or our death, tells it to stop."""

    process: SpawnProcess
    pipe: Connection
    lifeline: Connection
    ready: bool = False
    number: int | None = None  # the trial in work


class WorkerPool:
    """Worker processes that judge networks; a context that ends them.

    Processes are spawned, not forked, so that no lock or thread of this process is copied in an unknown state.
    A dead worker is replaced once one has been ready.
    """

    def __init__(self, make_evaluator: MakeEvaluator, *, workers: int, threads: int = 0) -> None:
        if workers < 1:
            raise SettingsError(f"workers must be >= 1, got {workers}")
        self._make = make_evaluator
        self._threads = threads or max(1, usable_cores() // workers)
        self._most_deaths = MOST_DEATHS * workers
        self._deaths = 0
        self._can_begin = False  # shown by the first that was ready
        self._count = workers
        self._workers: list[_Worker] = []

    def __enter__(self) -> WorkerPool:
        multiprocessing.set_executable(python_program())  # its own guess is a program that embeds Python
        try:
            while len(self._workers) < self._count:
                self._workers.append(_started(self._make, self._threads))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def process_ids(self) -> tuple[int, ...]:
        """The workers' process numbers."""
        return tuple(worker.process.pid or 0 for worker in self._workers)

    def has_room(self) -> bool:
        """Whether a worker is ready and idle."""
        return any(worker.ready and worker.number is None for worker in self._workers)

    def judge(self, number: int, candidate: Candidate) -> None:
        """Give a network to an idle worker."""
        worker = next(worker for worker in self._workers if worker.ready and worker.number is None)
        worker.number = number
        with contextlib.suppress(OSError):  # it has just died, which events() will tell
            worker.pipe.send((number, candidate))

    def answer(self, number: int, hopeless: bool) -> None:
        """Tell the worker that reported whether to give the network up."""
        for worker in self._workers:
            if worker.number == number:
                with contextlib.suppress(OSError):
                    worker.pipe.send(hopeless)

    def events(self, timeout_s: float) -> Sequence[StepReport | Returned]:
        """What the workers sent, and the networks whose worker died."""
        heard = set(wait([worker.pipe for worker in self._workers], timeout_s))
        return [event for worker in list(self._workers) if worker.pipe in heard for event in self._hear(worker)]

    def close(self) -> None:
        """End all workers, by force those that did not end within GRACE_S."""
        for worker in self._workers:
            worker.lifeline.close()
            worker.pipe.close()
        deadline = time.monotonic() + GRACE_S
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.process.close()
        self._workers.clear()

    def _hear(self, worker: _Worker) -> Iterator[StepReport | Returned]:
        try:
            message: Message = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._bury(worker)
            return
        if isinstance(message, str):
            if message:
                raise SearchError(f"a worker process could not prepare its work: {message}")
            worker.ready = self._can_begin = True
            return
        if isinstance(message, Returned):
            worker.number = None
            self._deaths = 0
        yield message

    def _bury(self, worker: _Worker) -> Iterator[Returned]:
        """Replace a dead worker and tell which network it had in hand."""
        self._workers.remove(worker)
        worker.lifeline.close()
        worker.pipe.close()
        worker.process.join()
        reason = _cause(worker.process.exitcode)
        if not self._can_begin:
            raise SearchError(
                f"a worker process ended before it was ready, {reason}; take fewer workers if memory is short, and "
                'start the search below if __name__ == "__main__": in a program of your own'
            )
        self._deaths += 1
        if self._deaths > self._most_deaths:
            raise SearchError(
                f"{self._deaths} worker processes ended one after the other, the last {reason}; take fewer workers if "
                "memory is short"
            )
        self._workers.append(_started(self._make, self._threads))
        if worker.number is not None:
            yield Returned(worker.number, Verdict("lost", reason=f"its worker process ended {reason}"))


def _started(make_evaluator: MakeEvaluator, threads: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    held, watched = context.Pipe()
    process = context.Process(target=_work, args=(there, watched, make_evaluator), name="mnasnet-worker")
    with _thread_environment(threads):
        process.start()
    there.close()
    watched.close()
    return _Worker(process, here, held)


@contextlib.contextmanager
def _thread_environment(threads: int) -> Iterator[None]:
    """Numerical libraries read their number of threads when they are loaded, before our code runs in the worker."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(pipe: Connection, lifeline: Connection, make_evaluator: MakeEvaluator) -> None:
    """A worker's life: make the evaluator, then judge one network after the other until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the search decides
    one_arena()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def is_over() -> bool:
        try:
            return lifeline.poll()
        except OSError:  # Windows says of a pipe's end by an error (CPython issue 85180)
            return True

    try:
        evaluator = make_evaluator(is_over)
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        return

    def report(step: int, accuracy: float) -> None:
        try:
            pipe.send(StepReport(number, step, accuracy))
            hopeless = pipe.recv()
        except (EOFError, OSError):  # the search has ended; the evaluator sees that it should stop
            return
        if hopeless:
            raise optuna.TrialPruned(hopeless_after(step))

    try:
        pipe.send("")
        while True:
            number, candidate = pipe.recv()
            pipe.send(Returned(number, judge(evaluator, candidate, report)))
    except (EOFError, OSError):
        pass
    except BaseException:  # an evaluator that stops in the middle says so by one of its own
        if not is_over():
            raise
    os._exit(0)  # a worker has nothing to save, and taking torch down would cost the stop some seconds


def _end_with_parent() -> None:
    """End this process when the search was killed and the evaluator does not ask whether to stop."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        time.sleep(GRACE_S)
        os._exit(1)


def _cause(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"by signal {-exit_code} ({signal.Signals(-exit_code).name})"
    return f"with exit code {exit_code}"
