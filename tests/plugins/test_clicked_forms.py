"""The forms under the mouse, at 100 % and 200 %, each in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("PyQt6")


@pytest.mark.parametrize("scale", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_every_field_answers_to_the_mouse(scale):
    script = Path(__file__).with_name("clicked_forms.py")
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "QT_SCALE_FACTOR": scale}

    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert run.returncode == 0, run.stdout + run.stderr
