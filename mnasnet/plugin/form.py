"""A STUDIO form made from a settings model: one row a parameter, the rarely needed ones behind a check box."""

from __future__ import annotations

import math
import re
from typing import Any

from PyQt6 import QtCore, QtWidgets

from mnasnet.errors import SettingsError
from mnasnet.settings import Parameter, Settings

SHORT_FORMS = {  # words of parameter names that are not written as they sound
    "adb": "ADB",
    "ca": "CA",
    "cpus": "CPUs",
    "ema": "EMA",
    "gpus": "GPUs",
    "mb": "MB",
    "onnx": "ONNX",
    "pth": "PTH",
    "tensorboard": "TensorBoard",
    "url": "URL",
}
WRONG = "color: #e04545"  # readable on light and on dark
DECIMALS = 12  # of a number that the arrows made: 0.1 + 0.05 is 0.15


class SettingsForm:
    """The rows of a form for ``settings``, laid out in :attr:`layout`."""

    def __init__(self, settings: Settings) -> None:
        self.layout = QtWidgets.QGridLayout()
        self.layout.setColumnStretch(1, 1)
        parameters = settings.parameters()
        self.fields = {parameter.name: _field(parameter) for parameter in parameters}
        self._labels: dict[str, QtWidgets.QLabel] = {}
        self.message = QtWidgets.QLabel()
        self.message.setWordWrap(True)
        self.message.setStyleSheet(WRONG)
        self.message.setVisible(False)  # takes no room until there is something to say
        self.layout.addWidget(self.message, 0, 0, 1, 2)
        self._add_rows([parameter for parameter in parameters if not parameter.advanced])
        advanced = [parameter for parameter in parameters if parameter.advanced]
        if advanced:
            self._add_advanced(advanced)
        self.show(settings)

    def show(self, settings: Settings) -> None:
        """Show ``settings`` in place of whatever the fields hold."""
        self._settings = settings
        for name, field in self.fields.items():
            _show(getattr(settings, name), field)
        self._mark("", ())

    def settings(self) -> Settings:
        """What the form says; raises SettingsError, whose text is then also shown in the form."""
        try:
            settings = self._settings.changed(self.values())
        except SettingsError as error:
            self._mark(str(error), error.names)
            raise
        self._mark("", ())
        return settings

    def _mark(self, reason: str, wrong: tuple[str, ...]) -> None:
        """Show the reason above the fields, where it is seen, and colour the label of each field that is wrong."""
        self.message.setText(reason)
        self.message.setVisible(bool(reason))
        if reason:
            _scroll_to_the_top(self.message)
        for name, label in self._labels.items():
            label.setStyleSheet(WRONG if name in wrong else "")

    def values(self) -> dict[str, Any]:
        """What each field holds, not yet checked."""
        values = {name: _value_of(field) for name, field in self.fields.items()}
        fractions = [parameter.name for parameter in self._settings.parameters() if parameter.kind is float]
        return {**values, **{name: _with_point(values[name]) for name in fractions}}

    def _add_advanced(self, parameters: list[Parameter]) -> None:
        switch = QtWidgets.QCheckBox("Advanced")
        self.layout.addWidget(switch, self.layout.rowCount(), 0, 1, 2)
        rows = self._add_rows(parameters)
        for widget in rows:
            widget.setVisible(False)
            switch.toggled.connect(widget.setVisible)

    def _add_rows(self, parameters: list[Parameter]) -> list[QtWidgets.QWidget]:
        widgets = []
        for parameter in parameters:
            label, field = QtWidgets.QLabel(_label_text(parameter.name)), self.fields[parameter.name]
            self._labels[parameter.name] = label
            row = self.layout.rowCount()
            for column, widget in enumerate((label, field)):
                widget.setToolTip(parameter.help.replace("`", ""))
                self.layout.addWidget(widget, row, column)
                widgets.append(widget)
        return widgets


class NumberBox(QtWidgets.QAbstractSpinBox):  # type: ignore[misc]
    """A number to type, with arrows; what was typed stays as it is, and Apply refuses what is no fitting number.

    Qt's own boxes leave out keys that they do not expect: 0.001 is 1 to them where numbers have a decimal comma.
    """

    def __init__(self, parameter: Parameter) -> None:
        super().__init__()
        _take_no_focus_by_wheel(self)
        self._parameter = parameter

    def show_number(self, value: float) -> None:
        """Show ``value``; for a 0 that has a word, the word."""
        word = self._parameter.unset if value == 0 else ""
        self.lineEdit().setText(word or repr(value).removesuffix(".0"))

    def value_text(self) -> str:
        """What was typed, to be read by the settings model."""
        word = self._parameter.unset
        return "0" if word and self.text() in ("", word) else self.text()

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802  # Qt's name
        """Let a number that is typed replace the word for 0, wherever the cursor is."""
        if event.text() and self.text() == self._parameter.unset:
            self.selectAll()
        super().keyPressEvent(event)

    def wheelEvent(self, event: Any) -> None:  # noqa: N802  # Qt's name
        """Change the number where somebody is at it; else the panel scrolls."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()

    def stepBy(self, steps: int) -> None:  # noqa: N802  # Qt's name
        """Go up or down, as far as the bounds; a text that is no number stays."""
        number = self._number()
        if number is None:
            return
        for _ in range(abs(steps)):
            number += _step(self._parameter, number, up=steps > 0) * (1 if steps > 0 else -1)
        low, high = self._parameter.minimum, self._parameter.maximum
        number = max(number, -math.inf if low is None else low)
        number = min(number, math.inf if high is None else high)
        self.show_number(self._parameter.kind(round(number, DECIMALS)))

    def stepEnabled(self) -> Any:  # noqa: N802  # Qt's name
        """Both arrows work where there is a number."""
        flag = QtWidgets.QAbstractSpinBox.StepEnabledFlag
        return flag.StepNone if self._number() is None else flag.StepUpEnabled | flag.StepDownEnabled

    def _number(self) -> float | None:
        try:
            number = float(_with_point(self.value_text()))
        except ValueError:
            return None
        return number if math.isfinite(number) else None


class ChoiceBox(QtWidgets.QComboBox):  # type: ignore[misc]
    """A list to choose from."""

    def __init__(self) -> None:
        super().__init__()
        _take_no_focus_by_wheel(self)

    def wheelEvent(self, event: Any) -> None:  # noqa: N802  # Qt's name
        """Choose another where somebody is at it; else the panel scrolls."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class PathBox(QtWidgets.QWidget):  # type: ignore[misc]
    """A path to type, with a button that picks it; cancelling the dialog keeps the path."""

    def __init__(self, *, folder: bool) -> None:
        super().__init__()
        self._folder = folder
        self.edit = QtWidgets.QLineEdit()
        self.button = QtWidgets.QPushButton("...")
        self.button.setMaximumWidth(3 * self.button.sizeHint().height() // 2)  # the room belongs to the path
        self.button.clicked.connect(self._pick)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)  # as high as the other rows
        layout.addWidget(self.edit)
        layout.addWidget(self.button)

    def _pick(self) -> None:
        """Ask for a path, beginning at the present one."""
        dialog, present = QtWidgets.QFileDialog, self.edit.text()
        if self._folder:
            path = dialog.getExistingDirectory(self, "Choose a folder", present)
        else:
            path, _ = dialog.getOpenFileName(self, "Choose a file", present)
        if path:
            self.edit.setText(path)


