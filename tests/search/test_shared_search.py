"""A whole search by shared weights: chosen, foreseen, stopped, resumed, checked and told."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from equal_runs import checkpoint_digest
from tiny_search import Hearing

from mnasnet import modelfile
from mnasnet.errors import SettingsError
from mnasnet.modelfile import weights_of
from mnasnet.search.curriculum import Curriculum
from mnasnet.search.folder import SearchFolder
from mnasnet.search.forecast import Forecast, Missed
from mnasnet.search.open_search import opened, read_arguments, write_arguments
from mnasnet.search.plan import SearchPlan, Speeds
from mnasnet.search.prepare import begin
from mnasnet.search.records import TrialRecord, records
from mnasnet.search.results import NothingFoundError
from mnasnet.search.run import SearchedRun, Searching, extend_search, resume_search, run_search
from mnasnet.search.selection import finalist_trials
from mnasnet.search.shared_plan import SharedTimes, shared_times, with_shared
from mnasnet.search.short_training import OVERHEAD_S
from mnasnet.search.timetable import timetable
from mnasnet.space import SearchSpace
from mnasnet.spaces import paper_space, tiny_space
from mnasnet.testing import write_image_folder

pytestmark = pytest.mark.usefixtures("quick_latencies")

PLAN = SearchPlan(
    class_names=("a", "b"),
    short_side=64,
    input_size=64,
    proxy_share=0.4,
    threads=1,
    device="cpu",
    study="search",
    small_s=20.0,
    large_s=40.0,
    epoch_s=10.0,
    version="0",
)
TIMES = SharedTimes(epoch_s=60.0, trial_s=2.0)


def asked(data: Path, folder: Path, **chosen: object) -> Searching:
    searching = Searching(
        data=data,
        output_folder=folder,
        space=str(small_space_file(folder)),
        evaluator="shared",
        shared_epochs=2,
        trials=2,
        minutes=0,
        input_size=32,
        cost="multiply_adds",
        target_cost=1e9,
        finalists=1,
        proxy_epochs=1,
        final_epochs=1,
        references=False,
        train_threads=1,
        check_ranking=3,
    )
    return replace(searching, **chosen)


def small_space_file(folder: Path) -> Path:
    """The tiny space's first blocks, so that the tests stay fast."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "space.json"
    path.write_text(json.dumps(SearchSpace(tiny_space().blocks[:4], stem_channels=8, head_channels=32).to_dict()))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_folder(tmp_path_factory.mktemp("images"), per_class=12)


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchedRun, Hearing]:
    hearing = Hearing()
    return run_search(asked(data, tmp_path_factory.mktemp("runs")), listeners=[hearing]), hearing


def test_progress_names_the_shared_weights_and_never_falls(finished: tuple[SearchedRun, Hearing]) -> None:
    heard = finished[1].heard
    stages = list(dict.fromkeys(progress.stage for progress in heard))
    shares = [progress.share for progress in heard]

    assert stages == ["preparing", "forecast", "supernet", "searching", "training", "ranking", "answering"]
    assert shares == sorted(shares)


def test_limits_that_even_the_smallest_network_breaks_are_told_before_anything_is_trained(
    data: Path, tmp_path: Path
) -> None:
    hearing = Hearing()

    with pytest.raises(NothingFoundError, match="no network met the limits; the nearest is trial"):
        run_search(asked(data, tmp_path, target_cost=1000.0, algorithm="random"), listeners=[hearing])

    told = [progress.text for progress in hearing.heard]
    assert any("even the smallest network is far above the limits: multiply_adds" in text for text in told)
    assert not any("shared weights: epoch" in text for text in told)


def test_the_answer_says_how_accuracy_was_judged_and_shows_both_accuracies(
    finished: tuple[SearchedRun, Hearing],
) -> None:
    run, _ = finished
    (trained,) = run.answer.contenders

    assert "with shared weights, trained once for all networks in 2 epochs" in run.answer.evaluator
    assert trained.val_accuracy is not None and trained.epochs == 1
    assert run.answer.winner is not None
    assert trained.proxy_accuracy == run.answer.winner.accuracy
    assert run.answer.accuracy_name == "expected top-1 accuracy"


def test_the_report_carries_how_far_shared_weights_can_be_trusted(finished: tuple[SearchedRun, Hearing]) -> None:
    run, _ = finished

    assert any(
        "on 3 networks trained alone for 1 epoch shared weights reach Kendall tau" in note for note in run.answer.notes
    )
    assert "Kendall tau" in (run.folder / "report.html").read_text(encoding="utf-8")
    assert len(json.loads((run.folder / "ranking.json").read_text())) == 3


