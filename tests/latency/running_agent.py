"""An agent in a process of its own, with nothing but numpy and the runtimes to import, and how to ask it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from mnasnet.latency.remote import AgentAddress, RemoteMeter

ROOT = Path(__file__).parents[2]
TOKEN = "0123456789abcdef" * 2

#: refuses what a small device does not have, in the agent and in each process that it starts; ONNX Runtime is there as
#: onnxruntime-gpu is, the same module under another name
ONLY_NUMPY = """
import importlib.metadata
import sys

class Missing:
    absent = {"torch", "torchvision", "pydantic", "PIL", "cv2", "onnx", "safetensors", "optuna", "matplotlib", "yaml"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.absent:
            raise ModuleNotFoundError(f"a small device has no {name}")

sys.meta_path.insert(0, Missing())

version_of = importlib.metadata.version

def version(name):
    if name == "onnxruntime":
        raise importlib.metadata.PackageNotFoundError(name)
    return version_of(name)

importlib.metadata.version = version
"""


class RunningAgent:
    """An agent in a process of its own, on this machine or on a pretended ``board``."""

    def __init__(self, folder, *options, variables=None, board=""):
        folder.mkdir(parents=True, exist_ok=True)
        pretended = f"import mnasnet.machine\nmnasnet.machine.processor_name = lambda: {board!r}\n" if board else ""
        (folder / "sitecustomize.py").write_text(ONLY_NUMPY + pretended)
        self.log = folder / "requests.jsonl"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mnasnet", "agent", "--port", "0", "--log", str(self.log), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", **(variables or {})},
        )
        self.url = self.process.stdout.readline().rpartition(" ")[2].strip()
        self.port = int(self.url.rpartition(":")[2]) if self.url else 0

    def ask(self, method, path, body=None, **headers):
        """A raw request; underscores in header names become dashes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Content-Type": "application/octet-stream", **named})
        response = connection.getresponse()
        return response.status, json.loads(response.read())["error" if response.status != 200 else "device"]

    def lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def lines_of(self, query):
        return [line for line in self.lines() if query in line.get("path", "")]

    def line(self, wanted):
        """The first line of the log that fits; it is written just after the answer."""
        until = time.monotonic() + 10
        while time.monotonic() < until:
            for line in self.lines():
                if wanted(line):
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no such line in {self.lines()}")

    def stop(self, told=signal.SIGTERM):
        self.process.send_signal(told)
        self.process.communicate(timeout=10)
        return self.process.returncode


def meter_of(agent, **options):
    return RemoteMeter(AgentAddress(agent.url), num_classes=3, **options)


def self_made(folder):
    """A certificate for localhost, and its key."""
    folder.mkdir(exist_ok=True)
    certificate, key = folder / "cert.pem", folder / "key.pem"
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=agent"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *made.split(), *names], check=True, capture_output=True)
    return certificate, key


HEALTH = b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n"
OF_A_FILE = "Content-Type: application/octet-stream"


def posted(content):
    lines = ["POST /measure HTTP/1.0", "Host: localhost", OF_A_FILE, f"Content-Length: {len(content)}", "", ""]
    return "\r\n".join(lines).encode() + content


def said_to(serving, request):
    """All that the agent answers."""
    with socket.create_connection(serving.server_address, timeout=10) as client:
        client.sendall(request)
        return client.makefile("rb").read()
