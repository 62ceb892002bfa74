"""The benchmark's table is complete and honest; how fast anything is, is not a test's business."""

import argparse
import csv
import errno
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mnasnet import modelfile
from mnasnet.cli import main
from mnasnet.commands import benchmark
from mnasnet.commands.benchmark import write_cards
from mnasnet.commands.devices import add_device_arguments, agent_of, distant_meter, phone_of
from mnasnet.deploy.export import export_int8, export_model
from mnasnet.errors import LatencyError
from mnasnet.export.exported import read_exported
from mnasnet.export.exporter import open_int8_exporter
from mnasnet.latency import chart
from mnasnet.latency.adb import AndroidPhone
from mnasnet.latency.benchmark import Row, measure_all, own, published, told_apart, with_card
from mnasnet.latency.meter import Latency
from mnasnet.latency.remote import AgentAddress, RemoteMeter
from mnasnet.latency.session import SessionMeter
from mnasnet.machine import usable_cores
from mnasnet.network.count import count
from mnasnet.network.download import PUBLISHED
from mnasnet.presets import MOBILENET_V2
from mnasnet.testing import random_model, write_image_folder
from mnasnet.zoo import open_model

pytestmark = pytest.mark.usefixtures("first_passes_count")


class FixedMeter:
    """Every network takes as many milliseconds as it has millions of parameters; one fails."""

    def __init__(self, precision="fp32"):
        self.precision = precision

    def measure_model(self, model):
        if model.name == "mnasnet1_3":
            raise LatencyError("the board is away")
        ms = 1 + sum(value.size for value in model.weights.values()) / 1e6
        return Latency("a board", "fixed", "1", self.precision, 1, 1, model.preprocess.input_size, 50, ms, ms, ms)


@pytest.fixture(scope="module")
def rows():
    mine = own("mine", modelfile.ModelFile(**{**vars(random_model()), "metrics": {"accuracy": 0.9, "images": 50}}))
    return measure_all([*published(), mine], {"fixed fp32": FixedMeter()})


def test_mobilenet_v2_is_the_published_network():
    counts = count(MOBILENET_V2, 224)

    assert counts.parameters == 3_504_872  # torchvision's num_params
    assert counts.multiply_adds == pytest.approx(300e6, rel=0.01)  # arXiv 1801.04381, table 4


def test_every_published_network_is_there_with_its_accuracy(rows):
    found = {row.subject.name: row.subject.accuracy_percent for row in rows}

    assert found == {name: weights.top1_percent for name, weights in PUBLISHED.items()} | {
        "mobilenet_v2": 71.878,
        "mine": 90.0,
    }


@pytest.mark.parametrize(
    ("name", "percent"),
    [
        ("mnasnet1_0", 73.456),
        pytest.param("mnasnet_a1", None, marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", 71.878, marks=pytest.mark.slow),
    ],
)
def test_a_published_name_is_timed_without_a_download(name, percent, tmp_path, capsys):
    words = ["benchmark", name, "--only", "--runtimes", "onnxruntime", "--runs", "1", "--input-size", "224", "--json"]
    assert main([*words, "--out", str(tmp_path)]) == 0

    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["name"] for row in rows} == {name} and rows[0]["accuracy_percent"] == percent


def test_a_published_name_is_no_second_row(tmp_path, capsys):
    words = ["benchmark", "mnasnet0_5", "--runtimes", "litert", "--runs", "1", "--input-size", "32", "--json"]
    assert main([*words, "--out", str(tmp_path)]) == 0

    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["name"], row["meter"]) for row in rows].count(("mnasnet0_5", "litert fp32")) == 1


def test_two_names_of_one_published_network_are_equally_fast():
    class Tiring:
        """Each network takes a millisecond more than the one before."""

        ms = 0.0

        def measure_model(self, model):
            self.ms += 1
            return Latency("a board", "fixed", "1", "fp32", 1, 1, 64, 50, self.ms, self.ms, self.ms)

    mine = [own(name, random_model()) for name in ("first", "second")]
    rows = measure_all([*published(64), *mine], {"fixed fp32": Tiring()})

    ms = {row.subject.name: row.latency.undisturbed_ms for row in rows}
    assert ms["mnasnet1_0"] == ms["mnasnet_100"]
    assert len(ms) == len(PUBLISHED) + 3 and len(set(ms.values())) == len(ms) - 1


