"""The notebooks run from top to bottom and show what they promise."""

import json
import sys

import pytest
from documents import ROOT, links

sys.path.insert(0, str(ROOT / "tools"))

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_BYTES = 200_000  # with their outputs, so that they are read in a browser at once


def cells(path, kind):
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path):
    from run_notebooks import executed

    notebook = executed(path, tmp_path)

    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_kept_with_its_outputs_and_without_places_of_a_machine(path):
    code, text = cells(path, "code"), path.read_text(encoding="utf-8")

    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert len(text) < MOST_BYTES and "/tmp" not in text and "/home" not in text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_of_a_notebook_lead_somewhere(path):
    told = [link for cell in cells(path, "markdown") for link, _ in links("".join(cell["source"]))]

    assert [link for link in told if not (path.parent / link).exists()] == []


def test_there_is_a_notebook_for_each_task():
    assert [path.stem for path in NOTEBOOKS] == ["infer", "search", "train"]
