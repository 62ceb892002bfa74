"""``info``: what a model file holds."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnasnet.errors import LatencyError
from mnasnet.modelfile import header_of
from mnasnet.network.count import count
from mnasnet.zoo import open_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("model", help="a model or weights file, or a name that `models` lists")
    parser.add_argument("--class-file", type=Path, help="class names, one a line, for weights that carry none")
    parser.add_argument("--json", action="store_true", help="the whole header as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print network, classes, preprocessing, metrics, training and latencies."""
    model = open_model(arguments.model, class_file=arguments.class_file)
    size = model.preprocess.input_size
    counts = count(model.architecture, size, len(model.class_names), model.in_channels)
    if arguments.json:
        print(json.dumps({**header_of(model), "fingerprint": model.fingerprint}, ensure_ascii=False))
        return 0
    names = ", ".join(model.class_names[:12]) + (", ..." if len(model.class_names) > 12 else "")
    recipe = model.preprocess
    print(f"network      {model.architecture.name or model.name} ({model.architecture.fingerprint})")
    print(
        f"             {counts.parameters:,} parameters, {counts.multiply_adds / 1e6:.1f} M multiply-adds at {size} px"
    )
    print(f"classes      {len(model.class_names)}: {names}")
    print(f"input        {size} x {size} px, {recipe.crop} crop from {recipe.resize}, {recipe.interpolation}")
    for title, values in (("metrics", model.metrics), ("training", model.training)):
        for index, (key, value) in enumerate(values.items()):
            print(f"{title if index == 0 else '':13}{key}: {value}")
    if model.int8_ranges:
        print(f"int8         {len(model.int8_ranges)} ranges of activations, learned by quantization-aware training")
    for card in model.latencies:
        print(f"latency      {_sentence(card)}")
    print(f"weights      {model.fingerprint}")
    return 0


def _sentence(card: Mapping[str, Any]) -> str:
    from mnasnet.latency.meter import Latency

    try:
        return Latency.from_dict(card).sentence
    except LatencyError:  # written by another version
        return ", ".join(f"{key} {value}" for key, value in card.items())
