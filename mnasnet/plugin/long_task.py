"""What the tasks that take long, training and search, need of Ikomia: folders and a progress bar."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ikomia.core import config

from mnasnet.errors import DataError, TrainingError
from mnasnet.files import expanded
from mnasnet.plugin.task import connected_path
from mnasnet.settings import SearchSettings, TrainSettings

_log = logging.getLogger(__name__)

PROGRESS_STEPS = 100

Run = TypeVar("Run")


def input_folder(task: Any, model: str = "") -> Path:
    """The dataset folder at the task's first input, else the one that ``model``, a file of a run, was made from.

    Ikomia connects a search's model to a training behind it, but not the folder that the workflow has for the search.
    Raises DataError when there is neither.
    """
    path = connected_path(task, 0)
    if not path and model and (path := _images_behind(Path(model))):
        _log.info("no folder is connected: the images are those of the model that is, %s", path)
    if not path:
        raise DataError(
            "there is no folder to train on; connect a dataset task or call "
            "wf.set_directory_input(folder=..., index=0) with an existing folder; archives are not unpacked"
        )
    return Path(path)


def _images_behind(model: Path) -> str:
    """The folder whose images the run of ``model`` was given, if it is still there."""
    from mnasnet.train.run_folder import open_run_folder, read_yaml

    try:
        path = str(read_yaml(open_run_folder(model).arguments)["asked"]["data"])
    except (TrainingError, KeyError, TypeError):  # a file from elsewhere
        return ""
    return path if Path(path).is_dir() else ""


def output_folder(settings: TrainSettings | SearchSettings, plugin_folder: Path) -> Path:
    """Where run folders go: Ikomia's data folder unless the user chose another place.

    An update of a plugin deletes its folder, so no folder of Ikomia's plugins is one for models; the first releases
    wrote into the plugin's own, and workflow files of that time still name it.
    """
    default = Path(config.main_cfg["data"]["path"]) / plugin_folder.name
    if not settings.output_folder:
        return default
    chosen = expanded(settings.output_folder)
    plugins = Path(config.main_cfg["registry"]["path"])
    deleted = {path for folder in (plugin_folder, plugins) for path in (folder.absolute(), folder.resolve())}
    if not deleted & {*_with_parents(chosen.absolute())}:
        return chosen
    _log.warning("an update of a plugin would delete %s; writing to %s instead", chosen, default)
    return default


def _with_parents(path: Path) -> tuple[Path, ...]:
    return path, *path.parents, path.resolve(), *path.resolve().parents


def resumed(folder: Path, resume: Callable[[], Run]) -> Run | None:
    """What ``resume`` makes of the run in ``folder``; None where its images or files are not there as they were.

    A run that began in the same workflow cannot be brought back by another parameter, so a new one has to begin.
    Whatever else goes wrong raises, and the run is there for the next attempt.
    """
    from mnasnet.search.folder import SearchFolderError  # torch starts here, not with Ikomia
    from mnasnet.train.run_folder import RunFolderError

    try:
        return resume()
    except (DataError, RunFolderError, SearchFolderError) as error:
        _log.warning("a new run begins, %s cannot go on: %s", folder, error)
        return None


def say_why_anew(stopped: Path) -> None:
    """Log that the run in the folder ``stopped`` does not go on with what is given now, and how it would."""
    _log.info("a new run begins, with other parameters or images; to go on with %s set resume_folder to it", stopped)


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
