"""The forms under the mouse, at 100 % and 200 %; with PyQt5 as in a STUDIO before 0.16; each in its own process."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("binding", "scale"),
    [("PyQt6", "1"), *(pytest.param(*other, marks=pytest.mark.slow) for other in (("PyQt6", "2"), ("PyQt5", "1")))],
)
def test_every_field_answers_to_the_mouse(binding, scale):
    if importlib.util.find_spec(binding) is None:
        pytest.skip(f"needs {binding}: part of the extra dev")
    script = Path(__file__).with_name("clicked_forms.py")
    environment = {**os.environ, "MNASNET_TEST_QT": binding, "QT_QPA_PLATFORM": "offscreen", "QT_SCALE_FACTOR": scale}

    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert run.returncode == 0, run.stdout + run.stderr
