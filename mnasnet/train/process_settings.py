"""What a whole process is set to while networks train in it: a GPU repeats itself, memory given back is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch

from mnasnet.memory import keep_memory


class ProcessSetting:
    """A context in which a setting of the process holds; contexts in several threads may overlap.

    ``change`` makes the setting and returns what takes it back: the first context calls it, the last one undoes it.
    """

    def __init__(self, change: Callable[[], Callable[[], None]]) -> None:
        self._change = change
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._undo = self._change()
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._undo()


def _repeat_on_gpu() -> Callable[[], None]:
    """A GPU adds up in the same order each time; left alone, cuDNN takes whichever way was fastest at the moment."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False

    def undo() -> None:
        cudnn.deterministic, cudnn.benchmark = before

    return undo


repeatable_gpu = ProcessSetting(_repeat_on_gpu)
kept_memory = ProcessSetting(keep_memory)
