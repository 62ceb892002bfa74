"""A whole search on real images: what it leaves, how it ends, and that it can always be gone on with."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from small_disk import room_for
from tiny_search import SPACE, tiny_searching, told_of

import mnasnet
from mnasnet import modelfile
from mnasnet.classify import Classifier
from mnasnet.cli import main
from mnasnet.commands.search import tell
from mnasnet.errors import DataError, RuntimeMissingError, SearchError, SettingsError, TrainingError
from mnasnet.machine import processor_name
from mnasnet.search.counts import CountMeter
from mnasnet.search.folder import SearchFolder, SearchFolderError
from mnasnet.search.join import join_search
from mnasnet.search.open_search import opened, read_arguments, write_arguments
from mnasnet.search.progress import Progress
from mnasnet.search.records import TrialRecord, records
from mnasnet.search.run import (
    NothingFoundError,
    SearchedRun,
    Searching,
    extend_search,
    promote,
    report_search,
    resume_search,
    run_search,
)
from mnasnet.search.short_training import ShortTraining
from mnasnet.search.study import Search
from mnasnet.search.verdict import Verdict
from mnasnet.space_file import space_of
from mnasnet.spec import ArchitectureSpec
from mnasnet.testing import write_image_folder
from mnasnet.train.run_folder import only_user

pytestmark = pytest.mark.usefixtures("quick_latencies")

ANSWER = ("trials.csv", "pareto.csv", "pareto.json", "pareto.png", "progress.png", "choices.png", "report.html")


class Hearing:
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.heard: list[Progress] = []

    def hear(self, progress: Progress) -> None:
        self.heard.append(progress)

    @property
    def trials(self) -> int:
        return sum(progress.record is not None for progress in self.heard)


@pytest.fixture(scope="module")
def untouched(data):
    """Every file and folder of the dataset and when it was last changed."""
    return {path: path.stat().st_mtime_ns for path in sorted(data.rglob("*"))}


@pytest.fixture(scope="module")
def hearing():
    return Hearing()


@pytest.fixture(scope="module")
def finished(data, untouched, hearing, tmp_path_factory) -> SearchedRun:
    searching = tiny_searching(data, tmp_path_factory.mktemp("finished"), finalists=3)
    return run_search(searching, listeners=[hearing])


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """A finished search that a test may change."""
    return Path(shutil.copytree(finished.folder, tmp_path / "tiny"))


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


class TestAnswer:
    def test_is_the_winner_its_files_and_a_status(self, finished):
        assert finished.status == "done"
        assert all((finished.folder / name).is_file() for name in ANSWER)
        spec = ArchitectureSpec.from_dict(json.loads((finished.folder / "winner.json").read_text()))
        assert spec.fingerprint == modelfile.load(finished.model).architecture.fingerprint
        assert json.loads(json.dumps(finished.summary()))["model"] == str(finished.model.absolute())

    def test_names_every_trial(self, finished):
        rows = list(csv.DictReader((finished.folder / "trials.csv").open()))

        assert [row["state"] for row in rows].count("done") == 4
        assert len(rows) == len(finished.answer.records)

    def test_the_winner_is_the_best_finalist_after_longer_training(self, finished):
        finalists = [one for one in finished.answer.contenders if one.kind == "finalist"]
        best = max(one.val_accuracy for one in finalists)

        assert len(finalists) == 3
        assert finished.answer.winner.number in {one.trial for one in finalists if one.val_accuracy == best}
        assert finished.answer.kendall_tau is not None and -1 <= finished.answer.kendall_tau <= 1

    def test_only_the_last_figure_comes_from_the_test_images(self, finished):
        kept_apart = [one.test_accuracy for one in finished.answer.contenders if one.kind == "finalist"]
        final = next(one for one in finished.answer.contenders if one.kind == "promoted")

        assert kept_apart == [None, None, None]
        assert final.test_images == 6 and 0 <= final.test_accuracy <= 1

    def test_the_model_file_classifies_and_carries_its_latency(self, finished, data):
        model = modelfile.load(finished.model)

        (prediction,) = Classifier.load(finished.model).predict(data / "red" / "000.jpg")

        assert set(prediction.names) == {"red", "green", "blue"}
        assert model.preprocess.input_size == 32
        assert model.latencies[0]["runtime"] == "onnxruntime" and not model.latencies[0]["predicted"]

    def test_progress_rises_to_one_and_shows_the_best_so_far(self, finished, hearing):
        shares = [progress.share for progress in hearing.heard]
        trials = [progress for progress in hearing.heard if progress.record]

        assert shares == sorted(shares) and shares[-1] == 1.0
        assert [progress.record.number for progress in trials] == list(range(len(trials)))
        assert trials[-1].best.values[0] == max(progress.record.values[0] for progress in trials)

    def test_the_dataset_is_left_as_it_was(self, finished, data, untouched):
        assert {path: path.stat().st_mtime_ns for path in sorted(data.rglob("*"))} == untouched

    def test_is_made_again_from_the_folder_alone(self, finished, copied):
        for name in ANSWER:
            (copied / name).unlink()

        again = report_search(copied)

        assert again.status == "done"
        assert told_of(again) == told_of(finished)
        assert all((copied / name).is_file() for name in ANSWER)


class TestGoingOn:
    def test_resuming_a_finished_search_trains_nothing(self, finished, copied):
        trained = {path: path.stat().st_mtime_ns for path in copied.glob("*/trial*/weights/*")}

        again = resume_search(copied)

        assert again.status == "done" and told_of(again) == told_of(finished)
        assert {path: path.stat().st_mtime_ns for path in copied.glob("*/trial*/weights/*")} == trained

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

    def test_a_folder_in_the_home_is_found_by_its_tilde(self, finished, copied, monkeypatch):
        monkeypatch.setenv("HOME", str(copied.parent))

        assert report_search(f"~/{copied.name}").answer.winner == finished.answer.winner

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

    @pytest.mark.slow
    def test_a_search_that_was_not_compared_says_so_and_its_command_compares_it_later(self, copied, tmp_path, capsys):
        moved = report_search(copied.rename(tmp_path / "Ann's search"))
        assert main(["report", str(moved.folder)]) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if "not compared with" in line]
        assert "MnasNet-A1, MnasNet-B1, MnasNet-small, MobileNetV2: references is off" in line
        command = line.partition("; ")[2].partition(" trains them")[0]
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        package = str(Path(mnasnet.__file__).parents[1])
        settings = {"env": {**os.environ, "PATH": path, "PYTHONPATH": package}, "cwd": elsewhere}

        subprocess.run(command, shell=True, check=True, **settings)

        compared = report_search(moved.folder)
        assert sum(one.kind == "reference" for one in compared.answer.contenders) == 4
        assert not [note for note in compared.answer.notes if note.startswith("not compared with")]

    def test_a_winner_without_finalists_is_said_to_be_the_best_trial(self, finished, copied):
        SearchFolder(copied).write_state(finalists={"trials": [finished.answer.winner.number], "epochs": 1})

        notes = report_search(copied).answer.notes

        told = "the winner is the best trial, no finalists were compared: the minutes did not hold longer trainings"
        assert told in notes and told not in finished.answer.notes

    def test_a_user_in_the_folder_may_call_it_a_dot(self, finished, copied, monkeypatch):
        monkeypatch.chdir(copied)

        reported = report_search(Path())

        assert reported.answer.name == "tiny" and reported.folder == copied

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
            assert told.startswith(f"trial {settled.number} is above a limit of this search (multiply_adds ")
            assert told.endswith("> 1e+06); it is trained all the same")

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

    def test_a_report_beside_the_search_leaves_its_state_alone(self, copied):
        folder = SearchFolder(copied)
        before = folder.state.read_bytes()

        with only_user(folder.as_run):
            report_search(copied)

        assert folder.state.read_bytes() == before

    def test_a_report_needs_no_device(self, copied):
        arguments = SearchFolder(copied).arguments
        arguments.write_text(arguments.read_text().replace("meter: onnxruntime", "meter: adb"))

        assert report_search(copied).answer.winner is not None

    def test_a_report_needs_no_images(self, finished, copied):
        arguments = SearchFolder(copied).arguments
        asked = arguments.read_text()
        arguments.write_text(re.sub(r"(?m)^  data: .*$", "  data: /nowhere/photos", asked))
        assert arguments.read_text() != asked

        assert told_of(report_search(copied)) == told_of(finished)

    def test_the_folder_may_be_named_by_a_text(self, copied):
        assert report_search(str(copied)).folder == resume_search(str(copied)).folder == copied.resolve()
        with pytest.raises(SearchError, match="got 99"):
            promote(str(copied), 99)
        with pytest.raises(SearchError, match="judges no more networks"):
            join_search(str(copied))

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


class TestTrialsThatAreGone:
    @pytest.fixture(params=["study.journal", "damaged", "another file", "sqlite", "postgresql"])
    def without(self, request, finished, tmp_path) -> Path:
        """A finished search whose storage is gone, damaged or away."""
        copy = Path(shutil.copytree(finished.folder, tmp_path / "tiny"))
        journal = copy / "study.journal"
        if request.param == "damaged":
            lines = journal.read_bytes().splitlines(keepends=True)
            journal.write_bytes(b"".join([*lines[:9], b"\0" * 512, *lines[11:]]))
            return copy
        storage = {
            "study.journal": "",
            "another file": str(tmp_path / "gone.journal"),
            "sqlite": f"sqlite:///{tmp_path}/gone.db",
            "postgresql": "postgresql://ann:secret@127.0.0.1:1/searches",
        }[request.param]
        journal.unlink()
        arguments = SearchFolder(copy).arguments
        arguments.write_text(arguments.read_text().replace("  storage: ''", f"  storage: {storage!r}"))
        return copy

    def test_are_reported_as_the_last_report_told_them(self, finished, without):
        before = (without / "trials.csv").read_bytes()

        again = report_search(without)

        assert again.status == "done" and told_of(again) == told_of(finished)
        assert (without / "trials.csv").read_bytes() == before
        (note,) = [note for note in again.answer.notes if note.startswith("the trials are those of trials.csv, as")]
        assert "secret" not in note
        assert re.search(" any more|does not let us in|driver for|study.journal is damaged in line 10$", note)

    @pytest.mark.parametrize("without", ["study.journal"], indirect=True)
    def test_are_reported_from_before_the_winner_was_trained(self, without):
        final = SearchFolder(without).read_state()["final"]["trial"]
        lines = (without / "trials.csv").read_text().splitlines(keepends=True)
        (without / "trials.csv").write_text("".join(line for line in lines if not line.startswith(f"{final},")))

        answer = report_search(without).answer

        assert answer.winner is not None and answer.winner.number != final

    @pytest.mark.parametrize(
        "go_on", [resume_search, lambda path: extend_search(path, trials=1), lambda path: promote(path, 0)]
    )
    def test_are_not_begun_anew(self, without, go_on):
        before = {path: path.read_bytes() for path in without.rglob("*") if path.is_file() and path.name != ".lock"}

        told = "any more; bring them back|does not let us in|driver|is damaged in line 10; bring back a copy"
        with pytest.raises((SearchError, RuntimeMissingError), match=told):
            go_on(without)

        after = {path: path.read_bytes() for path in without.rglob("*") if path.is_file() and path.name != ".lock"}
        assert after == before and not list(without.parent.glob("gone*"))

    def test_without_their_table_are_no_report(self, without):
        (without / "trials.csv").unlink()

        with pytest.raises(SearchError, match="no report can be made without trials: .* and .*trials.csv is missing;"):
            report_search(without)


class TestTruth:
    def test_limits_that_nothing_meets_name_the_nearest_network(self, data, tmp_path):
        with pytest.raises(
            NothingFoundError, match=r"no network met the limits; the nearest is trial \d+ with multiply_adds"
        ) as nothing:
            run_search(tiny_searching(data, tmp_path, target_cost=1000.0, algorithm="random"))

        folder = SearchFolder(tmp_path / "runs" / "tiny")
        assert folder.read_state()["status"] == "infeasible"
        rows = list(csv.DictReader((folder.path / "trials.csv").open()))
        assert {row["state"] for row in rows} == {"infeasible"}
        assert not folder.model.exists()
        assert sum(nothing.value.searched.summary()["counts"].values()) == len(rows)

    @pytest.mark.slow
    def test_a_space_of_one_network_is_told_in_the_singular(self, data, tmp_path):
        searching = tiny_searching(data, tmp_path, proxy_epochs=1)
        one = {**SPACE, "blocks": [{"operator": "separable", "channels": 8}]}
        Path(searching.space).write_text(json.dumps(one))

        assert run_search(searching).reason == "the only network of the space was tried"

    def test_a_search_in_which_every_trial_failed_has_failed(self, data, tmp_path, monkeypatch):
        def exhausted(*_: object) -> float:
            raise MemoryError("1 GB asked for")

        monkeypatch.setattr(ShortTraining, "evaluate", exhausted)

        with pytest.raises(SearchError, match="all 4 networks that were judged failed; .*1 GB asked for"):
            run_search(tiny_searching(data, tmp_path))

        assert SearchFolder(tmp_path / "runs" / "tiny").read_state()["status"] == "failed"

    @pytest.mark.parametrize("workers", [1, 2])
    def test_images_that_go_away_end_the_search_which_no_network_pays_for(self, workers, tmp_path):
        folder = write_image_folder(tmp_path / "data", per_class=6)
        red, away = folder / "red", tmp_path / "away"

        class DiskGoesAway:
            def hear(self, progress: Progress) -> None:
                if progress.record is not None and red.exists():
                    red.rename(away)

        searching = tiny_searching(folder, tmp_path, cache_mb=0, workers=workers, seed=1)
        with pytest.raises(DataError, match=r"red.*: .*the search is kept: bring the image back, then resume it"):
            run_search(searching, listeners=[DiskGoesAway()])
        away.rename(red)
        run = resume_search(tmp_path / "runs" / "tiny")

        rows = list(csv.DictReader((run.folder / "trials.csv").open()))
        assert [row["state"] for row in rows if row["state"] != "infeasible"] == ["done"] * 4

    @pytest.mark.skipif(sys.platform == "win32", reason="the limit is set by Unix's setrlimit")
    @pytest.mark.parametrize(
        "heard, told",
        [("forecast", "the disk is full .*: make room, then resume"), ("preparing", "cannot write into .*make room")],
    )
    def test_a_disk_that_fills_up_is_told_with_the_way_on(self, heard, told, data, tmp_path):
        limit = contextlib.ExitStack()

        class Fills:
            def hear(self, progress: Progress) -> None:
                if progress.stage == heard:
                    limit.enter_context(room_for(50))

        with limit, pytest.raises((SearchError, TrainingError), match=told):
            run_search(tiny_searching(data, tmp_path, trials=1, proxy_epochs=1), listeners=[Fills()])

        runs = list((tmp_path / "runs").iterdir())
        assert [resume_search(run).status for run in runs] == ["done"] * (heard == "forecast")

    @pytest.mark.slow
    def test_no_training_is_spent_over_a_limit(self, finished, data, tmp_path):
        costs = sorted(r.costs["parameters"] for r in finished.answer.records)

        searched = run_search(tiny_searching(data, tmp_path, max_parameters=costs[0] + 1, trials=2))

        done = [r for r in searched.answer.records if r.state == "done"]
        assert done and all(r.costs["parameters"] <= costs[0] + 1 for r in done)
        assert searched.answer.limits["parameters"] == costs[0] + 1

    @pytest.mark.slow
    def test_latency_is_measured_on_this_machine_and_told_with_its_runtime(self, data, tmp_path):
        searched = run_search(
            tiny_searching(data, tmp_path, cost="latency", target_latency_ms=50.0, trials=2, profile=False)
        )

        best = searched.answer.winner
        assert searched.answer.measured["latency_ms"] and not searched.answer.measured["parameters"]
        assert 0 < best.costs["latency_ms"] < 50
        assert "onnxruntime" in searched.answer.device and "1 thread" in searched.answer.device

    @pytest.mark.slow
    def test_trade_offs_have_no_reward_and_a_winner_all_the_same(self, data, tmp_path):
        beyond = {"reward": "product", "beta": -3.0, "target_cost": 1.0}  # the cheapest wins
        searched = run_search(tiny_searching(data, tmp_path, objectives="parameters", trials=4, **beyond))

        assert searched.answer.reward is None and searched.answer.objectives == ("parameters",)
        assert searched.answer.pareto and searched.model.is_file()

        SearchFolder(searched.folder).write_state(final=None)  # as if it had been stopped before
        promoted = promote(searched.folder)
        assert f"trial{promoted.answer.winner.number}_" in str(promoted.promoted)

    @pytest.mark.slow
    def test_published_networks_are_trained_at_the_winners_cost_under_its_recipe(self, data, tmp_path):
        searched = run_search(tiny_searching(data, tmp_path, references=True, trials=2))

        others = [one for one in searched.answer.contenders if one.kind == "reference"]
        final = next(one for one in searched.answer.contenders if one.kind == "promoted")
        assert {one.name.split(" ")[0] for one in others} == {
            "MnasNet-A1",
            "MnasNet-B1",
            "MnasNet-small",
            "MobileNetV2",
        }
        assert all(one.epochs == final.epochs and one.test_images == final.test_images for one in others)


class TestElsewhere:
    def test_a_process_far_away_judges_alike_without_the_run_folder(self, copied):
        with opened(copied) as search:
            candidate = search.problem.space.candidate(records(search.study())[0].params)
            here = search.evaluator_factory(lambda: False).evaluate(candidate, lambda step, accuracy: None)
            sent = pickle.dumps(search.evaluator_factory)
        shutil.rmtree(copied)

        there = pickle.loads(sent)(lambda: False).evaluate(candidate, lambda step, accuracy: None)

        assert there == here

    def test_shared_weights_that_are_out_of_reach_are_named_and_not_trained_again(self, copied):
        with opened(copied) as search:
            factory = replace(search.evaluator_factory, plan=replace(search.plan, evaluator="shared", shared_epochs=1))

        with pytest.raises(SearchError, match="which this machine does not reach"):
            factory(lambda: False)

    def test_shared_weights_of_which_only_the_older_checkpoint_is_left_are_within_reach(self, copied):
        with opened(copied) as search:
            factory = replace(search.evaluator_factory, plan=replace(search.plan, evaluator="shared", shared_epochs=1))
            store = search.folder.supernet
        store.folder.mkdir(parents=True)
        store.before_last.touch()

        assert factory(lambda: False).describe().count("shared weights") == 1

    def test_a_search_goes_on_from_another_folder(self, data, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        searching = tiny_searching(data, tmp_path, storage="trials.journal", trials=2)
        stopped = run_search(searching, stop=lambda: bool(list(tmp_path.glob("trials.journal"))))
        assert stopped.status == "stopped"
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)

        resume_search(stopped.folder)

        assert not list(elsewhere.iterdir())

    def test_a_search_goes_on_where_its_images_were_moved_to(self, data, tmp_path, caplog):
        moved = Path(shutil.copytree(data, tmp_path / "before"))
        searching = tiny_searching(moved, tmp_path, storage=str(tmp_path / "trials.journal"), trials=2)
        stopped = run_search(searching, stop=lambda: bool(list(tmp_path.glob("trials.journal"))))
        now = moved.rename(tmp_path / "now")
        shutil.copy(next(now.rglob("blue/*.jpg")), next(now.rglob("red/*.jpg")))

        with pytest.raises(
            DataError, match=r"are not in .*before any more; .* give their new place once with .* --data"
        ):
            extend_search(stopped.folder, trials=1)
        with pytest.raises(DataError, match="are missing in"):
            resume_search(stopped.folder, data=write_image_folder(tmp_path / "other", per_class=2))
        resumed = resume_search(stopped.folder, data=now)

        assert resumed.status == "done" and "1 image of" in caplog.text and "changed since" in caplog.text
        assert extend_search(stopped.folder, trials=1).status == "done"

    def test_a_home_folder_written_as_a_tilde_is_found_again(self, tmp_path, monkeypatch):
        monkeypatch.setenv("USERPROFILE" if os.name == "nt" else "HOME", str(tmp_path))

        kept = tiny_searching(Path("~/data"), tmp_path).to_dict()

        assert Searching.from_dict(kept).data == tmp_path / "data"

    @pytest.mark.parametrize(
        ("name", "value"), [("evaluator", "shraed"), ("latency", "tabel"), ("device", "gpu"), ("reward", "steep")]
    )
    def test_a_misspelt_word_is_refused_with_those_that_there_are(self, data, tmp_path, name, value):
        with pytest.raises(SettingsError, match=f"{name} must be one of .*, got '{value}'"):
            tiny_searching(data, tmp_path, **{name: value})

    @pytest.mark.parametrize("value", [float("inf"), float("nan")])
    def test_minutes_without_end_are_refused(self, data, tmp_path, value):
        with pytest.raises(SettingsError, match="minutes must be a finite number"):
            tiny_searching(data, tmp_path, minutes=value)


class TestAnotherMachine:
    @pytest.fixture
    def elsewhere(self, data, tmp_path) -> Path:
        """A stopped search whose latencies another board measured."""
        hearing = Hearing()
        asked = tiny_searching(
            data, tmp_path, cost="latency", target_latency_ms=50.0, target_cost=0.0, profile=False, proxy_epochs=1
        )
        stopped = run_search(asked, listeners=[hearing], stop=lambda: hearing.trials > 0)
        latencies = SearchFolder(stopped.folder).latencies
        rows = [json.loads(line) for line in latencies.read_text().splitlines() if line]
        for row in rows:
            row["latency"]["device"] = "another board, 4 cores"
        latencies.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return stopped.folder

    @pytest.mark.parametrize(
        "go_on",
        [
            resume_search,
            pytest.param(lambda path: extend_search(path, trials=3), marks=pytest.mark.slow),
            pytest.param(lambda path: promote(path, 0), marks=pytest.mark.slow),
        ],
    )
    def test_does_not_mix_its_latencies_with_those_of_the_search(self, elsewhere, go_on):
        before = {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}

        with pytest.raises(SearchError, match="measures latency on another board, 4 cores, this is .*; use that"):
            go_on(elsewhere)

        assert {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()} == before

    def test_only_makes_the_answer_again_once_the_search_is_done(self, elsewhere):
        latencies = SearchFolder(elsewhere).latencies
        latencies.write_text(latencies.read_text().replace("another board, 4 cores", f"{processor_name()}, 999 cores"))
        assert resume_search(elsewhere).status == "done"  # more or fewer cores are the same processor
        latencies.write_text(latencies.read_text().replace(processor_name(), "another board"))

        assert resume_search(elsewhere).status == "done"
