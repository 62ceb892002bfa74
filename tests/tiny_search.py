"""A search small enough for tests: some dozens of coloured images, networks of a few thousand weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnasnet import modelfile
from mnasnet.search.progress import Progress
from mnasnet.search.run import SearchedRun, Searching

SPACE_FILE = Path(__file__).parent / "three_blocks.json"
SPACE: dict[str, Any] = json.loads(SPACE_FILE.read_text())  # 64 combinations


class Hearing:
    """Remembers what a search tells while it runs."""

    def __init__(self) -> None:
        self.heard: list[Progress] = []

    def hear(self, progress: Progress) -> None:
        self.heard.append(progress)

    @property
    def trials(self) -> int:
        return sum(progress.record is not None for progress in self.heard)


def tiny_searching(data: Path, parent: Path, **chosen: Any) -> Searching:
    """Four trials of two epochs at 32 pixels on one thread, priced by multiply-adds, so that nothing is left to luck.

    With another ``cost`` the target is what ``chosen`` says.

    Run folders go into ``parent``; a finalist and the winner get a single epoch.
    """
    parent.mkdir(parents=True, exist_ok=True)
    space = parent / "space.json"
    space.write_text(json.dumps(SPACE))
    searching = Searching(
        data=data,
        space=str(space),
        cost="multiply_adds",
        target_cost=1e6,
        minutes=0.0,
        trials=4,
        input_size=32,
        proxy_epochs=2,
        proxy_share=1.0,
        finalists=0,
        finalist_epochs=1,
        final_epochs=1,
        references=False,
        train_threads=1,
        output_folder=parent / "runs",
        name="tiny",
    )
    target = {} if "cost" not in chosen else {"target_cost": 0.0}
    return replace(searching, **{**target, **chosen})


def told_of(searched: SearchedRun) -> list[object]:
    """All that must be equal between equal searches: trials, finalists, winner, weights."""
    answer = searched.answer
    trials = [(r.number, r.state, dict(r.params), r.accuracy, r.values, dict(r.costs)) for r in answer.records]
    trained = [(one.name, one.val_accuracy, one.test_accuracy, one.epochs) for one in answer.contenders]
    return [trials, trained, modelfile.load(searched.model).fingerprint]
