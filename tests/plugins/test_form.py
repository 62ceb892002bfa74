"""STUDIO's form, headless; needs the PyQt6 that fits Ikomia's own Qt: PyQt6==6.2.3 with PyQt6-Qt6==6.2.4."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("ikomia")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
QtWidgets = pytest.importorskip("PyQt6.QtWidgets", exc_type=ImportError)

from ikomia.dataprocess.registry import ik_registry  # noqa: E402
from PyQt6 import QtGui  # noqa: E402

from mnasnet.plugin.form import SettingsForm  # noqa: E402
from mnasnet.settings import InferSettings, TrainSettings  # noqa: E402

pytestmark = pytest.mark.ikomia


@pytest.fixture(scope="module")
def application():
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication([])


@pytest.fixture
def task():
    return ik_registry.create_algorithm("infer_torchvision_mnasnet", public_hub=False)


@pytest.fixture
def widget(application, task):
    """The form as STUDIO makes it; what it applies is collected in ``applied``."""
    from infer_torchvision_mnasnet.infer_torchvision_mnasnet import IkomiaPlugin

    widget = IkomiaPlugin().get_widget_factory().create(task.get_param_object())
    widget.applied = []
    widget.emit_apply = lambda param: widget.applied.append(param.settings)
    return widget


def test_every_parameter_has_a_field_with_its_value(widget):
    assert list(widget.form.fields) == [parameter.name for parameter in InferSettings.parameters()]
    assert widget.form.settings() == InferSettings()


def test_apply_hands_the_fields_values_to_the_task(widget, task):
    widget.form.fields["top_k"].show_number(3)
    widget.form.fields["confidence_threshold"].show_number(0.25)
    widget.form.fields["model_weight_file"].edit.setText("/models/ü.safetensors")
    widget.form.fields["device"].setCurrentText("cpu")
    widget.form.fields["draw_on_image"].setChecked(True)

    widget.on_apply()

    expected = InferSettings(
        top_k=3,
        confidence_threshold=0.25,
        model_weight_file="/models/ü.safetensors",
        device="cpu",
        draw_on_image=True,
    )
    assert widget.applied == [expected]
    assert task.get_param_object().settings == expected


def test_a_wrong_value_is_explained_in_the_form_and_not_applied(widget, task):
    widget.form.fields["input_size"].show_number(5)

    widget.on_apply()

    assert widget.applied == []
    assert "input_size must be 0 (the model's own size)" in widget.form.message.text()
    assert colour_of_label(widget, "input_size") != colour_of_label(widget, "top_k")
    assert task.get_param_object().settings == InferSettings()


def test_only_the_wrong_field_is_marked_whatever_others_the_explanation_names(widget):
    widget.form.fields["model_name"].setCurrentText("/x/net.pth")

    widget.on_apply()

    assert "for a file set model_weight_file" in widget.form.message.text()
    assert colour_of_label(widget, "model_name") != colour_of_label(widget, "top_k")
    assert colour_of_label(widget, "model_weight_file") == colour_of_label(widget, "top_k")


def test_the_explanation_goes_when_the_value_is_right(widget):
    widget.form.fields["input_size"].show_number(5)
    widget.on_apply()

    widget.form.fields["input_size"].show_number(96)
    widget.on_apply()

    assert widget.form.message.text() == "" and widget.form.message.isHidden()
    assert colour_of_label(widget, "input_size") == colour_of_label(widget, "top_k")
    assert widget.applied == [InferSettings(input_size=96)]


@pytest.fixture
def panel(application):
    """The search task's panel as low as on a small screen, its advanced part unfolded."""
    from search_mnasnet.search_mnasnet import IkomiaPlugin

    task, known = ik_registry.create_algorithm("search_mnasnet", public_hub=False), set(application.topLevelWidgets())
    widget = IkomiaPlugin().get_widget_factory().create(task.get_param_object())
    (window,) = [new for new in set(application.topLevelWidgets()) - known if new.findChildren(QtWidgets.QScrollArea)]
    window.resize(480, 700)
    window.show()
    button_of(window, "Advanced").setChecked(True)
    settle(application)
    yield widget, window
    window.hide()


def button_of(window, text):
    (button,) = [button for button in window.findChildren(QtWidgets.QAbstractButton) if button.text() == text]
    return button


