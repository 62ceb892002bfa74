"""Searches that were stopped, moved or are to last longer are gone on with, to the same end."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_search import Hearing, tiny_searching, told_of

from mnasnet import modelfile
from mnasnet.errors import NewerSchemaError, SearchError, SettingsError, TrainingError
from mnasnet.latency.meter import Latency
from mnasnet.search.folder import SearchFolder, SearchFolderError
from mnasnet.search.join import join_search
from mnasnet.search.open_search import opened, read_arguments, write_arguments
from mnasnet.search.records import records
from mnasnet.search.run import SearchedRun, extend_search, promote, report_search, resume_search, run_search
from mnasnet.train.run_folder import only_user

pytestmark = pytest.mark.usefixtures("quick_latencies")


def finalist_of(run: Path, trial: int) -> Path:
    """The model file of a finalist."""
    return run / "finalists" / f"trial{trial}" / "weights" / "best.safetensors"


def change(file: Path, **changes: Mapping[str, object]) -> None:
    """Write other values into the metadata of a model file."""
    model = modelfile.load(file)
    modelfile.save(replace(model, **{name: {**getattr(model, name), **new} for name, new in changes.items()}), file)


@pytest.fixture
def rechosen(copied, monkeypatch):
    """The finished search, after an extension that made other finalists and gave them these accuracies."""

    def choose(finalists: list[int], accuracies: Mapping[int, float]) -> SearchedRun:
        for trial, accuracy in accuracies.items():
            change(finalist_of(copied, trial), metrics={"accuracy": accuracy})
        with opened(copied) as here:
            chosen = [record for number in finalists for record in records(here.study()) if record.number == number]
        monkeypatch.setattr("mnasnet.search.stage_training.finalist_trials", lambda *others: chosen)
        SearchFolder(copied).write_state(finalists=None, final=None)
        return resume_search(copied)

    return choose


class TestGoingOn:
    def test_resuming_a_finished_search_trains_nothing_and_says_what_would_search_on(self, finished, copied, caplog):
        trained = {path: path.stat().st_mtime_ns for path in copied.glob("*/trial*/weights/*")}
        caplog.set_level(logging.INFO, "mnasnet")

        again = resume_search(copied)

        assert again.status == "done" and told_of(again) == told_of(finished)
        assert {path: path.stat().st_mtime_ns for path in copied.glob("*/trial*/weights/*")} == trained
        assert f"an extension that was killed before it began: python -m mnasnet extend {copied}" in caplog.text

    def test_latencies_that_its_user_stored_in_the_winner_stay_when_the_search_goes_on(self, copied):
        model = copied / "weights" / "best.safetensors"
        elsewhere = Latency("a board", "litert", "1", "fp32", 1, 1, 32, 50, 9.0, 9.0, 9.0).to_dict()
        modelfile.update_latencies(model, lambda there: (*there, elsewhere))
        before = modelfile.load(model).latencies

        resume_search(copied)

        assert modelfile.load(model).latencies == before and before[-1] == elsewhere

    def test_what_a_kill_left_while_a_latency_was_written_beside_a_trained_network_is_removed(self, copied):
        model = next(copied.glob("finalists/*/weights/best.safetensors"))
        dies = "import os; from pathlib import Path; from mnasnet import modelfile; os.fsync = os._exit; "
        modelfile.replace_latencies(model, ())
        dies += f"modelfile.replace_latencies(Path({str(model)!r}), ())"
        subprocess.run([sys.executable, "-c", dies], check=False)
        assert len(list(model.parent.glob(".*"))) == 2  # the lock and half a file

        resume_search(copied)

        assert modelfile.load(model).latencies and not list(model.parent.glob(".*"))

    @pytest.mark.slow
    def test_a_stop_keeps_everything_and_resume_equals_the_uninterrupted_search(self, finished, data, tmp_path):
        for wanted in (1, 3):
            hearing = Hearing()
            searching = tiny_searching(data, tmp_path / str(wanted), finalists=3)
            asked = []

            def stop(hearing: Hearing = hearing, wanted: int = wanted, asked: list[float] = asked) -> bool:
                if hearing.trials >= wanted and not asked:
                    asked.append(time.monotonic())
                return bool(asked)

            stopped = run_search(searching, listeners=[hearing], stop=stop)

            assert time.monotonic() - asked[0] < 10
            assert stopped.status == "stopped" and (stopped.folder / "report.html").is_file()
            assert told_of(resume_search(stopped.folder)) == told_of(finished)

    @pytest.mark.parametrize("stage", ["finalists", "trained"])
    def test_what_a_stop_left_unwritten_of_a_training_is_written_when_the_search_goes_on(
        self, stage, finished, data, tmp_path
    ):
        searching = tiny_searching(data, tmp_path, trials=2, finalists=2)
        run = tmp_path / "runs" / "tiny"
        stopped = run_search(searching, stop=lambda: bool(list(run.glob(f"{stage}/*/mistakes.csv"))))
        assert stopped.status == "stopped"

        resume_search(run)

        whole = {path.name for path in finished.folder.glob(f"{stage}/*/*")}
        assert {frozenset(path.name for path in one.iterdir()) for one in run.glob(f"{stage}/*")} == {frozenset(whole)}

    def test_a_card_put_into_a_finalist_before_its_latency_is_measured_does_not_stand_for_it(self, data, tmp_path):
        run = tmp_path / "runs" / "tiny"
        searching = tiny_searching(data, tmp_path, trials=2, finalists=2)
        run_search(searching, stop=lambda: bool(list(run.glob("finalists/*/mistakes.csv"))))
        (file,) = run.glob("finalists/*/weights/best.safetensors")
        of_an_agent = Latency("a board", "litert", "1", "fp32", 1, 1, 32, 50, 100.0, 100.0, 100.0)
        modelfile.replace_latencies(file, (of_an_agent.to_dict(),))

        resume_search(run)

        assert [card["runtime"] for card in modelfile.load(file).latencies] == ["onnxruntime"]

    def test_a_search_that_goes_on_begins_its_progress_with_what_is_done(self, data, tmp_path):
        before, after = Hearing(), Hearing()
        searching = tiny_searching(data, tmp_path, trials=8)
        stopped = run_search(searching, listeners=[before], stop=lambda: before.trials >= 3)

        resume_search(stopped.folder, listeners=[after], stop=lambda: after.trials >= 1)

        first, last = after.heard[0], before.heard[-1]
        assert (first.share, first.eta_s) == pytest.approx((last.share, last.eta_s))
        told = [one.text for one in (*before.heard, *after.heard) if one.text.startswith("time")]
        assert told[0].endswith(" from now on") and re.search(r"together \S+ min, \S+ min left$", told[1])

    @pytest.mark.slow
    def test_extending_keeps_the_trials_and_chooses_anew(self, finished, copied):
        longer = extend_search(copied, trials=3)

        before = [(r.params, r.values) for r in finished.answer.records]
        assert [(r.params, r.values) for r in longer.answer.records][: len(before)] == before
        assert sum(r.state == "done" and r.duplicate_of is None for r in longer.answer.records) == 7
        assert longer.status == "done" and longer.model.is_file()

    def test_an_earlier_finalist_that_learned_more_stays_the_winner_of_an_extension(self, finished, copied, rechosen):
        old, *new = [one.trial for one in finished.answer.contenders if one.kind == "finalist"]

        again = rechosen(new, {old: 0.9, new[0]: 0.8, new[1]: 0.8})

        assert again.answer.winner.number == old
        assert SearchFolder(copied).read_state()["finalists"]["trials"] == [*new, old]

    def test_an_earlier_finalist_of_other_epochs_is_not_compared(self, finished, copied, rechosen):
        old, *new = [one.trial for one in finished.answer.contenders if one.kind == "finalist"]
        change(finalist_of(copied, old), training={"epochs": 2})

        again = rechosen(new, {old: 0.9, new[0]: 0.8, new[1]: 0.7})

        assert again.answer.winner.number == new[0]

    @pytest.mark.parametrize(
        ("costs", "accuracies", "place"),
        [
            ((1.02e6, 0.99e6, 1.01e6), (0.83, 0.80, 0.79), 1),
            ((1.02e6, 1.03e6, 1.01e6), (0.83, 0.80, 0.79), 2),
            ((0.98e6, 0.99e6, 1e6), (0.83, 0.80, 0.79), 0),
            ((0.98e6, 0.97e6, 0.96e6), (0.83, 0.83, 0.79), 1),
            ((0.97e6, 0.97e6, 0.96e6), (0.83, 0.83, 0.79), 0),
        ],
    )
    def test_a_finalist_within_the_limit_wins_else_the_nearest_and_of_equal_ones_the_cheapest(
        self, finished, copied, rechosen, monkeypatch, costs, accuracies, place
    ):
        trials = [one.trial for one in finished.answer.contenders if one.kind == "finalist"]
        measured = {f"tiny_trial{trial}": {"multiply_adds": cost} for trial, cost in zip(trials, costs, strict=True)}
        monkeypatch.setattr(
            "mnasnet.search.stage_training.counted", lambda here, architecture, size: measured[architecture.name]
        )

        again = rechosen(trials, dict(zip(trials, accuracies, strict=True)))

        assert finished.answer.limits == {"multiply_adds": 1e6}
        assert again.answer.winner.number == trials[place]

    @pytest.mark.parametrize("name", ["study.journal", "space.json", "args.yaml"])
    def test_a_folder_that_lacks_what_going_on_needs_is_told_from_other_faults(self, copied, name):
        (copied / name).unlink()

        with pytest.raises(SearchFolderError):
            resume_search(copied)

    def test_a_folder_of_a_newer_release_asks_for_an_update(self, copied):
        arguments, space = copied / "args.yaml", copied / "space.json"
        before = arguments.read_text(encoding="utf-8")
        arguments.write_text(re.sub(r"(?m)^  class_names:(\n  - .*)+\n", "", before), encoding="utf-8")
        with pytest.raises(
            SearchFolderError, match=r"'class_names'.*; update the mnasnet package where a newer release"
        ):
            resume_search(copied)
        arguments.write_text(before, encoding="utf-8")
        space.write_text(json.dumps({**json.loads(space.read_bytes()), "schema": 99}), encoding="utf-8")

        with pytest.raises(NewerSchemaError, match="space schema 99 is newer than .; update the mnasnet package"):
            resume_search(copied)

    def test_extending_by_nothing_is_refused(self, copied):
        with pytest.raises(SettingsError, match="extend needs trials or minutes above 0"):
            extend_search(copied)

    def test_published_networks_that_the_minutes_left_out_stay_out_of_an_extension_by_trials(self, copied):
        folder = SearchFolder(copied)
        asked, plan = read_arguments(folder)
        write_arguments(folder, replace(asked, minutes=1.0, references=True, finalists=0), plan)

        longer = extend_search(copied, trials=1)

        assert longer.status == "done" and len(longer.answer.records) == 5
        assert not [one for one in longer.answer.contenders if one.kind == "reference"]

    @pytest.mark.parametrize("stage", ["searching", "training"])
    def test_until_a_new_winner_is_trained_an_extension_names_that_of_the_model_file(
        self, finished, copied, stage, monkeypatch
    ):
        hearing, ranked = Hearing(), sorted(finished.answer.records, key=lambda record: record.values)
        SearchFolder(copied).write_state(final={"trial": ranked[0].number, "epochs": 1})  # not the best trial
        monkeypatch.setattr("mnasnet.search.stage_training.finalist_trials", lambda found, *others: [found[-1]])

        stopped = extend_search(
            copied, trials=1, listeners=[hearing], stop=lambda: stage in {progress.stage for progress in hearing.heard}
        )

        assert stopped.status == "stopped" and len(stopped.answer.records) == 5
        assert stopped.answer.winner.number == ranked[0].number
        assert resume_search(copied).answer.winner.number == 4

    def test_a_search_that_is_not_over_is_resumed_before_it_is_extended(self, copied):
        SearchFolder(copied).write_state(status="stopped", search_over=False)

        with pytest.raises(SearchError, match=r"has not spent its trials or minutes yet; let .* resume .* go on with"):
            extend_search(copied, trials=1)

        assert resume_search(copied).status == "done"

    def test_an_extension_too_short_for_a_network_is_not_told_to_change_what_is_settled(self, copied):
        with pytest.raises(SettingsError, match=r"minutes must be at least .*; give more minutes$"):
            extend_search(copied, minutes=0.001)

    def test_a_folder_in_use_is_not_changed_by_an_extension(self, copied):
        folder = SearchFolder(copied)
        before = folder.arguments.read_bytes(), folder.state.read_bytes()

        with only_user(folder.as_run), pytest.raises(TrainingError, match="in use by another process"):
            extend_search(copied, trials=1)

        assert (folder.arguments.read_bytes(), folder.state.read_bytes()) == before

    @pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
    @pytest.mark.parametrize("linked", ["weights", "study.journal", "trained/{winner}"])
    @pytest.mark.parametrize(
        "go_on", [resume_search, lambda path: extend_search(path, trials=1), lambda path: promote(path, 0), join_search]
    )
    def test_nothing_is_written_through_a_link(self, finished, copied, tmp_path, linked, go_on):
        place = copied / linked.format(winner=f"trial{finished.answer.winner.number}_1epochs")
        elsewhere = place.rename(tmp_path / "elsewhere")
        place.symlink_to(elsewhere)
        before = {path: path.stat().st_mtime_ns for path in (elsewhere, *elsewhere.rglob("*"))}

        with pytest.raises(TrainingError, match=f"{place} is a link to {elsewhere}, and nothing is written through"):
            go_on(copied)

        assert {path: path.stat().st_mtime_ns for path in (elsewhere, *elsewhere.rglob("*"))} == before

    def test_the_folder_may_be_named_by_a_text(self, copied):
        assert report_search(str(copied)).folder == resume_search(str(copied)).folder == copied.resolve()
        with pytest.raises(SearchError, match="got 99"):
            promote(str(copied), 99)
        with pytest.raises(SearchError, match="judges no more networks"):
            join_search(str(copied))
