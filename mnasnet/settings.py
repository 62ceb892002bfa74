"""Settings of the three tasks: one model each for workflow text, Qt form, command line and documentation.

A value may arrive typed or as text, since an Ikomia workflow carries nothing but text. Names of earlier releases
are translated here and nowhere else.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

import annotated_types
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from mnasnet.errors import SettingsError
from mnasnet.preprocess import MIN_INPUT_SIZE
from mnasnet.presets import PRESETS

BUNDLED_MODELS = ("auto", "photos10")
MAX_INPUT_SIZE = 2048

_Settings = TypeVar("_Settings", bound="Settings")


def setting(
    default: Any,
    meaning: str,
    *,
    old_names: tuple[str, ...] = (),
    advanced: bool = False,
    rule: str = "",
    suggestions: tuple[str, ...] = (),
    path: Literal["", "file", "folder"] = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
) -> Any:
    """One parameter: its default, what it means, the names it had before and where it belongs in a form.

    ``rule`` replaces the rule that is derived from type and bounds in error messages and documentation;
    ``suggestions`` are the values a form offers where others are valid too; ``path`` asks a form for a browse button.
    """
    extra: dict[str, Any] = {
        "old_names": list(old_names),
        "advanced": advanced,
        "rule": rule,
        "suggestions": list(suggestions),
        "path": path,
    }
    return Field(default, description=meaning, ge=ge, gt=gt, le=le, json_schema_extra=extra)


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a form, a help text or a table needs to know of one setting.

    ``kind`` is int, float, bool or str; ``choices`` is empty where the value is free; bounds are inclusive.
    """

    name: str
    kind: type
    default: Any
    help: str
    rule: str
    old_names: tuple[str, ...]
    advanced: bool
    optional: bool
    choices: tuple[str, ...]
    suggestions: tuple[str, ...]
    path: str
    minimum: float | None
    maximum: float | None


