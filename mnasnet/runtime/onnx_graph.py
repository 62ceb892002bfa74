"""An ONNX graph opened by ONNX Runtime, alike for inference here and for measurements on a small device."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime as ort


def open_graph(content: bytes, threads: int) -> ort.InferenceSession:
    """The graph on the CPU, ``threads`` working on one pass; raises what ONNX Runtime raises."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # waiting threads sleep: a busy neighbour then costs its share of the cores and no more
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
