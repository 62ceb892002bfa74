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
INSTALL, TUNNEL, GUARDED, OVER_TLS, INT8, ROUNDED, _ = blocks(PAGE, "sh")  # the phone's: test_adb.py


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


@pytest.mark.slow
def test_an_agent_started_as_the_page_says_measures_and_profiles(workplace):
    (start,) = ours(INSTALL)

    with agent_of(start, workplace) as port:
        commands = ours(TUNNEL, port)
        assert [shlex.split(command)[3] for command in commands] == ["benchmark", "profile"]
        run_command(f"{commands[0]} --only", workplace)
        one_network = commands[1].replace("profile small", "profile my_model.safetensors")  # not a whole space
        run_command(f"{one_network} --input-size 32 --runs 2 --checks 0", workplace)

    assert (workplace / "pi.json").exists()


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
            classifier = Classifier.load(tmp_path / "exports" / f"{model}.int8.{suffix}")
            assert [prediction.label for prediction in classifier.predict([photo])] == ["red"]
