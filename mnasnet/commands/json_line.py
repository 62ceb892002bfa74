"""Results as one line of JSON, for programs."""

from __future__ import annotations

import json
import sys
from typing import Any


def json_line(row: dict[str, Any]) -> str:
    """One line of JSON that stdout can carry, whatever its encoding."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    return json.dumps(row, ensure_ascii=encoding != "utf8")
