"""The settings of the inference task."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from mnasnet.errors import SettingsError
from mnasnet.files import expanded, is_file
from mnasnet.preprocess import MAX_INPUT_SIZE, MIN_INPUT_SIZE
from mnasnet.presets import WITH_WEIGHTS
from mnasnet.settings.model import BUNDLED_MODELS, TRUTH, InputSize, NameWithWeights, Settings, setting

_log = logging.getLogger(__name__)


class InferSettings(Settings):
    """Settings of the inference task, `infer_torchvision_mnasnet`."""

    model_name: NameWithWeights = setting(
        "auto",
        "Network and weights: `auto` or `photos10` is the bundled model, which needs no download; any other name takes "
        "published ImageNet weights (downloaded once). Ignored where `model_weight_file` is set.",
        rule=f"one of {', '.join((*BUNDLED_MODELS, *WITH_WEIGHTS))}",
        suggestions=(*BUNDLED_MODELS, *WITH_WEIGHTS),
    )
    model_weight_file: str = setting(
        "",
        "Your own model: a file of the training or search task (class names are inside), or any `.safetensors` or "
        "`.pth` weights of a MnasNet. Architecture and width are recognised.",
        old_names=("model_path",),
        path="file",
    )
    class_file: str = setting(
        "",
        "Text file with one class name a line, UTF-8. Needed only where the weights carry no class names and no "
        "`classes.txt` lies beside them.",
        old_names=("classes_path",),
        path="file",
    )
    input_size: InputSize = setting(
        0,
        f"Side of the network's square input in pixels, {MIN_INPUT_SIZE} to {MAX_INPUT_SIZE}. `0` or `auto` is the "
        "size the model was trained at.",
        rule=f"0 (the model's own size) or a whole number from {MIN_INPUT_SIZE} to {MAX_INPUT_SIZE}",
        unset="auto",
        ge=0,
        le=MAX_INPUT_SIZE,
    )
    top_k: int = setting(5, "Number of most likely classes to report and draw, 1 to 1000.", ge=1, le=1000)
    confidence_threshold: float = setting(
        0.0, 'A best class less sure than this, 0 to 1, is reported as "unknown".', ge=0.0, le=1.0
    )
    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", "Where the network runs; `auto` takes an NVIDIA GPU where one answers."
    )
    label_style: Literal["plate", "outline", "none"] = setting(
        "plate", "How labels are drawn: on a dark plate, as outlined letters, or not at all."
    )
    draw_on_image: bool = setting(
        False,
        "Draw labels into the output image itself, for saved videos and later tasks; without it the output image stays "
        "as it came and labels are graphics over it.",
        advanced=True,
    )
    runtime: Literal["auto", "torch", "onnxruntime", "openvino", "litert", "executorch"] = setting(
        "auto", "Inference engine; `auto` takes the fastest exact one that is installed.", advanced=True
    )
    precision: Literal["fp32", "bf16"] = setting(
        "fp32", "Arithmetic of the network; `bf16` is faster on some processors and slightly less exact.", advanced=True
    )

    RETIRED: ClassVar[Mapping[str, str]] = {
        "dataset": "`ImageNet` is `model_name` mnasnet1_0 and no `model_path`; `Custom` needs no parameter any more",
        "cuda": "`False` is `device` cpu; `True` is `device` auto",
    }

    @classmethod
    def translated(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Replace ``dataset`` and ``cuda`` of release 2, and its only network, which was called ``mnasnet``."""
        if values.get("model_name") == "mnasnet":
            values["model_name"] = "mnasnet1_0"
        dataset, cuda = values.pop("dataset", ""), values.pop("cuda", "")
        if dataset not in ("", "ImageNet", "Custom"):
            raise SettingsError(f"dataset must be ImageNet or Custom, got {dataset!r}; today set model_name instead")
        if dataset == "ImageNet":
            left_over = values.pop("model_path", "")  # release 2 read it with Custom alone, and its form stored this
            if left_over not in ("", "Not used"):
                _log.warning(
                    "dataset ImageNet takes no file, so model_path %s is not used; leave dataset out", left_over
                )
            if not values.get("model_weight_file"):
                values.setdefault("model_name", "mnasnet1_0")
                values["model_weight_file"] = ""
                # the class file that STUDIO stored lay in a plugin of that time; these weights carry their names
                class_file = values.pop("classes_path", "") or values.get("class_file") or ""
                values["class_file"] = class_file if is_file(expanded(str(class_file))) else ""
        if cuda != "":
            wanted = TRUTH.get(str(cuda).strip().lower())
            if wanted is None:
                raise SettingsError(f"cuda must be True or False, got {cuda!r}; today set device instead")
            values.setdefault("device", "auto" if wanted else "cpu")
        return values
