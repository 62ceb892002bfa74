"""What the tests of searches share: small images and a finished search over them."""

import shutil
from pathlib import Path

import pytest
from tiny_search import Hearing, tiny_searching

from mnasnet.search.run import SearchedRun, run_search
from mnasnet.testing import write_image_folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that no test changes."""
    return write_image_folder(tmp_path_factory.mktemp("data"), per_class=10)


@pytest.fixture(scope="session")
def untouched(data: Path) -> dict[Path, int]:
    """Every file and folder of the dataset and when it was last changed."""
    return {path: path.stat().st_mtime_ns for path in sorted(data.rglob("*"))}


@pytest.fixture(scope="session")
def hearing() -> Hearing:
    """What the finished search told while it ran."""
    return Hearing()


@pytest.fixture(scope="session")
def finished(
    data: Path, untouched: dict[Path, int], hearing: Hearing, tmp_path_factory: pytest.TempPathFactory
) -> SearchedRun:
    searching = tiny_searching(data, tmp_path_factory.mktemp("finished"), finalists=3)
    return run_search(searching, listeners=[hearing])


@pytest.fixture
def copied(finished: SearchedRun, tmp_path: Path) -> Path:
    """A finished search that a test may change."""
    return Path(shutil.copytree(finished.folder, tmp_path / "tiny"))
