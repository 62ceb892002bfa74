"""OpenVINO's own files, an ``.xml`` with a ``.bin`` beside it, made from the ONNX graph."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnasnet.errors import WeightsError
from mnasnet.export.checksum import CHECKSUM_KEY, FILE_KEY, NOT_YET, checksum, with_checksum
from mnasnet.export.limits import openvino_shapes, require_bounded, require_plain_ir
from mnasnet.export.onnx import to_onnx
from mnasnet.files import write_atomic
from mnasnet.modelfile import ModelFile
from mnasnet.packages import require
from mnasnet.telemetry import import_openvino

if TYPE_CHECKING:
    import onnx


class OpenvinoExporter:
    """Writes ``.xml`` and ``.bin`` in float32; the header lies in the model's ``rt_info``."""

    suffix = ".xml"
    package = "openvino"

    def export(self, model: ModelFile, path: Path, *, pixels: bool, softmax: bool) -> tuple[Path, ...]:
        """Write ``model`` to ``path`` and its ``.bin``; returns both."""
        return write_ir(to_onnx(model, pixels=pixels, softmax=softmax), path)


def write_ir(graph: onnx.ModelProto, path: Path) -> tuple[Path, ...]:
    """Write an ONNX graph, its metadata included, as ``path`` and its ``.bin``; returns both."""
    ov = import_openvino()
    network = ov.Core().read_model(graph.SerializeToString())
    for item in graph.metadata_props:
        network.set_rt_info(item.value, [item.key])
    with tempfile.TemporaryDirectory() as name:
        made = Path(name) / "model.xml"
        ov.save_model(network, made, compress_to_fp16=False)
        weights = made.with_suffix(".bin").read_bytes()
        network.set_rt_info(checksum([weights]), [CHECKSUM_KEY])
        network.set_rt_info(NOT_YET, [FILE_KEY])
        ov.save_model(network, made, compress_to_fp16=False)
        files = path, path.with_suffix(".bin")
        write_atomic(files[1], weights)
        write_atomic(files[0], with_checksum(made.read_bytes()))  # last, so that no .xml is ever without its weights
    return files


def read_ir(content: bytes, weights: bytes, path: Path) -> Any:
    """OpenVINO's model of the two files' contents; raises WeightsError, or RuntimeMissingError without OpenVINO."""
    require("openvino")
    ov = import_openvino()
    require_plain_ir(content, path)
    try:
        model = ov.Core().read_model(content, ov.Tensor(_as_array(weights)))
    except (RuntimeError, UnicodeDecodeError) as error:
        reason = (str(error).strip().splitlines() or [""])[-1]
        raise WeightsError(
            f"{path} is damaged or no OpenVINO model ({reason}); copy it and {path.with_suffix('.bin').name} again, "
            "both of one export, or export the model again"
        ) from error
    require_bounded(openvino_shapes(model), path)
    return model


def _as_array(content: bytes) -> Any:
    import numpy as np

    return np.frombuffer(content, np.uint8)
