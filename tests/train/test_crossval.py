"""Cross-validation: every image is judged once, by a training that had not seen it."""

import csv
import json
import shutil
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace

import pytest
from small_disk import room_for
from tiny import Ear, tiny_training

from mnasnet import modelfile
from mnasnet.cli import main
from mnasnet.commands.crossval import tell
from mnasnet.data.check import examine
from mnasnet.data.folder import Dataset, Sample, scan
from mnasnet.data.folds import folds
from mnasnet.data.split import read_split
from mnasnet.errors import DataError, SettingsError, TrainingError
from mnasnet.testing import coloured_image, random_model, write_image_folder
from mnasnet.train.crossval import cross_validate, resume_cross_validation
from mnasnet.train.events import Ended, Stepped
from mnasnet.train.run import resume, train
from mnasnet.train.run_folder import RunFolder, read_yaml, write_yaml


@pytest.fixture
def few(tmp_path):
    """Three classes of four images, and one of a single image."""
    folder = write_image_folder(tmp_path / "few", per_class=4)
    (folder / "lone").mkdir()
    coloured_image((9, 9, 9)).save(folder / "lone" / "only.png")
    return folder


def test_every_image_validates_once_and_a_lone_one_always_trains(few):
    dataset = scan(few)

    splits = folds(dataset, 3)

    judged = Counter(sample.path for parts in splits for sample in parts.val)
    assert set(judged.values()) == {1} and len(judged) == 12
    for parts in splits:
        assert sorted((*parts.train, *parts.val)) == sorted(dataset.train)
        assert "lone/only.png" in {sample.path for sample in parts.train}
        assert {sample.class_name for sample in parts.val} == {"red", "green", "blue"}


def test_images_that_came_as_validation_are_dealt_out_too_and_test_images_stay(tmp_path):
    dataset = scan(write_image_folder(tmp_path, splits=("train", "val", "test"), per_class=2))

    splits = folds(dataset, 2, seed=4)

    for parts in splits:
        assert sorted((*parts.train, *parts.val)) == sorted((*dataset.train, *dataset.val))
        assert list(parts.train) == sorted(parts.train) and list(parts.val) == sorted(parts.val)
        assert (parts.test, parts.seed, parts.val_fraction) == (dataset.test, 4, 0.5)


@pytest.mark.parametrize(
    ("classes", "images", "count", "sizes"),
    [(10, 6, 5, [12, 12, 12, 12, 12]), (3, 7, 5, [4, 4, 4, 4, 5]), (100, 9, 5, [180, 180, 180, 180, 180])],
)
def test_folds_are_of_one_size_also_where_classes_do_not_divide_evenly(classes, images, count, sizes, tmp_path):
    names = [f"{number:02d}" for number in range(classes)]
    samples = [Sample(f"{name}/{number}.png", name) for name in names for number in range(images)]

    splits = folds(Dataset(tmp_path, tuple(names), tuple(samples)), count)

    assert sorted(len(parts.val) for parts in splits) == sizes
    of_one_class = [Counter(sample.class_name for sample in parts.val)["00"] for parts in splits]
    assert max(of_one_class) - min(of_one_class) <= 1


def test_the_choice_depends_on_the_seed_alone(few):
    assert folds(scan(few), 3, seed=1) == folds(scan(few), 3, seed=1) != folds(scan(few), 3, seed=2)


@pytest.mark.parametrize("count", [1, 5])
def test_a_number_of_folds_that_cannot_be_is_refused(few, count):
    with pytest.raises(DataError, match=f"folds must be from 2 to 4.* got {count}"):
        folds(scan(few), count)


def video_of(sample):
    return sample.path.split("/")[1].rpartition("_")[0]


