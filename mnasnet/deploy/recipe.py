"""``preprocess.md``: how an image becomes an exported file's input, with code that runs as it stands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mnasnet.export.executorch import MOST_IMAGES
from mnasnet.export.exported import ExportedModel


def recipe_markdown(model: ExportedModel, path: Path) -> str:
    """The recipe for the file ``path`` in words and as a Python program that takes an image's path."""
    own = model.preprocess
    steps = [
        (
            "Decode the image to 8-bit RGB (16 bits divided by 257), turned upright as its EXIF orientation says, what "
            "is transparent over white; a JPEG at a half, a quarter or an eighth of its size where both sides keep "
            f"{2 * own.resize} pixels or more."
        ),
        (
            f"Resize the short side to {own.resize} pixels ({own.interpolation}, antialiased as Pillow does) and keep "
            f"the middle {own.input_size} x {own.input_size}."
            if own.crop == "center"
            else f"Resize to {own.input_size} x {own.input_size} ({own.interpolation}, antialiased as Pillow does), "
            "without keeping the proportions."
        ),
    ]
    if model.takes_pixels:
        steps.append(f"Pass the bytes as they are: `images`, N x {own.input_size} x {own.input_size} x 3 uint8, RGB.")
        steps.append("Do not divide or normalise: the graph does.")
    else:
        steps.append(f"Divide by 255, subtract the mean {list(own.mean)} and divide by {list(own.std)}, per channel.")
        order = "last" if model.format == "litert" else "first"
        shape = "{0} x {0} x 3" if order == "last" else "3 x {0} x {0}"
        steps.append(f"Channels {order}: `images`, N x {shape.format(own.input_size)} float32.")
    if model.gives_probabilities:
        steps.append("`probabilities` sum to 1. Do not apply softmax again.")
    else:
        steps.append("`logits` are scores; softmax makes probabilities of them.")
    numbered = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, start=1))
    names = "\n".join(f"{number}. {_markdown(name)}" for number, name in enumerate(model.class_names))
    return (
        f"# How to feed `{path.name}`\n\n{numbered}\n\n"
        f"{_batch_and_header(model)}\n\n## Python\n\n"
        f"Needs numpy, Pillow 11 or newer and {_ENGINES[model.format].package}. {_ROUNDING}\n\n"
        f"```python\n{snippet(model, path)}```\n\n## Classes\n\nIn the order of the output:\n\n{names}\n"
    )


def _batch_and_header(model: ExportedModel) -> str:
    if model.format == "executorch":
        return (
            f"The batch size N is free up to {MOST_IMAGES}. The program's method `mnasnet` gives class names and these "
            "numbers too, as JSON."
        )
    return (
        "The batch size N is free. The file's metadata has class names and these numbers too, as JSON under the key "
        "`mnasnet`."
    )


def snippet(model: ExportedModel, path: Path) -> str:
    """A program that prints the label and probability of the image named on its command line."""
    own = model.preprocess
    parts = {
        "import": _ENGINES[model.format].opening,
        "crop": _CENTRE if own.crop == "center" else _SQUASH,
        "feed": _PIXELS if model.takes_pixels else _NORMALISED,
        "engine": _ENGINES[model.format].call,
        "result": _PROBABILITIES if model.gives_probabilities else _LOGITS,
    }
    values = {
        "names": repr(list(model.class_names)),
        "size": str(own.input_size),
        "resize": str(own.resize),
        "filter": own.interpolation.upper(),
        "planes": "images" if model.format == "litert" else "images.transpose(2, 0, 1)",
        "mean": repr(list(own.mean)),
        "std": repr(list(own.std)),
        "file": repr(path.name),
    }
    return _filled(_filled(_PROGRAM, parts), values)


def _filled(program: str, values: Mapping[str, str]) -> str:
    """``program`` with its holes filled in one pass: what comes from a model file is never read for holes itself."""
    return re.sub(r"<(\w+)>", lambda hole: values.get(hole[1], hole[0]), program)


