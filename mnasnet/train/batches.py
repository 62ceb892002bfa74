"""What each training step sees: which images, in which order, changed how.

Everything is a pure function of (seed, epoch, step): a resumed run needs no random state but those numbers, and
several processes agree without a word.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mnasnet.data.cache import DecodedImages
from mnasnet.data.threads import in_threads
from mnasnet.preprocess import Preprocess
from mnasnet.progress import Stop
from mnasnet.train.recipe import Recipe
from mnasnet.train.stopping import Stopped

Balance = Literal["off", "auto", "equal"]
Labels = NDArray[np.int64]

#: "auto" acts only on datasets more uneven than this, and then evens them by the square root of the counts
UNEVEN = 3.0


class Images(Protocol):
    """Labelled images of one size that can be read in any order; ``labels`` has one class index for each."""

    @property
    def labels(self) -> Labels:
        """The class of each image."""
        ...

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """N x side x side x 3 RGB pixels of these images."""
        ...


@dataclass(frozen=True, slots=True)
class StoredImages:
    """Images that lie decoded in memory, N x side x side x 3."""

    pixels: NDArray[np.uint8]
    labels: Labels

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """N x side x side x 3 RGB pixels of these images."""
        return self.pixels[indices]


@dataclass(frozen=True)
class DecodedSquares:
    """Square images from a cache, those in ``numbers`` only; what the cache does not hold is decoded in threads.

    ``stop`` is asked between images that are decoded.
    """

    cache: DecodedImages
    numbers: NDArray[np.int64]
    labels: Labels
    stop: Stop = lambda: False

    @property
    def streams(self) -> bool:
        """Whether some images have to be decoded whenever they are read."""
        return self.cache.planned < len(self.cache)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """N x side x side x 3 RGB pixels of these images.

        Raises DataError when a file has become unreadable, and Stopped.
        """
        wanted = self.numbers[indices].tolist()
        if all(map(self.cache.holds, wanted)):
            return np.stack([self.cache[number] for number in wanted])
        images = []
        for image in in_threads(self.cache.__getitem__, wanted, self.cache.threads):
            images.append(image)
            if self.stop():
                raise Stopped
        return np.stack(images)


def epoch_batches(
    labels: Labels, batch_size: int, *, seed: int, epoch: int, balance: Balance = "off", smallest: int = 2
) -> list[NDArray[np.int64]]:
    """The image indices of each step of one epoch: as few batches as ``batch_size`` allows, cut evenly.

    Their sizes differ by one image at most, since each takes a step at the full rate and counts alike in running
    statistics. Where batches of ``batch_size`` would leave less than ``smallest`` over there is one batch fewer, a
    little larger: batch normalisation cannot work on one image. The number of steps is the same in every epoch.
    """
    rng = np.random.default_rng([seed, epoch, 1])
    order = _balanced_order(labels, rng, balance) if balance != "off" else rng.permutation(len(labels))
    steps, over = divmod(len(order), batch_size)
    if over and (over >= smallest or not steps):
        steps += 1
    ends = [step * len(order) // steps for step in range(1, steps + 1)]
    return [order[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _balanced_order(labels: Labels, rng: np.random.Generator, balance: Balance) -> NDArray[np.int64]:
    """As many draws as there are images, rare classes more often; within a class every image in its turn."""
    classes, counts = np.unique(labels, return_counts=True)
    if balance == "auto" and counts.max() <= UNEVEN * counts.min():
        return rng.permutation(len(labels))
    wanted = np.sqrt(counts) if balance == "auto" else np.ones(len(classes))
    exact = wanted / wanted.sum() * len(labels)
    draws = np.maximum(1, np.floor(exact)).astype(np.int64)
    most_cut = np.argsort(draws - exact, kind="stable")
    draws[most_cut[: max(0, len(labels) - int(draws.sum()))]] += 1
    chosen = []
    for label, count in zip(classes, draws, strict=True):
        members = np.flatnonzero(labels == label)
        rounds = [rng.permutation(members) for _ in range(-(-int(count) // len(members)))]
        chosen.append(np.concatenate(rounds)[:count])
    return rng.permutation(np.concatenate(chosen))[: len(labels)]


@dataclass(frozen=True, slots=True)
class Changes:
    """The random numbers of one batch, a row for each image, drawn at once for all processes.

    ``affine`` maps output to source positions in -1 to 1; ``colour`` and ``shade`` are y = colour x + shade * mean;
    ``operation`` and ``strength`` (-1 to 1) choose what ``trivial`` does; ``hidden`` is the erased box as shares of
    the side: top, bottom, left, right. ``mix`` is how the batch is mixed: kind, share and box.
    """

    affine: NDArray[np.float32]  # N x 2 x 3
    colour: NDArray[np.float32]  # N x 3 x 3
    shade: NDArray[np.float32]  # N x 3
    operation: NDArray[np.int64]  # N
    strength: NDArray[np.float32]  # N
    hidden: NDArray[np.float32]  # N x 4
    mix: tuple[Literal["none", "mixup", "cutmix"], float, tuple[float, float, float, float]]

    def rows(self, rows: slice | NDArray[np.int64]) -> Changes:
        """The changes of some of the images."""
        return Changes(
            affine=self.affine[rows],
            colour=self.colour[rows],
            shade=self.shade[rows],
            operation=self.operation[rows],
            strength=self.strength[rows],
            hidden=self.hidden[rows],
            mix=self.mix,
        )


# TrivialAugment's operations that act on pixels one by one; rotation, shear and shift are part of ``affine``,
# brightness, contrast and colour of ``colour``. Left out: equalize, which autocontrast nearly is.
_GEOMETRIC = ("rotate", "shear_x", "shear_y", "shift_x", "shift_y")
_COLOURING = ("brightness", "contrast", "saturation")
_PIXELWISE = ("sharpness", "posterize", "solarize", "autocontrast")
_TRIVIAL = ("identity", *_GEOMETRIC, *_COLOURING, *_PIXELWISE)

# the greatest strength of each, those of RandAugment (arXiv 1909.13719): TrivialAugment's wide ones ask more of a
# network than the small ones here can give
_REACH = {"rotate": 30.0, "shear_x": 0.3, "shear_y": 0.3, "shift_x": 0.3, "shift_y": 0.3}

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def draw_changes(count: int, recipe: Recipe, *, seed: int, epoch: int, step: int) -> Changes:
    """The changes of the ``count`` images of one step, all processes together."""
    rng = np.random.default_rng([seed, epoch, step, 2])
    operation, strength = np.zeros(count, np.int64), np.zeros(count, np.float32)
    if recipe.augment == "trivial":
        operation = rng.integers(0, len(_TRIVIAL), count)
        strength = rng.uniform(-1, 1, count).astype(np.float32)
    colour, shade = _draw_colour(rng, count, recipe, operation, strength)
    return Changes(
        affine=_draw_affine(rng, count, recipe, operation, strength),
        colour=colour,
        shade=shade,
        operation=operation,
        strength=strength,
        hidden=_draw_hidden(rng, count, recipe.erasing),
        mix=_draw_mix(rng, recipe),
    )


def _draw_affine(
    rng: np.random.Generator, count: int, recipe: Recipe, operation: NDArray[np.int64], strength: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Random resized crop and mirror, followed by the geometric operation that was drawn."""
    affine = np.zeros((count, 2, 3), np.float32)
    if recipe.augment == "none":
        affine[:, 0, 0] = affine[:, 1, 1] = 1
        return affine
    area = rng.uniform(recipe.min_area, 1, count)
    ratio = np.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3), count) / 2)  # torchvision's and Inception's range
    width, height = np.minimum(1, np.sqrt(area) * ratio), np.minimum(1, np.sqrt(area) / ratio)
    mirror = np.where(rng.random(count) < 0.5, -1.0, 1.0) if recipe.flip else np.ones(count)
    beyond = 0.1 if recipe.augment != "crop" else 0.0  # a crop may reach a little over the edge, which reflects
    place = rng.uniform(-1, 1, (count, 2))
    affine[:, 0, 0], affine[:, 1, 1] = width * mirror, height
    affine[:, 0, 2], affine[:, 1, 2] = place[:, 0] * (1 - width + beyond), place[:, 1] * (1 - height + beyond)
    for name in _GEOMETRIC:
        rows = np.flatnonzero(operation == _TRIVIAL.index(name))
        if recipe.augment == "trivial" and len(rows):
            affine[rows] = affine[rows] @ _geometric(name, strength[rows])
    return affine


