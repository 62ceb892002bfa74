"""An export is kept only when it is the same network; whoever gets the file can use it without us."""

import ast
import errno
import json
import logging
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from mnasnet import modelfile
from mnasnet.classify import Classifier
from mnasnet.cli import main
from mnasnet.commands.export import lines_of
from mnasnet.data.folder import scan
from mnasnet.data.split import SPLIT_FILE, split, write_split
from mnasnet.data.transforms import prepare
from mnasnet.deploy import export as deploy
from mnasnet.deploy.export import Exported, export_int8, export_model
from mnasnet.deploy.parity import Parity, compare
from mnasnet.deploy.pictures import test_pictures as built_in_pictures
from mnasnet.errors import ExportError, RuntimeMissingError
from mnasnet.export.executorch import to_executorch
from mnasnet.export.exported import read_exported
from mnasnet.export.exporter import EXPORTERS, INT8_EXPORTERS, open_exporter, open_int8_exporter
from mnasnet.export.litert import LitertExporter, to_litert
from mnasnet.export.onnx import OnnxExporter, to_onnx
from mnasnet.files import write_atomic
from mnasnet.preprocess import Preprocess
from mnasnet.runtime.session import open_session
from mnasnet.testing import coloured_image, random_model, write_image_folder
from mnasnet.train.evaluate import evaluate
from mnasnet.train.held_out import division_of
from mnasnet.zoo import open_model
from tests.deploy.conftest import NAMES

pytestmark = pytest.mark.usefixtures("first_passes_count")


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("name", [name for name in EXPORTERS if name != "executorch"])
def test_every_format_is_the_same_network(name, pixels, softmax, model, photos, tmp_path):
    (done,) = export_model(model, tmp_path, [name], images=[photos], pixels=pixels, softmax=softmax)

    assert done.parity.same and done.parity.images == 12
    assert done.parity.max_difference < 1e-5
    classifier = Classifier.load(done.files[0])
    assert classifier.class_names == NAMES and classifier.preprocess == model.preprocess
    picture = built_in_pictures()[0][1]
    expected = Classifier(model, runtime="onnxruntime").predict([picture])[0]
    found = classifier.predict([picture])[0]
    assert found.names == expected.names
    np.testing.assert_allclose(found.confidences, expected.confidences, atol=1e-5)


def test_class_names_stay_names_in_the_recipes_program(model, tmp_path):
    names = (',__import__("os").abort(),*"abc"]#<names>', "<file>", "```\n<size>")[: len(NAMES)]
    (done,) = export_model(replace(model, class_names=names), tmp_path / "<names>", ["onnx"])
    recipe = done.files[0].with_name(f"{done.files[0].name}.preprocess.md").read_text(encoding="utf-8")

    program = ast.parse(re.search(r"```python\n(.*?)\n```\n", recipe, re.DOTALL)[1])
    listed = [ast.unparse(line) for line in program.body if ast.unparse(line).startswith("names = ")]
    assert listed == [f"names = {list(names)!r}"]


