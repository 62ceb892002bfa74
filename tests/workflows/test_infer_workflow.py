from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image
from safetensors.torch import save_file

pytest.importorskip("ikomia")

import ikomia  # noqa: F401  # before cv2, as in every Ikomia program
from ikomia import core, dataprocess
from ikomia.dataprocess import workflow as ikomia_workflow
from ikomia.dataprocess.workflow import Workflow

from mnasnet.data.images import read_image, to_rgb
from mnasnet.draw import percent
from mnasnet.errors import SettingsError
from mnasnet.modelfile import save
from mnasnet.settings import InferSettings
from mnasnet.testing import random_model

pytestmark = pytest.mark.ikomia


def table_of(task):
    """The rows of the task's table output."""
    table = json.loads(task.get_output(3).to_json())
    return list(zip(*table["valueLabels"], *table["values"], strict=True)) if table["values"] else []


def boxes_of(task):
    detections = json.loads(task.get_output(1).to_json())["detections"]
    return [tuple(found["box"][side] for side in ("x", "y", "width", "height")) for found in detections]


def rounded(prediction):
    return list(zip(prediction.names, (f"{value:.3f}" for value in prediction.confidences), strict=True))


# ------------------------------------------------------------------ whole images


def test_an_array_is_classified_and_all_outputs_agree(add_infer, classifier, image):
    workflow = Workflow("array")
    task = add_infer(workflow, top_k=3)

    workflow.run_on(array=image)

    expected = classifier.predict([image], 3)[0]
    assert table_of(task) == rounded(expected)
    assert [name for name, _ in task.get_results()] == list(expected.names)
    found = json.loads(task.get_output(4).to_json())
    assert found["label"] == expected.label
    assert found["confidence"] == pytest.approx(expected.confidence, abs=1e-4)
    assert [entry["class"] for entry in found["top_k"]] == list(expected.names)
    assert {"model", "engine", "input_size", "ms"} <= set(found)
    np.testing.assert_array_equal(image, task.get_output(0).get_image())


def test_the_callers_array_is_never_written_to(add_infer, image):
    before = image.copy()
    image.setflags(write=False)
    workflow = Workflow("readonly")
    task = add_infer(workflow, draw_on_image=True)

    workflow.run_on(array=image)
    task.get_image_with_graphics()

    np.testing.assert_array_equal(before, image)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image[..., 0],
        lambda image: image[..., :1],
        lambda image: np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]),
        lambda image: image.astype(np.uint16) * 257,
        lambda image: image.astype(np.float32) / 255,
        lambda image: image.astype(np.int64),
        lambda image: image[::2, ::-1],
    ],
    ids=["grey", "one channel", "rgba", "uint16", "float", "int64", "not contiguous"],
)
def test_every_kind_of_array_is_classified_as_its_rgb(change, add_infer, classifier, image):
    array = change(image)
    workflow = Workflow("kinds")
    task = add_infer(workflow)

    workflow.run_on(array=array)

    expected = classifier.predict([to_rgb(array)], 5)[0]
    assert table_of(task) == rounded(expected)
    assert task.get_image_with_graphics().shape == (*array.shape[:2], 3)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "I;16"])
