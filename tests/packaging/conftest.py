"""The wheel and the plugin zips of this checkout, packed once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tools"))

import pack_plugins


@pytest.fixture(scope="session")
def packed(tmp_path_factory) -> Path:
    """A folder with the wheel and one zip a plugin."""
    folder = tmp_path_factory.mktemp("packed")
    pack_plugins.pack(folder)
    return folder
