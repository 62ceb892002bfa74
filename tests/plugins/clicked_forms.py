"""The forms under the mouse, shown in windows; test_clicked_forms.py runs this, without Ikomia."""

from __future__ import annotations

import pytest
from PyQt6 import QtWidgets
from PyQt6.QtCore import QLocale, QPoint, QPointF, Qt, QTimer
from PyQt6.QtGui import QWheelEvent
from PyQt6.QtTest import QTest

from mnasnet.errors import SettingsError
from mnasnet.plugin.form import PathBox, SettingsForm
from mnasnet.settings import InferSettings, SearchSettings, TrainSettings

LEFT = Qt.MouseButton.LeftButton
every_task = pytest.mark.parametrize("settings", [InferSettings, TrainSettings, SearchSettings])


@pytest.fixture(scope="module")
def application():
    application = QtWidgets.QApplication([])
    application.setStyle("Fusion")
    application.setDoubleClickInterval(30)  # as long a list that was opened ignores clicks
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


def turn_wheel(widget):
    """One notch towards the user, over the middle of the widget; what does not take it leaves it to its parent."""
    while widget is not None:
        place = QPointF(widget.rect().center())
        notch, button, key = QPoint(0, -120), Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
        event = QWheelEvent(place, place, QPoint(), notch, button, key, Qt.ScrollPhase.NoScrollPhase, False)
        QtWidgets.QApplication.sendEvent(widget, event)
        widget = None if event.isAccepted() else widget.parentWidget()


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
        before, sub = field.text(), QtWidgets.QStyle.SubControl
        click_arrow(field, sub.SC_SpinBoxUp)
        if field.text() == before:  # it is at its maximum
            click_arrow(field, sub.SC_SpinBoxDown)
        assert field.text() != before
        return float(field.text())
    return None


@every_task
def test_every_field_that_can_be_clicked_is_read_back(open_form, settings, tmp_path):
    (tmp_path / "picked").mkdir()
    (tmp_path / "weights.bin").touch()
    form = open_form(settings)

    clicked = {name: change_by_mouse(field, tmp_path) for name, field in form.fields.items()}

    expected = {name: value for name, value in clicked.items() if value is not None}
    applied = form.settings()  # what Apply hands to the task
    assert {name: getattr(applied, name) for name in expected} == expected
    assert len(expected) > len(form.fields) / 2


def test_cancelling_the_dialog_keeps_the_path(open_form):
    form = open_form(InferSettings)
    box = form.fields["model_weight_file"]
    QTest.keyClicks(box.edit, "/models/mine.safetensors")

    pick(box, None)

    assert form.settings().model_weight_file == "/models/mine.safetensors"


def type_into(field, text):
    field.selectAll()
    QTest.keyClicks(field, text)


@pytest.fixture(params=["en_US", "fr_FR", "de_DE", "ar_EG"])
def locale(request):
    before = QLocale()
    QLocale.setDefault(QLocale(request.param))
    yield
    QLocale.setDefault(before)


@pytest.mark.parametrize(
    ("name", "typed", "expected"),
    [
        ("learning_rate", "0.001", 0.001),
        ("learning_rate", "0,001", 0.001),
        ("learning_rate", "1e-3", 0.001),
        ("learning_rate", "1,5E-3", 0.0015),
        ("learning_rate", ".5", 0.5),
        ("max_minutes", "2.5", 2.5),
        ("max_minutes", "2,5", 2.5),
        ("max_minutes", "1000", 1000),
        ("momentum", "0.9", 0.9),
        ("momentum", "0,9", 0.9),
        ("epochs", "100", 100),
    ],
)
def test_a_number_means_the_same_in_every_locale(open_form, locale, name, typed, expected):
    form = open_form(TrainSettings)

    type_into(form.fields[name], typed)
    QTest.keyClick(form.fields[name], Qt.Key.Key_Tab)

    assert getattr(form.settings(), name) == expected
    assert form.message.text() == ""


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("learning_rate", "0.0.1"),
        ("learning_rate", "11"),
        ("learning_rate", "1e"),
        ("learning_rate", "-1"),
        ("max_minutes", "1,000"),  # a thousand to some, one to others
        ("max_minutes", "1,000.5"),
        ("max_minutes", "5 min"),
        ("momentum", "0,9,1"),
        ("epochs", "2.5"),
        ("epochs", "1,000"),
        ("epochs", "1e1"),
        ("epochs", "10001"),
        ("epochs", ""),
    ],
)
def test_a_text_that_is_no_fitting_number_is_refused_with_the_reason(open_form, locale, name, typed):
    form = open_form(TrainSettings)

    type_into(form.fields[name], typed)
    if not typed:
        QTest.keyClick(form.fields[name], Qt.Key.Key_Delete)
    QTest.keyClick(form.fields[name], Qt.Key.Key_Tab)

    with pytest.raises(SettingsError, match=name):
        form.settings()
    assert f"got {typed!r}" in form.message.text()
    assert form.fields[name].text() == typed  # to be corrected