class Settings(BaseModel):
    """Base of every settings model: frozen, equal by value, complete in itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, protected_namespaces=())

    #: names that no longer exist as a setting but are still understood by ``translated``, with what they mean now
    RETIRED: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def translated(cls, values: dict[str, Any]) -> dict[str, Any]:
        """``values`` with the names in ``RETIRED`` replaced by today's settings; a model that has some overrides it."""
        return values

    @classmethod
    def parse(cls: type[_Settings], values: Mapping[str, Any]) -> _Settings:
        """Settings from typed or text ``values``; what is not given keeps its default.

        Raises SettingsError naming every wrong parameter, its rule and the value received.
        """
        return cls._validated(cls._current_names(values))

    def changed(self: _Settings, values: Mapping[str, Any]) -> _Settings:
        """These settings with ``values`` in place; raises SettingsError and leaves these as they are."""
        return self._validated({**self.model_dump(), **self._current_names(values)})

    def to_text(self) -> dict[str, str]:
        """Every parameter as text that :meth:`parse` reads back; no value is the empty text."""
        return {name: _to_text(value) for name, value in self.model_dump().items()}

    @classmethod
    def parameters(cls) -> tuple[Parameter, ...]:
        """All parameters in the order in which they are declared."""
        return tuple(_parameter(name, field) for name, field in cls.model_fields.items())

    @classmethod
    def old_names(cls) -> dict[str, str]:
        """Names of earlier releases that are still accepted -> what they are today."""
        renamed = {old: parameter.name for parameter in cls.parameters() for old in parameter.old_names}
        return {**renamed, **cls.RETIRED}

    @classmethod
    def _validated(cls: type[_Settings], values: Mapping[str, Any]) -> _Settings:
        try:
            return cls.model_validate({name: _readable(cls.model_fields[name], values[name]) for name in values})
        except ValidationError as error:
            raise SettingsError("; ".join(_complaints(cls, error))) from None

    @classmethod
    def _current_names(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """``values`` under today's names; raises SettingsError for a name never used or given twice."""
        renamed = {old: parameter.name for parameter in cls.parameters() for old in parameter.old_names}
        known = [*cls.model_fields, *renamed, *cls.RETIRED]
        unknown = [name for name in values if name not in known]
        if unknown:
            raise SettingsError(_unknown_names(unknown, known, list(cls.model_fields)))
        current: dict[str, Any] = {}
        for name, value in cls.translated(dict(values)).items():
            today = renamed.get(name, name)
            if today in current and _to_text(current[today]) != _to_text(value):
                raise SettingsError(
                    f"{today} was given twice, also under its old name: {current[today]!r} and {value!r}; keep one"
                )
            current[today] = value
        return current


def markdown_table(settings: type[Settings]) -> str:
    """The parameters of ``settings`` as a Markdown table, for a README."""
    lines = ["| Parameter | Type | Default | Meaning |", "| --- | --- | --- | --- |"]
    for parameter, default in zip(settings.parameters(), settings().to_text().values(), strict=True):
        meaning = parameter.help
        if parameter.choices:
            meaning += f" One of {', '.join(f'`{choice}`' for choice in parameter.choices)}."
        kind = "path" if parameter.path else parameter.kind.__name__
        lines.append(f"| **{parameter.name}** | {kind} | `'{default}'` | {meaning} |")
    return "\n".join(lines)


def markdown_old_names(settings: type[Settings]) -> str:
    """The names of earlier releases as a Markdown table, for a README."""
    lines = ["| Old name | Today |", "| --- | --- |"]
    for old, today in settings.old_names().items():
        lines.append(f"| {old} | {f'`{today}`' if today in settings.model_fields else today} |")
    return "\n".join(lines)


def _model_name(value: str) -> str:
    known = (*BUNDLED_MODELS, *PRESETS)
    if value in known:
        return value
    if "/" in value or "\\" in value or value.endswith((".pth", ".tar", ".pt", ".safetensors", ".onnx")):
        raise ValueError(f"model_name must be the name of a network, got {value!r}; for a file set model_weight_file")
    near = difflib.get_close_matches(value, known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise ValueError(f"model_name must be one of {', '.join(known)}, got {value!r}{hint}")


def _auto_is_zero(value: Any) -> Any:
    return 0 if isinstance(value, str) and value.strip().lower() in ("auto", "") else value


def _usable_size(value: int) -> int:
    if value != 0 and not MIN_INPUT_SIZE <= value <= MAX_INPUT_SIZE:
        raise ValueError("out of bounds")
    return value


INPUT_SIZE_RULE = f"0 (the model's own size) or a whole number from {MIN_INPUT_SIZE} to {MAX_INPUT_SIZE}"

ModelName = Annotated[str, AfterValidator(_model_name)]
InputSize = Annotated[int, BeforeValidator(_auto_is_zero), AfterValidator(_usable_size)]


class InferSettings(Settings):
    """Settings of the inference task, `infer_torchvision_mnasnet`."""

    model_name: ModelName = setting(
        "auto",
        "Network and weights: `auto` or `photos10` is the bundled model, which needs no download; any other name takes "
        "published ImageNet weights (downloaded once). Ignored where `model_weight_file` is set.",
        rule=f"one of {', '.join((*BUNDLED_MODELS, *PRESETS))}",
        suggestions=(*BUNDLED_MODELS, *PRESETS),
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
        path="file",
    )
    input_size: InputSize = setting(
        0,
        f"Side of the network's square input in pixels, {MIN_INPUT_SIZE} to {MAX_INPUT_SIZE}. `0` or `auto` is the "
        "size the model was trained at.",
        rule=INPUT_SIZE_RULE,
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
    runtime: Literal["auto", "torch", "onnxruntime", "openvino"] = setting(
        "auto", "Inference engine; `auto` takes the fastest exact one that is installed.", advanced=True
    )
    precision: Literal["fp32", "bf16"] = setting(
        "fp32", "Arithmetic of the network; `bf16` is faster on some processors and slightly less exact.", advanced=True
    )

    RETIRED: ClassVar[Mapping[str, str]] = {
        "dataset": "`ImageNet` without a weights file is `model_name` mnasnet1_0; `Custom` needs no parameter any more",
        "cuda": "`False` is `device` cpu; `True` is `device` auto",
    }

    @classmethod
    def translated(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Replace ``dataset`` and ``cuda`` of release 2."""
        dataset, cuda = values.pop("dataset", ""), values.pop("cuda", "")
        if dataset not in ("", "ImageNet", "Custom"):
            raise SettingsError(f"dataset must be ImageNet or Custom, got {dataset!r}; today set model_name instead")
        has_file = values.get("model_weight_file") or values.get("model_path")
        if dataset == "ImageNet" and not has_file:
            values.setdefault("model_name", "mnasnet1_0")
            # the class file that STUDIO stored lay in a plugin of release 2; these weights carry their names
            values.update(model_weight_file="", class_file="")
        if cuda != "":
            wanted = _TRUTH.get(str(cuda).strip().lower())
            if wanted is None:
                raise SettingsError(f"cuda must be True or False, got {cuda!r}; today set device instead")
            values.setdefault("device", "auto" if wanted else "cpu")
        return values


class TrainSettings(Settings):
    """Settings of the training task, `train_torchvision_mnasnet`."""

    model_name: ModelName = setting(
        "auto",
        "Network to train: `auto` or `photos10` starts from the bundled model, which needs no download; any other name "
        "from its published ImageNet weights (downloaded once). Ignored where `model_weight_file` is set.",
        rule=f"one of {', '.join((*BUNDLED_MODELS, *PRESETS))}",
        suggestions=(*BUNDLED_MODELS, *PRESETS),
    )
    model_weight_file: str = setting(
        "",
        "Your own start: a model file of the training or search task, or any `.safetensors` or `.pth` weights of a "
        "MnasNet; its classifier is replaced where the classes differ.",
        path="file",
    )
    epochs: int = setting(15, "How often every image is seen, 1 to 10000.", ge=1, le=10_000)
    batch_size: int = setting(
        0,
        "Images for each step, 2 to 4096; `0` suits the number of images. Where memory does not suffice the work is "
        "divided, the step stays the same.",
        rule="0 (chosen by the number of images) or a whole number from 2 to 4096",
        ge=0,
        le=4096,
    )
    input_size: InputSize = setting(
        0,
        f"Side of the network's square input in pixels, {MIN_INPUT_SIZE} to {MAX_INPUT_SIZE}. `0` or `auto` suits the "
        "images: at most 128 on a CPU, 224 on a GPU.",
        rule=f"0 (chosen by the images) or a whole number from {MIN_INPUT_SIZE} to {MAX_INPUT_SIZE}",
        ge=0,
        le=MAX_INPUT_SIZE,
    )
    use_pretrained: bool = setting(True, "Start from trained weights; without it only the architecture is taken over.")
    feature_extract: bool = setting(False, "Train the classifier only and leave the trained features as they are.")
    output_folder: str = setting(
        "", "Where run folders are made; empty is a folder of Ikomia's data, or `runs/train` elsewhere.", path="folder"
    )
    export_pth: bool = setting(False, "Also write the best weights as a torch state dict, `.pth`.")
    export_onnx: bool = setting(False, "Also write the best model as `.onnx`.")
    patience: int = setting(0, "Stop after this many epochs without a better validation; `0` never.", ge=0, le=10_000)
    max_minutes: float = setting(0.0, "Stop after this time and keep the best model; `0` is no limit.", ge=0.0)
    resume_folder: str = setting(
        "",
        "The folder of a run that was stopped or killed, to go on with it; other parameters are the run's.",
        path="folder",
    )
    learning_rate: float = setting(0.0, "Peak learning rate; `0` leaves it to the recipe.", ge=0.0, le=10.0)
    momentum: float | None = setting(
        None,
        "Momentum of SGD and RMSProp, first beta of AdamW; empty leaves it to the recipe.",
        ge=0.0,
        le=0.9999,
        advanced=True,
    )
    weight_decay: float | None = setting(
        None, "Weight decay; empty leaves it to the recipe.", ge=0.0, le=1.0, advanced=True
    )
    recipe: Literal["auto", "modern", "mnasnet"] = setting(
        "auto",
        "How to train: `auto` is the modern recipe (SGD or AdamW, cosine, augmentation by length of the run), "
        "`mnasnet` the paper's RMSProp.",
        advanced=True,
    )
    augment: Literal["auto", "none", "crop", "light", "trivial"] = setting(
        "auto", "How training images are changed; `auto` leaves it to the recipe.", advanced=True
    )
    flip: bool = setting(True, "Mirror training images at random; turn it off where left and right differ, as in text.")
    label_smoothing: float | None = setting(
        None, "Label smoothing; empty leaves it to the recipe.", ge=0.0, le=0.9, advanced=True
    )
    dropout: float | None = setting(
        None, "Dropout before the classifier; empty leaves it to the recipe.", ge=0.0, le=0.9, advanced=True
    )
    mixup: float | None = setting(
        None, "Share of batches with mixup; empty leaves it to the recipe.", ge=0.0, le=1.0, advanced=True
    )
    cutmix: float | None = setting(
        None, "Share of batches with CutMix; empty leaves it to the recipe.", ge=0.0, le=1.0, advanced=True
    )
    erasing: float | None = setting(
        None, "Share of images with a random box erased; empty leaves it to the recipe.", ge=0.0, le=1.0, advanced=True
    )
    ema: float | None = setting(
        None,
        "Decay of the averaged weights, 0 for none; empty leaves it to the recipe.",
        ge=0.0,
        le=0.99999,
        advanced=True,
    )
    frozen_epochs: int | None = setting(
        None,
        "Epochs at the start in which only the classifier learns; empty leaves it to the recipe.",
        ge=0,
        advanced=True,
    )
    balance: Literal["auto", "off", "equal"] = setting(
        "auto",
        "Show rare classes more often: `auto` when one class has over three times as many images as another, by the "
        "square root of the counts; `equal` shows all classes alike.",
        advanced=True,
    )
    val_fraction: float = setting(
        0.2,
        "Share of each class that validates where the dataset has no validation folder.",
        gt=0.0,
        le=0.9,
        advanced=True,
    )
    grouping: Literal["images", "frames"] = setting(
        "images", "`frames` keeps the frames of one video together when splitting.", advanced=True
    )
    max_bad: float = setting(
        0.05,
        "Share of unreadable training images that is tolerated; they are left out and named.",
        ge=0.0,
        le=1.0,
        advanced=True,
    )
    seed: int = setting(0, "The same seed and data give the same training.", ge=0, le=2**31 - 1, advanced=True)
    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", "Where to train; `auto` takes an NVIDIA GPU where one answers."
    )
    threads: int = setting(0, "Processor threads; `0` takes all cores.", ge=0, le=1024, advanced=True)
    cache_mb: int = setting(
        2000, "Memory in MB for decoded images; what does not fit is decoded again.", ge=0, advanced=True
    )
    name: str = setting("", "Name of the run folder; empty is the name of the dataset's folder.", advanced=True)
    tracking: str = setting(
        "off",
        "Where metrics are logged besides the run folder: `off`, `local` (MLflow files of Ikomia) or an MLflow URI.",
        suggestions=("off", "local"),
        advanced=True,
    )
    tensorboard: bool = setting(
        False,
        "Write TensorBoard files: in Ikomia into its TensorBoard folder, elsewhere into the run folder.",
        advanced=True,
    )

    RETIRED: ClassVar[Mapping[str, str]] = {"num_workers": "no longer needed: images are decoded in threads"}

    @classmethod
    def translated(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Drop ``num_workers`` of release 1, whose only network was called ``mnasnet``."""
        values.pop("num_workers", None)
        if values.get("model_name") == "mnasnet":
            values["model_name"] = "mnasnet1_0"
        return values

    def arguments(self) -> dict[str, Any]:
        """What :class:`mnasnet.train.run.Training` takes, except data and output folder."""
        values = self.model_dump()
        for name in ("model_name", "model_weight_file", "use_pretrained", "output_folder", "resume_folder", "tracking"):
            values.pop(name)
        return {**values, "model": self.model_weight_file or self.model_name, "pretrained": self.use_pretrained}


_TRUTH = {
    **dict.fromkeys(("true", "yes", "on", "1", "y", "t"), True),
    **dict.fromkeys(("false", "no", "off", "0", "n", "f"), False),
}


def _to_text(value: Any) -> str:
    return "" if value is None else str(value)


def _readable(field: FieldInfo, value: Any) -> Any:
    """``value`` as pydantic should see it: no text is no value for an optional setting, paths become text."""
    optional, kind, _ = _inner_type(field)
    if isinstance(value, str) and optional and value.strip() in ("", "None"):
        return None
    if kind is str and value is not None and hasattr(value, "__fspath__"):
        return value.__fspath__()
    if kind is not bool and isinstance(value, bool):
        return str(value)  # True is not the number 1
    return value


def _unknown_names(unknown: list[str], known: list[str], valid: list[str]) -> str:
    hints = []
    for name in unknown:
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
        hints.append(f"{name!r}" + (f" (did you mean {near[0]}?)" if near else ""))
    noun = "parameter" if len(unknown) == 1 else "parameters"
    return f"unknown {noun} {', '.join(hints)}; valid are {', '.join(valid)}"


def _complaints(settings: type[Settings], error: ValidationError) -> Iterator[str]:
    """One clause for each wrong parameter: the rule and the value received."""
    parameters = {parameter.name: parameter for parameter in settings.parameters()}
    seen = set()
    for detail in error.errors():
        name = str(detail["loc"][0]) if detail["loc"] else ""
        if name in seen:
            continue
        seen.add(name)
        own_words = str(detail.get("ctx", {}).get("error", ""))
        if own_words.startswith(f"{name} ") or name not in parameters:
            yield own_words or detail["msg"]
            continue
        rule, value = parameters[name].rule, detail["input"]
        near = difflib.get_close_matches(str(value), parameters[name].choices, n=1, cutoff=0.6)
        yield f"{name} must be {rule}, got {value!r}" + (f"; did you mean {near[0]}?" if near else "")


def _parameter(name: str, field: FieldInfo) -> Parameter:
    optional, kind, choices = _inner_type(field)
    extra = field.json_schema_extra
    assert isinstance(extra, dict), f"{name} must be declared by setting()"
    details: dict[str, Any] = dict(extra)
    minimum, maximum, above = _bounds(field)
    rule = details["rule"] or _rule(kind, choices, minimum, maximum, above)
    return Parameter(
        name=name,
        kind=kind,
        default=field.default,
        help=field.description or "",
        rule=f"{rule}, or empty" if optional and not details["rule"] else rule,
        old_names=tuple(details["old_names"]),
        advanced=details["advanced"],
        optional=optional,
        choices=choices,
        suggestions=tuple(details["suggestions"]),
        path=details["path"],
        minimum=minimum if minimum is not None else above,
        maximum=maximum,
    )


def _inner_type(field: FieldInfo) -> tuple[bool, type, tuple[str, ...]]:
    """Whether None is allowed, the plain type and, of a Literal, its choices."""
    annotation: Any = field.annotation
    optional = False
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        assert len(members) == 1, f"a setting has one type, got {annotation}"
        optional, annotation = True, members[0]
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is Literal:
        return optional, str, tuple(str(choice) for choice in get_args(annotation))
    return optional, annotation, ()


def _bounds(field: FieldInfo) -> tuple[float | None, float | None, float | None]:
    """Inclusive minimum, inclusive maximum, exclusive minimum."""

    def find(read: Callable[[Any], Any]) -> float | None:
        return next((value for item in field.metadata if (value := read(item)) is not None), None)

    return (
        find(lambda item: item.ge if isinstance(item, annotated_types.Ge) else None),
        find(lambda item: item.le if isinstance(item, annotated_types.Le) else None),
        find(lambda item: item.gt if isinstance(item, annotated_types.Gt) else None),
    )


def _rule(
    kind: type, choices: tuple[str, ...], minimum: float | None, maximum: float | None, above: float | None
) -> str:
    if choices:
        return f"one of {', '.join(choices)}"
    if kind is bool:
        return "True or False"
    if kind is str:
        return "text"
    rule = "a whole number" if kind is int else "a number"
    low = f"{minimum:g}" if minimum is not None else f"above {above:g}" if above is not None else ""
    if minimum is not None and maximum is not None:
        return f"{rule} from {low} to {maximum:g}"
    if minimum is not None:
        return f"{rule}, {low} or more"
    if above is not None:
        return f"{rule} {low}" + (f" and up to {maximum:g}" if maximum is not None else "")
    return rule if maximum is None else f"{rule}, {maximum:g} or less"
