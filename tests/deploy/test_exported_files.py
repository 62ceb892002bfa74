"""An exported file opens as what it is; one damaged, from elsewhere or meant to harm ends in one sentence."""

import json
import re
from dataclasses import replace

import numpy as np
import onnx
import pytest

from mnasnet.classify import Classifier
from mnasnet.cli import main
from mnasnet.deploy.export import export_model
from mnasnet.errors import SettingsError, WeightsError
from mnasnet.export.checksum import CHECKSUM_KEY, FILE_KEY, checksum
from mnasnet.export.exported import in_memory, read_exported
from mnasnet.export.exporter import open_exporter, open_int8_exporter
from mnasnet.export.litert import litert_weights, to_litert
from mnasnet.export.onnx import onnx_weights, to_onnx
from mnasnet.testing import random_model
from mnasnet.zoo import open_model

pytestmark = pytest.mark.usefixtures("first_passes_count")


def unchecked(path):
    """``path``, whose checksum is found no more: so files look that were changed on purpose."""
    path.write_bytes(path.read_bytes().replace(b"SHA-256 of this file", b"SHA-256 of nothing  "))
    return path


@pytest.fixture(scope="module")
def onnx_file(model, tmp_path_factory):
    return unchecked(export_model(model, tmp_path_factory.mktemp("onnx"), ["onnx"])[0].files[0])


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


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("weights", "lies in another file; no other file is opened"),
        ("a constant", "lies in another file; no other file is opened"),
        ("a constant of a branch", "only operators of image networks are run, got 'If'"),
        ("sparse weights", "sparse tensors, which are not run"),
    ],
)
def test_weights_in_other_files_are_refused(place, message, onnx_file, tmp_path):
    graph = onnx.load(onnx_file)
    tensor = onnx.TensorProto()
    tensor.CopyFrom(graph.graph.initializer[0])
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    constant = onnx.helper.make_node("Constant", [], ["c"], value=tensor)
    if place == "weights":
        graph.graph.initializer[0].CopyFrom(tensor)
    elif place == "a constant":
        graph.graph.node.append(constant)
    elif place == "a constant of a branch":
        branch = onnx.helper.make_graph([constant], "branch", [], [])
        graph.graph.node.append(onnx.helper.make_node("If", ["scores"], ["c"], then_branch=branch))
    else:
        graph.graph.sparse_initializer.add().values.CopyFrom(tensor)
    (tmp_path / "m.onnx").write_bytes(graph.SerializeToString())

    with pytest.raises(WeightsError, match=message):
        Classifier.load(tmp_path / "m.onnx")


def list_of_tensors(graph):
    tensors = graph.graph.node[0].attribute.add(name="more", type=onnx.AttributeProto.TENSORS).tensors
    tensors.add(name="more", data_location=onnx.TensorProto.EXTERNAL)


ONE_SIGN = {
    "the tensor 'stem.weight' lies in another file": lambda graph: graph.graph.initializer[0].external_data.add(
        key="k"
    ),
    "the tensor 'stem.bias' lies in another file": lambda graph: setattr(
        graph.graph.initializer[1], "data_location", onnx.TensorProto.EXTERNAL
    ),
    "the tensor 'more' lies in another file": list_of_tensors,
    "the graph defines functions of its own": lambda graph: graph.functions.add(name="own"),
}


@pytest.mark.parametrize("message", ONE_SIGN)
def test_one_sign_of_another_file_or_of_functions_is_enough(message, onnx_file, tmp_path):
    graph = onnx.load(onnx_file)
    ONE_SIGN[message](graph)
    (tmp_path / "m.onnx").write_bytes(graph.SerializeToString())

    with pytest.raises(WeightsError, match=message):
        read_exported(tmp_path / "m.onnx")


def test_openvino_without_its_second_file_says_so(model, tmp_path):
    (done,) = export_model(model, tmp_path, ["openvino"])
    done.files[1].unlink()

    with pytest.raises(WeightsError, match=r"cannot read .*tiny.bin: No such file"):
        Classifier.load(done.files[0])


@pytest.fixture(scope="module")
def litert_file(model, tmp_path_factory):
    return unchecked(export_model(model, tmp_path_factory.mktemp("litert"), ["litert"])[0].files[0])


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


def with_node(graph, node, **constants):
    """An ONNX file's network with a first node more, whose answer nobody asks for."""
    graph.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())
    graph.graph.node.insert(0, node)
    graph.graph.value_info.append(onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1]))  # a lie