@pytest.mark.slow
def test_an_extension_needs_no_minutes_for_a_check_that_is_over(
    finished: tuple[SearchedRun, Hearing], tmp_path: Path
) -> None:
    folder = SearchFolder(Path(shutil.copytree(finished[0].folder, tmp_path / "copied")))
    searching, plan = read_arguments(folder)
    write_arguments(folder, replace(searching, proxy_epochs=4000), plan)  # of the check; the winner's are settled

    longer = extend_search(folder.path, minutes=0.5)

    assert longer.status == "done" and longer.answer.ranking is not None
    assert longer.answer.ranking.networks == finished[0].answer.ranking.networks


def test_a_search_stopped_in_its_supernet_goes_on_to_the_same_trials(
    finished: tuple[SearchedRun, Hearing], data: Path, tmp_path: Path
) -> None:
    hearing, later = Hearing(), Hearing()

    def in_the_second_epoch() -> bool:
        return any("shared weights: epoch 1" in progress.text for progress in hearing.heard)

    stopped = run_search(asked(data, tmp_path, check_ranking=0), listeners=[hearing], stop=in_the_second_epoch)
    resumed = resume_search(stopped.folder, listeners=[later])

    whole = finished[0]
    assert later.heard[0].share > 0 and later.heard[0].text.startswith("space")
    assert (stopped.status, resumed.status) == ("stopped", "done")
    digests = [checkpoint_digest(SearchFolder(run.folder).supernet) for run in (whole, resumed)]
    assert digests[0] == digests[1]
    assert [(r.fingerprint, r.accuracy) for r in resumed.answer.records] == [
        (r.fingerprint, r.accuracy) for r in whole.answer.records
    ]


def trial(number: int, accuracy: float, multiply_adds: float, **more: Any) -> TrialRecord:
    costs = {"multiply_adds": multiply_adds}
    return TrialRecord(number, "done", {}, costs=costs, accuracy=accuracy, values=(accuracy,), **more)


def test_the_largest_networks_within_the_target_are_finalists_too(tmp_path: Path) -> None:
    searching = asked(tmp_path, tmp_path, target_cost=50.0)
    judged = [trial(0, 0.30, 10), trial(1, 0.33, 20), trial(2, 0.32, 30), trial(3, 0.29, 50), trial(4, 0.20, 60)]

    def numbers(count: int) -> list[int]:
        return [one.number for one in finalist_trials(judged, searching, count, lambda one: one.costs["multiply_adds"])]

    assert numbers(1) == [1]
    assert numbers(3) == [1, 3, 2]  # trial 4 is above the target
    assert numbers(9) == [1, 3, 2, 0, 4]


def test_a_reward_that_ignores_the_target_has_the_same_finalists_for_every_target(tmp_path: Path) -> None:
    judged = [trial(0, 0.60, 10), trial(1, 0.64, 20), trial(2, 0.66, 40), trial(3, 0.65, 80)]

    def numbers(target: float) -> list[int]:
        searching = asked(tmp_path, tmp_path, reward="soft", target_cost=target)
        return [one.number for one in finalist_trials(judged, searching, 2, lambda one: one.costs["multiply_adds"])]

    assert numbers(15.0) == numbers(30.0) == numbers(100.0) == [2, 3]


@pytest.mark.slow
def test_a_search_with_shared_weights_trains_its_largest_network_as_a_finalist(data: Path, tmp_path: Path) -> None:
    run = run_search(asked(data, tmp_path, trials=5, finalists=2, finalist_epochs=1, check_ranking=0))

    judged = [one for one in run.answer.records if one.state == "done"]
    largest = max(judged, key=lambda one: one.costs["multiply_adds"])
    best = max(judged, key=lambda one: (one.accuracy or 0.0, -one.number))
    assert {one.trial for one in run.answer.contenders if one.kind == "finalist"} >= {best.number, largest.number}


