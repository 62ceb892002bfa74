"""Settings as Ikomia keeps them: a parameter object that speaks text outward and holds a settings model inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ikomia.core.task import TaskParam

from mnasnet.errors import SettingsError
from mnasnet.settings import Settings


class SettingsParam(TaskParam):  # type: ignore[misc]  # Ikomia ships no types
    """Holds one settings model; a subclass says which ``kind``. ``settings`` is replaced, never edited.

    Ikomia drops every key that :meth:`get_values` does not return before :meth:`set_values` can see it, so names of
    earlier releases stay there as empty text: workflow files and scripts that use them keep their effect.
    """

    kind: ClassVar[type[Settings]]

    def __init__(self) -> None:  # without arguments, since Ikomia copies parameters with copy.deepcopy
        TaskParam.__init__(self)
        self.replace(self.kind())

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
        self.cfg = settings.model_dump()  # what Ikomia's own training base class logs


def workflow_text(param: SettingsParam, values: Mapping[str, Any]) -> dict[str, str]:
    """``values`` of any type, under today's or old names, as the text that Ikomia's ``set_parameters`` takes.

    A task calls this in its own ``set_parameters``, because Ikomia refuses typed values with a C++ message and drops
    unknown names in silence. Raises SettingsError that names the valid ones.
    """
    return param.changed(values).to_text()
