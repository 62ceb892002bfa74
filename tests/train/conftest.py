"""The images and the finished run that the tests of runs share, file by file."""

from pathlib import Path

import pytest
from tiny import tiny_training

from mnasnet.testing import write_image_folder
from mnasnet.train.run import TrainedRun, train


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_folder(tmp_path_factory.mktemp("data"), per_class=10)


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    return train(
        tiny_training(
            data, tmp_path_factory.mktemp("done"), export_pth=True, export_onnx=True, tensorboard=True, report=True
        )
    )