def test_numbers_are_shown_with_a_point_and_all_their_digits(open_form, locale):
    form = open_form(lambda: TrainSettings(learning_rate=1.2345678912e-5, val_fraction=0.05, max_minutes=90))

    shown = {name: form.fields[name].text() for name in ("learning_rate", "val_fraction", "max_minutes")}

    assert shown == {"learning_rate": "1.2345678912e-05", "val_fraction": "0.05", "max_minutes": "90"}
    assert form.settings().learning_rate == 1.2345678912e-5


@pytest.mark.parametrize(
    ("settings", "name", "before", "up", "down"),
    [
        (TrainSettings, "learning_rate", "recipe's", "0.001", "recipe's"),
        (TrainSettings, "learning_rate", "0.01", "0.02", "0.009"),
        (TrainSettings, "learning_rate", "0,05", "0.06", "0.04"),
        (TrainSettings, "learning_rate", "10", "10", "9"),
        (TrainSettings, "max_minutes", "0.0", "1", "no limit"),
        (TrainSettings, "max_minutes", "250", "260", "240"),
        (TrainSettings, "batch_size", "auto", "8", "auto"),
        (TrainSettings, "val_fraction", "0.2", "0.25", "0.15"),
        (TrainSettings, "epochs", "15", "16", "14"),
        (SearchSettings, "target_latency_ms", "10", "11", "9"),
        (SearchSettings, "max_multiply_adds", "300000000", "310000000", "290000000"),
        (SearchSettings, "beta", "-1", "-0.95", "-1.05"),
        (TrainSettings, "learning_rate", "fast", "fast", "fast"),
    ],
)
def test_a_click_on_an_arrow_takes_a_step_that_suits_the_number(open_form, settings, name, before, up, down):
    field = open_form(settings).fields[name]
    sub = QtWidgets.QStyle.SubControl

    for arrow, expected in ((sub.SC_SpinBoxUp, up), (sub.SC_SpinBoxDown, down)):
        field.lineEdit().setText(before)
        click_arrow(field, arrow)

        assert field.text() == expected


def fields_that_turn(form):
    """The numbers and the lists of a form."""
    kinds = (QtWidgets.QAbstractSpinBox, QtWidgets.QComboBox)
    return [field for field in form.fields.values() if isinstance(field, kinds)]


@every_task
def test_the_wheel_over_a_field_scrolls_the_panel_and_changes_nothing(application, settings):
    form, panel, content = SettingsForm(settings()), QtWidgets.QScrollArea(), QtWidgets.QWidget()
    content.setLayout(form.layout)
    panel.setWidget(content)
    panel.resize(600, 100)
    panel.show()
    panel.setFocus()  # nobody is at a field

    for field in fields_that_turn(form):
        panel.verticalScrollBar().setValue(0)
        turn_wheel(field)

        assert panel.verticalScrollBar().value() > 0
        assert field.focusPolicy() == Qt.FocusPolicy.StrongFocus  # so that a real wheel gives none
    assert form.settings() == settings()


def test_the_wheel_changes_a_field_that_was_clicked(open_form):
    field = open_form(TrainSettings).fields["epochs"]

    QTest.mouseClick(field.lineEdit(), LEFT)
    turn_wheel(field)

    assert field.text() == "14"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (InferSettings, {"input_size": "auto"}),
        (
            TrainSettings,
            {
                "batch_size": "auto",
                "input_size": "auto",
                "patience": "off",
                "max_minutes": "no limit",
                "learning_rate": "recipe's",
                "threads": "all cores",
            },
        ),
        (SearchSettings, {"trials": "auto", "max_latency_ms": "no limit", "final_epochs": "auto"}),
    ],
)
def test_a_zero_that_means_something_is_shown_as_its_word(open_form, settings, words):
    form = open_form(settings)

    assert {name: form.fields[name].text() for name in words} == words
    assert form.settings() == settings()


def test_a_number_typed_into_a_word_replaces_it(open_form):
    form = open_form(TrainSettings)
    field = form.fields["max_minutes"]

    for _ in range(3):  # each click would set the cursor into the word
        QTest.mouseClick(field.lineEdit(), LEFT, pos=QPoint(30, field.lineEdit().height() // 2))
    QTest.keyClick(field, Qt.Key.Key_Left)
    QTest.keyClicks(field, "2.5")

    assert form.settings().max_minutes == 2.5


def test_a_number_that_is_deleted_is_its_word_again(open_form):
    form = open_form(TrainSettings)
    type_into(form.fields["max_minutes"], "2")

    QTest.keyClick(form.fields["max_minutes"], Qt.Key.Key_Backspace)

    assert form.settings().max_minutes == 0


@every_task
def test_typed_text_is_read_back(open_form, settings):
    form = open_form(settings)
    lines = {name: field for name, field in form.fields.items() if type(field) is QtWidgets.QLineEdit}

    for line in lines.values():
        line.selectAll()
        QTest.keyClicks(line, "0.5")

    assert {name: form.values()[name] for name in lines} == dict.fromkeys(lines, "0.5")
