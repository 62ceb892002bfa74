"""What the tasks that take long, training and search, need of Ikomia: folders and a progress bar."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ikomia.core import config

from mnasnet.errors import DataError
from mnasnet.plugin.task import connected_path
from mnasnet.settings import SearchSettings, TrainSettings

_log = logging.getLogger(__name__)

PROGRESS_STEPS = 100


def input_folder(task: Any) -> Path:
    """The dataset folder at the task's first input; raises DataError when nothing is connected."""
    path = connected_path(task, 0)
    if not path:
        raise DataError(
            "there is no folder to train on; connect a dataset task or call "
            "wf.set_directory_input(folder=...) with an existing folder; archives are not unpacked"
        )
    return Path(path)


def output_folder(settings: TrainSettings | SearchSettings, plugin_folder: Path) -> Path:
    """Where run folders go: Ikomia's data folder unless the user chose another place.

    An update of a plugin deletes its folder, so no folder of Ikomia's plugins is one for models; the first releases
    wrote into the plugin's own, and workflow files of that time still name it.
    """
    default = Path(config.main_cfg["data"]["path"]) / plugin_folder.name
    if not settings.output_folder:
        return default
    chosen = Path(settings.output_folder).expanduser()
    plugins = Path(config.main_cfg["registry"]["path"])
    deleted = {path for folder in (plugin_folder, plugins) for path in (folder.absolute(), folder.resolve())}
    if not deleted & {*_with_parents(chosen.absolute())}:
        return chosen
    _log.warning("an update of a plugin would delete %s; writing to %s instead", chosen, default)
    return default


def _with_parents(path: Path) -> tuple[Path, ...]:
    return path, *path.parents, path.resolve(), *path.resolve().parents


class StepBar:
    """Moves a task's progress bar by hundredths of the whole; the last one belongs to the end of the run."""

    def __init__(self, emit_step: Callable[[], None]) -> None:
        self._emit_step, self._shown = emit_step, 0

    def show(self, share: float) -> None:
        """Move on to ``share``, 0 to 1, of the whole; the bar never goes back."""
        while self._shown < min(int(PROGRESS_STEPS * share), PROGRESS_STEPS - 1):
            self._shown += 1
            self._emit_step()

    def finish(self) -> None:
        """Show everything but the last step, also after work that ended early."""
        self.show(1.0)
