"""``export``: a model as files of other runtimes, each run beside the original before it is kept."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mnasnet.classify import at_size
from mnasnet.commands.json_line import json_line
from mnasnet.commands.told import tell
from mnasnet.commands.values import a_path, folder_to_write
from mnasnet.data.folder import require_outside
from mnasnet.deploy.export import Exported, class_drops, export_int8, export_model
from mnasnet.errors import ExportError, MnasNetError
from mnasnet.export.exporter import EXPORTERS, MAX_DROP, require_int8
from mnasnet.modelfile import ModelFile
from mnasnet.zoo import model_path, open_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("model", metavar="MODEL", help="model or weights file, or a name that `models` lists")
    parser.add_argument("--to", default="onnx", metavar="FORMATS", help=f"any of {','.join(EXPORTERS)} (default onnx)")
    parser.add_argument(
        "--out", type=folder_to_write, default=Path("runs/export"), metavar="DIR", help="default: runs/export"
    )
    parser.add_argument("--class-file", type=a_path, help="class names, one a line, for weights that carry none")
    parser.add_argument("--input-size", type=int, metavar="PIXELS", help="default: the model's own")
    parser.add_argument(
        "--images",
        type=a_path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="photos to compare original and export on; default: built-in test pictures",
    )
    parser.add_argument("--pixels", action="store_true", help="put normalisation inside: the file takes RGB bytes")
    parser.add_argument("--softmax", action="store_true", help="put softmax inside: the file gives probabilities")
    parser.add_argument(
        "--int8", action="store_true", help="also each format in 8 bits, calibrated and judged on --data"
    )
    parser.add_argument("--data", type=a_path, metavar="DIR", help="folder of labelled images for --int8")
    parser.add_argument(
        "--max-drop", type=float, metavar="0..1", help=f"accuracy that int8 may cost (default {MAX_DROP})"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(arguments: argparse.Namespace) -> int:
    """Export and print what was found."""
    if arguments.max_drop is not None and not arguments.int8:
        raise ExportError(f"--max-drop {arguments.max_drop:g} is about 8 bits; give --int8 too, or leave it out")
    if arguments.int8 and arguments.data is None:
        raise ExportError("int8 is calibrated and judged on labelled images; give their folder with --data")
    model = _at_size(open_model(arguments.model, class_file=arguments.class_file), arguments.input_size)
    graph = {"pixels": arguments.pixels, "softmax": arguments.softmax, "file": model_path(arguments.model)}
    formats = [name.strip().lower() for name in arguments.to.split(",") if name.strip()]
    if not formats:
        raise ExportError(f"--to names one or more of {', '.join(EXPORTERS)}, got {arguments.to!r}")
    max_drop = MAX_DROP if arguments.max_drop is None else arguments.max_drop
    if arguments.int8:
        require_int8(formats, max_drop)
    images = arguments.images or ([arguments.data] if arguments.data else [])
    for folder in (path for path in (*images, arguments.data) if path is not None and path.is_dir()):
        require_outside(arguments.out, folder, setting="--out")
    done: list[Exported] = []

    def kept(one: Exported) -> None:  # at once: what is written stays, also when a later one fails
        done.append(one)
        if not arguments.json:
            tell(lines_of(one))

    try:
        export_model(model, arguments.out, formats, images=images, kept=kept, **graph)
        if arguments.int8:
            export_int8(model, arguments.out, arguments.data, formats, max_drop=max_drop, kept=kept, **graph)
    except MnasNetError as error:
        error.done = _as_json(done)
        raise
    if arguments.json:
        print(json_line(_as_json(done)))
    return 0


def _at_size(model: ModelFile, input_size: int | None) -> ModelFile:
    """``model`` for another input size, without the accuracies that do not hold there."""
    sized = at_size(model, input_size)
    if sized.preprocess.input_size == model.preprocess.input_size:
        return sized
    hold = {
        key: value for key, value in model.metrics.items() if key.startswith("accuracy_at_") or key == "test_images"
    }
    return replace(sized, metrics=hold)


def _as_json(done: Sequence[Exported]) -> dict[str, object]:
    return {"exports": [one.to_dict() for one in done]}


def lines_of(one: Exported) -> list[str]:
    """What people read of one export."""
    lines = [
        f"{one.files[0]}  {one.format} {one.precision}, {one.size_bytes / 1e6:.2f} MB",
        f"  {one.parity.sentence}",
    ]
    if one.before and one.after:
        lines.append(
            f"  accuracy {one.before.accuracy:.1%} before, {one.after.accuracy:.1%} after, {one.before.images} images"
        )
        lines += _cost_lines(one)
        drops = list(class_drops(one.before, one.after).items())[:5]
        if drops:
            lines.append("  recall lost: " + ", ".join(f"{name} {100 * drop:.1f} points" for name, drop in drops))
    return lines


def _cost_lines(one: Exported) -> list[str]:
    if one.float_twin is None or one.cost is None:
        return []
    old, new = one.float_twin, one.cost
    busy = "" if old.latency.quiet and new.latency.quiet else ", the machine was busy"
    sizes = f"{old.size_bytes / 1e6:.2f} MB of float32 become {new.size_bytes / 1e6:.2f} MB"
    times = f"{old.latency.undisturbed_ms:.2f} ms become {new.latency.undisturbed_ms:.2f} ms"
    return [f"  {sizes}, {times} ({new.latency.runtime}, one thread{busy})"]