def test_every_kind_of_file_is_classified(mode, add_infer, classifier, image, tmp_path):
    path = tmp_path / ("bild ü.jpg" if mode == "CMYK" else "bild ü.png")
    if mode == "I;16":
        Image.fromarray(image[..., 0].astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(image).convert(mode).save(path)
    workflow = Workflow("files")
    task = add_infer(workflow, top_k=1)

    workflow.run_on(path=str(path))

    assert task.get_results()[0][0] == classifier.predict([read_image(path)], 1)[0].label


def test_a_file_that_ikomia_cannot_read_is_read_by_us(add_infer, classifier, image, tmp_path):
    path = tmp_path / "misnamed.png"
    Image.fromarray(image).save(path, format="ICO", sizes=[(128, 85)])
    workflow = Workflow("misnamed")
    task = add_infer(workflow, top_k=1)

    workflow.run_on(path=str(path))

    assert task.get_input(0).get_image() is None
    assert task.get_results()[0][0] == classifier.predict([read_image(path)], 1)[0].label
    np.testing.assert_array_equal(read_image(path), task.get_output(0).get_image())


def test_a_broken_file_ends_in_one_line_with_the_reason(add_infer, tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"")
    workflow = Workflow("broken")
    add_infer(workflow)

    with pytest.raises(RuntimeError) as caught:
        workflow.run_on(path=str(path))

    first_line = str(caught.value).splitlines()[0]
    assert "broken.jpg" in first_line and "empty" in first_line
    assert str(caught.value).count('File "') == 1


def test_a_jpeg_that_was_cut_short_is_refused_and_not_classified_by_half(add_infer, image, tmp_path):
    path = tmp_path / "cut.jpg"
    Image.fromarray(image).resize((400, 300)).save(path)
    path.write_bytes(path.read_bytes()[:-800])
    workflow = Workflow("cut")
    task = add_infer(workflow)

    with pytest.raises(RuntimeError) as caught:
        workflow.run_on(path=str(path))
    workflow.run_on(array=image)  # the path of the run before is forgotten

    first_line = str(caught.value).splitlines()[0]
    assert "cut.jpg" in first_line and "truncated" in first_line
    assert len(task.get_results()) == 5


def test_the_same_workflow_works_again_after_an_error(add_infer, image, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"nothing")
    workflow = Workflow("again")
    task = add_infer(workflow)
    with pytest.raises(RuntimeError):
        workflow.run_on(path=str(tmp_path / "broken.png"))

    workflow.run_on(array=image)

    assert len(task.get_results()) == 5


def test_a_workflow_without_an_image_says_what_is_missing_in_one_line(add_infer):
    workflow = Workflow("nothing")
    add_infer(workflow)

    with pytest.raises(RuntimeError, match="there is no image to classify; connect an image or a video") as caught:
        workflow.run()

    assert str(caught.value).count('File "') == 1


def test_a_photo_that_lacks_behind_a_training_is_told_with_the_call_and_the_model_that_was_made(add_infer, model_path):
    workflow = Workflow("no photo")
    task = add_infer(workflow, model_weight_file="")
    task.get_input(2).set_path(str(model_path))

    with pytest.raises(RuntimeError, match=r"no image to classify; call wf\.set_image_input\(.*, index=1\)") as caught:
        workflow.run()

    assert f"the model is kept, {model_path}: as model_weight_file of this task alone" in str(caught.value)


def test_a_missing_model_is_told_in_one_line(add_infer, image):
    workflow = Workflow("missing")
    add_infer(workflow, model_weight_file="/not/there.safetensors")

    with pytest.raises(RuntimeError) as caught:
        workflow.run_on(array=image)

    assert "there.safetensors" in str(caught.value).splitlines()[0]
    assert str(caught.value).count('File "') == 1


@pytest.mark.parametrize("folder", [".", "/"])
def test_a_folder_given_as_the_model_is_told_in_one_line(folder, add_infer, image):
    workflow = Workflow("a folder")
    add_infer(workflow, model_weight_file=folder)

    with pytest.raises(RuntimeError, match="is a folder; ") as caught:
        workflow.run_on(array=image)

    assert str(caught.value).count('File "') == 1


def test_a_failed_run_leaves_no_results_of_the_run_before(add_infer, image, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"nothing")
    workflow = Workflow("stale")
    task = add_infer(workflow)
    workflow.run_on(array=image)

    with pytest.raises(RuntimeError):
        workflow.run_on(path=str(tmp_path / "broken.png"))

    assert task.get_results() == [] == table_of(task)
    assert json.loads(task.get_output(4).to_json()) == {}


def test_a_run_that_ends_before_the_task_leaves_no_results_of_the_run_before(add_infer, image):
    """Else a program that goes on after an error would take the labels of one image for those of another."""
    workflow = Workflow("earlier")
    first, second = add_infer(workflow), add_infer(workflow)
    workflow.run_on(array=image)
    assert second.get_results() != []

    first.set_parameters({"model_weight_file": "/not/there.safetensors"})
    with pytest.raises(RuntimeError):
        workflow.run_on(array=image[::-1])

    assert second.get_results() == [] == table_of(second)


def test_the_bundled_model_says_once_what_it_knows_and_how_to_get_imagenets_classes(image, capsys):
    """The releases before this package took ImageNet's weights where nothing was set."""
    workflow = Workflow("bundled")
    task = workflow.add_task(name="infer_torchvision_mnasnet", auto_connect=True, public_hub=False)

    for size in (128, 128, 96):
        task.set_parameters({"input_size": size})
        workflow.run_on(array=image)

    (line,) = [line for line in capsys.readouterr().out.splitlines() if "model_name" in line]
    assert line == (
        "model_name auto is photos10, which knows airplane, automobile, bird, cat, deer, dog, frog, horse, ship, "
        "truck; for ImageNet's 1000 classes set model_name to mnasnet1_0"
    )


def test_a_model_that_was_chosen_needs_no_words(add_infer, image, capsys):
    workflow = Workflow("chosen")
    task = add_infer(workflow)
    workflow.run_on(array=image)

    task.set_parameters({"model_weight_file": "", "model_name": "photos10"})
    workflow.run_on(array=image)

    assert "model_name" not in capsys.readouterr().out


def write_names(path, names):
    path.write_text("\n".join(names), encoding="utf-8")
    return str(path)


def test_a_class_file_that_renames_the_classes_of_a_model_is_told(add_infer, model_path, image, tmp_path, capsys):
    workflow = Workflow("renamed")
    task = add_infer(workflow, class_file=write_names(tmp_path / "names.txt", "abcde"))

    workflow.run_on(array=image)
    workflow.run_on(array=image[::-1])

    assert {name for name, _ in task.get_results()} == set("abcde")
    assert capsys.readouterr().out.count(f"not from {model_path} (cat, dog, ship, naïve café, 鳥)") == 1


def test_the_model_of_the_task_before_keeps_its_names_whatever_class_file_says(
    add_infer, classifier, model_path, image, tmp_path, capsys
):
    """The class file of an older workflow, which knew no connection."""
    workflow = Workflow("chain")
    task = add_infer(workflow, model_weight_file="", class_file=write_names(tmp_path / "names.txt", "abcde"))
    task.get_input(2).set_path(str(model_path))

    workflow.run_on(array=image)
    workflow.run_on(array=image[::-1])

    assert {name for name, _ in task.get_results()} == set(classifier.class_names)
    assert capsys.readouterr().out.count("the model of the task before has class names") == 1


# ------------------------------------------------------------------ parameters


def test_a_parameter_changed_after_a_run_takes_effect_at_the_next(add_infer, classifier, image):
    workflow = Workflow("change")
    task = add_infer(workflow)
    workflow.run_on(array=image)

    task.set_parameters({"top_k": 2, "input_size": 96, "runtime": "openvino"})
    workflow.run_on(array=image)

    found = json.loads(task.get_output(4).to_json())
    assert len(found["top_k"]) == 2
    assert found["input_size"] == 96
    assert found["engine"].startswith("openvino")


def test_parameters_exposed_by_the_workflow_take_effect_too(add_infer, image, tmp_path):
    workflow = Workflow("exposed")
    add_infer(workflow)
    file = tmp_path / "exposed.json"
    exposed = {"infer_torchvision_mnasnet": {"top_k": {"name": "K", "description": "how many"}}}
    workflow.save(str(file), exposed_params=exposed)
    loaded = ikomia_workflow.load(str(file))
    loaded.run_on(array=image)

    loaded.set_workflow_parameters({"K": 1})
    loaded.run_on(array=image)

    assert len(loaded.find_task("infer_torchvision_mnasnet", 0).get_results()) == 1


def test_a_model_file_that_was_written_anew_is_loaded_anew(add_infer, image, model, tmp_path):
    path = tmp_path / "own.safetensors"
    save(model, path)
    workflow = Workflow("retrained")
    task = add_infer(workflow, model_weight_file=str(path))
    workflow.run_on(array=image)

    save(random_model(class_names=("a", "b")), path)
    workflow.run_on(array=image)

    assert {name for name, _ in task.get_results()} == {"a", "b"}


def test_a_model_file_with_the_size_and_time_of_the_one_before_is_loaded_anew(add_infer, image, tmp_path):
    """As copies that keep the time of what they copy."""
    path = tmp_path / "own.safetensors"
    save(random_model(class_names=("a", "b")), path)
    before = path.stat()
    workflow = Workflow("same time")
    task = add_infer(workflow, model_weight_file=str(path))
    workflow.run_on(array=image)

    save(random_model(class_names=("c", "d")), path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    workflow.run_on(array=image)

    assert path.stat().st_size == before.st_size
    assert {name for name, _ in task.get_results()} == {"c", "d"}


def test_class_names_beside_the_weights_that_changed_are_read_anew(add_infer, image, tmp_path):
    save_file(torchvision.models.mnasnet0_5(num_classes=2).state_dict(), tmp_path / "own.safetensors")
    (tmp_path / "classes.txt").write_text("p\nq\n")
    workflow = Workflow("renamed")
    task = add_infer(workflow, model_weight_file=str(tmp_path / "own.safetensors"))
    workflow.run_on(array=image)

    (tmp_path / "classes.txt").write_text("pp\nqq\n")
    workflow.run_on(array=image)

    assert {name for name, _ in task.get_results()} == {"pp", "qq"}


def test_labels_settings_do_not_load_the_model_again(add_infer, image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workflow = Workflow("keep")
    task = add_infer(workflow)
    workflow.run_on(array=image)
    loaded = task._classifier

    (tmp_path / "new").touch()  # the working folder is none of the model's files
    task.set_parameters({"top_k": 1, "confidence_threshold": 0.5, "label_style": "none", "draw_on_image": True})
    workflow.run_on(array=image)

    assert task._classifier is loaded


def test_unknown_and_wrong_parameters_raise_and_change_nothing(add_infer):
    task = add_infer(Workflow("wrong"))
    before = task.get_parameters()

    with pytest.raises(SettingsError, match=r"unknown parameter 'topk' \(did you mean top_k\?\); valid are model_name"):
        task.set_parameters({"topk": 3})
    with pytest.raises(SettingsError, match="confidence_threshold must be a number from 0 to 1, got 'high'"):
        task.set_parameters({"top_k": "2", "confidence_threshold": "high"})

    assert task.get_parameters() == before


def test_the_workflows_own_set_parameters_is_checked_too(add_infer):
    workflow = Workflow("wrong")
    task = add_infer(workflow)

    with pytest.raises(SettingsError, match="unknown parameter"):
        workflow.set_parameters({"nope": 3}, task_obj=task)


def test_parameters_can_be_given_with_the_task(model_path, image):
    workflow = Workflow("params")
    parameters = {"model_path": str(model_path), "top_k": "2"}
    task = workflow.add_task(name="infer_torchvision_mnasnet", params=parameters, auto_connect=True, public_hub=False)

    workflow.run_on(array=image)

    assert len(task.get_results()) == 2


def test_a_wrong_parameter_given_with_the_task_is_told_in_one_line():
    parameters = {"top_k": "many"}

    with pytest.raises(RuntimeError) as caught:
        Workflow("params").add_task(name="infer_torchvision_mnasnet", params=parameters, public_hub=False)

    assert "top_k must be a whole number from 1 to 1000, got 'many'" in str(caught.value).splitlines()[0]


def test_a_saved_workflow_loads_with_its_parameters(add_infer, image, tmp_path):
    workflow = Workflow("saved")
    add_infer(workflow, top_k=2, confidence_threshold=0.25)
    workflow.save(str(tmp_path / "saved.json"))

    loaded = ikomia_workflow.load(str(tmp_path / "saved.json"))
    loaded.run_on(array=image)

    task = loaded.find_task("infer_torchvision_mnasnet", 0)
    assert len(task.get_results()) == 2
    assert task.get_parameters()["confidence_threshold"] == "0.25"


def test_a_workflow_file_of_release_2_still_loads(add_infer, image, model_path, tmp_path):
    workflow = Workflow("old")
    add_infer(workflow)
    file = tmp_path / "old.json"
    workflow.save(str(file))
    content = json.loads(file.read_text())
    old = {"dataset": "Custom", "input_size": "64", "model_path": str(model_path), "class_file": ""}
    for task in content["tasks"]:
        if task["task_data"]["name"] == "infer_torchvision_mnasnet":
            task["task_data"]["parameters"] = [{"name": name, "value": value} for name, value in old.items()]
    file.write_text(json.dumps(content))

    loaded = ikomia_workflow.load(str(file))
    loaded.run_on(array=image)

    task = loaded.find_task("infer_torchvision_mnasnet", 0)
    assert task.get_param_object().settings == InferSettings(model_weight_file=str(model_path), input_size=64)
    assert len(task.get_results()) == 5


def test_an_imagenet_workflow_of_release_2_needs_no_class_file(add_infer, tmp_path):
    """The old form stored the path of a list inside the old plugin."""
    workflow = Workflow("old")
    add_infer(workflow)
    file = tmp_path / "old.json"
    workflow.save(str(file))
    content = json.loads(file.read_text())
    classes = "/old/plugin/models/imagenet_classes.txt"
    old = {"dataset": "ImageNet", "input_size": "224", "model_path": "Not used", "class_file": classes}
    for task in content["tasks"]:
        if task["task_data"]["name"] == "infer_torchvision_mnasnet":
            task["task_data"]["parameters"] = [{"name": name, "value": value} for name, value in old.items()]
    file.write_text(json.dumps(content))

    task = ikomia_workflow.load(str(file)).find_task("infer_torchvision_mnasnet", 0)

    assert task.get_param_object().settings == InferSettings(model_name="mnasnet1_0", input_size=224)


# ------------------------------------------------------------------ confidence


def test_below_the_threshold_the_label_is_unknown(add_infer, classifier, image):
    best = classifier.predict([image], 1)[0]
    workflow = Workflow("unsure")
    task = add_infer(workflow, confidence_threshold=round(min(1.0, best.confidence + 0.01), 3))

    workflow.run_on(array=image)

    assert task.get_results() == [("unknown", pytest.approx(best.confidence, abs=1e-4))]
    assert [name for name, _ in table_of(task)][:2] == ["unknown", best.label]
    found = json.loads(task.get_output(4).to_json())
    assert found["label"] == "unknown"
    assert found["top_k"][0]["class"] == best.label


def test_what_is_not_certain_is_never_drawn_as_100_percent(image, model, tmp_path):
    """Of a threshold of 1 that would make "unknown 100%"."""
    certain = {**model.weights, "classifier.bias": np.array([13, 0, 0, 0, 0], np.float32)}
    certain["classifier.weight"] = 0 * model.weights["classifier.weight"]
    save(replace(model, weights=certain), tmp_path / "certain.safetensors")
    workflow = Workflow("certain")
    task = workflow.add_task(name="infer_torchvision_mnasnet", auto_connect=True, public_hub=False)
    task.set_parameters({"model_weight_file": str(tmp_path / "certain.safetensors"), "top_k": 2})

    workflow.run_on(array=image)

    texts = [item["text"] for item in json.loads(task.get_output(2).to_json())["items"]]
    assert texts == ["cat >99%", "dog <1%"]
    assert task.get_results() == [("cat", 1.0), ("dog", 0.0)]  # rounded, to be printed


def test_an_unsure_object_is_unknown(add_infer, image):
    workflow, _ = with_detector("10,10,60,60")
    task = add_infer(workflow, confidence_threshold=1.0)

    workflow.run_on(array=image)

    assert json.loads(task.get_output(1).to_json())["detections"][0]["label"] == "unknown"


# ------------------------------------------------------------------ objects


def with_detector(boxes):
    workflow = Workflow("objects")
    detector = workflow.add_task(name="standin_detector", auto_connect=True, public_hub=False)
    detector.set_parameters({"boxes": boxes})
    return workflow, detector


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
    assert [label for label, _ in table_of(task)] == [prediction.label for prediction in expected]
    assert len(boxes_of(task)) == 3
    assert task.get_results() == [
        (prediction.label, pytest.approx(prediction.confidence, abs=1e-4)) for prediction in expected
    ]


def test_all_objects_of_a_frame_go_through_the_network_together(add_infer, image):
    workflow, _ = with_detector(";".join(f"{x},10,40,40" for x in range(0, 200, 10)))
    task = add_infer(workflow)
    workflow.run_on(array=image)
    session, sizes = task._classifier._session, []

    class Counting:
        description = session.description

        def run(self, batch):
            sizes.append(len(batch))
            return session.run(batch)

    task._classifier._session = Counting()
    workflow.run_on(array=image)

    assert sizes == [20]


def test_a_detector_that_found_nothing_leaves_nothing_to_classify(add_infer, image):
    workflow, detector = with_detector("10,10,60,60")
    task = add_infer(workflow)
    workflow.run_on(array=image)
    assert len(task.get_results()) == 1

    detector.set_parameters({"boxes": ""})
    workflow.run_on(array=image)

    assert task.get_results() == [] == table_of(task) == boxes_of(task)
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

    assert table_of(task) == rounded(classifier.predict([image], 5)[0])


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
    assert table_of(task) != []


# ------------------------------------------------------------------ video, folder, stop


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


def test_a_stopped_run_ends_between_batches_and_can_be_run_again(add_infer, image):
    workflow, detector = with_detector(";".join(f"{x % 200},{x % 100},60,60" for x in range(1000)))
    task = add_infer(workflow)
    workflow.init_long_process()
    session, batches = task._classifier._session, []

    class StoppedFromOutside:
        description = session.description

        def run(self, batch):
            if not batches:
                stopper = threading.Thread(target=workflow.stop)
                stopper.start()
                stopper.join()
            batches.append(len(batch))
            return session.run(batch)

    task._classifier._session = StoppedFromOutside()
    with pytest.raises(RuntimeError, match="Stop workflow requested"):
        workflow.run_on(array=image)
    assert batches == [64] and task.get_results() == []

    detector.set_parameters({"boxes": "10,10,60,60"})
    workflow.run_on(array=image)

    assert len(task.get_results()) == 1


def test_the_model_can_be_loaded_before_the_first_image(add_infer, image):
    workflow = Workflow("early")
    task = add_infer(workflow)

    workflow.init_long_process()
    loaded = task._classifier
    workflow.run_on(array=image)

    assert loaded is not None and task._classifier is loaded