@pytest.mark.parametrize(
    ("name", "pixels", "softmax", "crop"),
    [
        ("onnx", False, False, "center"),
        ("onnx", True, True, "squash"),
        ("openvino", True, False, "center"),
        ("litert", False, True, "squash"),
        ("litert", True, False, "center"),
    ],
)
def test_the_recipes_program_gives_our_answer(name, pixels, softmax, crop, model, photos, tmp_path):
    model = replace(model, preprocess=Preprocess(64, 73, crop=crop, interpolation="bicubic"))
    (done,) = export_model(model, tmp_path, [name], pixels=pixels, softmax=softmax)
    recipe = (tmp_path / f"{done.files[0].name}.preprocess.md").read_text(encoding="utf-8")
    program = re.search(r"```python\n(.*?)```", recipe, re.DOTALL)[1]
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    photo = photos / "red" / "000.jpg"
    if pixels:  # half of the picture shines through
        image = Image.open(photo).convert("RGBA")
        image.paste((0, 0, 255, 40), (0, 0, image.width // 2, image.height))
        image.save(photo := tmp_path / "photo.png")

    shown = subprocess.run(
        [sys.executable, "-X", "utf8", "program.py", str(photo)],
        cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=True,
    ).stdout  # fmt: skip

    expected = Classifier(model, runtime="onnxruntime").predict([photo])[0]
    label, confidence = shown.strip().rsplit(" ", 1)
    assert label == expected.label
    assert float(confidence) == pytest.approx(expected.confidence, abs=1e-3)


def large_photo(folder):
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)  # fine grain shows how a JPEG was read
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(noise).save(folder / "large.jpg", quality=95, exif=turned)
    return "large.jpg"


def scan_of_16_bits(folder):
    slope = np.linspace(0, 65535, 80 * 100).reshape(80, 100).astype(np.uint16)
    Image.fromarray(slope).save(folder / "scan.png")
    return "scan.png"


@pytest.mark.parametrize("image", [large_photo, scan_of_16_bits])
def test_the_recipes_program_sees_an_image_as_classify_does(image, model, tmp_path):
    (done,) = export_model(model, tmp_path, ["onnx"])
    recipe = (tmp_path / f"{done.files[0].name}.preprocess.md").read_text(encoding="utf-8")
    program = re.search(r"```python\n(.*?)```", recipe, re.DOTALL)[1]
    (tmp_path / "program.py").write_text(f"{program}\nnp.save('pixels.npy', pixels)\n", encoding="utf-8")
    name = image(tmp_path)

    subprocess.run([sys.executable, "program.py", name], cwd=tmp_path, check=True, capture_output=True)

    seen = np.load(tmp_path / "pixels.npy").astype(int)
    assert np.abs(seen - Classifier(model, runtime="onnxruntime").prepare(tmp_path / name)).max() <= 2
    assert "another order" in recipe  # which is what the 2 are for


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_the_recipes_program_stops_at_an_image_whose_white_nobody_knows(kind, model, tmp_path):
    (done,) = export_model(model, tmp_path, ["onnx"])
    recipe = (tmp_path / f"{done.files[0].name}.preprocess.md").read_text(encoding="utf-8")
    (tmp_path / "program.py").write_text(re.search(r"```python\n(.*?)```", recipe, re.DOTALL)[1], encoding="utf-8")
    Image.fromarray(np.full((80, 100), 70_000, kind)).save(tmp_path / "depth.tif")

    ran = subprocess.run([sys.executable, "program.py", "depth.tif"], cwd=tmp_path, capture_output=True, text=True)

    assert ran.returncode == 1 and ran.stdout == ""
    assert ran.stderr.strip() == "depth.tif opens with 32 bits a pixel, of no known range; save it as a PNG of 8 or 16"


class WrongExporter(OnnxExporter):
    """Writes another network than it was given, as a broken converter would."""

    def export(self, model, path, **options):
        last = {key: -value for key, value in model.weights.items() if key.startswith("classifier")}
        weights = {**model.weights, **last}
        return super().export(replace(model, weights=weights), path, **options)


def test_an_export_that_answers_otherwise_fails_and_leaves_no_file(model, photos, tmp_path, monkeypatch):
    monkeypatch.setitem(EXPORTERS, "wrong", (__name__, "WrongExporter"))

    with pytest.raises(ExportError, match=r"wrong export of tiny is not the same network: another answer on \d+ of"):
        export_model(model, tmp_path / "out", ["wrong"], images=[photos])

    assert not (tmp_path / "out").exists()


def test_disagreeing_images_are_named(model):
    class Reversed:
        def __init__(self, session):
            self.session = session

        def run(self, batch):
            return -self.session.run(batch)

    session = Classifier(model, runtime="onnxruntime")._session
    images = [("one", np.zeros((64, 64, 3), np.uint8)), ("two", np.full((64, 64, 3), 255, np.uint8))]

    parity = compare(session, Reversed(session), images)

    assert not parity.same and parity.disagreeing == ("one", "two")
    assert "another answer on 2 of 2 images (one, two)" in parity.sentence


def test_scores_that_are_no_numbers_never_pass(model):
    class Broken:
        def run(self, batch):
            return np.full((1, 3), np.nan, np.float32)

    session = Classifier(model, runtime="onnxruntime")._session

    assert not compare(session, Broken(), [("one", np.zeros((64, 64, 3), np.uint8))]).same


def test_a_model_whose_own_scores_are_no_numbers_is_not_exported(model, tmp_path):
    weights = {**model.weights, "classifier.bias": np.full(len(NAMES), np.nan, np.float32)}

    with pytest.raises(
        ExportError, match=r"the model's answers, which for .* are no numbers; take an earlier checkpoi"
    ):
        export_model(replace(model, weights=weights), tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_an_export_never_replaces_the_weights_it_is_made_from(model, tmp_path, capsys):
    path = tmp_path / "tiny.bin"
    modelfile.save(model, path)
    before = path.read_bytes()

    assert main(["export", str(path), "--to", "openvino", "--out", str(tmp_path)]) == 2

    assert f"an export never replaces the model it is made from, {path}; give another" in capsys.readouterr().err
    assert path.read_bytes() == before and not (tmp_path / "tiny.xml").exists()


def test_an_export_replaces_an_earlier_one_but_no_weights_of_its_name(model, tmp_path):
    export_model(model, tmp_path, "openvino")
    export_model(model, tmp_path, "openvino")
    (tmp_path / "tiny.xml").unlink()

    with pytest.raises(ExportError, match=r"tiny\.bin has no tiny\.xml beside it and may be weights; move it"):
        export_model(model, tmp_path, "openvino")


def test_an_export_that_a_full_disk_cut_short_leaves_nothing_in_the_way_of_the_next(model, tmp_path, monkeypatch):
    def full(path, data):
        if path.suffix == ".xml":
            raise OSError(errno.ENOSPC, "No space left on device")
        write_atomic(path, data)

    with monkeypatch.context() as disk:
        disk.setattr("mnasnet.deploy.export.write_atomic", full)
        with pytest.raises(ExportError, match="No space left on device"):
            export_model(model, tmp_path, "openvino")

    assert not list(tmp_path.glob("tiny.*"))
    assert export_model(model, tmp_path, "openvino")


def test_an_export_into_a_link_writes_where_the_link_leads(model, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tiny.onnx").symlink_to(tmp_path / "served.onnx")

    (done,) = export_model(model, tmp_path / "out")

    assert done.files[0].is_symlink() and read_exported(tmp_path / "served.onnx").class_names == NAMES


@pytest.mark.parametrize(
    ("name", "hint"),
    [("onnxx", "did you mean onnx?"), ("TFLite", "TFLite files are made by litert"), ("coreml", "got 'coreml'")],
)
def test_a_format_that_is_misspelt_or_called_otherwise_is_recognised(name, hint):
    with pytest.raises(ExportError) as caught:
        open_exporter(name)

    assert str(caught.value).endswith(hint)


def test_an_unknown_format_is_answered_with_the_list(model, tmp_path):
    with pytest.raises(ExportError, match="exported to onnx, openvino, litert, executorch, got 'floppy'"):
        export_model(model, tmp_path, ["floppy"])


def test_a_missing_package_is_named_with_its_install_line(monkeypatch):
    monkeypatch.setattr(LitertExporter, "package", "ai_edge_litert_that_is_away")

    with pytest.raises(RuntimeMissingError, match="is not installed; run: pip install ai-edge-litert-that-is-away"):
        open_exporter("litert")


def test_a_script_may_name_folders_in_text_and_one_format_alone(model, photos, tmp_path):
    rgb = replace(model, class_names=("red", "green", "blue"))
    (whole,) = export_model(model, str(tmp_path), "onnx", images=[str(photos)])
    (small,) = export_int8(rgb, str(tmp_path), str(photos), "litert", max_drop=0.99)

    assert [whole.files, small.files] == [(tmp_path / "tiny.onnx",), (tmp_path / "tiny.int8.tflite",)]
    assert read_exported(str(whole.files[0])).class_names == NAMES


def test_networks_for_other_than_rgb_are_refused(tmp_path):
    with pytest.raises(ExportError, match="compared on RGB images, this network takes 1 channels"):
        export_model(random_model(in_channels=1), tmp_path)


@pytest.mark.parametrize("write", [to_onnx, to_litert, to_executorch])
def test_pixels_are_of_rgb_images_alone_in_every_format(write):
    with pytest.raises(ExportError, match="pixels=True needs a network with 3 input channels, this one has 1"):
        write(random_model(in_channels=1), pixels=True)


def test_the_command_exports_and_classify_takes_the_file_back(model, photos, tmp_path, capsys):
    modelfile.save(model, tmp_path / "m.safetensors")
    out = tmp_path / "out"

    options = ["--to", "ONNX, openvino", "--out", str(out), "--images", str(photos), "--pixels", "--json"]
    assert main(["export", str(tmp_path / "m.safetensors"), *options]) == 0

    exports = json.loads(capsys.readouterr().out)["exports"]
    assert [one["format"] for one in exports] == ["onnx", "openvino"]
    for one in exports:
        assert one["parity"]["same"]
        assert main(["classify", str(photos / "red"), "--model", one["files"][0], "--json"]) == 0
        rows = capsys.readouterr().out.splitlines()
        assert json.loads(rows[-1])["classified"] == 4


def test_the_command_prints_for_people(model, tmp_path, capsys):
    modelfile.save(model, tmp_path / "m.safetensors")

    assert main(["export", str(tmp_path / "m.safetensors"), "--out", str(tmp_path)]) == 0

    shown = capsys.readouterr().out
    assert "tiny.onnx  onnx fp32" in shown and "same answer on all 32 built-in test pictures, " in shown


@pytest.mark.parametrize("option", ["--images", "--data"])
def test_nothing_is_exported_into_the_images(option, photos, capsys):
    words = ["export", "photos10", option, str(photos), "--out", str(photos / "exported")]

    assert main(words) == 2

    assert "--out must lie outside of the dataset, into which nothing is written" in capsys.readouterr().err
    assert not (photos / "exported").exists()


def test_a_model_made_for_one_size_is_exported_at_that_size(tmp_path, capsys, caplog):
    assert main(["export", "photos10", "--input-size", "128", "--out", str(tmp_path)]) == 0

    assert "photos10 is made for 64 px" in caplog.text
    assert Classifier.load(tmp_path / "photos10.onnx").preprocess.input_size == 64


def test_an_accuracy_of_another_size_does_not_go_into_an_export(model, tmp_path):
    metrics = {"accuracy": 0.9, "images": 50, "accuracy_at_96_px": 0.8, "test_images": 70}
    modelfile.save(replace(model, metrics=metrics), tmp_path / "m.safetensors")

    for size in (64, 96):
        words = ["--input-size", str(size), "--out", str(tmp_path / str(size))]
        assert main(["export", str(tmp_path / "m.safetensors"), *words]) == 0

    own, other = (read_exported(tmp_path / size / "tiny.onnx").header["metrics"] for size in ("64", "96"))
    assert own == metrics and other == {"accuracy_at_96_px": 0.8, "test_images": 70}


def test_every_format_is_written_when_nobody_reads_the_lines_any_more(model, tmp_path):
    modelfile.save(model, tmp_path / "m.safetensors")
    words = ["export", "m.safetensors", "--to", "onnx,litert", "--out", "out"]

    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-m", "mnasnet", *words], cwd=tmp_path, **streams) as process:
        process.stdout.readline()
        process.stdout.close()
        assert b"Error" not in process.stderr.read()

    assert process.returncode == 0 and (tmp_path / "out" / "tiny.tflite").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking it")
def test_an_export_that_is_ended_leaves_no_temporary_folder(model, tmp_path):
    modelfile.save(model, tmp_path / "m.safetensors")
    (tmp_path / "temporary").mkdir()
    words = ["export", "m.safetensors", "--to", "onnx,litert,openvino", "--out", "out"]
    surroundings = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}

    with subprocess.Popen([sys.executable, "-m", "mnasnet", *words], cwd=tmp_path, env=surroundings) as process:
        while process.poll() is None and not any((tmp_path / "temporary").glob("*/*")):
            time.sleep(0.002)
        process.terminate()

    assert process.returncode == 143 and not any((tmp_path / "temporary").iterdir())


def test_the_command_says_when_photos_of_the_users_own_were_compared(model, photos, tmp_path, capsys):
    modelfile.save(model, tmp_path / "m.safetensors")

    assert main(["export", str(tmp_path / "m.safetensors"), "--out", str(tmp_path), "--images", str(photos)]) == 0

    assert "same answer on all 12 images, " in capsys.readouterr().out


def test_the_command_prints_what_8_bits_cost_in_accuracy_size_and_time(photos, tmp_path, capsys):
    modelfile.save(random_model(class_names=("red", "green", "blue")), tmp_path / "m.safetensors")
    words = ["--int8", "--data", str(photos), "--max-drop", "0.99", "--out", str(tmp_path / "out")]

    assert main(["export", str(tmp_path / "m.safetensors"), *words]) == 0

    shown = capsys.readouterr().out
    assert re.search(r"tiny\.int8\.onnx  onnx int8, \d\.\d\d MB", shown)
    assert re.search(r"accuracy \d+\.\d% before, \d+\.\d% after, 3 images", shown)
    cost = r"MB of float32 become \d\.\d\d MB, \d+\.\d\d ms become \d+\.\d\d ms \(onnxruntime, one thread"
    assert re.search(cost, shown)


def test_classes_that_8_bits_cost_most_are_named_first():
    before, after = (
        evaluate(np.eye(3, dtype=np.float32)[guesses], np.repeat([0, 1, 2], 4), ("red", "green", "blue"))
        for guesses in (np.repeat([0, 1, 2], 4), np.array([0, 0, 0, 0, 1, 1, 1, 0, 2, 2, 1, 1]))
    )
    done = Exported("onnx", "int8", (Path(__file__),), Parity(12, 0.5), before, after)

    assert done.to_dict()["class_drops"] == {"blue": 0.5, "green": 0.25}
    assert "  recall lost: blue 50.0 points, green 25.0 points" in lines_of(done)


@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("name", INT8_EXPORTERS)
def test_int8_is_calibrated_and_judged_in_every_format(name, pixels, photos, tmp_path):
    model = random_model(class_names=("red", "green", "blue"))

    # random weights judge by chance, so any drop is allowed here; trained ones are the bundled model's test
    (done,) = export_int8(model, tmp_path, photos, [name], max_drop=0.99, pixels=pixels, softmax=pixels)

    assert done.format == name
    assert done.before.images == done.after.images == 3  # of a folder without val/ a third of each class
    assert done.cost.latency.precision == "int8" and done.float_twin.latency.precision == "fp32"
    assert done.cost.size_bytes == done.size_bytes
    assert done.parity.images == 3
    exported = read_exported(done.files[0])
    assert exported.precision == "int8" and exported.class_names == model.class_names
    assert " int8 " in Classifier.load(done.files[0]).description


def test_int8_is_never_judged_on_images_the_model_learned_from_also_when_the_folder_has_grown(tmp_path, monkeypatch):
    photos = write_image_folder(tmp_path / "photos", per_class=8)
    dataset = scan(photos)
    parts = split(dataset, val_fraction=0.25, seed=5)
    write_split(parts, tmp_path / "run" / SPLIT_FILE, photos)
    training = {"images_fingerprint": parts.fingerprint, "val_fraction": 0.25, "seed": 5, "data": "photos"}
    model = replace(random_model(class_names=("red", "green", "blue")), training=training)
    coloured_image((255, 0, 0)).save(photos / "red" / "came_later.jpg")

    class JudgedError(Exception):
        """Ends the export as soon as it is known what would be judged."""

    def judge(model, dataset, samples):
        raise JudgedError({sample.path for sample in samples})

    monkeypatch.setattr(deploy, "evaluate_samples", judge)

    with pytest.raises(JudgedError) as judged:
        export_int8(model, tmp_path / "out", photos, file=tmp_path / "run" / "weights" / "best.safetensors")

    assert judged.value.args[0] and not {sample.path for sample in parts.train} & judged.value.args[0]


def test_a_header_may_hold_any_seed(photos):
    training = {"images_fingerprint": "of other images", "seed": float("inf")}

    assert division_of(replace(random_model(), training=training), scan(photos)) is None


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_two_products_in_8_bits_fit_into_the_16_that_older_processors_add_them_in(name):
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)

    made = open_int8_exporter(name, images).quantise(random_model(input_size=32), pixels=True, softmax=False)

    graph = made.graph.graph
    numbers = {constant.name: onnx.numpy_helper.to_array(constant) for constant in graph.initializer}
    weights = [value for name, value in numbers.items() if value.dtype == np.int8 and name.endswith("_quantized")]
    assert len(weights) > 10
    assert max(2 * 255 * np.abs(value.astype(int)).max() for value in weights) < 2**15


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_8_bits_answer_alike_on_processors_with_and_without_instructions_for_them(name, tmp_path):
    """Without optimisation ONNX Runtime computes the same rounded numbers in float32, where nothing is cut off."""
    bundled = open_model("photos10")
    pictures = [prepare(picture, bundled.preprocess) for _, picture in built_in_pictures()]
    exporter = open_int8_exporter(name, pictures)
    made = exporter.quantise(bundled, pixels=True, softmax=False)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = onnxruntime.InferenceSession(made.graph.SerializeToString(), options, providers=["CPUExecutionProvider"])

    opened = open_session(read_exported(made.write(tmp_path / f"m{exporter.suffix}", {})[0]), threads=1)

    (expected,) = plain.run(None, {"images": np.stack(pictures)})
    assert np.abs(opened.run(np.stack(pictures)) - expected).max() < 0.1 * np.abs(expected).max()


class Passes(list):
    """Calibration images that count how often each is taken."""

    def __init__(self, images):
        super().__init__(images)
        self.taken = [0] * len(self)

    def __iter__(self):
        return (self[place] for place in range(len(self)))

    def __getitem__(self, place):
        for one in range(len(self))[place] if isinstance(place, slice) else [place]:
            self.taken[one] += 1
        return super().__getitem__(place)


class Telling(list):
    """Calibration images that tell the log when they are taken."""

    def __getitem__(self, place):
        logging.getLogger("camera").info("an image")
        return super().__getitem__(place)


def test_quantising_silences_advice_and_nothing_else(caplog):
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    exporter = open_int8_exporter("onnx", images)
    exporter.images = Telling(images)

    with caplog.at_level(logging.INFO):
        exporter.quantise(random_model(input_size=32), pixels=True, softmax=False)

    assert {(record.name, record.message) for record in caplog.records} == {("camera", "an image")}


@pytest.mark.parametrize("name", INT8_EXPORTERS)
def test_int8_is_calibrated_once_though_its_accuracy_is_written_afterwards(name, photos, tmp_path, monkeypatch):
    model, passes = random_model(class_names=("red", "green", "blue")), []

    def counted(name, images):
        exporter = open_int8_exporter(name, images)
        passes.append(Passes(exporter.images))
        exporter.images = passes[0]
        return exporter

    monkeypatch.setattr(deploy, "open_int8_exporter", counted)

    (done,) = export_int8(model, tmp_path, photos, [name], max_drop=0.99)

    assert passes[0].taken == [1] * 9  # the other three judge
    assert read_exported(done.files[0]).header["metrics"]["int8_accuracy"] == done.after.accuracy


@pytest.mark.parametrize("name", INT8_EXPORTERS)
def test_int8_that_costs_too_much_is_refused_with_the_classes(name, photos, tmp_path, monkeypatch):
    model = random_model(class_names=("red", "green", "blue"))
    accuracies = iter([[0, 1, 2], [0, 0, 0]])

    def judged(model, dataset, samples):
        from mnasnet.train.evaluate import evaluate

        guesses = np.repeat(next(accuracies), 2)
        return evaluate(np.eye(3, dtype=np.float32)[guesses], np.repeat([0, 1, 2], 2), model.class_names)

    monkeypatch.setattr(deploy, "evaluate_samples", judged)

    message = (
        r"from 100.0% to 33.3% on 6 images, by more than max_drop 5.0%; .*: green 100.0, blue 100.0; train .* allow"
    )
    with pytest.raises(ExportError, match=message):
        export_int8(model, tmp_path / "out", photos, [name], max_drop=0.05)

    assert not (tmp_path / "out").exists()


def test_a_drop_of_just_max_drop_is_allowed(photos, tmp_path, monkeypatch):
    model = random_model(class_names=("red", "green", "blue"))
    rights = iter([90, 89])  # of 100: in binary 0.9 - 0.89 is a little more than 0.01

    def judged(model, dataset, samples):
        guesses = np.repeat([0, 1], [(right := next(rights)), 100 - right])
        return evaluate(np.eye(3, dtype=np.float32)[guesses], np.zeros(100, int), model.class_names)

    monkeypatch.setattr(deploy, "evaluate_samples", judged)

    (done,) = export_int8(model, tmp_path, photos, max_drop=0.01)

    assert (done.before.accuracy, done.after.accuracy) == (0.9, 0.89)


@pytest.fixture
def refused_in_onnx(photos, tmp_path, monkeypatch):
    """Words of an export whose 8 bits cost too much in ONNX alone."""
    modelfile.save(random_model(class_names=("red", "green", "blue")), tmp_path / "m.safetensors")
    accuracies = iter([[0, 1, 2], [0, 0, 0], [0, 1, 2]])  # before, after in onnx, after in litert

    def judged(model, dataset, samples):
        return evaluate(np.eye(3, dtype=np.float32)[next(accuracies)], np.arange(3), ("red", "green", "blue"))

    monkeypatch.setattr(deploy, "evaluate_samples", judged)
    words = ["--to", "onnx,litert", "--int8", "--data", str(photos), "--out", str(tmp_path / "out")]
    return ["export", str(tmp_path / "m.safetensors"), *words]


def test_8_bits_that_are_refused_in_one_format_are_written_in_the_others(refused_in_onnx, tmp_path, capsys):
    assert main(refused_in_onnx) == 2

    shown = capsys.readouterr()
    assert [line.split()[1:3] for line in shown.out.splitlines() if " MB" in line and not line.startswith(" ")] == [
        ["onnx", "fp32,"], ["litert", "fp32,"], ["litert", "int8,"],
    ]  # fmt: skip
    assert "error: int8 for onnx lowers accuracy from 100.0% to 33.3%" in shown.err
    written = {path.name for path in (tmp_path / "out").iterdir() if not path.name.endswith(".md")}
    assert written == {"tiny.onnx", "tiny.tflite", "tiny.int8.tflite"}


def test_a_program_hears_what_was_written_beside_what_was_refused(refused_in_onnx, capsys):
    assert main([*refused_in_onnx, "--json"]) == 2

    told = json.loads(capsys.readouterr().out)
    assert told["status"] == "failed" and "int8 for onnx lowers accuracy" in told["error"]
    assert [(one["format"], one["precision"]) for one in told["exports"]] == [
        ("onnx", "fp32"), ("litert", "fp32"), ("litert", "int8"),
    ]  # fmt: skip


def test_int8_needs_labelled_images(tmp_path, model, capsys):
    modelfile.save(model, tmp_path / "m.safetensors")

    assert main(["export", str(tmp_path / "m.safetensors"), "--int8"]) == 2

    assert "give their folder with --data" in capsys.readouterr().err


@pytest.mark.parametrize("name", INT8_EXPORTERS)
def test_info_tells_what_an_exported_file_holds_and_what_8_bits_cost(name, photos, tmp_path, capsys):
    model = random_model(class_names=("red", "green", "blue"))
    (done,) = export_int8(model, tmp_path, photos, [name], max_drop=0.99)

    assert main(["info", str(done.files[0])]) == 0

    shown = capsys.readouterr().out
    assert f"file         {name} int8" in shown and "3: red, green, blue" in shown
    assert f"float32_accuracy: {done.before.accuracy}" in shown and f"int8_accuracy: {done.after.accuracy}" in shown


@pytest.mark.parametrize(
    ("graph", "told"),
    [({}, "normalised numbers, gives scores"), ({"pixels": True, "softmax": True}, "RGB bytes, gives probabilities")],
)
def test_info_tells_what_an_exported_file_takes_and_gives(graph, told, model, tmp_path, capsys):
    (done,) = export_model(model, tmp_path, ["onnx"], **graph)

    assert main(["info", str(done.files[0])]) == 0

    assert f"file         onnx fp32, takes {told}" in capsys.readouterr().out


def test_an_export_to_nothing_is_refused(tmp_path, capsys):
    assert main(["export", "photos10", "--to", ",", "--out", str(tmp_path / "out")]) == 2

    assert "--to names one or more of onnx, openvino, litert, executorch, got ','" in capsys.readouterr().err


def test_int8_for_a_format_that_has_none_is_refused_before_anything_is_written(photos, tmp_path, capsys):
    modelfile.save(random_model(class_names=("red", "green", "blue")), tmp_path / "m.safetensors")
    out = tmp_path / "out"
    wanted = ["--to", "onnx,executorch", "--int8", "--data", str(photos), "--out", str(out)]

    assert main(["export", str(tmp_path / "m.safetensors"), *wanted]) == 2

    assert "int8 is written for onnx, openvino, litert, got 'executorch'" in capsys.readouterr().err
    assert not out.exists()


def test_a_drop_that_is_no_share_is_refused_before_anything_is_written(photos, tmp_path, capsys):
    modelfile.save(random_model(class_names=("red", "green", "blue")), tmp_path / "m.safetensors")
    out = tmp_path / "out"
    wanted = ["--to", "onnx", "--int8", "--data", str(photos), "--max-drop", "2", "--out", str(out)]

    assert main(["export", str(tmp_path / "m.safetensors"), *wanted]) == 2

    assert "max_drop is a share of images, 0 or more and below 1, such as 0.01, got 2.0" in capsys.readouterr().err
    assert not out.exists()


def test_a_drop_without_8_bits_is_refused_before_anything_is_written(tmp_path, capsys):
    out = tmp_path / "out"

    assert main(["export", "photos10", "--max-drop", "0.02", "--out", str(out)]) == 2

    assert "--max-drop 0.02 is about 8 bits; give --int8 too, or leave it out" in capsys.readouterr().err
    assert not out.exists()


def test_few_calibration_images_are_refused(tmp_path):
    few = write_image_folder(tmp_path / "few", per_class=2)

    with pytest.raises(ExportError, match="int8 needs 8 or more images to calibrate on, .* got 3; give"):
        export_int8(random_model(class_names=("red", "green", "blue")), tmp_path, few)


def test_an_odd_and_an_even_side_have_the_same_zeros_around_them():
    for side in (63, 64, 65, 66):  # strided convolutions and pools fall on odd and even sides
        model = random_model(input_size=side)
        image = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)

        found = Classifier(model, runtime="litert")._session.run(image)

        expected = Classifier(model, runtime="torch", device="cpu")._session.run(image)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_8_bit_network_may_have_a_mean_of_nothing(tmp_path):
    whole = random_model(input_size=32)
    model = replace(whole, preprocess=replace(whole.preprocess, mean=(0.0, 0.0, 0.0)))
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)

    quantised = open_int8_exporter("litert", images).quantise(model, pixels=True, softmax=False)
    (path,) = quantised.write(tmp_path / "m.tflite", {})

    found = Classifier.load(path)._session.run(images)
    expected = Classifier(model, runtime="torch", device="cpu")._session.run(images)
    assert np.abs(found - expected).max() < 0.1 * np.ptp(expected)  # 8 bits through the few layers of tiny


@pytest.mark.parametrize("name", INT8_EXPORTERS)
def test_a_channel_whose_weights_have_decayed_keeps_its_bias_in_8_bits(name, tmp_path):
    model = random_model(input_size=32)
    weights = {key: value.copy() for key, value in model.weights.items()}
    weights["head.bn.weight"][:16], weights["head.bn.bias"][:16] = 1e-9, 1.0
    model = replace(model, weights=weights)
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)

    quantised = open_int8_exporter(name, images).quantise(model, pixels=True, softmax=False)

    found = open_session(
        read_exported(quantised.write(tmp_path / f"m{open_exporter(name).suffix}", {})[0]), threads=1
    ).run(images)
    expected = open_session(model, runtime="torch", device="cpu").run(images)
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()  # without these biases half of it is gone


@pytest.mark.parametrize(("name", "stem"), [("猫" * 120, "猫" * 50), ("..", "model"), ("a/b", "a_b")])
def test_a_file_is_named_after_the_model_as_far_as_file_systems_go(name, stem, model, tmp_path):
    (done,) = export_model(replace(model, name=name), tmp_path, ["onnx"])

    assert done.files[0].name == f"{stem}.onnx"
