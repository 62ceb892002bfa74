"""What this machine is: its processor and GPU in words, the cores that this process may use, its Python and names."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from mnasnet.words import amount

#: by which a machine reaches itself
LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))

#: for processes that nobody shall see: on Windows each would open a console beside a program with windows
NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)


def processor_description() -> str:
    """The processor and the cores to be used, as a latency names its device."""
    return f"{processor_name()}, {amount(usable_cores(), 'core')}"


def without_cores(device: str) -> str:
    """A latency's device without the number of its cores, which a container may change."""
    return re.sub(r", \d+ cores?$", "", device)


def processor_name() -> str:
    """The processor in words, as far as the system tells."""
    if sys.platform == "darwin":  # platform.processor says "arm" of every one that Apple makes
        return _brand_of_a_mac() or platform.machine()
    if sys.platform == "win32":
        return _named_by_windows() or platform.processor()
    if sys.platform != "linux":
        return platform.processor() or platform.machine()
    board = _told("/proc/device-tree/model").strip("\0 \n")  # most boards, and no PC
    if board and "dummy" not in board:  # a virtual machine's is linux,dummy-virt
        return board
    facts = [line.partition(":")[::2] for line in _told("/proc/cpuinfo").splitlines()]
    values = [{key.strip(): value.strip()} for key, value in facts]
    for key in ("model name", "Model", "Hardware"):  # x86, Raspberry Pi, older phones
        if name := next((value[key] for value in values if key in value), ""):
            break
    if name and not name.startswith(("ARMv", "AArch64")):
        return name
    parts = [value[key] for key in ("CPU implementer", "CPU part") for value in values if key in value]
    # of an ARM processor these alone tell which it is; platform.processor would start a program
    return " ".join([name or platform.machine(), *dict.fromkeys(parts)])


def _named_by_windows() -> str:
    """Such as "AMD Ryzen 5 5600X", where platform.processor tells family and model; empty where it is not told."""
    if sys.platform == "win32":  # so that type checkers elsewhere know what is imported where
        import winreg

        place = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
        with contextlib.suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, place) as key:
            return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    return ""


def _brand_of_a_mac() -> str:
    """Such as "Apple M2"; empty where the system does not tell."""
    try:
        asked = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(asked, capture_output=True, text=True, timeout=5, check=False).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _told(path: str) -> str:
    """A text of the system; empty where it has none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def gpu_name() -> str:
    """The first NVIDIA GPU in words, as its driver tells."""
    for told in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in told.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.partition(":")[0].strip() == "Model":
                return line.partition(":")[2].strip()
    return "an NVIDIA GPU"


def has_terminal() -> bool:
    """Whether standard error is a terminal; programs with windows have none, or something that can only write."""
    return bool(getattr(sys.stderr, "isatty", lambda: False)())


def usable_cores() -> int:
    """The cores this process may use, which taskset or a container can make fewer than the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def python_program() -> str:
    """The interpreter; inside a program that embeds Python ``sys.executable`` is that program."""
    if Path(sys.executable).name.lower().startswith("python"):
        return sys.executable
    names = ("python.exe", "Scripts/python.exe") if sys.platform == "win32" else ("bin/python3", "bin/python")
    for name in names:
        if (Path(sys.prefix) / name).is_file():
            return str(Path(sys.prefix) / name)
    return sys.executable
