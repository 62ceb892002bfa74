"""An exported file that means harm is judged before any engine sees it."""

import re

import numpy as np
import onnx
import pytest

from mnasnet.classify import Classifier
from mnasnet.errors import WeightsError
from mnasnet.export.exported import read_exported
from mnasnet.export.exporter import open_int8_exporter
from mnasnet.testing import random_model
from tests.deploy.conftest import changed_litert, unchecked

pytestmark = pytest.mark.usefixtures("first_passes_count")


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
