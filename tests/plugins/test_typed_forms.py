"""All three forms as a user fills them: fields typed or clicked, Ikomia's Apply pressed, read back from the task."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, field
from typing import Any

import pytest

pytest.importorskip("ikomia")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
QtWidgets = pytest.importorskip("PyQt6.QtWidgets", exc_type=ImportError)

from ikomia.dataprocess.registry import ik_registry  # noqa: E402
from PyQt6.QtCore import QPoint, Qt  # noqa: E402
from PyQt6.QtTest import QTest  # noqa: E402

from mnasnet.plugin.form import PathBox  # noqa: E402
from mnasnet.settings import InferSettings, SearchSettings, Settings, TrainSettings  # noqa: E402
from mnasnet.testing import coloured_image  # noqa: E402

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


@dataclass
class Panel:
    """A task's form in Ikomia's own window; ``applied`` collects the settings that it handed over."""

    task: Any
    widget: Any
    apply: QtWidgets.QPushButton
    applied: list[Settings] = field(default_factory=list)

    def press_apply(self):
        QTest.mouseClick(self.apply, Qt.MouseButton.LeftButton)


@pytest.fixture
def open_panel(application):
    """Makes a task and its panel as STUDIO does; the window is never shown, since Ikomia would take us for STUDIO."""

    def make(name):
        known = set(QtWidgets.QApplication.topLevelWidgets())
        task = ik_registry.create_algorithm(name, public_hub=False)
        plugin = importlib.import_module(f"{name}.{name}").IkomiaPlugin()
        widget = plugin.get_widget_factory().create(task.get_param_object())
        (apply,) = [
            button
            for window in set(QtWidgets.QApplication.topLevelWidgets()) - known
            for button in window.findChildren(QtWidgets.QPushButton)
            if button.text() == "Apply"
        ]
        panel = Panel(task, widget, apply)
        emit = widget.emit_apply

        def emit_and_note(param):
            panel.applied.append(param.settings)
            emit(param)

        widget.emit_apply = emit_and_note
        return panel

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


def fill(box, value):
    """Give a field its value: a check box by a click, everything else by keys."""
    if isinstance(box, QtWidgets.QCheckBox):
        if box.isChecked() is not value:
            QTest.mouseClick(box, Qt.MouseButton.LeftButton, pos=QPoint(8, box.height() // 2))
    elif isinstance(box, QtWidgets.QComboBox) and not box.isEditable():
        QTest.keyClicks(box, str(value))
    else:
        line = box.edit if isinstance(box, PathBox) else box
        line = line.lineEdit() if hasattr(line, "lineEdit") else line
        line.selectAll()
        QTest.keyClicks(line, f"{value}")
        QTest.keyClick(line, Qt.Key.Key_Tab)  # as when the user goes on to the next field


@every_form
def test_every_field_filled_by_hand_reaches_the_task(open_panel, name):
    panel = open_panel(name)
    expected = {parameter.name: wanted(parameter) for parameter in FORMS[name].parameters()}

    for parameter, value in expected.items():
        fill(panel.widget.form.fields[parameter], value)
    panel.press_apply()

    assert panel.widget.form.message.text() == ""
    assert panel.applied == [FORMS[name].parse(expected)]
    assert panel.task.get_param_object().settings == FORMS[name].parse(expected)
    as_text = panel.task.get_parameters()  # what Ikomia saves in a workflow file and shows in a script
    assert FORMS[name].parse({parameter: as_text[parameter] for parameter in expected}) == FORMS[name].parse(expected)


@every_form
def test_applying_an_untouched_form_changes_nothing(open_panel, name):
    panel = open_panel(name)
    before = panel.task.get_parameters()

    panel.press_apply()

    assert panel.applied == [FORMS[name]()]
    assert panel.task.get_parameters() == before


@every_form
def test_an_open_form_shows_what_a_script_sets_and_apply_keeps_it(open_panel, name):
    panel = open_panel(name)
    expected = {parameter.name: wanted(parameter) for parameter in FORMS[name].parameters()}
    fill(panel.widget.form.fields["input_size"], 5)
    panel.press_apply()

    panel.task.set_parameters(expected)
    panel.widget.on_parameters_changed()  # STUDIO connects the two
    panel.press_apply()

    assert panel.widget.form.message.text() == ""
    assert panel.task.get_param_object().settings == FORMS[name].parse(expected)


@every_form
def test_a_wrong_value_reaches_the_task_only_when_it_is_right(open_panel, name):
    panel = open_panel(name)

    fill(panel.widget.form.fields["input_size"], 5)
    panel.press_apply()
    assert panel.applied == [] and "input_size" in panel.widget.form.message.text()
    assert panel.task.get_parameters()["input_size"] == "0"

    fill(panel.widget.form.fields["input_size"], 64)
    panel.press_apply()
    assert panel.task.get_parameters()["input_size"] == "64"


def test_a_task_runs_with_what_was_applied(open_panel, tmp_path):
    panel = open_panel("infer_torchvision_mnasnet")
    coloured_image((200, 40, 40)).save(tmp_path / "photo.png")
    panel.task.get_input(0).load(str(tmp_path / "photo.png"))

    for top_k in (2, 3):
        fill(panel.widget.form.fields["top_k"], top_k)
        panel.press_apply()
        panel.task.run()

        assert len(panel.task.get_results()) == top_k


@every_form
def test_every_field_says_what_it_means(open_panel, name):
    panel = open_panel(name)

    for parameter in FORMS[name].parameters():
        assert panel.widget.form.fields[parameter.name].toolTip(), parameter.name