def test_a_batch_that_no_memory_holds_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["benchmark", "photos10", "--batch", "100000"])

    assert "--batch: must be a whole number from 1 to 256, got '100000'" in capsys.readouterr().err


def test_numbers_in_8_bits_that_are_made_up_are_told_and_their_cards_say_so(tmp_path, capsys):
    modelfile.save(random_model(), tmp_path / "m.safetensors")
    words = ["benchmark", str(tmp_path / "m.safetensors"), "--only", "--runtimes", "onnxruntime", "--card"]

    assert main([*words, "--runs", "1", "--out", str(tmp_path)]) == 0

    assert "int8 of a model in float is timed with made-up numbers" in capsys.readouterr().out
    cards = modelfile.load(tmp_path / "m.safetensors").latencies
    assert {card["precision"]: "8-bit numbers made up for timing" in card["note"] for card in cards} == {
        "fp32": False,
        "int8": True,
    }


def test_accuracies_on_other_images_are_told_below_the_table(tmp_path, capsys):
    metrics = {"accuracy": 0.9, "images": 5000}
    trained = modelfile.ModelFile(**{**vars(random_model()), "metrics": metrics})
    modelfile.save(trained, tmp_path / "m.safetensors")
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
    made = open_int8_exporter("litert", images).quantise(trained, pixels=True, softmax=False)
    found = {"int8_accuracy": 0.95, "int8_judged_images": 28, "float32_accuracy": 0.964}
    made.write(tmp_path / "m.int8.tflite", found)
    paths = [str(tmp_path / name) for name in ("m.safetensors", "m.int8.tflite")]

    words = ["--only", "--runtimes", "litert", "--runs", "1", "--out", str(tmp_path)]
    assert main(["benchmark", *paths, *words]) == 0

    said = capsys.readouterr().out.splitlines()
    assert "accuracy of m.safetensors is on 5000 validation images" in said
    assert "accuracy of m.int8.tflite is on 28 images, where float32 had 96.4%" in said


def test_published_accuracy_is_left_out_where_it_does_not_hold():
    assert {subject.accuracy_percent for subject in published(160)} == {None}


def test_what_cannot_be_measured_says_why_and_has_no_time(rows):
    (row,) = [row.to_dict() for row in rows if row.failure]

    assert row["name"] == "mnasnet1_3" and row["undisturbed_ms"] is None
    assert row["note"] == "unmeasured: the board is away"
    assert "unmeasured: the board is away" in chart.text_table(rows)


def test_table_picture_and_page_hold_all_rows(rows):
    table = list(csv.DictReader(chart.csv_table(rows).decode().splitlines()))
    image = chart.picture(rows, "a <board>", "2026-01-01")
    page = chart.page(rows, image, "a <board>", "2026-01-01").decode()

    assert [line["name"] for line in table] == [row.subject.name for row in rows]
    assert image.startswith(b"\x89PNG")
    assert page.count("<tr>") == len(rows) + 1
    assert "a &lt;board&gt;" in page and 'src="data:image/png;base64,' in page
    assert "http" not in page


def test_the_page_speaks_of_published_networks_where_it_has_some(rows):
    of_all, of_mine = (
        chart.page(shown, b"", "a board", "2026-01-01").decode()
        for shown in (rows, [row for row in rows if row.subject.name == "mine"])
    )

    for remark in ("Published accuracies are of", "MobileNetV2 is measured with ReLU in"):
        assert remark in of_all and remark not in of_mine


@pytest.fixture
def drawn(monkeypatch):
    """The axes of a picture of some rows."""
    figures = []
    monkeypatch.setattr(chart, "png", lambda figure: figures.append(figure) or b"")

    def axes_of(rows):
        chart.picture(rows, "a board", "2026-01-01")
        return figures[-1].axes

    return axes_of


def test_times_of_a_batch_are_told_as_such(rows, drawn):
    eight = [replace(row, latency=row.latency and replace(row.latency, batch=8)) for row in rows]

    assert drawn(rows)[0].get_xlabel() == "ms per image"
    assert drawn(eight)[0].get_xlabel() == "ms per batch of 8 images"
    assert "threads 1, batch 8, fixed 1</div>" in chart.page(eight, b"", "a board", "2026-01-01").decode()


