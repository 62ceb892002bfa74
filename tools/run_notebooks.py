"""Run the notebooks and keep what they show: python tools/run_notebooks.py [NAME ...]

They run in a home folder of their own; a notebook whose cell fails is left as it was.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import install_plugins
import nbformat
from nbclient import NotebookClient

FOLDER = install_plugins.ROOT / "notebooks"
TIMEOUT_S = 1800  # of one cell


def main() -> None:
    for path in sorted(FOLDER.glob("*.ipynb")):
        if len(sys.argv) == 1 or path.stem in sys.argv[1:]:
            with tempfile.TemporaryDirectory() as home:
                nbformat.write(executed(path, Path(home)), path)
            print(path)


def executed(path: Path, home: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of its cells, Ikomia having ``home`` for its home; raises when a cell fails."""
    install_plugins.install(home)
    scratch = home / "scratch"  # also for what cells put into a temporary folder
    scratch.mkdir()
    notebook = nbformat.read(path, as_version=4)
    places = {"HOME": str(home), "USERPROFILE": str(home), "TMPDIR": str(scratch), "IKOMIA_AUTO_COMPLETION": "false"}
    paths = os.pathsep.join(filter(None, (str(install_plugins.ROOT), os.environ.get("PYTHONPATH"))))
    NotebookClient(notebook, timeout=TIMEOUT_S, kernel_name="python3", coalesce_streams=True).execute(
        cwd=str(scratch), env={**os.environ, **places, "PYTHONPATH": paths}
    )
    for cell in notebook.cells:
        cell.get("metadata", {}).pop("execution", None)  # when it ran is of no interest
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]  # bars
        for output in cell.get("outputs", []):
            if "text" in output:
                text = re.sub(rf"{re.escape(str(scratch))}/\w+/", "", output["text"])  # a temporary folder's own name
                output["text"] = text.replace(str(home), "~")
    return notebook


if __name__ == "__main__":
    main()
