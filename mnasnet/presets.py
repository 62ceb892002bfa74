"""The published networks as data, each with the source of its numbers."""

from __future__ import annotations

import difflib

from mnasnet.errors import SpecError
from mnasnet.spec import ArchitectureSpec, BlockSpec

_OFFICIAL = "block strings of tensorflow/tpu, models/official/mnasnet/mnasnet_models.py; arXiv 1807.11626"

MNASNET_A1 = ArchitectureSpec(
    name="mnasnet_a1",
    source=f"{_OFFICIAL}, figure 7",
    blocks=(
        BlockSpec("separable", 16, skip="none"),
        BlockSpec("inverted", 24, stride=2, repeats=2, expansion=6),
        BlockSpec("inverted", 40, kernel=5, stride=2, repeats=3, expansion=3, se_ratio=0.25),
        BlockSpec("inverted", 80, stride=2, repeats=4, expansion=6),
        BlockSpec("inverted", 112, repeats=2, expansion=6, se_ratio=0.25),
        BlockSpec("inverted", 160, kernel=5, stride=2, repeats=3, expansion=6, se_ratio=0.25),
        BlockSpec("inverted", 320, expansion=6),
    ),
)

MNASNET_B1 = ArchitectureSpec(
    name="mnasnet_b1",
    source=f"{_OFFICIAL}, table 2",
    blocks=(
        BlockSpec("separable", 16, skip="none"),
        BlockSpec("inverted", 24, stride=2, repeats=3, expansion=3),
        BlockSpec("inverted", 40, kernel=5, stride=2, repeats=3, expansion=3),
        BlockSpec("inverted", 80, kernel=5, stride=2, repeats=3, expansion=6),
        BlockSpec("inverted", 96, repeats=2, expansion=6),
        BlockSpec("inverted", 192, kernel=5, stride=2, repeats=4, expansion=6),
        BlockSpec("inverted", 320, expansion=6, skip="none"),
    ),
)

MNASNET_SMALL = ArchitectureSpec(
    name="mnasnet_small",
    source=f"{_OFFICIAL}, table 4 (search 2)",
    stem_channels=8,
    blocks=(
        # 8 channels come and go, so timm, whose weights are the published ones, adds the input here
        BlockSpec("separable", 8),
        BlockSpec("inverted", 16, stride=2, expansion=3),
        BlockSpec("inverted", 16, stride=2, repeats=2, expansion=6),
        BlockSpec("inverted", 32, kernel=5, stride=2, repeats=4, expansion=6, se_ratio=0.25),
        BlockSpec("inverted", 32, repeats=3, expansion=6, se_ratio=0.25),
        BlockSpec("inverted", 88, kernel=5, stride=2, repeats=3, expansion=6, se_ratio=0.25),
        BlockSpec("inverted", 144, expansion=6),
    ),
)

#: what the paper's first figure compares with, no preset; its ReLU6 is ReLU here, so that only the design counts
MOBILENET_V2 = ArchitectureSpec(
    name="mobilenet_v2",
    source="arXiv 1801.04381, table 2",
    blocks=(
        BlockSpec("separable", 16),
        BlockSpec("inverted", 24, stride=2, repeats=2, expansion=6),
        BlockSpec("inverted", 32, stride=2, repeats=3, expansion=6),
        BlockSpec("inverted", 64, stride=2, repeats=4, expansion=6),
        BlockSpec("inverted", 96, repeats=3, expansion=6),
        BlockSpec("inverted", 160, stride=2, repeats=3, expansion=6),
        BlockSpec("inverted", 320, expansion=6),
    ),
)

_TORCHVISION = "torchvision/models/mnasnet.py (B1)"
_TIMM = "timm/models/efficientnet.py"

PRESETS: dict[str, ArchitectureSpec] = {
    spec.name: spec
    for spec in (
        MNASNET_A1,
        MNASNET_B1,
        MNASNET_SMALL,
        MNASNET_B1.scaled(0.5).named("mnasnet0_5", _TORCHVISION),
        MNASNET_B1.scaled(0.75).named("mnasnet0_75", _TORCHVISION),
        MNASNET_B1.named("mnasnet1_0", _TORCHVISION),
        MNASNET_B1.scaled(1.3).named("mnasnet1_3", _TORCHVISION),
        MNASNET_B1.scaled(0.5).named("mnasnet_050", f"{_TIMM} (B1)"),
        MNASNET_B1.scaled(0.75).named("mnasnet_075", f"{_TIMM} (B1)"),
        MNASNET_B1.named("mnasnet_100", f"{_TIMM} (B1)"),
        MNASNET_B1.scaled(1.4).named("mnasnet_140", f"{_TIMM} (B1)"),
        MNASNET_A1.scaled(0.5).named("semnasnet_050", f"{_TIMM} (A1)"),
        MNASNET_A1.scaled(0.75).named("semnasnet_075", f"{_TIMM} (A1)"),
        MNASNET_A1.named("semnasnet_100", f"{_TIMM} (A1)"),
        MNASNET_A1.scaled(1.4).named("semnasnet_140", f"{_TIMM} (A1)"),
    )
}


#: the networks whose ImageNet weights can be downloaded, see mnasnet.network.download.PUBLISHED
WITH_WEIGHTS = (
    "mnasnet0_5",
    "mnasnet0_75",
    "mnasnet1_0",
    "mnasnet1_3",
    "mnasnet_100",
    "semnasnet_100",
    "semnasnet_075",
    "mnasnet_small",
)


def architecture(name: str, width: float = 1.0) -> ArchitectureSpec:
    """The published network called ``name``, its width multiplied by ``width``.

    Raises SpecError with the nearest names when ``name`` is unknown.
    """
    if not isinstance(name, str):
        raise SpecError(f"a published network is called by a name such as mnasnet_a1, got {name!r:.80}")
    spec = PRESETS.get(name) or PRESETS.get(name.lower().replace("-", "_"))  # the papers write MnasNet-A1
    if spec is None:
        near = difflib.get_close_matches(name, PRESETS, n=3, cutoff=0.5) or list(PRESETS)
        raise SpecError(f"no network is called {name!r}; did you mean {', '.join(near)}?")
    return spec if width == 1.0 else spec.scaled(width).named(f"{name}_x{width:g}")
