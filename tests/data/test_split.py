import json
import logging
import os
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet.data.folder import Dataset, Sample, scan
from mnasnet.data.split import (
    Split,
    carried,
    grown,
    new_places,
    read_split,
    split,
    warn_of_changed,
    write_split,
    written_sizes,
)
from mnasnet.errors import DataError
from mnasnet.testing import write_image_folder


def dataset_of(tmp_path, **names):
    """A dataset value without files: class -> file names."""
    samples = sorted(Sample(f"{name}/{file}", name) for name, files in names.items() for file in files)
    return Dataset(tmp_path, tuple(sorted(names)), tuple(samples))


def numbered(count, text="{}.jpg"):
    return [text.format(number) for number in range(count)]


def frames(*videos, count=10):
    return [f"{video}_frame-{number:04d}.jpg" for video in videos for number in range(count)]


def test_the_split_is_stratified_and_complete(tmp_path):
    sizes = {"cat": 100, "dog": 10, "elk": 8, "fox": 7}
    dataset = dataset_of(tmp_path, **{name: numbered(size) for name, size in sizes.items()})

    parts = split(dataset)

    validating = {name: sum(sample.class_name == name for sample in parts.val) for name in sizes}
    assert validating == {"cat": 20, "dog": 2, "elk": 2, "fox": 1}  # a fifth, rounded
    assert sorted(parts.train + parts.val) == list(dataset.train)
    assert list(parts.train) == sorted(parts.train)


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 30), min_size=2), st.floats(0.01, 0.99))
def test_each_class_keeps_an_image_in_training_and_validates_where_it_can(sizes, fraction):
    parts = split(dataset_of(None, **{name: numbered(size) for name, size in sizes.items()}), val_fraction=fraction)

    for name, size in sizes.items():
        validating = sum(sample.class_name == name for sample in parts.val)
        assert (size > 1) <= validating <= size - 1


def test_the_same_seed_gives_the_same_split_and_another_one_another(tmp_path):
    dataset = dataset_of(tmp_path, a=numbered(50), b=numbered(50))

    assert split(dataset, seed=3) == split(dataset, seed=3)
    assert split(dataset, seed=3).val != split(dataset, seed=4).val
    assert split(dataset, seed=3).fingerprint != split(dataset, seed=4).fingerprint


def test_the_split_is_the_same_on_every_machine_and_version(tmp_path):
    parts = split(dataset_of(tmp_path, a=numbered(10), b=numbered(10)), seed=0)

    assert [sample.path for sample in parts.val] == ["a/0.jpg", "a/4.jpg", "b/2.jpg", "b/4.jpg"]


def test_an_added_image_moves_few_others(tmp_path):
    before = split(dataset_of(tmp_path, a=numbered(100), b=numbered(100)))
    after = split(dataset_of(tmp_path, a=numbered(101), b=numbered(100)))

    assert len(set(before.val) ^ set(after.val)) <= 2


def divided(dataset, test):
    """The flat ``dataset`` as a search divides it: some images are for its last judgement alone."""
    parts = split(dataset)
    return Split(
        dataset.class_names,
        tuple(one for one in parts.train if one.path not in test),
        tuple(one for one in parts.val if one.path not in test),
        tuple(one for one in dataset.train if one.path in test),
        made_by="seed",
        val_fraction=0.2,
    )


def test_what_was_kept_aside_for_a_test_is_kept_aside_for_it_again(tmp_path):
    written = divided(dataset_of(tmp_path, a=numbered(20), b=numbered(20)), test={"a/3.jpg", "b/4.jpg"})
    later = dataset_of(tmp_path, a=numbered(25), b=numbered(20))

    again = grown(written, later)

    assert again.test == written.test
    assert set(written.train) < set(again.train) and set(written.val) <= set(again.val)
    assert sorted((*again.train, *again.val, *again.test)) == sorted(later.train)


def test_frames_of_a_video_that_was_tested_on_are_not_learned_later(tmp_path):
    frames = [f"{video}_{number}.jpg" for video in "pqrst" for number in range(4)]
    written = divided(dataset_of(tmp_path, a=frames), test={f"a/p_{number}.jpg" for number in range(4)})
    later = dataset_of(tmp_path, a=[*frames, "p_4.jpg"])

    again = grown(replace(written, grouping="frames"), later)

    assert Sample("a/p_4.jpg", "a") in again.test


