"""The processes that train together under ``torchrun``; one process alone is a team of one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mnasnet.errors import MnasNetError, TrainingError

_LOST = "(?i)connection (closed|reset|refused)|socket timeout|broken pipe|timed out"  # what gloo and NCCL say then


@dataclass(frozen=True, slots=True)
class Team:
    """This process's place, ``rank``, among ``size`` that train one network together. Rank 0 alone writes files."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    agreement: dist.ProcessGroup | None = None  # a channel for it alone: gradients may be under way in the common one

    @property
    def writes(self) -> bool:
        """Whether this process owns the run folder."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        return bool(self.most(int(flag)))

    def most(self, value: float) -> float:
        """The largest of the values that the processes pass."""
        if self.size == 1:
            return value
        largest = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=self.agreement)
        return float(largest.item())

    def sum_(self, values: Tensor) -> Tensor:
        """``values`` added up over the team, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def average_buffers(self, network: nn.Module) -> None:
        """Give every process the mean of all running statistics."""
        if self.size == 1:
            return
        buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        flat = torch.cat([buffer.flatten() for buffer in buffers])
        dist.all_reduce(flat)
        flat /= self.size
        for buffer, part in zip(buffers, torch.split(flat, [buffer.numel() for buffer in buffers]), strict=True):
            buffer.copy_(part.view_as(buffer))

    def rows_of(self, count: int) -> range:
        """Which of ``count`` rows belong to this process: every ``size``-th."""
        return range(self.rank, count, self.size)

    def gather_rows(self, rows: Tensor, count: int) -> Tensor:
        """All ``count`` rows in order, from each process's ``rows_of(count)``; N x width float."""
        if self.size == 1:
            return rows
        longest = -(-count // self.size)
        padded = torch.zeros(longest, rows.shape[1], dtype=rows.dtype, device=rows.device)
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        return torch.stack(parts, 1).flatten(0, 1)[:count]

    def share_bytes(self, data: bytes | None) -> bytes | None:
        """What rank 0 passes in, in every process; None stays None."""
        if self.size == 1:
            return data
        length = torch.tensor([-1 if data is None else len(data)], device=self.device)  # only rank 0's counts
        dist.broadcast(length, 0)
        size = int(length.item())
        if size <= 0:
            return b"" if size == 0 else None
        content = torch.empty(size, dtype=torch.uint8)
        if self.writes and data is not None:
            content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        content = content.to(self.device)
        dist.broadcast(content, 0)
        return content.cpu().numpy().tobytes()

    def require_same(self, text: str, what: str) -> None:
        """Raise TrainingError in every process unless all passed the same ``text``."""
        first = self.share_bytes(text.encode() if self.writes else None)
        if self.any(first is not None and first != text.encode()):
            raise TrainingError(f"the processes of this training differ in {what}; give every host the same folder")

    def parallel(self, network: nn.Module) -> nn.Module:
        """``network`` with gradients averaged over the team in each backward pass."""
        if self.size == 1:
            return network
        devices = [torch.device(self.device)] if self.device.startswith("cuda") else None
        return nn.parallel.DistributedDataParallel(network, device_ids=devices, forward_sync_buffers=False)


@contextmanager
def team_from_environment(device: str) -> Iterator[Team]:
    """The team that ``torchrun`` described in the environment; alone where it did not.

    Raises TrainingError, in place of torch's own error, where another process ended too soon.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team(device=device)
        return
    rank = int(os.environ["RANK"])
    on_gpu = device.startswith("cuda")
    if on_gpu:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(minutes=10))
    try:
        yield Team(rank, size, device, None if on_gpu else cast("dist.ProcessGroup", dist.new_group()))
    except RuntimeError as error:
        if isinstance(error, MnasNetError) or not re.search(_LOST, str(error)):
            raise
        raise TrainingError(
            f"process {rank} of this training has lost another one, whose own message may say why; "
            "the last checkpoint is kept: start all of them again with `resume`"
        ) from error
    finally:
        dist.destroy_process_group()
