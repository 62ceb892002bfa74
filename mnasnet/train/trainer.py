"""The training loop: :func:`fit` reads from top to bottom; what moves and is remembered is its RunState.

A step's randomness is derived from (seed, epoch, step), so a training that was killed goes on to the same bits as
one that was not, on the same machine with the same number of threads. On a CPU the threads learn from parts of a
batch; how many parts there are is decided at the start and kept.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnasnet.modelfile import Weights
from mnasnet.network.build import MnasNet
from mnasnet.network.seeded import seeded
from mnasnet.network.supernet import Supernet
from mnasnet.preprocess import Preprocess
from mnasnet.progress import Stop
from mnasnet.train.batches import Balance, Images, changed, draw_changes, epoch_batches
from mnasnet.train.best import Kept
from mnasnet.train.checkpoint import CheckpointStore
from mnasnet.train.events import Audience, Ended, EpochEnded, Event, Listener, Started, Stepped
from mnasnet.train.objective import Objective, WholeNetwork
from mnasnet.train.optim import set_learning_rate
from mnasnet.train.process_settings import repeatable_gpu
from mnasnet.train.recipe import Recipe
from mnasnet.train.run_state import Row, RunState, is_over
from mnasnet.train.stopping import Stopped
from mnasnet.train.team import Team

_Network = TypeVar("_Network", MnasNet, Supernet)

Status = Literal["done", "stopped", "early", "time"]

CHECKPOINT_EVERY_S = 300.0  # inside long epochs


@dataclass(frozen=True, eq=False)
class FitResult(Generic[_Network]):
    """What a training came to.

    ``status`` is ``done``, ``early`` (no better for ``patience`` epochs), ``time`` (``max_minutes`` used up) or
    ``stopped`` (asked to). ``best`` is the epoch that is kept. ``average`` holds the weights that are evaluated and
    saved, as they are at the end.
    """

    status: Status
    history: tuple[Row, ...]
    best: Row | None
    average: _Network

    @property
    def reason(self) -> str:
        """The status in words."""
        return {
            "done": "all epochs are done",
            "early": "validation has not become better for the last epochs",
            "time": "the time allowed is used up",
            "stopped": "stopped on request",
        }[self.status]


def fit(
    network: _Network,
    train: Images,
    val: Images,
    recipe: Recipe,
    preprocess: Preprocess,
    *,
    epochs: int,
    seed: int = 0,
    balance: Balance = "off",
    accumulate_steps: int = 1,
    objective: Objective[_Network] | None = None,
    patience: int = 0,
    kept: Kept = "best",
    max_minutes: float = 0.0,
    team: Team = Team(),  # noqa: B008  # a frozen value
    store: CheckpointStore | None = None,
    identity: Mapping[str, Any] | None = None,
    on_best: Callable[[Weights, Row], None] | None = None,
    listeners: Iterable[Listener] = (),
    stop: Stop = lambda: False,
    prefetch: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> FitResult[_Network]:
    """Train ``network`` on ``train`` and judge the average of its weights on ``val`` after every epoch.

    With a ``store`` the state is saved at the start, after each epoch, every few minutes and when stopped; if it
    holds a checkpoint already, training goes on from there. ``identity`` (plain JSON values, such as a fingerprint
    of the data) must then be what it was. ``on_best`` gets the averaged weights whenever they are the best so far;
    with ``kept`` "last" after every epoch, and ``val`` then decides nothing.
    Each step learns from the recipe's batch in ``accumulate_steps`` parts, one after the other, so that memory has to
    hold one of them only; batch statistics are those of the parts.
    ``objective`` says what a step learns from, None being the network as it is. ``stop`` is asked between batches and,
    in any thread, within those that take long.
    ``patience`` and ``max_minutes`` of 0 mean no limit.
    Raises TrainingError when the loss is not a number, memory or disk do not suffice or the checkpoint belongs to
    another training.
    """
    identity = {**(identity or {}), "recipe": recipe.to_dict(), "epochs": epochs, "seed": seed, "balance": balance}
    objective = objective or cast("Objective[_Network]", WholeNetwork(recipe.label_smoothing))
    run = RunState(network, recipe, team, identity, objective, accumulate_steps, kept)
    run.restore(store)
    if run.is_fresh:
        run.save(store)  # also shows before the first epoch that the folder can be written
    audience = Audience[Event](listeners if team.writes else ())
    audience.hear(Started(epochs, run.epoch, tuple(run.history), run.identity))
    steps = len(_batches_of(train, recipe, seed, 0, balance, team))
    time_limit_s = max_minutes * 60 or math.inf

    with repeatable_gpu, contextlib.closing(run):
        try:
            if not is_over(run.epoch, run.best, epochs=epochs, patience=patience):
                run.get_helpers()
            while not is_over(run.epoch, run.best, epochs=epochs, patience=patience):
                run.set_frozen(frozen=run.epoch < recipe.frozen_epochs)
                batches = _batches_of(train, recipe, seed, run.epoch, balance, team)
                began = clock() - run.epoch_seconds
                saved = clock()
                with contextlib.closing(_inputs(train, batches, run, recipe, preprocess, seed, prefetch)) as inputs:
                    for step, batch in inputs:
                        if team.any(batch is None):
                            raise Stopped
                        x, targets, labels = batch
                        done = run.epoch * steps + step
                        set_learning_rate(run.optimizer, recipe.learning_rate_at(done, steps, epochs))
                        run.set_batch_norm_momentum(done - recipe.frozen_epochs * steps)
                        with seeded(_dropout_seed(seed, run.epoch, step, team.rank), team.device):
                            run.learn(
                                x, targets, labels, len(batches[step]), step=done, steps=epochs * steps, stop=stop
                            )
                        run.average_weights(recipe.ema_decay_at(done))
                        run.step = step + 1
                        run.epoch_seconds = clock() - began
                        audience.hear(_stepped(run, epochs, steps))
                        out_of_time = run.seconds + run.epoch_seconds > time_limit_s
                        if team.any(stop() or out_of_time):
                            inputs.close()
                            run.save(store)
                            status: Status = "time" if team.any(out_of_time) else "stopped"
                            if status == "time":
                                rate = recipe.learning_rate_at(done, steps, epochs)
                                run.judge(val, preprocess, rate, on_best=on_best, partial=True)
                            return _finished(status, run, audience)
                        if clock() - saved > CHECKPOINT_EVERY_S:
                            run.save(store)
                            saved = clock()

                rate = recipe.learning_rate_at((run.epoch + 1) * steps - 1, steps, epochs)
                row = run.judge(val, preprocess, rate, on_best=on_best, stop=stop)
                run.epoch_seconds = clock() - began
                run.end_epoch(row)
                run.save(store)
                audience.hear(EpochEnded(row, epochs, run.is_best(row), tuple(run.history)))
                if team.any(stop()):
                    return _finished("stopped", run, audience)
                if team.any(run.seconds > time_limit_s):
                    return _finished("time", run, audience)
        except Stopped:  # within a step, while images were read or judged: a resumed run does that again
            run.save(store)
            return _finished("stopped", run, audience)
    return _finished("done" if run.epoch >= epochs else "early", run, audience)


def _batches_of(
    train: Images, recipe: Recipe, seed: int, epoch: int, balance: Balance, team: Team
) -> list[NDArray[np.int64]]:
    return epoch_batches(
        train.labels, recipe.batch_size, seed=seed, epoch=epoch, balance=balance, smallest=2 * team.size
    )


def _inputs(
    train: Images,
    batches: list[NDArray[np.int64]],
    run: RunState[_Network],
    recipe: Recipe,
    preprocess: Preprocess,
    seed: int,
    prefetch: bool,
) -> _Steps:
    """This process's part of each remaining batch: step, then input, targets, labels; None where a stop was heard."""
    team, epoch, classes = run.team, run.epoch, run.network.num_classes

    def prepare(step: int) -> tuple[int, tuple[Tensor, Tensor, Tensor] | None]:
        batch = batches[step]
        own = np.asarray(team.rows_of(len(batch)), dtype=np.int64)
        indices = batch[own]
        changes = draw_changes(len(batch), recipe, seed=seed, epoch=epoch, step=step).rows(own)
        labels = torch.from_numpy(train.labels[indices]).to(team.device)
        try:
            pixels = train.read(indices)
        except Stopped:  # the other processes must hear of it
            return step, None
        x, targets = changed(pixels, labels, changes, recipe, preprocess, classes)
        return step, (x, targets, labels)

    return _Steps(prepare, range(run.step, len(batches)), ahead=2 if prefetch else 0)


