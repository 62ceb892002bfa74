"""The frame around a task's run, its image and the paths that other tasks hand over."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from ikomia import core, dataprocess
from ikomia.dataprocess.io.datadictIO import DataDictIO
from numpy.typing import NDArray

import mnasnet
from mnasnet.data.find import IMAGE_SUFFIXES, JPEG_SUFFIXES
from mnasnet.data.images import read_image, to_rgb
from mnasnet.errors import DataError, MnasNetError, RuntimeMissingError

PATH_OF_AN_IMAGE = "CPathIO"  # what Ikomia calls the path of an image that it hands to an input for paths
TRAINING_CURVES, CONFUSION_MATRIX = "TrainingCurves", "ConfusionMatrix"  # our names of the training task's pictures
TRADE_OFFS, SEARCH_CURVE = "TradeOffs", "SearchCurve"  # and of the search task's
CHARTS = (TRAINING_CURVES, CONFUSION_MATRIX, TRADE_OFFS, SEARCH_CURVE)
_FILMS = (core.IODataType.VIDEO, core.IODataType.LIVE_STREAM)


class running:  # noqa: N801  # reads as a statement: with running(task)
    """Begin a task's run and, when nothing went wrong, step its progress bar and end it.

    One of our own errors becomes a single line: Ikomia prints message and traceback as one text, so the message is
    flattened and the traceback cut to the plugin's own line. Any other exception is a fault and keeps everything.
    After the user's stop, our own error is logged and no more: Ikomia keeps a stop in mind until a task ends without an
    error, and would refuse the next run.
    ``task.beginning`` is true while Ikomia begins the run, where it may call ``init_long_process``.
    """

    def __init__(self, task: Any) -> None:
        self._task = task

    def __enter__(self) -> None:
        self._task.beginning = True
        try:
            self._task.begin_task_run()
        finally:
            self._task.beginning = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            self._task.emit_step_progress()
            self._task.end_task_run()
        elif isinstance(error, MnasNetError):
            error.args = (" ".join(str(error).split()),)
            if trace is not None:
                trace.tb_next = None
            if self._task._stopped:
                logging.getLogger("mnasnet.plugin").warning("%s", error)
                return True
        return False


@contextlib.contextmanager
def told_of_films(task: Any) -> Iterator[None]:
    """Log one of our own errors where the input is a film.

    An Ikomia that saves films puts "Video buffer pointer is null" in place of the error that a task raised.
    """
    try:
        yield
    except MnasNetError as error:
        source = task.get_input(0)
        if source is not None and source.data_type in _FILMS:
            logging.getLogger("ikomia").error("%s", " ".join(str(error).split()))
        raise


def is_saved_film(source: Any) -> bool:
    """Whether ``source``, an input or output, is a film that Ikomia saves while the workflow runs."""
    return bool(source.data_type in _FILMS and source.auto_save)


class ResultsIO(DataDictIO):  # type: ignore[misc]  # Ikomia ships no types
    """Everything a task reports, as JSON.

    Ikomia gives the file that it saves no ending, while graphics and objects share one name that ends in ``.json``:
    what is saved last stays. So the results, which are last and hold all of it, take that name.
    """

    def __init__(self) -> None:
        DataDictIO.__init__(self)
        self.name = "Results"  # begins the name of the file that Ikomia saves for a film

    def save(self, path: str) -> None:
        """Write the results as JSON."""
        super().save(path if path.lower().endswith(".json") else f"{path}.json")


def require_version(plugin: str, needed: str, cure: str) -> None:
    """Raise RuntimeMissingError with the command that is the ``cure`` unless the loaded package is at least ``needed``.

    An update in a running Ikomia replaces the files but not the loaded modules; only a restart does.
    """
    if _numbers(mnasnet.__version__) >= _numbers(needed):
        return
    try:
        installed = importlib.metadata.version("mnasnet")
    except importlib.metadata.PackageNotFoundError:
        installed = mnasnet.__version__
    if _numbers(installed) >= _numbers(needed):
        raise RuntimeMissingError(
            f"mnasnet {installed} is installed but {mnasnet.__version__} is still loaded; restart Ikomia"
        )
    raise RuntimeMissingError(
        f"{plugin} needs mnasnet {needed} or newer, found {mnasnet.__version__}; "
        f"run this command and restart Ikomia: {cure}"
    )


def input_image(task: Any, model: str = "") -> NDArray[np.uint8]:
    """The task's input image as H x W x 3 RGB; maybe a view of the caller's array, so never write into it.

    Ikomia hands over nothing at all when it cannot read a file. The file is then tried here, which either
    succeeds or raises DataError with the reason. Of a JPEG that was cut short it hands over the beginning; that
    raises DataError too. ``model`` is the file that a task before made, maybe in hours: where a photo lacks, the error
    says how to do without making it again.
    """
    source = task.get_input(0)
    kept = f"the model is kept, {model}: as model_weight_file of this task alone it needs no training"
    if source.name in CHARTS:  # connected because it is an image
        raise DataError(
            "the image to classify is a chart of the task before; add a photo with wf.set_image_input(...) and "
            "connect it: wf.connect_tasks(wf.root(), task, [(1, 0)]) where a folder is the workflow's first input, "
            f"[(0, 0)] where the photo is the only one{f'; {kept}' if model else ''}"
        )
    image = source.get_image()
    path = Path(source.source_file_path or "")
    if image is not None:
        if path.suffix.lower() in JPEG_SUFFIXES and path.is_file():
            read_image(path, min_side=1)  # at an eighth of its size; raises where Ikomia fills a cut picture with grey
        return to_rgb(image)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return read_image(path)
    cure = "connect an image or a video"
    if model:
        cure = (
            "call wf.set_image_input(path=..., index=1) where a folder is the workflow's first input, index=0 where "
            f"the photo is the only one; {kept}"
        )
    raise DataError(f"there is no image to classify{f' in {path}' if path.name else ''}; {cure}")


def connected_path(task: Any, index: int) -> str:
    """The path that another task or the workflow hands over at an input; ``""`` for none."""
    source = task.get_input(index)
    path = source.get_path() if isinstance(source, dataprocess.CPathIO) else ""
    return "" if path == PATH_OF_AN_IMAGE else path


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: 1.2.0rc1 is (1, 2, 0)."""
    return tuple(int(digits or 0) for digits in re.findall(r"(?:^|\.)(\d*)", version)[:3])
