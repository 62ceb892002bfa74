"""Judging networks by shared weights: cut out, batch statistics gathered anew, validation images scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mnasnet.network.build import MnasNet
from mnasnet.network.supernet import Supernet
from mnasnet.search.evaluator import AccuracyKind, SearchStopped
from mnasnet.search.images import SearchImages
from mnasnet.search.problem import Report
from mnasnet.search.supernet import CALIBRATION_IMAGES, recalibrate
from mnasnet.space import Candidate
from mnasnet.train.evaluate import evaluate
from mnasnet.train.lessons import predict_logits
from mnasnet.train.team import Team
from mnasnet.train.trainer import in_own_thread


@dataclass(frozen=True, eq=False)
class SharedWeights:
    """Judges each network by its part of ``supernet``, without training it, on the validation images.

    A network costs a forward pass over ``calibration_images`` training images and one over the validation images.
    A candidate without an input size of its own is judged at ``input_size`` pixels. The accuracy orders networks;
    it is lower than what training a network alone would reach. ``stop`` is asked between batches.
    """

    images: SearchImages
    supernet: Supernet
    input_size: int
    epochs: int
    accuracy: AccuracyKind = "top1"
    calibration_images: int = CALIBRATION_IMAGES
    threads: int = 1
    stop: Callable[[], bool] = lambda: False

    def evaluate(self, candidate: Candidate, report: Report) -> float:
        """The accuracy on the validation images, 0 to 1; there are no steps to report.

        Raises SearchStopped when asked to stop.
        """
        return in_own_thread(lambda: self._judged(candidate), threads=self.threads)

    def cut_out(self, candidate: Candidate) -> MnasNet:
        """The network with its part of the weights and batch statistics of its own, in evaluation mode."""
        size = candidate.input_size or self.input_size
        network = self.supernet.cut_out(candidate.architecture)
        recalibrate(
            network,
            self.images.train(),
            self.images.preprocess(size),
            count=self.calibration_images,
            device=self.images.device,
        )
        return network

    def describe(self) -> str:
        """One sentence for a report."""
        kind = "accuracy" if self.accuracy == "top1" else "recall of the class recognised worst"
        return (
            f"{kind} on {len(self.images.parts.val)} validation images with shared weights, trained once for "
            f"{self.epochs} epochs for all networks; batch statistics from {self.calibration_images} images each"
        )

    def _judged(self, candidate: Candidate) -> float:
        size = candidate.input_size or self.input_size
        val = self.images.val(size)
        team = Team(device=self.images.device)
        logits = predict_logits(self.cut_out(candidate), val, self.images.preprocess(size), team, self.stop)
        if logits is None:
            raise SearchStopped
        found = evaluate(logits, val.labels, self.images.parts.class_names)
        return found.accuracy if self.accuracy == "top1" else found.worst_recall
