"""The images of a search: which train, which validate, which are kept for the last figure; decoded once for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from mnasnet.data.cache import DecodedImages
from mnasnet.data.folder import Dataset, Sample
from mnasnet.data.split import Grouping, Split, split
from mnasnet.errors import DataError
from mnasnet.preprocess import Preprocess
from mnasnet.progress import Counted
from mnasnet.train.batches import DecodedSquares, Labels
from mnasnet.train.plan import preprocess_for, require_validation, stored_side
from mnasnet.train.reading import squares

VAL_MEMORY = 0.25  # of the memory for decoded images
LARGER = 1.3  # times the input size: images kept larger are reduced before a training cuts and turns them


def divide(
    dataset: Dataset,
    *,
    val_fraction: float = 0.2,
    test_fraction: float = 0.2,
    seed: int = 0,
    grouping: Grouping = "images",
) -> Split:
    """Three parts: training, validation for the search's reward, and a test that only the last figure sees.

    The dataset's test folder is the test; without one its validation folder is, and validation images are cut from
    the training images, as the paper did with ImageNet (arXiv 1807.11626, section 5); a dataset without either is
    cut twice. Raises DataError when no image is left to validate on.
    """
    val, test = (dataset.val, dataset.test) if dataset.test else ((), dataset.val)
    pool, uses = dataset.train, ["training", "validation"]
    if not test:
        uses.append("test")
        cut = split(_only(dataset, pool), val_fraction=test_fraction, seed=seed, grouping=grouping)
        pool, test = cut.train, cut.val
    parts = split(_only(dataset, pool, val), val_fraction=val_fraction, seed=seed + 1, grouping=grouping)
    parts = replace(parts, test=test)
    require_validation(parts, uses=uses)
    return parts


def _only(dataset: Dataset, train: tuple[Sample, ...], val: tuple[Sample, ...] = ()) -> Dataset:
    return replace(dataset, train=train, val=val, test=())


@dataclass(eq=False)
class SearchImages:
    """Training and validation images of a search in memory, as far as ``cache_mb`` reaches.

    ``share`` of each class's training images, chosen by ``seed``, are used. ``short_side`` is typical for the
    images, in pixels; ``largest_px`` the largest input size that will be asked for, ``val_sizes`` how many. Training
    images are kept once, validation images once for each input size, as inference prepares them. The paths
    in ``unreadable`` are left out; where more than the share ``max_bad`` of the training images cannot be read,
    DataError names them.
    """

    folder: Path
    parts: Split
    short_side: int
    largest_px: int
    device: str = "cpu"
    share: float = 1.0
    seed: int = 0
    val_sizes: int = 1
    cache_mb: int = 2000
    max_bad: float = 0.05
    threads: int | None = None
    unreadable: frozenset[str] = frozenset()
    filling: Counted = lambda done, total: None
    _train: DecodedSquares | None = field(default=None, init=False, repr=False)
    _val: dict[int, DecodedSquares] = field(default_factory=dict, init=False, repr=False)

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.parts.class_names)

    def preprocess(self, input_size: int) -> Preprocess:
        """How images become the network's input, here and in the final training."""
        return preprocess_for(input_size, self.short_side, device=self.device)

    def train(self) -> DecodedSquares:
        """The chosen share of the training images, a little larger than the network's input."""
        if self._train is None:
            budget_bytes = int(self.cache_mb * 1e6 * (1 - VAL_MEMORY))
            cache = self._decoded(self._chosen, self._train_form, budget_bytes, self.max_bad)
            self._train = self._readable_train(cache)
        return self._train

    def train_at(self, input_size: int) -> DecodedSquares | ReducedSquares:
        """The same for networks of ``input_size`` pixels, as large as a training at that size keeps them.

        A training takes its pixels from where they lie, without a filter. From images that are much larger it would
        take single pixels of fine patterns, which validation images show as their mean.
        """
        images = self.train()
        if self._train_form.input_size <= LARGER * input_size:
            return images
        return ReducedSquares(images, stored_side(input_size, self.short_side))

    def val(self, input_size: int) -> DecodedSquares:
        """The validation images at ``input_size`` pixels."""
        if input_size not in self._val:
            budget_bytes = int(self.cache_mb * 1e6 * VAL_MEMORY / self.val_sizes)
            cache = self._decoded(self.parts.val, self.preprocess(input_size), budget_bytes, max_bad=1.0)
            self._val[input_size] = self._readable_val(cache)
        return self._val[input_size]

    def leave_out(self, unreadable: frozenset[str]) -> None:
        """Do without these paths from now on: beyond the memory nobody knows of them before all are looked at."""
        self.unreadable = unreadable
        if self._train is not None:
            self._train = self._readable_train(self._train.cache)
        self._val = {size: self._readable_val(images.cache) for size, images in self._val.items()}

    def read(self, samples: Sequence[Sample]) -> None:
        """Read and decode images as for a training, and keep none of them."""
        paths = [self.folder / one.path for one in samples]
        cache = DecodedImages(paths, self._train_form, 10**9, threads=self.threads)
        cache.fill(self.filling, max_bad=1.0)

    @property
    def _train_form(self) -> Preprocess:
        """How training images are kept."""
        side = stored_side(self.largest_px, self.short_side)
        return replace(self.preprocess(self.largest_px), input_size=side, resize=side)

    @property
    def _chosen(self) -> tuple[Sample, ...]:
        return share_of(self.parts, self.share, seed=self.seed)

    def _decoded(self, samples: Sequence[Sample], form: Preprocess, budget_bytes: int, max_bad: float) -> DecodedImages:
        paths = [self.folder / sample.path for sample in samples]
        cache = DecodedImages(paths, form, budget_bytes, threads=self.threads)
        cache.fill(self.filling, max_bad=max_bad)
        return cache

    def _readable_train(self, cache: DecodedImages) -> DecodedSquares:
        images = squares(cache, self.parts, self._chosen, self.unreadable)
        missing = sorted(set(range(self.num_classes)) - set(images.labels.tolist()))
        if missing:
            name = self.parts.class_names[missing[0]]
            raise DataError(f"class {name!r} has no readable training image; add or replace images")
        return images

    def _readable_val(self, cache: DecodedImages) -> DecodedSquares:
        images = squares(cache, self.parts, self.parts.val, self.unreadable)
        if not len(images.labels):
            raise DataError("no validation image can be read; replace them")
        return images


