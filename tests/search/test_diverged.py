"""A longer training that diverges costs a search that network, not its answer."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import pytest
from tiny_search import tiny_searching, told_of

from mnasnet.errors import SearchError
from mnasnet.search.run import SearchedRun, resume_search, run_search
from mnasnet.train.run import train

pytestmark = pytest.mark.usefixtures("quick_latencies")


@pytest.fixture
def diverging(monkeypatch: pytest.MonkeyPatch) -> Callable[[Collection[str]], list[str]]:
    """Let the trainings in folders of these names run over; what it returns gets the names of all that begin."""

    def set_up(names: Collection[str]) -> list[str]:
        begun: list[str] = []

        def train_too_fast(training, **others):
            begun.append(training.name)
            rate = {"learning_rate": 1e30} if training.name in names else {}
            return train(replace(training, **rate), **others)

        monkeypatch.setattr("mnasnet.search.longer_training.train", train_too_fast)
        return begun

    return set_up


def trained(run: SearchedRun) -> list[str]:
    return [one.name for one in run.answer.contenders]


def test_a_finalist_whose_training_diverges_is_left_out_and_the_others_decide(data, tmp_path, finished, diverging):
    diverging(["trial0"])

    run = run_search(tiny_searching(data, tmp_path, finalists=4))

    assert run.status == "done" and run.answer.winner.number != 0
    assert run.model.exists() and "trial 0" not in trained(run) and len(trained(run)) >= 3
    assert "left out, their training diverged: trial 0" in run.answer.notes
    assert not any("no finalists were compared" in note for note in run.answer.notes)


def test_a_winner_whose_training_diverges_gives_way_to_the_next_and_a_resume_repeats_neither(
    data, tmp_path, finished, diverging
):
    best = finished.answer.winner.number
    begun = diverging([f"trial{best}_1epochs"])

    run = run_search(tiny_searching(data, tmp_path, finalists=3))
    trained_once = len(begun)
    again = resume_search(run.folder)

    assert run.status == "done" and run.answer.winner.number != best
    assert f"left out, their training diverged: trial {best}, fully trained" in run.answer.notes
    assert told_of(again) == told_of(run) and len(begun) == trained_once


def test_a_published_network_whose_training_diverges_is_missing_in_the_comparison_with_that_reason(
    data, tmp_path, diverging
):
    begun = diverging(Everything("MnasNet-B1_"))

    run = run_search(tiny_searching(data, tmp_path, trials=1, references=True))

    lost = next(name for name in begun if name.startswith("MnasNet-B1_"))
    assert run.status == "done" and any(name.startswith("MobileNetV2") for name in trained(run))
    assert not any(name.startswith("MnasNet-B1") for name in trained(run))
    assert f"left out, their training diverged: {lost.rsplit('_', 2)[0].replace('_', ' ')}" in run.answer.notes
    assert not any("not compared with" in note for note in run.answer.notes)


def test_three_winners_that_diverge_end_the_search_and_its_resume_at_once(data, tmp_path, diverging):
    begun = diverging(Everything(""))

    folder = tmp_path / "runs" / "tiny"
    told = rf"each of the best 3 networks diverged, of the last one the loss is not .*promote {folder} TRIAL"
    with pytest.raises(SearchError, match=told) as error:
        run_search(tiny_searching(data, tmp_path))

    assert len(begun) == 3 and "learning_rate" not in str(error.value)
    with pytest.raises(SearchError, match=told):
        resume_search(folder)
    assert len(begun) == 3


class Everything(Collection[str]):
    """All names that begin so."""

    def __init__(self, beginning: str) -> None:
        self._beginning = beginning

    def __contains__(self, name: object) -> bool:
        return str(name).startswith(self._beginning)

    def __iter__(self):
        return iter(())

    def __len__(self) -> int:
        return 0
