"""How a training is left in the middle of what takes long, so that nobody who stops it waits for the end of that."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mnasnet.errors import TrainingError
from mnasnet.network.quantized import Rounding
from mnasnet.progress import Stop
from mnasnet.train.team import Team


class Stopped(Exception):  # noqa: N818  # not an error
    """The user has asked to stop; what was under way is not whole and is to be done again."""


def hooked_layers(network: nn.Module) -> list[nn.Module]:
    """The layers of ``network`` at which a pass through it can be left."""
    return [layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, Rounding))]


_GOING_ON, _DONE, _STOPPED, _FAILED = range(4)
_MEETING_S = 1.0


def done_by_writer(team: Team, work: Callable[[Stop], None], stop: Stop) -> None:
    """Let the team's writer do ``work`` while the others wait, however long it takes: messages have a time limit.

    ``work`` asks the function that it is given whether to leave, and raises Stopped then, as all processes do.
    """
    met = time.monotonic()

    def leave() -> bool:
        nonlocal met
        if team.size == 1:
            return stop()
        if time.monotonic() < met + _MEETING_S:
            return False
        heard = team.most(_STOPPED if stop() else _GOING_ON)
        met = time.monotonic()
        return heard == _STOPPED

    if team.writes:
        try:
            work(leave)
        except Stopped:
            raise
        except BaseException:
            team.most(_FAILED)
            raise
    heard: float = _GOING_ON
    while heard == _GOING_ON:
        heard = team.most(_STOPPED if stop() else _DONE if team.writes else _GOING_ON)
    if heard == _STOPPED:
        raise Stopped
    if heard == _FAILED:
        raise TrainingError("the first process of this training has failed; its own message says why, and what to do")


@contextlib.contextmanager
def leaving_together(team: Team) -> Iterator[None]:
    """What each process does for itself, and raises Stopped from alone: afterwards all processes raise it."""
    stopped = False
    try:
        yield
    except Stopped:
        stopped = True
    if team.any(stopped):
        raise Stopped


class StopHooks:
    """Lets a pass through a network be left at any of its ``layers``, forwards and backwards.

    Only what lasts longer than ``PATIENCE_S`` is left: the rest ends sooner than it would be done again. The
    processes of a ``team`` leave together, since each waits for the others' gradients: where their passes last, they
    agree at every so many layers, about once in ``PATIENCE_S``.
    """

    PATIENCE_S = 1.0

    def __init__(self, layers: Iterable[nn.Module], team: Team = Team()) -> None:  # noqa: B008  # a frozen value
        self._hooks: list[RemovableHandle] = []
        self.watch(layers)
        self._team = team
        self._stop: Stop | None = None
        self._from = 0.0
        self._passed = 0
        self._ask_every = 1  # layers of a team's pass; 0 is never

    def watch(self, layers: Iterable[nn.Module]) -> None:
        """Also let a pass be left at these ``layers``."""
        # closures, because a copied network has them too and must not copy what they belong to
        self._hooks += [layer.register_forward_pre_hook(lambda _, inputs: self._pass(inputs)) for layer in layers]

    @contextlib.contextmanager
    def armed(self, stop: Stop) -> Iterator[None]:
        """In this context layers raise Stopped once ``stop`` says so."""
        began = time.monotonic()
        self._stop, self._from, self._passed = stop, began + self.PATIENCE_S, 0
        try:
            yield
            if self._team.size > 1:
                took_s = self._team.most(time.monotonic() - began)
                self._ask_every = math.ceil(self._passed * self.PATIENCE_S / took_s) if took_s > self.PATIENCE_S else 0
        finally:
            self._stop = None

    def look(self, _: Tensor | None = None) -> None:
        """Raise Stopped if what is under way takes long and is to be left."""
        if self._stop is None:
            return
        if self._team.size == 1:
            leave = time.monotonic() > self._from and self._stop()
        else:
            self._passed += 1
            leave = bool(self._ask_every) and self._passed % self._ask_every == 0 and self._team.any(self._stop())
        if leave:
            raise Stopped

    def close(self) -> None:
        """Take the hooks off the layers."""
        for hook in self._hooks:
            hook.remove()

    def _pass(self, inputs: tuple[Any, ...]) -> None:
        if self._stop is None:
            return
        self.look()
        if inputs[0].requires_grad:
            inputs[0].register_hook(self.look)
