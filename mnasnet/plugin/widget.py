"""STUDIO's parameter panel of a task: the form of its settings, and what Apply does."""

from __future__ import annotations

from typing import Any

from ikomia import core
from PyQt6 import sip

from mnasnet.errors import SettingsError
from mnasnet.plugin.form import SettingsForm
from mnasnet.plugin.params import SettingsParam


class SettingsWidget(core.CWorkflowTaskWidget):  # type: ignore[misc]  # Ikomia ships no types
    """STUDIO's parameter panel of a task; a wrong value is explained in the panel and not applied."""

    def __init__(self, param: SettingsParam, parent: Any) -> None:
        core.CWorkflowTaskWidget.__init__(self, parent)
        self.parameters = param
        self.form = SettingsForm(param.settings)
        self.set_layout(sip.unwrapinstance(self.form.layout))

    def on_apply(self) -> None:
        """Hand the form's values to the task when the user clicks Apply."""
        try:
            settings = self.form.settings()
        except SettingsError:
            return  # the form shows why
        self.parameters.replace(settings)
        self.emit_apply(self.parameters)

    def on_parameters_changed(self) -> None:
        """Show what a script or another part of STUDIO has set."""
        self.form.show(self.parameters.settings)
