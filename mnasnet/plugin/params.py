"""Settings as Ikomia keeps them: a parameter object that speaks text outward and holds a settings model inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ikomia.core.task import TaskParam

from mnasnet.errors import SettingsError
from mnasnet.settings import Settings


class SettingsParam(TaskParam):  # type: ignore[misc]  # Ikomia ships no types
    """Holds one settings model; a subclass says which ``kind``. ``settings`` is replaced, never edited.

    Scripts for Ikomia's own tasks set parameters as ``param.cfg["epochs"] = 3`` or ``param.epochs = 3``: both check the
    value and replace the settings.

    Ikomia drops every key that :meth:`get_values` does not return before :meth:`set_values` can see it, so names of
    earlier releases stay there as empty text: workflow files and scripts that use them keep their effect.
    """

    kind: ClassVar[type[Settings]]

    def __init__(self) -> None:  # without arguments, since Ikomia copies parameters with copy.deepcopy
        self.settings = self.kind()
        TaskParam.__init__(self)

    @property
    def cfg(self) -> dict[str, Any]:
        """The settings as a dict, which Ikomia's own training base class logs; what is set in it becomes a setting."""
        return _Cfg(self)

    @cfg.setter
    def cfg(self, values: Mapping[str, Any]) -> None:
        self.set_values(values)  # Ikomia's constructor begins with none

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.kind.model_fields or name in self.kind.old_names():
            self.set_values({name: value})
        else:
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name in self.kind.model_fields:
            return getattr(self.settings, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def get_values(self) -> dict[str, str]:
        """Every parameter as text, old names included (always empty: their value lives under today's name)."""
        return {**self.settings.to_text(), **dict.fromkeys(self.settings.old_names(), "")}

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Take over what differs from the present values; when one is wrong raise SettingsError and change nothing."""
        try:
            self.replace(self.changed(values))
        except SettingsError as error:
            raise error.with_traceback(None) from None  # Ikomia prints the trace behind the message

    def changed(self, values: Mapping[str, Any]) -> Settings:
        """The settings with ``values``, of which only what differs from the present ones counts.

        Ikomia merges what a user sets into all present values, and its ``ik`` classes pass every parameter; only a
        difference says what was meant. An old name without today's name beside it is no such merge: there an empty
        text counts too, and clears.
        """
        self.settings.require_mapping(values)
        present = self.get_values()
        for old, today in self.settings.old_names().items():
            if today in present and today not in values:
                present[old] = present[today]
        return self.settings.changed({name: value for name, value in values.items() if str(value) != present.get(name)})

    def replace(self, settings: Settings) -> None:
        """Hold other settings of the same kind."""
        self.settings = settings


class _Cfg(dict[str, Any]):
    """The settings of ``param`` with their types; what is set here is checked and set there."""

    def __init__(self, param: SettingsParam) -> None:
        super().__init__(param.settings.model_dump())
        self._param = param

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, *values: Any, **more: Any) -> None:
        self._param.set_values(dict(*values, **more))
        super().update(self._param.settings.model_dump())


def workflow_text(param: SettingsParam, values: Mapping[str, Any]) -> dict[str, str]:
    """``values`` of any type, under today's or old names, as the text that Ikomia's ``set_parameters`` takes.

    A task calls this in its own ``set_parameters``, because Ikomia refuses typed values with a C++ message and drops
    unknown names in silence. Raises SettingsError that names the valid ones.
    """
    return param.changed(values).to_text()