def test_auto_is_shared_from_a_thousand_images_on_where_time_suffices() -> None:
    searching = Searching(data=Path(), minutes=60)

    assert with_shared(PLAN, searching, tiny_space(), TIMES, images=1000).evaluator == "shared"
    assert with_shared(PLAN, searching, tiny_space(), TIMES, images=999).evaluator == "short"
    assert with_shared(PLAN, replace(searching, minutes=20), tiny_space(), TIMES, images=1000).evaluator == "short"
    assert (
        with_shared(PLAN, replace(searching, evaluator="short"), tiny_space(), TIMES, images=50_000).evaluator
        == "short"
    )
    assert (
        with_shared(PLAN, replace(searching, evaluator="shared"), tiny_space(), TIMES, images=10).evaluator == "shared"
    )


def test_auto_trains_each_network_of_a_space_that_mixes_operators() -> None:
    searching = Searching(data=Path(), minutes=60)

    assert with_shared(PLAN, searching, paper_space(), TIMES, images=50_000).evaluator == "short"


def test_who_asks_for_a_check_of_the_ranking_gets_shared_weights() -> None:
    searching = Searching(data=Path(), minutes=60, check_ranking=3)

    assert with_shared(PLAN, searching, tiny_space(), TIMES, images=10).evaluator == "shared"


def test_shared_weights_get_fewer_epochs_where_the_preparation_took_minutes_and_never_more_than_pay() -> None:
    searching = Searching(data=Path(), minutes=60, references=False, evaluator="shared")

    def epochs(epoch_s: float, spent_s: float = 0.0) -> int:
        times = replace(TIMES, epoch_s=epoch_s)
        return with_shared(PLAN, searching, tiny_space(), times, images=5000, spent_s=spent_s).shared_epochs

    assert epochs(60.0, spent_s=1200.0) < epochs(60.0) < epochs(1.0) == 50


def test_the_epochs_of_shared_weights_fit_into_the_minutes() -> None:
    searching = Searching(data=Path(), minutes=60)

    plan = with_shared(PLAN, searching, tiny_space(), TIMES, images=5000)
    times = timetable(searching, plan)

    assert 10 <= plan.shared_epochs <= 50
    assert times.supernet_s == plan.shared_epochs * 60
    assert times.total_s == pytest.approx(3600, rel=0.05)
    assert times.search_s > 60  # 30 networks and more at two seconds each
    assert plan.proxy_share == 1.0


def test_on_a_share_of_the_images_an_epoch_of_shared_weights_and_the_check_take_that_share() -> None:
    def epoch_s(share: float) -> float:
        parts = SimpleNamespace(train=range(40_000), val=range(500))
        alike = SimpleNamespace(
            images=SimpleNamespace(parts=parts, share=share),
            size_of=lambda candidate: 64,
            seconds_per_image=lambda candidate, size, images: 0.001,
        )
        return shared_times(cast("Any", alike), tiny_space(), Curriculum(), Speeds(0.001, 0.001, 0.001, 40_000)).epoch_s

    def check_s(share: float) -> float:
        asked = Searching(data=Path(), proxy_share=share, check_ranking=24, evaluator="shared")
        return timetable(asked, PLAN).ranking_s - 24 * OVERHEAD_S

    assert epoch_s(0.25) == pytest.approx(epoch_s(1.0) / 4, rel=0.02)  # each epoch is watched on as many images
    assert check_s(0.25) == pytest.approx(check_s(1.0) / 4)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (("latency_ms", 8.0), "8 ms is more than the largest network takes, so it decides nothing; take 0.155 to 2.56"),
        (
            ("parameters", 9e6),
            "9,000,000 weights is more than the largest network takes, so it decides nothing; take 200,000 to 4",
        ),
        (("latency_ms", 2.0), ""),
        (("parameters", 1e6), ""),
        (("energy_mj", 9.0), ""),  # which could not be measured
        (None, ""),
    ],
)
def test_a_forecast_tells_of_a_target_that_every_network_meets(target: tuple[str, float] | None, told: str) -> None:
    searching = Searching(data=Path(), minutes=0, trials=3)
    times = timetable(searching, PLAN)

    costs = {"latency_ms": (0.155, 2.56), "parameters": (2e5, 4.2e6)}
    forecast = Forecast(512, PLAN, times, 3, short_epochs=1, workers=1, costs=costs, target=target)

    assert f"target    {told}" in forecast.text if told else "target" not in forecast.text
    assert "latency   0.155 to 2.56 ms on the device, the smallest and the largest network" in forecast.text
    assert "cost      200,000 to 4,200,000 weights, the smallest and the largest network" in forecast.text


