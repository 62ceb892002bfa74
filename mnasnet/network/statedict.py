"""A network's weights as a torch state dict: under the names that torchvision or timm have for it, where they do."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnasnet.network.naming import Layout, from_our_names
from mnasnet.network.shapes import recognise
from mnasnet.network.weights_file import STATE_HEADER
from mnasnet.presets import MNASNET_B1
from mnasnet.spec import ArchitectureSpec

if TYPE_CHECKING:
    from torch import Tensor

_VERSION = 2  # of torchvision's MNASNet, which refuses weights that do not tell theirs


def library_of(weights: Mapping[str, NDArray[Any]]) -> Layout:
    """Whose network these weights (our names) fit: B1 at any width is torchvision's, A1 and small are timm's."""
    spec = recognise(weights)
    if spec is None:
        return "mnasnet"
    return "torchvision" if _without_widths(spec) == _without_widths(MNASNET_B1) else "timm"


def state_dict_of(weights: Mapping[str, NDArray[np.float32]], header: str) -> OrderedDict[str, Tensor]:
    """A state dict that ``load_state_dict`` of the library's own network takes as it stands.

    ``header`` travels in the attribute where torch keeps the versions of modules, so that nothing else is needed to
    classify with the file.
    """
    import torch

    names = from_our_names(weights, library_of(weights))
    state: OrderedDict[str, Tensor] = OrderedDict()
    for name, value in weights.items():
        state[names[name]] = torch.from_numpy(np.array(value))
        if name.endswith("running_var"):  # torch's own state dicts count the batches behind it
            state[names[name].replace("running_var", "num_batches_tracked")] = torch.zeros((), dtype=torch.int64)
    state._metadata = OrderedDict({"": {"version": _VERSION}, STATE_HEADER: {"header": header}})  # type: ignore[attr-defined]
    return state


def _without_widths(spec: ArchitectureSpec) -> list[object]:
    return [replace(block, channels=1) for block in spec.blocks]