def test_frames_of_one_video_validate_together_also_across_classes(tmp_path):
    """Videos of 1 to 9 frames; three of them are in both classes."""
    names = {"ok": "abcdefghi", "ng": "cde"}
    samples = [
        Sample(f"{name}/{video}_{frame}.png", name)
        for name, videos in names.items()
        for number, video in enumerate(videos, start=1)
        for frame in range(number)
    ]
    dataset = Dataset(tmp_path, ("ng", "ok"), tuple(sorted(samples)))

    splits = folds(dataset, 3, grouping="frames")

    assert sorted(sample for parts in splits for sample in parts.val) == sorted(samples)
    for parts in splits:
        assert not set(map(video_of, parts.train)) & set(map(video_of, parts.val))
        assert {sample.class_name for sample in parts.train} == {sample.class_name for sample in parts.val}
        assert parts.grouping == "frames"


def test_copies_of_a_file_validate_together_also_across_classes(tmp_path):
    samples = [Sample(f"{name}/{number}.png", name) for name in "ab" for number in range(8)]
    dataset = Dataset(tmp_path, ("a", "b"), tuple(samples))
    identical = [("a/0.png", "a/1.png", "b/2.png"), ("b/3.png", "b/4.png")]

    splits = folds(dataset, 3, identical=identical)

    assert sorted(sample for parts in splits for sample in parts.val) == sorted(samples)
    validated = [{sample.path for sample in parts.val} for parts in splits]
    for group in identical:
        assert sorted(len(paths & set(group)) for paths in validated) == [0, 0, len(group)]


def test_a_black_frame_that_videos_share_does_not_make_them_one(tmp_path):
    samples = [Sample(f"{name}/{video}_{frame}.png", name) for name in "ab" for video in "uvw" for frame in (0, 1)]
    dataset = Dataset(tmp_path, ("a", "b"), tuple(samples))
    black = [sample.path for sample in samples if sample.path.endswith("_0.png")]

    assert folds(dataset, 3, grouping="frames", identical=[black]) == folds(dataset, 3, grouping="frames")


def test_a_class_that_is_one_video_trains_in_every_fold(tmp_path):
    samples = [Sample(f"{name}/{video}_1.png", name) for name, video in ("aw", "bw", "bx", "by", "cx", "cy", "dw")]
    dataset = Dataset(tmp_path, ("a", "b", "c", "d"), tuple(sorted(samples)))

    splits = folds(dataset, 2, grouping="frames")

    assert Counter(video_of(sample) for parts in splits for sample in parts.val) == {"x": 2, "y": 2}
    assert all({sample.class_name for sample in parts.train} == {"a", "b", "c", "d"} for parts in splits)


def test_classes_of_one_image_are_refused_by_what_they_lack(tmp_path):
    samples = (Sample("a/1.png", "a"), Sample("b/1.png", "b"))

    with pytest.raises(DataError, match="folds need a class of two different images or more.* no class here has two"):
        folds(Dataset(tmp_path, ("a", "b"), samples), 2)


def test_more_folds_than_videos_are_refused(tmp_path):
    samples = [Sample(f"{name}/v{video}_{frame}.png", name) for name in "ab" for video in "12" for frame in range(9)]
    dataset = Dataset(tmp_path, ("a", "b"), tuple(sorted(samples)))

    with pytest.raises(DataError, match="folds must be from 2 to 2, the number of videos in the largest class, got 3"):
        folds(dataset, 3, grouping="frames")


def test_a_fold_that_shared_videos_leave_empty_is_refused(tmp_path):
    samples = [Sample(f"{name}/{video}_1.png", name) for name, video in ("av", "bv", "bw", "bx")]
    dataset = Dataset(tmp_path, ("a", "b"), tuple(sorted(samples)))

    with pytest.raises(DataError, match="folds must be fewer than 3: classes share images or videos, and fold 3"):
        folds(dataset, 3, grouping="frames")