def test_times_without_a_known_accuracy_are_drawn_alone(drawn):
    rows = measure_all(published(160), {"fixed fp32": FixedMeter()})

    (axes,) = drawn(rows)
    measured = sorted((row for row in rows if row.latency), key=lambda row: row.latency.undisturbed_ms)
    assert [label.get_text() for label in axes.get_yticklabels()] == [row.subject.name for row in measured]
    assert [bar.get_width() for bar in axes.patches] == [row.latency.undisturbed_ms for row in measured]
    assert "No accuracy is known" in chart.page(rows, b"", "a board", "2026-01-01").decode()


def test_the_page_says_of_each_network_what_disturbed_it(rows):
    noted = [row for row in rows if row.latency][:3]
    disturbed = replace(noted[0], latency=replace(noted[0].latency, quiet=False, note="not quiet: a neighbour"))
    made_up = [replace(row, latency=replace(row.latency, note="numbers made up")) for row in noted[1:]]

    busy = chart.page([disturbed, *made_up], b"", "a board", "2026-01-01").decode()
    quiet = chart.page(made_up, b"", "a board", "2026-01-01").decode()

    assert f"<li>{noted[0].subject.name}, {noted[0].meter}: not quiet: a neighbour</li>" in busy
    assert f"<li>{noted[1].subject.name}, {noted[1].meter}, and 1 other: numbers made up</li>" in busy
    assert "marks what was measured while" in busy and "Every measurement was quiet" not in busy
    assert "marks what was measured while" not in quiet and "Every measurement was quiet" in quiet


def test_an_8_bit_file_is_not_called_float(tmp_path):
    photos = write_image_folder(tmp_path / "photos", per_class=4)
    model = random_model(class_names=("red", "green", "blue"))
    int8 = read_exported(export_int8(model, tmp_path, photos, max_drop=0.99)[0].files[0])
    meter = SessionMeter("onnxruntime", warmups=0, runs=2)

    (row,) = measure_all([own("int8", int8)], {"onnxruntime fp32": meter})

    assert row.meter == "onnxruntime int8" and row.latency.precision == "int8"
    share = int8.header["metrics"]["int8_accuracy"]  # what its export measured
    assert row.subject.accuracy_percent == pytest.approx(100 * share)
    assert row.subject.accuracy_on.startswith("3 images, where float32 had ")


def test_a_file_that_a_device_does_not_run_is_called_by_its_own_name_and_numbers(tmp_path):
    exported = export_model(random_model(), tmp_path, ["litert"])[0].files[0].rename(tmp_path / "base.int8.tflite")
    file = own(str(exported), replace(read_exported(exported), precision="int8"))
    agent = RemoteMeter(AgentAddress("http://127.0.0.1:9"))  # which is never asked

    (row,) = measure_all([file], {"remote onnxruntime fp32": agent})

    assert row.meter == "remote onnxruntime int8"
    assert "runs onnx files, base.int8.tflite is litert; set --agent-runtime" in row.failure


def test_files_run_only_in_what_they_are_made_for(tmp_path):
    model = random_model()
    onnx, tflite = (
        own(name, read_exported(export_model(model, tmp_path, [name])[0].files[0])) for name in ("onnx", "litert")
    )
    meters = {
        f"{runtime} {precision}": SessionMeter(runtime, precision=precision, warmups=0, runs=2)
        for runtime in ("onnxruntime", "litert")
        for precision in ("fp32", "int8")
    }

    rows = measure_all([onnx, tflite], meters)

    assert [(row.subject.name, row.meter, row.failure) for row in rows] == [
        ("onnx", "onnxruntime fp32", ""),
        ("litert", "litert fp32", ""),
    ]


def test_a_file_that_no_chosen_runtime_reads_names_those_that_do(tmp_path, capsys):
    file = export_model(random_model(), tmp_path, ["onnx"])[0].files[0]

    assert main(["benchmark", str(file), "--only", "--runtimes", "litert", "--out", str(tmp_path)]) == 1

    shown = " ".join(capsys.readouterr().out.split())
    assert (
        "an exported onnx file runs through onnxruntime or openvino, got runtime 'litert'; choose one of them" in shown
    )
    assert "auto" not in shown  # which is no runtime that a benchmark could be told
    assert "nothing was written" in shown and not (tmp_path / "benchmark.csv").exists()


