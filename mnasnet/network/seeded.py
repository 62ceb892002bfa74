"""Torch's own random numbers, which all threads of a process share: one thread at a time draws them from its seed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch

_TURN = threading.RLock()


@contextlib.contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Draw from ``seed`` within, and leave the generators of the CPU and of ``device`` as they were found.

    Other threads wait to be seeded until then: trainings in threads of one process take turns, a step each, and come
    to the same as they would alone.
    """
    with _TURN, torch.random.fork_rng(devices=[torch.device(device)] if device.startswith("cuda") else []):
        torch.manual_seed(seed)
        yield
