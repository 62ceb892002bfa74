"""An exported file: a network as another runtime reads it, with the header that makes it complete."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mnasnet.data.transforms import normalise
from mnasnet.errors import MnasNetError, WeightsError
from mnasnet.export.checksum import CHECKSUM_KEY, require_weights
from mnasnet.export.executorch import read_program, to_executorch
from mnasnet.export.limits import onnx_shapes, require_bounded, require_plain
from mnasnet.export.litert import litert_shapes, litert_weights, read_ends, to_litert
from mnasnet.export.onnx import onnx_weights, to_onnx
from mnasnet.modelfile import HEADER_KEY, ModelFile, require_header
from mnasnet.preprocess import Preprocess
from mnasnet.spec import ArchitectureSpec
from mnasnet.words import one_line

if TYPE_CHECKING:
    import onnx

Format = Literal["onnx", "openvino", "litert", "executorch"]

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
        """N x S x S x 3 pixels as the graph takes them."""
        if self.takes_pixels:
            return batch
        numbers = normalise(batch, self.preprocess)
        return np.ascontiguousarray(numbers.transpose(0, 2, 3, 1)) if self.format == "litert" else numbers

    def as_scores(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        """The graph's output as scores before softmax: probabilities become their logarithms."""
        if not self.gives_probabilities:
            return output
        scores: NDArray[np.float32] = np.log(np.maximum(output, np.finfo(np.float32).tiny))
        return scores


def in_memory(
    model: ModelFile | ExportedModel, kind: Literal["onnx", "litert", "executorch"] = "onnx"
) -> ExportedModel:
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
    if kind == "openvino":
        facts = _openvino_facts(content, weights, path)
    else:
        facts = {"onnx": _onnx_facts, "litert": _litert_facts, "executorch": _executorch_facts}[kind](content, path)
    model = _checked(kind, content, weights, facts, path)
    _require_limits(model, path)
    _require_weights(model, facts.checksum, path)
    return model


def _require_limits(model: ExportedModel, path: Path) -> None:
    """Raise WeightsError for operators and sizes that no file of this package has; OpenVINO's were looked at before."""
    if model.format == "onnx":
        import onnx

        require_plain(model.content, path)
        try:
            shapes = onnx_shapes(onnx.load_model_from_string(model.content))
        except Exception as error:  # ONNX's own errors
            raise WeightsError(f"{path} is damaged ({one_line(error)}); export the model again") from error
        require_bounded(shapes, path)
    elif model.format == "litert":
        require_plain(model.content, path)
        require_bounded(litert_shapes(model.content, path), path)


def _require_weights(model: ExportedModel, checksum: str, path: Path) -> None:
    """Raise WeightsError for weights of another ``checksum``; older files have none; programs were checked before."""
    if not checksum:
        return
    if model.format == "openvino":
        require_weights(checksum, [model.weights], path.with_suffix(".bin"))
    elif model.format == "litert":
        require_weights(checksum, litert_weights(model.content), path)
    elif model.format == "onnx":
        require_weights(checksum, _weights_of_onnx(model.content, path), path)


def _weights_of_onnx(content: bytes, path: Path) -> list[bytes]:
    import onnx

    try:
        return list(onnx_weights(onnx.load_model_from_string(content)))
    except Exception as error:  # a name that is no text, numbers that are missing
        raise WeightsError(f"{path} is damaged ({one_line(error)}); export the model again") from error


@dataclass(frozen=True)
class _Facts:
    """What the graph itself says: header text, input type, output name, its number of classes, weights' checksum."""

    header: str
    takes_pixels: bool
    output: str
    classes: int | None
    is_int8: bool
    checksum: str = ""


def _onnx_facts(content: bytes, path: Path) -> _Facts:
    import onnx

    try:
        model = onnx.load_model_from_string(content)
        metadata = {item.key: item.value for item in model.metadata_props}
        source, result = model.graph.input[0], model.graph.output[0]
        size = result.type.tensor_type.shape.dim[-1].dim_value
    except Exception as error:  # protobuf's own errors, and graphs without inputs
        raise WeightsError(f"{path} is damaged or no ONNX file ({one_line(error)}); export the model again") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _onnx_tensors(model)):
        raise WeightsError(f"{path} keeps weights in other files, which is not supported; export the model again")
    is_pixels = source.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    header, checksum = metadata.get(HEADER_KEY, ""), metadata.get(CHECKSUM_KEY, "")
    return _Facts(header, is_pixels, result.name, size or None, INT8_KEY in metadata, checksum)


def _onnx_tensors(message: Any) -> Iterator[onnx.TensorProto]:
    """The tensors in a part of an ONNX file, wherever they are: weights, constants, also of branches and functions."""
    import onnx

    for kind, value in message.ListFields():
        if kind.message_type is None:
            continue
        for part in value if isinstance(value, Sequence) else [value]:
            if isinstance(part, onnx.TensorProto):
                yield part
            else:
                yield from _onnx_tensors(part)


def _openvino_facts(content: bytes, weights: bytes, path: Path) -> _Facts:
    from mnasnet.export.openvino import read_ir

    model = read_ir(content, weights, path)
    header, checksum = (
        str(model.get_rt_info([key]).astype(str)) if model.has_rt_info([key]) else ""
        for key in (HEADER_KEY, CHECKSUM_KEY)
    )
    shape = model.output(0).get_partial_shape()
    classes = shape[1].get_length() if shape.rank.is_static and len(shape) == 2 and shape[1].is_static else None
    is_pixels = model.input(0).get_element_type().get_type_name() == "u8"
    is_int8 = model.has_rt_info([INT8_KEY])
    return _Facts(header, is_pixels, model.output(0).get_any_name(), classes, is_int8, checksum)


def _litert_facts(content: bytes, path: Path) -> _Facts:
    ends = read_ends(content, path)
    metadata = ends.metadata
    header, checksum = metadata.get(HEADER_KEY, ""), metadata.get(CHECKSUM_KEY, "")
    return _Facts(header, ends.takes_pixels, ends.output, ends.classes, INT8_KEY in metadata, checksum)


def _executorch_facts(content: bytes, path: Path) -> _Facts:
    own = read_program(content, path)
    return _Facts(own.header, own.takes_pixels, "probabilities" if own.gives_probabilities else "logits", None, False)


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
