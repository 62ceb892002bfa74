"""The folder of a search: ``runs/search/<name>{N}``, with every file's place, and what it says of itself."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnasnet.errors import SearchError, TrainingError
from mnasnet.files import expanded, write_atomic
from mnasnet.train.checkpoint import CheckpointStore
from mnasnet.train.run_folder import (
    RunFolder,
    new_run_folder,
    open_run_folder,
    read_yaml,
    require_place,
    require_space,
)

KIND = "search"  # under the key "kind" of args.yaml; a training's has no such key


class SearchFolderError(SearchError):
    """A folder that is none of a search, or lacks what going on needs."""


@dataclass(frozen=True, slots=True)
class SearchFolder:
    """Where each file of a search lies."""

    path: Path

    @property
    def arguments(self) -> Path:
        """What was asked for and what was made of it; a resumed search reads it."""
        return self.as_run.arguments

    @property
    def split(self) -> Path:
        """Which images train, validate and are kept for the test."""
        return self.as_run.split

    @property
    def classes(self) -> Path:
        """One class name a line, in the order of the networks' outputs."""
        return self.as_run.classes

    @property
    def space(self) -> Path:
        """The space that is searched, as it was at the start."""
        return self.path / "space.json"

    @property
    def study(self) -> Path:
        """Optuna's journal of all trials."""
        return self.path / "study.journal"

    @property
    def trials(self) -> Path:
        """The trials as the last answer told them, one a line."""
        return self.path / "trials.csv"

    @property
    def report(self) -> Path:
        """The page of the answer."""
        return self.path / "report.html"

    @property
    def latencies(self) -> Path:
        """Every latency measured, one a line."""
        return self.path / "latencies.jsonl"

    @property
    def table(self) -> Path:
        """The device's table of pieces, where one was made."""
        return self.path / "latency_table.json"

    @property
    def supernet(self) -> CheckpointStore:
        """The weights that all networks share, where they judge."""
        return CheckpointStore(self.path / "supernet")

    @property
    def ranking(self) -> Path:
        """The networks that were trained alone to see how far shared weights can be trusted."""
        return self.path / "ranking.json"

    @property
    def state(self) -> Path:
        """How far the search is, and what was decided on the way."""
        return self.path / "state.json"

    @property
    def model(self) -> Path:
        """The winner's model file."""
        return self.as_run.best

    def read_state(self) -> dict[str, Any]:
        """What :meth:`write_state` wrote; empty before that."""
        if not self.state.exists():
            return {}
        try:
            values: dict[str, Any] = json.loads(self.state.read_bytes())
        except ValueError as error:
            raise SearchFolderError(f"{self.state} is damaged ({error}); remove it to choose finalists anew") from error
        return values

    def write_state(self, **changes: Any) -> None:
        """Keep what has been decided so far, whole or not at all."""
        values: Mapping[str, Any] = {**self.read_state(), **changes}
        write_atomic(self.state, json.dumps(values, indent=1).encode())

    @property
    def final(self) -> Mapping[str, Any]:
        """The trial that is trained fully and its epochs; empty before the choice.

        While a search is extended that of the model file counts, until a new one is trained.
        """
        state = self.read_state()
        return state.get("previous_final") or state.get("final") or {}

    @property
    def diverged(self) -> Mapping[Path, str]:
        """The folders of longer trainings that diverged, and what each said of it."""
        return {self.path / name: words for name, words in self.read_state().get("diverged", {}).items()}

    def leave_out(self, training: Path, words: str) -> None:
        """Keep that the longer training in this folder diverged."""
        all_of_them = {**self.diverged, training: words}
        self.write_state(diverged={one.relative_to(self.path).as_posix(): all_of_them[one] for one in all_of_them})

    @property
    def prepared_s(self) -> float:
        """The seconds that were gone before the first trial, or before an extension of the search."""
        return float(self.read_state().get("prepared_s", 0.0))

    @property
    def as_run(self) -> RunFolder:
        """The same folder for what trainings share with it, such as its lock."""
        return RunFolder(self.path)


def new_search_folder(parent: Path, name: str, *, data: Path) -> SearchFolder:
    """Make ``parent/<name>``, or ``<name>2``, ``<name>3`` ...; raises SearchError when it cannot."""
    with _as_search_error():
        return SearchFolder(new_run_folder(parent, name, data=data).path)


def require_place_of_search(parent: Path, *, data: Path) -> None:
    """Raise what :func:`new_search_folder` would, as far as that shows without making anything."""
    with _as_search_error():
        require_place(parent, data=data)


def require_space_of_search(folder: SearchFolder, model_bytes: int) -> None:
    """Raise SearchError unless the disk has room for one training of a network of ``model_bytes``."""
    with _as_search_error():
        require_space(folder.as_run, model_bytes)


@contextlib.contextmanager
def _as_search_error() -> Iterator[None]:
    try:
        yield
    except TrainingError as error:
        raise SearchError(str(error)) from error


def open_search_folder(path: Path | str) -> SearchFolder:
    """An existing search, also found by one of its files; raises SearchError where there is none."""
    path = expanded(path)
    if not path.exists():
        raise SearchFolderError(f"there is no folder {path}; give the one that the search named when it began")
    if not is_search(path):
        raise SearchFolderError(
            f"{path} is not the folder of a search; give the one that the search named when it began"
        )
    return SearchFolder(open_run_folder(path).path.resolve())  # networks are named after the folder, "." has no name


def is_search(path: Path) -> bool:
    """Whether ``path`` is the folder of a search, or a file directly in one."""
    try:
        return read_yaml(open_run_folder(path).arguments).get("kind") == KIND
    except TrainingError:
        return False