def test_a_class_that_came_later_is_divided_as_the_others_were(tmp_path):
    written = replace(split(dataset_of(tmp_path, a=numbered(20)), val_fraction=0.5, seed=5), notes=("watch out",))
    later = dataset_of(tmp_path, a=numbered(20), b=numbered(20))

    again = grown(written, later)

    assert (again.val, again.notes) == (split(later, val_fraction=0.5, seed=5).val, ("watch out",))


def test_a_new_frame_of_a_video_that_was_cut_in_two_is_learned_and_the_others_stay(tmp_path):
    written = split(dataset_of(tmp_path, a=frames("one"), b=frames("u", "v")), grouping="frames")
    later = dataset_of(tmp_path, a=[*frames("one"), "one_frame-0010.jpg"], b=frames("u", "v"))

    again = grown(written, later)

    assert set(again.train) - set(written.train) == {Sample("a/one_frame-0010.jpg", "a")}
    assert again.val == written.val


def test_a_class_whose_learned_images_are_gone_is_divided_anew_but_for_its_test_images(tmp_path):
    written = divided(dataset_of(tmp_path, a=numbered(20), b=numbered(20)), test={"b/3.jpg"})
    learned = {one.path.removeprefix("b/") for one in written.train if one.class_name == "b"}
    later = dataset_of(tmp_path, a=numbered(20), b=[name for name in numbered(20) if name not in learned])

    again = grown(written, later)

    assert {"b"} < {one.class_name for one in again.train} and {"b"} < {one.class_name for one in again.val}
    assert again.test == (Sample("b/3.jpg", "b"),)


def test_test_images_that_a_dataset_has_itself_stay_test_images(tmp_path):
    later = replace(dataset_of(tmp_path, a=numbered(20)), test=(Sample("test/a/0.jpg", "a"),))

    assert grown(split(later), later).test == later.test


def fill(folder, **sizes):
    """The dataset of ``folder`` with files of these sizes in bytes; ``a_1=10`` is a/1.jpg of ten bytes."""
    paths = {name.replace("_", "/") + ".jpg": size for name, size in sizes.items()}
    for path, size in paths.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(bytes(size))
    samples = tuple(Sample(path, path.split("/")[0]) for path in sorted(paths))
    return Dataset(folder, tuple(sorted({one.class_name for one in samples})), samples)


def where(paths):
    return {Sample(f"{path}.jpg", path.split("/")[0]) for path in paths.split()}


def test_images_that_were_moved_are_known_by_their_name_and_size_and_stay_on_their_side(tmp_path):
    before = fill(tmp_path / "before", a_1=10, a_2=20, a_7=70, a_9=90, b_3=30, b_4=40, b_7=71, b_9=90)
    sides = {"train": where("a/1 a/2 a/7 a/9"), "val": where("b/3 b/7 b/9"), "test": where("b/4")}
    written = Split(before.class_names, **{name: tuple(sorted(samples)) for name, samples in sides.items()})
    write_split(written, tmp_path / "split.json", before.folder)
    # a renamed folder, a copy, another image of the name, two that changed places, one that is gone
    now = fill(tmp_path / "now", c_1=10, d_1=10, a_2=25, b_2=20, b_3=30, c_3=30, b_7=70, a_7=71, c_4=40, b_1=11, b_9=90)

    sizes = written_sizes(tmp_path / "split.json")
    places = new_places(sizes, now)
    carried_on = carried(written, sizes, now)

    assert sizes == {one.path: (before.folder / one.path).stat().st_size for one in before.train}
    assert {path.removesuffix(".jpg"): {*found} for path, found in places.items()} == {
        "a/1": where("c/1 d/1"), "a/2": where("b/2"), "a/7": where("b/7"), "b/7": where("a/7"), "b/4": where("c/4"),
    }  # fmt: skip
    assert {*carried_on.train} == where("c/1 d/1 b/2 b/7 a/9")
    assert ({*carried_on.val}, {*carried_on.test}) == (where("b/3 a/7 b/9"), where("c/4"))


