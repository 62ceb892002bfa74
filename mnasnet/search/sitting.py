"""One process's sitting at a search: its clock, what it foresees, what it tells and what it writes down."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from mnasnet.errors import MnasNetError, SearchError
from mnasnet.progress import Stop
from mnasnet.search.folder import SearchFolder
from mnasnet.search.notes import levelled_off
from mnasnet.search.open_search import OpenSearch
from mnasnet.search.progress import Progress, Stage
from mnasnet.search.records import records
from mnasnet.search.report.files import trials_of_csv, write_answer
from mnasnet.search.results import SearchedRun, SearchStatus, answer_of, trials_s
from mnasnet.search.timetable import ANSWER_S, Timetable, timetable
from mnasnet.train.events import Audience

KEPT_EVERY_S = 20.0  # the time spent is written down, for a search that is killed


@dataclass(eq=False)
class Sitting:
    """What the stages of a search share: the open search, who listens, whether to stop, and the time."""

    here: OpenSearch
    audience: Audience[Progress]
    stop: Stop
    is_promotion: bool = False  # whose time is not the search's
    times: Timetable = field(init=False)
    _share: float = field(default=0.0, init=False)
    _before_s: float = field(init=False)  # in earlier sittings
    _began: float = field(init=False)
    _kept: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self._kept = time.monotonic()
        self._before_s = self._spent_before()
        self.times = timetable(self.here.searching, self.here.plan, spent_s=self.folder.prepared_s)

    @property
    def folder(self) -> SearchFolder:
        """Where everything lies."""
        return self.here.folder

    @property
    def spent_s(self) -> float:
        """The seconds of all sittings of the search so far."""
        return self._before_s if self.is_promotion else self._before_s + time.monotonic() - self._began

    @property
    def left_s(self) -> float:
        """What is left of the minutes for everything but the check of the ranking and the answer."""
        minutes = self.here.searching.minutes
        return 60 * minutes - self.spent_s - self.times.ranking_s - ANSWER_S if minutes else float("inf")

    def _spent_before(self) -> float:
        """What earlier sittings took; one that was killed is known by its trials, and from time to time by itself."""
        by_trials_s = trials_s(self.here.study(), self.here.searching.workers)
        return max(float(self.folder.read_state().get("seconds", 0.0)), by_trials_s)

    def begin_at(self, stage: Stage, share: float) -> None:
        """Let progress begin within ``stage``, ``share`` of which earlier sittings did."""
        self._share = max(self._share, min(1.0, self._done(stage, share)))

    def tell(self, stage: Stage, share: float, text: str, eta_s: float | None = None, **more: Any) -> None:
        """Pass on where the search stands; ``share`` is of the stage."""
        if time.monotonic() - self._kept > KEPT_EVERY_S:
            self._kept = time.monotonic()
            self.folder.write_state(seconds=round(self.spent_s, 1))
        done = self._done(stage, share)
        left = eta_s if eta_s is not None else (1 - done) * max(self.times.total_s, 1e-9)
        self._share = max(self._share, min(1.0, done))  # an estimate that grew must not turn a bar back
        self.audience.hear(Progress(stage, self._share, text, left, **more))

    def _done(self, stage: Stage, share: float) -> float:
        """How much of everything is done with ``share`` of ``stage``, as foreseen."""
        stage_s = self.times.seconds().get(stage, 0.0)
        return self.times.share_before(stage) + share * stage_s / max(self.times.total_s, 1e-9)

    def answered(self, status: SearchStatus, reason: str) -> SearchedRun:
        """Write the state and the answer's files."""
        self.folder.write_state(status=status, reason=reason, seconds=round(self.spent_s, 1))
        searched = self.told(status, reason)
        if status == "done":
            self.audience.hear(Progress("answering", 1.0, reason, 0.0, best=searched.answer.winner))
        return searched

    def told(self, status: SearchStatus, reason: str) -> SearchedRun:
        """Write the answer's files alone, which may be done beside the process that searches."""
        study = self.here.study()
        found = records(study)
        # a killed process could not write its time down
        spent_s = max(self.spent_s, trials_s(study, self.here.searching.workers))
        answer = answer_of(self.here, found, status, reason, spent_s, note=levelled_off(found))
        write_answer(answer, self.folder.path)
        return SearchedRun(self.folder.path, status, reason, answer)


def told_without_storage(here: OpenSearch, status: SearchStatus, reason: str, lost: MnasNetError) -> SearchedRun:
    """The answer's files made again from the trials in ``trials.csv``, where ``lost`` tells that the storage is away.

    Raises SearchError where that file is missing too.
    """
    folder, cause = here.folder, str(lost).partition(";")[0]
    try:
        found = trials_of_csv(folder.trials.read_bytes(), here.problem.space, here.problem.objectives)
    except FileNotFoundError:
        raise SearchError(
            f"no report can be made without trials: {cause}, and {folder.trials} is missing; bring one of them back"
        ) from lost
    note = f"the trials are those of trials.csv, as the last report left them: {cause}"
    spent_s = float(folder.read_state().get("seconds", 0.0))
    answer = answer_of(here, found, status, reason, spent_s, note=note)
    write_answer(answer, folder.path)
    return SearchedRun(folder.path, status, reason, answer)
