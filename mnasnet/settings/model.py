"""What every settings model can do: parse text, name what is wrong, describe its parameters."""

from __future__ import annotations

import difflib
import reprlib
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

import annotated_types
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from mnasnet.errors import SettingsError
from mnasnet.files import exists, expanded, unquoted
from mnasnet.preprocess import MAX_INPUT_SIZE, MIN_INPUT_SIZE
from mnasnet.presets import PRESETS, WITH_WEIGHTS

BUNDLED_MODELS = ("auto", "photos10")


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
    unset: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
) -> Any:
    """One parameter: its default, what it means, the names it had before and where it belongs in a form.

    ``rule`` replaces the rule that is derived from type and bounds in error messages and documentation;
    ``suggestions`` are the values a form offers where others are valid too; ``path`` asks a form for a browse button;
    ``unset`` is the word that a form shows where the value is left open: a 0 that counts for none, or nothing.
    """
    extra: dict[str, Any] = {
        "old_names": list(old_names),
        "advanced": advanced,
        "rule": rule,
        "suggestions": list(suggestions),
        "path": path,
        "unset": unset,
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
    unset: str
    minimum: float | None
    maximum: float | None


class Settings(BaseModel):
    """Base of every settings model: frozen, equal by value, complete in itself."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False, protected_namespaces=()
    )

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
        return {**cls._renamed(), **cls.RETIRED}

    @classmethod
    def require_mapping(cls, values: object) -> None:
        """Raise SettingsError where ``values`` are not names with their values."""
        if not isinstance(values, Mapping):
            name, field = next(iter(cls.model_fields.items()))
            example = {name: field.default}
            raise SettingsError(f"parameters must be a dict such as {example}, got {reprlib.repr(values)}")

    @classmethod
    def _validated(cls: type[_Settings], values: Mapping[str, Any]) -> _Settings:
        try:
            return cls.model_validate({name: _readable(cls.model_fields[name], values[name]) for name in values})
        except ValidationError as error:
            complaints = _complaints(cls, error)
            wrong = SettingsError("; ".join(complaints.values()))
            wrong.names = tuple(complaints)
            raise wrong from None

    @classmethod
    def _renamed(cls) -> dict[str, str]:
        return {old: parameter.name for parameter in cls.parameters() for old in parameter.old_names}

    @classmethod
    def _current_names(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """``values`` under today's names; raises SettingsError for a name never used or given twice."""
        cls.require_mapping(values)
        renamed = cls._renamed()
        known = [*cls.model_fields, *renamed, *cls.RETIRED]
        unknown = [name for name in values if name not in known]
        if unknown:
            raise SettingsError(_unknown_names(unknown, list(cls.model_fields), renamed, list(cls.RETIRED)))
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
    return _one_of((*BUNDLED_MODELS, *PRESETS), value)


def _name_with_weights(value: str) -> str:
    if value in PRESETS and value not in WITH_WEIGHTS:
        raise ValueError(
            f"model_name must be the name of a network with published weights, {', '.join(WITH_WEIGHTS)}, got "
            f"{value!r}; train it first, or set model_weight_file to its weights"
        )
    return _one_of((*BUNDLED_MODELS, *WITH_WEIGHTS), value)


def _one_of(known: tuple[str, ...], value: str) -> str:
    if value in known:
        return value
    if "/" in value or "\\" in value or value.endswith((".pth", ".tar", ".pt", ".safetensors", ".onnx", ".json")):
        missing = "" if exists(Path(value)) else ", and no such file exists; check the path"
        raise ValueError(
            f"model_name must be the name of a network, got {value!r}{missing}; for a file set model_weight_file"
        )
    near = difflib.get_close_matches(value, known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise ValueError(f"model_name must be one of {', '.join(known)}, got {value!r}{hint}")


def _auto_is_zero(value: Any) -> Any:
    return 0 if isinstance(value, str) and value.strip().lower() in ("auto", "") else value


def _usable_size(value: int) -> int:
    if value != 0 and not MIN_INPUT_SIZE <= value <= MAX_INPUT_SIZE:
        raise ValueError("out of bounds")
    return value


def _usable_batch(value: int) -> int:
    if value == 1:  # batch normalisation has nothing to average
        raise ValueError("out of bounds")
    return value


def _tracking(value: str) -> str:
    text = value.strip() or "off"
    if text in ("off", "local", "databricks") or ":" in text or text.startswith(("/", ".", "~")):
        return text
    near = difflib.get_close_matches(text.lower(), ("off", "local"), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"a folder here is ./{text}"
    raise ValueError(
        f"tracking must be off, local or an MLflow URI such as http://localhost:5000, got {value!r}; {hint}"
    )


ModelName = Annotated[str, AfterValidator(_model_name)]
NameWithWeights = Annotated[str, AfterValidator(_name_with_weights)]
Tracking = Annotated[str, AfterValidator(_tracking)]
BatchSize = Annotated[int, AfterValidator(_usable_batch)]
InputSize = Annotated[int, BeforeValidator(_auto_is_zero), AfterValidator(_usable_size)]


TRUTH = {
    **dict.fromkeys(("true", "yes", "on", "1", "y", "t"), True),
    **dict.fromkeys(("false", "no", "off", "0", "n", "f"), False),
}


def _to_text(value: Any) -> str:
    return "" if value is None else str(value)


def _readable(field: FieldInfo, value: Any) -> Any:
    """``value`` as pydantic should see it: no text is no value for an optional setting, paths become text, words small.

    Ikomia's workflow hands over None as a text.
    """
    optional, kind, choices = _inner_type(field)
    if isinstance(value, str) and optional and value.strip() in ("", "None"):
        return None
    if isinstance(value, str) and value.strip().lower() in choices:
        return value.strip().lower()
    if isinstance(field.json_schema_extra, dict) and field.json_schema_extra["path"]:
        value = unquoted(value) if isinstance(value, str) else value
        if value is None or value == "None":
            return ""
    if kind is str and isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
        value = ", ".join(value)  # words that a text separates by commas
    if kind is str and value is not None and hasattr(value, "__fspath__"):
        value = value.__fspath__()
    if kind is str and isinstance(value, str) and Path(value).parts[:1] == ("~",):  # no shell has looked at it
        return str(expanded(value))
    if kind is not bool and isinstance(value, bool):
        return str(value)  # True is not the number 1
    return value


def _unknown_names(unknown: list[str], valid: list[str], renamed: Mapping[str, str], retired: list[str]) -> str:
    hints = []
    for name in unknown:
        begun = [one for one in valid if one.startswith(f"{name}_")]
        near = difflib.get_close_matches(str(name), [*valid, *renamed, *retired], n=1, cutoff=0.5)
        meant = begun or [renamed.get(one, one) for one in near]
        hints.append(f"{name!r}" + (f" (did you mean {' or '.join(meant)}?)" if meant else ""))
    noun = "parameter" if len(unknown) == 1 else "parameters"
    return f"unknown {noun} {', '.join(hints)}; valid are {', '.join(valid)}"


_MEANT = {"gpu": "cuda", "nvidia": "cuda"}  # what users call it, and its name here


def _complaints(settings: type[Settings], error: ValidationError) -> dict[str, str]:
    """One clause for each wrong parameter: the rule and the value received."""
    parameters = {parameter.name: parameter for parameter in settings.parameters()}
    complaints: dict[str, str] = {}
    for detail in error.errors():
        name = str(detail["loc"][0]) if detail["loc"] else ""
        if name in complaints:
            continue
        own_words = str(detail.get("ctx", {}).get("error", ""))
        if own_words.startswith(f"{name} ") or name not in parameters:
            complaints[name] = own_words or detail["msg"]
            continue
        rule, value = parameters[name].rule, detail["input"]
        choices = parameters[name].choices or parameters[name].suggestions
        word = str(value).strip().lower()
        begun = [choice for choice in choices if len(word) > 2 and choice.startswith(word)]
        near = begun or difflib.get_close_matches(_MEANT.get(word, word), choices, n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]}?" if near else ""
        complaints[name] = f"{name} must be {rule}, got {value!r}{hint}"
    return complaints


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
        unset=details["unset"],
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
    low, high, over = (_shown(bound) for bound in (minimum, maximum, above))
    if minimum is not None and maximum is not None:
        return f"{rule} from {low} to {high}"
    if minimum is not None:
        return f"{rule}, {low} or more"
    if above is not None:
        return f"{rule} above {over}" + (f" and up to {high}" if maximum is not None else "")
    return rule if maximum is None else f"{rule}, {high} or less"


def _shown(bound: float | None) -> str:
    return "" if bound is None else str(int(bound)) if bound == int(bound) else f"{bound:g}"
