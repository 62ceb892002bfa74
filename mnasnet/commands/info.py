"""``info``: what a model file or an exported file holds, and a published network without its weights."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from mnasnet.commands.json_line import json_line
from mnasnet.commands.values import a_path
from mnasnet.errors import LatencyError
from mnasnet.export.exported import ExportedModel
from mnasnet.modelfile import header_of
from mnasnet.network.count import count
from mnasnet.network.download import IMAGENET_CLASSES
from mnasnet.preprocess import Preprocess
from mnasnet.spec import ArchitectureSpec
from mnasnet.words import amount, printable
from mnasnet.zoo import known_without_weights, open_runnable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("model", help="a model, weights or exported file, or a name that `models` lists")
    parser.add_argument("--class-file", type=a_path, help="class names, one a line, for weights that carry none")
    parser.add_argument("--json", action="store_true", help="the whole header as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print network, classes, preprocessing, metrics, training and latencies; nothing is downloaded for it."""
    known = known_without_weights(arguments.model, class_file=arguments.class_file)
    if known is not None:
        where = f"not downloaded yet; classify --model {known['name']} does" if known["metrics"] else "none published"
        return _tell(known, "weights", {"weights": where}, as_json=arguments.json)
    model = open_runnable(arguments.model, class_file=arguments.class_file, numbered=True)
    identity: dict[str, str]
    if isinstance(model, ExportedModel):
        title, header = "file", {**model.header, "class_names": list(model.class_names)}
        identity = {
            "format": model.format,
            "precision": model.precision,
            "takes": "RGB bytes" if model.takes_pixels else "normalised numbers",
            "gives": "probabilities" if model.gives_probabilities else "scores",
        }
    else:
        title, header, identity = "weights", header_of(model), {"fingerprint": model.fingerprint}
    return _tell(header, title, identity, as_json=arguments.json)


def _tell(header: Mapping[str, Any], title: str, identity: Mapping[str, str], *, as_json: bool) -> int:
    if as_json:
        print(json_line({**header, **identity}))
        return 0
    spec = ArchitectureSpec.from_dict(header["architecture"])
    recipe, names = Preprocess.from_dict(header["preprocess"]), header["class_names"]
    size = recipe.input_size
    counts = count(spec, size, len(names) or IMAGENET_CLASSES, header["in_channels"])
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    lines = [
        f"network      {spec.name or header['name']} ({spec.fingerprint})",
        f"             {counts.parameters:,} parameters, {counts.multiply_adds / 1e6:.1f} M multiply-adds at {size} px",
        f"classes      {len(names)}: {shown}" if names else f"classes      {IMAGENET_CLASSES} are counted here",
        f"input        {size} x {size} px, {recipe.crop} crop from {recipe.resize}, {recipe.interpolation}",
    ]
    for part in ("metrics", "training"):
        for index, (key, value) in enumerate(header[part].items()):
            if key == "images_sketch" and isinstance(value, dict):
                value = f"hashes of {amount(len(value), 'training image')}"
            lines.append(f"{part if index == 0 else '':13}{key}: {_plain(value)}")
    if "int8_ranges" in header:
        lines.append(
            f"int8         {len(header['int8_ranges'])} ranges of activations, learned by quantization-aware training"
        )
    for card in header["latencies"]:
        lines.append(f"latency      {_sentence(card)}")
    lines.append(f"{title:13}{_identity(identity)}")
    print("\n".join(map(printable, lines)))  # a header comes from whoever made the file
    return 0


def _plain(value: object) -> str:
    """``value`` as people write it: without braces, and of a float the digits that mean something."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(one)}" for key, one in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _identity(told: Mapping[str, str]) -> str:
    """A fingerprint as it is; of an exported file the format and what a program of one's own has to know."""
    if "format" not in told:
        return next(iter(told.values()))
    return f"{told['format']} {told['precision']}, takes {told['takes']}, gives {told['gives']}"


def _sentence(card: Mapping[str, Any]) -> str:
    from mnasnet.latency.meter import Latency

    try:
        return Latency.from_dict(card).sentence
    except LatencyError:  # written by another version
        return ", ".join(f"{key} {value}" for key, value in card.items())
