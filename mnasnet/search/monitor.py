"""What a search notices of its own trials: time spent and left, the best so far, and that nothing works."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mnasnet.progress import Stop
from mnasnet.search.open_search import OpenSearch
from mnasnet.search.records import TrialRecord
from mnasnet.search.selection import best_trials, told_rewards
from mnasnet.search.study import InVain
from mnasnet.words import amount

MOST_UNMEASURED = 10  # in a row: the device is away for longer than a search waits
RECENT_TRIALS = 10  # whose time tells how long the next ones take


class TrialMonitor:
    """Hears of every trial: tells it on, knows the time spent, and notices when nothing works.

    ``limit_s`` seconds are left for trials, ``later_s`` are foreseen for what comes after them.
    """

    def __init__(
        self,
        here: OpenSearch,
        before: Sequence[TrialRecord],
        *,
        limit_s: float,
        later_s: float,
        tell: Callable[..., None],
        stop: Stop,
    ) -> None:
        self._here, self._tell, self._stop = here, tell, stop
        self._limit_s, self._later_s = limit_s, later_s
        asked = here.searching
        self._trials, self._workers = asked.trials, asked.workers
        judged = [record for record in before if record.was_judged]
        self._judged = len(judged)
        self._seconds = [record.seconds for record in judged]
        self._before_s = self._spent_s = sum(record.seconds for record in before) / self._workers
        done = best_trials(before, asked, 1)
        self._best = done[0] if done else None
        self._unmeasured, self._in_vain = 0, InVain()
        self._repeats = Repeats(lambda text, count: self._tell(*self._progress(text), repeats=count))

    @property
    def standing(self) -> tuple[float, float]:
        """How much of the searching is done, 0 to 1, and the seconds that everything will still take."""
        left_s = self._left_s()
        return self._spent_s / max(self._spent_s + left_s, 1e-9), left_s + self._later_s

    @property
    def hopeless(self) -> str:
        """Why more trials are no use, "" while they are.

        The device is away, or so many trials failed, and none worked, that it is not the networks.
        """
        if self._unmeasured >= MOST_UNMEASURED:
            return f"the device did not measure the last {self._unmeasured} networks"
        return self._in_vain.told if self._best is None else ""

    def should_stop(self) -> bool:
        """Whether the user ends the search, or more trials are no use."""
        return self._stop() or bool(self.hopeless)

    def hear(self, record: TrialRecord) -> None:
        """Take notice of a trial that is settled."""
        self._spent_s += record.seconds / self._workers
        if record.was_judged:
            self._judged += 1
            self._seconds.append(record.seconds)
        self._in_vain.hear(record)
        if record.duplicate_of is None:
            self._unmeasured = self._unmeasured + 1 if record.state == "unmeasured" else 0
        asked = self._here.searching
        if record.is_result:
            rivals = [record] if self._best is None else [self._best, record]
            self._best = best_trials(rivals, asked, 1)[0]
        if self._repeats.is_told(record):
            rewards = told_rewards(record, self._best, asked)
            line = self._progress(line_of(record))
            self._tell(*line, record=record, best=self._best, rewards=rewards, sought=asked.sought_costs)

    def tell_repeats(self) -> None:
        """Tell of the trials in a row that repeated known networks until now."""
        self._repeats.end()

    def _progress(self, text: str) -> tuple[float, str, float]:
        """How much is done, what to say and the seconds left."""
        share, left_s = self.standing
        return share, text, left_s

    def _left_s(self) -> float:
        """The seconds that searching will still take."""
        latest = self._seconds[-RECENT_TRIALS:]
        mean_s = sum(latest) / len(latest) if latest else self._here.plan.trial_s
        by_trials_s = (self._trials - self._judged) * mean_s / self._workers if self._trials else math.inf
        return max(0.0, min(by_trials_s, self._limit_s - (self._spent_s - self._before_s)))


class Repeats:
    """Of trials in a row that repeat known networks the first is told, and then how many more there were.

    ``tell`` gets the line for that, and how many trials the row had.
    """

    def __init__(self, tell: Callable[[str, int], None]) -> None:
        self._tell = tell
        self._count = 0  # in a row, until now

    def is_told(self, record: TrialRecord) -> bool:
        """Whether the trial has a line of its own; one that repeats nothing ends the row before it."""
        if record.duplicate_of is None:
            self.end()
        else:
            self._count += 1
        return self._count <= 1

    def end(self) -> None:
        """Tell of the row, where it had more than the trial told of."""
        if self._count > 1:
            self._tell(f"{amount(self._count - 1, 'more trial')} repeated networks that are known already", self._count)
        self._count = 0


def line_of(record: TrialRecord) -> str:
    """One line for people."""
    accuracy = "" if record.accuracy is None else f", accuracy {record.accuracy:.1%}"
    return f"trial {record.number}: {record.state}{accuracy}"
