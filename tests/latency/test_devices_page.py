"""The blocks of docs/devices.md as they stand: only names, ports and folders are those of this machine."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from documents import ROOT, blocks, make_workplace, read, run_command

import mnasnet
from mnasnet import Classifier
from mnasnet.testing import write_image_folder

PAGE = read("docs/devices.md")
HERE = {"pi.local": "localhost", "192.168.1.20": "127.0.0.1"}
PACKED, INSTALL, TUNNEL, TABLE, GUARDED, OVER_TLS, EXPORT, RUN_THERE, INT8, ROUNDED, _ = blocks(PAGE, "sh")
#: the last block, for a phone, runs in test_adb.py

#: the command line on a device that has numpy, a runtime and what the page installs, but nothing else
ON_THE_DEVICE = """
import runpy, sys
for absent in "cv2 fontTools jinja2 matplotlib optuna pydantic safetensors torch torchvision yaml".split():
    sys.modules[absent] = None
runpy.run_module("mnasnet", run_name="__main__", alter_sys=True)
"""


def lines_of(block, port="8765"):
    """The commands of a block, long ones joined, with the names of this machine."""
    for there, here in HERE.items():
        block = block.replace(there, here)
    return block.replace("\\\n", " ").replace("8765", port).splitlines()


def ours(block, port="8765"):
    return [line for line in lines_of(block, port) if line.startswith("python -m mnasnet")]


@contextlib.contextmanager
def agent_of(command, folder):
    """Runs the agent that ``command`` starts, at a free port; yields the port."""
    agent = subprocess.Popen(
        [sys.executable, *shlex.split(command)[1:], "--port", "0"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield agent.stdout.readline().rpartition(":")[2].strip()
    finally:
        agent.terminate()
        agent.communicate(timeout=10)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return make_workplace(tmp_path_factory.mktemp("devices"))


def test_the_page_installs_the_wheel_of_this_version():
    assert re.findall(r"mnasnet-(.+)-py3", INSTALL) == [mnasnet.__version__]
    assert re.search(r"^packages:", read("Makefile"), re.MULTILINE)
    assert PACKED.startswith("make packages\n")


@pytest.mark.slow
def test_an_agent_started_as_the_page_says_measures_profiles_and_searches(workplace):
    (start,) = ours(INSTALL)

    with agent_of(start, workplace) as port:
        benchmark, search = ours(TUNNEL, port)
        profile, search_with_table = ours(TABLE, port)
        assert "profile small --classes 10 --input-size 128 " in profile
        run_command(f"{benchmark} --only", workplace)
        run_command(search, workplace)
        run_command(
            f"{profile.replace('small --classes 10', 'tiny --classes 3')} --runs 2 --rounds 1 --checks 0", workplace
        )
        run_command(search_with_table, workplace)

    measured, by_table = sorted((workplace / "runs" / "search").iterdir())
    assert "remote" in (measured / "args.yaml").read_text()
    assert "pi.json" in (by_table / "args.yaml").read_text()


@pytest.mark.slow
def test_a_model_runs_on_the_device_with_the_packages_that_the_page_installs(workplace, tmp_path):
    (export,) = ours(EXPORT)
    run_command(export.replace("runs/search/photos/weights/best", "my_model"), workplace)
    (onnx,) = (workplace / "board").glob("*.onnx")
    (classify,) = ours(RUN_THERE)
    shutil.copy(onnx, tmp_path / shlex.split(classify)[-1])
    shutil.copy(workplace / "photo.jpg", tmp_path)

    done = subprocess.run(
        [sys.executable, "-c", ON_THE_DEVICE, *shlex.split(classify)[3:]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    assert done.returncode == 0, done.stderr
    assert re.match(r"photo.jpg: (blue|green|red) ", done.stdout)
    assert "pip install pillow tqdm onnx " in RUN_THERE


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_token_and_certificate_made_as_the_page_says_open_the_agent(workplace):
    *preparing, start = lines_of(GUARDED)
    subprocess.run(["sh", "-ec", "\n".join(preparing)], cwd=workplace, check=True, capture_output=True)

    with agent_of(start, workplace) as port:
        (command,) = ours(OVER_TLS, port)
        run_command(f"{command} --only", workplace)

    assert (workplace / "token.txt").stat().st_mode & 0o077 == 0  # for the user alone
    assert "Bearer" not in (workplace / "requests.jsonl").read_text()


@pytest.mark.slow
def test_models_leave_in_8_bits_as_the_pages_say(tmp_path):
    write_image_folder(tmp_path / "photos", per_class=12)
    run_command("python -m mnasnet train photos/ --epochs 4 --name start", tmp_path)  # one that 8 bits do not harm
    shutil.copy(tmp_path / "runs/train/start/weights/best.safetensors", tmp_path / "my_model.safetensors")
    (elsewhere,) = [line for line in lines_of("\n".join(blocks(read("docs/model_file.md"), "sh"))) if "--int8" in line]

    for command in (re.sub(r"\s+#.*", "", elsewhere), *ours(INT8), *ours(ROUNDED)):
        run_command(command, tmp_path)

    photo = next((tmp_path / "photos").rglob("red/*"))
    for model in ("start", "rounded"):
        for suffix in ("onnx", "tflite"):
            classifier = Classifier.load(tmp_path / "runs" / "export" / f"{model}.int8.{suffix}")
            assert [prediction.label for prediction in classifier.predict([photo])] == ["red"]
