"""Agents to ask, and a small network to send them."""

import threading

import pytest
from running_agent import RunningAgent

from mnasnet.agent import server
from mnasnet.agent.rules import Rules
from mnasnet.export.exported import in_memory
from mnasnet.latency.untrained import untrained_model
from mnasnet.testing import TINY


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    """One that takes 1 MiB, also as pi.local, with the log of an earlier day."""
    folder = tmp_path_factory.mktemp("agent")
    (folder / "requests.jsonl").write_text('{"path": "/earlier", "status": 200}\n')
    running = RunningAgent(folder, "--max-mb", "1", "--name", "pi.local")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def content():
    return in_memory(untrained_model(TINY, 64, 3)).content


@pytest.fixture
def serving():
    """An agent in this process, with the lines of its log."""
    lines = []
    with server.Agent(Rules(port=0), lines.append) as here:
        here.lines = lines
        threading.Thread(target=here.serve_forever, args=(0.01,), daemon=True).start()
        yield here
        here.shutdown()
