"""A STUDIO form made from a settings model: one row a parameter, the rarely needed ones behind a check box."""

from __future__ import annotations

from typing import Any

from ikomia import core
from ikomia.utils import pyqtutils, qtconversion
from PyQt6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QGridLayout,
    QLabel,
    QLineEdit,
    QSpinBox,
    QWidget,
)

from mnasnet.errors import SettingsError
from mnasnet.plugin.params import SettingsParam
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
DECIMALS = 8  # Ikomia's own spin box rounds a learning rate of 1e-5 to zero


class SettingsForm:
    """The rows of a form for ``settings``, laid out in :attr:`layout`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.layout = QGridLayout()
        self.layout.setColumnStretch(1, 1)
        parameters = settings.parameters()
        self.fields = {parameter.name: _field(parameter, getattr(settings, parameter.name)) for parameter in parameters}
        self._add_rows([parameter for parameter in parameters if not parameter.advanced])
        advanced = [parameter for parameter in parameters if parameter.advanced]
        if advanced:
            self._add_advanced(advanced)
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.message.setStyleSheet("color: #d03030")
        self.layout.addWidget(self.message, self.layout.rowCount(), 0, 1, 2)

    def settings(self) -> Settings:
        """What the form says; raises SettingsError, whose text is then also shown in the form."""
        try:
            settings = self._settings.changed({name: _value_of(field) for name, field in self.fields.items()})
        except SettingsError as error:
            self.message.setText(str(error))
            raise
        self.message.clear()
        return settings

    def _add_advanced(self, parameters: list[Parameter]) -> None:
        switch = QCheckBox("Advanced")
        self.layout.addWidget(switch, self.layout.rowCount(), 0, 1, 2)
        rows = self._add_rows(parameters)
        for widget in rows:
            widget.setVisible(False)
            switch.toggled.connect(widget.setVisible)

    def _add_rows(self, parameters: list[Parameter]) -> list[QWidget]:
        widgets = []
        for parameter in parameters:
            label, field = QLabel(_label_text(parameter.name)), self.fields[parameter.name]
            row = self.layout.rowCount()
            for column, widget in enumerate((label, field)):
                widget.setToolTip(parameter.help.replace("`", ""))
                self.layout.addWidget(widget, row, column)
                widgets.append(widget)
        return widgets


class SettingsWidget(core.CWorkflowTaskWidget):  # type: ignore[misc]  # Ikomia ships no types
    """STUDIO's parameter panel of a task; a wrong value is explained in the panel and not applied."""

    def __init__(self, param: SettingsParam, parent: Any) -> None:
        core.CWorkflowTaskWidget.__init__(self, parent)
        self.parameters = param
        self.form = SettingsForm(param.settings)
        self.set_layout(qtconversion.PyQtToQt(self.form.layout))

    def on_apply(self) -> None:
        """Hand the form's values to the task when the user clicks Apply."""
        try:
            settings = self.form.settings()
        except SettingsError:
            return  # the form shows why
        self.parameters.replace(settings)
        self.emit_apply(self.parameters)


class _NumberBox(QDoubleSpinBox):  # type: ignore[misc]
    """A spin box that shows 0.05 as 0.05 and not as 0.05000000."""

    def textFromValue(self, value: float) -> str:  # noqa: N802  # Qt's name
        """The shortest text of ``value``."""
        return f"{value:.{DECIMALS}g}"


class _BrowseBox(pyqtutils.BrowseFileWidget):  # type: ignore[misc]
    """A path with a browse button that keeps the path when the dialog is cancelled; Ikomia's own clears it."""

    def on_browse(self) -> None:
        """Ask for a path."""
        present = self.qedit_file.text()
        super().on_browse()
        if not self.path:
            self.set_path(present)


def _label_text(name: str) -> str:
    """``model_weight_file`` -> Model weight file, ``max_model_mb`` -> Max model MB."""
    words = [SHORT_FORMS.get(word, word) for word in name.split("_")]
    text = " ".join(words)
    return text[0].upper() + text[1:]


def _field(parameter: Parameter, value: Any) -> QWidget:
    """The Qt field that suits a parameter, showing ``value``."""
    if parameter.choices or parameter.suggestions:
        combo = QComboBox()
        combo.addItems(parameter.choices or parameter.suggestions)
        combo.setEditable(not parameter.choices)
        combo.setCurrentText(str(value))
        return combo
    if parameter.path:
        mode = QFileDialog.FileMode.Directory if parameter.path == "folder" else QFileDialog.FileMode.ExistingFile
        browse = _BrowseBox(path=str(value or ""), mode=mode)
        browse.layout().setContentsMargins(0, 0, 0, 0)  # as high as the other rows
        return browse
    if parameter.kind is bool:
        check = QCheckBox()
        check.setChecked(bool(value))
        return check
    if parameter.optional or parameter.kind is str:
        return QLineEdit("" if value is None else str(value))
    return _spin(parameter, value)


def _spin(parameter: Parameter, value: Any) -> QWidget:
    low = parameter.minimum if parameter.minimum is not None else -MAX_WHOLE_NUMBER
    high = parameter.maximum if parameter.maximum is not None else MAX_WHOLE_NUMBER
    if parameter.kind is int:
        spin = QSpinBox()
        spin.setRange(int(low), int(high))
        if parameter.name.endswith("_size") and parameter.minimum == 0:
            spin.setSpecialValueText("auto")
    else:
        spin = _NumberBox()
        spin.setDecimals(DECIMALS)
        spin.setRange(low, high)
        spin.setSingleStep(0.05 if high <= 1 else 1.0)
    spin.setValue(value)
    return spin


def _value_of(field: QWidget) -> Any:
    """A field's value as the settings model reads it."""
    if isinstance(field, QComboBox):
        return field.currentText()
    if isinstance(field, QCheckBox):
        return field.isChecked()
    if isinstance(field, (QSpinBox, QDoubleSpinBox)):
        return field.value()
    if isinstance(field, pyqtutils.BrowseFileWidget):
        return field.qedit_file.text()  # its path attribute misses text that was pasted and not confirmed
    return field.text()
