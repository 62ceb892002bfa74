"""Several threads learn from one batch on a CPU: each from its own part, on a replica that shares the weights.

Threads that share every operator wait for each other and move data between cores; threads with a part of their own
meet once a step. Memory for activations is that of the whole batch; each further replica adds one set of gradients.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

import torch
from torch import Tensor, nn

_Result = TypeVar("_Result")

SMALLEST_PART = 32  # images, as arXiv 1706.02677 gives each worker; with 16 handwritten digits lost 0.4 to 0.8 points
_EVENLY_CUT = SMALLEST_PART * 7 // 8  # of a batch a little smaller than asked, as an epoch cut evenly has them


def replicas_for(batch_size: int, threads: int) -> int:
    """How many parts a batch is divided into when so many threads may work."""
    return max(1, min(threads, batch_size // SMALLEST_PART))


class Replicas:
    """``network`` and its ``count - 1`` replicas; each has a thread and an equal share of this thread's torch threads.

    A replica shares the parameters and has gradients, batch statistics and random numbers of its own. Whatever the
    threads' timing, the outcome is the same. A ``count`` of 1 is the network alone, in the calling thread.
    """

    def __init__(self, network: nn.Module, count: int) -> None:
        self._network = network
        self._replicas = [_Replica(network) for _ in range(count - 1)]
        self._statistics = _statistics(network)
        self._threads = [ThreadPoolExecutor(1, "learning") for _ in range(count if count > 1 else 0)]
        threads = torch.get_num_threads()
        for thread in self._threads:
            thread.submit(_use_threads, max(1, threads // count)).result()
        torch.set_num_threads(threads)  # threads that begin later get what was set last, in whichever thread

    def learn(self, backward: Callable[..., _Result], *batch: Tensor) -> list[_Result]:
        """Call ``backward(network, *part)`` for each part of the batch; the results in order of the parts.

        ``backward`` adds to the gradients of the network it is given. Then the network has the sum of all gradients
        and the mean of all batch statistics. A batch much too small for parts of SMALLEST_PART images has fewer.
        """
        if not self._threads:
            return [backward(self._network, *batch)]
        count = max(1, min(len(self._threads), len(batch[0]) // _EVENLY_CUT))
        replicas = self._replicas[: count - 1]
        for replica in replicas:
            replica.begin(self._network)
        networks = [self._network, *(replica.network for replica in replicas)]
        parts = list(zip(*(tensor.tensor_split(count) for tensor in batch), strict=True))
        jobs: list[Future[_Result]] = [
            thread.submit(backward, network, *part)
            for thread, network, part in zip(self._threads, networks, parts, strict=False)
        ]
        wait(jobs)  # also when one fails: they work on what the caller changes next
        results = [
            jobs.pop(0).result() for _ in networks
        ]  # popped, so that an error and its job do not hold each other
        self._gather(replicas, [len(part[0]) for part in parts])
        return results

    def close(self) -> None:
        """End the threads."""
        for thread in self._threads:
            thread.shutdown()

    @torch.no_grad()
    def _gather(self, replicas: Sequence[_Replica], sizes: Sequence[int]) -> None:
        """In order of the parts, since sums of floats depend on it."""
        seen = sizes[0]
        for replica, size in zip(replicas, sizes[1:], strict=True):
            seen += size
            # a running mean: unlike a sum of products it leaves frozen statistics as they are, to the bit
            torch._foreach_lerp_(self._statistics, replica.statistics, size / seen)
            for shared, own in zip(self._network.parameters(), replica.network.parameters(), strict=True):
                if own.grad is not None:
                    shared.grad = own.grad if shared.grad is None else shared.grad.add_(own.grad)


class _Replica:
    """A copy of ``network`` that has its parameters, in the same memory."""

    def __init__(self, network: nn.Module) -> None:
        self.network = copy.deepcopy(network)
        for own, shared in zip(self.network.parameters(), network.parameters(), strict=True):
            own.data = shared.data
        self.statistics = _statistics(self.network)
        self._random = torch.Generator()
        for module in list(self.network.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.Dropout):
                    setattr(module, name, _Dropout(child.p, self._random).train(child.training))

    @torch.no_grad()
    def begin(self, network: nn.Module) -> None:
        """Take over what changed in ``network``; the random numbers to come are decided by torch's global ones."""
        self.network.zero_grad(set_to_none=True)
        for own, shared in zip(self.network.buffers(), network.buffers(), strict=True):
            own.copy_(shared)
        for module, like in zip(self.network.modules(), network.modules(), strict=True):
            if isinstance(module, nn.BatchNorm2d) and isinstance(like, nn.BatchNorm2d):
                module.momentum = like.momentum
        self._random.manual_seed(int(torch.randint(2**62, ())))


class _Dropout(nn.Dropout):
    """Dropout with a generator of its own: the global one would serve the threads in the order they come."""

    def __init__(self, p: float, generator: torch.Generator) -> None:
        super().__init__(p)
        self._generator = generator

    def forward(self, x: Tensor) -> Tensor:
        """``x`` with each number zero at probability ``p``, the others raised to keep the mean."""
        if not self.training or not self.p:
            return x
        kept = torch.empty_like(x).bernoulli_(1 - self.p, generator=self._generator)
        return x * kept.div_(1 - self.p)


def _statistics(network: nn.Module) -> list[Tensor]:
    return [buffer for buffer in network.buffers() if buffer.is_floating_point()]


def _use_threads(threads: int) -> None:
    torch.get_num_threads()  # a thread's first call takes the number over from the others, which must not come later
    torch.set_num_threads(threads)
