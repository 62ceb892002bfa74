"""The paper's proxy: a network's accuracy after a short training on a part of the images."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import optuna

from mnasnet.errors import SearchError
from mnasnet.network.build import MnasNet, build
from mnasnet.network.seeded import seeded
from mnasnet.progress import Stop
from mnasnet.search.images import SearchImages
from mnasnet.search.problem import Report
from mnasnet.search.stop import SearchStopped
from mnasnet.space import Candidate
from mnasnet.train.batches import StoredImages
from mnasnet.train.evaluate import evaluate
from mnasnet.train.events import EpochEnded, Event, Stepped
from mnasnet.train.objective import predict_logits
from mnasnet.train.own_thread import in_own_thread
from mnasnet.train.recipe import Recipe, recipe_for
from mnasnet.train.team import Team
from mnasnet.train.trainer import FitResult, fit
from mnasnet.words import amount

AccuracyKind = Literal["top1", "worst_recall"]

TIMED_STEPS = 4  # the first, which warms up, does not count
VALIDATION_COST = 1 / 3  # of a training image: a forward pass without a backward one
OVERHEAD_S = 1.0  # of a trial besides measuring and training: building, telling the study


@dataclass(frozen=True, eq=False)
class ShortTraining:
    """Trains each network for ``epochs`` from fresh weights and judges it on the validation images.

    The training is that of :func:`mnasnet.train.trainer.fit` with the recipe for so many images and epochs, its
    random numbers a function of ``seed`` and the network alone. A candidate without an input size of its own is
    judged at ``input_size`` pixels; ``proxy_input_size``, where not 0, replaces both. After every epoch the accuracy
    so far is reported, so that a pruner can end the training; worst-class recall is only known at the end.
    ``stop`` is asked between batches.
    """

    images: SearchImages
    input_size: int
    epochs: int = 5
    proxy_input_size: int = 0
    accuracy: AccuracyKind = "top1"
    flip: bool = True
    seed: int = 0
    threads: int = 1
    stop: Stop = lambda: False

    def evaluate(self, candidate: Candidate, report: Report) -> float:
        """The accuracy on the validation images after the last epoch, 0 to 1.

        Raises SearchStopped when asked to stop, and what ``report`` raises to end a hopeless training.
        """
        size = self.size_of(candidate)
        train, val, preprocess = self.images.train_at(size), self.images.val(size), self.images.preprocess(size)
        reporting = _Reporting(report, silent=self.accuracy != "top1")
        seed = seed_of(candidate, self.seed)
        team = Team(device=self.images.device)

        def trained(stop: Stop) -> tuple[FitResult[MnasNet], float]:
            result = fit(
                self._network(candidate, seed),
                train,
                val,
                self.recipe(len(train.labels)),
                preprocess,
                epochs=self.epochs,
                seed=seed,
                balance="auto",
                team=team,
                listeners=[reporting],
                stop=lambda: stop() or reporting.ended is not None,
                prefetch=train.streams or self.images.device != "cpu",
            )
            if result.status == "stopped" or self.accuracy == "top1":
                return result, float(result.history[-1]["val_accuracy"]) if result.history else 0.0
            logits = predict_logits(result.average, val, preprocess, team, stop)
            if logits is None:
                raise SearchStopped
            return result, evaluate(logits, val.labels, self.images.parts.class_names).worst_recall

        result, accuracy = in_own_thread(trained, stop=self.stop, threads=self.threads)
        if reporting.ended is not None:
            raise reporting.ended
        if result.status == "stopped":
            raise SearchStopped
        return accuracy

    def size_of(self, candidate: Candidate) -> int:
        """The input size in pixels at which the candidate is trained here."""
        return self.proxy_input_size or candidate.input_size or self.input_size

    def recipe(self, images: int) -> Recipe:
        """The recipe of a short training on so many images."""
        return recipe_for("auto", images=images, epochs=self.epochs, pretrained=False, flip=self.flip)

    def seconds_per_image(self, candidate: Candidate, input_size: int, *, images: int) -> float:
        """How long one training image takes, by training a few steps on noise; nothing of it is kept.

        ``images`` are those of the training to be foreseen; they decide the batch size.
        """
        recipe = self.recipe(images)
        count = TIMED_STEPS * recipe.batch_size
        rng = np.random.default_rng(0)
        side = self.images.preprocess(input_size).input_size
        noise = StoredImages(
            rng.integers(0, 256, (count, side, side, 3), np.uint8), rng.integers(0, self.images.num_classes, count)
        )
        times = _StepTimes()
        in_own_thread(
            lambda stop: fit(
                self._network(candidate, self.seed),
                noise,
                StoredImages(noise.pixels[:2], noise.labels[:2]),
                recipe,
                self.images.preprocess(input_size),
                epochs=1,
                team=Team(device=self.images.device),
                listeners=[times],
                stop=stop,
            ),
            stop=self.stop,
            threads=self.threads,
        )
        if len(times.moments) < 2:
            raise SearchStopped
        return float(np.median(np.diff(times.moments))) / recipe.batch_size

    def describe(self) -> str:
        """One sentence for a report."""
        kind = "accuracy" if self.accuracy == "top1" else "recall of the class recognised worst"
        size = f"at {self.proxy_input_size} px" if self.proxy_input_size else "at the network's own input size"
        return (
            f"{kind} on {len(self.images.parts.val)} validation images after {amount(self.epochs, 'epoch')} on "
            f"{self.images.share:.0%} of {len(self.images.parts.train)} training images {size}"
        )

    def _network(self, candidate: Candidate, seed: int) -> MnasNet:
        recipe = self.recipe(len(self.images.parts.train))
        with seeded(seed):
            return build(
                candidate.architecture,
                self.images.num_classes,
                dropout=recipe.dropout,
                identity_start=recipe.identity_start,
            )


def seed_of(candidate: Candidate, seed: int) -> int:
    """The same number for the same network, whichever trial it is."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{candidate.fingerprint}".encode()).digest()[:4], "big") >> 1


@dataclass
class _Reporting:
    """Passes each epoch's accuracy on; what ``report`` raises is kept, since listeners must not raise."""

    report: Report
    silent: bool = False
    ended: BaseException | None = field(default=None)

    def hear(self, event: Event) -> None:
        """Report an epoch that ended; after the last one there is nothing left to give up."""
        if self.silent or not isinstance(event, EpochEnded) or event.row["epoch"] >= event.epochs:
            return
        try:
            self.report(int(event.row["epoch"]), float(event.row["val_accuracy"]))
        except (optuna.TrialPruned, SearchError) as error:
            self.ended = error


@dataclass
class _StepTimes:
    moments: list[float] = field(default_factory=list)

    def hear(self, event: Event) -> None:
        """Note when a step was done."""
        if isinstance(event, Stepped):
            self.moments.append(time.perf_counter())
