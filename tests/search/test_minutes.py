"""The minutes are a promise: whatever the images, machine and wishes, what is planned fits, and the search ends."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_shared_search import PLAN
from tiny_search import tiny_searching

from mnasnet.data.folder import Sample
from mnasnet.data.split import Split
from mnasnet.errors import SettingsError
from mnasnet.search.folder import open_search_folder
from mnasnet.search.open_search import read_arguments, write_arguments
from mnasnet.search.plan import SearchPlan, Speeds, chosen_share, epoch_s_of, with_speeds
from mnasnet.search.prepare import begin, forecast
from mnasnet.search.records import TrialRecord
from mnasnet.search.references import REFERENCES
from mnasnet.search.run import SearchedRun, Searching, extend_search, resume_search, run_search
from mnasnet.search.timetable import ANSWER_S, after_trials, holds_another_finalist, require_time, timetable
from mnasnet.testing import write_image_folder

BUSY_S = 2.0  # besides the tenth, for a moment in which other work has the machine
PHOTOS = replace(PLAN, small_s=20.0, large_s=30.0, epoch_s=90.0, read_s=60.0)  # some 45,000, two cores

plans = st.builds(
    lambda small, slower, epoch, read: replace(PLAN, small_s=small, large_s=small * slower, epoch_s=epoch, read_s=read),
    st.floats(0.5, 300),
    st.floats(1, 4),
    st.floats(0.05, 600),
    st.floats(0, 300),
)
wishes = st.builds(
    lambda minutes, proxy, finalists, fixed, references, workers: Searching(
        data=Path(),
        minutes=minutes,
        proxy_epochs=proxy,
        finalists=finalists,
        final_epochs=fixed,
        references=references,
        workers=workers,
    ),
    st.floats(0.5, 1000),
    st.integers(1, 20),
    st.integers(0, 6),
    st.sampled_from([0, 0, 0, 30]),
    st.booleans(),
    st.integers(1, 4),
)


@given(wishes, plans, st.floats(0, 60))
def test_what_is_not_refused_is_planned_within_the_minutes(searching: Searching, plan: object, spent_s: float) -> None:
    try:
        require_time(searching, plan, spent_s=spent_s)
    except SettingsError:
        return

    times = timetable(searching, plan, spent_s=spent_s)

    assert spent_s + times.search_limit_s + times.after_search_s <= 60 * searching.minutes
    assert times.search_limit_s >= 10 * plan.trial_s / searching.workers - 1e-6
    assert times.final_epochs >= (searching.final_epochs or 2 * searching.proxy_epochs)


@given(wishes, plans, st.floats(1, 20_000), st.floats(0.05, 900))
def test_after_the_trials_epochs_follow_the_time_that_is_left(
    searching: Searching, plan: object, left_s: float, epoch_s: float
) -> None:
    times = after_trials(searching, plan, left_s, epoch_s)

    if not searching.final_epochs and times.final_epochs > 1:
        assert times.after_search_s <= left_s
    assert times.final_epochs >= 1


@given(wishes, plans, st.floats(0.01, 1), st.floats(0, 20_000))
def test_finalists_see_more_images_than_trials_or_there_are_none(
    searching: Searching, plan: SearchPlan, share: float, left_s: float
) -> None:
    plan = replace(plan, proxy_share=share)

    for times in (timetable(searching, plan), after_trials(searching, plan, left_s, plan.epoch_s)):
        if times.finalists:
            assert times.finalist_epochs >= 2 * share * searching.proxy_epochs


def test_finalists_that_go_on_from_shared_weights_need_no_more_epochs_than_a_trial() -> None:
    searching, plan = Searching(data=Path(), minutes=60, proxy_epochs=5), replace(PHOTOS, proxy_share=1.0)
    left_s = (3 * (6 + 60 + 5 * 90) + (6 + 60 + 10 * 90)) / 0.95 + 1

    shared = after_trials(searching, replace(plan, evaluator="shared"), left_s, 90.0)
    short = after_trials(searching, plan, left_s, 90.0)

    assert (shared.finalists, shared.finalist_epochs) == (3, 5)
    assert short.finalists < 3 and short.finalist_epochs >= 10


def test_a_slower_machine_trains_the_winner_before_more_finalists() -> None:
    searching = Searching(data=Path(), minutes=60, proxy_epochs=5)  # the winner gets ten epochs at least
    left_s = 6 + 60 + 5 * 40 + 6 + 60 + 10 * 40  # each training sets up and reads the images

    assert holds_another_finalist(searching, PHOTOS, left_s, epoch_s=40.0, epochs=5)
    assert not holds_another_finalist(searching, PHOTOS, left_s - 1, epoch_s=40.0, epochs=5)
    assert not holds_another_finalist(searching, PHOTOS, left_s, epoch_s=90.0, epochs=5)


def test_an_epoch_is_foreseen_by_the_training_of_a_trial_and_not_by_its_measurements() -> None:
    middling = TrialRecord(0, "done", {}, seconds=45.0, judged_s=25.0)  # as PHOTOS foresees one

    measured = replace(PHOTOS, small_s=40.0, large_s=50.0, measure_s=20.0)
    assert epoch_s_of(middling, PHOTOS) == epoch_s_of(middling, measured) == PHOTOS.epoch_s
    assert epoch_s_of(replace(middling, judged_s=13.0), PHOTOS) == PHOTOS.epoch_s / 2
    assert epoch_s_of(TrialRecord(0, "done", {}, seconds=49.0), PHOTOS) == 2 * PHOTOS.epoch_s  # of an older study


@pytest.mark.parametrize(("trials", "finalists"), [(1, 0), (2, 2), (50, 3)])
def test_no_more_finalists_are_foreseen_than_there_are_trials(trials: int, finalists: int) -> None:
    for minutes in (0.0, 10_000.0):
        asked = Searching(data=Path(), minutes=minutes, trials=trials, finalists=3)

        assert timetable(asked, PHOTOS).finalists == finalists


def test_what_does_not_fit_is_left_out_the_comparison_first() -> None:
    searching = Searching(data=Path(), minutes=60, finalists=3)

    answers = [timetable(replace(searching, minutes=minutes), PHOTOS) for minutes in (40, 60, 120, 600)]

    assert [times.finalists for times in answers] == [2, 3, 3, 3]
    assert [times.compared for times in answers] == [False, False, False, True]
    assert all(times.total_s <= 60 * minutes for times, minutes in zip(answers, (40, 60, 120, 600), strict=True))


def test_too_few_minutes_are_refused_with_what_is_needed() -> None:
    searching = Searching(data=Path(), minutes=15)

    with pytest.raises(SettingsError, match=r"minutes must be at least 2\d.*10 networks 250 s, 10 epochs"):
        require_time(searching, PHOTOS, spent_s=30.0)

    require_time(replace(searching, minutes=25), PHOTOS, spent_s=30.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_folder(tmp_path_factory.mktemp("data"), per_class=20)


def minutes_only(data: Path, parent: Path, **chosen: object) -> Searching:
    """Everything but the minutes is left to the search."""
    asked = {"trials": 0, "finalists": 3, "finalist_epochs": 0, "final_epochs": 0, "proxy_share": 0.0}
    return tiny_searching(data, parent, **{**asked, **chosen})


def epochs_of(searched: SearchedRun, kind: str) -> set[int]:
    return {one.epochs for one in searched.answer.contenders if one.kind == kind}


def test_too_few_minutes_leave_nothing_and_the_forecast_says_the_same(data: Path, tmp_path: Path) -> None:
    searching = minutes_only(data, tmp_path, minutes=0.05)

    for start in (run_search, forecast):
        with pytest.raises(SettingsError, match=r"minutes must be at least 0\.[1-9].* got 0\.05"):
            start(searching)
    assert not list((tmp_path / "runs").glob("*"))


@pytest.mark.slow
class TestClock:
    """Real searches; a tenth more is the promise, tables, pictures and page included."""

    def test_a_search_ends_with_its_minutes_and_fills_them(self, data: Path, tmp_path: Path) -> None:
        began = time.monotonic()

        # of the tiny space every network is found before the minutes end
        searched = run_search(minutes_only(data, tmp_path, minutes=1.5, references=True, space="small"))

        assert 60 < time.monotonic() - began < 1.1 * 90 + BUSY_S
        assert searched.status == "done"
        assert searched.answer.minutes == pytest.approx((time.monotonic() - began) / 60, abs=ANSWER_S / 60)
        assert len(epochs_of(searched, "finalist")) <= 1  # all alike; none where a busy machine leaves no time
        assert min(epochs_of(searched, "promoted")) >= 1
        compared = {one.name.partition(" x")[0] for one in searched.answer.contenders if one.kind == "reference"}
        missing = set(REFERENCES) - compared
        notes = " ".join(searched.answer.notes)
        assert all(name in notes for name in missing) and ("promote" in notes) == bool(missing)

    def test_a_machine_that_turns_out_slower_costs_epochs_not_minutes(self, data: Path, tmp_path: Path) -> None:
        folder = begin(minutes_only(data, tmp_path, minutes=1.0), tell=lambda text: None, stop=lambda: False)
        searching, plan = read_arguments(folder)
        hopeful = replace(plan, epoch_s=plan.epoch_s / 20, small_s=plan.small_s / 5, large_s=plan.large_s / 5)
        write_arguments(folder, searching, hopeful)

        searched = resume_search(folder.path)

        assert searched.status == "done"
        assert 60 * searched.answer.minutes < 1.1 * 60 + BUSY_S
        assert min(epochs_of(searched, "promoted")) >= 1

    def test_an_extension_by_minutes_ends_with_them(self, data: Path, tmp_path: Path) -> None:
        first = run_search(tiny_searching(data, tmp_path, finalists=2))
        began = time.monotonic()

        longer = extend_search(first.folder, minutes=0.75)

        assert time.monotonic() - began < 1.1 * 45 + BUSY_S  # less where the small space is exhausted
        assert len(longer.answer.records) > len(first.answer.records)

    def test_an_extension_that_cannot_keep_its_minutes_is_refused(self, data: Path, tmp_path: Path) -> None:
        first = run_search(tiny_searching(data, tmp_path))
        before = json.loads(open_search_folder(first.folder).state.read_bytes())

        with pytest.raises(SettingsError, match="minutes must be at least"):
            extend_search(first.folder, minutes=0.01)

        assert json.loads(open_search_folder(first.folder).state.read_bytes()) == before


def test_measuring_each_network_takes_its_part_of_the_minutes() -> None:
    images = tuple(Sample(f"{number}.png", "ab"[number % 2]) for number in range(1000))
    parts, searching = Split(("a", "b"), images, val=()), Searching(data=Path(), minutes=60)
    speeds = Speeds(0.02, 0.03, 0.03, images=1000)

    counted, measured = (with_speeds(replace(PLAN, measure_s=seconds), searching, parts, speeds) for seconds in (0, 8))

    assert measured.short_trial_s == pytest.approx(counted.short_trial_s + 8)
    assert timetable(replace(searching, minutes=0, trials=30), measured).search_s == 30 * measured.short_trial_s
    assert chosen_share(searching, parts, speeds, measure_s=8) < chosen_share(searching, parts, speeds)


def test_fewer_images_in_smaller_batches_are_not_foreseen_to_save_time() -> None:
    images = tuple(Sample(f"{number}.png", "ab"[number % 2]) for number in range(1000))
    parts, searching = Split(("a", "b"), images, val=()), Searching(data=Path(), minutes=60)
    speeds = Speeds(0.02, 0.03, 0.03, images=1000, step_s=1.0)

    foreseen = {
        share: with_speeds(replace(PLAN, proxy_share=share), searching, parts, speeds).short_trial_s
        for share in (0.51, 0.52, chosen_share(searching, parts, speeds))
    }

    assert foreseen[0.51] > 1.3 * foreseen[0.52]  # 16 in a batch instead of 32
    assert 0.3 < chosen_share(searching, parts, replace(speeds, step_s=0.0)) < 0.6
    assert foreseen.popitem()[1] <= 60 * 60 * 0.6 / 40  # forty networks in the time for the search
