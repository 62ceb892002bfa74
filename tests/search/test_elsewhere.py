"""A search goes on where its folder, its images or its device are others."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_search import Hearing, tiny_searching

from mnasnet.errors import DataError, SearchError, SettingsError
from mnasnet.machine import processor_name
from mnasnet.search.folder import SearchFolder
from mnasnet.search.open_search import opened
from mnasnet.search.records import records
from mnasnet.search.run import Searching, extend_search, promote, resume_search, run_search
from mnasnet.testing import write_image_folder

pytestmark = pytest.mark.usefixtures("quick_latencies")


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
