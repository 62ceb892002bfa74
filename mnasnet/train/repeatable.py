"""What makes a GPU repeat itself to the bit while networks train."""

from __future__ import annotations

import threading

import torch


class _RepeatableGpu:
    """Lets a GPU add up in the same order each time: left alone, cuDNN takes whichever way was fastest at the moment.

    The settings are the process's: the first of several trainings at once changes them, the last one puts them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._trainings = 0
        self._before = (False, False)

    def __enter__(self) -> None:
        cudnn = torch.backends.cudnn
        with self._lock:
            if not self._trainings:
                self._before = cudnn.deterministic, cudnn.benchmark
                cudnn.deterministic, cudnn.benchmark = True, False
            self._trainings += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._trainings -= 1
            if not self._trainings:
                torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = self._before


repeatable_gpu = _RepeatableGpu()