def test_what_may_be_an_image_of_training_as_well_as_another_counts_as_that_of_training(tmp_path):
    before = fill(tmp_path / "before", a_1=10, b_1=10, a_2=20, b_2=20)
    written = Split(("a", "b"), tuple(sorted(where("a/1 a/2"))), val=tuple(where("b/1")), test=tuple(where("b/2")))
    sizes = {one.path: (before.folder / one.path).stat().st_size for one in before.train}

    carried_on = carried(written, sizes, fill(tmp_path / "now", c_1=10, d_1=10, c_2=20, d_2=20))

    assert {*carried_on.train} == where("c/1 d/1 c/2 d/2") and carried_on.val == carried_on.test == ()


def test_given_validation_images_are_used_as_they_are(tmp_path):
    dataset = scan(write_image_folder(tmp_path, splits=("train", "valid", "test"), per_class=1))

    parts = split(dataset)

    assert (parts.made_by, parts.train, parts.val, parts.test) == ("folders", dataset.train, dataset.val, dataset.test)


def test_labels_are_places_in_the_class_names(tmp_path):
    parts = split(dataset_of(tmp_path, a=numbered(5), b=numbered(5)))

    assert parts.labels([Sample("b/1.jpg", "b"), Sample("a/1.jpg", "a")]) == [1, 0]


@pytest.mark.parametrize("fraction", [0, 1, -1, 2])
def test_a_fraction_outside_0_to_1_is_an_error(tmp_path, fraction):
    with pytest.raises(DataError, match=f"val_fraction must lie between 0 and 1, got {fraction}"):
        split(dataset_of(tmp_path, a=numbered(2), b=numbered(2)), val_fraction=fraction)


def test_a_newer_file_asks_for_an_update(tmp_path):
    dataset = dataset_of(tmp_path, a=numbered(2))
    write_split(split(dataset), tmp_path / "split.json")
    newer = {**json.loads((tmp_path / "split.json").read_bytes()), "schema": 2}
    (tmp_path / "split.json").write_text(json.dumps(newer))

    with pytest.raises(DataError, match="split.json has schema 2, this version reads up to 1; update mnasnet"):
        read_split(tmp_path / "split.json", dataset)


def test_frames_of_one_video_stay_together_also_across_classes(tmp_path):
    videos = [f"clip{number}" for number in range(10)]
    dataset = dataset_of(tmp_path, ok=frames(*videos), ng=frames(*videos[:6]))

    parts = split(dataset, grouping="frames")

    def of(samples):
        return {sample.path.split("/")[1].split("_")[0] for sample in samples}

    assert of(parts.train) & of(parts.val) == set()
    for name in ("ok", "ng"):
        assert any(sample.class_name == name for sample in parts.val)
        assert any(sample.class_name == name for sample in parts.train)


def test_videos_in_folders_of_their_own_stay_together(tmp_path):
    files = [f"{video}/{number}.jpg" for video in "uvwxyz" for number in range(5)]

    parts = split(dataset_of(tmp_path, a=files, b=files), grouping="frames")

    for video in "uvwxyz":
        assert len({sample in parts.val for sample in parts.train + parts.val if f"/{video}/" in sample.path}) == 1


@pytest.mark.parametrize(("videos", "count", "validating"), [("uv", 20, 20), ("stuvwxyz", 6, 12), ("uvwxy", 10, 10)])
def test_whole_videos_come_as_near_to_the_share_as_they_can(videos, count, validating, tmp_path):
    parts = split(dataset_of(tmp_path, a=frames(*videos, count=count)), grouping="frames")

    assert len(parts.val) == validating and parts.notes == ()


def test_a_class_whose_videos_would_all_validate_because_of_another_class_is_cut_in_two(tmp_path):
    videos = [f"clip{number}" for number in range(10)]
    alone = split(dataset_of(tmp_path, a=frames(*videos)), grouping="frames")
    chosen = sorted({sample.path.split("/")[1].split("_")[0] for sample in alone.val})

    parts = split(dataset_of(tmp_path, a=frames(*videos), b=frames(*chosen)), grouping="frames")

    assert len(chosen) == 2 and sum(sample.class_name == "b" for sample in parts.train) == 16
    assert "class 'b' shares its sequences with other classes: its last 4 of 20 images" in parts.notes[0]


