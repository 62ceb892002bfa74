"""A model with names that need care, its files of each format, and photos."""

import pytest

from mnasnet.deploy.export import export_model
from mnasnet.testing import random_model, write_image_folder

NAMES = ("cat & dog", 'the "ship"', "<猫>")


@pytest.fixture(scope="module")
def model():
    return random_model(class_names=NAMES)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_image_folder(tmp_path_factory.mktemp("photos"), per_class=4)


def unchecked(path):
    """``path``, whose checksum is found no more: so files look that were changed on purpose."""
    path.write_bytes(path.read_bytes().replace(b"SHA-256 of this file", b"SHA-256 of nothing  "))
    return path


@pytest.fixture(scope="module")
def onnx_file(model, tmp_path_factory):
    return unchecked(export_model(model, tmp_path_factory.mktemp("onnx"), ["onnx"])[0].files[0])


@pytest.fixture(scope="module")
def litert_file(model, tmp_path_factory):
    return unchecked(export_model(model, tmp_path_factory.mktemp("litert"), ["litert"])[0].files[0])


@pytest.fixture(scope="module")
def openvino_file(model, tmp_path_factory):
    return unchecked(export_model(model, tmp_path_factory.mktemp("openvino"), ["openvino"])[0].files[0])


def changed_litert(path, change):
    """The content of a LiteRT file after ``change`` of its model as an object."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes()))
    change(model, model.subgraphs[0])
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
