"""An exported file: a network as another runtime reads it, with the header that makes it complete."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mnasnet.data.transforms import normalise
from mnasnet.errors import MnasNetError, WeightsError
from mnasnet.export.checksum import CHECKSUM_KEY, require_weights, require_whole
from mnasnet.export.executorch import read_program, to_executorch
from mnasnet.export.limits import onnx_shapes, require_bounded, require_plain
from mnasnet.export.litert import litert_weights, read_ends, to_litert
from mnasnet.export.onnx import onnx_weights, to_onnx
from mnasnet.modelfile import HEADER_KEY, ModelFile, require_header
from mnasnet.preprocess import Preprocess
from mnasnet.spec import ArchitectureSpec
from mnasnet.words import one_line

Format = Literal["onnx", "openvino", "litert", "executorch"]
Written = Literal["onnx", "litert", "executorch"]  # formats that a model can be turned into in memory

SUFFIXES: dict[str, Format] = {".onnx": "onnx", ".xml": "openvino", ".tflite": "litert", ".pte": "executorch"}
INT8_KEY = "mnasnet_int8"  # metadata of graphs whose weights were quantised


@dataclass(frozen=True, eq=False)
class ExportedModel:
    """A graph with class names and preprocessing, ready for a runtime's session.

    ``content`` is the graph, ``weights`` what OpenVINO keeps in a second file. The graph takes N x S x S x 3 RGB pixels
    (``takes_pixels``) or normalised numbers, N x 3 x S x S or in LiteRT N x S x S x 3, and gives scores or
    (``gives_probabilities``) softmax.
    """

    format: Format
    content: bytes = field(repr=False)
    class_names: tuple[str, ...]
    preprocess: Preprocess
    takes_pixels: bool
    gives_probabilities: bool
    weights: bytes = field(default=b"", repr=False)
    in_channels: int = 3
    precision: Literal["fp32", "int8"] = "fp32"
    name: str = ""
    header: Mapping[str, Any] = field(default_factory=dict)

    def as_input(self, batch: NDArray[np.uint8]) -> NDArray[Any]:
        """N x S x S x 3 pixels as the graph takes them; numbers that were made so already stay as they are."""
        if self.takes_pixels or batch.dtype != np.uint8:
            return batch
        numbers = normalise(batch, self.preprocess)
        return np.ascontiguousarray(numbers.transpose(0, 2, 3, 1)) if self.format == "litert" else numbers

    def as_scores(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        """The graph's output as scores before softmax: probabilities become their logarithms."""
        if not self.gives_probabilities:
            return output
        scores: NDArray[np.float32] = np.log(np.maximum(output, np.finfo(np.float32).tiny))
        return scores


def in_memory(model: ModelFile | ExportedModel, kind: Written = "onnx") -> ExportedModel:
    """``model`` as a graph that takes pixels and gives scores; an exported one stays as it is."""
    if isinstance(model, ExportedModel):
        return model
    return ExportedModel(
        format=kind,
        content=_WRITERS[kind](model),
        class_names=model.class_names,
        preprocess=model.preprocess,
        takes_pixels=True,
        gives_probabilities=False,
        in_channels=model.in_channels,
        name=model.name,
    )


_WRITERS: Mapping[str, Callable[[ModelFile], bytes]] = {
    "onnx": lambda model: to_onnx(model, pixels=True).SerializeToString(),
    "litert": lambda model: to_litert(model, pixels=True),
    "executorch": lambda model: to_executorch(model, pixels=True),
}


def is_exported(path: Path) -> bool:
    """Whether ``path`` is named like an exported file; nothing is read."""
    return path.suffix.lower() in SUFFIXES


def read_exported(path: str | Path) -> ExportedModel:
    """The network in an exported file of this package.

    Raises WeightsError when it cannot be read, came from elsewhere or is damaged.
    """
    path = Path(path)
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise WeightsError(f"an exported file ends in {' or '.join(SUFFIXES)}, got {path}")
    try:
        content = path.read_bytes()
        weights = path.with_suffix(".bin").read_bytes() if kind == "openvino" else b""
    except OSError as error:
        hint = "; it must lie beside the .xml" if kind == "openvino" and path.exists() else ""
        raise WeightsError(f"cannot read {error.filename or path}: {error.strerror or error}{hint}") from error
    require_whole(content, path)  # before anything reads in it
    return _checked(kind, content, weights, _FACTS[kind](content, weights, path), path)