def test_threads_batch_and_size_are_those_asked_for_and_a_model_given_twice_is_measured_once(tmp_path, capsys):
    modelfile.save(random_model(), path := tmp_path / "m.safetensors")
    words = ["benchmark", str(path), str(path), "--only", "--runtimes", "onnxruntime", "--runs", "1", "--json"]
    threads = min(2, usable_cores())
    options = ["--threads", str(threads), "--batch", "3", "--input-size", "32", "--out", str(tmp_path / "out")]

    assert main([*words, *options]) == 0

    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["meter"] for row in rows] == ["onnxruntime fp32", "onnxruntime int8"]
    assert {(row["threads"], row["batch"], row["input_size"]) for row in rows} == {(threads, 3, 32)}


@pytest.mark.parametrize("precision, is_quiet", [("fp32", True), ("bf16", False)])
def test_what_the_times_are_worth_is_told_below_the_table(precision, is_quiet, tmp_path, capsys, monkeypatch):
    asked = {}

    class Board:
        def measure_model(self, model):
            return Latency("a board", "fixed", "1", precision, 1, 4, 64, 50, 1, 1, 1, quiet=is_quiet)

    monkeypatch.setattr(benchmark, "distant_meter", lambda *_, **options: asked.update(options) or Board())
    modelfile.save(replace(random_model(), metrics={"accuracy": 0.9, "images": 50}), path := tmp_path / "m.safetensors")
    words = ["benchmark", str(path), "--only", "--meter", "remote", "--agent-url", "http://127.0.0.1:1"]

    assert main([*words, "--batch", "4", "--out", str(tmp_path / "out")]) == 0

    told = capsys.readouterr().out
    assert ("bf16 is less exact than float32" in told) == (precision == "bf16")
    assert ("* the machine was busy meanwhile" in told) == (not is_quiet)
    assert "accuracy of" not in told  # of one model it stands in the table
    assert asked["batch"] == 4


def test_an_out_that_can_be_no_folder_is_told_before_anything_is_measured(tmp_path, capsys):
    (tmp_path / "file.txt").touch()

    assert main(["benchmark", "auto", "--only", "--out", str(tmp_path / "file.txt" / "below")]) == 2

    assert "--out must be a folder that can be written to, got " in capsys.readouterr().err


def test_published_networks_are_not_among_those_that_keep_no_card(rows, caplog):
    write_cards(rows)

    assert caplog.messages == ["--card: only model files (.safetensors) of this package keep latencies, not mine"]


def test_the_accuracy_of_float_numbers_is_not_that_of_made_up_ones():
    model = modelfile.ModelFile(**{**vars(random_model()), "metrics": {"accuracy": 0.9, "images": 50}})

    (row,) = measure_all([own("mine", model)], {"litert int8": SessionMeter("litert", precision="int8", runs=2)})

    assert row.meter == "litert int8" and row.subject.accuracy_percent is None


def test_the_accuracy_of_float32_is_not_that_of_bf16():
    model = modelfile.ModelFile(**{**vars(random_model()), "metrics": {"accuracy": 0.9, "images": 50}})
    meters = {kind: FixedMeter(kind) for kind in ("fp32", "bf16")}

    rows = measure_all([own("mine", model)], meters)

    assert [row.subject.accuracy_percent for row in rows] == [pytest.approx(90), None]


@pytest.mark.parametrize("value", [math.nan, math.inf, pytest.param(10**400, id="huge"), -0.1, 1.5, True, "0.9", [0.9]])
@pytest.mark.parametrize("key", ["accuracy", "test_accuracy", "accuracy_at_64_px"])
def test_what_is_no_share_of_images_is_no_accuracy(key, value):
    subject = own("mine", replace(random_model(), metrics={key: value, "images": 50}))

    assert (subject.accuracy_percent, subject.accuracy_on) == (None, "")


def test_what_files_and_devices_say_is_drawn_as_it_is_and_not_as_a_formula(recwarn):
    subject = own("猫", replace(random_model(), metrics={"accuracy": 0.9, "images": r"$\frac$"}))
    unknown = own("猫 $x^$", random_model())

    for mine in (subject, unknown):
        rows = measure_all([mine], {r"fixed $\frac$ fp32": FixedMeter()})
        assert chart.picture(rows, r"a $\board$", "2026-01-01").startswith(b"\x89PNG")

    assert not recwarn.list  # such as of letters that no font has