def _geometric(name: str, strength: NDArray[np.float32]) -> NDArray[np.float32]:
    """N x 3 x 3 matrices of one geometric operation."""
    matrix = np.tile(np.eye(3, dtype=np.float32), (len(strength), 1, 1))
    amount = strength * _REACH[name]
    if name == "rotate":
        angle = np.deg2rad(amount)
        matrix[:, 0, 0], matrix[:, 0, 1] = np.cos(angle), -np.sin(angle)
        matrix[:, 1, 0], matrix[:, 1, 1] = np.sin(angle), np.cos(angle)
    elif name.startswith("shear"):
        matrix[:, 0 if name == "shear_x" else 1, 1 if name == "shear_x" else 0] = amount
    else:
        matrix[:, 0 if name == "shift_x" else 1, 2] = amount
    return matrix


def _draw_colour(
    rng: np.random.Generator, count: int, recipe: Recipe, operation: NDArray[np.int64], strength: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Brightness, contrast, saturation and tint as one matrix per image, and how much of its mean to add."""
    jitter = 0.2 if recipe.augment in ("light", "trivial") else 0.0
    factors = 1 + jitter * rng.uniform(-1, 1, (count, 3))
    tint = 1 + jitter / 4 * rng.uniform(-1, 1, (count, 3))
    for column, name in enumerate(_COLOURING if recipe.augment == "trivial" else ()):
        rows = np.flatnonzero(operation == _TRIVIAL.index(name))
        factors[rows, column] *= 1 + 0.9 * strength[rows]
    brightness, contrast, saturation = (factors[:, i, None, None] for i in range(3))
    grey = np.tile(_LUMA, (3, 1))
    colour = brightness * contrast * (saturation * np.eye(3) + (1 - saturation) * grey) * tint[:, :, None]
    shade = (brightness * (1 - contrast))[:, :, 0] * tint
    return colour.astype(np.float32), shade.astype(np.float32)


def _draw_hidden(rng: np.random.Generator, count: int, share: float) -> NDArray[np.float32]:
    """Random erasing (arXiv 1708.04896): a box of 2 to 20 % of the area in ``share`` of the images."""
    area, ratio = rng.uniform(0.02, 0.2, count), np.exp(rng.uniform(math.log(0.3), math.log(3.3), count))
    height, width = np.sqrt(area * ratio), np.sqrt(area / ratio)  # 0.82 at most
    top, left = rng.random(count) * (1 - height), rng.random(count) * (1 - width)
    box = np.stack([top, top + height, left, left + width], 1)
    box[rng.random(count) >= share] = 0
    return box.astype(np.float32)


def _draw_mix(rng: np.random.Generator, recipe: Recipe) -> Any:
    """Mixup (arXiv 1710.09412, alpha 0.2), CutMix (arXiv 1905.04899, alpha 1) or nothing, for a whole batch."""
    chance, mixup, cutmix = rng.random(), float(rng.beta(0.2, 0.2)), float(rng.beta(1, 1))
    centre = rng.random(2)
    if chance < recipe.mixup:
        return "mixup", max(mixup, 1 - mixup), (0.0, 0.0, 0.0, 0.0)
    if chance < recipe.mixup + recipe.cutmix:
        half = math.sqrt(1 - cutmix) / 2
        low, high = np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
        return "cutmix", cutmix, (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    return "none", 1.0, (0.0, 0.0, 0.0, 0.0)


def changed(
    pixels: NDArray[np.uint8], labels: Tensor, changes: Changes, recipe: Recipe, preprocess: Preprocess, classes: int
) -> tuple[Tensor, Tensor]:
    """The network's input, N x 3 x S x S channels-last, and the targets: class indices, or N x classes when mixed.

    ``pixels`` are N x side x side x 3; ``labels`` decides the device on which all work is done.
    """
    device = labels.device
    x = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float().div_(255)  # N x 3 x side x side
    x = _resampled(x, torch.from_numpy(changes.affine).to(device), preprocess.input_size, recipe)
    if recipe.augment == "trivial":
        _apply_pixelwise(x, changes)
    x = _coloured(x, changes, recipe, preprocess)
    if recipe.erasing > 0:
        x = _erased(x, torch.from_numpy(changes.hidden).to(device))
    x, targets = _mixed(x, labels, changes, classes)
    return x.contiguous(memory_format=torch.channels_last), targets


def _resampled(x: Tensor, affine: Tensor, size: int, recipe: Recipe) -> Tensor:
    if recipe.augment == "none":
        if x.shape[-1] == size:
            return x
        return F.interpolate(x, (size, size), mode="bilinear", antialias=True)
    grid = F.affine_grid(affine, [len(x), 3, size, size], align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _apply_pixelwise(x: Tensor, changes: Changes) -> None:
    """Sharpness, posterize, solarize or autocontrast for the images that drew one, in place; x lies in 0 to 1."""
    for name in _PIXELWISE:
        numbers = np.flatnonzero(changes.operation == _TRIVIAL.index(name))
        if not len(numbers):
            continue
        rows = torch.from_numpy(numbers).to(x.device)
        part = x[rows]
        amount = torch.from_numpy(changes.strength[numbers]).to(x.device).view(-1, 1, 1, 1)
        if name == "sharpness":
            part = part + (part - F.avg_pool2d(part, 3, 1, 1, count_include_pad=False)) * amount * 1.5
        elif name == "posterize":
            levels = torch.round(4 + 60 * (1 - amount.abs()))
            part = torch.round(part * levels) / levels
        elif name == "solarize":
            part = torch.where(part > 1 - 0.6 * amount.abs(), 1 - part, part)
        else:
            low, high = part.amin((2, 3), keepdim=True), part.amax((2, 3), keepdim=True)
            part = (part - low) / (high - low).clamp_min(1 / 255)
        x[rows] = part


def _coloured(x: Tensor, changes: Changes, recipe: Recipe, preprocess: Preprocess) -> Tensor:
    """Colour changes, the limits 0 and 1, and the recipe's normalisation."""
    mean = torch.tensor(preprocess.mean, device=x.device).view(1, 3, 1)
    std = torch.tensor(preprocess.std, device=x.device).view(1, 3, 1)
    flat = x.flatten(2)  # N x 3 x pixels
    if recipe.augment in ("light", "trivial"):
        colour = torch.from_numpy(changes.colour).to(x.device)
        grey = flat.mean((1, 2))[:, None]
        shade = (torch.from_numpy(changes.shade).to(x.device) * grey)[:, :, None]
        flat = torch.baddbmm(shade, colour, flat).clamp_(0, 1)
    return flat.sub_(mean).div_(std).view_as(x)


def _erased(x: Tensor, hidden: Tensor) -> Tensor:
    """Each image's box set to 0, the mean colour."""
    position = (torch.arange(x.shape[-1], device=x.device) + 0.5) / x.shape[-1]
    top, bottom, left, right = (hidden[:, i, None] for i in range(4))
    rows = (position >= top) & (position < bottom)  # N x S
    columns = (position >= left) & (position < right)
    return x.masked_fill_((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def _mixed(x: Tensor, labels: Tensor, changes: Changes, classes: int) -> tuple[Tensor, Tensor]:
    """Each image mixed with its mirror place in the batch."""
    kind, share, (top, bottom, left, right) = changes.mix
    if kind == "none" or len(x) < 2:
        return x, labels
    other = x.flip(0)
    if kind == "mixup":
        x = x.lerp(other, 1 - share)
    else:
        side = x.shape[-1]
        t, b, lft, r = (round(edge * side) for edge in (top, bottom, left, right))
        x[:, :, t:b, lft:r] = other[:, :, t:b, lft:r]
        share = 1 - (b - t) * (r - lft) / (side * side)
    own = F.one_hot(labels, classes).float()
    return x, own.lerp(own.flip(0), 1 - share)
