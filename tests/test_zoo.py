"""One function opens every model, with its class names, or says in one sentence why not."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage
import timm
import torch
import torchvision
from PIL import Image

from mnasnet import modelfile, zoo
from mnasnet.classify import Classifier
from mnasnet.cli import main
from mnasnet.errors import DownloadError, SpecError, WeightsError
from mnasnet.network import download
from mnasnet.network.download import PUBLISHED, sha256_of
from mnasnet.preprocess import Preprocess
from mnasnet.presets import PRESETS
from mnasnet.testing import TINY, random_model
from mnasnet.zoo import (
    files_of,
    imagenet_class_names,
    known_without_weights,
    open_model,
    open_published,
    read_class_file,
)


@pytest.fixture
def ikomia_folder(tmp_path):
    """What Ikomia's MnasNet task leaves behind: a state dict and classes.txt, here with Windows line ends."""
    network = torchvision.models.mnasnet1_0(num_classes=3)
    torch.save(network.state_dict(), tmp_path / "mnasnet.pth")
    (tmp_path / "classes.txt").write_bytes(b"cat\r\ndog\r\nship\r\n")
    return tmp_path


@pytest.fixture
def model_path(tmp_path):
    path = tmp_path / "pets.safetensors"
    modelfile.save(random_model(class_names=("cat", "dog", "ship")), path)
    return path


