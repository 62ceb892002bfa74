"""The images that the tests of searches share, file by file; those that need more make their own."""

from pathlib import Path

import pytest

from mnasnet.testing import write_image_folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_folder(tmp_path_factory.mktemp("data"), per_class=10)
