"""LiteRT files in 8 bits, the ranges of activations taken from images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnasnet.data.transforms import normalise
from mnasnet.export.exported import INT8_KEY
from mnasnet.export.litert import PACKAGE, Ranges, to_litert
from mnasnet.export.quantize import Images, enough
from mnasnet.files import write_atomic
from mnasnet.modelfile import ModelFile


class Int8LitertExporter:
    """Writes one ``.tflite`` with 8-bit weights (per channel) and activations.

    ``images`` are prepared pixels, S x S x 3, like those that the model will see: their activations set the ranges,
    except those that quantization-aware training has learned.
    """

    suffix = ".int8.tflite"
    package = PACKAGE

    def __init__(self, images: Iterable[NDArray[np.uint8]]) -> None:
        self.images = enough(images)

    def quantise(self, model: ModelFile, *, pixels: bool, softmax: bool) -> QuantisedLitert:
        """The ranges that make 8 bits of ``model``."""
        ranges = {**activation_ranges(model, self.images, pixels=pixels), **model.int8_ranges}
        return QuantisedLitert(model, ranges, f"{len(self.images)} images", pixels=pixels, softmax=softmax)


@dataclass(frozen=True, eq=False)
class QuantisedLitert:
    """``model`` with the range of each of its values; ``note`` tells where they come from."""

    model: ModelFile
    ranges: Ranges
    note: str
    pixels: bool
    softmax: bool

    def write(self, path: Path, metrics: Mapping[str, float]) -> tuple[Path, ...]:
        """Write the file with ``metrics`` in its header."""
        model = replace(self.model, metrics={**self.model.metrics, **metrics})
        graph = {"pixels": self.pixels, "softmax": self.softmax}
        write_atomic(path, to_litert(model, ranges=self.ranges, metadata={INT8_KEY: self.note}, **graph))
        return (path,)


def activation_ranges(model: ModelFile, images: Images, *, pixels: bool) -> Ranges:
    """The smallest and largest number that each value of the float graph takes on ``images``, by its name."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=to_litert(model, pixels=pixels, softmax=True),
        experimental_preserve_all_tensors=True,
        # XNNPACK keeps no values between operators
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    values = [detail for detail in interpreter.get_tensor_details() if list(detail["shape_signature"][:1]) == [-1]]
    ranges: dict[str, tuple[float, float]] = {}
    for image in images:
        numbers = image[np.newaxis]
        if not pixels:
            numbers = np.ascontiguousarray(normalise(numbers, model.preprocess).transpose(0, 2, 3, 1))
        interpreter.set_tensor(source, numbers)
        interpreter.invoke()
        for value in values:
            found = interpreter.get_tensor(value["index"])
            low, high = ranges.get(value["name"], (np.inf, -np.inf))
            ranges[value["name"]] = min(low, float(found.min())), max(high, float(found.max()))
    return ranges
