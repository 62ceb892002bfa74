"""Memory that a training gives back is there for its next step, and the system's again when it has ended."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or "CS_GNU_LIBC_VERSION" not in os.confstr_names,
    reason="other C libraries are left as they are",
)

MIB = 2**20
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
USES = """
import resource, sys
from pathlib import Path
import torch

def use():
    for _ in range(20):
        torch.ones({mib} * 2**18)

def resident_mib():
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024

def pages_made(function):
    function()  # small pieces find their places
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    function()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
"""


def told_by(code: str, mib: int) -> list[float]:
    """What a process of its own prints that uses an array of ``mib`` MiB twenty times."""
    program = USES.format(mib=mib) + code
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [float(word) for word in ran.stdout.split()]


def test_a_training_uses_the_same_pages_in_every_step() -> None:
    code = """
from mnasnet.train.own_thread import in_own_thread
print(pages_made(use), in_own_thread(lambda _: pages_made(use)))
"""
    alone, training = told_by(code, mib=48)
    pages = 48 * MIB / PAGE
    assert alone > 19 * pages, "without it the system makes all pages anew each time"
    assert training < pages


@pytest.mark.slow
def test_what_a_training_kept_goes_back_to_the_system() -> None:
    code = """
from mnasnet.train.own_thread import in_own_thread

def use_much():
    pieces = [torch.ones(2**23) for _ in range(20)]
    return resident_mib()

before = resident_mib()
print(in_own_thread(lambda _: use_much()) - before, resident_mib() - before)
"""
    during, after = told_by(code, mib=32)
    assert during > 20 * 32
    assert after < 100, "but for one thread's own place of 64 MiB"


@pytest.mark.slow
def test_the_command_line_keeps_pieces_that_no_threads_own_place_holds() -> None:
    code = """
from mnasnet.cli import main
from mnasnet.train.own_thread import in_own_thread
main(["spaces", "tiny"])
print("pages", in_own_thread(lambda _: pages_made(use)), file=sys.stderr)
"""
    program = USES.format(mib=96) + code
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(ran.stderr.split("pages")[-1]) < 96 * MIB / PAGE
