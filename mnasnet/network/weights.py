"""Any weights file of a MnasNet, read safely, recognised by its shapes and renamed to ours.

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
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnasnet.errors import SpecError, WeightsError
from mnasnet.files import exists
from mnasnet.network.naming import Layout, layout_of, to_our_names
from mnasnet.presets import MNASNET_A1, MNASNET_B1, MNASNET_SMALL, PRESETS
from mnasnet.spec import ArchitectureSpec, BlockSpec, LayerSpec
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
_USUAL_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
_TEMPLATES = (MNASNET_B1, MNASNET_A1, MNASNET_SMALL)


@dataclass(frozen=True, eq=False)
class LoadedWeights:
    """Weights under our names, float32, with what their names and shapes say about the network.

    ``header`` is that of a model file, where a state dict of ours carries one.
    """

    weights: State
    architecture: ArchitectureSpec
    num_classes: int
    in_channels: int
    layout: Layout
    header: str = ""


def load_weights(path: Path, *, expected: ArchitectureSpec | None = None) -> LoadedWeights:
    """Read any weights file of a MnasNet.

    ``expected`` is the network asked for; it is also what gives a searched network, whose strides and skips no
    shape shows, its architecture. Raises WeightsError when the file is missing, damaged, unsafe, another network
    or incomplete.
    """
    if names := _names_of_weights(safetensors_header(path)):
        _layout(names, str(path))  # another network may be larger than the memory
    content = _content_of(path)
    header = _state_header(content)
    if header and expected is None:
        expected = _architecture_in(header, path)
    return replace(adopt(unwrapped(content, str(path)), str(path), expected=expected), header=header)


def read_state(path: Path) -> State:
    """The tensors of a file under the names they have there, without wrappers and prefixes, as float32."""
    return unwrapped(_content_of(path), str(path))


def _content_of(path: Path) -> object:
    return read_safetensors(path)[0] if _kind_of(path) == "safetensors" else _read_pickled(path)


def _state_header(content: object) -> str:
    """The header that :func:`mnasnet.network.statedict.state_dict_of` wrote; empty where there is none."""
    versions = getattr(content, "_metadata", None)
    ours = versions.get(STATE_HEADER) if isinstance(versions, Mapping) else None
    header = ours.get("header") if isinstance(ours, Mapping) else None
    return header if isinstance(header, str) else ""


def _architecture_in(header: str, path: Path) -> ArchitectureSpec:
    try:
        return ArchitectureSpec.from_dict(json.loads(header)["architecture"])
    except (SpecError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(f"the header of {path} is damaged ({error}); copy or download the file again") from error


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


def adopt(state: State, origin: str, *, expected: ArchitectureSpec | None = None) -> LoadedWeights:
    """Recognise and rename ``state``; raises WeightsError when it is another network or incomplete."""
    layout = _layout(state, origin)
    names = to_our_names(state, layout)
    weights = {names[name]: value for name, value in state.items()}
    if expected is not None and not _differences(weights, expected):
        return _loaded(weights, expected, layout, origin)
    recognised = recognise(weights, layout)
    if recognised is None:
        raise WeightsError(_unrecognised(weights, origin, layout, expected))
    if expected is not None and recognised != expected:
        raise WeightsError(
            f"{origin} is {recognised.name}, you asked {expected.name or 'for another architecture'}; "
            f"ask for {recognised.name} or auto"
        )
    if expected_shapes(recognised, 1).keys() ^ weights.keys() == {"classifier.weight", "classifier.bias"}:
        raise WeightsError(
            f"{origin} is {recognised.name} without its classifier; save the network with one (in timm num_classes "
            "above 0)"
        )
    differences = _differences(weights, recognised)
    if differences:
        raise WeightsError(f"{origin} is {recognised.name}, but {differences}; copy or export the file again")
    return _loaded(weights, recognised, layout, origin)


def _layout(names: Collection[str], origin: str) -> Layout:
    layout = layout_of(names)
    if layout is None:
        if {name.partition(".")[0] for name in names} >= {"network", "average"}:
            raise WeightsError(f"{origin} is the checkpoint of a training; give best.safetensors beside it")
        first = ", ".join(sorted(names)[:3])  # safetensors tells them in another order each time
        raise WeightsError(f"{origin} holds no MnasNet: its first weights are {first}; give MnasNet weights")
    return layout


def recognise(weights: Mapping[str, NDArray[Any]], layout: Layout = "mnasnet") -> ArchitectureSpec | None:
    """The published design, at any width, that these weights (our names) belong to; None when there is none.

    Operators, kernels, repeats, expansions, gates and widths are read from names and shapes. Strides and skips
    leave no trace there, so they come from the design whose blocks are the same.
    """
    try:
        seen = _blocks_of(weights)
        stem, head = weights["stem.conv.weight"].shape[0], weights["head.conv.weight"].shape[0]
    except (KeyError, IndexError, ValueError):  # parts are missing, or have shapes that no block has
        return None
    for template in _TEMPLATES:
        if [_design(block) for block in template.blocks] == [_design(block) for block in seen]:
            blocks = tuple(
                replace(block, channels=found.channels) for block, found in zip(template.blocks, seen, strict=True)
            )
            spec = replace(template, blocks=blocks, stem_channels=stem, head_channels=head)
            return spec.named(_name_of(spec, template, layout))
    return None


def expected_shapes(spec: ArchitectureSpec, num_classes: int, in_channels: int = 3) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight and statistic of the network of ``spec``, in the network's order."""
    shapes = _conv_bn("stem", (spec.stem_channels, in_channels, 3, 3))
    for b, layers in enumerate(spec.layers()):
        for i, layer in enumerate(layers):
            shapes |= _layer_shapes(f"blocks.{b}.{i}", layer)
    shapes |= _conv_bn("head", (spec.head_channels, spec.blocks[-1].channels, 1, 1))
    return shapes | {"classifier.weight": (num_classes, spec.head_channels), "classifier.bias": (num_classes,)}