def test_columns_stand_below_each_other_whatever_files_are_called(rows):
    wide, strange = (replace(rows[0], subject=replace(rows[0].subject, name=name)) for name in ("猫", "\x1b[2J"))

    head, *lines = chart.text_table([rows[0], wide, strange]).splitlines()

    assert sorted(len(line) - len(head) for line in lines) == [-1, 0, 0]  # a character of two columns


def test_the_fastest_at_rest_stands_first_and_a_star_marks_what_was_disturbed():
    def row(name, undisturbed_ms, p90_ms, quiet):
        latency = Latency("a board", "fixed", "1", "fp32", 1, 1, 64, 50, undisturbed_ms, 3, p90_ms, quiet=quiet)
        return Row(own(name, random_model()), "fixed fp32", latency)

    _, first, second = chart.text_table([row("slow", 2, 4, True), row("fast", 1, 9, False)]).splitlines()

    assert first.split()[0] == "fast" and "3.00*" in first
    assert second.split()[0] == "slow" and "*" not in second


def test_a_card_of_another_batch_stands_beside_the_first():
    one = Latency("a board", "fixed", "1", "fp32", 1, 1, 64, 50, 1, 1, 1)

    assert len(with_card(with_card((), one), replace(one, batch=8))) == 2
    assert len(with_card(with_card((), one), replace(one, predicted=True, n=0))) == 2


def test_own_accuracy_comes_from_the_tested_images_first():
    metrics = {"accuracy": 0.9, "images": 50, "test_accuracy": 0.8, "test_images": 40}
    model = modelfile.ModelFile(**{**vars(random_model()), "metrics": metrics})

    subject = own("mine", model)

    assert (subject.accuracy_percent, subject.accuracy_on) == (pytest.approx(80), "40 test images")


def test_the_bundled_models_accuracy_is_that_at_its_size():
    subject = own("photos10", open_model("photos10"))

    assert subject.accuracy_percent == pytest.approx(89.7, abs=0.1) and subject.accuracy_on == "5000 test images"


def test_a_card_takes_the_place_of_the_one_of_the_same_conditions():
    first = Latency("a board", "fixed", "1", "fp32", 1, 1, 64, 50, 1, 1, 1)
    faster = Latency("a board", "fixed", "2", "fp32", 1, 1, 64, 50, 0.5, 0.5, 0.5)
    elsewhere = Latency("a phone", "fixed", "1", "fp32", 1, 1, 64, 50, 2, 2, 2)

    cards = with_card(with_card(with_card((), first), elsewhere), faster)

    assert [Latency.from_dict(card) for card in cards] == [faster, elsewhere]  # a search reads the first, its own


def test_an_exported_file_has_the_counts_of_its_network_and_no_place_for_a_card(tmp_path, capsys, caplog):
    model = random_model()
    (done,) = export_model(model, tmp_path, ["onnx"])
    options = ["--only", "--runtimes", "onnxruntime", "--runs", "2", "--card", "--out", str(tmp_path), "--json"]

    assert main(["benchmark", str(done.files[0]), *options]) == 0

    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["parameters"] == count(model.architecture, 64, 3).parameters
    assert "only model files (.safetensors) of this package keep latencies, not tiny.onnx" in caplog.text


def test_the_command_measures_writes_and_puts_the_card_into_the_file(tmp_path, capsys):
    model = random_model()
    path, out = tmp_path / "mine.safetensors", tmp_path / "out"
    modelfile.save(model, path, half=True)
    before = modelfile.load(path)
    exported = export_model(model, tmp_path, ["onnx"])[0].files[0]

    options = ["--only", "--runtimes", "onnxruntime", "--runs", "2", "--card", "--out", str(out), "--json"]
    assert main(["benchmark", str(path), str(exported), *options]) == 0

    report = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["meter"]) for row in report["rows"]] == [
        ("mine.safetensors", "onnxruntime fp32"),
        ("tiny.onnx", "onnxruntime fp32"),
        ("mine.safetensors", "onnxruntime int8"),
    ]
    assert {row["n"] for row in report["rows"]} == {2}
    assert {file.name for file in out.iterdir()} == {"benchmark.csv", "benchmark.png", "benchmark.html"}
    after = modelfile.load(path)
    assert after.fingerprint == before.fingerprint and path.stat().st_size < 2.2 * model_bytes(model) / 2 + 20_000
    assert [card["precision"] for card in after.latencies] == ["fp32", "int8"]
    assert main(["info", str(path)]) == 0
    assert "latency " in (shown := capsys.readouterr().out) and "onnxruntime" in shown


