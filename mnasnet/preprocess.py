"""The recipe that turns an RGB image into a network's input; it travels with the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from mnasnet.checks import is_number, is_whole, make_plain, shown
from mnasnet.errors import SpecError

Crop = Literal["center", "squash"]
Interpolation = Literal["bilinear", "bicubic"]

MIN_INPUT_SIZE, MAX_INPUT_SIZE = 32, 2048
LARGEST_ZOOM = 16  # resize / input_size: far above any recipe that keeps something of the image
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Preprocess:
    """Resize, crop and normalise.

    ``center`` resizes the short side to ``resize`` pixels and keeps the middle ``input_size`` square;
    ``squash`` stretches the whole image to the square. ``mean`` and ``std`` are per RGB channel of values in 0 to 1.
    """

    input_size: int = 224
    resize: int = 256
    crop: Crop = "center"
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        make_plain(self)
        for name in ("input_size", "resize"):
            value = getattr(self, name)
            if not is_whole(value):
                raise SpecError(f"{name} must be a whole number of pixels, got {value!r}")
        if self.input_size < MIN_INPUT_SIZE:
            raise SpecError(f"input_size must be >= {MIN_INPUT_SIZE} pixels, got {self.input_size}")
        if self.input_size > MAX_INPUT_SIZE:
            raise SpecError(f"input_size must be at most {MAX_INPUT_SIZE} pixels, got {shown(self.input_size)}")
        if self.resize < self.input_size:
            raise SpecError(f"resize must be >= input_size, got resize {self.resize} for input_size {self.input_size}")
        if self.resize > LARGEST_ZOOM * self.input_size:
            raise SpecError(
                f"resize must be at most {LARGEST_ZOOM} times input_size, got resize {shown(self.resize)} for "
                f"input_size {self.input_size}"
            )
        if self.crop not in get_args(Crop):
            raise SpecError(f"crop must be one of {', '.join(get_args(Crop))}, got {self.crop!r}")
        if self.interpolation not in get_args(Interpolation):
            raise SpecError(
                f"interpolation must be one of {', '.join(get_args(Interpolation))}, got {self.interpolation!r}"
            )
        if not all(isinstance(three, tuple) and len(three) == 3 for three in (self.mean, self.std)) or not all(
            map(_is_share, (*self.mean, *self.std))
        ):
            raise SpecError(f"mean and std need three numbers from 0 to 1, got {self.mean!r} and {self.std!r}")
        if min(self.std) == 0:
            raise SpecError(f"std must be above 0, it divides, got {self.std!r}")

    def at(self, input_size: int) -> Preprocess:
        """The same recipe for another input size; the resize keeps its proportion to it."""
        return replace(self, input_size=input_size, resize=round(self.resize * input_size / self.input_size))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocess:
        """The inverse of :meth:`to_dict`; raises SpecError when fields are missing or unknown."""
        try:
            fields = {**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])}
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise SpecError(f"not a preprocessing recipe: {error}") from error


def _is_share(value: object) -> bool:
    return is_number(value) and 0 <= value <= 1
