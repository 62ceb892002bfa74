"""The evaluators of a search, made of values: in the leading process, a worker or a task of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mnasnet.data.folder import scan
from mnasnet.data.split import Split
from mnasnet.errors import SearchError
from mnasnet.progress import Counted, Stop
from mnasnet.search.folder import SearchFolder
from mnasnet.search.images import SearchImages
from mnasnet.search.plan import SearchPlan
from mnasnet.search.problem import Evaluator
from mnasnet.search.searching import Searching
from mnasnet.search.shared_plan import curriculum_of
from mnasnet.search.shared_weights import SharedWeights
from mnasnet.search.short_training import ShortTraining
from mnasnet.space import SearchSpace


@dataclass(frozen=True, eq=False)
class EvaluatorFactory:
    """Makes the evaluator of a search in whichever process calls it; it can be sent there.

    Nothing is measured, so no device is opened. The images must lie at the same path everywhere, and all do without
    those in ``unreadable``; of the run folder only shared weights are read.
    """

    folder: SearchFolder
    searching: Searching
    plan: SearchPlan
    parts: Split
    space: SearchSpace
    unreadable: frozenset[str] = frozenset()

    def __call__(self, stop: Stop) -> Evaluator:
        """The evaluator. Raises DataError where the images are not, SearchError where shared weights are not."""
        images = self.images(scan(self.searching.data).folder)
        shared = self.shared(images, stop)
        if shared is None:
            return self.short(images, stop)
        if not self.folder.supernet.holds_any:
            raise SearchError(
                f"the shared weights of the search lie in {self.folder.path}, which this machine does not reach; put "
                "it on a disk that all share, or set evaluator to short"
            )
        return shared

    def images(self, folder: Path, filling: Counted = lambda done, total: None) -> SearchImages:
        """The search's images; nothing is decoded yet."""
        asked, plan = self.searching, self.plan
        sizes = self.space.input_sizes
        return SearchImages(
            folder,
            self.parts,
            plan.short_side,
            asked.proxy_input_size or max(sizes, default=plan.input_size),
            device=plan.device,
            share=plan.proxy_share,
            seed=asked.seed,
            val_sizes=1 if asked.proxy_input_size else max(1, len(sizes)),
            cache_mb=asked.cache_mb,
            max_bad=asked.max_bad,
            threads=plan.threads,
            unreadable=self.unreadable,
            filling=filling,
        )

    def short(self, images: SearchImages, stop: Stop) -> ShortTraining:
        """A training of each network."""
        asked = self.searching
        return ShortTraining(
            images,
            self.plan.input_size,
            epochs=asked.proxy_epochs,
            proxy_input_size=asked.proxy_input_size,
            accuracy=asked.accuracy,
            flip=asked.flip,
            seed=asked.seed,
            threads=self.plan.threads,
            stop=stop,
        )

    def shared(self, images: SearchImages, stop: Stop) -> SharedWeights | None:
        """Weights that are trained when first asked for, or lie in the folder already; None for short trainings."""
        if self.plan.evaluator != "shared":
            return None
        asked = self.searching
        return SharedWeights(
            self.space,
            images,
            self.plan.input_size,
            self.plan.shared_epochs,
            self.folder.supernet,
            curriculum_of(asked),
            proxy_input_size=asked.proxy_input_size,
            accuracy=asked.accuracy,
            flip=asked.flip,
            seed=asked.seed,
            threads=self.plan.threads,
            stop=stop,
        )