def test_files_and_cards_are_written_when_nobody_reads_the_table_any_more(tmp_path):
    modelfile.save(random_model(), path := tmp_path / "mine.safetensors")
    words = ["benchmark", path.name, "--only", "--runtimes", "onnxruntime", "--runs", "2", "--card", "--out", "out"]
    surroundings = {**os.environ, "PYTHONUNBUFFERED": "1"}  # as containers set it: each line goes out at once

    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        [sys.executable, "-m", "mnasnet", *words], cwd=tmp_path, env=surroundings, **streams
    ) as process:
        process.stdout.close()
        assert b"Error" not in process.stderr.read()

    assert process.returncode == 0 and (tmp_path / "out" / "benchmark.html").exists()
    assert len(modelfile.load(path).latencies) == 2


def test_a_card_joins_those_that_came_into_the_file_since_it_was_opened(tmp_path):
    modelfile.save(random_model(), path := tmp_path / "mine.safetensors")
    rows = measure_all([own(str(path), modelfile.load(path))], {"fixed fp32": FixedMeter()})

    for device in ("a board", "a phone"):  # as of two terminals
        write_cards([replace(row, latency=replace(row.latency, device=device)) for row in rows])

    assert [card["device"] for card in modelfile.load(path).latencies] == ["a board", "a phone"]


def test_a_card_that_cannot_be_written_costs_no_benchmark(tmp_path, capsys, caplog, monkeypatch):
    def refuse(path, update):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(modelfile, "update_latencies", refuse)
    modelfile.save(random_model(), path := tmp_path / "mine.safetensors")
    options = ["--only", "--runtimes", "onnxruntime", "--runs", "2", "--card", "--out", str(tmp_path / "out"), "--json"]

    assert main(["benchmark", str(path), *options]) == 0

    assert len(json.loads(capsys.readouterr().out)["rows"]) == 2 and (tmp_path / "out" / "benchmark.html").exists()
    assert f"--card: {path} keeps no latencies, it cannot be written: Permission denied" in caplog.text


def test_the_model_of_a_run_folder_takes_its_card(tmp_path):
    modelfile.save(random_model(), path := tmp_path / "run" / "weights" / "best.safetensors")
    mine = own(str(tmp_path / "run"), modelfile.load(path))

    write_cards(measure_all([mine], {"fixed fp32": FixedMeter()}))

    assert mine.name == str(tmp_path / "run") and len(modelfile.load(path).latencies) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep names of files in Unicode")
def test_a_file_whose_name_is_no_text_is_measured(tmp_path):
    modelfile.save(random_model(), path := tmp_path / "caf\udce9.safetensors")
    options = ["--only", "--runtimes", "onnxruntime", "--runs", "2", "--out", str(tmp_path / "out")]

    assert main(["benchmark", str(path), *options]) == 0

    assert "caf\ufffd.safetensors" in (tmp_path / "out" / "benchmark.csv").read_text(encoding="utf-8")


def test_what_an_agent_calls_itself_is_printed_and_not_obeyed(tmp_path, capsys, monkeypatch):
    class Rude:
        def measure_model(self, model):
            return Latency("\x1b[2Ja board\n", "fixed", "1", "fp32", 1, 1, 64, 50, 1, 1, 1)

    monkeypatch.setattr(benchmark, "distant_meter", lambda *_, **__: Rude())
    modelfile.save(random_model(), tmp_path / "m.safetensors")
    words = ["benchmark", str(tmp_path / "m.safetensors"), "--only", "--meter", "remote", "--out", str(tmp_path)]

    assert main([*words, "--agent-url", "http://127.0.0.1:1"]) == 0

    assert capsys.readouterr().out.startswith("\\x1b[2Ja board\\n, ")


def model_bytes(model):
    return sum(np.asarray(value).nbytes for value in model.weights.values())


def test_only_needs_a_model(capsys):
    assert main(["benchmark", "--only"]) == 2

    assert "--only leaves out the published networks, so it needs a model" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["benchmark", "--only", "auto"], ["profile", "tiny"]])
