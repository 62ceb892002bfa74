"""The secret that an agent and its clients share: read from a file or the environment, never from a command line."""

from __future__ import annotations

import os
from pathlib import Path

from mnasnet.errors import SettingsError

VARIABLE = "MNASNET_AGENT_TOKEN"
FEWEST_BYTES = 32
TOKEN_RECIPE = "make one with: openssl rand -hex 32 > token.txt"


def read_token(file: Path | None) -> str:
    """The token in ``file``, else of the variable MNASNET_AGENT_TOKEN, "" where there is neither.

    Raises SettingsError for a token of fewer than 32 bytes, of letters that no header carries, or a file that cannot
    be read; the error never shows the token.
    """
    source = str(file) if file else f"the variable {VARIABLE}"
    try:
        text = file.read_text(encoding="ascii") if file else os.environ.get(VARIABLE, "")
    except OSError as error:
        raise SettingsError(f"cannot read the token file {file}: {error.strerror or error}; {TOKEN_RECIPE}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"a token is plain ASCII text, {source} is not; {TOKEN_RECIPE}") from error
    token = text.strip()
    if not token and file is None:
        return ""
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(f"a token is one word of plain ASCII letters, {source} is not; {TOKEN_RECIPE}")
    if len(token) < FEWEST_BYTES:
        raise SettingsError(f"a token needs {FEWEST_BYTES} bytes or more, {source} has {len(token)}; {TOKEN_RECIPE}")
    return token
