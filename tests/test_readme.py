"""The README is true: each of its Python blocks and commands runs as it stands."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mnasnet import modelfile
from mnasnet.testing import coloured_image, random_model, write_image_folder

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
COMMANDS = [
    line.partition("  #")[0].strip()
    for language, code in BLOCKS
    if language == "sh"
    for line in code.splitlines()
    if line.startswith("python -m mnasnet") and "--int8" not in line  # a random model may rightly be refused
]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with the files that the README speaks of."""
    folder = tmp_path_factory.mktemp("readme")
    coloured_image((90, 60, 30), width=320, height=240).save(folder / "photo.jpg")
    write_image_folder(folder / "photos", per_class=12)
    write_film(folder / "film.mp4")
    modelfile.save(random_model(class_names=("blue", "green", "red")), folder / "my_model.safetensors")
    return folder


def write_film(path):
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (96, 64))
    for shade in range(0, 240, 10):
        writer.write(np.full((64, 96, 3), shade, np.uint8))
    writer.release()


def run(arguments, folder):
    return subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.strip().splitlines()[0][:50])
def test_python_block_runs(code, workplace):
    done = run([sys.executable, "-c", code], workplace)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_command_runs(command, workplace):
    words = shlex.split(command)
    done = run([sys.executable, *words[1:]], workplace)

    assert done.returncode == 0, done.stderr


def test_every_link_to_a_file_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    files = [link for link in links if not link.startswith(("http", "mailto"))]

    assert files
    assert [link for link in files if not (ROOT / link).exists()] == []