class _Steps:
    """``prepare(step)`` for each step in order, some of them ahead in a thread of its own."""

    def __init__(self, prepare: Callable[[int], Any], steps: range, ahead: int) -> None:
        self._prepare, self._steps = prepare, iter(steps)
        self._pool = ThreadPoolExecutor(1, initializer=_match_threads, initargs=(torch.get_num_threads(),))
        self._pending: deque[Future[Any]] = deque()
        self._ahead = ahead

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self._ahead:
            return self._prepare(next(self._steps))
        while len(self._pending) <= self._ahead:
            step = next(self._steps, None)
            if step is None:
                break
            self._pending.append(self._pool.submit(self._prepare, step))
        if not self._pending:
            self.close()
            raise StopIteration
        return self._pending.popleft().result()

    def close(self) -> None:
        """Forget what is not wanted any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _match_threads(threads: int) -> None:
    torch.set_num_threads(threads)


def _stepped(run: RunState[_Network], epochs: int, steps: int) -> Stepped:
    if not run.team.device.startswith("cuda") or run.step % 20 == 1:  # asking a GPU every time would slow it down
        run.shown = run.totals.mean()
    per_step = run.epoch_seconds / run.step
    return Stepped(
        epoch=run.epoch,
        epochs=epochs,
        step=run.step - 1,
        steps=steps,
        loss=run.shown[0],
        accuracy=run.shown[1],
        images_per_second=run.totals.images / max(run.epoch_seconds, 1e-9),
        seconds_left=((epochs - run.epoch) * steps - run.step) * per_step,
    )


def _finished(status: Status, run: RunState[_Network], audience: Audience[Event]) -> FitResult[_Network]:
    result = FitResult(status, tuple(run.history), run.best, run.average)
    audience.hear(Ended(status, result.reason, result.history))
    return result


def _dropout_seed(seed: int, epoch: int, step: int, rank: int) -> int:
    state = np.random.SeedSequence([seed, epoch, step, rank, 3]).generate_state(2)
    return int(state[0]) << 31 | int(state[1]) >> 1