_ROUNDING = (
    "`classify` of the package mnasnet does the same and rounds in another order than Pillow, so single pixels differ "
    "by a step or two (bicubic: by more at sharp edges) and probabilities a little."
)

_PROGRAM = """\
import sys

import numpy as np
<import>
from PIL import Image, ImageOps

names = <names>

photo = Image.open(sys.argv[1])
photo.draft(None, (2 * <resize>, 2 * <resize>))  # JPEG alone can be decoded smaller; others stay as they are
image = ImageOps.exif_transpose(photo)
if image.mode in ("I", "F"):
    sys.exit(f"{sys.argv[1]} opens with 32 bits a pixel, of no known range; save it as a PNG of 8 or 16")
if image.mode.startswith("I;16"):  # 16-bit grey
    image = Image.fromarray(((np.asarray(image).astype(int) + 128) // 257).astype(np.uint8))
image = image.convert("RGBA")
image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
width, height = image.size
<crop>
pixels = np.asarray(image.resize((<size>, <size>), Image.Resampling.<filter>, box=box))
<feed>
<engine>
<result>
best = probabilities[0].argmax()
print(names[best], round(float(probabilities[0, best]), 4))
"""

_CENTRE = """\
short = min(width, height)
whole_width, whole_height = int(<resize> * width / short), int(<resize> * height / short)
left, top = round((whole_width - <size>) / 2), round((whole_height - <size>) / 2)
x, y = width / whole_width, height / whole_height
box = (left * x, top * y, (left + <size>) * x, (top + <size>) * y)  # the middle square, in the image's own pixels"""
_SQUASH = "box = (0, 0, width, height)"
_PIXELS = "images = pixels[np.newaxis]"
_NORMALISED = """\
images = (pixels / 255 - <mean>) / <std>
images = <planes>[np.newaxis].astype(np.float32)"""
_ONNX = """\
session = onnxruntime.InferenceSession(<file>)
(output,) = session.run(None, {"images": images})"""
_OPENVINO = """\
# without the hint OpenVINO rounds to 16 bits by itself where the processor can
network = openvino.Core().compile_model(<file>, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
output = network(images)[0]"""
_LITERT = """\
network = Interpreter(<file>)
source, result = network.get_input_details()[0]["index"], network.get_output_details()[0]["index"]
network.allocate_tensors()
network.set_tensor(source, images)
network.invoke()
output = network.get_tensor(result)"""
_EXECUTORCH = """\
program = Runtime.get().load_program(<file>)  # a name of its own, which must live as long as its method
forward = program.load_method("forward")
output = forward.execute([torch.from_numpy(images.copy())])[0].numpy()"""
_QUIET_ONNX = """\
import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before the import; else it reports to its maker
import onnxruntime"""
_QUIET_OPENVINO = """\
sys.modules.setdefault("openvino_telemetry", None)  # before the import; else it reports to its maker
import openvino"""
_LOGITS = """\
scores = np.exp(output - output.max(axis=1, keepdims=True))
probabilities = scores / scores.sum(axis=1, keepdims=True)"""
_PROBABILITIES = "probabilities = output"


@dataclass(frozen=True)
class _Engine:
    """What the program needs of one format: the package that pip installs, the import and the call."""

    package: str
    opening: str
    call: str


_ENGINES = {
    "onnx": _Engine("onnxruntime", _QUIET_ONNX, _ONNX),
    "openvino": _Engine("openvino", _QUIET_OPENVINO, _OPENVINO),
    "executorch": _Engine("executorch and torch", "import torch\nfrom executorch.runtime import Runtime", _EXECUTORCH),
    "litert": _Engine("ai-edge-litert", "from ai_edge_litert.interpreter import Interpreter", _LITERT),
}


def _markdown(name: str) -> str:
    """A class name that Markdown shows as it is."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>()#+-.!|&" else sign for sign in name)
