"""ExecuTorch programs for phones, made by torch's own exporter and computed by XNNPACK; the header lies in a method."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnasnet.errors import WeightsError
from mnasnet.export.checksum import CHECKSUM_KEY, checksum, require_weights
from mnasnet.export.exporter import require_rgb
from mnasnet.files import write_atomic
from mnasnet.modelfile import HEADER_KEY, ModelFile, header_text, network_of
from mnasnet.packages import require
from mnasnet.words import one_line

if TYPE_CHECKING:
    import torch

PACKAGE = "executorch"
ENDS = "mnasnet_ends"  # a second method: what the program takes and gives
MOST_IMAGES = 256  # in one batch; memory for it is planned


class ExecutorchExporter:
    """Writes one ``.pte`` file in float32; it takes half a minute."""

    suffix = ".pte"
    package = PACKAGE

    def export(self, model: ModelFile, path: Path, *, pixels: bool, softmax: bool) -> tuple[Path, ...]:
        """Write ``model`` to ``path``."""
        write_atomic(path, to_executorch(model, pixels=pixels, softmax=softmax))
        return (path,)


def to_executorch(model: ModelFile, *, pixels: bool = False, softmax: bool = False) -> bytes:
    """The program of ``model`` for batches of up to ``MOST_IMAGES``.

    It takes N x C x S x S float32, normalised as the model's recipe says; with ``pixels`` it is N x S x S x 3 uint8 RGB
    and the program normalises. It gives scores, N x classes, or probabilities with ``softmax``.
    """
    if pixels:
        require_rgb(model)
    require(PACKAGE)
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    side = model.preprocess.input_size
    shape = (2, side, side, 3) if pixels else (2, model.in_channels, side, side)
    images = torch.zeros(shape, dtype=torch.uint8 if pixels else torch.float32)
    free_batch = {0: torch.export.Dim("N", min=1, max=MOST_IMAGES)}
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))  # advice about torch's own deprecations
    try:
        program = torch.export.export(_whole(model, pixels, softmax), (images,), dynamic_shapes=(free_batch,))
        header = header_text(model)
        texts = {
            HEADER_KEY: header,
            ENDS: json.dumps({"takes_pixels": pixels, "gives_probabilities": softmax}),
            CHECKSUM_KEY: _place_of_checksum(header),
        }
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()], constant_methods=texts)
        content = bytes(lowered.to_executorch().buffer)
        return content.replace(_place_of_checksum(header).encode(), checksum([content]).encode())
    finally:
        logging.disable(before)


def _whole(model: ModelFile, pixels: bool, softmax: bool) -> torch.nn.Module:
    """The network with what comes before and after it, in evaluation mode."""
    import torch

    class Whole(torch.nn.Module):
        mean: torch.Tensor
        scale: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = network_of(model)
            own = model.preprocess
            self.register_buffer("mean", 255 * torch.tensor(own.mean).reshape(1, 3, 1, 1))
            self.register_buffer("scale", 1 / (255 * torch.tensor(own.std).reshape(1, 3, 1, 1)))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if pixels:
                images = (images.permute(0, 3, 1, 2).float() - self.mean) * self.scale
            scores: torch.Tensor = self.network(images)
            return scores.softmax(1) if softmax else scores

    return Whole().eval()


@dataclass(frozen=True, slots=True)
class ProgramFacts:
    """What a program says of itself: its header text, and what it takes and gives."""

    header: str
    takes_pixels: bool
    gives_probabilities: bool


def read_program(content: bytes, path: Path) -> ProgramFacts:
    """What the program in ``content``, read from ``path``, says of itself.

    Raises WeightsError when it is damaged or not an ExecuTorch program, RuntimeMissingError without ExecuTorch.
    """
    require(PACKAGE)
    try:
        program = open_program(content)
        header = _text(program, HEADER_KEY) if HEADER_KEY in program.method_names else ""
        ends = json.loads(_text(program, ENDS)) if header else {"takes_pixels": False, "gives_probabilities": False}
        facts = ProgramFacts(header, bool(ends["takes_pixels"]), bool(ends["gives_probabilities"]))
        told = _text(program, CHECKSUM_KEY) if CHECKSUM_KEY in program.method_names else ""
    except Exception as error:  # the runtime's own errors
        raise WeightsError(
            f"{path} is damaged or no ExecuTorch program ({one_line(error)}); export the model again"
        ) from error
    if told:
        require_weights(told, [content.replace(told.encode(), _place_of_checksum(header).encode())], path)
    return facts


def _place_of_checksum(header: str) -> str:
    """What stands in a program while the checksum of the whole file is taken: letters that stand nowhere else."""
    return checksum([header.encode()])


def open_program(content: bytes) -> Any:
    """The program, checked for consistency; raises what ExecuTorch raises."""
    from executorch.runtime import Runtime, Verification

    return Runtime.get().load_program(content, verification=Verification.InternalConsistency)


def _text(program: Any, method: str) -> str:
    return str(program.load_method(method).execute([])[0])
