"""A model with names that need care, and photos."""

import pytest

from mnasnet.testing import random_model, write_image_folder

NAMES = ("cat & dog", 'the "ship"', "<猫>")


@pytest.fixture(scope="module")
def model():
    return random_model(class_names=NAMES)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_image_folder(tmp_path_factory.mktemp("photos"), per_class=4)
