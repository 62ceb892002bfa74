"""Everything of a training that moves: a step's learning, an epoch's judgement, and what a checkpoint remembers."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mnasnet.errors import DivergedError, TrainingError
from mnasnet.modelfile import Weights, weights_of
from mnasnet.network.build import MnasNet
from mnasnet.network.supernet import Supernet
from mnasnet.preprocess import Preprocess
from mnasnet.progress import Stop
from mnasnet.train.batches import Images
from mnasnet.train.best import Kept, is_better
from mnasnet.train.checkpoint import Checkpoint, CheckpointStore, from_bytes
from mnasnet.train.evaluate import log_softmax
from mnasnet.train.objective import EVALUATION_BATCH, LossTerm, Objective
from mnasnet.train.optim import WeightAverage, optimizer_for
from mnasnet.train.recipe import Recipe
from mnasnet.train.replicas import Replicas, replicas_for
from mnasnet.train.stopping import StopHooks, Stopped, hooked_layers
from mnasnet.train.team import Team
from mnasnet.words import first_line

_log = logging.getLogger(__name__)
_Network = TypeVar("_Network", MnasNet, Supernet)

Row = dict[str, Any]

SMALLEST_BATCH = 2  # batch normalisation cannot work on one image


@dataclass
class _Totals:
    """Sums over the epoch so far; kept on the device, so that a GPU never has to wait for them."""

    values: Tensor  # loss, right answers: float64
    images: int = 0

    def mean(self) -> tuple[float, float]:
        """Loss and accuracy."""
        loss, right = self.values.tolist()
        return loss / max(1, self.images), right / max(1, self.images)


@dataclass
class RunState(Generic[_Network]):
    """The moving parts of a training; :meth:`save` and :meth:`restore` say what of it counts."""

    network: _Network
    recipe: Recipe
    team: Team
    identity: Mapping[str, Any]
    objective: Objective[_Network]
    accumulate_steps: int
    kept: Kept
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0  # of the epochs that are over
    epoch_seconds: float = 0.0
    micro_batch: int = 0
    replicas: int = 1
    history: list[Row] = field(default_factory=list)
    best: Row | None = None
    shown: tuple[float, float] = (0.0, 0.0)  # loss and accuracy as listeners last heard them
    is_fresh: bool = True

    def __post_init__(self) -> None:
        self.network = self.network.to(self.team.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average: _Network = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.optimizer = optimizer_for(self.network, self.recipe)
        self.micro_batch = max(SMALLEST_BATCH, -(-self.recipe.batch_size // (self.accumulate_steps * self.team.size)))
        if self._divides:
            self.replicas = replicas_for(self.recipe.batch_size, torch.get_num_threads())
        self.totals = self._no_totals()
        self._norms = [module for module in self.network.modules() if isinstance(module, nn.BatchNorm2d)]
        self._weight_average = WeightAverage(self.network, self.average)
        self._stop_hooks = StopHooks((), self.team)
        self._make_leavable(self.network)
        self._parallel: nn.Module | None = None
        self._learners: Replicas | None = None
        self._was_frozen = False
        self._precision = _precision_of(self.team.device)
        self._scaler = torch.amp.GradScaler("cuda", enabled=self._precision is torch.float16)

    def close(self) -> None:
        """Leave the network as it was found, and no thread."""
        self._stop_hooks.close()
        self._end_learners()

    def _end_learners(self) -> None:
        if self._learners is not None:
            self._learners.close()

    def _make_leavable(self, network: nn.Module) -> None:
        """Let a step be left at the layers of ``network``; a GPU's steps are short."""
        if self.team.device == "cpu":
            self._stop_hooks.watch(hooked_layers(network))

    def get_helpers(self) -> None:
        """Open what the objective needs beside the network; once, before the first step."""
        for helper in self.objective.helpers():
            self._make_leavable(helper)

    @property
    def _divides(self) -> bool:
        """Whether threads learn from parts of a batch; a GPU or the processes of a team divide the work otherwise."""
        return self.team.size == 1 and self.team.device == "cpu"

    def set_frozen(self, *, frozen: bool) -> None:
        """Let everything learn, or only the classifier; a frozen part keeps its batch statistics too."""
        self.network.train()
        for name, module in self.network.named_children():
            learns = not frozen or name in ("classifier", "dropout")
            module.requires_grad_(learns).train(learns)
        if self._parallel is None or self._was_frozen != frozen:
            self._end_learners()
            self._parallel = self.team.parallel(self.network)
            self._learners = Replicas(self._parallel, self.replicas if self._divides else 1)
        self._was_frozen = frozen

    def set_batch_norm_momentum(self, step: int) -> None:
        """At first make running statistics the plain mean over all batches, so that they are right from the start.

        With a constant momentum a network of fifty layers overflows in evaluation after a few steps.
        """
        momentum = max(self.recipe.bn_momentum, 1 / (max(0, step) + 1))
        for module in self._norms:
            module.momentum = momentum

    def learn(
        self,
        x: Tensor,
        targets: Tensor,
        labels: Tensor,
        batch_size: int,
        *,
        step: int,
        steps: int,
        stop: Stop = lambda: False,
    ) -> None:
        """One optimiser step on this process's part of a batch of ``batch_size``; halves the work until it fits.

        Raises Stopped, all as it was before the step, when it takes long and ``stop`` asks to leave it.
        """
        teach = partial(self.objective.terms, step=step, steps=steps)
        while True:
            try:
                with self._undone_when_left(len(x)), self._stop_hooks.armed(stop):
                    loss, right = self._gradients(teach, x, targets, labels, batch_size)
                break
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
                self._use_less_memory(error)
        self._scaler.unscale_(self.optimizer)
        gradient_norm = nn.utils.clip_grad_norm_(
            self.network.parameters(), self.recipe.clip_norm or math.inf, foreach=True
        )
        self._require_numbers(loss, gradient_norm)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self.totals.values += self.team.sum_(torch.stack([loss, right.double()]))
        self.totals.images += batch_size

    @contextlib.contextmanager
    def _undone_when_left(self, images: int) -> Iterator[None]:
        """Passes through a network change its statistics; a step that is taken again must find them as they were."""
        may_be_left = self.team.device == "cpu" or (self.team.size == 1 and images > self.micro_batch)
        before = [buffer.clone() for buffer in self.network.buffers()] if may_be_left else None
        try:
            yield
        except BaseException:
            if before is None:
                raise
            for buffer, value in zip(self.network.buffers(), before, strict=True):
                buffer.copy_(value)
            raise

    def _gradients(
        self, teach: Callable[..., Iterator[LossTerm]], x: Tensor, targets: Tensor, labels: Tensor, batch_size: int
    ) -> tuple[Tensor, Tensor]:
        """Backward passes over parts of at most ``micro_batch`` images; the sum of losses and of right answers."""
        assert self._parallel is not None and self._learners is not None
        self.optimizer.zero_grad(set_to_none=True)
        backward = partial(self._backward, teach, batch_size)
        loss_sum = torch.zeros((), dtype=torch.float64, device=x.device)
        right_sum = torch.zeros((), dtype=torch.int64, device=x.device)
        wanted = -(-batch_size // (self.micro_batch * self.team.size))  # as many in each process
        parts = max(1, min(wanted, batch_size // (SMALLEST_BATCH * self.team.size)))
        batches = zip(*(tensor.tensor_split(parts) for tensor in (x, targets, labels)), strict=True)
        for part, batch in enumerate(batches):
            if part and self.team.size == 1:
                self._stop_hooks.look()
            is_last = part == parts - 1
            with contextlib.nullcontext() if is_last or self.team.size == 1 else self._parallel.no_sync():  # type: ignore[operator]
                for loss, right in self._learners.learn(backward, *batch):
                    loss_sum += loss
                    right_sum += right
        self.team.average_buffers(self.network)
        return loss_sum, right_sum

    def _backward(
        self,
        teach: Callable[..., Iterator[LossTerm]],
        batch_size: int,
        network: nn.Module,
        x: Tensor,
        targets: Tensor,
        labels: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Backward passes of ``network`` over some images of a batch; the first one's sum of losses, right answers."""
        heard: tuple[Tensor, Tensor] | None = None
        for term in teach(partial(self._forward, network), x, targets):
            # gradients are averaged over the team, so each process counts for its share of the batch
            share = term.weight * self.team.size / batch_size
            self._scaler.scale(term.loss * share).backward()  # type: ignore[no-untyped-call]
            if heard is None:
                heard = term.loss.detach(), (term.logits.detach().argmax(1) == labels).sum()
        assert heard is not None
        return heard

    def _forward(self, network: nn.Module, *inputs: Any) -> Tensor:
        """The network's scores as float32, computed in the device's precision."""
        with torch.autocast(self.team.device.split(":")[0], self._precision, enabled=self._precision is not None):
            logits: Tensor = network(*inputs)
        return logits.float()

    def _use_less_memory(self, error: BaseException) -> None:
        if self.micro_batch <= SMALLEST_BATCH or self.team.size > 1:
            raise TrainingError(
                f"memory does not suffice for {self.micro_batch} images at a time; "
                f"set a smaller batch_size or input_size ({first_line(error)[:120]})"
            ) from error
        self.optimizer.zero_grad(set_to_none=True)
        if self.team.device.startswith("cuda"):
            torch.cuda.empty_cache()
        self.micro_batch = max(SMALLEST_BATCH, -(-self.micro_batch // 2))
        _log.warning(
            "memory does not suffice for the whole batch; going on with %d images at a time, %d a step as before",
            self.micro_batch,
            self.recipe.batch_size,
        )

    def _require_numbers(self, loss: Tensor, gradient_norm: Tensor) -> None:
        if self.team.device.startswith("cuda") and self.step % 20:
            return  # asking a GPU every time would slow it down
        if math.isfinite(float(loss)) and (self._scaler.is_enabled() or math.isfinite(float(gradient_norm))):
            return  # with scaled gradients the scaler leaves out the step
        rate = max(group["lr"] for group in self.optimizer.param_groups)
        broken = [name for name, value in self.network.state_dict().items() if not torch.isfinite(value).all()]
        cause = f"the weights are not numbers any more ({broken[0]})" if broken else "scores or gradients ran over"
        if self.epoch == 0 and self.step == 0 and broken:
            cause = f"the weights it started from are not all numbers ({broken[0]})"
        hint = f"set a lower learning_rate, such as {self.recipe.learning_rate / 10:.2g}"
        kept = f"; the best model, of epoch {self.best['epoch']}, is kept" if self.best else ""
        raise DivergedError(
            f"the loss is not a number in epoch {self.epoch + 1}, step {self.step + 1}: {cause} "
            f"at learning rate {rate:.3g}; {hint}{kept}"
        )

    def average_weights(self, decay: float) -> None:
        """Move the average towards the network."""
        self._weight_average.update(decay)

    def judge(
        self,
        val: Images,
        preprocess: Preprocess,
        learning_rate: float,
        *,
        on_best: Callable[[Weights, Row], None] | None,
        stop: Stop = lambda: False,
        partial: bool = False,
    ) -> Row:
        """The epoch's row. Announces the averaged weights when they are the best so far, or the last are kept.

        With ``partial`` the epoch is not over and nothing is remembered: a resumed run judges at its end. Raises
        Stopped.
        """
        training_seconds = self.epoch_seconds
        logits = None
        if not self.team.any(stop()):
            batch_size = min(EVALUATION_BATCH, 2 * self.micro_batch)  # needs far less memory than training
            logits = self.objective.scores(self.average, val, preprocess, self.team, stop, batch_size)
        if logits is None:
            raise Stopped
        logits = self._finite(logits)
        train_loss, train_accuracy = self.totals.mean()
        row = {
            "epoch": self.epoch + 1,
            "learning_rate": learning_rate,
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "val_loss": float(-log_softmax(logits)[np.arange(len(logits)), val.labels].mean()),
            "val_accuracy": float((logits.argmax(1) == val.labels).mean()),
            "images_per_second": round(self.totals.images / max(training_seconds, 1e-9), 1),
        }
        if self.kept == "last" or is_better(row, self.best, self.history, len(val.labels)):
            if not partial:
                self.best = row
            if on_best is not None and self.team.writes:
                on_best(weights_of(self.average), row | {"partial": partial})
        return row

    def _finite(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores that ran over, as an untrained network's may, limited; raises DivergedError when weights did."""
        if np.isfinite(logits).all():
            return logits
        self._require_finite_weights()
        return np.nan_to_num(logits, nan=0.0, posinf=1e30, neginf=-1e30)

    def _require_finite_weights(self) -> None:
        for name, value in self.average.state_dict().items():
            if not torch.isfinite(value).all():
                raise DivergedError(
                    f"the weights are not numbers any more after epoch {self.epoch + 1} ({name}); "
                    f"set a lower learning_rate, such as {self.recipe.learning_rate / 10:.2g}"
                )

    def is_best(self, row: Row) -> bool:
        """Whether this row is the best so far; nobody asks where the last one is kept."""
        return self.kept == "best" and self.best is not None and self.best["epoch"] == row["epoch"]

    def end_epoch(self, row: Row) -> None:
        """Keep the row and turn to the next epoch."""
        row["seconds"] = round(self.epoch_seconds, 2)
        self.history.append(row)
        self.seconds += self.epoch_seconds
        self.epoch += 1
        self.step, self.epoch_seconds = 0, 0.0
        self.totals = self._no_totals()

    def _no_totals(self) -> _Totals:
        return _Totals(torch.zeros(2, dtype=torch.float64, device=self.team.device))

    def save(self, store: CheckpointStore | None) -> None:
        """Write everything that the rest of the training depends on."""
        if store is None or not self.team.writes:
            return
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{name}.{key}"] = value
        values = {
            "identity": self.identity,
            "epoch": self.epoch,
            "step": self.step,
            "batches": "even",
            "seconds": self.seconds,
            "epoch_seconds": self.epoch_seconds,
            "micro_batch": self.micro_batch,
            "replicas": self.replicas,
            "totals": [*self.totals.values.tolist(), self.totals.images],
            "history": self.history,
            "best": self.best,
            "scaler": self._scaler.state_dict(),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }
        store.save(Checkpoint(tensors, values))

    def restore(self, store: CheckpointStore | None) -> None:
        """Go on from the store's checkpoint, if there is one."""
        data = self.team.share_bytes(store.load() if store is not None and self.team.writes else None)
        if data is None:
            return
        checkpoint = from_bytes(data)
        values = checkpoint.values
        self._require_same_training(values)
        for prefix, module in (("network", self.network), ("average", self.average)):
            for name, value in module.state_dict().items():
                value.copy_(checkpoint.tensors[f"{prefix}.{name}"])
        parameters = dict(self.network.named_parameters())
        for full_name, tensor in checkpoint.tensors.items():
            if full_name.startswith("optimizer."):
                name, _, key = full_name.removeprefix("optimizer.").rpartition(".")
                parameter = parameters[name]
                like = parameter if tensor.shape == parameter.shape else tensor
                self.optimizer.state[parameter][key] = torch.empty_like(like).copy_(tensor)
        self.epoch, self.step = values["epoch"], values["step"]
        self.seconds, self.epoch_seconds = values["seconds"], values["epoch_seconds"]
        self.micro_batch = values["micro_batch"]
        self.replicas = values.get("replicas", 1)  # runs of older releases learned from whole batches
        loss, right, self.totals.images = values["totals"]
        self.totals.values.copy_(torch.tensor([loss, right], dtype=torch.float64))
        self.history, self.best = list(values["history"]), values["best"]
        self._scaler.load_state_dict(values["scaler"]) if values["scaler"] else None
        self.is_fresh = False

    def _require_same_training(self, values: Mapping[str, Any]) -> None:
        wanted: Mapping[str, Any] = self.identity
        found: Mapping[str, Any] = values["identity"]
        for key in sorted({*wanted, *found}):
            if wanted.get(key) != found.get(key):
                raise TrainingError(
                    f"the checkpoint belongs to another training: {key} was {_short(found.get(key))}, "
                    f"now it is {_short(wanted.get(key))}; resume with what it was, or start a new run"
                )
        if values["step"] and "batches" not in values:
            _log.warning(
                "this checkpoint was written within an epoch by an older release, which cut other batches: some images "
                "of that epoch come twice or not at all, and its weights are not those of a run that was not stopped"
            )
        for what, was, now in (
            ("torch", values["torch"], torch.__version__),
            ("number of threads", values["threads"], torch.get_num_threads()),
        ):
            if was != now:
                _log.warning("the %s was %s and is %s: results may differ in their last digits", what, was, now)


def is_over(epoch: int, best: Row | None, *, epochs: int, patience: int) -> bool:
    """Whether ``epoch`` epochs are all, or the last ``patience`` of them brought none better than ``best``."""
    return epoch >= epochs or bool(patience and best and epoch - best["epoch"] >= patience)


def _precision_of(device: str) -> torch.dtype | None:
    """Half precision where it gains: on GPUs. On CPUs bfloat16 was measured slower for these networks."""
    if not device.startswith("cuda"):
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


#: what torch and oneDNN say when memory is short; the last one may have other causes, which then show at 2 images
_MEMORY_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc", "could not create a")


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return any(sign in text for sign in _MEMORY_SIGNS)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