def safetensors_header(path: Path) -> Mapping[str, Any]:
    """What stands before the tensors of a safetensors file; empty where the file is none or cannot be read."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if 2 <= size <= _LARGEST_HEADER else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}


def _names_of_weights(header: Mapping[str, Any]) -> list[str]:
    names = [name for name in header if name != "__metadata__" and name.rpartition(".")[2] not in BOOKKEEPING]
    return [without_prefixes(name) for name in names]


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


def _loaded(weights: State, spec: ArchitectureSpec, layout: Layout, origin: str) -> LoadedWeights:
    num_classes, in_channels = _ends(weights)
    order = expected_shapes(spec, num_classes, in_channels)
    _log.info("%s: %s in %s layout, %d classes", origin, spec.name, layout, num_classes)
    return LoadedWeights({name: weights[name] for name in order}, spec, num_classes, in_channels, layout)


def _ends(weights: Mapping[str, NDArray[Any]]) -> tuple[int, int]:
    """Number of classes and of input channels; those of ImageNet where the weight itself is missing."""
    classifier, stem = weights.get("classifier.weight"), weights.get("stem.conv.weight")
    return (
        classifier.shape[0] if classifier is not None and classifier.ndim == 2 else 1000,
        stem.shape[1] if stem is not None and stem.ndim == 4 else 3,
    )


def _differences(weights: Mapping[str, NDArray[Any]], spec: ArchitectureSpec) -> str:
    """What keeps ``weights`` from fitting ``spec``, in one line; empty when they fit."""
    shapes = expected_shapes(spec, *_ends(weights))
    parts = []
    if missing := [name for name in shapes if name not in weights]:
        parts.append(_some("missing", missing))
    if extra := [name for name in weights if name not in shapes]:
        parts.append(_some("unknown", extra))
    wrong = [
        f"{name} {weights[name].shape} instead of {shape}"
        for name, shape in shapes.items()
        if name in weights and weights[name].shape != shape
    ]
    if wrong:
        parts.append(_some("of another shape", wrong))
    return "; ".join(parts)


def _some(what: str, names: list[str]) -> str:
    weights = "1 weight is" if len(names) == 1 else f"{len(names)} weights are"
    return f"{weights} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def _unrecognised(
    weights: Mapping[str, NDArray[Any]], origin: str, layout: Layout, expected: ArchitectureSpec | None
) -> str:
    if expected is not None:
        return (
            f"{origin} does not fit {expected.name or 'the architecture asked for'}: {_differences(weights, expected)}"
        )

    def distance(spec: ArchitectureSpec) -> int:
        return len(set(expected_shapes(spec, 1)) ^ set(weights))  # names do not depend on widths

    nearest = min(_TEMPLATES, key=distance)
    names = expected_shapes(nearest, 1)
    missing = [name for name in names if name not in weights]
    extra = [name for name in weights if name not in names]
    is_damaged = 0 < len(missing) <= len(names) // 3 and not any(name.startswith("blocks.") for name in extra)
    if is_damaged:
        parts = [_some(what, found) for what, found in (("missing", missing), ("unknown", extra)) if found]
        return f"{origin} looks like {nearest.name}, but {'; '.join(parts)}; copy or export the file again"
    return (
        f"{origin} has {layout} names but no published MnasNet's blocks (A1, B1, small), and shapes do not show "
        "strides and skips; give the model file that the search or training wrote"
    )


def _blocks_of(weights: Mapping[str, NDArray[Any]]) -> list[BlockSpec]:
    """The blocks as names and shapes show them; strides, skips and the exact gate width are not among that."""
    repeats: dict[int, int] = {}
    for name in weights:
        if match := re.match(r"blocks\.(\d+)\.(\d+)\.", name):
            block, layer = int(match[1]), int(match[2])
            repeats[block] = max(repeats.get(block, 0), layer + 1)
    return [_block_of(weights, f"blocks.{block}.0", repeats[block]) for block in range(len(repeats))]


def _block_of(weights: Mapping[str, NDArray[Any]], layer: str, repeats: int) -> BlockSpec:
    se_ratio = 0.25 if f"{layer}.se.reduce.weight" in weights else 0.0
    if f"{layer}.full.conv.weight" in weights:
        out, _, kernel, _ = weights[f"{layer}.full.conv.weight"].shape
        return BlockSpec("conv", out, kernel, repeats=repeats, se_ratio=se_ratio)
    kernel = weights[f"{layer}.depthwise.conv.weight"].shape[-1]
    out = weights[f"{layer}.project.conv.weight"].shape[0]
    if f"{layer}.expand.conv.weight" not in weights:
        return BlockSpec("separable", out, kernel, repeats=repeats, se_ratio=se_ratio)
    hidden, channels = weights[f"{layer}.expand.conv.weight"].shape[:2]
    return BlockSpec("inverted", out, kernel, repeats=repeats, expansion=hidden // channels, se_ratio=se_ratio)


def _design(block: BlockSpec) -> tuple[object, ...]:
    return block.operator, block.kernel, block.repeats, block.expansion, block.se_ratio


def _name_of(spec: ArchitectureSpec, template: ArchitectureSpec, layout: Layout) -> str:
    """The preset of the layout's library with these widths, else the design and its multiplier."""
    library = {"torchvision": "torchvision", "timm": "timm", "mnasnet": ""}[layout]
    equal = [name for name, preset in PRESETS.items() if preset == spec]
    own = [name for name in equal if library in PRESETS[name].source]
    if own or equal:
        return (own or equal)[0]
    for width in (*_USUAL_WIDTHS, *(percent / 100 for percent in range(10, 301, 5))):
        scaled = template.scaled(width)
        if scaled.blocks == spec.blocks and scaled.stem_channels == spec.stem_channels:
            return f"{template.name}_x{width:g}"
        # torchvision before 0.5 (state dict _version 1) scaled neither the stem nor the first block
        first = (template.blocks[0], *scaled.blocks[1:])
        if first == spec.blocks and template.stem_channels == spec.stem_channels:
            return f"{template.name}_x{width:g}_unscaled_stem"
    return f"{template.name}_custom"


