"""The tensors in any weights file, read safely: without wrappers and prefixes, as float32.

Nothing in a file is executed: ``.safetensors`` holds only numbers, and PyTorch files pass through torch's
``weights_only`` unpickler, which is refused on torch before 2.6 (CVE-2025-32434). There is no fallback.
"""

from __future__ import annotations

import argparse
import json
import logging
import pickle
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnasnet.errors import WeightsError
from mnasnet.files import exists
from mnasnet.words import first_line

_log = logging.getLogger(__name__)

State = dict[str, NDArray[np.float32]]

STATE_HEADER = "mnasnet"  # in the attribute where a state dict keeps the versions of modules, whose names have dots

# The order says which one is taken where a file holds several: averaged weights are the better ones.
WRAPPERS = (
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "weights",
)
PREFIXES = ("module.", "_orig_mod.", "model.")  # DataParallel and averaging, torch.compile, Lightning
BOOKKEEPING = ("num_batches_tracked", "n_averaged", "total_ops", "total_params")


def content_of(path: Path) -> object:
    """What the file holds as it stands; raises WeightsError when it is missing, damaged or unsafe."""
    return read_safetensors(path)[0] if _kind_of(path) == "safetensors" else _read_pickled(path)


def state_header(content: object) -> str:
    """The header that :func:`mnasnet.network.statedict.state_dict_of` wrote; empty where there is none."""
    versions = getattr(content, "_metadata", None)
    ours = versions.get(STATE_HEADER) if isinstance(versions, Mapping) else None
    header = ours.get("header") if isinstance(ours, Mapping) else None
    return header if isinstance(header, str) else ""


def safetensors_header(path: Path) -> Mapping[str, Any]:
    """What stands before the tensors of a safetensors file; empty where the file is none or cannot be read."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if 2 <= size <= _LARGEST_HEADER else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}


def read_safetensors(path: Path) -> tuple[State, dict[str, str]]:
    """All tensors as float32, bfloat16 included, and the header's texts; raises WeightsError on a damaged file."""
    from safetensors import SafetensorError, deserialize

    try:
        data = path.read_bytes()
        tensors = {name: _decoded(**value) for name, value in deserialize(data)}
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file ({error}); copy or download it again") from error
    return tensors, header.get("__metadata__") or {}  # null is allowed


_LARGEST_HEADER = 100_000_000  # bytes, as safetensors itself has it
_SAFETENSORS_TYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": np.uint16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def _decoded(dtype: str, shape: list[int], data: bytes) -> NDArray[np.float32]:
    if dtype not in _SAFETENSORS_TYPES:
        raise ValueError(f"tensors of type {dtype} are not supported")
    array: NDArray[Any] = np.frombuffer(data, np.dtype(_SAFETENSORS_TYPES[dtype]).newbyteorder("<")).reshape(shape)
    if dtype == "BF16":  # the upper half of a float32
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32)


def _kind_of(path: Path) -> str:
    """``safetensors`` or ``pickle``, by content; raises WeightsError for anything else, saying what it is."""
    if exists(path) and path.is_dir():
        inside = sorted(
            child.name for child in path.iterdir() if child.suffix in (".pth", ".safetensors", ".tar", ".pt")
        )
        runs = sorted(best.parent.parent.name for best in path.glob("*/weights/best.safetensors"))
        if inside:
            hint = f"give one of its files: {', '.join(inside[:5])}"
        elif runs:
            hint = f"give one of the runs in it: {', '.join(runs[:5])}"
        else:
            hint = "it holds no weights files"
        raise WeightsError(f"{path} is a folder; {hint}")
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except FileNotFoundError as error:
        raise WeightsError(f"there is no file {path}; check the path") from error
    except (OSError, ValueError) as error:  # ValueError: what cannot be a path
        raise WeightsError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if not start:
        raise WeightsError(f"{path} is empty; copy or download it again")
    if path.suffix.lower() == ".safetensors" or start[8:9] == b"{":
        return "safetensors"
    if start[:4] == b"PK\x03\x04" or start[:1] == b"\x80":
        return "pickle"
    raise WeightsError(f"{path} {_foreign_content(start, path.suffix.lower())}")


def _foreign_content(start: bytes, suffix: str) -> str:
    if start.lstrip()[:1] == b"<":
        return "is a web page, not weights; the link led to a page, so download the file itself"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the weights; run git lfs pull"
    if start.lstrip()[:1] == b"{":
        return (
            "is a text that describes something, not weights; a run's network is weights/best.safetensors in its "
            "folder, so give that or the folder"
        )
    if suffix == ".onnx":
        return (
            "is an ONNX export, from which nothing can be loaded back; give the .safetensors or .pth it was made from"
        )
    return f"is neither a safetensors nor a PyTorch file (it begins with {start[:8]!r}); give a weights file"


def _read_pickled(path: Path) -> object:
    import torch

    _require_safe_unpickler(torch.__version__, path)
    try:
        # argparse.Namespace, a bag of values without code, is in most timm and torchvision training checkpoints
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        blocked = _blocked_globals(path, str(error))
        if not blocked:
            raise WeightsError(f"{path} is damaged or incomplete; copy or download it again") from error
        raise WeightsError(_refusal(path, blocked)) from error
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        if "TorchScript" in str(error):
            raise WeightsError(f"{path} is a TorchScript program, not weights; save model.state_dict()") from error
        reason = first_line(error)[:120]
        raise WeightsError(f"{path} is damaged or incomplete ({reason}); copy or download it again") from error


