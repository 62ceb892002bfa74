from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ikomia")

from work import calls_in

import mnasnet
from mnasnet.errors import DataError, RuntimeMissingError
from mnasnet.plugin.objects import clipped_box, input_objects, without_parts
from mnasnet.plugin.task import ResultsIO, require_version, running

pytestmark = pytest.mark.ikomia


class Recorder:
    """The calls that Ikomia's task base class would get."""

    beginning = False

    def __init__(self, *, stopped: bool = False) -> None:
        self.calls: list[str] = []
        self._stopped = stopped

    def begin_task_run(self) -> None:
        self.calls.append("begin" if self.beginning else "begin unannounced")

    def emit_step_progress(self) -> None:
        self.calls.append("step")

    def end_task_run(self) -> None:
        self.calls.append("end")


class Box:
    """A graphics item as a detector makes it."""

    def __init__(self, *rect: float) -> None:
        self._rect = list(rect)

    def get_bounding_rect(self) -> list[float]:
        return self._rect


def test_a_run_begins_steps_and_ends():
    task = Recorder()

    with running(task):
        assert task.beginning is False

    assert task.calls == ["begin", "step", "end"]


def test_our_own_error_becomes_one_line_with_a_short_trace():
    def deep() -> None:
        raise DataError("the image is broken;\n  use another")

    with pytest.raises(DataError) as caught, running(Recorder()):
        deep()

    assert str(caught.value) == "the image is broken; use another"
    assert all(entry.name != "deep" for entry in caught.traceback)


def test_after_a_stop_our_own_error_is_logged_and_the_run_just_ends(caplog):
    task = Recorder(stopped=True)

    with running(task):
        raise DataError("stopped before the first trial;\n  start again")

    assert caplog.messages == ["stopped before the first trial; start again"]
    assert task.calls == ["begin"]


def test_a_fault_keeps_its_whole_trace():
    def deep() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError) as caught, running(Recorder()):
        deep()

    assert caught.traceback[-1].name == "deep"


@pytest.mark.parametrize(
    "box, clipped",
    [
        ((10, 20, 30, 40), (10, 20, 30, 40)),
        ((-20, -10, 50, 40), (0, 0, 30, 30)),
        ((80, 90, 50, 50), (80, 90, 20, 10)),
        ((-5, -5, 200, 200), (0, 0, 100, 100)),
        ((10.6, 10.4, 5.2, 5.2), (11, 10, 5, 6)),
        ((99, 10, 50, 50), None),  # one pixel left
        ((200, 10, 50, 50), None),
        ((-60, 10, 50, 50), None),
        ((10, 10, 2, 2), (10, 10, 2, 2)),
        ((10, 10, 1, 50), None),
        ((10, 10, -5, 50), None),
        ((float("nan"), 10, 5, 5), None),
        ((10, 10, float("inf"), 5), None),
    ],
)
def test_a_box_is_clipped_at_all_sides(box, clipped):
    assert clipped_box(box, 100, 100) == clipped


def test_objects_are_views_of_their_own_pixels():
    image = np.arange(100 * 100 * 3, dtype=np.uint8).reshape(100, 100, 3)

    (found,) = input_objects([Box(10, 20, 30, 40), Box(300, 300, 9, 9)], image)

    np.testing.assert_array_equal(image[20:60, 10:40], found.pixels)
    assert np.shares_memory(image, found.pixels)


def test_the_version_that_is_there_is_accepted():
    require_version("search_mnasnet", mnasnet.__version__, "pip install it")


def test_versions_are_compared_as_numbers(monkeypatch):
    monkeypatch.setattr(mnasnet, "__version__", "1.10.0")

    require_version("search_mnasnet", "1.9.0", "pip install it")


def test_a_package_too_old_is_told_with_the_command_that_mends_it(monkeypatch):
    monkeypatch.setattr(mnasnet, "__version__", "0.9.0")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.9.0")

    with pytest.raises(RuntimeMissingError) as caught:
        require_version("search_mnasnet", "1.0.0", "pip install it")

    assert str(caught.value) == (
        "search_mnasnet needs mnasnet 1.0.0 or newer, found 0.9.0; run this command and restart Ikomia: pip install it"
    )


def test_a_package_updated_while_ikomia_runs_asks_for_a_restart(monkeypatch):
    monkeypatch.setattr(mnasnet, "__version__", "0.9.0")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.10.0rc1")

    with pytest.raises(RuntimeMissingError, match=r"mnasnet 1\.10\.0rc1 is installed but 0\.9\.0 .* restart Ikomia"):
        require_version("search_mnasnet", "1.2.0", "pip install it")


def test_masks_of_a_crowd_are_told_from_objects_with_work_that_grows_as_they_do() -> None:
    from ikomia import core

    def crowd(count: int) -> list[Any]:
        rectangles = [core.CGraphicsRectangle(50.0 * place, 0.0, 40.0, 40.0) for place in range(count)]
        corners = ((2, 2), (42, 2), (42, 38), (2, 38))  # a little over its box
        masks = [
            core.CGraphicsPolygon([core.CPointF(50.0 * place + x, y) for x, y in corners]) for place in range(count)
        ]
        for item in (*rectangles, *masks):
            item.set_category("cell")
        return [*rectangles, *masks]

    few, many = crowd(20), crowd(200)

    assert without_parts(many) == many[:200]
    assert calls_in(lambda: without_parts(many)) < 1.2 * 10 * calls_in(lambda: without_parts(few))


@pytest.mark.parametrize(("left", "is_piece"), [(0.0, True), (15.0, True), (25.0, False), (60.0, False)])
def test_a_polygon_is_a_piece_of_the_object_that_holds_more_than_half_of_it(left: float, is_piece: bool) -> None:
    from ikomia import core

    box = core.CGraphicsRectangle(0.0, 0.0, 40.0, 40.0)
    polygon = core.CGraphicsPolygon([core.CPointF(left + x, y) for x, y in ((0, 0), (40, 0), (40, 40), (0, 40))])
    for item in (box, polygon):
        item.set_category("cell")

    assert without_parts([box, polygon]) == ([box] if is_piece else [box, polygon])


@pytest.mark.parametrize(("path", "file"), [("film", "film.json"), ("film.json", "film.json"), ("a.JSON", "a.JSON")])
def test_results_are_saved_under_a_name_that_ends_in_json_once(path: str, file: str, tmp_path: Path) -> None:
    results = ResultsIO()
    results.data = {"label": "cat"}

    results.save(str(tmp_path / path))

    assert [(one.name, json.loads(one.read_text())) for one in tmp_path.iterdir()] == [(file, {"label": "cat"})]
