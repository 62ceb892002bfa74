"""The forms under the mouse, shown in windows; test_clicked_forms.py runs this once a Qt binding, without Ikomia."""

from __future__ import annotations

import os
import sys

import pytest

if os.environ["MNASNET_TEST_QT"] == "PyQt5":
    sys.modules["PyQt6"] = None  # as in a STUDIO that has no PyQt6

from mnasnet.plugin.form import PathBox, SettingsForm
from mnasnet.plugin.qt import QtWidgets
from mnasnet.settings import InferSettings, SearchSettings, TrainSettings

if os.environ["MNASNET_TEST_QT"] == "PyQt5":
    from PyQt5.QtCore import QPoint, Qt, QTimer
    from PyQt5.QtTest import QTest
else:
    from PyQt6.QtCore import QPoint, Qt, QTimer
    from PyQt6.QtTest import QTest

LEFT = Qt.MouseButton.LeftButton
every_task = pytest.mark.parametrize("settings", [InferSettings, TrainSettings, SearchSettings])


@pytest.fixture(scope="module")
def application():
    application = QtWidgets.QApplication([])
    application.setStyle("Fusion")
    application.setAttribute(Qt.ApplicationAttribute.AA_DontUseNativeDialogs)
    return application


@pytest.fixture
def open_form(application):
    """Shows the form of a settings model, its advanced part unfolded with the mouse."""
    windows = []

    def make(settings):
        form, window = SettingsForm(settings()), QtWidgets.QWidget()
        window.setLayout(form.layout)
        window.resize(600, 3000)
        window.show()
        windows.append(window)
        for box in window.findChildren(QtWidgets.QCheckBox):
            if box.text() == "Advanced":
                click_check(box)
        QtWidgets.QApplication.processEvents()
        return form

    yield make
    for window in windows:
        window.close()


def click_check(box):
    QTest.mouseClick(box, LEFT, pos=QPoint(8, box.height() // 2))


def click_item(combo, row):
    """Open the list and click one of its rows."""
    style, option = combo.style(), QtWidgets.QStyleOptionComboBox()
    option.initFrom(combo)
    control, arrow = QtWidgets.QStyle.ComplexControl.CC_ComboBox, QtWidgets.QStyle.SubControl.SC_ComboBoxArrow
    QTest.mouseClick(combo, LEFT, pos=style.subControlRect(control, option, arrow, combo).center())
    view = combo.view()
    assert view.isVisible()
    for _ in range(10):  # a list ignores clicks for a moment after it opened
        QTest.qWait(QtWidgets.QApplication.doubleClickInterval() + 10)
        view.scrollTo(combo.model().index(row, 0))
        QTest.mouseClick(view.viewport(), LEFT, pos=view.visualRect(combo.model().index(row, 0)).center())
        if not view.isVisible():
            return
    raise AssertionError("the list did not take the click")


def click_arrow(spin, arrow):
    option = QtWidgets.QStyleOptionSpinBox()
    option.initFrom(spin)
    option.subControls = QtWidgets.QStyle.SubControl.SC_All
    control = QtWidgets.QStyle.ComplexControl.CC_SpinBox
    QTest.mouseClick(spin, LEFT, pos=spin.style().subControlRect(control, option, arrow, spin).center())


def pick(box, name):
    """Click the button and choose ``name`` in the folder that the dialog opens at; None cancels."""
    chosen = []
    timer = QTimer(singleShot=True, interval=50)

    def answer():
        dialog = QtWidgets.QApplication.activeModalWidget()
        if dialog is None and not chosen:
            timer.start()  # it is not open yet
        if dialog is None:
            return
        if name is None or len(chosen) == 100:  # a dialog that stays must not hang the test
            QTest.keyClick(dialog, Qt.Key.Key_Escape)
            return
        line = dialog.findChild(QtWidgets.QLineEdit)
        line.setCompleter(None)  # its list would come over the buttons
        line.selectAll()
        QTest.keyClicks(line, name)
        chosen.append(line.text())
        timer.start()  # once more where the dialog reads folders yet and takes no click
        buttons = dialog.findChild(QtWidgets.QDialogButtonBox)
        QTest.mouseClick(buttons.button(QtWidgets.QDialogButtonBox.StandardButton.Open), LEFT)

    timer.timeout.connect(answer)
    timer.start()
    QTest.mouseClick(box.button, LEFT)
    timer.stop()


def change_by_mouse(field, folder):
    """Another value, clicked; returns it, or None where a field can only be typed into."""
    if isinstance(field, QtWidgets.QCheckBox):
        expected = not field.isChecked()
        click_check(field)
        return expected
    if isinstance(field, QtWidgets.QComboBox):
        row = (field.currentIndex() + 1) % field.count()
        click_item(field, row)
        return field.itemText(row)
    if isinstance(field, PathBox):
        name = "picked" if field._folder else "weights.bin"
        field.edit.selectAll()
        QTest.keyClicks(field.edit, str(folder))  # the dialog begins where the path leads
        pick(field, name)
        return str(folder / name)
    if isinstance(field, QtWidgets.QAbstractSpinBox):
        step, up = field.singleStep(), field.value() + field.singleStep() <= field.maximum()
        expected = field.value() + (step if up else -step)
        sub = QtWidgets.QStyle.SubControl
        click_arrow(field, sub.SC_SpinBoxUp if up else sub.SC_SpinBoxDown)
        return expected
    return None


@every_task
def test_every_field_that_can_be_clicked_is_read_back(open_form, settings, tmp_path):
    (tmp_path / "picked").mkdir()
    (tmp_path / "weights.bin").touch()
    form = open_form(settings)

    clicked = {name: change_by_mouse(field, tmp_path) for name, field in form.fields.items()}

    expected = {name: value for name, value in clicked.items() if value is not None}
    assert {name: form.values()[name] for name in expected} == pytest.approx(expected)
    assert form.settings() == settings().changed(form.values())  # what Apply hands to the task
    assert len(expected) > len(form.fields) / 2


def test_cancelling_the_dialog_keeps_the_path(open_form):
    form = open_form(InferSettings)
    box = form.fields["model_weight_file"]
    QTest.keyClicks(box.edit, "/models/mine.safetensors")

    pick(box, None)

    assert form.settings().model_weight_file == "/models/mine.safetensors"


@every_task
def test_typed_text_is_read_back(open_form, settings):
    form = open_form(settings)
    lines = {name: field for name, field in form.fields.items() if type(field) is QtWidgets.QLineEdit}

    for line in lines.values():
        line.selectAll()
        QTest.keyClicks(line, "0.5")

    assert {name: form.values()[name] for name in lines} == dict.fromkeys(lines, "0.5")