HOSTILE_ONNX = {
    "only operators of image networks are run, got 'Loop'": lambda graph: with_node(
        graph, onnx.helper.make_node("Loop", ["", ""], ["more"], body=onnx.helper.make_graph([], "body", [], []))
    ),
    "is of the domain 'elsewhere'": lambda graph: with_node(
        graph, onnx.helper.make_node("Conv", ["images"], ["more"], domain="elsewhere")
    ),
    "a value of one image may have 1024 MiB, its 'more' has 33450;": lambda graph: with_node(
        graph,
        onnx.helper.make_node("Pad", ["images", "pads"], ["more"]),
        pads=np.array([0, 0, 27_000, 27_000, 0, 0, 27_000, 27_000]),
    ),
    "may have 1024 MiB, its 'more' has 13732;": lambda graph: with_node(
        graph,
        onnx.helper.make_node("Add", ["column", "row"], ["more"]),
        column=np.ones((60_000, 1), np.float32),
        row=np.ones((1, 60_000), np.float32),
    ),
    "the size of its value 'more' is unknown": lambda graph: with_node(
        graph, onnx.helper.make_node("Pad", ["images", "images"], ["more"])
    ),
}


@pytest.mark.parametrize("message", HOSTILE_ONNX)
def test_an_onnx_file_that_means_harm_is_not_opened(message, onnx_file, tmp_path):
    graph = onnx.load(onnx_file)
    HOSTILE_ONNX[message](graph)
    (tmp_path / "m.onnx").write_bytes(graph.SerializeToString())

    with pytest.raises(WeightsError, match=f"m.onnx is not opened: .*{re.escape(message)}.*export the model again"):
        Classifier.load(tmp_path / "m.onnx")


def test_an_onnx_file_that_looks_like_litert_is_not_opened(onnx_file, litert_file, tmp_path):
    """Both are judged by what they hold; a file that is both would be judged as the one and run as the other."""
    graph = onnx.load(onnx_file)
    with_node(graph, onnx.helper.make_node("Exp", ["centred"], ["more"]))  # no operator of ours, of a known size
    harmful, harmless = graph.SerializeToString(), litert_file.read_bytes()
    start = b"\x7a\x80\x7f\0TFL3"  # a field of 16,256 bytes that ONNX skips; an offset and the mark of a LiteRT file
    place = int.from_bytes(start[:4], "little") - int.from_bytes(harmless[:4], "little")
    content = start.ljust(3 + 16_256, b"\0") + harmful
    filler = place + len(harmless) - len(content) - 5
    content += b"\x7a" + bytes([filler & 127 | 128, filler >> 7 & 127 | 128, filler >> 14 & 127 | 128, filler >> 21])
    (tmp_path / "m.onnx").write_bytes(content.ljust(place, b"\0") + harmless)

    with pytest.raises(WeightsError, match="m.onnx is not opened: by its name it is onnx, by its content litert"):
        Classifier.load(tmp_path / "m.onnx")


def test_an_onnx_file_that_looks_like_onnx_runtimes_own_format_is_not_opened(onnx_file, tmp_path):
    """ONNX Runtime would run the graph that its own format finds in the same bytes, not the one that was judged."""
    start = b"\x7a\x06\0\0ORTM"  # a field that ONNX skips; an offset and the mark of a file of ONNX Runtime's own
    (tmp_path / "m.onnx").write_bytes(start + onnx_file.read_bytes())

    with pytest.raises(WeightsError, match="m.onnx is not opened: the file is of ONNX Runtime's own format"):
        Classifier.load(tmp_path / "m.onnx")


@pytest.fixture(scope="module")
def openvino_file(model, tmp_path_factory):
    return unchecked(export_model(model, tmp_path_factory.mktemp("openvino"), ["openvino"])[0].files[0])


HOSTILE_IR = {
    "is not opened: it declares entities": lambda content, _: content.replace(
        b"<net ", b'<!DOCTYPE net [<!ENTITY e SYSTEM "file:///etc/passwd">]>\n<net ', 1
    ),
    "is not opened: its layer 'TensorIterator' is none of": lambda content, _: content.replace(
        b'type="Convolution"', b'type="TensorIterator"', 1
    ),
    r"damaged or no OpenVINO model \(not well-formed": lambda _, onnx_content: onnx_content,  # it may name other files
    r"damaged or no OpenVINO model \(Incorrect weights": lambda content, _: re.sub(
        rb'offset="\d+" size', b'offset="99999999" size', content, count=1
    ),
}


@pytest.mark.parametrize("message", HOSTILE_IR)
def test_an_openvino_file_that_means_harm_is_not_opened(message, openvino_file, onnx_file, tmp_path):
    (tmp_path / "m.xml").write_bytes(HOSTILE_IR[message](openvino_file.read_bytes(), onnx_file.read_bytes()))
    (tmp_path / "m.bin").write_bytes(openvino_file.with_suffix(".bin").read_bytes())

    with pytest.raises(WeightsError, match=f"m.xml (is )?{message}.*export the model again"):
        Classifier.load(tmp_path / "m.xml")


