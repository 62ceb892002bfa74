"""A whole search on real images: what it leaves and how it ends."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_disk import room_for
from tiny_search import SPACE, tiny_searching, told_of

import mnasnet
from mnasnet import modelfile
from mnasnet.classify import Classifier
from mnasnet.cli import main
from mnasnet.errors import DataError, RuntimeMissingError, SearchError, TrainingError
from mnasnet.search.folder import SearchFolder
from mnasnet.search.progress import Progress
from mnasnet.search.run import NothingFoundError, extend_search, promote, report_search, resume_search, run_search
from mnasnet.search.short_training import ShortTraining
from mnasnet.spec import ArchitectureSpec
from mnasnet.testing import write_image_folder
from mnasnet.train.run_folder import only_user

pytestmark = pytest.mark.usefixtures("quick_latencies")

ANSWER = ("trials.csv", "pareto.csv", "pareto.json", "pareto.png", "progress.png", "choices.png", "report.html")


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


class TestReport:
    def test_a_winner_without_finalists_is_said_to_be_the_best_trial(self, finished, copied):
        SearchFolder(copied).write_state(finalists={"trials": [finished.answer.winner.number], "epochs": 1})

        notes = report_search(copied).answer.notes

        told = "the winner is the best trial, no finalists were compared: the minutes did not hold longer trainings"
        assert told in notes and told not in finished.answer.notes

    def test_a_folder_that_cannot_be_written_to_is_one_clear_error(self, copied):
        SearchFolder(copied).report.unlink()
        SearchFolder(copied).report.mkdir()  # as root may write everywhere, a folder is in the way

        with pytest.raises(SearchError, match=rf"^{copied} cannot be written to \(Is a directory\); give it"):
            report_search(copied)

    def test_a_user_in_the_folder_may_call_it_a_dot(self, finished, copied, monkeypatch):
        monkeypatch.chdir(copied)

        reported = report_search(Path())

        assert reported.answer.name == "tiny" and reported.folder == copied

    def test_a_folder_in_the_home_is_found_by_its_tilde(self, finished, copied, monkeypatch):
        monkeypatch.setenv("HOME", str(copied.parent))

        assert report_search(f"~/{copied.name}").answer.winner == finished.answer.winner

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
            NothingFoundError, match=r"no network met the limits; the nearest is trial \d+ with multiply-adds"
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
