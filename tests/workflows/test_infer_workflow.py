from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torchvision
from PIL import Image
from safetensors.torch import save_file

pytest.importorskip("ikomia")

import ikomia  # noqa: F401  # before cv2, as in every Ikomia program
from ikomia.dataprocess import workflow as ikomia_workflow
from ikomia.dataprocess.workflow import Workflow

from mnasnet.classify import Classifier
from mnasnet.data.images import read_image, to_rgb
from mnasnet.errors import SettingsError
from mnasnet.modelfile import save
from mnasnet.settings import InferSettings
from mnasnet.testing import random_model
from tests.workflows.outputs import rounded, rows_of

pytestmark = pytest.mark.ikomia


# ------------------------------------------------------------------ whole images


def test_an_array_is_classified_and_all_outputs_agree(add_infer, classifier, image):
    workflow = Workflow("array")
    task = add_infer(workflow, top_k=3)

    workflow.run_on(array=image)

    expected = classifier.predict([image], 3)[0]
    assert rows_of(task) == rounded(expected)
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
    assert rows_of(task) == rounded(expected)
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
    path = tmp_path / "cut.JPG"
    Image.fromarray(image).resize((400, 300)).save(path)
    path.write_bytes(path.read_bytes()[:-800])
    workflow = Workflow("cut")
    task = add_infer(workflow)

    with pytest.raises(RuntimeError) as caught:
        workflow.run_on(path=str(path))
    workflow.run_on(array=image)  # the path of the run before is forgotten

    first_line = str(caught.value).splitlines()[0]
    assert "cut.JPG" in first_line and "truncated" in first_line
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

    assert task.get_results() == [] == rows_of(task)
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

    assert second.get_results() == [] == rows_of(second)


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


def test_a_model_file_that_gives_way_to_the_model_of_the_task_before_is_told(add_infer, model_path, image, capsys):
    workflow = Workflow("chain")
    task = add_infer(workflow, model_weight_file="other.safetensors")
    task.get_input(2).set_path(str(model_path))

    workflow.run_on(array=image)
    workflow.run_on(array=image[::-1])

    told = f"{model_path} comes from the task before, so model_weight_file other.safetensors is not read"
    assert capsys.readouterr().out.count(told) == 1

    task.set_parameters({"model_weight_file": ""})
    workflow.run_on(array=image)
    assert "model_weight_file" not in capsys.readouterr().out


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


def test_a_class_file_that_was_written_anew_is_read_anew(add_infer, image, model, tmp_path):
    path, workflow = tmp_path / "names.txt", Workflow("renamed")
    task = add_infer(workflow, class_file=str(path))

    for mark in ("1", "2"):
        path.write_text("\n".join(f"{name} {mark}" for name in model.class_names), encoding="utf-8")
        workflow.run_on(array=image)

        assert {name[-1] for name, _ in task.get_results()} == {mark}


def test_device_and_precision_change_what_is_loaded_at_the_next_run(add_infer, image, monkeypatch):
    load, asked = Classifier.load, []

    def noted(*arguments, device, precision, **options):
        asked.append((device, precision))
        return load(*arguments, device="cpu", **options)

    monkeypatch.setattr(Classifier, "load", noted)
    workflow = Workflow("changed")
    task = add_infer(workflow, device="cpu")
    for change in ({}, {"precision": "bf16"}, {"device": "cuda"}):
        task.set_parameters(change)
        workflow.run_on(array=image)

    assert asked == [("cpu", "fp32"), ("cpu", "bf16"), ("cuda", "bf16")]


def test_labels_settings_do_not_load_the_model_again(add_infer, image, loaded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workflow = Workflow("keep")
    task = add_infer(workflow)
    workflow.run_on(array=image)

    (tmp_path / "new").touch()  # the working folder is none of the model's files
    task.set_parameters({"top_k": 1, "confidence_threshold": 0.5, "label_style": "none", "draw_on_image": True})
    workflow.run_on(array=image)

    assert len(loaded) == 1


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


def loaded_with(add_infer, file, old):
    """A workflow whose file holds the parameters ``old`` and no others."""
    workflow = Workflow("old")
    add_infer(workflow)
    workflow.save(str(file))
    content = json.loads(file.read_text())
    for task in content["tasks"]:
        if task["task_data"]["name"] == "infer_torchvision_mnasnet":
            task["task_data"]["parameters"] = [{"name": name, "value": value} for name, value in old.items()]
    file.write_text(json.dumps(content))
    loaded = ikomia_workflow.load(str(file))
    return loaded, loaded.find_task("infer_torchvision_mnasnet", 0)


def test_a_workflow_file_of_release_2_still_loads(add_infer, image, model_path, tmp_path):
    old = {"dataset": "Custom", "input_size": "64", "model_path": str(model_path), "class_file": ""}
    workflow, task = loaded_with(add_infer, tmp_path / "old.json", old)

    workflow.run_on(array=image)

    assert task.get_param_object().settings == InferSettings(model_weight_file=str(model_path), input_size=64)
    assert len(task.get_results()) == 5


def test_a_workflow_file_of_release_1_keeps_its_class_names(add_infer, image, model_path, tmp_path):
    names = write_names(tmp_path / "names.txt", "abcde")
    old = {"dataset": "Custom", "input_size": "64", "model_path": str(model_path), "classes_path": names}
    workflow, task = loaded_with(add_infer, tmp_path / "old.json", old)

    workflow.run_on(array=image)

    assert {name for name, _ in task.get_results()} == set("abcde")


def test_an_imagenet_workflow_of_release_2_needs_no_class_file(add_infer, tmp_path):
    """The old form stored the path of a list inside the old plugin."""
    classes = "/old/plugin/models/imagenet_classes.txt"
    old = {"dataset": "ImageNet", "input_size": "224", "model_path": "Not used", "class_file": classes}

    _, task = loaded_with(add_infer, tmp_path / "old.json", old)

    assert task.get_param_object().settings == InferSettings(model_name="mnasnet1_0", input_size=224)


# ------------------------------------------------------------------ confidence


def test_below_the_threshold_the_label_is_unknown(add_infer, classifier, image):
    best = classifier.predict([image], 1)[0]
    workflow = Workflow("unsure")
    task = add_infer(workflow, confidence_threshold=round(min(1.0, best.confidence + 0.01), 3))

    workflow.run_on(array=image)

    assert task.get_results() == [("unknown", pytest.approx(best.confidence, abs=1e-4))]
    assert [name for name, _ in rows_of(task)][:2] == ["unknown", best.label]
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
