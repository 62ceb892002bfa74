"""Any trial of a search can be trained like a winner."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tiny_search import SPACE

from mnasnet import modelfile
from mnasnet.cli import main
from mnasnet.commands.search import tell
from mnasnet.errors import SearchError, SettingsError
from mnasnet.search.counts import CountMeter
from mnasnet.search.folder import SearchFolder
from mnasnet.search.open_search import opened
from mnasnet.search.records import TrialRecord
from mnasnet.search.run import promote, report_search
from mnasnet.search.study import Search
from mnasnet.search.verdict import Verdict
from mnasnet.space_file import space_of

pytestmark = pytest.mark.usefixtures("quick_latencies")


def all_params() -> Iterator[dict[str, object]]:
    choices = space_of(SPACE).choices
    for options in itertools.product(*(choice.options for choice in choices)):
        yield {choice.name: option for choice, option in zip(choices, options, strict=True)}


def proposed(folder: Path, params: Mapping[str, object]) -> TrialRecord:
    """The settled trial of a network that one more proposal of the search in ``folder`` was told to take."""
    with opened(folder) as here:
        study = here.study()
        study.enqueue_trial(dict(params))
        with contextlib.closing(Search(study, here.problem, alone=True)) as steps:
            record = steps.propose()
    assert isinstance(record, TrialRecord)
    return record


def without_accuracy(folder: Path, params: Mapping[str, object], state: str) -> TrialRecord:
    """A further trial of the search in ``folder`` that ended in ``state``."""
    if state == "infeasible":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(CountMeter, "measure", lambda *_: 2e6)  # more than the search allows
            return proposed(folder, params)
    with opened(folder) as here, contextlib.closing(Search(here.study(), here.problem)) as steps:
        here.study().enqueue_trial(dict(params))
        return steps.settle(steps.propose(), Verdict(state, reason="the disk was full"))


class TestPromotion:
    @pytest.mark.slow
    def test_any_trial_can_be_promoted_and_the_winner_stays(self, finished, copied):
        other = next(r.number for r in finished.answer.records if r.number != finished.answer.winner.number)

        promoted = promote(copied, other)

        model = modelfile.load(copied / "trained" / f"trial{other}_1epochs" / "weights" / "best.safetensors")
        assert modelfile.load(promoted.promoted).fingerprint == model.fingerprint
        assert promoted.answer.winner.number == finished.answer.winner.number
        assert {one.trial for one in promoted.answer.contenders if one.kind == "promoted"} == {
            other,
            finished.answer.winner.number,
        }

    def test_in_place_of_a_repeated_trial_the_first_of_its_network_is_promoted(self, finished, copied, caplog):
        best = finished.answer.winner.number
        repeated = proposed(copied, finished.answer.winner.params)

        promoted = promote(copied, repeated.number)

        assert repeated.duplicate_of == best
        assert promoted.promoted.parts[-3] == f"trial{best}_1epochs"
        told = f"trial {repeated.number} repeats trial {best}, so trial {best} is trained: it is the same network"
        assert told in caplog.messages

    @pytest.mark.parametrize(
        "state", ["infeasible", *(pytest.param(state, marks=pytest.mark.slow) for state in ("pruned", "failed"))]
    )
    def test_a_trial_without_an_accuracy_is_promoted_and_gets_one(self, finished, copied, state, caplog):
        tried = [dict(record.params) for record in finished.answer.records]
        other = next(params for params in all_params() if params not in tried)
        settled = without_accuracy(copied, other, state)

        assert main(["promote", str(copied), "--trial", str(settled.number), "--json"]) == 0

        again = report_search(copied)
        (trained,) = [one for one in again.answer.contenders if one.trial == settled.number]
        assert (settled.state, settled.accuracy) == (state, None)
        assert trained.val_accuracy is not None and trained.test_images == 6
        assert again.answer.winner.number == finished.answer.winner.number
        model = modelfile.load(copied / "trained" / f"trial{settled.number}_1epochs" / "weights" / "best.safetensors")
        with opened(copied, with_device=False) as here:
            assert model.architecture.fingerprint == here.problem.space.candidate(other).architecture.fingerprint
        limits = [text for text in caplog.messages if "limit" in text]
        assert len(limits) == (state == "infeasible")
        for told in limits:
            assert told.startswith(f"trial {settled.number} is above a limit of this search (multiply-adds ")
            assert told.endswith("above the limit of 1 M); it is trained all the same")

    def test_another_number_of_epochs_is_another_training(self, finished, copied):
        winner = finished.answer.winner.number

        spent_s = SearchFolder(copied).read_state()["seconds"]

        promoted = promote(copied, winner, epochs=2)

        assert SearchFolder(copied).read_state()["seconds"] == spent_s  # none of the search's minutes
        trained = [one for one in promoted.answer.contenders if one.kind == "promoted"]
        assert [(one.trial, one.epochs) for one in trained] == [(winner, 1), (winner, 2)]
        assert promoted.summary()["val_accuracy"] == trained[0].val_accuracy  # the search's own winner's

    def test_a_promotion_that_is_stopped_leaves_the_search_done(self, finished, copied, capsys):
        state = json.loads(SearchFolder(copied).state.read_text())

        stopped = promote(copied, finished.answer.winner.number, epochs=3, stop=lambda: True)
        tell(stopped, as_json=False)

        after = json.loads(SearchFolder(copied).state.read_text())
        assert (after["status"], after["reason"]) == (state["status"], state["reason"]) and state["status"] == "done"
        assert stopped.status == "stopped" and not stopped.promoted.exists()
        out = capsys.readouterr().out
        assert "the same promotion goes on" in out and "mnasnet resume" not in out

    @pytest.mark.slow
    def test_each_promoted_trial_is_compared_at_its_own_cost(self, finished, copied):
        by_cost = sorted(finished.answer.records, key=lambda r: r.costs["multiply_adds"])
        cheap, dear = by_cost[0].number, by_cost[-1].number

        promote(copied, cheap, references=True)
        promote(copied, dear, references=True)

        widths = SearchFolder(copied).read_state()["references"]
        assert set(widths) == {str(cheap), str(dear)}
        assert all(widths[str(dear)][name] >= width for name, width in widths[str(cheap)].items())
        assert widths[str(dear)] != widths[str(cheap)]

    def test_a_promotion_for_part_of_an_epoch_is_refused(self, copied):
        with pytest.raises(SettingsError, match=r"epochs must be a whole number, got 1\.5"):
            promote(copied, 0, epochs=1.5)

    @pytest.mark.parametrize("trial", ["1", True, 1.5])
    def test_a_trial_to_promote_is_told_by_its_number(self, copied, trial):
        with pytest.raises(SettingsError, match=f"trial must be a whole number, got {trial!r}"):
            promote(copied, trial)

    def test_a_trial_that_is_not_there_cannot_be_promoted(self, copied):
        with pytest.raises(SearchError, match="trial must be a finished trial of this search, 0 to 3, got 99"):
            promote(copied, 99)

    def test_a_trial_that_a_kill_interrupted_cannot_be_promoted(self, copied):
        with opened(copied) as search, pytest.warns(UserWarning, match="Heartbeat"):
            search.study().ask()

        with pytest.raises(SearchError, match="0 to 4, got 4, which has no network yet"):
            promote(copied, 4)
