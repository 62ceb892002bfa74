"""OpenMP's threads, which torch computes with: they sleep while they wait, and a fork leaves them behind."""

from __future__ import annotations

import functools
import importlib
import os
import sys
import threading
from typing import Any

_left_behind = threading.Event()


def import_torch() -> Any:
    """Import torch with care for its threads, see :func:`prepare_for_torch`."""
    prepare_for_torch()
    return importlib.import_module("torch")


@functools.cache
def prepare_for_torch() -> None:
    """Let torch's threads sleep while they wait, where it is imported later, and children of a fork do without them.

    Spinning threads make one prediction 30 times slower when another process is busy on every core. A child has the
    thread that forked and no other: what waits there for those of the parent never ends.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("GOMP_SPINCOUNT", "0")
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_begin_in_child)


def threads_are_left_behind() -> bool:
    """Whether this process is the child of a fork whose parent had torch."""
    return _left_behind.is_set()


def _begin_in_child() -> None:
    if "torch" in sys.modules:
        _left_behind.set()
        sys.modules["torch"].set_num_threads(1)
