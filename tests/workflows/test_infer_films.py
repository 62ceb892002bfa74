"""Videos, folders and stops: workflows over more than one image."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("ikomia")

import ikomia  # noqa: F401  # before cv2, as in every Ikomia program
from ikomia.dataprocess.workflow import Workflow

from mnasnet.classify import Classifier
from tests.workflows.conftest import with_detector

pytestmark = pytest.mark.ikomia


@pytest.fixture
def video(tmp_path):
    """Six frames of plain grey, darker to lighter."""
    import cv2

    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (128, 96))
    for grey in range(0, 240, 40):
        writer.write(np.full((96, 128, 3), grey, np.uint8))
    writer.release()
    return path


def test_a_video_is_classified_frame_by_frame(add_infer, video):
    workflow = Workflow("film")
    task = add_infer(workflow, draw_on_image=True)
    workflow.set_auto_save(True)

    workflow.run_on(path=str(video))

    frames = json.loads(next(saved_by("film").rglob("NumericIO_3.json")).read_text())
    assert len(frames) == 6
    assert len(task.get_results()) == 5


@pytest.fixture
def red_film(tmp_path):
    import cv2

    path = tmp_path / "red.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (128, 96))
    for _ in range(3):
        writer.write(np.full((96, 128, 3), (0, 0, 220), np.uint8))
    writer.release()
    return path


def is_red(picture):
    return picture[90, 120, 0] > 150 > 50 > picture[90, 120, 2]


@pytest.mark.parametrize("draw_on_image", [False, True])
def test_the_picture_of_a_film_that_ikomia_saved_keeps_its_colours(draw_on_image, add_infer, red_film, image):
    workflow = Workflow("saved film")
    task = add_infer(workflow, draw_on_image=draw_on_image)
    workflow.set_auto_save(True)

    workflow.run_on(path=str(red_film))

    assert is_red(task.get_image_with_graphics())
    assert is_red(task.get_input(0).get_image())
    workflow.set_auto_save(False)
    workflow.clear_inputs()
    workflow.run_on(array=image)
    assert task.get_image_with_graphics().shape == image.shape


@pytest.mark.parametrize("detector_saves", [True, False])
def test_a_detectors_film_that_ikomia_saves_is_said_to_have_its_colours_swapped(
    detector_saves, add_infer, red_film, capsys
):
    workflow = Workflow(f"detected film {detector_saves}")
    detector = workflow.add_task(name="standin_detector", auto_connect=True, public_hub=False)
    detector.set_parameters({"boxes": "0,0,128,96"})
    task = add_infer(workflow)
    workflow.set_auto_save(True)
    detector.set_auto_save(detector_saves)

    workflow.run_on(path=str(red_film))

    said = capsys.readouterr().out
    assert said.count("swaps red and blue") == detector_saves
    assert ("task_before.set_auto_save(False)" in said) == detector_saves
    assert is_red(task.get_image_with_graphics()) != detector_saves


def test_a_film_that_ikomia_saves_tells_what_went_wrong_too(add_infer, video, caplog):
    """Ikomia raises an error of its own there: "Video buffer pointer is null"."""
    workflow = Workflow("broken film")
    add_infer(workflow, model_weight_file="/not/there.safetensors")
    workflow.set_auto_save(True)

    with caplog.at_level("ERROR"), pytest.raises(RuntimeError):
        workflow.run_on(path=str(video))

    assert "there is no file /not/there.safetensors; check the path" in caplog.text


def saved_by(name):
    return Path.home() / "Ikomia" / "Workflows" / name


def test_a_folder_is_classified_and_a_bad_file_named(add_infer, image, tmp_path, caplog):
    for index in range(3):
        Image.fromarray(np.roll(image, 20 * index, axis=0)).save(tmp_path / f"photo_{index}.png")
    (tmp_path / "bad.png").write_bytes(b"")
    workflow = Workflow("folder")
    add_infer(workflow)

    with caplog.at_level("ERROR"):
        workflow.run_on(folder=str(tmp_path))

    assert len(list(saved_by("folder").rglob("*photo_*.json"))) >= 3
    assert "bad.png" in caplog.text and "empty" in caplog.text


def test_a_folder_of_photos_leaves_a_json_file_of_all_results_for_each(add_infer, image, tmp_path):
    """Ikomia itself would write them without an ending and nothing of the objects."""
    for index in range(2):
        Image.fromarray(np.roll(image, 20 * index, axis=0)).save(tmp_path / f"photo{index}.png")
    workflow, _ = with_detector("10,10,60,60;20,20,90,90")
    add_infer(workflow)

    workflow.run_on(folder=str(tmp_path))

    files = sorted(saved_by("objects").rglob("infer_torchvision_mnasnetphoto*.json"))
    assert [len(json.loads(file.read_text())["objects"]) for file in files] == [2, 2]
    assert all(file.suffix in (".png", ".csv", ".json") for file in saved_by("objects").rglob("*photo*"))


def test_a_stopped_run_ends_between_batches_and_can_be_run_again(add_infer, image, monkeypatch):
    workflow, detector = with_detector(";".join(f"{x % 200},{x % 100},60,60" for x in range(1000)))
    task = add_infer(workflow)
    predict, batches = Classifier.predict, []

    def stopped_from_outside(classifier, images, top_k):
        if not batches:
            stopper = threading.Thread(target=workflow.stop)
            stopper.start()
            stopper.join()
        batches.append(len(images))
        return predict(classifier, images, top_k)

    monkeypatch.setattr(Classifier, "predict", stopped_from_outside)
    with pytest.raises(RuntimeError, match="Stop workflow requested"):
        workflow.run_on(array=image)
    assert batches == [64] and task.get_results() == []

    detector.set_parameters({"boxes": "10,10,60,60"})
    workflow.run_on(array=image)

    assert len(task.get_results()) == 1


def test_the_model_can_be_loaded_before_the_first_image(add_infer, image, loaded):
    workflow = Workflow("early")
    add_infer(workflow)

    workflow.init_long_process()
    assert len(loaded) == 1
    workflow.run_on(array=image)

    assert len(loaded) == 1
