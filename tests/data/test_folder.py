import os
import sys
from pathlib import Path

import pytest

from mnasnet.data.folder import Dataset, Sample, scan
from mnasnet.data.labelled import MARK
from mnasnet.data.names import natural_order
from mnasnet.errors import DataError
from mnasnet.testing import coloured_image, write_image_folder


def add_image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    coloured_image((10, 20, 30), width=8, height=8).save(path.with_suffix(".png"))
    path.with_suffix(".png").rename(path)
    return path


def folder_of(tmp_path: Path, *paths: str) -> Path:
    for path in paths:
        add_image(tmp_path / path)
    return tmp_path


def error_of(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        scan(folder)
    return str(caught.value)


def test_a_flat_folder_of_class_folders_is_all_training(tmp_path):
    dataset = scan(folder_of(tmp_path, "dog/b.png", "cat/a.png", "cat/c.png"))

    assert dataset == Dataset(
        tmp_path, ("cat", "dog"), (Sample("cat/a.png", "cat"), Sample("cat/c.png", "cat"), Sample("dog/b.png", "dog"))
    )


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_validation_folders_have_many_names_and_the_one_used_is_told(tmp_path, val):
    dataset = scan(write_image_folder(tmp_path, splits=("train", val, "test"), per_class=2))

    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (6, 6, 6)
    assert dataset.split_folders == {"train": "train", "val": val, "test": "test"}
    assert dataset.val[0] == Sample(f"{val}/blue/000.jpg", "blue")


def test_two_validation_folders_are_one_too_many(tmp_path):
    write_image_folder(tmp_path, splits=("train", "val", "valid"), per_class=1)

    assert "has 'val', 'valid'; keep one" in error_of(tmp_path)


def test_classes_are_aligned_by_name_where_validation_lacks_one(tmp_path):
    dataset = scan(folder_of(tmp_path, "train/a/1.png", "train/b/1.png", "train/c/1.png", "val/a/2.png", "val/c/2.png"))

    assert dataset.class_names == ("a", "b", "c")
    assert [sample.class_name for sample in dataset.val] == ["a", "c"]
    assert dataset.notes == ("'b' without images in val: kept as class, its accuracy stays unknown",)


def test_a_class_that_one_split_lacks_is_judged_by_the_other(tmp_path):
    folder_of(tmp_path, "train/a/1.png", "train/b/1.png", "train/c/1.png")
    folder_of(tmp_path, "val/a/2.png", "val/b/2.png", "test/a/3.png", "test/c/3.png")

    assert scan(tmp_path).notes == (
        "'c' without images in val: kept as class, judged by test alone",
        "'b' without images in test: kept as class, judged by val alone",
    )


def test_a_class_that_the_test_lacks_is_judged_by_the_validation_images_that_are_chosen(tmp_path):
    folder_of(tmp_path, "train/a/1.png", "train/a/2.png", "train/b/1.png", "train/b/2.png", "test/a/3.png")

    assert scan(tmp_path).notes == ("'b' without images in test: kept as class, judged by validation images alone",)


def test_an_empty_validation_class_is_a_warning_and_the_class_is_kept(tmp_path):
    folder_of(tmp_path, "train/a/1.png", "train/b/1.png", "val/a/2.png")
    (tmp_path / "val/b").mkdir()

    assert scan(tmp_path).class_names == ("a", "b")
    assert len(scan(tmp_path).notes) == 1


def test_a_class_that_only_validation_has_cannot_be_learnt(tmp_path):
    folder_of(tmp_path, "train/a/1.png", "train/b/1.png", "val/a/2.png", "val/zebra/2.png")

    assert error_of(tmp_path).startswith("class 'zebra' has 0 images in train (1 in val); every class needs images")


def test_an_empty_training_class_is_an_error(tmp_path):
    folder_of(tmp_path, "cat/1.png", "bird/1.png")
    (tmp_path / "dog").mkdir()

    assert error_of(tmp_path).startswith("class 'dog' has 0 images in its folder;")


def test_names_that_differ_only_in_capitals_or_spaces_are_one_class_with_a_warning(tmp_path):
    dataset = scan(folder_of(tmp_path, "train/cat/1.png", "train/big dog/1.png", "val/Cat/2.png", "val/big  dog/2.png"))

    assert dataset.class_names == ("big dog", "cat")
    assert dataset.val == (Sample("val/Cat/2.png", "cat"), Sample("val/big  dog/2.png", "big dog"))
    assert "val/Cat, like 1 other, is taken as class 'cat'" in dataset.notes[0]


def test_names_alike_within_training_stay_two_classes_with_a_warning(tmp_path):
    dataset = scan(folder_of(tmp_path, "cat/1.png", "Cat /1.png"))

    assert len(dataset.class_names) == 2
    assert "differ only in capitals or spaces" in dataset.notes[0]


def test_classes_that_look_the_same_are_said_to_differ_in_how_accents_are_stored(tmp_path):
    dataset = scan(folder_of(tmp_path, "caf\u00e9/1.png", "cafe\u0301/1.png"))

    assert len(dataset.class_names) == 2
    assert "differ only in how accents are stored; join them" in dataset.notes[0]


def test_accents_stored_in_two_ways_are_one_class(tmp_path):
    dataset = scan(folder_of(tmp_path, "train/caf\u00e9/1.png", "train/bar/1.png", "val/cafe\u0301/2.png"))

    assert dataset.val == (Sample("val/cafe\u0301/2.png", "caf\u00e9"),)
    assert dataset.notes[0].endswith("the names differ only in how accents are stored")


def test_unknown_classes_of_the_test_folder_are_left_out(tmp_path):
    dataset = scan(
        folder_of(
            tmp_path, "train/a/1.png", "train/b/1.png", "test/a/2.png", "test/unknown/2.png", "test/unknown/3.png"
        )
    )

    assert dataset.test == (Sample("test/a/2.png", "a"),)
    assert dataset.notes[0] == "test/unknown is no class of train; its 2 images are left out"


def test_numeric_class_names_are_in_natural_order(tmp_path):
    assert scan(folder_of(tmp_path, "10/a.png", "2/a.png", "1/a.png")).class_names == ("1", "2", "10")
    assert sorted(["b10", "B2", "a"], key=natural_order) == ["a", "B2", "b10"]


def test_one_class_only_asks_whether_the_parent_was_meant(tmp_path):
    folder_of(tmp_path, "cat/1.png")

    assert error_of(tmp_path) == (
        f"needs >= 2 classes, found 1 ('cat') in {tmp_path}. Did you point to train/ instead of its parent?"
    )


def test_a_dataset_one_folder_further_down_is_pointed_out(tmp_path):
    folder_of(tmp_path, "unpacked/train/a/1.png", "unpacked/val/a/1.png")

    assert error_of(tmp_path).endswith(f"did you mean {tmp_path / 'unpacked'}?")


def test_a_dataset_several_folders_further_down_is_pointed_out_too(tmp_path):
    folder_of(tmp_path, "archive/flowers/flowers/daisy/1.png", "archive/flowers/flowers/rose/1.png")

    assert error_of(tmp_path).endswith(f"did you mean {tmp_path / 'archive/flowers/flowers'}?")


@pytest.mark.parametrize(
    ("split_names", "named"),
    [(("train_set", "val_set"), "'train_set', 'val_set'"), (("train_val", "test"), "'test', 'train_val'")],
)
def test_splits_of_other_names_are_not_taken_for_classes(split_names, named, tmp_path):
    write_image_folder(tmp_path, splits=split_names, per_class=1)

    assert error_of(tmp_path).startswith(f"{named} in {tmp_path} look like splits, not like classes; name them train")


def test_images_in_train_beside_a_folder_for_the_test_are_no_classes(tmp_path):
    assert "look like splits" in error_of(folder_of(tmp_path, "train/cat.0.jpg", "train/dog.0.jpg", "test1/1.jpg"))


def test_classes_that_are_called_tests_are_classes(tmp_path):
    assert scan(folder_of(tmp_path, "test1/1.jpg", "test2/1.jpg")).class_names == ("test1", "test2")


@pytest.mark.parametrize("split_folders", [("images/train", "labels/train"), ("train/images", "train/labels")])
def test_a_dataset_for_detection_is_told_from_one_of_classes(split_folders, tmp_path):
    images, labels = split_folders
    folder_of(tmp_path, f"{images}/1.jpg")
    (tmp_path / labels).mkdir(parents=True)
    (tmp_path / labels / "1.txt").write_text("0 .5 .5 .1 .1")

    assert "'labels' holds no images: this looks like a dataset for detection" in error_of(tmp_path)


@pytest.mark.parametrize("image", ["images/1.jpg", "1.jpg"])
def test_labels_in_a_table_are_said_not_to_be_read(image, tmp_path):
    folder_of(tmp_path, image)
    (tmp_path / "labels.csv").write_text("1.jpg,cat")

    assert error_of(tmp_path).endswith("; labels in labels.csv are not read")


def test_splits_inside_class_folders_are_said_not_to_be_used(tmp_path):
    dataset = scan(folder_of(tmp_path, "a/train/1.png", "a/val/1.png", "b/train/1.png", "b/val/1.png"))

    assert len(dataset.notes) == 1
    assert "the splits inside class folders ('train', 'val') are not used" in dataset.notes[0]


def test_a_class_of_validation_that_is_written_otherwise_is_told_the_nearest_name(tmp_path):
    folder_of(tmp_path, "train/big_dog/1.png", "train/cat/1.png", "val/big-dog/2.png", "val/cat/2.png")

    assert "add some, rename it if it is 'big_dog', or remove" in error_of(tmp_path)


def test_one_class_with_one_folder_in_it_is_told_what_a_class_needs(tmp_path):
    folder_of(tmp_path, "a/b/c/1.png")

    assert error_of(tmp_path).endswith("It holds the folder 'b' alone: give each class a folder of its own")


def test_a_mistyped_folder_is_told_the_nearest_name(tmp_path):
    folder_of(tmp_path, "photos/a/1.png")

    assert error_of(tmp_path / "phots").endswith(f"does not exist; did you mean {tmp_path / 'photos'}?")
    assert error_of(tmp_path / "elsewhere" / "deep").endswith(f"does not exist; {tmp_path} does")


def test_giving_train_itself_warns_of_the_validation_images_beside_it(tmp_path):
    folder_of(tmp_path, "train/a/1.png", "train/b/1.png", "val/a/2.png")

    assert f"did you mean to give {tmp_path}?" in scan(tmp_path / "train").notes[0]


def test_train_is_a_class_where_it_holds_images_beside_other_classes(tmp_path):
    dataset = scan(folder_of(tmp_path, "train/1.png", "bus/1.png", "car/1.png"))

    assert dataset.class_names == ("bus", "car", "train")
    assert "taken as a class" in dataset.notes[0]


def test_validation_without_training_is_an_error(tmp_path):
    folder_of(tmp_path, "val/a/1.png", "val/b/1.png")

    assert "needs a train folder" in error_of(tmp_path)


@pytest.mark.parametrize("paths", [(), ("a.png", "b.png")])
def test_a_folder_without_class_folders_says_how_it_should_be(tmp_path, paths):
    folder_of(tmp_path, *paths)

    assert "a dataset needs one folder per class" in error_of(tmp_path)


def test_class_folders_without_any_image_say_so(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "labels.txt").write_text("1")

    assert error_of(tmp_path).startswith(f"no images in {tmp_path};")


def test_a_missing_path_names_the_nearest_folder_that_exists(tmp_path):
    assert error_of(tmp_path / "x/y").endswith(f"{tmp_path} does")


def test_a_folder_that_may_not_be_read_is_told_with_what_to_do(tmp_path, monkeypatch):
    folder_of(tmp_path, "a/1.png", "b/1.png")
    read = os.scandir

    def without_rights(folder):  # the user of these tests may be one whom no rights stop
        if Path(folder) == tmp_path / "b":
            raise PermissionError(13, "Permission denied")
        return read(folder)

    monkeypatch.setattr(os, "scandir", without_rights)

    assert error_of(tmp_path).endswith("b: Permission denied; give it read access, or move it out of the dataset")


def test_a_file_and_an_archive_are_told_apart(tmp_path):
    image = add_image(tmp_path / "a.png")
    archive = tmp_path / "data.zip"
    archive.write_bytes(b"PK\5\6" + bytes(18))

    assert "is a file; give the folder" in error_of(image)
    assert "is an archive; unpack it" in error_of(archive)


def test_junk_is_ignored_and_counted(tmp_path):
    folder_of(
        tmp_path,
        "a/1.png",
        "b/1.png",
        "b/.ipynb_checkpoints/1.png",
        ".git/x.png",
        "__MACOSX/a/1.png",
        "__pycache__/x.png",
        "runs/train/x.png",
        "mlruns/0/x.png",
        "a/._1.png",
    )
    for name in (
        "Thumbs.db",
        "a/desktop.ini",
        "a/notes.txt",
        "b/clip.mp4",
        "runs/train/args.yaml",
        "mlruns/0/meta.yaml",
    ):
        (tmp_path / name).write_bytes(b"x")

    dataset = scan(tmp_path)

    assert dataset.class_names == ("a", "b")
    assert len(dataset.train) == 2
    assert {
        "runs/",
        "mlruns/",
        "__MACOSX/",
        ".git/",
        ".ipynb_checkpoints/",
        "Thumbs.db",
        "desktop.ini",
        "*.txt",
        "._1.png",
    } <= set(dataset.ignored)
    assert dataset.ignored["*.mp4 (video: write its frames as images)"] == 1


@pytest.mark.parametrize("name", ["runs", "mlruns", "Runs"])
def test_a_folder_of_photos_is_a_class_whatever_its_name(tmp_path, name):
    folder_of(tmp_path, "jumps/1.png", f"{name}/2021/1.png", f"{name}/2.png")

    dataset = scan(tmp_path)

    assert {sample.class_name for sample in dataset.train} == {"jumps", name}
    assert len(dataset.train) == 3


@pytest.mark.parametrize("path", ["runs/train/x/args.yaml", "mlruns/0/meta.yaml", "runs/export/x.onnx"])
def test_what_trainings_wrote_is_no_class(tmp_path, path):
    folder_of(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text("x")

    assert scan(tmp_path).class_names == ("a", "b")


@pytest.mark.parametrize("path", ["runs/val/confusion_matrix.png", "runs/classify/predict/1.jpg"])
def test_what_tools_drew_is_no_class(tmp_path, path):
    folder_of(tmp_path, "a/1.png", "b/1.png", path)

    assert scan(tmp_path).class_names == ("a", "b")


def test_a_folder_of_copies_that_classify_annotated_is_no_class_and_is_told(tmp_path):
    folder_of(tmp_path, "a/1.png", "b/1.png", "mixed/1.png")
    for place in ("labelled", "labelled/b", "mixed"):
        (tmp_path / place).mkdir(exist_ok=True)
        coloured_image((10, 20, 30)).save(tmp_path / place / "1_labelled.jpg", comment=MARK)
    (tmp_path / "labelled" / "Thumbs.db").write_bytes(b"x")

    dataset = scan(tmp_path)

    assert dataset.class_names == ("a", "b", "mixed")
    assert dataset.notes == ("the folder labelled/ is left out: it holds annotated pictures of classify alone",)
    assert dataset.ignored["annotated pictures of classify"] == 3


def test_images_beside_class_folders_are_counted_and_reported(tmp_path):
    dataset = scan(folder_of(tmp_path, "train/a/1.png", "train/b/1.png", "train/stray.png"))

    assert dataset.notes == ("1 image directly in train/ left out: the class folder is missing",)


def test_images_are_found_at_any_depth_and_belong_to_the_first_level(tmp_path):
    dataset = scan(folder_of(tmp_path, "a/2021/05/1.png", "b/x.png"))

    assert dataset.train[0] == Sample("a/2021/05/1.png", "a")
    assert dataset.notes == ()


def test_sub_folders_that_look_like_classes_are_pointed_out(tmp_path):
    dataset = scan(folder_of(tmp_path, "animals/cat/1.png", "animals/dog/1.png", "cars/1.png"))

    assert "class 'animals' is one class with all its sub-folders ('cat', 'dog')" in dataset.notes[0]


def test_what_holds_of_many_classes_is_told_once(tmp_path):
    splits = [f"{split}/{name}{place}/1.png" for split in ("train", "val") for name in "abc" for place in ("/x", "/y")]
    respelled = [f"test/{name}/1.png" for name in "AB"]
    unknown = ["test/q/1.png", "test/r/1.png", "test/r/2.png"]

    dataset = scan(folder_of(tmp_path, *splits, *respelled, *unknown))

    nested = "class 'a', like 2 others, is one class with all its sub-folders ('x', 'y'); "
    assert [note.startswith(nested) for note in dataset.notes[:2]] == [True, True]
    assert dataset.notes[2:] == (
        "test/A, like 1 other, is taken as class 'a': the names differ only in capitals or spaces",
        "test/q, like 1 other, is no class of train; their 3 images are left out",
        "'c' without images in test: kept as class, judged by val alone",
    )


def test_classes_that_hold_one_folder_each_are_pointed_out(tmp_path):
    dataset = scan(folder_of(tmp_path, "part/cat/1.png", "rest/dog/1.png"))

    assert dataset.notes == (
        "each class holds one folder ('cat', 'dog'); if these are the classes, move them one level up",
    )


def test_a_folder_that_every_class_has_is_none_to_point_out(tmp_path):
    assert scan(folder_of(tmp_path, "cat/images/1.png", "dog/images/1.png")).notes == ()


@pytest.mark.parametrize("start", [b"\0\0\0\x18ftyphevc", b"\0\0\0\x18ftypheic", b"\0\0\0\x1cftypavis", b"MM\0+"])
def test_what_reading_takes_for_an_image_is_one_without_a_suffix_too(start, tmp_path):
    folder = folder_of(tmp_path, "a/1.jpg", "b/1.jpg")
    (folder / "a" / "phone").write_bytes(start.ljust(64, b"\0"))

    assert "a/phone" in [sample.path for sample in scan(folder).train]


def test_suffixes_count_in_any_case_and_content_counts_without_one(tmp_path):
    dataset = scan(folder_of(tmp_path, "a/1.JPG", "a/2.jpeg", "a/3.WebP", "a/no_suffix", "a/5.data", "b/1.png"))

    assert len(dataset.train) == 6


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_that_go_round_end_and_links_to_images_count(tmp_path):
    folder_of(tmp_path, "train/a/1.png", "train/b/1.png", "elsewhere_outside/x.png")
    (tmp_path / "train/a/up").symlink_to(tmp_path / "train")
    (tmp_path / "train/a/self").symlink_to(tmp_path / "train/a")
    (tmp_path / "train/a/more").symlink_to(tmp_path / "elsewhere_outside")
    (tmp_path / "train/a/loop.png").symlink_to(tmp_path / "train/a/loop.png")
    (tmp_path / "train/a/gone.png").symlink_to(tmp_path / "nowhere.png")

    dataset = scan(tmp_path)

    assert [sample.path for sample in dataset.train] == ["train/a/1.png", "train/a/more/x.png", "train/b/1.png"]
    assert dataset.ignored["links to a folder already read"] == 2
    assert dataset.ignored["broken links"] == 2


@pytest.mark.parametrize("name", ["A&B", "cat (indoor)", "C#", "猫", "🐈", "x" * 200, "naïve café"])
def test_any_class_name_is_fine(tmp_path, name):
    assert name in scan(folder_of(tmp_path, f"{name}/1.png", "other/1.png")).class_names


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
@pytest.mark.parametrize("name", [b"data/caf\xe9", b"caf\xe9/a"])
def test_a_folder_whose_name_is_no_text_is_refused_before_a_training_cannot_write_it(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    add_image(path / "1.png")
    add_image(path.parent / "other/1.png")

    assert error_of(path.parent) == r"names of folders must be UTF-8, got 'caf\udce9'; rename this folder"


def test_each_folder_is_opened_a_fixed_number_of_times(tmp_path, monkeypatch):
    """The scan is linear: a folder's files are listed once each, however many there are."""
    write_image_folder(tmp_path, splits=("train", "val"), per_class=3)
    opened = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (opened.append(str(path)), real(path))[1])

    scan(tmp_path)

    class_folders = [path for path in opened if path.count("/") == str(tmp_path).count("/") + 2]
    assert len(class_folders) == len(set(class_folders)) == 6


def test_a_path_that_starts_with_the_home_sign_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    folder_of(tmp_path, "data/a/1.png", "data/b/1.png")

    assert scan(Path("~/data")).folder == tmp_path / "data"
