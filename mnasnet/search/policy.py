"""The controller's network and its PPO update, on sequences of tokens and rewards; it knows no studies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mnasnet.network.seeded import seeded

_SAME = 1e-6  # a spread, as a share of the largest reward: the mean of equal numbers is often not quite that number


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """The numbers of the controller; the paper states none of them, so each has another source.

    ``clip`` is arXiv 1707.06347's (section 6.1). ``hidden``, ``batch`` and ``baseline_decay`` are in the range
    of the NASNet controller that the paper takes over (arXiv 1707.07012, appendix: 100 units, batches of 20,
    0.95). ``learning_rate``, ``entropy`` (per token) and ``epochs`` were chosen on benchmarks/search_algorithms.py:
    entropy 0.05 collapses before 1,000 networks, 0.5 hardly learns by 2,000. ``max_gradient`` is a common guard.

    Whenever more than ``most_repeated`` of a batch had been judged before, the weight of entropy grows by
    ``entropy_step``, otherwise it shrinks back towards ``entropy``: a policy that settles goes on to find networks.
    """

    hidden: int = 64
    learning_rate: float = 5e-4
    batch: int = 10
    epochs: int = 4
    clip: float = 0.2
    entropy: float = 0.15
    most_repeated: float = 0.5
    entropy_step: float = 1.05
    baseline_decay: float = 0.95
    max_gradient: float = 1.0


class Policy:
    """A distribution over sequences of tokens, one per choice, each depending on all before it.

    ``network`` tells the log-probability of each token of given sequences, and the entropy of each decision.
    """

    def __init__(self, counts: Sequence[int], seed: int, settings: ControllerSettings) -> None:
        self._settings = settings
        with seeded(seed):
            self.network = _Network(counts, settings.hidden)
        self._optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate)
        self._baseline: float | None = None
        self._tables: _Tables | None = None

    def sample(self, uniform: NDArray[np.float64]) -> tuple[int, ...]:
        """One sequence; ``uniform`` are the random numbers in 0 to 1 that decide it, one per choice."""
        if self._tables is None:
            self._tables = self.network.tables()
        return self._tables.sample(uniform)

    def update(self, tokens: NDArray[np.int64], rewards: NDArray[np.float64], entropy_weight: float) -> None:
        """One PPO step on a batch of sequences (B x choices) and their rewards (B)."""
        settings = self._settings
        inputs = torch.from_numpy(tokens)
        advantage = torch.from_numpy(self._advantage(rewards).astype(np.float32))[:, None]
        with torch.no_grad():
            before, _ = self.network(inputs)
        for _ in range(settings.epochs):
            after, entropy = self.network(inputs)
            ratio = (after - before).exp()  # B x choices: each token is an action, eq. 6 of arXiv 1707.06347
            clipped = ratio.clamp(1.0 - settings.clip, 1.0 + settings.clip)
            gain = torch.minimum(ratio * advantage, clipped * advantage)  # eq. 7
            loss = -gain.sum(1).mean() - entropy_weight * entropy.sum(1).mean()  # eq. 9 without a value network
            self._optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), settings.max_gradient)
            self._optimizer.step()
        self._tables = None

    def forget_level(self) -> None:
        """Compare the next rewards with none of those before."""
        self._baseline = None

    def _advantage(self, rewards: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far each reward lies above a moving average of earlier ones, in units of the batch's spread.

        Where all are equal nobody is better than another, and entropy alone decides.
        """
        mean = float(rewards.mean())
        baseline = mean if self._baseline is None else self._baseline
        decay = self._settings.baseline_decay
        self._baseline = decay * baseline + (1.0 - decay) * mean
        spread = float(rewards.std())
        if spread <= _SAME * np.abs(rewards).max():
            return np.zeros_like(rewards)
        return (rewards - baseline) / (spread + 1e-8)


class _Network(nn.Module):
    """Embedding of the token before, LSTM, one softmax per choice."""

    def __init__(self, counts: Sequence[int], hidden: int) -> None:
        super().__init__()
        self.counts = tuple(counts)
        first = np.concatenate([[1], 1 + np.cumsum(counts)[:-1]]).astype(np.int64)
        self.register_buffer("first", torch.from_numpy(first), persistent=False)  # each choice's first token
        forbidden = np.arange(max(counts))[None, :] >= np.asarray(counts)[:, None]
        self.register_buffer("forbidden", torch.from_numpy(forbidden), persistent=False)  # choices x options
        self.embedding = nn.Embedding(1 + sum(counts), hidden)  # token 0 starts the sequence
        self.recurrent = nn.LSTM(hidden, hidden, batch_first=True)
        self.heads = nn.Parameter(torch.empty(len(counts), hidden, max(counts)))
        self.bias = nn.Parameter(torch.empty(len(counts), max(counts)))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)  # the controller of arXiv 1611.01578, section 4.1: +-0.08

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability of each token and the entropy of each decision, both B x choices."""
        first: Tensor = self.get_buffer("first")
        before = torch.cat([torch.zeros_like(tokens[:, :1]), (tokens + first)[:, :-1]], dim=1)
        states, _ = self.recurrent(self.embedding(before))  # B x choices x hidden
        logits = torch.einsum("bch,cho->bco", states, self.heads) + self.bias
        logs = logits.masked_fill(self.get_buffer("forbidden"), -1e9).log_softmax(2)
        return logs.gather(2, tokens[:, :, None])[:, :, 0], -(logs.exp() * logs).sum(2)

    def tables(self) -> _Tables:
        """The weights as arrays, for sampling."""
        values = {name: value.numpy().copy() for name, value in self.state_dict().items()}
        return _Tables(
            self.counts,
            embedding=values["embedding.weight"],
            weight_input=values["recurrent.weight_ih_l0"],
            weight_hidden=values["recurrent.weight_hh_l0"],
            gate_bias=values["recurrent.bias_ih_l0"] + values["recurrent.bias_hh_l0"],
            heads=values["heads"],
            bias=values["bias"],
        )


@dataclass(frozen=True)
class _Tables:
    """The network without gradients: one token at a time costs microseconds, not torch's call overhead."""

    counts: tuple[int, ...]
    embedding: NDArray[np.float32]
    weight_input: NDArray[np.float32]
    weight_hidden: NDArray[np.float32]
    gate_bias: NDArray[np.float32]
    heads: NDArray[np.float32]
    bias: NDArray[np.float32]

    def sample(self, uniform: NDArray[np.float64]) -> tuple[int, ...]:
        size = self.weight_hidden.shape[1]
        hidden, cell = np.zeros(size, np.float32), np.zeros(size, np.float32)
        token, first = 0, 1
        picked = []
        for choice, count in enumerate(self.counts):
            gates = self.weight_input @ self.embedding[token] + self.weight_hidden @ hidden + self.gate_bias
            enter, forget, update, leave = np.split(gates, 4)  # torch's order of an LSTM's gates
            cell = _sigmoid(forget) * cell + _sigmoid(enter) * np.tanh(update)
            hidden = _sigmoid(leave) * np.tanh(cell)
            logits = hidden @ self.heads[choice, :, :count] + self.bias[choice, :count]
            chances = np.exp(logits - logits.max()).cumsum()
            picked.append(min(int(np.searchsorted(chances, uniform[choice] * chances[-1], side="right")), count - 1))
            token, first = first + picked[-1], first + count
        return tuple(picked)


def _sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1.0 / (1.0 + np.exp(-x)), dtype=np.float32)
