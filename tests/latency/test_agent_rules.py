"""Who may ask an agent: its token, the names it is called by, and what it does not start without."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from email.message import Message
from pathlib import Path

import pytest
from running_agent import ROOT, TOKEN

from mnasnet.agent.rules import Rules
from mnasnet.errors import SettingsError


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--host", "0.0.0.0"], "beyond this machine an agent needs a token, got none for host '0.0.0.0'"),
        (["--host", "[::]"], "beyond this machine an agent needs a token, got none for host '::'"),
        (["--host", "0.0.0.0", "--token-file", "TOKEN"], "beyond this machine an agent needs TLS"),
        (["--token-file", "/nowhere"], "cannot read the token file /nowhere"),
        (["--cert", "c.pem"], "TLS needs a certificate and its key, got one of them"),
        (["--cert", "TOKEN", "--key", "TOKEN"], "--cert takes the certificate and --key its private key"),
        (["--log", "."], "takes a file to write, . is a folder"),
    ],
)
def test_an_agent_does_not_start_open_to_strangers(options, reason, tmp_path):
    (tmp_path / "token.txt").write_text(TOKEN)

    words = [str(tmp_path / "token.txt") if word == "TOKEN" else word for word in options]
    started = subprocess.run(
        [sys.executable, "-m", "mnasnet", "agent", *words], capture_output=True, text=True, cwd=ROOT, check=False
    )

    assert started.returncode == 2 and reason in started.stderr


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("Pi.local", "pi.local:8765"),
        ("pi.local:18766", "pi.local:8765"),
        ("[fe80::1]", "[fe80::1]:8765"),
        ("fe80::1", "[fe80::1]"),
        ("192.168.1.20", "192.168.1.20"),
    ],
)
def test_a_name_of_an_agent_is_that_of_its_clients_host_header(name, host):
    headers = Message()
    headers["Host"] = host

    assert Rules(names=(name,)).objection(headers) is None


HOST = ("Host", "pi.local:8765")
RIGHT = ("Authorization", f"Bearer {TOKEN}")


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([HOST, RIGHT], None),
        ([HOST], 401),
        ([HOST, ("Authorization", "")], 401),
        ([HOST, ("Authorization", "Bearer ")], 401),
        ([HOST, ("Authorization", f"Bearer {TOKEN[:-1]}")], 401),
        ([HOST, ("Authorization", f"Bearer {TOKEN}0")], 401),
        ([HOST, ("Authorization", f"Basic {TOKEN}")], 401),
        ([HOST, ("Authorization", TOKEN)], 401),
        ([HOST, ("Authorization", "Bearer \xe4")], 401),
        ([HOST, RIGHT, RIGHT], 401),
        ([HOST, HOST, RIGHT], 421),
        ([RIGHT], 421),
        ([("Host", ""), RIGHT], 421),
        ([("Host", "pi.local:80:80"), RIGHT], 421),
        ([HOST, ("Origin", "null"), RIGHT], 403),
    ],
)
def test_only_the_whole_token_and_one_of_its_names_open_an_agent(lines, status):
    rules = Rules(host="", token=TOKEN, certificate=Path("c.pem"), key=Path("k.pem"), names=("pi.local",))
    headers = Message()
    for name, value in lines:
        headers[name] = value

    objection = rules.objection(headers)

    assert (objection and objection[0]) == status


def test_an_agent_of_every_address_needs_a_name_and_shows_no_token():
    closed = Rules(token=TOKEN, certificate=Path("c.pem"), key=Path("k.pem"))

    assert TOKEN not in repr(closed)
    for host in ("0.0.0.0", "::", ""):
        with pytest.raises(SettingsError, match="is every address of this device; give the name that clients use"):
            replace(closed, host=host)


@pytest.mark.parametrize("addresses", [[], ["127.0.0.1", "192.168.1.20"], ["::1", "fe80::1%eth0"]])
def test_a_name_that_reaches_beyond_this_machine_needs_a_token(addresses, monkeypatch):
    found = [(None, None, 0, "", (address, 8765)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    with pytest.raises(SettingsError, match="beyond this machine an agent needs a token"):
        Rules(host="pi.local")


@pytest.mark.parametrize("name", ["https://pi.local", "https://pi.local:8765", "pi.local/measure", "me@pi.local", ""])
def test_what_no_client_calls_an_agent_is_no_name(name):
    with pytest.raises(SettingsError, match="--name takes a host name or address, such as pi.local or 192.168.1.20"):
        Rules(names=(name,))


def test_a_host_that_no_network_can_look_up_is_no_address_of_a_device():
    with pytest.raises(SettingsError, match="host must be an address of this device, got 'pi..local'"):
        Rules(host="pi..local")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example:80"}, 421),
        ({"Host": "localhost:80@evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "pi.local:1"}, 200),  # its --name
    ],
)
def test_pages_of_the_web_reach_no_agent(agent, headers, status):
    assert agent.ask("GET", "/health", **headers)[0] == status


@pytest.mark.skipif(os.name != "posix", reason="rights are told by mode bits there alone")
@pytest.mark.parametrize(("mode", "is_told"), [(0o644, True), (0o600, False)])
def test_a_secret_that_others_on_the_device_can_read_is_told(mode, is_told, tmp_path):
    token = tmp_path / "token.txt"
    token.write_text(TOKEN)
    token.chmod(mode)
    words = [sys.executable, "-m", "mnasnet", "agent", "--port", "0", "--token-file", str(token)]

    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as started:
        assert started.stdout.readline().startswith("agent listens") and started.stdout.readline().startswith("{")
        started.terminate()
        rest = started.stdout.read()

    assert (f"others on this device can read {token}; run: chmod 600 {token}" in rest) == is_told
    assert "agent stopped" in rest
