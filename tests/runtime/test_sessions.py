"""Every engine gives the network's own scores."""

import sys
import types

import numpy as np
import onnx
import onnxruntime
import pytest

from mnasnet import packages
from mnasnet.data.transforms import normalise
from mnasnet.errors import RuntimeMissingError, SettingsError
from mnasnet.export.exported import ExportedModel, in_memory
from mnasnet.export.onnx import to_onnx
from mnasnet.modelfile import header_of, network_of
from mnasnet.presets import architecture
from mnasnet.runtime import executorch, session
from mnasnet.runtime.onnx_graph import CUDA, open_graph
from mnasnet.runtime.passes import PASS_PIXELS, in_passes
from mnasnet.runtime.session import open_session
from mnasnet.spec import ArchitectureSpec, BlockSpec
from mnasnet.testing import TINY, random_model

EVERY_OPERATOR = ArchitectureSpec(
    stem_channels=8,
    head_channels=40,
    bn_epsilon=1e-3,
    blocks=tuple(
        BlockSpec(operator, 8 * (index + 1), kernel, stride, 2, 3 if operator == "inverted" else 1, se, skip)
        for index, (operator, kernel, stride, se, skip) in enumerate(
            [
                ("conv", 3, 1, 0.25, "identity"),
                ("separable", 5, 2, 0.25, "pool"),
                ("inverted", 3, 2, 0.0, "pool"),
                ("conv", 5, 2, 0.0, "pool"),
                ("inverted", 5, 1, 0.25, "none"),
                ("separable", 3, 2, 0.0, "identity"),
            ]
        )
    ),
)
SPECS = {"tiny": TINY, "every operator": EVERY_OPERATOR, "A1": architecture("semnasnet_050")}


def pixels(size: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=SPECS)
def model(request):
    return random_model(SPECS[request.param], input_size=65)


def reference(model, batch):
    import torch

    with torch.no_grad():
        return network_of(model).eval()(torch.from_numpy(normalise(batch, model.preprocess))).numpy()


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime", "openvino", "litert"])
def test_scores_equal_the_networks(model, runtime):
    batch = pixels(65)

    scores = open_session(model, runtime=runtime, device="cpu").run(batch)

    np.testing.assert_allclose(scores, reference(model, batch), atol=1e-4)


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_bf16_is_near(runtime):
    model, batch = random_model(), pixels(64)

    scores = open_session(model, runtime=runtime, device="cpu", precision="bf16").run(batch)

    # bf16 keeps 8 bits; a dozen layers add up to about a percent of the scores' spread
    np.testing.assert_allclose(scores, reference(model, batch), atol=0.05)


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("takes_pixels", [False, True])
def test_exported_graphs_are_valid_and_carry_the_header(takes_pixels, softmax):
    import json

    import onnxruntime

    model, batch = random_model(), pixels(64)
    graph = to_onnx(model, pixels=takes_pixels, softmax=softmax)

    onnx.checker.check_model(graph, full_check=True)
    engine = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    output = engine.run(None, {"images": batch if takes_pixels else normalise(batch, model.preprocess)})[0]

    expected = reference(model, batch)
    if softmax:
        expected = np.exp(expected) / np.exp(expected).sum(1, keepdims=True)
    np.testing.assert_allclose(output, expected, atol=1e-5)
    assert json.loads(graph.metadata_props[0].value) == json.loads(json.dumps(header_of(model)))


def test_a_graph_is_read_as_onnx_whatever_its_first_bytes_look_like():
    content = b"\x7a\x06\0\0ORTM" + in_memory(random_model()).content  # a field that ONNX skips

    assert open_graph(content, threads=1).get_inputs()[0].name == "images"


def test_auto_takes_onnx_runtime_where_no_gpu_answers(monkeypatch):
    monkeypatch.setattr(session, "has_cuda", lambda: False)

    assert open_session(random_model()).description.startswith("onnxruntime")


def test_one_session_serves_several_threads():
    from concurrent.futures import ThreadPoolExecutor

    model = random_model()
    batches = [np.random.default_rng(seed).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8) for seed in range(8)]
    for runtime in ("onnxruntime", "openvino", "litert"):
        opened = open_session(model, runtime=runtime, device="cpu", threads=1)

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(opened.run, batches))

        for batch, answer in zip(batches, answers, strict=True):
            np.testing.assert_allclose(answer, opened.run(batch), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"device": "cuda", "runtime": "openvino"},
            "device cuda runs through torch or onnxruntime, got runtime 'openvino'; choose one of them, or device cpu",
        ),
        (
            {"runtime": "onnxruntime", "precision": "bf16"},
            "bf16 is computed by openvino and torch, got runtime 'onnxruntime'; choose one of them, or fp32",
        ),
        ({"runtime": "litert", "precision": "bf16"}, "bf16 is computed by openvino and torch, got runtime 'litert'"),
        (
            {"runtime": "tensorrt"},
            "runtime must be one of auto, onnxruntime, openvino, litert, executorch, torch, got 'tensorrt'",
        ),
    ],
)
def test_impossible_combinations_say_what_to_set(options, message):
    with pytest.raises(SettingsError, match=message):
        open_session(random_model(), **options)


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(session, "has_cuda", lambda: False)

    with pytest.raises(SettingsError, match="torch sees no GPU; set device to auto or cpu"):
        open_session(random_model(), device="cuda")