@dataclass(frozen=True)
class ReducedSquares:
    """Square images reduced to ``side`` pixels whenever they are read: cheaper than keeping those of each size."""

    images: DecodedSquares
    side: int

    @property
    def labels(self) -> Labels:
        """The class of each image."""
        return self.images.labels

    @property
    def streams(self) -> bool:
        """Whether some images have to be decoded whenever they are read."""
        return self.images.streams

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """N x side x side x 3 RGB pixels of these images; raises what the larger ones raise."""
        x = torch.from_numpy(self.images.read(indices)).permute(0, 3, 1, 2)  # N x 3 x kept side x kept side
        x = F.interpolate(x, (self.side, self.side), mode="bilinear", antialias=True)
        reduced: NDArray[np.uint8] = x.permute(0, 2, 3, 1).contiguous().numpy()
        return reduced


def share_of(parts: Split, share: float, *, seed: int = 0) -> tuple[Sample, ...]:
    """``share`` of the training images of each class, at least one, in order of their paths."""
    if share >= 1.0:
        return parts.train
    by_class: dict[str, list[Sample]] = {name: [] for name in parts.class_names}
    for sample in parts.train:
        by_class[sample.class_name].append(sample)
    chosen: list[Sample] = []
    for number, samples in enumerate(by_class.values()):
        order = np.random.default_rng([seed, number]).permutation(len(samples))
        chosen += [samples[index] for index in order[: max(1, round(share * len(samples)))]]
    return tuple(sorted(chosen))
