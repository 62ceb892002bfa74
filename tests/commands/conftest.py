"""A small model file and photos, for commands that want both."""

import pytest

from mnasnet import modelfile
from mnasnet.testing import random_model, write_image_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    modelfile.save(random_model(class_names=("cat", "dog", "ship <&>")), path)
    return str(path)


@pytest.fixture
def photos(tmp_path):
    return write_image_folder(tmp_path / "photos", per_class=2)
