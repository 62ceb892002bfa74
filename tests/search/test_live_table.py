"""What a search shows while it works: a line a trial on the terminal, and the time that is left."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_search import SPACE

from mnasnet.commands.search import TrialTable
from mnasnet.search.monitor import MOST_UNMEASURED, RECENT_TRIALS, TrialMonitor
from mnasnet.search.progress import Progress
from mnasnet.search.records import State, TrialRecord
from mnasnet.search.searching import Searching
from mnasnet.search.study import MOST_FAILURES
from mnasnet.testing import write_image_folder


def trial(number: int, state: State = "done", seconds: float = 4.0, reward: float = 0.5, **more: Any) -> TrialRecord:
    values = (reward,) if state == "done" else ()
    return TrialRecord(number, state, {}, f"net{number}", {}, reward, values, seconds=seconds, **more)


class TestTimeLeft:
    """The seconds that a monitor foresees, with 10 s for each trial before there is one and 100 s for later stages."""

    @pytest.fixture
    def told(self) -> list[tuple[float, float, TrialRecord | None]]:
        """Share, seconds left and best trial, in the order in which they were told."""
        return []

    @pytest.fixture
    def watch_of(self, told: list[tuple[float, float, TrialRecord | None]]) -> Any:
        def tell(share: float, text: str, eta_s: float, *, best: TrialRecord | None, **more: Any) -> None:
            told.append((share, eta_s, best))

        def make(before: tuple[TrialRecord, ...] = (), limit_s: float = float("inf"), **asked: Any) -> TrialMonitor:
            searching = Searching(Path("photos"), **asked)
            here: Any = SimpleNamespace(searching=searching, plan=SimpleNamespace(trial_s=10.0))
            return TrialMonitor(here, before, limit_s=limit_s, later_s=100.0, tell=tell, stop=lambda: False)

        return make

    def test_is_the_mean_trial_for_all_those_that_are_missing_and_what_comes_later(self, watch_of, told):
        monitor = watch_of(trials=10, minutes=0)

        for number, seconds in enumerate([4.0, 6.0]):
            monitor.hear(trial(number, seconds=seconds))

        assert [left for _, left, _ in told] == [9 * 4 + 100, 8 * 5 + 100]
        assert told[1][0] == pytest.approx(10 / (10 + 40))  # of the search alone

    def test_is_shared_by_workers(self, watch_of, told):
        watch_of(trials=10, minutes=0, workers=2).hear(trial(0))

        assert told[0][1] == 9 * 4 / 2 + 100
        assert told[0][0] == pytest.approx(2 / (2 + 18))

    def test_never_exceeds_the_time_for_searching(self, watch_of, told):
        monitor = watch_of(limit_s=10.0, trials=10)

        for number in range(4):
            monitor.hear(trial(number))

        assert [left - 100 for _, left, _ in told] == [6, 2, 0, 0]

    def test_follows_the_latest_trials(self, watch_of, told):
        monitor = watch_of(trials=40, minutes=0)

        for number in range(RECENT_TRIALS + 5):
            monitor.hear(trial(number, seconds=1.0 if number < 5 else 7.0))

        assert told[-1][1] == (40 - RECENT_TRIALS - 5) * 7 + 100

    def test_counts_only_networks_that_were_judged(self, watch_of, told):
        monitor = watch_of(trials=3, minutes=0)

        monitor.hear(trial(0, "infeasible", seconds=1.0))
        monitor.hear(trial(1, seconds=0.0, duplicate_of=0))
        monitor.hear(trial(2, "pruned", seconds=2.0))

        assert [left - 100 for _, left, _ in told] == [3 * 10, 3 * 10, 2 * 2]

    def test_goes_on_from_the_trials_before(self, watch_of, told):
        watch_of((trial(0), trial(1)), limit_s=50.0, trials=4).hear(trial(2))

        assert told[0][1] == 1 * 4 + 100
        assert told[0][0] == pytest.approx(12 / 16)

    def test_comes_with_the_best_trial_so_far(self, watch_of, told):
        monitor = watch_of(trials=9)

        for number, reward in enumerate([0.5, 0.7, 0.6]):
            monitor.hear(trial(number, reward=reward))

        assert [best and best.number for _, _, best in told] == [0, 1, 1]


def test_of_trials_with_one_reward_the_cheapest_is_told_as_the_best_as_the_winner_is_chosen() -> None:
    told: list[int] = []
    here: Any = SimpleNamespace(searching=Searching(Path("photos")), plan=SimpleNamespace(trial_s=10.0))

    def tell(*progress: Any, best: TrialRecord, **more: Any) -> None:
        told.append(best.number)

    monitor = TrialMonitor(here, (), limit_s=100.0, later_s=0.0, tell=tell, stop=lambda: False)
    for number, latency_ms in enumerate([4.0, 2.0, 3.0]):
        monitor.hear(TrialRecord(number, "done", {}, f"net{number}", {"latency_ms": latency_ms}, 0.5, (0.5,)))

    assert told == [0, 1, 1]


def test_the_rewards_of_a_search_for_trade_offs_are_those_that_choose_its_winner() -> None:
    told: list[tuple[float, float]] = []
    asked = Searching(Path("photos"), objectives="latency", target_latency_ms=2.0)
    here: Any = SimpleNamespace(searching=asked, plan=SimpleNamespace(trial_s=10.0))

    def tell(*progress: Any, rewards: tuple[float, float], **more: Any) -> None:
        told.append(rewards)

    monitor = TrialMonitor(here, (), limit_s=100.0, later_s=0.0, tell=tell, stop=lambda: False)
    for number, (accuracy, latency_ms) in enumerate([(0.5, 2.0), (0.8, 4.0)]):  # the second takes twice the target
        costs = {"latency_ms": latency_ms}
        monitor.hear(TrialRecord(number, "done", {}, f"net{number}", costs, accuracy, (accuracy, latency_ms)))

    assert told == [(0.5, 0.5), (0.4, 0.5)]


def test_of_repeats_in_a_row_the_first_is_told_and_then_how_many_there_were() -> None:
    told: list[tuple[str, int]] = []
    here: Any = SimpleNamespace(searching=Searching(Path("photos")), plan=SimpleNamespace(trial_s=10.0))

    def tell(share: float, text: str, eta_s: float, *, repeats: int = 0, **more: Any) -> None:
        told.append((text.partition(",")[0], repeats))

    monitor = TrialMonitor(here, (), limit_s=100.0, later_s=0.0, tell=tell, stop=lambda: False)
    monitor.hear(trial(0))
    for number in (1, 2, 3):
        monitor.hear(trial(number, seconds=0.0, duplicate_of=0))
    monitor.hear(trial(4))
    monitor.hear(trial(5, seconds=0.0, duplicate_of=0))
    monitor.tell_repeats()
    monitor.hear(trial(6, seconds=0.0, duplicate_of=0))
    monitor.hear(trial(7, seconds=0.0, duplicate_of=0))
    monitor.tell_repeats()

    assert told == [
        ("trial 0: done", 0),
        ("trial 1: done", 0),
        ("2 more trials repeated networks that are known already", 3),
        ("trial 4: done", 0),
        ("trial 5: done", 0),
        ("trial 6: done", 0),
        ("1 more trial repeated networks that are known already", 2),
    ]


class TestHopeless:
    """More trials are no use."""

    @pytest.fixture
    def monitor(self) -> TrialMonitor:
        here: Any = SimpleNamespace(searching=Searching(Path("photos")), plan=SimpleNamespace(trial_s=10.0))
        return TrialMonitor(here, (), limit_s=100.0, later_s=0.0, tell=lambda *told, **more: None, stop=lambda: False)

    def test_when_a_device_measures_nothing_any_more_although_networks_were_found(self, monitor):
        monitor.hear(trial(0))
        for number in range(MOST_UNMEASURED):
            assert not monitor.should_stop()
            monitor.hear(trial(number + 1, "unmeasured"))

        assert monitor.should_stop() and monitor.hopeless == "the device did not measure the last 10 networks"

    def test_not_while_a_device_now_and_then_answers(self, monitor):
        for number in range(5 * MOST_UNMEASURED):
            monitor.hear(trial(number, "infeasible" if number % 3 == 0 else "unmeasured"))

        assert "could not be judged or measured" in monitor.hopeless  # since none worked at all
        monitor.hear(trial(100))
        assert not monitor.should_stop()

    def test_when_all_fail_but_not_when_some_do(self, monitor):
        for number in range(MOST_FAILURES):
            assert not monitor.should_stop()
            monitor.hear(trial(number, "failed"))

        assert monitor.hopeless == "the first 10 networks could not be judged or measured"

    def test_not_for_what_is_no_network_of_the_space(self, monitor):
        for number in range(2 * MOST_FAILURES):
            monitor.hear(TrialRecord(number, "failed", {}, reason="not a network of the space: kernel 9"))

        assert not monitor.should_stop()


class TestTable:
    def lines(self, capsys: pytest.CaptureFixture[str], *heard: Progress) -> list[str]:
        table = TrialTable()
        for progress in heard:
            table.hear(progress)
        captured = capsys.readouterr()
        assert captured.out == ""  # which is kept for results
        return captured.err.splitlines()

    def test_has_a_column_for_each_cost_and_one_line_a_trial(self, capsys):
        costs = {"latency_ms": 3.25, "parameters": 2e6}
        first = TrialRecord(0, "done", {}, "a", costs, 0.5, (0.5,), seconds=1.0)
        second = TrialRecord(1, "infeasible", {}, "b", {"latency_ms": 9.0}, reason="above the limit")
        head, *rows = self.lines(
            capsys,
            Progress("searching", 0.25, "", 3723.4, first, first, (0.5, 0.5)),
            Progress("searching", 0.5, "", 59.6, second, first, (None, 0.5)),
        )

        assert head.split() == ["done", "left", "trial", "state", "accuracy", "latency", "parameters", "reward", "best"]
        assert rows[0].split() == ["25%", "1:02:03", "0", "done", "50.0%", "3.25", "ms", "2", "M", "0.5000", "0.5000"]
        assert rows[1].split() == ["50%", "0:01:00", "1", "infeasible", "9", "ms", "0.5000", "above", "the", "limit"]
        assert head.index("latency") + len("latency") == rows[0].index("3.25 ms") + len("3.25 ms")
        assert head.index("best") + len("best") == len(rows[0])

    def test_fits_into_a_terminal_by_leaving_out_the_costs_that_decide_nothing(self, capsys):
        costs = {"multiply_adds": 1e7, "parameters": 2e6, "model_bytes": 8e6, "latency_ms": 3.25}
        record = TrialRecord(0, "done", {}, "a", costs, 0.5, (0.5,), seconds=1.0)
        sought = Searching(Path("photos")).sought_costs
        head, row = self.lines(
            capsys, Progress("searching", 0.25, "", 3723.4, record, record, (0.5, 0.5), sought=sought)
        )

        assert head.split() == ["done", "left", "trial", "state", "accuracy", "latency", "reward", "best"]
        assert len(head) == len(row) < 80

    @pytest.mark.parametrize(
        ("left_s", "told"), [(None, ""), (float("inf"), ""), (0.0, "0:00:00"), (86400, "24:00:00")]
    )
    def test_shows_no_clock_while_nobody_knows(self, left_s, told, capsys):
        (line,) = self.lines(capsys, Progress("training", 0.5, "epoch 1", left_s))

        assert line.split() == ["50%", *([told] if told else []), "epoch", "1"]

    def test_says_that_a_network_was_known_and_hides_why_one_was_pruned(self, capsys):
        known = TrialRecord(3, "done", {}, "a", {}, 0.5, (0.5,), duplicate_of=1)
        pruned = TrialRecord(4, "pruned", {}, "b", {}, 0.4, reason="hopeless after epoch 2")
        lines = self.lines(
            capsys, Progress("searching", 0.5, "", None, known), Progress("searching", 0.6, "", None, pruned)
        )

        assert lines[0].split()[:3] == ["50%", "3", "repeated"]
        assert lines[1].split() == ["60%", "4", "pruned", "40.0%"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
def test_a_terminal_shows_each_trial_as_it_comes_and_standard_output_the_result(tmp_path: Path) -> None:
    import pty

    data = write_image_folder(tmp_path / "photos", per_class=10)
    (tmp_path / "space.json").write_text(json.dumps(SPACE))
    settings = (
        "--space=space.json --cost=multiply_adds --target-cost=1e6 --minutes=0 --trials=3 --imgsz=32 --proxy-epochs=1 "
        "--proxy-share=1 --finalists=0 --final-epochs=1 --references=false --train-threads=1 --json"
    )
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mnasnet", "search", str(data), *settings.split()],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while chunk := _read(ours):
        shown += chunk
    out, _ = process.communicate(timeout=60)

    lines = shown.decode().replace("\r\n", "\n").splitlines()
    rows = [line for line in lines if re.match(r" *\d+% +\d+:\d\d:\d\d +\d+  (done|repeated)", line)]
    assert process.returncode == 0 and json.loads(out.splitlines()[-1])["status"] == "done"
    assert [row.split()[2] for row in rows] == ["0", "1", "2"]
    assert sum("accuracy" in line and "reward" in line for line in lines) == 1
    assert all(
        row.split()[-1] == f"{max(float(r.split()[-2]) for r in rows[: i + 1]):.4f}" for i, row in enumerate(rows)
    )


def _read(terminal: int) -> bytes:
    """What was written since; nothing once the other end is closed."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""
