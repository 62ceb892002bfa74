"""Objects that a detector, a segmenter or a hand marked, classified and labelled in real workflows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("ikomia")

import ikomia  # noqa: F401  # before cv2, as in every Ikomia program
from ikomia import core, dataprocess
from ikomia.dataprocess.workflow import Workflow

from mnasnet.draw import percent
from tests.workflows.conftest import with_detector
from tests.workflows.outputs import rounded, rows_of

pytestmark = pytest.mark.ikomia


def boxes_of(task):
    detections = json.loads(task.get_output(1).to_json())["detections"]
    return [tuple(found["box"][side] for side in ("x", "y", "width", "height")) for found in detections]


@pytest.mark.parametrize("source", ["array", "path"])
def test_objects_are_classified_by_their_own_pixels(source, add_infer, classifier, image, tmp_path):
    """Ikomia's own cropping gives the whole image for arrays and shifts boxes that start outside."""
    workflow, _ = with_detector("10,20,60,70;-30,-20,80,90;250,150,100,100;100,100,1,1;400,10,50,50")
    task = add_infer(workflow, top_k=2)

    if source == "array":
        workflow.run_on(array=image)
    else:
        Image.fromarray(image).save(tmp_path / "image.png")
        workflow.run_on(path=str(tmp_path / "image.png"))

    crops = [image[20:90, 10:70], image[:70, :50], image[150:, 250:]]
    expected = classifier.predict(crops, 2)
    found = json.loads(task.get_output(4).to_json())["objects"]
    assert [entry["box"] for entry in found] == [[10, 20, 60, 70], [0, 0, 50, 70], [250, 150, 50, 50]]
    assert [entry["label"] for entry in found] == [prediction.label for prediction in expected]
    for entry, prediction in zip(found, expected, strict=True):
        assert entry["confidence"] == pytest.approx(prediction.confidence, abs=2e-4)
    assert [label for label, _ in rows_of(task)] == [prediction.label for prediction in expected]
    assert len(boxes_of(task)) == 3
    assert task.get_results() == [
        (prediction.label, pytest.approx(prediction.confidence, abs=1e-4)) for prediction in expected
    ]


def test_all_objects_of_a_frame_go_through_the_network_together(add_infer, image, passes):
    workflow, _ = with_detector(";".join(f"{x},10,40,40" for x in range(0, 200, 10)))
    add_infer(workflow)

    workflow.run_on(array=image)

    assert passes == [20]


def test_more_objects_than_go_through_the_network_at_once_all_get_names(add_infer, image, passes):
    workflow, _ = with_detector(";".join(f"{x},{x},20,20" for x in range(70)))
    task = add_infer(workflow)

    workflow.run_on(array=image)

    assert sum(passes) == len(task.get_results()) == 70


def test_a_detector_that_found_nothing_leaves_nothing_to_classify(add_infer, image):
    workflow, detector = with_detector("10,10,60,60")
    task = add_infer(workflow)
    workflow.run_on(array=image)
    assert len(task.get_results()) == 1

    detector.set_parameters({"boxes": ""})
    workflow.run_on(array=image)

    assert task.get_results() == [] == rows_of(task) == boxes_of(task)
    assert json.loads(task.get_output(4).to_json())["objects"] == []
    np.testing.assert_array_equal(image, task.get_image_with_graphics())


@pytest.mark.parametrize("boxes", ["500,500,20,20", "10,10,1,1;-40,-40,20,20"])
def test_objects_outside_the_image_or_without_pixels_are_said_to_be_that(boxes, add_infer, image, capsys):
    workflow, _ = with_detector(boxes)
    task = add_infer(workflow)

    workflow.run_on(array=image)

    assert task.get_results() == []
    said = capsys.readouterr().out
    assert "no object of the task before has 2 x 2 pixels or more inside the image, so there is nothing to" in said
    assert "no objects came" not in said


def test_objects_that_get_no_name_are_told_beside_those_that_get_one(add_infer, image, capsys):
    workflow, _ = with_detector("500,500,20,20;10,10,60,60;10,10,1,50")
    task = add_infer(workflow)

    workflow.run_on(array=image)

    ids = [item.get_id() for item in task.get_input_objects()]
    found = json.loads(task.get_output(4).to_json())
    assert [one["id"] for one in found["objects"]] == ids[1:2] and found["left_out"] == [ids[0], ids[2]]
    assert "some objects of the task before have less than 2 x 2 pixels inside the image" in capsys.readouterr().out


def behind(name, add_infer, **parameters):
    """A workflow in which Ikomia itself connects our task to the stand-in called ``name``."""
    workflow = Workflow("behind")
    workflow.add_task(name=name, auto_connect=True, public_hub=False)
    return workflow, add_infer(workflow, **parameters)


