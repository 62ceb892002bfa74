"""What the tests of README and documentation share: the blocks and commands in a text, and a place to run them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np

from mnasnet import modelfile
from mnasnet.testing import coloured_image, random_model, write_image_folder

ROOT = Path(__file__).parent.parent
#: the texts promise an hour; the same search with the smallest budget
HOUR = {
    "--minutes 60": "--minutes 0 --trials 2 --space tiny --input-size 32 --proxy-epochs 1 --finalists 1 "
    "--final-epochs 1 --references false --evaluator short --profile false",
    '"minutes": 60': '"minutes": 0, "trials": 2, "space": "tiny", "input_size": 32, "proxy_epochs": 1, '
    '"finalists": 1, "final_epochs": 1, "references": False, "evaluator": "short", "profile": False',
}
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PRINTED = re.compile(r"^```sh\n([^`]*)^```\n(?:(?!#)[^`]*\n)?^```text\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s#]*)(#[^)\s]+)?\)")


def read(name: str) -> str:
    """The text of a file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The blocks of code in ``text``, an hour's search made short."""
    return [_short(code) for kind, code in _BLOCK.findall(text) if kind == language]


def commands(text: str) -> list[str]:
    """Every command of ours in ``text``, lines that go on joined.

    Two are run elsewhere: int8 needs a trained model (test_devices_page.py), a join a search that runs (test_join.py).
    """
    lines = "\n".join(blocks(text, "sh")).replace("\\\n", " ").splitlines()
    typed = [re.sub(r"\s+#.*", "", line).strip() for line in lines]
    return [line for line in typed if line.startswith("python -m mnasnet") and not re.search("--int8| join ", line)]


def printed(text: str) -> list[tuple[str, list[str]]]:
    """What ``text`` shows of the output of commands: the first command of a block, and the lines of the next block."""
    found = [(command.splitlines()[0], lines.splitlines()) for command, lines in _PRINTED.findall(text)]
    return [(command, [line for line in lines if line not in ("", "...")]) for command, lines in found]


def links(text: str) -> list[tuple[str, str]]:
    """The links inside the repository: file ("" is the text itself) and anchor without its #."""
    found = [(path, anchor.removeprefix("#")) for path, anchor in _LINK.findall(text)]
    return [(path, anchor) for path, anchor in found if ":" not in path and (path or anchor)]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub and the site make of the headings of ``text``."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def make_workplace(folder: Path) -> Path:
    """Fill ``folder`` with the files that the texts speak of."""
    coloured_image((90, 60, 30), width=320, height=240).save(folder / "photo.jpg")
    write_image_folder(folder / "photos", per_class=12)
    _write_film(folder / "film.mp4")
    modelfile.save(random_model(class_names=("blue", "green", "red")), folder / "my_model.safetensors")
    for number, text in enumerate(blocks(read("docs/search.md"), "yaml")):
        (folder / ("mine.yaml" if number == 0 else f"mine{number}.yaml")).write_text(text, encoding="utf-8")
    return folder


def run_python(code: str, folder: Path) -> None:
    """Run ``code`` as a program in ``folder``; a failure shows what it printed."""
    _run([sys.executable, "-c", code], folder)


def run_command(command: str, folder: Path) -> str:
    """What a command of ours prints in ``folder``; a failure shows it."""
    return _run([sys.executable, *shlex.split(command)[1:]], folder)


def _run(arguments: list[str], folder: Path) -> str:
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False, timeout=600)

    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def _short(code: str) -> str:
    for long, short in HOUR.items():
        code = code.replace(long, short)
    return code


def _write_film(path: Path) -> None:
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (96, 64))
    for shade in range(0, 240, 10):
        writer.write(np.full((64, 96, 3), shade, np.uint8))
    writer.release()