def _require_safe_unpickler(version: str, path: Path) -> None:
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < (2, 6):
        raise WeightsError(
            f"{path} is a pickle, which torch before 2.6 cannot read safely, and this is torch {version}; "
            "update torch, or convert the file to .safetensors"
        )


def _blocked_globals(path: Path, message: str) -> list[str]:
    """What the file wanted to run; reads the pickle's opcodes only."""
    import torch

    try:
        found = set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception as error:  # any failure of a diagnosis, e.g. on the format before torch 1.6
        _log.debug("cannot list the globals of %s: %s", path, error)
        found = set()
    found |= set(re.findall(r"GLOBAL ([\w.]+) was not an allowed", message))
    return sorted(found - {"argparse.Namespace"})


def _refusal(path: Path, blocked: list[str]) -> str:
    whole = any(re.match(r"(torchvision|timm|__main__|torch\.nn\.modules)\b", name) for name in blocked)
    what = "holds a whole pickled model, code included" if whole else "holds more than weights"
    shown = ", ".join(blocked[:8]) or "unknown"
    return (
        f"{path} {what}, and loading it could run anything; blocked: {shown}. "
        f"If you trust its source, convert it once in a safe place:  {converter_command(path)}"
    )


def converter_command(path: Path) -> str:
    """One line that turns a pickled model or training checkpoint into a file of weights alone."""
    code = (
        "import sys, torch; m = torch.load(sys.argv[1], map_location='cpu', weights_only=False); "
        "m = next((m[k] for k in ('ema', 'state_dict', 'model') if m.get(k) is not None), m)"
        " if isinstance(m, dict) else m; "
        "torch.save(m.state_dict() if hasattr(m, 'state_dict') else m, sys.argv[2])"
    )
    files = [str(path), str(path.with_name(f"{path.name.split('.')[0]}-weights.pth"))]
    join: Callable[[list[str]], str] = subprocess.list2cmdline if sys.platform == "win32" else shlex.join
    return f'python -c "{code}" {join(files)}'


def unwrapped(content: object, origin: str) -> State:
    """The state dict inside what a file holds: wrappers opened, prefixes and counters removed.

    ``origin`` names the file in errors.
    """
    tensors = _innermost(content, origin)
    state: State = {}
    for name, value in tensors.items():
        if name.rpartition(".")[2] in BOOKKEEPING:
            continue
        bare = without_prefixes(name)
        if bare in state:
            raise WeightsError(f"{origin} holds {bare} twice, with and without a prefix; save one state dict only")
        state[bare] = _as_float32(value, name, origin)
    if not state:
        raise WeightsError(f"{origin} holds no tensors; save model.state_dict() into it")
    return state


def _innermost(content: object, origin: str) -> Mapping[str, Any]:
    for _ in range(5):
        if not isinstance(content, Mapping):
            break
        sizes = {key: _count_tensors(content[key]) for key in WRAPPERS if isinstance(content.get(key), Mapping)}
        # an average may hold the trained weights alone, without batch statistics, or only its own settings
        wrapper = next((key for key, size in sizes.items() if size and size == max(sizes.values())), None)
        if wrapper is None:
            return {str(key): value for key, value in content.items() if _is_tensor(value)}
        _log.info("%s: taking the weights under %r", origin, wrapper)
        content = content[wrapper]
    raise WeightsError(f"{origin} holds a {type(content).__name__}, not a state dict; save model.state_dict() into it")


def _count_tensors(content: Mapping[Any, Any]) -> int:
    """How many weights there are, at any depth; the counters of batch normalisation are none."""
    return sum(
        _count_tensors(value) if isinstance(value, Mapping) else _is_tensor(value)
        for name, value in content.items()
        if not str(name).endswith("num_batches_tracked")
    )


def _is_tensor(value: object) -> bool:
    return isinstance(value, np.ndarray) or hasattr(value, "detach")


def without_prefixes(name: str) -> str:
    """The tensor's name in the network that others wrapped."""
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), None):
        name = name[len(prefix) :]
    return name


def _as_float32(value: Any, name: str, origin: str) -> NDArray[np.float32]:
    if not isinstance(value, np.ndarray):
        if value.is_quantized or value.is_sparse:
            raise WeightsError(f"{origin}: {name} is quantised or sparse; give the float weights")
        # torch may repeat one stored number as often as a shape says, and that be terabytes
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise WeightsError(
                f"{origin}: {name} has the shape {tuple(value.shape)} and fewer numbers than that in the file; save it "
                "by .contiguous()"
            )
        value = value.detach().float().contiguous().numpy()
    array: NDArray[np.float32] = np.array(value, dtype=np.float32)
    if not np.isfinite(array).all():
        raise WeightsError(f"{origin}: {name} holds NaN or infinity; the training diverged, give an earlier checkpoint")
    if is_negative_variance(name, array):
        raise WeightsError(f"{origin}: {name} holds negative variances; copy or download the file again")
    return array


def is_negative_variance(name: str, values: NDArray[Any]) -> bool:
    """Whether the tensor ``name`` is a variance of batch normalisation with a number below 0, of which no root is."""
    return name.endswith("running_var") and bool((values < 0).any())
