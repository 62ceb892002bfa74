"""The images that the tests of searches share, file by file (those that need more make their own), and Ctrl-C."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mnasnet.testing import write_image_folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_folder(tmp_path_factory.mktemp("data"), per_class=10)


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Presses Ctrl-C, also where a shell started the tests without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)
