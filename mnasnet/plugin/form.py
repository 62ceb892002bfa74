"""A STUDIO form made from a settings model: one row a parameter, the rarely needed ones behind a check box."""

from __future__ import annotations

import re
from typing import Any

from mnasnet.errors import SettingsError
from mnasnet.plugin.qt import QtWidgets
from mnasnet.settings import Parameter, Settings

MAX_WHOLE_NUMBER = 2**31 - 1
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
DECIMALS = 8  # Ikomia's own spin box rounds a learning rate of 1e-5 to zero


class SettingsForm:
    """The rows of a form for ``settings``, laid out in :attr:`layout`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.layout = QtWidgets.QGridLayout()
        self.layout.setColumnStretch(1, 1)
        parameters = settings.parameters()
        self.fields = {parameter.name: _field(parameter, getattr(settings, parameter.name)) for parameter in parameters}
        self._labels: dict[str, QtWidgets.QLabel] = {}
        self._add_rows([parameter for parameter in parameters if not parameter.advanced])
        advanced = [parameter for parameter in parameters if parameter.advanced]
        if advanced:
            self._add_advanced(advanced)
        self.message = QtWidgets.QLabel()
        self.message.setWordWrap(True)
        self.message.setStyleSheet(WRONG)
        self.layout.addWidget(self.message, self.layout.rowCount(), 0, 1, 2)

    def settings(self) -> Settings:
        """What the form says; raises SettingsError, whose text is then also shown in the form."""
        try:
            settings = self._settings.changed(self.values())
        except SettingsError as error:
            self._mark(str(error))
            raise
        self._mark("")
        return settings

    def _mark(self, reason: str) -> None:
        """Show the reason, and colour the label of each field that it names."""
        self.message.setText(reason)
        named = set(re.findall(r"\w+", reason))
        for name, label in self._labels.items():
            label.setStyleSheet(WRONG if name in named else "")

    def values(self) -> dict[str, Any]:
        """What each field holds, not yet checked."""
        return {name: _value_of(field) for name, field in self.fields.items()}

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


class _NumberBox(QtWidgets.QDoubleSpinBox):  # type: ignore[misc]
    """A spin box that shows 0.05 as 0.05 and not as 0.05000000."""

    def textFromValue(self, value: float) -> str:  # noqa: N802  # Qt's name
        """The shortest text of ``value``."""
        return f"{value:.{DECIMALS}g}"


class PathBox(QtWidgets.QWidget):  # type: ignore[misc]
    """A path to type, with a button that picks it; cancelling the dialog keeps the path."""

    def __init__(self, path: str, *, folder: bool) -> None:
        super().__init__()
        self._folder = folder
        self.edit = QtWidgets.QLineEdit(path)
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


def _label_text(name: str) -> str:
    """``model_weight_file`` -> Model weight file, ``max_model_mb`` -> Max model MB."""
    words = [SHORT_FORMS.get(word, word) for word in name.split("_")]
    text = " ".join(words)
    return text[0].upper() + text[1:]


def _field(parameter: Parameter, value: Any) -> QtWidgets.QWidget:
    """The Qt field that suits a parameter, showing ``value``."""
    if parameter.choices or parameter.suggestions:
        combo = QtWidgets.QComboBox()
        combo.addItems(parameter.choices or parameter.suggestions)
        combo.setEditable(not parameter.choices)
        combo.setCurrentText(str(value))
        return combo
    if parameter.path:
        return PathBox(str(value or ""), folder=parameter.path == "folder")
    if parameter.kind is bool:
        check = QtWidgets.QCheckBox()
        check.setChecked(bool(value))
        return check
    if parameter.optional or parameter.kind is str:
        return QtWidgets.QLineEdit("" if value is None else str(value))
    return _spin(parameter, value)


def _spin(parameter: Parameter, value: Any) -> QtWidgets.QWidget:
    low = parameter.minimum if parameter.minimum is not None else -MAX_WHOLE_NUMBER
    high = parameter.maximum if parameter.maximum is not None else MAX_WHOLE_NUMBER
    if parameter.kind is int:
        spin = QtWidgets.QSpinBox()
        spin.setRange(int(low), int(high))
        if parameter.name.endswith("_size") and parameter.minimum == 0:
            spin.setSpecialValueText("auto")
            spin.setSingleStep(8 if parameter.name == "batch_size" else 32)  # one click from auto is a size that works
    else:
        spin = _NumberBox()
        spin.setDecimals(DECIMALS)
        spin.setRange(low, high)
        spin.setSingleStep(0.05 if high <= 1 else 1.0)
    spin.setValue(value)
    return spin


def _value_of(field: QtWidgets.QWidget) -> Any:
    """A field's value as the settings model reads it."""
    if isinstance(field, QtWidgets.QComboBox):
        return field.currentText()
    if isinstance(field, QtWidgets.QCheckBox):
        return field.isChecked()
    if isinstance(field, (QtWidgets.QSpinBox, QtWidgets.QDoubleSpinBox)):
        return field.value()
    if isinstance(field, PathBox):
        return field.edit.text()
    return field.text()
