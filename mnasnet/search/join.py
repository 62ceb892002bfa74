"""A process that helps a running search: it judges networks beside the one that leads and writes nothing else."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna

from mnasnet.errors import SearchError
from mnasnet.progress import Stop
from mnasnet.search.folder import SearchFolder, open_search_folder
from mnasnet.search.monitor import Repeats, line_of
from mnasnet.search.open_search import OpenSearch, opened, read_arguments, require_same_device
from mnasnet.search.progress import Progress, SearchListener, audience_of
from mnasnet.search.records import TrialRecord, records
from mnasnet.search.selection import best_trials, told_rewards
from mnasnet.search.stop import SearchStopped, stopping
from mnasnet.search.storage import open_storage, telling_of_database
from mnasnet.search.study import Budget, search
from mnasnet.search.study_flags import is_over, mark_joined
from mnasnet.train.events import Audience
from mnasnet.train.run_folder import require_no_links

LOOK_S = 2.0  # how often a helper looks whether the search is over


@dataclass(frozen=True, slots=True)
class Joined:
    """What a helper did: the numbers of the trials that it settled, and whether the search or the user ended it."""

    run: str
    status: Literal["over", "stopped"]
    trials: tuple[int, ...]

    def summary(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@telling_of_database()
def join_search(path: Path | str, *, listeners: Iterable[SearchListener] = (), stop: Stop = lambda: False) -> Joined:
    """Judge networks of the search in ``path`` until its trials are spent or the process that leads it ends them.

    ``path`` is its folder, or a copy of it where the trials are in a database. Raises SearchError when the search has
    not begun or is over, or when its costs can be measured by the leading process only.
    """
    folder = open_search_folder(path)
    require_no_links(folder.as_run)
    study = _stored(folder)
    audience, settled = audience_of(listeners), list[int]()
    ends = _Ends(study, stop)
    # stopped within a training: another process judges its network
    with contextlib.suppress(SearchStopped), opened(folder.path, stop=ends, filling=stopping(ends)) as here:
        if here.searching.cost == "energy":
            raise SearchError(
                "energy is counted by the machine that leads the search alone, so no other process can join; "
                "let that one finish, or search for another cost"
            )
        require_same_device(here)
        mark_joined(study)
        _help(here, audience, settled, ends)
    return Joined(str(folder.path), "stopped" if stop() else "over", tuple(settled))


def _help(here: OpenSearch, audience: Audience[Progress], settled: list[int], ends: Stop) -> None:
    """Judge networks until ``ends`` says so; the numbers of their trials are added to ``settled``."""
    study, trials, minutes = here.study(), here.searching.trials, here.searching.minutes

    def tell(text: str, record: TrialRecord | None = None, **more: Any) -> None:
        found = records(study)
        spent_s = here.folder.read_state().get("seconds", 0.0)  # the process that leads writes it down
        gone = sum(record.was_judged for record in found) / trials if trials else spent_s / (60 * minutes)
        best = next(iter(best_trials(found, here.searching, 1)), None)
        rewards = told_rewards(record, best, here.searching)
        sought = here.searching.sought_costs
        audience.hear(Progress("searching", min(1.0, gone), text, None, record, best, rewards, sought, **more))

    repeats = Repeats(lambda text, count: tell(text, repeats=count))

    def hear(record: TrialRecord) -> None:
        settled.append(record.number)
        if repeats.is_told(record):
            tell(line_of(record), record=record)

    budget = Budget(evaluations=trials or None, minutes=minutes or None)
    search(study, here.problem, budget, on_trial=hear, should_stop=ends, alone=False)
    repeats.end()


@dataclass(eq=False)
class _Ends:
    """Says whether to stop: asked to, or the search is over, for which the storage is looked at now and then."""

    study: optuna.Study
    stop: Stop
    _looked: float = field(default=0.0, init=False)
    _over: bool = field(default=False, init=False)

    def __call__(self) -> bool:
        if not self._over and time.monotonic() - self._looked > LOOK_S:
            self._looked = time.monotonic()
            self._over = is_over(self.study)
        return self._over or self.stop()


def _stored(folder: SearchFolder) -> optuna.Study:
    """The study as it is stored, for what needs no problem; raises SearchError where there is nothing to join."""
    searching, plan = read_arguments(folder)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.load_study(study_name=plan.study, storage=open_storage(searching.storage or folder.study))
    except KeyError:
        raise SearchError(f"{folder.path} has no trials yet; join when the search shows its first one") from None
    if plan.evaluator == "shared" and not study.get_trials(deepcopy=False):
        raise SearchError(f"{folder.path} still trains the shared weights; join when the search shows its first trial")
    if is_over(study):
        raise SearchError(f"{folder.path} judges no more networks; `python -m mnasnet extend` goes on with the search")
    return study
