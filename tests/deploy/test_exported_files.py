"""An exported file opens as what it is, and what is written into it can be read elsewhere."""

import re
from dataclasses import replace

import numpy as np
import pytest

from mnasnet.classify import Classifier
from mnasnet.cli import main
from mnasnet.errors import SettingsError, WeightsError
from mnasnet.export.exported import in_memory
from mnasnet.export.exporter import open_int8_exporter
from mnasnet.export.litert import to_litert
from mnasnet.export.onnx import to_onnx
from mnasnet.testing import random_model
from mnasnet.zoo import open_model

pytestmark = pytest.mark.usefixtures("first_passes_count")


def test_an_exported_file_has_one_input_size(onnx_file):
    with pytest.raises(SettingsError, match="one input size, this one 64 px, got 96; leave it out"):
        Classifier.load(onnx_file, input_size=96)


def test_an_exported_file_runs_where_it_can(onnx_file):
    assert Classifier.load(onnx_file, runtime="openvino").description.startswith("openvino")
    with pytest.raises(SettingsError, match="exported onnx file runs through onnxruntime or openvino, got"):
        Classifier.load(onnx_file, runtime="torch")


def test_reduced_precision_takes_the_engine_that_has_it_as_for_a_model_file(onnx_file):
    assert re.match("openvino .* bf16", Classifier.load(onnx_file, precision="bf16", device="cpu").description)


def test_8_bits_that_another_engine_cannot_compute_are_not_called_damaged(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
    made = open_int8_exporter("onnx", images).quantise(random_model(), pixels=True, softmax=False)
    (path,) = made.write(tmp_path / "m.int8.onnx", {})

    assert Classifier.load(path).description.startswith("onnxruntime")
    with pytest.raises(WeightsError, match="run it through onnxruntime, which it is made for, or export"):
        Classifier.load(path, runtime="openvino")


def test_an_exported_file_cannot_be_trained(onnx_file):
    with pytest.raises(WeightsError, match="`classify`, `val` and `benchmark` run it, .* give the model"):
        open_model(onnx_file)


def test_a_folder_of_exported_files_names_them(onnx_file, tmp_path):
    board = tmp_path / "board"
    board.mkdir()
    for name in ("b.onnx", "b.onnx.preprocess.md", "b.xml", "b.bin", "c.pth", "annotations.xml"):
        (board / name).write_bytes(onnx_file.read_bytes())

    with pytest.raises(WeightsError, match=r"board is a folder; give one of its files: b\.onnx, b\.xml, c\.pth$"):
        Classifier.load(board)


def test_names_can_be_translated(onnx_file, tmp_path):
    (tmp_path / "names.txt").write_text("Katze\nHund\nSchiff\n", encoding="utf-8")

    assert Classifier.load(onnx_file, class_file=tmp_path / "names.txt").class_names == ("Katze", "Hund", "Schiff")


def test_weights_in_litert_files_begin_where_processors_read_fast(litert_file):
    from ai_edge_litert import schema_py_generated as schema

    content = litert_file.read_bytes()
    model = schema.Model.GetRootAs(content)
    arrays = [model.Buffers(index).DataAsNumpy() for index in range(model.BuffersLength())]
    start = np.frombuffer(content, np.uint8).__array_interface__["data"][0]

    places = [array.__array_interface__["data"][0] - start for array in arrays if isinstance(array, np.ndarray)]

    assert len(places) > 20 and {place % 16 for place in places} == {0}  # schema.fbs: force_align: 16


def test_probabilities_become_scores_that_are_numbers_and_keep_their_order():
    exported = replace(in_memory(random_model()), gives_probabilities=True)

    scores = exported.as_scores(np.array([[1.0, 1e-12, 1e-30, 0.0]], np.float32))[0]

    assert np.isfinite(scores).all() and (np.diff(scores) < 0).all()
    assert scores[:2] == pytest.approx(np.log([1.0, 1e-12]))


def test_an_onnx_file_is_of_versions_that_readers_have_known_since_2022(model):
    graph = to_onnx(model)

    assert [(opset.domain, opset.version) for opset in graph.opset_import] == [("", 17)] and graph.ir_version == 8


def test_a_litert_file_of_a_grey_network_takes_one_channel():
    from ai_edge_litert.interpreter import Interpreter

    graph = Interpreter(model_content=to_litert(random_model(in_channels=1)))

    assert graph.get_input_details()[0]["shape_signature"].tolist() == [-1, 64, 64, 1]


def test_info_names_the_classes_of_a_class_file_for_exported_files_too(onnx_file, tmp_path, capsys):
    names = [f"class {number}" for number in range(len(Classifier.load(onnx_file).class_names))]
    (tmp_path / "names.txt").write_text("\n".join(names), encoding="utf-8")

    assert main(["info", str(onnx_file), "--class-file", str(tmp_path / "names.txt")]) == 0

    assert ", ".join(names[:2]) in capsys.readouterr().out
