"""The phone's end of adb's wire protocol, for the real adb client and server to talk to.

Its shell is this machine's, with /data/local/tmp in a folder of its own. Message layout as in Android's public
protocol.txt, SYNC.TXT and shell_protocol.h: enough for ``adb connect``, ``shell`` and ``push``.
"""

import os
import socket
import struct
import subprocess
import threading
from pathlib import Path

VERSION = 0x01000001
BANNER = b"device::ro.product.name=pretend;ro.product.model=Pretend;ro.product.device=pretend;features=shell_v2"
STDOUT, STDERR, EXIT = 1, 2, 3
PROPERTIES = {"ro.product.manufacturer": "Nobody", "ro.product.model": "Pretend 1", "ro.soc.model": "PC"}


class PretendPhone:
    def __init__(self, folder):
        self.folder = folder
        programs = folder / "bin"
        programs.mkdir(parents=True)
        getprop = programs / "getprop"
        cases = "\n".join(f'{name}) echo "{value}";;' for name, value in PROPERTIES.items())
        getprop.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}\n*) echo;;\nesac\n')
        getprop.chmod(0o755)
        (folder / "tmp").mkdir()
        self.while_pushed_to = lambda: None  # is called when a file is open for what comes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=_Link(self, connection).serve, daemon=True).start()

    def local(self, path):
        return path.replace("/data/local/tmp", str(self.folder / "tmp"))

    def shell(self, command):
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["sh", "-c", self.local(command)], capture_output=True, env={**os.environ, "PATH": path}, check=False
        )


class _Link:
    """One connection of the adb server, which carries several streams."""

    def __init__(self, phone, connection):
        self._phone = phone
        self._connection = connection
        self._lock = threading.Lock()
        self._streams = {}

    def serve(self):
        try:
            while True:
                command, first, _, payload = self._receive()
                if command == b"CNXN":
                    self._send(b"CNXN", VERSION, 1 << 18, BANNER)
                elif command == b"OPEN":
                    stream = self._streams[first] = _Stream(self, first)
                    threading.Thread(
                        target=self._run, args=(stream, payload.rstrip(b"\0").decode()), daemon=True
                    ).start()
                elif command == b"WRTE" and first in self._streams:
                    self._send(b"OKAY", first, first)
                    self._streams[first].hear(payload)
                elif command == b"OKAY" and first in self._streams:
                    self._streams[first].acknowledged.release()
                elif command == b"CLSE" and first in self._streams:
                    self._streams.pop(first).hear(b"")
        except (OSError, struct.error):
            self._connection.close()

    def _run(self, stream, service):
        self._send(b"OKAY", stream.number, stream.number)
        if service.startswith("shell"):
            done = self._phone.shell(service.partition(":")[2])
            for kind, text in ((STDOUT, done.stdout), (STDERR, done.stderr), (EXIT, bytes([done.returncode & 255]))):
                if text:
                    stream.write(struct.pack("<BI", kind, len(text)) + text)
        elif service == "sync:":
            self._sync(stream)
        self._send(b"CLSE", stream.number, stream.number)

    def _sync(self, stream):
        while True:
            word, size = struct.unpack("<4sI", stream.read(8))
            if word == b"STAT":
                stream.read(size)
                stream.write(struct.pack("<4sIII", b"STAT", 0, 0, 0))
            elif word == b"SEND":
                self._take(stream, stream.read(size).decode().rpartition(",")[0])
            else:
                return

    def _take(self, stream, path):
        with Path(self._phone.local(path)).open("wb") as file:
            self._phone.while_pushed_to()
            while (chunk := struct.unpack("<4sI", stream.read(8)))[0] == b"DATA":
                file.write(stream.read(chunk[1]))
        stream.write(struct.pack("<4sI", b"OKAY", 0))

    def _receive(self):
        command, first, second, size, _, _ = struct.unpack("<4s5I", self._exactly(24))
        return command, first, second, self._exactly(size)

    def _exactly(self, size):
        parts = b""
        while len(parts) < size:
            part = self._connection.recv(size - len(parts))
            if not part:
                raise ConnectionResetError
            parts += part
        return parts

    def _send(self, command, first, second, payload=b""):
        magic = struct.unpack("<I", command)[0] ^ 0xFFFFFFFF
        with self._lock:
            self._connection.sendall(
                struct.pack("<4s5I", command, first, second, len(payload), sum(payload), magic) + payload
            )


class _Stream:
    """One service; both ends use the number that the host gave it."""

    def __init__(self, link, number):
        self.number = number
        self.acknowledged = threading.Semaphore(0)
        self._link = link
        self._buffer = bytearray()
        self._changed = threading.Condition()
        self._ended = False

    def hear(self, payload):
        with self._changed:
            self._buffer += payload
            self._ended = self._ended or not payload
            self._changed.notify_all()

    def read(self, size):
        with self._changed:
            self._changed.wait_for(lambda: len(self._buffer) >= size or self._ended)
            taken, self._buffer = bytes(self._buffer[:size]), self._buffer[size:]
        return taken

    def write(self, content):
        self._link._send(b"WRTE", self.number, self.number, content)
        self.acknowledged.acquire(timeout=10)
