"""How a training is left in the middle of what takes long, so that nobody who stops it waits for the end of that."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor, nn


class Stopped(Exception):  # noqa: N818  # not an error
    """The user has asked to stop; what was under way is not whole and is to be done again."""


class WayOut:
    """Lets a step be left at any of ``layers``, forwards and backwards.

    Only a step that lasts longer than ``PATIENCE_S`` is left: others end sooner than it would be taken again.
    """

    PATIENCE_S = 1.0

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        # closures, because a copied network has them too and must not copy what they belong to
        self._hooks = [layer.register_forward_pre_hook(lambda _, inputs: self._pass(inputs)) for layer in layers]
        self._stop: Callable[[], bool] | None = None
        self._from = 0.0

    @contextlib.contextmanager
    def open(self, stop: Callable[[], bool]) -> Iterator[None]:
        """In this context layers raise Stopped once ``stop`` says so."""
        self._stop, self._from = stop, time.monotonic() + self.PATIENCE_S
        try:
            yield
        finally:
            self._stop = None

    def look(self, _: Tensor | None = None) -> None:
        """Raise Stopped if the step takes long and is to be left."""
        if self._stop is not None and time.monotonic() > self._from and self._stop():
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