def settle(application):
    """Let Qt lay the window out and paint it."""
    for _ in range(5):
        application.sendPostedEvents()
        application.processEvents()


@pytest.mark.parametrize("at_the_end", [False, True])
def test_the_explanation_is_seen_wherever_the_form_was_scrolled_to(application, panel, at_the_end):
    widget, window = panel
    bar = window.findChild(QtWidgets.QScrollArea).verticalScrollBar()
    bar.setValue(bar.maximum() if at_the_end else 0)
    widget.form.fields["max_bad"].show_number(7)

    button_of(window, "Apply").click()
    settle(application)

    assert bar.maximum() > 1000
    assert widget.form.message.text() == "max_bad must be a number from 0 to 1, got '7'"
    assert widget.form.message.visibleRegion().boundingRect() == widget.form.message.rect()


@pytest.mark.parametrize("size", [(320, 400), (420, 300), (900, 300)])
def test_an_explanation_of_several_lines_is_seen_whole_in_a_small_panel(application, panel, size):
    widget, window = panel
    for name, number in (("input_size", 5), ("minutes", -1), ("max_bad", 7)):
        widget.form.fields[name].show_number(number)

    button_of(window, "Apply").click()
    settle(application)
    window.resize(*size)
    settle(application)

    message = widget.form.message
    assert message.height() >= message.heightForWidth(message.width()) > 20
    assert window.findChild(QtWidgets.QScrollArea).viewport().height() > message.height()


def colour_of_label(widget, name):
    """The colour that the label left of a field is drawn in."""
    layout = widget.form.layout
    row = layout.getItemPosition(layout.indexOf(widget.form.fields[name]))[0]
    label = layout.itemAtPosition(row, 0).widget()
    label.ensurePolished()
    return label.palette().color(label.foregroundRole()).name()


def test_advanced_parameters_appear_on_demand(widget):
    (switch,) = [
        widget.form.layout.itemAt(index).widget()
        for index in range(widget.form.layout.count())
        if isinstance(widget.form.layout.itemAt(index).widget(), QtWidgets.QCheckBox)
        and widget.form.layout.itemAt(index).widget().text() == "Advanced"
    ]
    assert widget.form.fields["runtime"].isHidden() and not widget.form.fields["top_k"].isHidden()

    switch.setChecked(True)

    assert not widget.form.fields["runtime"].isHidden()


def test_a_small_number_keeps_all_its_digits(widget):
    widget.form.fields["confidence_threshold"].show_number(0.00001)

    assert widget.form.settings().confidence_threshold == 0.00001


def test_an_empty_field_says_what_empty_means(application):
    form = SettingsForm(TrainSettings())

    empty = {parameter.name for parameter in TrainSettings.parameters() if parameter.optional}
    said = {name for name in empty if form.fields[name].placeholderText() == "recipe's"}
    assert {"momentum", "dropout", "ema"} <= empty and said == empty


def test_what_empty_means_is_readable_where_a_palette_was_made_dark(application):
    before, dark = application.palette(), QtGui.QPalette(application.palette())
    dark.setColor(QtGui.QPalette.ColorRole.Base, QtGui.QColor(35, 35, 35))
    dark.setColor(QtGui.QPalette.ColorRole.Text, QtGui.QColor(230, 230, 230))
    application.setPalette(dark)
    try:
        palette = SettingsForm(TrainSettings()).fields["momentum"].palette()
    finally:
        application.setPalette(before)

    word = palette.color(QtGui.QPalette.ColorRole.PlaceholderText)
    assert word.lightness() * word.alphaF() > 100


def test_the_training_tasks_form_shows_and_applies_all_its_parameters(application):
    from train_torchvision_mnasnet.train_torchvision_mnasnet import IkomiaPlugin

    task = ik_registry.create_algorithm("train_torchvision_mnasnet", public_hub=False)
    widget = IkomiaPlugin().get_widget_factory().create(task.get_param_object())
    widget.emit_apply = lambda param: None

    widget.form.fields["epochs"].show_number(3)
    widget.form.fields["learning_rate"].show_number(1e-5)
    widget.form.fields["momentum"].setText("0.8")
    widget.on_apply()

    assert list(widget.form.fields) == [parameter.name for parameter in TrainSettings.parameters()]
    assert task.get_param_object().settings == TrainSettings(epochs=3, learning_rate=1e-5, momentum=0.8)