def test_a_class_that_is_one_video_is_cut_once_with_a_warning(tmp_path):
    parts = split(dataset_of(tmp_path, a=frames("one"), b=frames("u", "v", "w", "x", "y")), grouping="frames")

    assert [sample.path for sample in parts.val if sample.class_name == "a"] == [
        "a/one_frame-0008.jpg",
        "a/one_frame-0009.jpg",
    ]
    assert "class 'a' is one sequence of images" in parts.notes[0]


def test_many_classes_that_are_one_video_each_have_one_warning(tmp_path):
    parts = split(dataset_of(tmp_path, a=frames("u"), b=frames("v"), c=frames("w")), grouping="frames")

    assert len(parts.notes) == 1
    assert parts.notes[0].startswith("class 'a', like 2 others, is one sequence of images: its last 2 of 10 images")


@pytest.mark.parametrize("splits", [("",), ("train", "val", "test")])
def test_a_written_split_reads_back_equal(splits, tmp_path):
    dataset = scan(write_image_folder(tmp_path / "data", splits=splits))
    parts = replace(split(dataset, val_fraction=0.4), seed=7, grouping="frames", fold="fold 2 of 5", notes=("look",))

    write_split(parts, tmp_path / "out/split.json")

    assert read_split(tmp_path / "out/split.json", dataset) == parts
    assert json.loads((tmp_path / "out/split.json").read_text("utf-8"))["seed"] == 7


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such names")
def test_file_names_that_are_no_valid_text_survive(tmp_path):
    folder = write_image_folder(tmp_path / "data", per_class=2)
    (folder / "red/000.jpg").rename(folder / "red" / os.fsdecode(b"\xff\xfe.jpg"))
    dataset = scan(folder)

    write_split(split(dataset), tmp_path / "split.json")

    assert read_split(tmp_path / "split.json", dataset) == split(dataset)


def test_images_that_went_missing_are_named(tmp_path):
    folder = write_image_folder(tmp_path / "data")
    write_split(split(scan(folder)), tmp_path / "split.json")
    (folder / "red/003.jpg").unlink()

    with pytest.raises(DataError, match=r"1 of 18 images of .* are missing in .*: red/003.jpg; bring them back"):
        read_split(tmp_path / "split.json", scan(folder))


def test_images_that_were_replaced_are_named_and_those_that_are_gone_are_not_called_so(tmp_path, caplog):
    folder = write_image_folder(tmp_path / "data")
    write_split(split(scan(folder)), tmp_path / "split.json", folder)
    (folder / "red/003.jpg").unlink()
    (folder / "blue/001.jpg").write_bytes(b"another")

    warn_of_changed(tmp_path / "split.json", folder)

    assert "1 image of" in caplog.text and ": blue/001.jpg; from here on" in caplog.text


def test_classes_that_changed_are_named(tmp_path):
    folder = write_image_folder(tmp_path / "data")
    write_split(split(scan(folder)), tmp_path / "split.json")
    (folder / "red").rename(folder / "rouge")

    with pytest.raises(DataError, match=r"missing \['red'\], new \['rouge'\]"):
        read_split(tmp_path / "split.json", scan(folder))


def test_images_that_came_later_are_left_out_and_told_of_the_run_alone(tmp_path, caplog):
    folder = write_image_folder(tmp_path / "data")
    parts = split(scan(folder))
    write_split(parts, tmp_path / "split.json")
    write_image_folder(folder, per_class=7)

    with caplog.at_level(logging.WARNING):
        assert read_split(tmp_path / "split.json", scan(folder)) == parts

    assert f"3 images were added to {folder} since " in caplog.text
    assert caplog.text.endswith("was written; that run does without them\n")  # who reads its division may well not


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": 1}', '{"schema": 99}'])
def test_a_damaged_or_newer_file_is_an_error_with_its_name(tmp_path, content):
    (tmp_path / "split.json").write_text(content)

    with pytest.raises(DataError, match=r"split.json"):
        read_split(tmp_path / "split.json", dataset_of(tmp_path, a=["1"], b=["1"]))
