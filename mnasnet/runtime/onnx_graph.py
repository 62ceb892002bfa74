"""An ONNX graph opened by ONNX Runtime, alike for inference here and for measurements on a small device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime as ort

CUDA = "CUDAExecutionProvider"
Provider = str | tuple[str, dict[str, str]]  # its name, with its options where it has some

SPIN_US = 20  # longer than the gaps between the layers of one pass; 500 takes a busy machine half as long again
_LIMITED_SPINNING = (1, 26)  # the first ONNX Runtime whose threads can be told how long to wait awake


def open_graph(
    content: bytes, threads: int, providers: Sequence[Provider] = ("CPUExecutionProvider",)
) -> ort.InferenceSession:
    """The graph on the CPU or what else ``providers`` name, ``threads`` of the CPU working on one pass.

    Raises what ONNX Runtime raises.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # else the same bytes may hold another graph than was judged, in its own format, which it looks for first
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Threads wait awake between the layers of a pass, 15 % faster, and fall asleep soon after: a busy neighbour then
    # costs little more than its share of the cores. An older ONNX Runtime knows no such limit and sleeps at once.
    spins = tuple(map(int, ort.__version__.split(".")[:2])) >= _LIMITED_SPINNING
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
    if spins:
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_US))
    return ort.InferenceSession(content, options, providers=list(providers))
