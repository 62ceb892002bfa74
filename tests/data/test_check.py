import hashlib
import json
import os
import shutil
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from mnasnet.cli import main
from mnasnet.data.cache import DecodedImages
from mnasnet.data.check import accuracy_points, examine
from mnasnet.data.folder import Dataset, Sample, scan
from mnasnet.data.report import as_text, write_report
from mnasnet.data.split import Split, read_split, split
from mnasnet.errors import DataError
from mnasnet.preprocess import Preprocess
from mnasnet.testing import coloured_image, write_image_folder


@pytest.fixture
def folder(tmp_path):
    """3 classes of 20 training and 10 validation images, nothing wrong with them."""
    write_image_folder(tmp_path / "data", splits=("train",), per_class=20)
    write_image_folder(tmp_path / "more", splits=("", "val"), per_class=10)
    shutil.move(tmp_path / "more/val", tmp_path / "data/val")
    return tmp_path / "data"


def report_of(folder, **options):
    return examine(scan(folder), **options)


def tree_of(folder):
    """Everything that writing could change: names, contents, times of change."""
    return {
        str(path): (path.stat().st_mtime_ns, path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted([folder, *folder.rglob("*")])
    }


def warning_with(report, words):
    return next((text for text in report.warnings if words in text), f"no {words!r} in {report.warnings}")


def test_a_good_dataset_has_counts_and_only_the_remark_that_it_is_small(folder):
    report = report_of(folder)

    assert report.counts == {
        "train": dict.fromkeys(["blue", "green", "red"], 20),
        "val": dict.fromkeys(["blue", "green", "red"], 10),
    }
    assert (report.formats, report.kinds) == ({"JPEG": 90}, {"RGB": 90})
    assert report.smallest == report.typical == report.largest == (80, 60)
    assert (report.errors, report.imbalance, report.unreadable) == ((), 1.0, {})
    assert report.warnings == (warning_with(report, "30 validation images has a ±14 point error"),)


def test_the_precision_of_an_accuracy_follows_from_the_number_of_images():
    assert accuracy_points(4) == pytest.approx(39.2, abs=0.1)  # "val accuracy on 4 images has +-40 % error"
    assert accuracy_points(10_000) == pytest.approx(0.784, abs=0.001)


def test_unreadable_training_images_are_listed_with_reasons(folder):
    (folder / "train/red/000.jpg").write_bytes(b"")
    whole = (folder / "train/red/001.jpg").read_bytes()
    (folder / "train/red/001.jpg").write_bytes(whole[: len(whole) // 2])

    report = report_of(folder)

    reasons = {file.path: file.reason for file in report.unreadable["train"]}
    assert reasons["train/red/000.jpg"].startswith("empty file")
    assert reasons["train/red/001.jpg"].startswith("truncated")
    assert "2 unreadable train images skipped (3.3%): train/red/000.jpg: empty file" in warning_with(report, "skipped")
    assert report.errors == ()


def test_too_many_unreadable_training_images_stop_a_training(folder):
    for number in range(4):
        (folder / f"train/red/{number:03d}.jpg").write_bytes(b"<html>not found</html>")

    with pytest.raises(
        DataError, match=r"4 of 60 training images are unreadable \(6.7%\), allowed are 5.0%: train/red"
    ):
        examine(scan(folder)).require_usable()
    assert examine(scan(folder), max_bad=0.1).errors == ()


def test_files_that_share_a_reason_are_told_together_and_once(folder):
    for name in ("a.heic", "b.heic", "c.heic"):
        (folder / "train/red" / name).write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (folder / "train/red/d.jpg").write_bytes(b"")

    report = report_of(folder)

    (error,) = report.errors
    assert "train/red/a.heic, train/red/b.heic, train/red/c.heic: HEIC photo" in error
    assert "train/red/d.jpg: empty file" in error and "repair or remove them" in error
    assert not [text for text in report.warnings if "unreadable train" in text]


def test_unreadable_validation_images_never_stop_and_are_never_replaced(folder):
    for number in range(5):
        (folder / f"val/red/{number:03d}.jpg").write_bytes(b"")

    report = examine(scan(folder))

    assert "5 unreadable val images left out of the measurement, never replaced" in warning_with(
        report, "unreadable val"
    )


def test_a_class_without_a_readable_image_is_an_error(folder):
    for path in (folder / "train/red").iterdir():
        path.write_bytes(b"")

    assert "class 'red' has no readable image in train" in " ".join(report_of(folder, max_bad=1).errors)


def test_classes_without_a_readable_image_are_one_error(folder):
    for path in (folder / "train").rglob("*.jpg"):
        path.write_bytes(b"")

    lost = [text for text in report_of(folder, max_bad=1).errors if "has no readable image in train" in text]
    assert len(lost) == 1
    assert ", like " in lost[0]


def test_validation_images_that_also_train_are_found_whatever_their_name(folder):
    shutil.copy(folder / "train/red/003.jpg", folder / "val/red/copy.jpg")
    shutil.copy(folder / "train/red/004.jpg", folder / "val/red/copy2.jpg")

    report = report_of(folder)

    assert warning_with(report, "also in train").startswith(
        "2 val images also in train, such as val/red/copy.jpg = train/red/003.jpg"
    )
    assert report.duplicates_across_splits[0] == ("train/red/003.jpg", "val/red/copy.jpg")
    assert report.copies_within_class == 0


def test_test_images_that_train_or_validate_are_counted_one_by_one(folder):
    (folder / "test").mkdir()
    shutil.copytree(folder / "val", folder / "test", dirs_exist_ok=True)
    for number, name in enumerate(("blue", "green", "red")):
        for file in (folder / "test" / name).iterdir():
            coloured_image((9, 9, 9), seed=1000 + 20 * number + int(file.stem)).save(file)
    shutil.copy(folder / "train/red/003.jpg", folder / "test/red/one.jpg")
    shutil.copy(folder / "train/red/003.jpg", folder / "test/red/two.jpg")
    shutil.copy(folder / "val/red/003.jpg", folder / "test/red/three.jpg")

    report = report_of(folder)

    assert warning_with(report, "also in train").startswith("2 test images also in train, such as test/red/one.jpg = ")
    assert warning_with(report, "also in val").startswith("1 test image also in val, such as test/red/three.jpg = val/")


def test_the_same_image_in_two_classes_is_found(folder):
    copies = ("train/blue/copy.jpg", "train/blue/copy2.jpg")
    for copy in copies:
        shutil.copy(folder / "train/red/003.jpg", folder / copy)

    report = report_of(folder)

    assert report.duplicates_across_classes == ((*copies, "train/red/003.jpg"),)
    assert warning_with(report, "two classes").startswith(
        "1 image under two classes, such as train/blue/copy.jpg = train/red/003.jpg"
    )


def test_copies_within_a_class_are_only_a_remark(folder):
    shutil.copy(folder / "train/red/003.jpg", folder / "train/red/copy.jpg")

    assert report_of(folder).remarks == ("1 copy of images of the same class and split",)

    shutil.copy(folder / "train/red/003.jpg", folder / "train/red/copy2.jpg")

    assert report_of(folder).remarks == ("2 copies of images of the same class and split",)


def test_uneven_classes_are_pointed_out(tmp_path):
    write_image_folder(tmp_path, colours={"ok": (0, 200, 0)}, per_class=60)
    write_image_folder(tmp_path, colours={"ng": (200, 0, 0)}, per_class=4)

    report = report_of(tmp_path)

    assert report.imbalance == 16
    assert "uneven, 16 to 1 ('ok' 48, 'ng' 3)" in warning_with(report, "uneven")
    assert "class 'ng' with fewer than 5 training images" in warning_with(report, "fewer")


def test_ten_times_as_many_images_are_uneven_and_five_are_not_too_few(tmp_path):
    sizes = {"ok": 50, "ng": 5}
    samples = tuple(Sample(f"{name}/{number}.jpg", name) for name in sizes for number in range(sizes[name]))
    parts = Split(("ok", "ng"), samples, samples[:1])

    report = examine(Dataset(tmp_path, parts.class_names, samples, samples[:1]), parts)

    assert "uneven, 10 to 1 ('ok' 50, 'ng' 5)" in warning_with(report, "uneven")
    assert not any("too few to learn from" in text for text in report.warnings)


def test_where_no_validation_image_can_be_read_nothing_is_trained(folder):
    for path in (folder / "val").rglob("*.jpg"):
        path.write_bytes(b"")

    assert report_of(folder).errors[0].startswith("none of the 30 validation images can be read: val/blue/000.jpg")


def test_a_class_with_one_image_trains_and_its_accuracy_stays_unknown(tmp_path):
    write_image_folder(tmp_path, per_class=8)
    write_image_folder(tmp_path, colours={"lone": (9, 9, 9)}, per_class=1)

    assert "class 'lone' with a single image" in warning_with(report_of(tmp_path), "single image")


def test_no_validation_image_at_all_is_an_error(tmp_path):
    write_image_folder(tmp_path, per_class=1)

    assert report_of(tmp_path).errors[0].startswith("no image is left for validation")


def test_every_kind_of_image_is_counted(tmp_path):
    write_image_folder(tmp_path, per_class=1)
    picture = coloured_image((200, 40, 40), width=30, height=50)
    picture.convert("CMYK").save(tmp_path / "red/cmyk.jpg")
    picture.convert("L").save(tmp_path / "red/grey.png")
    picture.convert("P").save(tmp_path / "red/palette.png")
    picture.convert("RGBA").save(tmp_path / "red/alpha.png")
    Image.fromarray(np.full((40, 40), 40_000, np.uint16)).save(tmp_path / "red/deep.png")
    Image.fromarray(np.full((40, 40), 0.5, np.float32)).save(tmp_path / "red/float.tif")

    report = report_of(tmp_path)

    assert report.kinds == {
        "RGB": 3,
        "CMYK": 1,
        "grey": 1,
        "palette": 1,
        "RGB with alpha": 1,
        "16-bit grey": 1,
        "float grey": 1,
    }
    assert set(report.formats) == {"JPEG", "PNG", "TIFF"}
    assert "1 image with transparency: laid over white" in report.remarks
    assert report.unreadable == {}


def test_all_grey_images_are_remarked(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.fromarray(np.full((20, 20), 50 * number, np.uint8)).save(tmp_path / name / f"{number}.png")
    Image.new("1", (20, 20), 1).save(tmp_path / "a" / "page.png")

    assert any("all images are grey" in text for text in report_of(tmp_path).remarks)


@pytest.mark.parametrize("command", [["check"], ["val", "mnasnet_tiny"]])
def test_what_is_asked_to_write_into_the_dataset_is_refused(command, folder, capsys):
    before = tree_of(folder)

    assert main([*command, str(folder), "--out", str(folder / "report")]) == 2

    assert "out must lie outside of the dataset" in capsys.readouterr().err
    assert tree_of(folder) == before


def test_tiny_images_are_warned_of_and_those_below_2_pixels_are_unreadable(folder):
    Image.new("RGB", (6, 40)).save(folder / "train/red/tiny.png")
    Image.new("RGB", (1, 40)).save(folder / "train/red/line.png")

    report = report_of(folder)

    assert report.tiny == ("train/red/tiny.png",)
    assert report.smallest == (6, 40)
    assert report.unreadable["train"][0].path == "train/red/line.png"


def test_sizes_are_those_of_the_upright_image(tmp_path):
    write_image_folder(tmp_path, per_class=1)
    lying = Image.Exif()
    lying[0x0112] = 6
    coloured_image((9, 9, 9), width=300, height=100).save(tmp_path / "red/phone.jpg", exif=lying)

    assert report_of(tmp_path).largest == (100, 300)


def test_the_smallest_image_has_the_shortest_side_and_the_largest_the_most_pixels(tmp_path):
    write_image_folder(tmp_path, per_class=1)
    coloured_image((9, 9, 9), width=400, height=15).save(tmp_path / "red/strip.jpg")
    coloured_image((9, 9, 9), width=100, height=90).save(tmp_path / "red/large.jpg")

    report = report_of(tmp_path)

    assert (report.smallest, report.largest) == ((400, 15), (100, 90))


def test_a_wrong_suffix_does_not_matter(folder):
    coloured_image((200, 40, 40), seed=99).save(folder / "train/red/x.png")
    (folder / "train/red/x.png").rename(folder / "train/red/x.jpg")

    report = report_of(folder)

    assert report.formats == {"JPEG": 90, "PNG": 1}
    assert report.unreadable == {}


def test_warnings_of_scan_and_split_are_part_of_the_report(tmp_path):
    write_image_folder(tmp_path, per_class=8)
    coloured_image((1, 2, 3)).save(tmp_path / "stray.png")

    report = examine(scan(tmp_path), split(scan(tmp_path), grouping="frames"))

    assert "the class folder is missing" in report.warnings[0]
    assert "sequence" in report.warnings[1]


def test_progress_counts_to_the_number_of_images(folder):
    heard = []

    report_of(folder, progress=lambda done, total: heard.append((done, total)))

    assert heard == [(done, 90) for done in range(1, 91)]


@pytest.mark.parametrize(("option", "value"), [("--threads", "-1"), ("--max-bad", "5")])
def test_numbers_that_cannot_be_are_refused_in_a_line(option, value, folder, capsys):
    with pytest.raises(SystemExit):
        main(["check", str(folder), option, value])

    assert f"argument {option}: must be a" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--grouping", "frames"], ["--group-frames"]])
def test_frames_of_one_video_are_kept_together_as_a_training_keeps_them(option, tmp_path, capsys):
    folder = write_image_folder(tmp_path / "data", per_class=8)

    assert main(["check", str(folder), *option]) == 0

    assert "is one sequence of images" in capsys.readouterr().out


def test_the_report_does_not_depend_on_the_number_of_threads(folder):
    (folder / "train/red/000.jpg").write_bytes(b"")
    shutil.copy(folder / "train/red/003.jpg", folder / "val/red/copy.jpg")

    assert report_of(folder, threads=1) == report_of(folder, threads=8)


def test_images_decoded_by_the_check_are_not_decoded_again(folder, monkeypatch):
    dataset = scan(folder)
    parts = split(dataset)
    images = DecodedImages([folder / sample.path for sample in parts.train], Preprocess(32, 36), 10**7)

    report = examine(dataset, parts, decoded={"train": images})
    shutil.rmtree(folder)  # nothing is left to decode

    assert report.errors == ()
    assert images[0].shape == (32, 32, 3)


def test_what_a_filled_cache_found_unreadable_has_the_same_reason_in_the_report(folder):
    (folder / "train/red/000.jpg").write_bytes(b"")
    parts = split(scan(folder))
    images = DecodedImages([folder / sample.path for sample in parts.train], Preprocess(32, 36), 10**7)
    images.fill()

    assert examine(scan(folder), parts, decoded={"train": images}) == report_of(folder)


def test_photos_of_a_format_that_needs_a_package_name_it(folder):
    (folder / "train/red/phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))

    file = report_of(folder).unreadable["train"][0]

    assert file.path == "train/red/phone.HEIC"
    assert "pillow-heif" in file.reason or find_spec("pillow_heif")


def test_the_dataset_is_never_written_to(folder, tmp_path):
    (folder / "train/red/000.jpg").write_bytes(b"")
    for path in sorted(folder.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)
    folder.chmod(0o555)
    before = tree_of(folder)

    assert main(["check", str(folder), "--out", str(tmp_path / "out")]) == 0

    assert tree_of(folder) == before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dataset_report.json", "split.json"]
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)


def test_the_report_file_is_complete_json(folder, tmp_path):
    (folder / "train/red/000.jpg").write_bytes(b"")
    report = report_of(folder)

    values = json.loads(write_report(report, tmp_path / "out").read_text("utf-8"))

    assert values["unreadable"]["train"][0] == {
        "path": "train/red/000.jpg",
        "reason": report.unreadable["train"][0].reason,
    }
    assert values == json.loads(json.dumps(report.to_dict()))


def test_the_text_is_a_table_with_columns_in_line(tmp_path):
    write_image_folder(tmp_path, colours={"猫": (1, 2, 3), "dog": (9, 9, 9), "x" * 200: (5, 5, 5)}, per_class=10)

    lines = as_text(report_of(tmp_path)).splitlines()

    assert lines[2].split() == ["class", "train", "val"]
    row = next(line for line in lines if line.startswith("猫"))
    assert row.split() == ["猫", "8", "2"]
    assert len(row) == len(lines[2]) - 1  # the character is two columns wide
    assert any(line.startswith("WARN ") for line in lines)
    assert max(len(line) for line in lines[2:8]) < 80


def test_very_many_classes_are_cut_to_the_smallest_and_largest(tmp_path):
    for number in range(60):
        for image in range(1 + number % 3):
            (tmp_path / f"{number}").mkdir(exist_ok=True)
            Image.new("RGB", (4, 4), (number, image, 0)).save(tmp_path / f"{number}/{image}.png")

    text = as_text(report_of(tmp_path))

    assert "30 between" in text
    assert len(text.splitlines()) < 60


def test_the_command_exits_0_when_fine_and_1_on_warnings_if_strict(folder, capsys):
    assert main(["check", str(folder)]) == 0
    assert main(["check", str(folder), "--strict"]) == 1
    assert "3 classes, 90 images" in capsys.readouterr().out


def test_the_command_exits_2_on_errors_and_still_shows_the_report(folder, capsys):
    for path in (folder / "train/red").iterdir():
        path.write_bytes(b"")

    assert main(["check", str(folder)]) == 2
    shown = capsys.readouterr().out
    assert "ERROR  20 of 60 training images are unreadable" in shown
    assert "class" in shown


def test_the_command_writes_the_split_of_its_seed_beside_the_report(tmp_path, capsys):
    dataset = scan(write_image_folder(tmp_path / "data", per_class=8))

    for seed in (0, 1):
        assert main(["check", str(tmp_path / "data"), "--seed", str(seed), "--out", str(tmp_path / "out")]) == 0
        assert read_split(tmp_path / "out/split.json", dataset) == split(dataset, seed=seed)


def test_the_command_allows_as_many_unreadable_images_as_it_is_told(folder, capsys):
    for number in range(4):
        (folder / f"train/red/{number:03d}.jpg").write_bytes(b"")

    assert main(["check", str(folder)]) == 2
    assert main(["check", str(folder), "--max-bad", "0.1"]) == 0


def test_the_command_gives_json_for_programs_also_where_the_folder_is_unusable(folder, tmp_path, capsys):
    assert main(["check", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["val"]["red"] == 10

    assert main(["check", str(tmp_path / "nothing"), "--json"]) == 2
    assert "does not exist" in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such names")
def test_folder_names_that_a_terminal_would_obey_are_shown_as_escapes(folder, capsys):
    for part in ("train", "val"):
        (folder / part / "red").rename(folder / part / "red \x1b[31m\nERROR  none")
    shutil.copy(next((folder / "train").glob("red*/000.jpg")), next((folder / "val").glob("red*")) / "copy.jpg")

    assert main(["check", str(folder)]) == 0

    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\nERROR" not in shown
    assert r"red \x1b[31m\nERROR  none     20   11" in shown  # below the heads of their columns
    assert r"WARN   1 val image also in train, such as val/red \x1b[31m\nERROR  none/copy.jpg" in shown


def test_a_report_names_the_folder_as_it_is_found_from_anywhere(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder.parent)

    assert main(["check", folder.name, "--out", str(tmp_path / "out")]) == 0

    assert json.loads((tmp_path / "out/dataset_report.json").read_text())["folder"] == str(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such names")
def test_file_names_that_are_no_valid_text_can_be_reported(folder, tmp_path, capsys):
    (folder / "train/red/000.jpg").write_bytes(b"")
    (folder / "train/red/000.jpg").rename(folder / "train/red" / os.fsdecode(b"\xff.jpg"))

    assert main(["check", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert r"\udcff.jpg" in capsys.readouterr().out
    assert json.loads((tmp_path / "out/dataset_report.json").read_text())["unreadable"]["train"]
