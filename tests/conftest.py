"""Every test runs in a home of its own, with our plugins and the stand-ins linked in as Ikomia expects them."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
_home = tempfile.TemporaryDirectory(prefix="mnasnet-tests-", ignore_cleanup_errors=True)

os.environ["HOME"] = os.environ["USERPROFILE"] = _home.name  # Ikomia reads it when it is imported
os.environ["IKOMIA_AUTO_COMPLETION"] = "false"  # else Ikomia writes into its own package
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # where a test asks for none: several processes share the cores
# importing Ikomia into the thread that runs the tests would make torch's backward passes hang in all tests after it;
# the tests of our own cure take it out again for the processes they start
os.environ["OPENCV_FOR_OPENMP_DYNAMIC_DISABLE"] = "1"
os.environ.pop("MNASNET_CACHE", None)
os.environ.pop("XDG_CACHE_HOME", None)

PLUGINS = Path(_home.name) / "Ikomia" / "Plugins" / "Python"
PLUGINS.mkdir(parents=True)
for process in (*ROOT.glob("*/*_process.py"), *ROOT.glob("tests/standins/*/*_process.py")):
    (PLUGINS / process.parent.name).symlink_to(process.parent, target_is_directory=True)


@pytest.fixture(scope="module")
def first_passes_count() -> Iterator[None]:
    """Latencies come from the first passes, however disturbed; tests/latency/test_timing.py shows the patience."""
    from mnasnet.latency import timing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "PATIENCE", 1)
        yield


@pytest.fixture(scope="module")
def quick_latencies(first_passes_count: None) -> Iterator[None]:
    """Searches time networks in this process, by two passes, and in no process that waits until the machine is quiet.

    How good latencies are is for tests/latency, and the searches of commands have their process.
    """
    from mnasnet.latency.session import SessionMeter
    from mnasnet.search import device

    def meter(runtime: str, *, on_wait: object, **options: Any) -> SessionMeter:
        return SessionMeter(runtime, warmups=1, runs=2, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "IsolatedMeter", meter)
        yield


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Presses Ctrl-C, also where a shell started the tests without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)