def test_the_trainings_grouping_decides_the_folds(tmp_path):
    data = tmp_path / "frames"
    for name, colour in (("red", (200, 40, 40)), ("blue", (40, 40, 200))):
        (data / name).mkdir(parents=True)
        for video in "uvw":
            for frame in range(3):
                coloured_image(colour, seed=frame).save(data / name / f"{video}_{frame}.png")
    training = tiny_training(data, tmp_path / "runs", epochs=1, grouping="frames")

    result = cross_validate(training, 2)

    assert result.images == 18
    for run in result.folds:
        parts = json.loads((run.folder / "split.json").read_text())
        train, val = (
            {path.split("/")[1][0] for paths in parts[part].values() for path in paths} for part in ("train", "val")
        )
        assert parts["grouping"] == "frames" and not train & val


def test_the_command_says_the_accuracy_over_all_images(few, tmp_path, capsys):
    modelfile.save(random_model(), tmp_path / "start.safetensors")
    options = ["--epochs", "1", "--folds", "2", "--input-size", "32", "--output-folder", str(tmp_path / "runs")]
    options += ["--model", str(tmp_path / "start.safetensors")]

    assert main(["crossval", str(few), *options, "--name", "mine", "--json"]) == 0

    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["images"] == 12 and said["folds"] == 2 and said["accuracy_low"] < said["accuracy"] < 1.0001
    folder = tmp_path / "runs" / "mine_folds"
    assert json.loads((folder / "folds.json").read_text()) == said
    mistakes = (folder / "mistakes.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(mistakes) == round(12 * (1 - said["accuracy"])) == len(set(mistakes))
    assert (folder / "fold1" / "weights" / "best.safetensors").exists() and (folder / "fold2" / "split.json").exists()


def test_no_fold_is_judged_on_copies_of_what_it_was_trained_on_also_when_it_goes_on(few, tmp_path):
    for number in range(3):
        shutil.copy(few / "red" / f"00{number}.jpg", few / "red" / f"copy{number}.jpg")
    shutil.copy(few / "red" / "000.jpg", few / "blue" / "wrong.jpg")
    ear = Ear(stop_after=1)
    stopped = cross_validate(tiny_training(few, tmp_path, epochs=1), 2, listeners=[ear], stop=ear.wants_to_stop)

    result = resume_cross_validation(stopped.folder)

    assert result.is_whole and result.images == 16
    for fold in result.folds:
        parts = read_split(fold.folder / "split.json", scan(few))
        learned, judged = ({(few / one.path).read_bytes() for one in samples} for samples in (parts.train, parts.val))
        assert not learned & judged


def test_a_cross_validation_that_knows_of_no_copies_goes_on_with_its_folds(few, tmp_path):
    shutil.copy(few / "red" / "000.jpg", few / "red" / "copy.jpg")
    ear = Ear(stop_after=1)
    stopped = cross_validate(tiny_training(few, tmp_path, epochs=1), 2, listeners=[ear], stop=ear.wants_to_stop)
    settings = RunFolder(stopped.folder).arguments
    older = {**read_yaml(settings), "fingerprints": [parts.fingerprint for parts in folds(scan(few), 2)]}
    del older["identical"]
    write_yaml(settings, older)
    shutil.rmtree(stopped.folder / "fold1")

    assert resume_cross_validation(stopped.folder).is_whole


def test_a_fold_says_which_it_is_and_recommends_no_cross_validation(few, tmp_path):
    result = cross_validate(tiny_training(few, tmp_path, epochs=1), 2)

    for number, run in enumerate(result.folds, start=1):
        report = json.loads((run.folder / "dataset_report.json").read_text())
        assert report["split_made_by"] == f"fold {number} of 2, seed 0"
        assert not [line for line in report["warnings"] if "fold 1" in line or "mnasnet crossval" in line]
        assert read_split(run.folder / "split.json", scan(few)).fold == f"fold {number} of 2"


def test_only_a_class_that_validates_in_no_fold_is_said_to_stay_unknown(few):
    """Classes of four images have a turn in four of seven folds each, the lone image in none."""
    for number in range(3):
        coloured_image((200, 40, 40), seed=9 + number).save(few / "red" / f"more{number}.png")
    dataset = scan(few)

    told = [line for parts in folds(dataset, 7) for line in examine(dataset, parts).warnings if "stays unknown" in line]

    assert told == 7 * ["class 'lone' with a single image: it trains, so the class's accuracy stays unknown"]


def test_a_class_of_one_video_is_said_to_stay_unknown_in_folds_of_videos(tmp_path):
    for video in ("a/w", "b/w", "b/x", "b/y"):
        for frame in range(2):
            (tmp_path / video).parent.mkdir(exist_ok=True)
            coloured_image((9, 9, 9), seed=frame).save(tmp_path / f"{video}_{frame}.png")
    dataset = scan(tmp_path)

    warnings = examine(dataset, folds(dataset, 2, grouping="frames")[0]).warnings

    assert [line for line in warnings if line.startswith("class 'a' with a single video: it trains")]


def test_the_last_epoch_is_judged_and_none_that_the_fold_chose(tmp_path, caplog):
    """Names that say nothing about the images: learning them by heart makes a fold's loss rise from epoch to epoch."""
    for number in range(12):
        place = tmp_path / "noise" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        coloured_image((20 * number, 128, 255 - 20 * number), seed=number).save(place / f"{number}.png")
    training = tiny_training(
        tmp_path / "noise", tmp_path, epochs=3, learning_rate=0.03, augment="none", patience=1, report=True
    )

    result = cross_validate(training, 2)

    losses = [[row["val_loss"] for row in rows_of(fold)] for fold in result.folds]
    assert any(min(each) < each[-1] for each in losses)  # the fold would have chosen another epoch
    for fold in result.folds:
        model, last = (modelfile.load(fold.folder / "weights" / f"{name}.safetensors") for name in ("best", "last"))
        assert model.fingerprint == last.fingerprint and model.metrics["epoch"] == len(rows_of(fold)) == 3
        assert fold.accuracy == pytest.approx(rows_of(fold)[-1]["val_accuracy"]) and fold.status == "done"
        card = (fold.folder / "model_card.md").read_text(encoding="utf-8")
        assert "last epoch 3 of 3" in card and "chosen by the validation images" not in card
    assert "patience 1 is left out, all 3 epochs are trained" in caplog.text


def rows_of(fold):
    with (fold.folder / "results.csv").open(newline="") as lines:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]


