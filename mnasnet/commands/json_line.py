"""Results as one line of JSON, for programs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def json_line(row: Mapping[str, Any] | Sequence[Any]) -> str:
    """One line of JSON that stdout can carry, whatever its encoding; a number that JSON lacks, as infinity, is null."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    return json.dumps(_finite(row), ensure_ascii=encoding != "utf8", allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
