"""A thread of its own for what torch computes, so that a host program's OpenMP settings do not reach it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import torch

from mnasnet.progress import Stop
from mnasnet.train.process_settings import kept_memory

_Result = TypeVar("_Result")


def in_own_thread(
    function: Callable[[Stop], _Result], *, stop: Stop = lambda: False, threads: int | None = None
) -> _Result:
    """Call ``function`` in a fresh thread with ``threads`` torch threads and return or raise what it does.

    It is given a ``stop`` that also answers yes after Ctrl-C, and should ask it often; KeyboardInterrupt follows when
    it has ended.

    ``import ikomia`` loads an OpenCV that turns on OpenMP's dynamic mode for the importing thread: teams then get
    smaller than oneDNN expects, and the first backward pass waits for ever. A new thread has the mode off. While it
    works, memory that tensors give back is kept for the next ones (:func:`mnasnet.memory.keep_memory`).
    """
    outcome: Future[_Result] = Future()
    interrupted = threading.Event()

    def work() -> None:
        previous = torch.get_num_threads()
        if threads:
            torch.set_num_threads(threads)
        try:
            outcome.set_result(function(lambda: stop() or interrupted.is_set()))
        except BaseException as error:  # handed to the caller
            outcome.set_exception(error)
        finally:
            torch.set_num_threads(previous)
            over.set()

    over = threading.Event()  # an interrupted Thread.join takes the thread for ended before Python 3.13
    with kept_memory:  # before the thread starts, which decides where its memory comes from
        threading.Thread(target=work, name="training", daemon=True).start()
        try:
            while not over.wait(0.2):  # returns to Python now and then, so that signals are handled
                pass
        except KeyboardInterrupt:
            interrupted.set()
            over.wait()
            raise
    return outcome.result()