def test_a_training_from_a_folds_model_keeps_its_best_epoch_as_others_do(few, tmp_path):
    fold, _ = cross_validate(tiny_training(few, tmp_path / "folds", epochs=1), 2).folds
    start = fold.folder / "weights" / "best.safetensors"

    run = train(tiny_training(few, tmp_path / "on", model=str(start), pretrained=True, epochs=1, report=True))

    assert len(read_split(run.folder / "split.json", scan(few)).val) == fold.images  # kept aside again
    assert "best epoch 1 of 1" in (run.folder / "model_card.md").read_text(encoding="utf-8")


def test_a_cross_validation_whose_folds_chose_their_epoch_does_not_go_on(few, tmp_path):
    ear = Ear(1)
    stopped = cross_validate(tiny_training(few, tmp_path), 2, listeners=[ear], stop=ear.wants_to_stop)
    arguments = stopped.folder / "args.yaml"
    arguments.write_text(arguments.read_text().replace("judges: last\n", ""))  # as older releases wrote it

    with pytest.raises(TrainingError, match="begun by an older release.* start a new cross-validation"):
        resume_cross_validation(stopped.folder)


def test_a_stopped_cross_validation_goes_on_to_the_answer_of_one_that_was_not(few, tmp_path):
    heard = Ear()
    whole = cross_validate(tiny_training(few, tmp_path / "whole"), 2, listeners=[heard])
    steps = sum(isinstance(event, Stepped) for event in heard.events)
    ear = Ear(steps // 2 + 1)  # in the second fold

    stopped = cross_validate(tiny_training(few, tmp_path / "stopped"), 2, listeners=[ear], stop=ear.wants_to_stop)
    resumed = resume_cross_validation(stopped.folder)

    assert not stopped.is_whole and len(stopped.folds) == 1
    assert {**resumed.summary(), "run": ""} == {**whole.summary(), "run": ""}
    names = ("mistakes.csv", "fold1/weights/best.safetensors", "fold2/weights/best.safetensors")
    for name in names:
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_a_stopped_cross_validation_says_how_to_go_on(few, tmp_path, capsys):
    ear = Ear(1)
    stopped = cross_validate(tiny_training(few, tmp_path), 2, listeners=[ear], stop=ear.wants_to_stop)

    tell(stopped, as_json=False)
    shown = capsys.readouterr().out.splitlines()

    assert stopped.summary()["accuracy"] is None
    assert (
        shown[0] == "stopped after 0 of 2 folds, everything is kept" and "resume  python -m mnasnet resume" in shown[-1]
    )
    assert main(["resume", str(stopped.folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["folds"] == 2


def test_each_fold_is_tracked_as_a_run_of_its_own_also_one_that_goes_on(few, tmp_path, monkeypatch):
    client = pytest.importorskip("mlflow.tracking").MlflowClient((tmp_path / "mlruns").as_uri())
    monkeypatch.chdir(tmp_path)
    ear = Ear(1)
    stopped = cross_validate(tiny_training(few, tmp_path, epochs=1), 2, listeners=[ear], stop=ear.wants_to_stop)

    assert main(["resume", str(stopped.folder), "--tracking", "local"]) == 0

    runs = client.search_runs([client.get_experiment_by_name("mnasnet").experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["run_fold1", "run_fold2"]
    assert all(run.info.status == "FINISHED" and "val_accuracy" in run.data.metrics for run in runs)
    assert all("last_val_accuracy" in run.data.metrics for run in runs)  # none is the best that its fold found
    assert all(run.data.params["data"] == str(few) and run.data.params["epochs"] == "1" for run in runs)


def test_each_fold_has_listeners_of_its_own(few, tmp_path):
    ears = {}

    cross_validate(tiny_training(few, tmp_path, epochs=1), 2, of_fold=lambda name: [ears.setdefault(name, Ear())])

    assert list(ears) == ["fold1", "fold2"]
    assert all(sum(isinstance(event, Ended) for event in ear.events) == 1 for ear in ears.values())


def test_a_cross_validation_of_other_images_does_not_go_on(few, tmp_path):
    ear = Ear(1)
    stopped = cross_validate(tiny_training(few, tmp_path), 2, listeners=[ear], stop=ear.wants_to_stop)
    (few / "red" / "001.jpg").unlink()

    with pytest.raises(DataError, match="so its folds would hold others now; bring the folder back"):
        resume_cross_validation(stopped.folder)


@pytest.fixture
def from_a_model(few, tmp_path, monkeypatch):
    """A cross-validation that was stopped in its first fold, and its start, whose path is relative."""
    start = random_model(class_names=("a", "b"), input_size=32)
    modelfile.save(start, tmp_path / "start.safetensors")
    monkeypatch.chdir(tmp_path)
    training = tiny_training(few, tmp_path / "runs", model="start.safetensors", pretrained=True, epochs=1)
    ear = Ear(1)
    return cross_validate(training, 2, listeners=[ear], stop=ear.wants_to_stop), start


def test_each_fold_starts_from_the_same_model_wherever_it_goes_on(from_a_model, tmp_path, monkeypatch):
    stopped, start = from_a_model
    other_folder = tmp_path / "elsewhere"
    modelfile.save(random_model(class_names=("a", "b"), input_size=32, seed=1), other_folder / "start.safetensors")
    monkeypatch.chdir(other_folder)

    resumed = resume_cross_validation(stopped.folder)

    models = [modelfile.load(fold.folder / "weights" / "best.safetensors") for fold in resumed.folds]
    assert len(models) == 2 and all(start.fingerprint in model.training["started_from"] for model in models)


def test_a_start_that_was_replaced_is_not_taken_for_the_rest_of_the_folds(from_a_model, tmp_path):
    stopped, start = from_a_model
    modelfile.save(random_model(class_names=("a", "b"), input_size=32, seed=1), tmp_path / "start.safetensors")

    with pytest.raises(TrainingError, match=rf"began with, .*\({start.fingerprint}\).*; bring that model back"):
        resume_cross_validation(stopped.folder)


def test_a_wrong_new_place_of_the_images_is_not_kept(few, tmp_path):
    ear = Ear(1)
    stopped = cross_validate(tiny_training(few, tmp_path), 2, listeners=[ear], stop=ear.wants_to_stop)
    other = write_image_folder(tmp_path / "other", per_class=5)
    moved = few.rename(tmp_path / "moved")

    with pytest.raises(DataError, match="are not in .*few any more; give --data their new place"):
        resume_cross_validation(stopped.folder)
    with pytest.raises(DataError, match="would hold others now"):
        resume_cross_validation(stopped.folder, data=other)

    assert resume_cross_validation(stopped.folder, data=moved).is_whole
    assert resume_cross_validation(stopped.folder).is_whole


def test_a_fold_that_ended_is_not_trained_again_also_one_that_time_ended(few, tmp_path):
    whole = cross_validate(tiny_training(few, tmp_path, epochs=50, max_minutes=0.001), 2)
    weights = [fold.folder / "weights" / "best.safetensors" for fold in whole.folds]
    before = [path.read_bytes() for path in weights]

    again = resume_cross_validation(whole.folder)

    assert [fold.status for fold in whole.folds] == ["time", "time"]
    assert again.summary() == whole.summary() and [path.read_bytes() for path in weights] == before
    longer = resume_cross_validation(whole.folder, max_minutes=0)
    assert [fold.status for fold in longer.folds] == ["done", "done"]


def test_what_a_kill_left_before_a_fold_began_is_no_hindrance(few, tmp_path):
    ear = Ear(1)
    stopped = cross_validate(tiny_training(few, tmp_path), 2, listeners=[ear], stop=ear.wants_to_stop)
    (stopped.folder / "fold2").mkdir()

    assert resume_cross_validation(stopped.folder).is_whole
    assert sorted(path.name for path in stopped.folder.iterdir() if path.is_dir()) == ["fold1", "fold2"]


def test_a_fold_whose_judgement_is_damaged_is_judged_again(few, tmp_path):
    whole = cross_validate(tiny_training(few, tmp_path), 2)
    judged = [fold.folder / "judged.json" for fold in whole.folds]
    before = judged[0].read_bytes()
    judged[0].write_bytes(before[:20])
    judged[1].write_bytes(b"[" * 100_000)

    assert resume_cross_validation(whole.folder, max_minutes=9).summary() == whole.summary()
    assert judged[0].read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is set by Unix's setrlimit")
def test_a_disk_that_is_full_between_two_folds_is_told_with_the_way_on(few, tmp_path):
    limit = ExitStack()

    class Fills:
        def hear(self, event):
            if isinstance(event, Ended):
                limit.enter_context(room_for(50))

    with limit, pytest.raises(TrainingError, match="the disk is full .*_folds: make room, then resume"):
        cross_validate(tiny_training(few, tmp_path), 2, listeners=[Fills()])

    assert resume_cross_validation(next(tmp_path.glob("*_folds"))).is_whole


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is set by Unix's setrlimit")
def test_a_cross_validation_that_finds_the_disk_full_leaves_no_folder(few, tmp_path):
    training = tiny_training(few, tmp_path)

    with room_for(50), pytest.raises(TrainingError, match="cannot write into .*; make room"):
        cross_validate(training, 2)

    assert not list(tmp_path.glob("*_folds*"))


def test_a_cross_validation_that_is_refused_leaves_no_folder(few, tmp_path):
    with pytest.raises(SettingsError):
        cross_validate(tiny_training(few, tmp_path, frozen_epochs=99), 2)

    assert not list(tmp_path.glob("*_folds*"))


def test_it_does_not_go_on_as_one_training_nor_under_torchrun(few, tmp_path, monkeypatch):
    ear = Ear(1)
    stopped = cross_validate(tiny_training(few, tmp_path), 2, listeners=[ear], stop=ear.wants_to_stop)

    with pytest.raises(
        TrainingError, match="is the folder of a crossval, not of one training; go on with it by python"
    ):
        resume(stopped.folder)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="start it without torchrun"):
        cross_validate(tiny_training(few, tmp_path), 2)


@pytest.mark.parametrize(
    "change", ["one image less", "one class more", "another name", "other classes", "no run folder"]
)
def test_a_start_that_has_learned_from_nearly_these_images_is_refused(change, few, tmp_path):
    start = train(tiny_training(few, tmp_path, epochs=1)).model
    if change == "one class more":
        write_image_folder(few, colours={"yellow": (200, 200, 40)}, per_class=4)
    else:
        (few / "red" / "000.jpg").unlink()
    if change == "other classes":
        for name in ("red", "green", "blue", "lone"):
            (few / name).rename(few / f"{name}ish")
    if change == "no run folder":
        start = shutil.copy(start, tmp_path / "copied.safetensors")
    if change == "another name":
        few = few.rename(tmp_path / "renamed")

    with pytest.raises(SettingsError, match="has learned from these images; take another model"):
        cross_validate(tiny_training(few, tmp_path, model=str(start), pretrained=True, epochs=1), 2)


def test_a_start_from_other_images_of_the_same_names_is_taken(few, tmp_path, caplog):
    start = train(tiny_training(few, tmp_path / "a", epochs=1)).model
    others = write_image_folder(tmp_path / "others", colours={"red": (9, 9, 9), "green": (99, 9, 9)}, per_class=4)
    for number, path in enumerate(sorted(others.rglob("*.jpg"))):
        coloured_image((9, 9, 9), seed=1000 + number, width=60 + number).save(path)

    cross_validate(tiny_training(others, tmp_path / "b", model=str(start), pretrained=True, epochs=1), 2)

    assert "cannot be told" not in caplog.text


def test_a_start_of_which_only_the_name_of_its_images_is_known_is_told(few, tmp_path, caplog):
    model = modelfile.load(train(tiny_training(few, tmp_path / "a", epochs=1)).model)
    copied = tmp_path / "copied.safetensors"
    modelfile.save(replace(model, training={**model.training, "images_sketch": {}}), copied)
    (few / "red" / "000.jpg").unlink()

    cross_validate(tiny_training(few, tmp_path / "b", model=str(copied), pretrained=True, epochs=1), 2)

    assert "on which of its images cannot be told: for those it knows the accuracy says nothing" in caplog.text


def test_a_start_that_has_learned_from_the_images_is_refused(few, tmp_path):
    start = train(tiny_training(few, tmp_path, epochs=1)).model

    with pytest.raises(SettingsError, match="has learned from these images; take another model"):
        cross_validate(tiny_training(few, tmp_path, model=str(start), pretrained=True, epochs=1), 2)


@pytest.mark.parametrize(("broken", "is_refused"), [(1, False), (2, True)])
def test_unreadable_images_are_counted_in_all_and_not_in_a_fold(broken, is_refused, tmp_path):
    """One of 24 is within the 5 % that are allowed; of the 16 that train beside a fold it is not."""
    folder = write_image_folder(tmp_path / "photos", per_class=8)
    for path in sorted(folder.rglob("*.*"))[:broken]:
        path.write_bytes(b"")
    training = tiny_training(folder, tmp_path, epochs=1, name="cv")

    if is_refused:
        with pytest.raises(DataError, match="2 of 24 training images are unreadable"):
            cross_validate(training, 3)
        assert not (tmp_path / "cv_folds").exists()
    else:
        assert cross_validate(training, 3).is_whole