def class_file(tmp_path, text):
    path = tmp_path / "x.txt"
    path.write_bytes(text.encode())
    return path


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The user's cache with weights of the published names, made here: the table's sums are set to theirs."""
    monkeypatch.setenv("MNASNET_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    for name, network in (
        ("mnasnet0_75", torchvision.models.mnasnet0_75()),
        ("mnasnet_small", timm.create_model("mnasnet_small")),
    ):
        path = tmp_path / "weights" / PUBLISHED[name].file_name
        torch.save(network.state_dict(), path)
        monkeypatch.setitem(download.PUBLISHED, name, replace(PUBLISHED[name], sha256_prefix=sha256_of(path)[:8]))
    return tmp_path / "weights"


def test_checkpoints_of_two_epochs_keep_two_names(ikomia_folder):
    for name in ("net.epoch10.pth", "net.epoch20.pth.tar"):
        shutil.copy(ikomia_folder / "mnasnet.pth", ikomia_folder / name)

    names = [open_model(ikomia_folder / name).name for name in ("net.epoch10.pth", "net.epoch20.pth.tar")]

    assert names == ["net.epoch10", "net.epoch20"]


def test_an_old_ikomia_folder_opens_with_its_class_names(ikomia_folder):
    model = open_model(ikomia_folder / "mnasnet.pth")

    assert model.class_names == ("cat", "dog", "ship")
    assert model.architecture == PRESETS["mnasnet1_0"] and model.name == "mnasnet"
    # Ikomia's task validates on the short side resized to the input size, then cropped
    assert model.preprocess == Preprocess(224, 224)


def test_a_model_file_opens_as_it_was_saved(model_path):
    model = open_model(str(model_path))

    assert model.fingerprint == modelfile.load(model_path).fingerprint
    assert model.class_names == ("cat", "dog", "ship")


def test_a_stray_classes_file_beside_a_model_file_changes_nothing(model_path):
    (model_path.parent / "classes.txt").write_text("a\nb\nc\n")

    assert open_model(model_path).class_names == ("cat", "dog", "ship")


def test_published_weights_come_with_imagenet_names_and_their_own_recipe(published):
    model = open_model("mnasnet0_75")

    assert (len(model.class_names), model.class_names[281], model.class_names[0]) == (1000, "tabby", "tench")
    assert model.preprocess == Preprocess(224, 232)
    assert model.metrics == {"imagenet_top1_percent": 71.18, "imagenet_top5_percent": 90.496}
    assert modelfile.network_of(model).num_classes == 1000


def test_timm_s_published_weights_are_resized_bicubically(published):
    assert open_model("mnasnet_small").preprocess == Preprocess(224, 256, interpolation="bicubic")


def test_published_weights_open_without_torch_from_the_second_time_on(published):
    first = open_model("mnasnet_small")
    prefix = download.PUBLISHED["mnasnet_small"].sha256_prefix
    code = (
        "import sys; from dataclasses import replace; from mnasnet.network.download import PUBLISHED;"
        f"PUBLISHED['mnasnet_small'] = replace(PUBLISHED['mnasnet_small'], sha256_prefix={prefix!r});"
        "from mnasnet.zoo import open_model; print(open_model('mnasnet_small').fingerprint, 'torch' in sys.modules)"
    )

    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert child.stdout.split() == [first.fingerprint, "False"]


def test_a_damaged_conversion_is_made_again(published):
    first = open_model("mnasnet_small")
    converted = (published / PUBLISHED["mnasnet_small"].file_name).with_suffix(".safetensors")
    converted.write_bytes(converted.read_bytes()[:200_000])

    assert open_model("mnasnet_small").fingerprint == first.fingerprint
    assert modelfile.load(converted).fingerprint == first.fingerprint


def test_a_conversion_of_another_recipe_or_of_other_weights_is_made_again(published, monkeypatch):
    first, entry = open_model("mnasnet_small"), download.PUBLISHED["mnasnet_small"]
    path = published / entry.file_name

    monkeypatch.setitem(download.PUBLISHED, "mnasnet_small", replace(entry, preprocess=Preprocess(160, 160)))
    assert open_model("mnasnet_small").preprocess == Preprocess(160, 160)

    torch.save({key: value + 1 for key, value in torch.load(path).items()}, path)
    changed = replace(entry, preprocess=Preprocess(160, 160), sha256_prefix=sha256_of(path)[:8])
    monkeypatch.setitem(download.PUBLISHED, "mnasnet_small", changed)
    assert open_model("mnasnet_small").fingerprint != first.fingerprint


def test_published_weights_whose_conversion_cannot_be_kept_open_all_the_same(published, caplog):
    (published / PUBLISHED["mnasnet_small"].file_name).with_suffix(".safetensors").mkdir()

    assert open_model("mnasnet_small").name == "mnasnet_small"
    assert "cannot keep mnasnet_small as a model file" in caplog.text


def test_of_published_weights_that_are_here_the_file_tells(published):
    assert known_without_weights("mnasnet_small") is None
    assert known_without_weights("mnasnet_140")["class_names"] == []


def test_what_lies_beside_a_model_decides_what_it_means(tmp_path):
    assert files_of("") == ()
    beside = {tmp_path / name for name in ("net.xml", "net.bin", "classes.txt", "class_names.txt")}
    assert set(files_of(tmp_path / "net.xml")) == beside


def test_of_two_lists_of_classes_beside_weights_that_of_ikomias_own_task_counts(ikomia_folder):
    (ikomia_folder / "class_names.txt").write_text("a\nb\nc\n")

    assert open_model(ikomia_folder / "mnasnet.pth").class_names == ("cat", "dog", "ship")


def test_a_published_file_under_another_name_keeps_its_recipe(published, tmp_path):
    file = tmp_path / "downloaded (1).pth"
    file.write_bytes((published / PUBLISHED["mnasnet0_75"].file_name).read_bytes())

    model = open_model(file)

    assert (model.name, model.preprocess.resize) == ("mnasnet0_75", 232)


def test_an_imagenet_file_of_somebody_gets_imagenet_names(tmp_path):
    torch.save(torchvision.models.mnasnet0_5().state_dict(), tmp_path / "w.pth")

    assert open_model(tmp_path / "w.pth").class_names == imagenet_class_names()


def test_the_names_of_imagenet_are_those_of_torchvision():
    assert list(imagenet_class_names()) == torchvision.models.MNASNet1_0_Weights.IMAGENET1K_V1.meta["categories"]


def test_to_tell_of_a_published_network_needs_no_torch(tmp_path, monkeypatch):
    monkeypatch.setenv("MNASNET_CACHE", str(tmp_path))
    code = (
        "import sys; from mnasnet.cli import main; main(['info', 'mnasnet1_0']);"
        "assert not {'torch', 'torchvision'} & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_network_published_weights_point_to_the_bundled_model(tmp_path, monkeypatch):
    monkeypatch.setenv("MNASNET_CACHE", str(tmp_path))

    with pytest.raises(DownloadError, match="semnasnet_100: Connection refused; .* bundled model photos10"):
        open_published("semnasnet_100", base_url="http://127.0.0.1:9", progress=lambda done, total: None)


def test_a_network_nobody_trained_lists_those_with_weights():
    with pytest.raises(WeightsError, match="mnasnet_140 has no published weights; published are mnasnet0_5, "):
        open_model("mnasnet_140")


def test_a_name_of_nothing_suggests_near_ones():
    with pytest.raises(
        WeightsError, match=r"no model and no file is called 'zzz'; there are auto, photos10, mnasnet0_5"
    ):
        open_model("zzz")
    with pytest.raises(WeightsError, match=r"no model and no file is called 'mnasnet1\.0'; did you mean mnasnet1_0, "):
        open_model("mnasnet1.0")
    with pytest.raises(WeightsError, match=r"there is no file none\.pth"):
        open_model("none.pth")


def test_another_network_than_the_expected_one_is_named(ikomia_folder, model_path):
    with pytest.raises(WeightsError, match=r"mnasnet\.pth is mnasnet1_0, you asked mnasnet0_5; ask for mnasnet1_0"):
        open_model(ikomia_folder / "mnasnet.pth", expected="mnasnet0_5")
    with pytest.raises(WeightsError, match=r"pets\.safetensors is tiny, you asked mnasnet0_5"):
        open_model(model_path, expected="mnasnet0_5")
    with pytest.raises(SpecError, match="no network is called 'mnasnet9'"):
        open_model(model_path, expected="mnasnet9")


def test_a_searched_network_without_header_opens_with_its_architecture(tmp_path):
    from safetensors.numpy import save_file

    model = random_model(TINY)
    save_file(dict(model.weights), tmp_path / "searched.safetensors")
    (tmp_path / "class_names.txt").write_text("a\nb\nc\n")

    opened = open_model(tmp_path / "searched.safetensors", expected=TINY)

    assert opened.architecture == TINY and opened.class_names == ("a", "b", "c")
    assert np.array_equal(opened.weights["classifier.weight"], model.weights["classifier.weight"])


def test_info_shows_the_network_of_weights_whose_classes_have_no_names(ikomia_folder, capsys):
    (ikomia_folder / "classes.txt").unlink()
    path = next(ikomia_folder.glob("*.pth"))

    assert main(["info", str(path)]) == 0

    told = capsys.readouterr().out
    assert "parameters" in told and "classes      3: class 0, class 1, class 2" in told


def test_info_tells_that_the_names_beside_weights_belong_to_others(ikomia_folder, capsys, caplog):
    (ikomia_folder / "classes.txt").write_text("only\ntwo\n", encoding="utf-8")

    with caplog.at_level("INFO", "mnasnet"):
        assert main(["info", str(next(ikomia_folder.glob("*.pth")))]) == 0

    assert "classes      3: class 0, class 1, class 2" in capsys.readouterr().out
    assert re.search(r"3 classes, class file .*classes\.txt has 2; .*until then its classes are numbered", caplog.text)


def test_info_takes_a_class_file_for_weights_whose_classes_have_no_names(ikomia_folder, capsys):
    (ikomia_folder / "classes.txt").rename(ikomia_folder / "names.txt")
    path = next(ikomia_folder.glob("*.pth"))

    assert main(["info", str(path), "--class-file", str(ikomia_folder / "names.txt")]) == 0

    assert "classes      3: cat, dog, ship" in capsys.readouterr().out


def test_weights_without_names_say_where_to_put_them(ikomia_folder):
    (ikomia_folder / "classes.txt").unlink()

    with pytest.raises(WeightsError, match=r"has 3 classes but no names; put classes\.txt beside it or set class_file"):
        open_model(ikomia_folder / "mnasnet.pth")


def test_a_class_file_of_another_length_is_refused(ikomia_folder, model_path, tmp_path):
    names = class_file(tmp_path, "a\nb\nc\nd\n")

    with pytest.raises(WeightsError, match=r"mnasnet\.pth has 3 classes, class file .*x\.txt has 4"):
        open_model(ikomia_folder / "mnasnet.pth", class_file=names)
    with pytest.raises(WeightsError) as caught:
        open_model(model_path, class_file=names)
    assert "weights have 3 classes, class file 4 (" in str(caught.value)
    assert "Names in weights: cat, dog, ship. To use them leave the class file out" in str(caught.value)


def test_a_class_file_may_translate_which_is_told(model_path, tmp_path, caplog):
    caplog.set_level("INFO")
    names = class_file(tmp_path, "chat\nchien\nship\n")

    assert open_model(model_path, class_file=names).class_names == ("chat", "chien", "ship")

    assert f"class names come from {names}, not from {model_path} (cat, dog, ship)" in caplog.messages


@pytest.mark.parametrize("lines", ["dog\ncat\nship\n", "dog\nship\nzebra\n", "a cat\ncat\nship\n"])
def test_a_class_file_may_not_call_a_class_by_the_name_of_another(lines, model_path, tmp_path):
    with pytest.raises(WeightsError, match=r"has '(dog|cat)' for class '(cat|dog)', which would mislabel"):
        open_model(model_path, class_file=class_file(tmp_path, lines))


def test_a_class_file_is_given_as_text_too(model_path, tmp_path):
    names = class_file(tmp_path, "chat\nchien\nnavire\n")

    assert open_model(model_path, class_file=str(names)).class_names == ("chat", "chien", "navire")
    assert open_model(model_path, class_file="").class_names == ("cat", "dog", "ship")


@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbfcat\r\n\r\n  caf\xc3\xa9 & co \r\n", "cat\n\n\ncafé & co".encode(), b"cat\rcaf\xc3\xa9 & co\r"],
    ids=["mark and Windows", "blank lines", "old Mac"],
)
def test_class_files_of_all_editors_are_read(tmp_path, content):
    (tmp_path / "classes.txt").write_bytes(content)

    assert read_class_file(tmp_path / "classes.txt") == ("cat", "café & co")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cat\n\ndog\ncat\n", "has 'cat' on lines 1 and 4; each class needs a name of its own"),
        (b"crane\ncrane\n", "has 'crane' on lines 1 and 2; each class"),  # ImageNet's own list alone may
        (b"\n  \n", "has no names; write one class name a line"),
        ("café".encode("latin-1"), r"must be UTF-8 text \(.* at byte 3\)"),
    ],
)
def test_a_class_file_that_cannot_be_used_says_why(tmp_path, content, message):
    (tmp_path / "classes.txt").write_bytes(content)

    with pytest.raises(WeightsError, match=message):
        read_class_file(tmp_path / "classes.txt")


def test_a_missing_class_file_is_named(model_path):
    with pytest.raises(WeightsError, match=r"cannot read class file .*none\.txt: No such file or.*; check its path"):
        open_model(model_path, class_file=model_path.with_name("none.txt"))


def test_imagenet_s_own_list_may_hold_its_two_double_names(tmp_path):
    names = list(imagenet_class_names())
    names[134], names[639] = "crane", "maillot"  # as in all lists but torchvision's newer one
    path = class_file(tmp_path, "\n".join(names))
    torch.save(torchvision.models.mnasnet0_5().state_dict(), tmp_path / "w.pth")
    model = random_model(class_names=imagenet_class_names())
    modelfile.save(model, tmp_path / "m.safetensors")

    assert read_class_file(path) == tuple(names)
    for weights in ("w.pth", "m.safetensors"):
        assert open_model(tmp_path / weights, class_file=path).class_names == tuple(names)


@pytest.mark.parametrize("name", ["x" * 5000, "x" * 300 + ".pth", "/" + "y" * 300 + "/net.onnx", "a\0b", "a\0b.pth"])
def test_what_cannot_be_a_path_is_a_file_that_is_not_there(name):
    """A whole prompt, or a blob, in place of a path."""
    with pytest.raises(WeightsError, match="no model and no file is called|cannot read .*(name too long|null byte)"):
        Classifier.load(name)
    with pytest.raises(WeightsError, match="cannot read class file"):
        Classifier.load(class_file=name)


def test_the_model_that_needs_no_download_is_the_bundled_one():
    model = open_model("auto")

    assert model.name == "photos10" and len(model.class_names) == 10
    assert model.fingerprint == open_model("photos10").fingerprint


@pytest.mark.parametrize(("photo", "name"), [("chelsea.png", "cat"), ("horse.png", "horse")])
@pytest.mark.parametrize("side", [200, 448, 1600])
def test_the_bundled_model_names_pictures_of_any_size(photo, name, side, tmp_path):
    """The photo of a cat, and the silhouette of a horse, that come with scikit-image."""
    with Image.open(Path(skimage.__file__).parent / "data" / photo) as image:
        share = side / min(image.size)
        image.convert("RGB").resize((round(image.width * share), round(image.height * share))).save(tmp_path / photo)

    (prediction,) = Classifier.load().predict(tmp_path / photo)

    assert prediction.label == name
    assert prediction.confidence > 0.6


def test_an_installation_without_its_bundled_model_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(zoo.BUNDLED, "photos10", tmp_path / "photos10.safetensors")

    with pytest.raises(WeightsError, match="this installation lacks its bundled model"):
        open_model()