def test_no_package_helps_where_no_driver_is(monkeypatch):
    monkeypatch.setattr(session, "_may_have_driver", lambda: False)

    with pytest.raises(SettingsError, match="this machine has no NVIDIA driver; set device to cpu"):
        open_session(random_model(), device="cuda", runtime="onnxruntime")


def test_onnx_runtime_on_a_gpu_needs_its_other_package(monkeypatch):
    monkeypatch.setattr(session, "_may_have_driver", lambda: True)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])

    with pytest.raises(RuntimeMissingError, match="pip uninstall onnxruntime; pip install onnxruntime-gpu; or set"):
        open_session(random_model(), device="cuda", runtime="onnxruntime")


@pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="CUDA may start here")
def test_onnx_runtime_that_would_quietly_compute_on_the_cpu_is_refused(monkeypatch):
    monkeypatch.setattr(session, "_may_have_driver", lambda: True)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])

    with pytest.raises(SettingsError, match="could not start CUDA .* set runtime to torch, or device to cpu"):
        open_session(random_model(), device="cuda", runtime="onnxruntime")


@pytest.mark.gpu
def test_onnx_runtime_on_a_gpu_gives_the_networks_scores(model):
    batch = pixels(65)

    opened = open_session(model, runtime="onnxruntime", device="cuda")

    np.testing.assert_allclose(opened.run(batch), reference(model, batch), atol=1e-4)
    assert " cuda fp32" in opened.description


def test_an_exported_file_that_no_gpu_engine_reads_says_what_to_give():
    exported = in_memory(random_model(), "litert")

    with pytest.raises(SettingsError, match="litert file in fp32 runs on the CPU .* give the model file instead"):
        open_session(exported, device="cuda")


def test_a_missing_runtime_is_named_with_its_install_line():
    with pytest.raises(RuntimeMissingError, match="not_there is not installed; run: pip install not-there"):
        packages.require("not_there")


def test_an_install_line_has_the_name_that_pip_knows(monkeypatch):
    monkeypatch.setitem(packages.MODULES, "litert", "ai_edge_litert_that_is_not_there")

    with pytest.raises(RuntimeMissingError, match="litert is not installed; run: pip install ai-edge-litert-that-is"):
        open_session(random_model(), runtime="litert")


def test_executorch_loads_its_network_anew_for_every_pool_of_threads(monkeypatch):
    """A network that was loaded for another pool never returns; this pretended engine says so instead."""
    import torch

    pool = types.SimpleNamespace(threads=2, number=0)

    def reset(threads):
        pool.threads, pool.number = threads, pool.number + 1

    class Program:
        loaded_for = None

        def load_method(self, _):
            self.loaded_for = pool.number if self.loaded_for is None else self.loaded_for  # it keeps what it loaded
            return types.SimpleNamespace(execute=self.execute)

        def execute(self, images):
            assert self.loaded_for == pool.number, "never returns"
            return [torch.zeros(len(images[0]), 3)]

    library = types.ModuleType("executorch.extension.pybindings")
    library.portable_lib = types.SimpleNamespace(
        _threadpool_get_thread_count=lambda: pool.threads, _unsafe_reset_threadpool=reset
    )
    monkeypatch.setitem(sys.modules, library.__name__, library)
    monkeypatch.setattr(executorch, "open_program", lambda content: Program())
    monkeypatch.setattr(executorch, "version", lambda name: "1.5")
    file = ExportedModel("executorch", b"", ("a", "b", "c"), random_model().preprocess, True, False)
    one, two = (executorch.ExecutorchSession(file, device="cpu", precision="fp32", threads=n) for n in (1, 2))

    for opened, threads in ((one, 1), (two, 2), (two, 2), (one, 1)):
        assert opened.run(pixels(64, 2)).shape == (2, 3)
        assert pool.threads == threads


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "litert"])
def test_a_large_batch_goes_in_passes_that_fit_the_caches_and_answers_the_same(monkeypatch, model, runtime):
    whole, batch, sizes = open_session(model, runtime=runtime, threads=1), pixels(65, 10), []
    expected, run = whole.run(batch), whole.run
    monkeypatch.setattr(whole, "run", lambda part: sizes.append(len(part)) or run(part))
    monkeypatch.setattr("mnasnet.runtime.passes.PASS_PIXELS", 4 * 65 * 65)

    scores = in_passes(whole, 65).run(batch)

    assert sizes == [4, 4, 2]
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_a_pass_has_at_least_one_image():
    model = random_model(TINY, input_size=512)
    session = in_passes(open_session(model, runtime="onnxruntime", threads=1), 512)

    assert PASS_PIXELS < 512 * 512
    assert session.run(pixels(512, 2)).shape == (2, len(model.class_names))


def test_torch_takes_a_batch_at_once(model):
    session = open_session(model, runtime="torch", threads=1)

    assert in_passes(session, 65) is session