def test_a_segmented_object_is_one_object_not_one_more_for_each_piece_of_its_mask(add_infer, classifier, image):
    workflow, task = behind("standin_segmenter", add_infer)

    workflow.run_on(array=image)

    crops = [image[20:90, 10:70], image[100:180, 200:290]]
    assert [label for label, _ in task.get_results()] == [found.label for found in classifier.predict(crops, 1)]
    assert boxes_of(task) == [(10, 20, 60, 70), (200, 100, 90, 80)]


def test_a_person_is_one_object_not_one_more_for_each_point_and_limb(add_infer, image):
    workflow, task = behind("standin_keypoints", add_infer)

    workflow.run_on(array=image)

    assert boxes_of(task) == [(10, 20, 100, 90)]


@pytest.mark.parametrize("boxes", ["100,100,80,40,30", "100,100,80,40,30;100,80,180,140,0"])
def test_a_turned_box_is_an_object_also_inside_a_straight_one(boxes, add_infer, image):
    """Ikomia makes a polygon of it, as of a mask."""
    workflow, _ = with_detector(boxes)
    task = add_infer(workflow)

    workflow.run_on(array=image)

    assert len(task.get_results()) == len(boxes.split(";"))


def test_behind_another_makers_classifier_the_log_says_how_to_name_the_whole_image(add_infer, image, capsys):
    """Its empty graphics look like those of a detector that found nothing."""
    workflow, task = behind("standin_classifier", add_infer)

    for _ in range(2):
        workflow.run_on(array=image)

    assert task.get_results() == []
    assert capsys.readouterr().out.count("without auto_connect and call wf.connect_tasks(wf.root(), task)") == 1


@pytest.mark.parametrize("before", ["standin_detector", "standin_classifier"])
def test_the_whole_image_can_be_named_beside_another_task(before, model_path, classifier, image):
    workflow = Workflow("beside")
    workflow.add_task(name=before, auto_connect=True, public_hub=False)
    task = workflow.add_task(name="infer_torchvision_mnasnet", public_hub=False)
    workflow.connect_tasks(workflow.root(), task)
    task.set_parameters({"model_weight_file": str(model_path)})

    workflow.run_on(array=image)

    assert rows_of(task) == rounded(classifier.predict([image], 5)[0])


def test_a_box_drawn_by_hand_is_an_object(add_infer, classifier, image):
    """STUDIO's user draws on the task's own graphics input."""
    workflow = Workflow("hand")
    task = add_infer(workflow)
    graphics = dataprocess.CGraphicsInput()
    graphics.set_items([core.CGraphicsRectangle(20.0, 30.0, 80.0, 50.0)])
    task.set_input(graphics, 1)

    workflow.run_on(array=image)

    assert task.get_results()[0][0] == classifier.predict([image[30:80, 20:100]], 1)[0].label


def test_two_classification_tasks_in_a_row_both_see_the_whole_image(add_infer, image):
    """The first one's labels are graphics too; they are no objects."""
    workflow = Workflow("row")
    first, second = add_infer(workflow), add_infer(workflow)

    workflow.run_on(array=image)

    assert first.get_results() == second.get_results() != []


def test_an_unsure_object_is_unknown(add_infer, image):
    workflow, _ = with_detector("10,10,60,60")
    task = add_infer(workflow, confidence_threshold=1.0)

    workflow.run_on(array=image)

    assert json.loads(task.get_output(1).to_json())["detections"][0]["label"] == "unknown"


# ------------------------------------------------------------------ labels


def test_labels_are_graphics_over_an_untouched_image(add_infer, image):
    workflow = Workflow("labels")
    task = add_infer(workflow, top_k=2)

    workflow.run_on(array=image)

    texts = [item["text"] for item in json.loads(task.get_output(2).to_json())["items"]]
    assert texts == [f"{name} {percent(confidence)}" for name, confidence in task.get_results()]
    assert (task.get_image_with_graphics() != image).any()
    np.testing.assert_array_equal(image, task.get_output(0).get_image())


def test_objects_are_drawn_with_their_boxes(add_infer):
    picture = np.full((200, 300, 3), 128, np.uint8)
    workflow, _ = with_detector("40,60,200,120")
    task = add_infer(workflow)

    workflow.run_on(array=picture)

    changed = (task.get_image_with_graphics() != picture).any(axis=2)
    assert changed[60:180, 40].all() and changed[60, 40:240].all()  # left and upper edge of the frame
    assert not changed[100:160, 80:200].any()  # inside it nothing is covered


def test_labels_can_be_drawn_into_the_output_image(add_infer, image):
    workflow = Workflow("labels")
    task = add_infer(workflow, draw_on_image=True)

    workflow.run_on(array=image)

    assert json.loads(task.get_output(2).to_json())["items"] == []
    assert (task.get_output(0).get_image() != image).any()
    np.testing.assert_array_equal(task.get_output(0).get_image(), task.get_image_with_graphics())


def test_labels_can_be_left_out(add_infer, image):
    workflow = Workflow("labels")
    task = add_infer(workflow, label_style="none")

    workflow.run_on(array=image)

    np.testing.assert_array_equal(image, task.get_image_with_graphics())
    assert rows_of(task) != []
