"""An exported file that is damaged, changed or from elsewhere ends in one sentence."""

import json

import numpy as np
import onnx
import pytest

from mnasnet.classify import Classifier
from mnasnet.cli import main
from mnasnet.deploy.export import export_model
from mnasnet.errors import WeightsError
from mnasnet.export.checksum import CHECKSUM_KEY, FILE_KEY, checksum
from mnasnet.export.exported import read_exported
from mnasnet.export.exporter import open_exporter
from mnasnet.export.litert import litert_weights
from mnasnet.export.onnx import onnx_weights
from mnasnet.testing import random_model
from tests.deploy.conftest import changed_litert, unchecked

pytestmark = pytest.mark.usefixtures("first_passes_count")


def without_outputs(content):
    graph = onnx.load_model_from_string(content)
    del graph.graph.output[:]
    return graph.SerializeToString()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[: len(content) // 2], "the file is damaged or neither ONNX nor LiteRT"),
        (lambda content: b"<html>", "the file is damaged or neither ONNX nor LiteRT"),
        (lambda content: b"", "the file is neither ONNX nor LiteRT; export the model again"),
        (lambda content: without_outputs(content), "damaged or no ONNX file"),
        (lambda content: content.replace(b'"class_names"', b'"klass_names"'), "header of .* is damaged"),
    ],
)
def test_a_damaged_file_is_named(change, message, onnx_file, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(change(onnx_file.read_bytes()))

    with pytest.raises(WeightsError, match=message):
        Classifier.load(path)


def test_a_header_nested_without_end_is_named(onnx_file, tmp_path):
    graph = onnx.load(onnx_file)
    (header,) = (item for item in graph.metadata_props if item.key == "mnasnet")
    header.value = "[" * 100_000
    onnx.save(graph, tmp_path / "m.onnx")

    with pytest.raises(WeightsError, match="header of .* is damaged"):
        Classifier.load(tmp_path / "m.onnx")


def test_a_file_from_elsewhere_is_refused(onnx_file, tmp_path):
    graph = onnx.load(onnx_file)
    del graph.metadata_props[:]
    onnx.save(graph, tmp_path / "foreign.onnx")

    with pytest.raises(WeightsError, match="carries no class names and preprocessing of this package; export"):
        Classifier.load(tmp_path / "foreign.onnx")


def test_openvino_without_its_second_file_says_so(model, tmp_path):
    (done,) = export_model(model, tmp_path, ["openvino"])
    done.files[1].unlink()

    with pytest.raises(WeightsError, match=r"cannot read .*tiny.bin: No such file"):
        Classifier.load(done.files[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: b"", "not opened: the file is neither ONNX nor LiteRT"),
        (lambda content: b"<html>", "not opened: the file is damaged or neither ONNX nor LiteRT"),
        (lambda content: content[: len(content) // 2], "not opened: the LiteRT file is damaged"),
        (lambda content: content[:8] + b"\xff" * 64 + content[72:], "not opened: the LiteRT file is damaged"),
    ],
)
def test_a_damaged_litert_file_is_named(change, message, litert_file, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(change(litert_file.read_bytes()))

    with pytest.raises(WeightsError, match=f"m.tflite is {message}"):
        Classifier.load(path)


def test_a_litert_file_from_elsewhere_is_refused(litert_file, tmp_path):
    path = tmp_path / "foreign.tflite"
    path.write_bytes(litert_file.read_bytes().replace(b"mnasnet\x00", b"another\x00"))  # the metadata's name

    with pytest.raises(WeightsError, match="carries no class names and preprocessing of this package; export"):
        Classifier.load(path)


@pytest.mark.parametrize("kind", ["onnx", "openvino", "litert"])
def test_a_flipped_bit_is_noticed_wherever_it_lies(kind, model, tmp_path):
    (done,) = export_model(model, tmp_path, [kind])
    for file in done.files:
        content = file.read_bytes()
        for place in range(0, len(content), len(content) // 30):
            damaged = bytearray(content)
            damaged[place] ^= 64
            file.write_bytes(damaged)

            with pytest.raises(WeightsError, match=rf"{file.name} (is damaged|has other weights).*; copy .* again"):
                Classifier.load(done.files[0])
        file.write_bytes(content)


def test_a_damaged_litert_file_is_named_before_its_engine_sees_it(model, tmp_path, monkeypatch):
    path = open_exporter("litert").export(model, tmp_path / "m.tflite", pixels=True, softmax=False)[0]
    path.write_bytes(path.read_bytes().replace(b"stem.weight", b"stem.weighs"))
    opened = []
    monkeypatch.setattr("ai_edge_litert.interpreter.Interpreter", lambda *args, **options: opened.append(options))

    with pytest.raises(WeightsError, match="m.tflite is damaged: it has other bytes than were exported"):
        Classifier.load(path)

    assert opened == []


def test_the_second_file_of_another_export_is_noticed(model, tmp_path):
    (done,) = export_model(model, tmp_path, ["openvino"])
    (other,) = export_model(random_model(class_names=model.class_names, seed=1), tmp_path / "other", ["openvino"])
    done.files[1].write_bytes(other.files[1].read_bytes())

    with pytest.raises(
        WeightsError, match=r"tiny.bin has other weights than were exported .*belongs to another export"
    ):
        Classifier.load(done.files[0])


def test_a_second_file_of_another_length_is_named_with_its_first(model, tmp_path):
    done = export_model(model, tmp_path, ["openvino"])[0]
    done.files[1].write_bytes(done.files[1].read_bytes()[:-4])

    with pytest.raises(WeightsError, match=r"Incorrect weights .* copy it and tiny\.bin again, both of one export"):
        Classifier.load(done.files[0])


def test_files_of_before_there_was_a_checksum_open(onnx_file, tmp_path):
    graph = onnx.load(onnx_file)
    (told,) = (item for item in graph.metadata_props if item.key == FILE_KEY)
    graph.metadata_props.remove(told)
    onnx.save(graph, tmp_path / "old.onnx")

    assert Classifier.load(tmp_path / "old.onnx").class_names == Classifier.load(onnx_file).class_names


def as_before(path):
    """The content of an exported file as earlier versions wrote it, with a checksum of its weights alone."""
    if path.suffix == ".onnx":
        graph = onnx.load(path)
        (told,) = (item for item in graph.metadata_props if item.key == FILE_KEY)
        told.key, told.value = CHECKSUM_KEY, checksum(onnx_weights(graph))
        return graph.SerializeToString()

    def change(model, _):
        (told,) = (entry for entry in model.metadata if entry.name == FILE_KEY.encode())
        told.name = CHECKSUM_KEY
        weights = checksum(litert_weights(path.read_bytes()))
        model.buffers[told.buffer].data = np.frombuffer(weights.encode(), np.uint8)

    return changed_litert(path, change)


@pytest.mark.parametrize("name", ["onnx_file", "litert_file"])
def test_files_of_before_have_a_checksum_of_their_weights(name, model, tmp_path, request):
    path = tmp_path / f"old{request.getfixturevalue(name).suffix}"
    content = bytearray(as_before(request.getfixturevalue(name)))
    path.write_bytes(content)
    assert Classifier.load(path).class_names == model.class_names

    content[content.index(model.weights["classifier.weight"].tobytes()) + 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"{path.name} has other weights than were exported"):
        Classifier.load(path)


@pytest.mark.parametrize("content", [b"", b"<net/>", b"<?xml version='1.0'?><net name='x'></net>"])
def test_a_damaged_openvino_file_is_named(content, tmp_path):
    (tmp_path / "m.xml").write_bytes(content)
    (tmp_path / "m.bin").write_bytes(b"")

    with pytest.raises(WeightsError, match="damaged or no OpenVINO model"):
        Classifier.load(tmp_path / "m.xml")


@pytest.mark.parametrize("kind", ["onnx", "litert", "openvino"])
def test_whatever_happens_to_a_file_on_its_way_is_an_answer_or_one_sentence(kind, model, tmp_path):
    """A hundred random changes each; thousands more were tried by hand, in processes with limits."""
    path = open_exporter(kind).export(model, tmp_path / f"m{open_exporter(kind).suffix}", pixels=True, softmax=True)[0]
    unchecked(path)  # its checksum would end all of them alike
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), rng.integers(1, 20)):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged[: rng.choice([len(content), rng.integers(1, len(content))], p=[0.8, 0.2])])

        try:
            read_exported(path)
        except WeightsError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"architecture": None}, "is damaged"),
        ({"metrics": []}, "is damaged"),
        ({"latencies": None}, "is damaged"),
        ({"schema": 9}, "has model file schema 9, newer than"),
        ({"class_names": ["cat"]}, "has 3 outputs but 1 class names; export the model again"),
    ],
)
def test_a_header_that_somebody_changed_is_refused_in_one_line(change, complaint, onnx_file, tmp_path, capsys):
    graph = onnx.load(onnx_file)
    for item in graph.metadata_props:
        if item.key == "mnasnet":
            item.value = json.dumps({**json.loads(item.value), **change})
    onnx.save(graph, tmp_path / "changed.onnx")

    assert main(["info", str(tmp_path / "changed.onnx")]) == 2

    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("name", ["openvino_file", "litert_file"])
def test_class_names_that_are_not_as_many_as_outputs_are_refused_in_every_format(name, tmp_path, request):
    file = request.getfixturevalue(name)
    for part in file.parent.glob("*.*"):
        content = part.read_bytes()
        for end, start in ((b'dog", "the', b"dog    the"), (b"dog&quot;, &quot;the", b"dog the")):
            content = content.replace(end, start[: len(end)])  # two names become one
        (tmp_path / part.name).write_bytes(content)

    with pytest.raises(WeightsError, match="has 3 outputs but 2 class names; export the model again"):
        read_exported(tmp_path / file.name)
