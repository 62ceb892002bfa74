"""All three forms as a user fills them: every field typed, applied, read back from the task."""

from __future__ import annotations

import importlib
import os

import pytest

pytest.importorskip("ikomia")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
QtWidgets = pytest.importorskip("PyQt6.QtWidgets", exc_type=ImportError)

from ikomia.dataprocess.registry import ik_registry  # noqa: E402
from PyQt6.QtCore import Qt  # noqa: E402
from PyQt6.QtTest import QTest  # noqa: E402

from mnasnet.plugin.form import PathBox  # noqa: E402
from mnasnet.settings import InferSettings, SearchSettings, TrainSettings  # noqa: E402

pytestmark = pytest.mark.ikomia

FORMS = {
    "infer_torchvision_mnasnet": InferSettings,
    "train_torchvision_mnasnet": TrainSettings,
    "search_mnasnet": SearchSettings,
}
PICKED = {"model_name": "mnasnet0_5", "space": "tiny", "objectives": "latency"}  # names that must be known
every_form = pytest.mark.parametrize("name", FORMS)


@pytest.fixture(scope="module")
def application():
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication([])


@pytest.fixture
def make_widget(application):
    """Makes the form of a task as STUDIO does; what it applies is collected in ``applied``."""

    def make(name):
        task = ik_registry.create_algorithm(name, public_hub=False)
        plugin = importlib.import_module(f"{name}.{name}").IkomiaPlugin()
        widget = plugin.get_widget_factory().create(task.get_param_object())
        widget.applied = []
        widget.emit_apply = lambda param: widget.applied.append(param.settings)
        return widget, task

    return make


def wanted(parameter):
    """A valid value that is not the default."""
    if parameter.name in PICKED:
        return PICKED[parameter.name]
    if parameter.choices:
        return next(choice for choice in parameter.choices if choice != parameter.default)
    if parameter.kind is bool:
        return not parameter.default
    if parameter.name.endswith("_size"):
        return 96
    if parameter.kind is int:
        return 7 if parameter.default != 7 else 8
    if parameter.kind is float:
        return -0.5 if parameter.maximum == 0 else 0.125
    return '/photos/of 7 "kinds"'


def fill(field, value):
    """Give a field its value by keys alone, since Ikomia takes a program with a visible window for STUDIO."""
    if isinstance(field, QtWidgets.QCheckBox):
        if field.isChecked() is not value:
            QTest.keyClick(field, Qt.Key.Key_Space)
    elif isinstance(field, QtWidgets.QComboBox) and not field.isEditable():
        QTest.keyClicks(field, str(value))
    else:
        line = field.edit if isinstance(field, PathBox) else field
        line = line.lineEdit() if hasattr(line, "lineEdit") else line
        line.selectAll()
        QTest.keyClicks(line, f"{value}")
        QTest.keyClick(line, Qt.Key.Key_Tab)  # as when the user goes on to the next field


@every_form
def test_every_field_filled_by_hand_reaches_the_task(make_widget, name):
    widget, task = make_widget(name)
    expected = {parameter.name: wanted(parameter) for parameter in FORMS[name].parameters()}

    for field, value in expected.items():
        fill(widget.form.fields[field], value)
    widget.on_apply()

    assert widget.form.message.text() == ""
    assert widget.applied == [FORMS[name].parse(expected)]
    assert task.get_param_object().settings == FORMS[name].parse(expected)


@every_form
def test_applying_an_untouched_form_changes_nothing(make_widget, name):
    widget, task = make_widget(name)

    widget.on_apply()

    assert task.get_param_object().settings == FORMS[name]()


@every_form
def test_every_field_says_what_it_means(make_widget, name):
    widget, _ = make_widget(name)

    for parameter in FORMS[name].parameters():
        assert widget.form.fields[parameter.name].toolTip(), parameter.name
