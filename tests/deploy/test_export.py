"""An export is kept only when it is the same network; whoever gets the file can use it without us."""

import ast
import errno
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mnasnet import modelfile
from mnasnet.classify import Classifier
from mnasnet.cli import main
from mnasnet.deploy.export import export_int8, export_model
from mnasnet.deploy.parity import compare
from mnasnet.deploy.pictures import test_pictures as built_in_pictures
from mnasnet.deploy.recipe import recipe_markdown
from mnasnet.errors import ExportError, RuntimeMissingError
from mnasnet.export.executorch import to_executorch
from mnasnet.export.exported import read_exported
from mnasnet.export.exporter import EXPORTERS, INT8_EXPORTERS, open_exporter
from mnasnet.export.litert import LitertExporter, to_litert
from mnasnet.export.onnx import OnnxExporter, to_onnx
from mnasnet.files import write_atomic
from mnasnet.preprocess import Preprocess
from mnasnet.testing import random_model
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


def test_the_recipe_tells_how_many_images_a_program_takes_at_once(onnx_file):
    exported = read_exported(onnx_file)

    assert "The batch size N is free. The file's metadata" in recipe_markdown(exported, onnx_file)
    phone = recipe_markdown(replace(exported, format="executorch"), onnx_file.with_suffix(".pte"))
    assert "The batch size N is free up to 256. The program's method `mnasnet` gives" in phone


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


class Answering:
    """An engine that gives these probabilities, for the image of one pixel that has the number of the answer."""

    def __init__(self, *answers):
        self.answers = answers

    def run(self, batch):
        return np.log(np.array([self.answers[batch[0, 0, 0, 0]]], np.float32))


def test_the_largest_difference_of_any_probability_of_any_image_is_told():
    images = [(str(number), np.full((1, 1, 3), number, np.uint8)) for number in range(3)]
    original = Answering((0.5, 0.3, 0.2), (0.5, 0.3, 0.2), (0.5, 0.3, 0.2))

    parity = compare(original, Answering((0.5, 0.3, 0.2), (0.46, 0.44, 0.1), (0.49, 0.3, 0.21)), images)

    assert parity.same and parity.images == 3
    assert parity.max_difference == pytest.approx(0.14, abs=1e-6)
    assert parity.sentence == "same answer on all 3 images, probabilities differ by at most 1.4e-01"


def test_two_classes_that_the_original_cannot_tell_apart_are_one_answer():
    images = [("tied", np.zeros((1, 1, 3), np.uint8)), ("told apart", np.ones((1, 1, 3), np.uint8))]
    original = Answering((0.40003, 0.39998, 0.19999), (0.401, 0.399, 0.2))

    assert compare(original, Answering((0.3999, 0.4001, 0.2), (0.399, 0.401, 0.2)), images).disagreeing == (
        "told apart",
    )


def test_scores_that_are_no_numbers_never_pass(model):
    class Broken:
        def run(self, batch):
            return np.full((1, 3), np.nan, np.float32)

    session = Classifier(model, runtime="onnxruntime")._session

    parity = compare(session, Broken(), [("one", np.zeros((64, 64, 3), np.uint8))])

    assert not parity.same and parity.max_difference == float("inf")


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


def test_the_command_puts_into_a_file_what_is_asked_for(model, tmp_path):
    modelfile.save(model, tmp_path / "m.safetensors")
    (tmp_path / "names.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")
    options = ["--pixels", "--softmax", "--class-file", str(tmp_path / "names.txt"), "--out", str(tmp_path)]

    assert main(["export", str(tmp_path / "m.safetensors"), *options]) == 0

    written = read_exported(tmp_path / "tiny.onnx")
    assert written.takes_pixels and written.gives_probabilities and written.class_names == ("one", "two", "three")


def test_the_command_prints_for_people(model, tmp_path, capsys):
    modelfile.save(model, tmp_path / "m.safetensors")

    assert main(["export", str(tmp_path / "m.safetensors"), "--out", str(tmp_path)]) == 0

    shown = capsys.readouterr().out
    assert "tiny.onnx  onnx fp32" in shown and "same answer on all 32 built-in test pictures, " in shown


@pytest.mark.parametrize("options", [["--images"], ["--data"], ["--images", ".", "--data"]])
def test_nothing_is_exported_into_the_images(options, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["export", "photos10", *options, str(photos), "--out", str(photos / "exported")]

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


@pytest.mark.parametrize("name", INT8_EXPORTERS)
def test_info_tells_what_an_exported_file_holds_and_what_8_bits_cost(name, photos, tmp_path, capsys):
    model = random_model(class_names=("red", "green", "blue"))
    (done,) = export_int8(model, tmp_path, photos, [name], max_drop=0.99)

    assert main(["info", str(done.files[0])]) == 0

    shown = capsys.readouterr().out
    assert f"file         {name} int8" in shown and "3: red, green, blue" in shown
    assert f"float32_accuracy: {done.before.accuracy:.6g}" in shown
    assert f"int8_accuracy: {done.after.accuracy:.6g}" in shown


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


def test_an_odd_and_an_even_side_have_the_same_zeros_around_them():
    for side in (63, 64, 65, 66):  # strided convolutions and pools fall on odd and even sides
        model = random_model(input_size=side)
        image = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)

        found = Classifier(model, runtime="litert")._session.run(image)

        expected = Classifier(model, runtime="torch", device="cpu")._session.run(image)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("name", "stem"), [("猫" * 120, "猫" * 50), ("..", "model"), ("a/b", "a_b")])
def test_a_file_is_named_after_the_model_as_far_as_file_systems_go(name, stem, model, tmp_path):
    (done,) = export_model(replace(model, name=name), tmp_path, ["onnx"])

    assert done.files[0].name == f"{stem}.onnx"