def _take_no_focus_by_wheel(field: QtWidgets.QWidget) -> None:
    """Let clicks and keys alone bring somebody to ``field``: a wheel that scrolls over it must not change it."""
    field.setFocusPolicy(QtCore.Qt.FocusPolicy.StrongFocus)


def _scroll_to_the_top(widget: QtWidgets.QWidget) -> None:
    """Scroll what ``widget`` lies in, as STUDIO's panel, to its beginning."""
    while widget is not None and not isinstance(widget, QtWidgets.QScrollArea):
        widget = widget.parentWidget()
    if widget is not None:
        widget.verticalScrollBar().setValue(0)


def _label_text(name: str) -> str:
    """``model_weight_file`` -> Model weight file, ``max_model_mb`` -> Max model MB."""
    words = [SHORT_FORMS.get(word, word) for word in name.split("_")]
    text = " ".join(words)
    return text[0].upper() + text[1:]


def _field(parameter: Parameter) -> QtWidgets.QWidget:
    """The Qt field that suits a parameter."""
    if parameter.choices or parameter.suggestions:
        combo = ChoiceBox()
        combo.addItems(parameter.choices or parameter.suggestions)
        combo.setEditable(not parameter.choices)
        return combo
    if parameter.path:
        return PathBox(folder=parameter.path == "folder")
    if parameter.kind is bool:
        return QtWidgets.QCheckBox()
    if parameter.optional or parameter.kind is str:
        return _line(parameter.unset)
    return NumberBox(parameter)


def _line(unset: str) -> QtWidgets.QWidget:
    """A line to type in that shows the word ``unset`` while it is empty."""
    line = QtWidgets.QLineEdit()
    line.setPlaceholderText(unset)
    palette = line.palette()
    role, colour = type(palette).ColorRole, palette.color(type(palette).ColorRole.Text)
    colour.setAlphaF(0.5)
    palette.setColor(role.PlaceholderText, colour)  # a palette made dark keeps Qt's black one, seen by nobody
    line.setPalette(palette)
    return line


def _step(parameter: Parameter, number: float, *, up: bool) -> float:
    """What an arrow adds to or takes from ``number``."""
    if parameter.name.endswith("_size"):
        return 8 if parameter.name == "batch_size" else 32  # one click from auto is a size that works
    if parameter.maximum is not None and parameter.maximum <= 1:
        return 0.05  # of a share
    if number == 0:
        return 0.001 if parameter.name == "learning_rate" else 1
    exponent = math.floor(math.log10(abs(number) * (1 if up else 1 - 1e-9)))  # from 0.01 down it is that of 0.009
    return max(1, 10 ** (exponent - 1)) if exponent >= 0 else 10.0**exponent


def _with_point(text: str) -> str:
    """``0,5`` as ``0.5``; ``1,000``, a thousand to some and one to others, stays and is refused."""
    is_ambiguous = re.fullmatch(r"\s*[+-]?[1-9]\d*,\d{3}\s*", text)
    return text if is_ambiguous else re.sub(r"^([^.,]*),([^.,]*)$", r"\1.\2", text)


def _show(value: Any, field: QtWidgets.QWidget) -> None:
    """Put a setting's value into its field."""
    if isinstance(field, QtWidgets.QComboBox):
        field.setCurrentText(str(value))
    elif isinstance(field, QtWidgets.QCheckBox):
        field.setChecked(value)
    elif isinstance(field, NumberBox):
        field.show_number(value)
    elif isinstance(field, PathBox):
        field.edit.setText(value)
    else:
        field.setText("" if value is None else str(value))


def _value_of(field: QtWidgets.QWidget) -> Any:
    """A field's value as the settings model reads it."""
    if isinstance(field, QtWidgets.QComboBox):
        return field.currentText()
    if isinstance(field, QtWidgets.QCheckBox):
        return field.isChecked()
    if isinstance(field, NumberBox):
        return field.value_text()
    if isinstance(field, PathBox):
        return field.edit.text()
    return field.text()