@pytest.mark.parametrize(
    ("is_measured", "told"),
    [
        (False, "predicted by the table of the device, {}, which the table does not order"),
        (True, "on the device, {}, which takes less"),
    ],
)
def test_a_forecast_tells_where_the_larger_network_is_the_faster(is_measured: bool, told: str) -> None:
    times = timetable(Searching(data=Path(), minutes=0, trials=3), PLAN)
    costs = {"latency_ms": (9.29, 7.06)}

    forecast = Forecast(512, PLAN, times, 3, short_epochs=1, workers=1, costs=costs, latency_is_measured=is_measured)

    ends = "the smallest and the largest network of the space by multiply-adds"
    assert f"latency   9.29 to 7.06 ms {told.format(ends)}\n" in forecast.text


@pytest.mark.parametrize(("smallest", "is_hopeless"), [(2.0, False), (2.1, True)])
def test_a_limit_is_hopeless_where_the_smallest_network_takes_more_than_twice_of_it(
    smallest: float, is_hopeless: bool
) -> None:
    times = timetable(Searching(data=Path(), minutes=0, trials=3), PLAN)

    forecast = Forecast(
        512, PLAN, times, 3, short_epochs=1, workers=1, missed=(Missed("latency_ms", smallest, bound=1.0),)
    )

    assert forecast.is_hopeless is is_hopeless
    assert ("far above the limits: latency_ms" in forecast.text) is is_hopeless


def test_a_forecast_tells_the_minutes_of_both_evaluators() -> None:
    searching = Searching(data=Path(), minutes=0, trials=120)
    plan = with_shared(PLAN, searching, tiny_space(), TIMES, images=5000)

    forecast = Forecast(512, plan, timetable(searching, plan), 120, short_epochs=5, workers=1)

    assert forecast.short_minutes == pytest.approx(120 * 30 / 60)
    assert forecast.shared_minutes == pytest.approx((25 * 60 + 120 * 2) / 60)
    assert "60 min for 120" in forecast.text and "29 min for 120" in forecast.text
    two = replace(forecast, workers=2)
    assert two.short_minutes == pytest.approx(120 * 30 / 2 / 60)
    assert two.shared_minutes == pytest.approx((25 * 60 + 120 * 2 / 2) / 60)  # the weights are trained once


@pytest.mark.parametrize(
    ("small_s", "large_s", "told"),
    [(12.0, 33.4, "12 to 33 s"), (2.1, 0.96, "1.0 to 2.1 s"), (8.96, 9.04, "9.0 s"), (0.04, 12.0, "<0.1 to 12 s")],
)
def test_a_forecast_tells_times_in_order_and_one_epoch_as_one(small_s: float, large_s: float, told: str) -> None:
    searching = Searching(data=Path(), minutes=0, trials=3, final_epochs=1)
    plan = replace(PLAN, small_s=small_s, large_s=large_s, shared_epochs=1, shared_epoch_s=9.0, shared_trial_s=0.02)

    forecast = Forecast(
        512, plan, timetable(searching, plan), 3, short_epochs=1, workers=1, costs={"latency_ms": (1.30, 1.299)}
    )

    assert f"1 epoch for each network, {told}: " in forecast.text
    assert "1 epoch once for all, then <0.1 s for each" in forecast.text
    assert "min (1 epoch)" in forecast.text
    assert "latency   1.3 ms on the device" in forecast.text
    assert "1 epochs" not in forecast.text


def test_checking_the_ranking_needs_shared_weights() -> None:
    with pytest.raises(SettingsError, match="got 24 with evaluator short"):
        Searching(data=Path(), evaluator="short", check_ranking=24)


STOP_S = 10.0


@pytest.mark.parametrize(
    ("last_words", "chosen"),
    [
        ("training 3 networks alone", {"proxy_epochs": 5000}),
        (
            "scaling the published networks",
            {"cost": "latency", "target_cost": 0.0, "target_latency_ms": 50.0, "profile": False},
        ),
        ("MnasNet-A1", {}),
    ],
)
@pytest.mark.slow
def test_the_stages_behind_the_winner_stop_within_ten_seconds(
    data: Path, tmp_path: Path, last_words: str, chosen: dict[str, object]
) -> None:
    hearing = Hearing()
    asked_at: list[float] = []

    def stop() -> bool:
        if not asked_at and any(last_words in progress.text for progress in hearing.heard):
            asked_at.append(time.monotonic() + 1.0)  # in the middle of it
        return bool(asked_at) and time.monotonic() >= asked_at[0]

    wanted = asked(data, tmp_path, references="networks alone" not in last_words, **chosen)
    stopped = run_search(wanted, listeners=[hearing], stop=stop)

    assert stopped.status == "stopped"
    assert time.monotonic() - asked_at[0] < STOP_S
    assert hearing.heard[-1].stage in ("references", "ranking")