@dataclass(frozen=True)
class _Facts:
    """What the graph itself says: header text, input type, output name, its number of classes."""

    header: str
    takes_pixels: bool
    output: str
    classes: int | None
    is_int8: bool


def _onnx_facts(content: bytes, _: bytes, path: Path) -> _Facts:
    require_plain(content, "onnx", path)
    import onnx

    try:
        model = onnx.load_model_from_string(content)
        metadata = {item.key: item.value for item in model.metadata_props}
        source, result = model.graph.input[0], model.graph.output[0]
        size = result.type.tensor_type.shape.dim[-1].dim_value
        require_bounded(onnx_shapes(model), path)
        require_weights(metadata.get(CHECKSUM_KEY, ""), onnx_weights(model), path)
    except WeightsError:
        raise
    except Exception as error:  # ONNX's and protobuf's own errors, graphs without inputs, names that are no text
        raise WeightsError(f"{path} is damaged or no ONNX file ({one_line(error)}); export the model again") from error
    is_pixels = source.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    return _Facts(metadata.get(HEADER_KEY, ""), is_pixels, result.name, size or None, INT8_KEY in metadata)


def _openvino_facts(content: bytes, weights: bytes, path: Path) -> _Facts:
    from mnasnet.export.openvino import read_ir

    model = read_ir(content, weights, path)
    header, checksum = (
        str(model.get_rt_info([key]).astype(str)) if model.has_rt_info([key]) else ""
        for key in (HEADER_KEY, CHECKSUM_KEY)
    )
    require_weights(checksum, [weights], path.with_suffix(".bin"))
    shape = model.output(0).get_partial_shape()
    classes = shape[1].get_length() if shape.rank.is_static and len(shape) == 2 and shape[1].is_static else None
    is_pixels = model.input(0).get_element_type().get_type_name() == "u8"
    return _Facts(header, is_pixels, model.output(0).get_any_name(), classes, model.has_rt_info([INT8_KEY]))


def _litert_facts(content: bytes, _: bytes, path: Path) -> _Facts:
    ends = read_ends(content, path)
    metadata = ends.metadata
    require_weights(metadata.get(CHECKSUM_KEY, ""), litert_weights(content), path)
    return _Facts(metadata.get(HEADER_KEY, ""), ends.takes_pixels, ends.output, ends.classes, INT8_KEY in metadata)


def _executorch_facts(content: bytes, _: bytes, path: Path) -> _Facts:
    own = read_program(content, path)
    return _Facts(own.header, own.takes_pixels, "probabilities" if own.gives_probabilities else "logits", None, False)


#: format -> what a file says, from its content, that of its second file and its path. Each judges the graph before an
#: engine opens it (a program ExecuTorch checks itself), then bounds its values and compares its weights' checksum,
#: which OpenVINO's second file has and the others had before they had one of the whole file
_FACTS: Mapping[Format, Callable[[bytes, bytes, Path], _Facts]] = {
    "onnx": _onnx_facts,
    "openvino": _openvino_facts,
    "litert": _litert_facts,
    "executorch": _executorch_facts,
}


def _checked(kind: Format, content: bytes, weights: bytes, facts: _Facts, path: Path) -> ExportedModel:
    if not facts.header:
        raise WeightsError(
            f"{path} carries no class names and preprocessing of this package; export the model with "
            "`python -m mnasnet export`, or where it was made elsewhere give the .pth or .safetensors it was made from"
        )
    try:
        header = json.loads(facts.header)
        require_header(header, path)
        ArchitectureSpec.from_dict(header["architecture"])
        names = tuple(str(name) for name in header["class_names"])
        model = ExportedModel(
            format=kind,
            content=content,
            weights=weights,
            class_names=names,
            preprocess=Preprocess.from_dict(header["preprocess"]),
            in_channels=int(header["in_channels"]),
            takes_pixels=facts.takes_pixels,
            gives_probabilities=facts.output == "probabilities",
            precision="int8" if facts.is_int8 else "fp32",
            name=str(header["name"]),
            header=header,
        )
    except WeightsError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, MnasNetError) as error:
        raise WeightsError(f"the header of {path} is damaged ({error}); export the model again") from error
    if facts.classes is not None and facts.classes != len(names):
        raise WeightsError(f"{path} has {facts.classes} outputs but {len(names)} class names; export the model again")
    return model
