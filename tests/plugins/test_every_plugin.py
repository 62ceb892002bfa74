"""What holds for each of the three plugins."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("ikomia")

import mnasnet
from tests.plugins.own_process import ROOT, run_python

pytestmark = [
    pytest.mark.ikomia,
    pytest.mark.parametrize("name", ["infer_torchvision_mnasnet", "train_torchvision_mnasnet", "search_mnasnet"]),
]


def test_requirements_have_floors_and_no_pins(name):
    lines = (ROOT / name / "requirements.txt").read_text().split()

    assert all(re.fullmatch(r"[\w-]+>=[\d.]+", line) for line in lines)
    assert f"mnasnet>={mnasnet.__version__}" in lines


def test_the_plugin_has_no_python_sub_folder(name):
    """On reload Ikomia forgets every module whose name contains the name of such a folder."""
    assert list((ROOT / name).glob("*/__init__.py")) == []


@pytest.mark.parametrize("program", ["python3", "Ikomia"])
def test_a_missing_package_is_told_with_the_command_that_mends_it(name, program):
    python = sys.executable if program == "python3" else str(Path(sys.prefix) / "bin" / "python3")
    output = run_python(
        "import sys, ikomia\n"
        f"sys.executable = {sys.executable if program == 'python3' else '/opt/Ikomia/Ikomia'!r}\n"
        "sys.modules['mnasnet'] = None\n"
        "from ikomia.dataprocess.registry import ik_registry\n"
        f"ik_registry.create_algorithm('{name}', public_hub=False)\n"
    )

    assert (
        f"{name}: the package mnasnet is missing or too old; run this command and restart Ikomia: "
        f'"{python}" -m pip install -e "{ROOT}"'
    ) in output
