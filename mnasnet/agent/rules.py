"""Who may ask an agent, and for how much: nothing beyond this machine without a token and TLS."""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
import ssl
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path

from mnasnet.errors import SettingsError
from mnasnet.latency.token import TOKEN_RECIPE
from mnasnet.machine import LOOPBACK_NAMES


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that an agent starts with; raises SettingsError when they would let strangers in.

    ``names`` are the host names and addresses by which clients call it, beside ``host`` itself. Sizes are in bytes,
    times in seconds.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str = field(default="", repr=False)
    certificate: Path | None = None
    key: Path | None = None
    names: tuple[str, ...] = ()
    most_bytes: int = 64 << 20
    time_limit_s: float = 120.0
    memory_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise SettingsError("TLS needs a certificate and its key, got one of them")
        object.__setattr__(self, "names", tuple(map(_client_name, self.names)))
        if self.is_loopback:
            return
        if not self.token:
            raise SettingsError(
                f"beyond this machine an agent needs a token, got none for host {self.host!r}; {TOKEN_RECIPE}"
            )
        if self.certificate is None:
            raise SettingsError(
                f"beyond this machine an agent needs TLS, got no certificate for host {self.host!r}; "
                "docs/devices.md has the line that makes one"
            )
        if self.host in ("0.0.0.0", "::", "") and not self.names:
            raise SettingsError(
                f"host {self.host!r} is every address of this device; give the name that clients use, "
                "such as --name pi.local"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the agent."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM) if self.host else []
        except (OSError, UnicodeError) as error:
            raise SettingsError(f"host must be an address of this device, got {self.host!r}: {error}") from error
        addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        return bool(addresses) and all(address.is_loopback for address in addresses)

    def tls(self) -> ssl.SSLContext | None:
        """TLS 1.2 or newer with the certificate, None without one; raises SettingsError."""
        if self.certificate is None or self.key is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except _LockedKeyError as error:
            raise SettingsError(
                f"an agent starts without asking for anything, and {self.key} is locked by a password; make a key with "
                "openssl's -nodes, as docs/devices.md does"
            ) from error
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"cannot use the certificate {self.certificate} with {self.key}: {error}; --cert takes the certificate "
                "and --key its private key, both PEM and of one pair"
            ) from error
        return context

    def objection(self, headers: Message) -> tuple[int, str] | None:
        """Status and reason when a request with these headers must not be served."""
        hosts = headers.get_all("Host", [])
        if len(hosts) != 1 or _host_name(hosts[0]) not in self._own_names():
            return 421, "the Host header is none of this agent's names; start it with --name for another one"
        if "Origin" in headers:  # a page in a browser, which has no business here
            return 403, "requests of web pages are not served"
        given = headers.get_all("Authorization", [])
        if self.token and not (
            len(given) == 1
            and hmac.compare_digest(given[0].encode("utf-8", "replace"), f"Bearer {self.token}".encode())
        ):
            return 401, "the token is missing or wrong"
        return None

    def _own_names(self) -> frozenset[str]:
        return (LOOPBACK_NAMES | {self.host.lower(), *self.names}) - {""}  # which is what no name is read as


class _LockedKeyError(Exception):
    """A key's file asks for a password."""


def _no_password() -> str:
    raise _LockedKeyError


def _client_name(text: str) -> str:
    """What clients' Host headers say of the name ``text``, which may come with a port or in brackets."""
    is_bare = text.count(":") > 1 and not text.startswith("[")  # an IPv6 address
    name = text.lower() if is_bare else _host_name(text)
    if not re.fullmatch(r"[\w.:%-]+", name):
        raise SettingsError(f"--name takes a host name or address, such as pi.local or 192.168.1.20, got {text!r}")
    return name


def _host_name(header: str) -> str:
    """``pi.local`` of ``pi.local:8765``, ``::1`` of ``[::1]:8765``, "" of what is no host."""
    parts = re.fullmatch(r"(?:\[([^]]*)\]|([^:]*))(?::\d*)?", header.strip().lower())
    return (parts[1] or parts[2]) if parts else ""
