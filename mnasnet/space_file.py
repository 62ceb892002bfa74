"""Search spaces of a user's own: from a short YAML or JSON file, or the same as plain values."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mnasnet.checks import is_whole
from mnasnet.errors import NewerSchemaError, SpecError
from mnasnet.files import exists
from mnasnet.presets import architecture
from mnasnet.space import BLOCK_FIELDS, BlockChoices, SearchSpace, listed
from mnasnet.spaces import SPACES, space
from mnasnet.spec import SCHEMA, ArchitectureSpec


def open_space(name: str) -> SearchSpace:
    """The built-in space called ``name``, or that of such a file; raises SpecError where there is none, or a fault."""
    return space(name) if name in SPACES or not exists(Path(name)) else load_space(Path(name))


def load_space(path: Path) -> SearchSpace:
    """A space from a YAML or JSON file; raises SpecError naming the file and the field at fault.

    The file has ``blocks``, a list with the fields of :class:`BlockChoices` each as one option or a list of
    options, or ``start: <preset>`` to take the blocks of a published network; ``vary`` gives options to
    every block that does not name them itself. The other fields are those of :class:`SearchSpace`.
    """
    import yaml  # the only use of it, and not needed for the built-in spaces

    text = ""
    try:
        text = Path(path).read_text(encoding="utf-8")
        values = yaml.safe_load(text)
    except OSError as error:
        raise SpecError(f"the space file {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:  # also of text that is no UTF-8, and of endless numbers
        raise SpecError(f"the space file {path} is neither YAML nor JSON: {_slip(error, text)}") from error
    except RecursionError as error:
        raise SpecError(f"the space file {path} is nested too deep; it needs three levels") from error
    try:
        return space_of(values, default_name=Path(path).stem)
    except SpecError as error:
        raise SpecError(f"space file {path}: {error}") from error


def _slip(error: Exception, text: str) -> str:
    """What is wrong in ``text`` in one line, with its place; the reader of YAML says that in five."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', '')}"
    reason = str(error).partition("\n")[0]
    if not hasattr(error, "position"):
        return reason
    before = text[: error.position]  # of a character that YAML does not have
    return f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}: {reason}"


_SPACE_FIELDS = ("name", "source", "stem_channels", "stem_stride", "head_channels", "input_sizes", "widths",
                 "channel_multiple")  # fmt: skip
_FILE_FIELDS = (*_SPACE_FIELDS, "blocks", "start", "vary", "schema")


def space_of(values: object, default_name: str = "") -> SearchSpace:
    """A space from the values of a file or of ``to_dict``; raises SpecError naming the field at fault."""
    if not isinstance(values, Mapping):
        raise SpecError(f"a search space is a mapping with 'blocks' or 'start', got {type(values).__name__}")
    unknown = [str(key) for key in values if key not in _FILE_FIELDS]
    if unknown:
        raise SpecError(f"unknown field {listed(unknown)}; a space has {', '.join(_FILE_FIELDS)}")
    schema = values.get("schema", SCHEMA)
    if not is_whole(schema) or schema < 1:
        raise SpecError(f"schema must be a whole number >= 1, got {_short(schema)}; leave it out")
    if schema > SCHEMA:
        raise NewerSchemaError(f"space schema {schema!r} is newer than {SCHEMA}; update the mnasnet package")
    arguments = {key: values[key] for key in _SPACE_FIELDS if key in values}
    start = _start(values)
    if start is not None:
        arguments.setdefault("stem_channels", start.stem_channels)
        arguments.setdefault("stem_stride", start.stem_stride)
        arguments.setdefault("head_channels", start.head_channels)
    for key in ("input_sizes", "widths"):
        if key in arguments:
            arguments[key] = _options(key, arguments[key])
    arguments.setdefault("name", default_name)
    for key in ("name", "source"):
        if not isinstance(arguments.get(key, ""), str):
            raise SpecError(f"{key} must be text, got {_short(arguments[key])}")
    return SearchSpace(_parse_blocks(values, start), **arguments)


def _start(values: Mapping[str, Any]) -> ArchitectureSpec | None:
    if "start" not in values:
        return None
    if "blocks" in values:
        raise SpecError("a space has either 'blocks' or 'start', got both; put changes to all blocks under 'vary'")
    if not isinstance(values["start"], str):
        raise SpecError(f"start must be the name of a network, got {_short(values['start'])}")
    return architecture(values["start"])


def _parse_blocks(values: Mapping[str, Any], start: ArchitectureSpec | None) -> tuple[BlockChoices, ...]:
    vary = _block_options("vary", values.get("vary", {}))
    if start is not None:
        # what the start's blocks are is the default; vary opens it
        fixed = [asdict(BlockChoices.fixed(block)) for block in start.blocks]
        return tuple(_checked(b, _opened(own, vary)) for b, own in enumerate(fixed))
    listed = values.get("blocks")
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not listed:
        raise SpecError("a search space needs 'blocks', a list of blocks, or 'start', the name of a network")
    return tuple(_checked(b, vary | _block_options(f"block {b}", block)) for b, block in enumerate(listed))


def _opened(own: Mapping[str, tuple[Any, ...]], vary: Mapping[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    """A block's choices with ``vary`` in place of its own; an expansion is opened only where the block has one."""
    if "expansion" not in vary or "operator" in vary:
        return {**own, **vary}
    if own["operator"][0].startswith("inverted"):
        return {**own, "operator": ("inverted",), **vary}
    return {**own, **vary, "expansion": own["expansion"]}


def _checked(b: int, options: Mapping[str, tuple[Any, ...]]) -> BlockChoices:
    try:
        return BlockChoices(**options)
    except (SpecError, TypeError) as error:
        raise SpecError(f"block {b}: {error}") from error


def _block_options(where: str, values: object) -> dict[str, tuple[Any, ...]]:
    if not isinstance(values, Mapping):
        raise SpecError(f"{where} must be a mapping such as {{kernel: [3, 5]}}, got {_short(values)}")
    unknown = [str(key) for key in values if key not in BLOCK_FIELDS]
    if unknown:
        raise SpecError(f"{where} has the unknown field {listed(unknown)}; a block has {', '.join(BLOCK_FIELDS)}")
    return {key: _options(f"{where}, {key}", value) for key, value in values.items()}


def _options(where: str, value: object) -> tuple[Any, ...]:
    options = tuple(value) if isinstance(value, list | tuple) else (value,)
    for option in options:
        if isinstance(option, bool) or not isinstance(option, str | int | float):
            raise SpecError(f"{where}: an option is a number or a word, got {_short(option)}")
        if isinstance(option, float) and not math.isfinite(option):
            raise SpecError(f"{where}: an option must be a finite number, got {option!r}")
    return options


def _short(value: object) -> str:
    """``value`` for a message; aliases make a few lines of YAML a list of billions."""
    return reprlib.repr(value)
