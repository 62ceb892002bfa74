"""Networks judged by shared weights: cut out, batch statistics gathered anew, validation images scored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from mnasnet.network.build import MnasNet
from mnasnet.network.supernet import Supernet
from mnasnet.progress import Stop
from mnasnet.search.curriculum import Curriculum
from mnasnet.search.images import SearchImages, share_of
from mnasnet.search.problem import Report
from mnasnet.search.short_training import AccuracyKind
from mnasnet.search.stop import SearchStopped
from mnasnet.search.supernet import CALIBRATION_IMAGES, recalibrate, train_supernet
from mnasnet.space import Candidate, SearchSpace
from mnasnet.train.checkpoint import CheckpointStore
from mnasnet.train.evaluate import true_class_probabilities
from mnasnet.train.events import Listener
from mnasnet.train.objective import predict_logits
from mnasnet.train.own_thread import in_own_thread
from mnasnet.train.run_state import Row
from mnasnet.train.team import Team
from mnasnet.train.trainer import FitResult
from mnasnet.words import amount


@dataclass(eq=False)
class SharedWeights:
    """Judges each network of ``space`` by its part of weights that were trained once for all, without training it.

    The weights are trained for ``epochs`` by the first call of :meth:`train` or :meth:`evaluate`, or read from
    ``store`` where that was done already; another process may go on from there. A network then costs a forward pass
    over some of the training images and one over the validation images.

    The result is the expected accuracy: the mean probability given to the right class, or that of the class where it
    is lowest for ``worst_recall``. Networks with shared weights differ by less than the noise of counting right
    answers; probabilities keep their order on other images. It orders networks; training one alone reaches more.

    Sizes are in pixels and mean what they mean to :class:`mnasnet.search.short_training.ShortTraining`. ``stop`` is
    asked between batches.
    """

    space: SearchSpace
    images: SearchImages
    input_size: int
    epochs: int
    store: CheckpointStore | None = None
    curriculum: Curriculum = Curriculum()  # noqa: RUF009  # a frozen value
    proxy_input_size: int = 0
    accuracy: AccuracyKind = "top1"
    flip: bool = True
    seed: int = 0
    threads: int = 1
    stop: Stop = lambda: False
    _trained: FitResult[Supernet] | None = field(default=None, init=False, repr=False)

    def train(self, listeners: Iterable[Listener] = ()) -> Supernet:
        """The shared weights, trained to the end; raises SearchStopped when asked to stop before that."""
        if self._trained is None:
            result = in_own_thread(
                lambda stop: train_supernet(
                    self.space,
                    self.images,
                    input_size=self.input_size,
                    proxy_input_size=self.proxy_input_size,
                    epochs=self.epochs,
                    curriculum=self.curriculum,
                    flip=self.flip,
                    seed=self.seed,
                    store=self.store,
                    listeners=listeners,
                    stop=stop,
                ),
                stop=self.stop,
                threads=self.threads,
            )
            if result.status == "stopped":
                raise SearchStopped
            self._trained = result
        return self._trained.average

    @property
    def history(self) -> tuple[Row, ...]:
        """A row for each epoch of the weights' training; empty before it."""
        return self._trained.history if self._trained else ()

    def evaluate(self, candidate: Candidate, report: Report) -> float:
        """The expected accuracy on the validation images, 0 to 1; there are no steps to report.

        Raises SearchStopped when asked to stop.
        """
        supernet = self.train()
        return in_own_thread(lambda stop: self._judged(supernet, candidate, stop), stop=self.stop, threads=self.threads)

    def cut_out(self, candidate: Candidate) -> MnasNet:
        """The network with its part of the weights and batch statistics of its own, in evaluation mode."""
        supernet = self.train()
        return in_own_thread(lambda _: self._ready(supernet, candidate), threads=self.threads)

    def size_of(self, candidate: Candidate) -> int:
        """The input size in pixels at which the candidate is judged."""
        return self.proxy_input_size or candidate.input_size or self.input_size

    def describe(self) -> str:
        """One sentence for a report."""
        learned = share_of(self.images.parts, self.images.share)
        where = "" if self.accuracy == "top1" else ", in the class where it is lowest,"
        return (
            f"mean probability given to the right class{where} on {len(self.images.parts.val)} validation images "
            f"with shared weights, trained once for all networks in {amount(self.epochs, 'epoch')} on "
            f"{self.images.share:.0%} of {len(self.images.parts.train)} training images; each network's batch "
            f"statistics come from {min(CALIBRATION_IMAGES, len(learned))} of them"
        )

    def _ready(self, supernet: Supernet, candidate: Candidate) -> MnasNet:
        network = supernet.cut_out(candidate.architecture)
        recalibrate(
            network,
            self.images.train(),
            self.images.preprocess(self.size_of(candidate)),
            count=CALIBRATION_IMAGES,
            device=self.images.device,
        )
        return network

    def _judged(self, supernet: Supernet, candidate: Candidate, stop: Stop) -> float:
        size = self.size_of(candidate)
        val = self.images.val(size)
        network, team = self._ready(supernet, candidate), Team(device=self.images.device)
        logits = predict_logits(network, val, self.images.preprocess(size), team, stop)
        if logits is None:
            raise SearchStopped
        probabilities = true_class_probabilities(logits, val.labels)
        if self.accuracy == "top1":
            return float(probabilities.mean())
        return min(float(probabilities[val.labels == label].mean()) for label in np.unique(val.labels))
