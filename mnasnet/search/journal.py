"""A study in one file: a journal that stays quick, tells who still works on its trials, and survives a full disk."""

from __future__ import annotations

import bisect
import contextlib
import json
import operator
import os
import time
import warnings
from collections.abc import Callable, Container, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import JournalStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from mnasnet.errors import SearchError
from mnasnet.search.journal_lock import JournalLock

HEARTBEAT_S = 60  # how often a process that shares a study says that it still works on its trials
GRACE_BEATS = 2  # without so many it is dead, and its networks are judged once more by others
RETRIES = 1  # how often a network whose judge was killed is judged again

_BEAT = "heartbeat"  # the system attribute of a trial that counts in a journal

Retry = Callable[[optuna.Study, FrozenTrial], None]


class Journal(JournalStorage, BaseHeartbeat):
    """A journal that stays quick with ten thousand trials, and whose trials show whether somebody works on them.

    Optuna has the latter for databases alone. A beat is any change of a number; how long it has not changed is told by
    each reader's own clock, so that clocks of several machines need not agree. A trial without a beat, asked for by a
    process that was alone then, is never taken for a dead one's, as in databases.
    """

    def __init__(self, file: JournalFileBackend, heartbeat_s: int) -> None:
        super().__init__(file)
        self._heartbeat_s = heartbeat_s
        self._beats: dict[int, tuple[float, float]] = {}  # the last of each running trial, and since when
        self._sorted: dict[int, _Trials] = {}  # by study

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The study's trials of these states by number; Optuna's own looks at each trial of the study every time."""
        if deepcopy or states is None:
            return super().get_all_trials(study_id, deepcopy, states)
        with self._thread_lock:
            self._sync_with_backend()
            self._replay_result.get_study(study_id)  # KeyError where there is none
            trial_ids = self._replay_result._study_id_to_trial_ids[study_id]
            known = self._sorted.setdefault(study_id, _Trials())
            return known.of(states, trial_ids, self._replay_result._trials)

    def record_heartbeat(self, trial_id: int) -> None:
        """Say that the trial is being worked on."""
        # somebody else gave it up, or the file is away; without this beat there may still be the next
        with contextlib.suppress(UpdateFinishedTrialError, OSError):
            self.set_trial_system_attr(trial_id, _BEAT, time.time())

    def get_heartbeat_interval(self) -> int:
        """Seconds between two beats."""
        return self._heartbeat_s

    def get_heartbeat_stale_trial_callback(self) -> Retry:
        """What becomes of a trial that nobody works on."""
        return retry_callback()

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        now, before = time.monotonic(), self._beats
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        self._beats = {}
        for trial in running:
            beat = trial.system_attrs.get(_BEAT)
            if beat is None:
                continue
            same = trial._trial_id in before and before[trial._trial_id][0] == beat
            self._beats[trial._trial_id] = before[trial._trial_id] if same else (beat, now)
        grace_s = GRACE_BEATS * self._heartbeat_s
        return [trial_id for trial_id, (_, since) in self._beats.items() if now - since > grace_s]


class _Trials:
    """The trials of a study, sorted by state as they finish; a finished one does not change any more."""

    def __init__(self) -> None:
        self._seen = 0  # of the study's trial identifiers
        self._open: list[int] = []
        self._finished: list[FrozenTrial] = []
        self._selected: dict[frozenset[TrialState], list[FrozenTrial]] = {}

    def of(
        self, states: Container[TrialState], trial_ids: Sequence[int], trials: Mapping[int, FrozenTrial]
    ) -> list[FrozenTrial]:
        """Those of ``states`` among ``trials``, by number."""
        candidates = [*self._open, *trial_ids[self._seen :]]
        self._seen = len(trial_ids)
        self._open = [number for number in candidates if not trials[number].state.is_finished()]
        for number in candidates:
            if trials[number].state.is_finished():
                self._add(trials[number])
        wanted = frozenset(state for state in TrialState if state.is_finished() and state in states)
        finished = self._selected.get(wanted)
        if finished is None:
            finished = self._selected[wanted] = [trial for trial in self._finished if trial.state in wanted]
        unfinished = [trials[number] for number in self._open if trials[number].state in states]
        return sorted([*finished, *unfinished], key=_number) if unfinished and finished else [*finished, *unfinished]

    def _add(self, trial: FrozenTrial) -> None:
        lists = [self._finished, *(found for states, found in self._selected.items() if trial.state in states)]
        for found in lists:
            bisect.insort(found, trial, key=_number)


_number = operator.attrgetter("number")


def retry_callback() -> Retry:
    """What becomes of a trial that nobody works on: its network is judged once more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        retry: Retry = RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)
    return retry


class JournalFile(JournalFileBackend):
    """A journal that waits for the disk once a trial, not once a choice, and that a full disk does not spoil.

    A choice is in the file, for every process and after any kill, without the wait; only a power cut can lose
    it, and with it the running trial alone. The next waiting write brings it to the disk too. A line that was cut off
    counts for no reader, and makes way for the next.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._own_lock = JournalLock(path)

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """The lines from this one on; raises SearchError at one that the disk has spoilt."""
        try:
            yield from super().read_logs(log_number_from)
        except ValueError as error:
            raise SearchError(
                f"the journal {self._path} is damaged in line {_damaged_line(self._path)}; bring back a copy of it, or "
                "cut it off before that line"
            ) from error

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add lines; those with more than choices are on the disk when this returns."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        self._own_lock.acquire()
        try:
            with self._path.open("a+b") as file:
                _remove_cut_line(file)
                file.write(lines)
                file.flush()
                if not all("param_name" in log for log in logs):
                    os.fsync(file.fileno())
        finally:
            self._own_lock.release()


def _damaged_line(path: Path) -> int:
    """The number of the first line that cannot be read."""
    with path.open("rb") as file:
        return next(number for number, line in enumerate(file, start=1) if not _is_json(line))


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _remove_cut_line(file: BinaryIO) -> None:
    """Take away what a full disk, or a kill, left of a last line."""
    size = file.seek(0, os.SEEK_END)
    if size:
        file.seek(-1, os.SEEK_END)
        if file.read() != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