@pytest.mark.slow
def test_the_check_of_the_ranking_ends_with_the_minutes(data: Path, tmp_path: Path) -> None:
    wanted = asked(data, tmp_path, minutes=1.0, trials=0, check_ranking=12, proxy_epochs=1)
    folder = begin(wanted, tell=lambda text: None, stop=lambda: False)
    searching, plan = read_arguments(folder)
    hopeful = replace(plan, epoch_s=plan.epoch_s / 400)
    longer = replace(searching, proxy_epochs=400)
    write_arguments(folder, longer, hopeful)

    searched = resume_search(folder.path)

    assert searched.status == "done"
    assert 60 * searched.answer.minutes < 1.1 * 60 + 2  # as for searches without the check
    assert len(json.loads((searched.folder / "ranking.json").read_text())) < 12


@pytest.fixture(scope="module")
def compared(data: Path, tmp_path_factory: pytest.TempPathFactory) -> SearchedRun:
    """A search that trains two finalists, the winner, and networks to compare it with."""
    folder = tmp_path_factory.mktemp("compared")
    return run_search(asked(data, folder, trials=3, finalists=2, finalist_epochs=1, references=True, check_ranking=0))


@pytest.mark.slow
def test_finalists_and_the_winner_go_on_from_their_part_of_the_shared_weights(compared: SearchedRun) -> None:
    ours = [one for one in compared.answer.contenders if one.kind != "reference"]

    assert [one.kind for one in ours] == ["finalist", "finalist", "promoted"]
    assert all(one.from_shared for one in ours)
    with opened(compared.folder) as search:
        assert search.shared is not None
        found = {record.number: record for record in records(search.study())}
        for one in ours:
            assert one.trial is not None
            start = modelfile.load(compared.folder / "networks" / f"trial{one.trial}.safetensors")
            expected = weights_of(search.shared.cut_out(search.problem.space.candidate(found[one.trial].params)))
            assert all(np.array_equal(start.weights[name], value) for name, value in expected.items())
            trained = modelfile.load(compared.folder / one.model)
            assert trained.training["started_from"] == f"shared weights ({start.fingerprint})"
            assert trained.training["recipe"]["name"] == "modern (going on)"


@pytest.mark.slow
def test_the_winners_design_is_compared_with_published_ones_from_fresh_weights_like_theirs(
    compared: SearchedRun,
) -> None:
    references = [one for one in compared.answer.contenders if one.kind == "reference"]
    own, *published = references
    (winner,) = (one for one in compared.answer.contenders if one.kind == "promoted")

    assert own.name == f"trial {winner.trial}, from fresh weights"
    assert all(own.costs[name] == winner.costs[name] for name in ("parameters", "multiply_adds"))
    assert len(published) == 4
    recipes = [modelfile.load(compared.folder / one.model).training for one in references]
    assert {training["started_from"] for training in recipes} == {"fresh weights"}
    assert len({json.dumps(training["recipe"]) for training in recipes}) == 1
    assert not any(one.from_shared for one in references)


@pytest.mark.slow
def test_the_report_says_who_started_from_what(compared: SearchedRun) -> None:
    page = (compared.folder / "report.html").read_text(encoding="utf-8")

    assert any(
        note.startswith("finalists and winner went on from shared weights, which had 2 epochs")
        for note in compared.answer.notes
    )
    assert page.count("from shared weights</span>") == 3
    assert page.count("from fresh weights</span>") == 5


@pytest.mark.slow
def test_a_winner_stopped_in_its_training_from_shared_weights_goes_on_to_the_same_bits(
    data: Path, tmp_path: Path
) -> None:
    def search(folder: Path, **more: Any) -> SearchedRun:
        return run_search(asked(data, folder, trials=1, final_epochs=3, check_ranking=0), **more)

    whole = search(tmp_path / "whole")
    hearing = Hearing()
    stopped = search(
        tmp_path / "stopped", listeners=[hearing], stop=lambda: any("epoch 1 of 3" in one.text for one in hearing.heard)
    )
    assert stopped.status == "stopped" and not stopped.model.exists()
    resumed = resume_search(stopped.folder)

    assert modelfile.load(resumed.model).fingerprint == modelfile.load(whole.model).fingerprint