def changed_litert(path, change):
    """The content of a LiteRT file after ``change`` of its model as an object."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes()))
    change(model, model.subgraphs[0])
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def other_operator(model, _):
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = 94  # FILL


def large_sum(model, graph):
    from ai_edge_litert import schema_py_generated as schema

    def value(shape, data=None):
        model.buffers.append(schema.BufferT(data=data))
        graph.tensors.append(schema.TensorT(name=b"more", shape=shape, buffer=len(model.buffers) - 1))
        return len(graph.tensors) - 1

    side = 20_000
    parts = [value(shape, np.ones(4 * side, np.uint8)) for shape in ([1, side, 1, 1], [1, 1, side, 1])]
    codes = [code.builtinCode for code in model.operatorCodes]
    graph.operators = [
        schema.OperatorT(
            opcodeIndex=codes.index(schema.BuiltinOperator.ADD),
            inputs=parts,
            outputs=[value([1, side, side, 1])],
            builtinOptionsType=schema.BuiltinOptions.AddOptions,
            builtinOptions=schema.AddOptionsT(),
        ),
        *graph.operators,
    ]


def operator_of_its_own(model, _):
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = 32  # CUSTOM
    model.operatorCodes[0].customCode = b"own"


def thousands_of_operators(_, graph):
    graph.operators = graph.operators * 500


def no_stride(model, graph):
    next(one for one in graph.operators if hasattr(one.builtinOptions, "strideW")).builtinOptions.strideW = 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_operator, "is not opened: only operators of image networks are run, got LiteRT's number 94"),
        (large_sum, "is not opened: a value of one image may have 1024 MiB, its 'more' has 1525;"),
        (no_stride, "is damaged .*stride_width > 0 was not true"),
    ],
)
def test_a_litert_file_that_means_harm_is_not_opened(change, message, litert_file, tmp_path):
    (tmp_path / "m.tflite").write_bytes(changed_litert(litert_file, change))

    with pytest.raises(WeightsError, match=f"m.tflite {message}.*export the model again"):
        Classifier.load(tmp_path / "m.tflite")


@pytest.fixture(scope="module")
def int8_litert_file(tmp_path_factory):
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
    made = open_int8_exporter("litert", images).quantise(random_model(), pixels=True, softmax=False)
    return unchecked(made.write(tmp_path_factory.mktemp("int8") / "m.int8.tflite", {})[0])


@pytest.mark.parametrize(
    ("value", "scale", "message"),
    [
        ("images", 0, "0 is no scale of a value in 8 bits"),
        ("pooled", -0.02, "-0.02 is no scale of a value in 8 bits"),
        ("pooled", float("nan"), "nan is no scale of a value in 8 bits"),
        ("pooled", 6e36, "6e+36 is no scale of a value in 8 bits"),
        (".sum", 1e-9, "a sum in 8 bits has the scale 1e-09, of a value of the scale 0.0"),
    ],
)
def test_scales_at_which_litert_would_end_the_process_are_not_opened(value, scale, message, int8_litert_file, tmp_path):
    def change(_, graph):
        tensor = next(one for one in graph.tensors if one.name.decode().endswith(value))
        tensor.quantization.scale = [scale]

    (tmp_path / "m.tflite").write_bytes(changed_litert(int8_litert_file, change))

    with pytest.raises(WeightsError, match=f"m.tflite is not opened: the LiteRT file is damaged: {re.escape(message)}"):
        Classifier.load(tmp_path / "m.tflite")


@pytest.mark.parametrize("change", [other_operator, operator_of_its_own, thousands_of_operators])
def test_a_litert_file_is_judged_before_its_engine_sees_it(change, litert_file, tmp_path, monkeypatch):
    (tmp_path / "m.tflite").write_bytes(changed_litert(litert_file, change))
    opened = []
    monkeypatch.setattr("ai_edge_litert.interpreter.Interpreter", lambda *args, **options: opened.append(options))

    with pytest.raises(WeightsError, match="m.tflite is not opened: "):
        Classifier.load(tmp_path / "m.tflite")

    assert opened == []


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


def test_weights_in_litert_files_begin_where_processors_read_fast(litert_file):
    from ai_edge_litert import schema_py_generated as schema

    content = litert_file.read_bytes()
    model = schema.Model.GetRootAs(content)
    arrays = [model.Buffers(index).DataAsNumpy() for index in range(model.BuffersLength())]
    start = np.frombuffer(content, np.uint8).__array_interface__["data"][0]

    places = [array.__array_interface__["data"][0] - start for array in arrays if isinstance(array, np.ndarray)]

    assert len(places) > 20 and {place % 16 for place in places} == {0}  # schema.fbs: force_align: 16


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