@pytest.mark.parametrize(
    "device",
    ["--agent-url=https://pi.local:8765", "--agent-token-file=token", "--agent-ca-file=pi.pem",
     "--agent-runtime=litert", "--agent-wait-minutes=5", "--adb-serial=123", "--adb-tool=benchmark_model"],
)  # fmt: skip
def test_a_device_that_was_named_is_never_replaced_by_this_machine(command, device, capsys, tmp_path):
    assert main([*command, device, "--out", str(tmp_path / "out")]) == 2

    assert "names a device for --meter" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_options_of_a_device_are_those_of_its_meter():
    parser = argparse.ArgumentParser()
    add_device_arguments(parser)
    board = ["--agent-url=https://pi.local:8765", "--agent-token-file=token", "--agent-ca-file=pi.pem"]
    address = AgentAddress(
        "https://pi.local:8765", token_file="token", ca_file="pi.pem", wait_minutes=2, runtime="litert"
    )
    here = parser.parse_args(["--agent-url=http://127.0.0.1:1"])

    meter = distant_meter(
        argparse.Namespace(**vars(here), meter="remote", threads=2, runs=7), batch=3, num_classes=5, precision="int8"
    )

    assert agent_of(parser.parse_args([*board, "--agent-wait-minutes=2", "--agent-runtime=litert"])) == address
    assert phone_of(parser.parse_args(["--adb-serial=12", "--adb-tool=tool"])) == AndroidPhone("12", Path("tool"))
    assert (meter.threads, meter.runs, meter.batch, meter.num_classes, meter.precision) == (2, 7, 3, 5, "int8")


def test_engines_of_this_machine_are_not_those_of_an_agent(capsys):
    words = ["benchmark", "auto", "--only", "--meter=remote", "--agent-url=http://127.0.0.1:1", "--runtimes=openvino"]

    assert main(words) == 2
    assert "--runtimes are engines of this machine" in capsys.readouterr().err


def test_an_exported_file_is_not_quietly_measured_at_its_own_size(tmp_path, capsys):
    (done,) = export_model(random_model(), tmp_path, ["onnx"])
    words = ["benchmark", str(done.files[0]), "--only", "--input-size", "96", "--out", str(tmp_path / "out")]

    assert main(words) == 2
    assert "one input size, tiny.onnx has 64 px, got --input-size 96; give the model file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    paths = [tmp_path / run / "weights" / "best.safetensors" for run in ("first", "second")]
    for path in paths:
        modelfile.save(random_model(), path)

    subjects = told_apart([own(str(path), random_model()) for path in [*paths, paths[0]]])

    names = [subject.name for subject in subjects]
    assert names == [f"{run}/weights/best.safetensors" for run in ("first", "second", "first")]


def test_one_file_given_in_two_ways_is_one_file(tmp_path, monkeypatch):
    modelfile.save(random_model(), tmp_path / "own.safetensors")
    monkeypatch.chdir(tmp_path)

    subjects = told_apart(
        [own(path, random_model()) for path in ("own.safetensors", str(tmp_path / "own.safetensors"))]
    )

    assert [subject.name for subject in subjects] == ["own.safetensors"] * 2


def test_one_file_given_in_several_ways_is_measured_once(tmp_path, capsys, monkeypatch):
    modelfile.save(random_model(), path := tmp_path / "run" / "weights" / "best.safetensors")
    monkeypatch.chdir(tmp_path)
    ways = [str(path), "run/weights/best.safetensors", "./run/../run/weights/best.safetensors", "run"]

    options = ["--only", "--runtimes", "onnxruntime", "--runs", "1", "--json", "--out", "out"]
    assert main(["benchmark", *ways, *options]) == 0

    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["name"], row["meter"]) for row in rows] == [
        ("best.safetensors", "onnxruntime fp32"),
        ("best.safetensors", "onnxruntime int8"),
    ]


@pytest.mark.parametrize("size", ["0", "-3"])
def test_a_size_that_no_network_takes_is_never_another(size, tmp_path, capsys):
    assert main(["benchmark", f"--input-size={size}", "--runtimes", "onnxruntime", "--out", str(tmp_path / "out")]) == 2

    assert f"input_size must be >= 32 pixels, got {size}" in capsys.readouterr().err