def _layer_shapes(name: str, layer: LayerSpec) -> dict[str, tuple[int, ...]]:
    hidden, k = layer.hidden_channels, layer.kernel
    shapes: dict[str, tuple[int, ...]] = {}
    if layer.operator == "conv":
        shapes |= _conv_bn(f"{name}.full", (hidden, layer.in_channels, k, k))
    else:
        if layer.operator == "inverted":
            shapes |= _conv_bn(f"{name}.expand", (hidden, layer.in_channels, 1, 1))
        shapes |= _conv_bn(f"{name}.depthwise", (hidden, 1, k, k))
    if layer.se_channels:
        shapes |= _gate(f"{name}.se", hidden, layer.se_channels)
    if layer.operator != "conv":
        shapes |= _conv_bn(f"{name}.project", (layer.out_channels, hidden, 1, 1))
    return shapes


def _conv_bn(name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    leaves: Iterable[str] = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.conv.weight": shape} | {f"{name}.bn.{leaf}": shape[:1] for leaf in leaves}


def _gate(name: str, channels: int, reduced: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.reduce.weight": (reduced, channels, 1, 1),
        f"{name}.reduce.bias": (reduced,),
        f"{name}.restore.weight": (channels, reduced, 1, 1),
        f"{name}.restore.bias": (channels,),
    }
