"""Small real things for tests, ours and those of extensions: networks with random weights, folders of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mnasnet.modelfile import ModelFile, weights_of
from mnasnet.preprocess import Preprocess
from mnasnet.spec import ArchitectureSpec, BlockSpec

TINY = ArchitectureSpec(
    name="tiny",
    stem_channels=8,
    head_channels=32,
    blocks=(
        BlockSpec("separable", 8, skip="none"),
        BlockSpec("inverted", 16, stride=2, repeats=2, expansion=3, se_ratio=0.25),
        BlockSpec("inverted", 24, kernel=5, stride=2, expansion=3, skip="pool"),
        BlockSpec("conv", 24, stride=2, repeats=2),
    ),
)


def random_model(
    spec: ArchitectureSpec = TINY,
    class_names: Sequence[str] = ("cat", "dog", "ship"),
    *,
    input_size: int = 64,
    in_channels: int = 3,
    seed: int = 0,
) -> ModelFile:
    """A model with random weights whose batch statistics are random too, so that each of them matters."""
    import torch

    from mnasnet.network.build import build
    from mnasnet.network.seeded import seeded

    with seeded(seed):
        network = build(spec, len(class_names), in_channels)
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
                    module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_(0, 0.1)
    return ModelFile(
        architecture=spec,
        weights=weights_of(network),
        class_names=tuple(class_names),
        preprocess=Preprocess(input_size, input_size),
        in_channels=in_channels,
        name=spec.name,
    )


def coloured_image(colour: tuple[int, int, int], *, width: int = 80, height: int = 60, seed: int = 0) -> Image.Image:
    """A noisy picture of one colour, so that a network can learn to tell colours apart."""
    noise = np.random.default_rng(seed).integers(-40, 41, (height, width, 3))
    return Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8))


def write_image_folder(
    folder: Path,
    *,
    colours: dict[str, tuple[int, int, int]] | None = None,
    per_class: int = 6,
    splits: Sequence[str] = ("",),
) -> Path:
    """A dataset of coloured images: ``folder[/split]/class/NNN.jpg``; returns ``folder``."""
    colours = colours or {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}
    for split_index, split in enumerate(splits):
        for class_index, (name, colour) in enumerate(colours.items()):
            target = folder / split / name
            target.mkdir(parents=True, exist_ok=True)
            for index in range(per_class):
                seed = (split_index * 100 + class_index) * 10_000 + index
                coloured_image(colour, seed=seed).save(target / f"{index:03d}.jpg", quality=90)
    return folder
