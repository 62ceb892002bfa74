"""What a search settles, forecasts and refuses before its first trial."""

from __future__ import annotations

import json
import re
import shutil
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_search import SPACE, tiny_searching

from mnasnet.errors import DataError, SearchError, SettingsError, SpecError
from mnasnet.latency.energy import LONG_ENOUGH_S, EnergyCounter
from mnasnet.search.counts import CountMeter
from mnasnet.search.curriculum import extreme
from mnasnet.search.prepare import forecast
from mnasnet.search.run import run_search
from mnasnet.space_file import space_of

pytestmark = pytest.mark.usefixtures("quick_latencies")

#: with three classes
PARAMETERS_OF_SMALLEST = CountMeter("parameters", num_classes=3).measure(extreme(space_of(SPACE), "smallest"))


class TestBeforeTheStart:
    @pytest.mark.skipif(sys.platform != "linux", reason="children are counted in /proc")
    def test_a_forecast_that_is_stopped_or_refused_leaves_no_process(self, data: Path, tmp_path: Path) -> None:
        def children() -> set[str]:
            return {
                pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
            }

        measuring = tiny_searching(data, tmp_path, trials=7, cost="latency", profile=False)
        before = children()

        with pytest.raises(SearchError, match="stopped before the first trial; nothing is left behind"):
            forecast(measuring, stop=lambda: True)
        with pytest.raises(SettingsError, match="minutes must be at least"):
            forecast(replace(measuring, trials=0, minutes=0.01))

        assert children() <= before

    @pytest.mark.slow
    def test_prices_by_a_table_that_is_not_there_are_measured_first(self, data: Path, tmp_path: Path) -> None:
        searched = run_search(
            tiny_searching(data, tmp_path, cost="latency", target_latency_ms=50.0, latency="table", trials=2)
        )

        assert searched.status == "done"
        assert (searched.folder / "latency_table.json").is_file()
        assert all(record.costs["latency_ms"] > 0 for record in searched.answer.records if record.state == "done")

    def test_a_forecast_tells_trials_and_time_and_leaves_nothing(self, data, tmp_path):
        told = forecast(tiny_searching(data, tmp_path, trials=7))

        assert told.trials == 7 and told.networks == 32  # different ones, of 64 combinations
        assert 0 < told.plan.small_s <= told.plan.large_s + 5
        assert "together" in told.text
        assert re.search(r"cost      \d{3},\d{3} to \d{3},\d{3} operations, the smallest and the largest", told.text)
        assert not (tmp_path / "runs").exists()

    def test_a_forecast_counts_the_time_of_measuring_where_networks_are_measured(self, data, tmp_path):
        latency = {"cost": "latency", "target_latency_ms": 50.0, "profile": False}
        counted = forecast(tiny_searching(data, tmp_path)).plan
        measured = forecast(tiny_searching(data, tmp_path, **latency)).plan

        assert counted.measure_s == 0 < measured.measure_s
        assert min(measured.small_s, measured.shared_trial_s) > 1 + measured.measure_s

    def test_a_forecast_counts_the_time_of_measuring_energy(self, data, tmp_path, monkeypatch):
        class Counter(EnergyCounter):
            def read_uj(self) -> tuple[int, ...]:
                return (time.monotonic_ns() // 200,)  # 5 W

        for module in ("prepare", "open_search"):
            monkeypatch.setattr(f"mnasnet.search.{module}.open_counter", lambda: Counter((tmp_path,)))

        plan = forecast(tiny_searching(data, tmp_path, cost="energy", target_cost=9.0)).plan

        assert LONG_ENOUGH_S < plan.measure_s < min(plan.small_s, plan.shared_trial_s)

    def test_a_forecast_foresees_no_more_trials_than_the_space_has_networks(self, data, tmp_path):
        few = {"stem_channels": 8, "head_channels": 32, "blocks": [{"channels": 8, "stride": 2, "kernel": [3, 5]}]}
        few["blocks"][0]["skip"] = ["identity", "none"]  # which does nothing at stride 2
        searching = tiny_searching(data, tmp_path, trials=40)
        Path(searching.space).write_text(json.dumps(few))

        told = forecast(searching)

        assert (told.networks, told.trials) == (2, 2)
        assert told.times.search_s == pytest.approx(2 * told.plan.trial_s)

    @pytest.mark.parametrize(("chosen", "judged_at"), [({}, "32 to 48 px"), ({"proxy_input_size": 40}, "40 px")])
    def test_a_forecast_names_the_sizes_at_which_networks_are_judged(self, data, tmp_path, chosen, judged_at):
        searching = tiny_searching(data, tmp_path, **chosen)
        Path(searching.space).write_text(json.dumps({**SPACE, "input_sizes": [32, 48]}))

        assert f"on 100% of the training images at {judged_at}\n" in forecast(searching).text

    def test_minutes_are_divided_and_the_share_of_images_follows(self, data, tmp_path):
        told = forecast(tiny_searching(data, tmp_path, trials=0, minutes=30.0, proxy_share=0.0, final_epochs=0))

        times = told.times
        assert 0.5 * 1800 < times.search_limit_s < 1800
        assert times.total_s == pytest.approx(1800, rel=0.35)
        assert 0 < told.plan.proxy_share <= 1

    @pytest.mark.parametrize(
        ("chosen", "error", "message"),
        [
            ({"trials": 0}, SettingsError, "set minutes or trials"),
            ({"cost": "energy", "meter": "adb"}, SettingsError, "cost energy"),
            ({"target_cost": 0.0}, SettingsError, "cost multiply_adds needs target_cost"),
            ({"algorithm": "luck"}, SettingsError, "algorithm must be one of guided"),
            ({"max_model_mb": -4.0}, SettingsError, "max_model_mb must not be negative, got -4.0"),
            ({"proxy_share": 2.0}, SettingsError, "proxy_share must be a share of the training images, 0 to 1, got 2"),
            ({"objectives": "watts"}, SettingsError, "objectives must be some of latency"),
            ({"objectives": "latency", "algorithm": "ppo"}, SettingsError, "ppo maximises one reward"),
            ({"meter": "sundial"}, SettingsError, "meter must be one of onnxruntime"),
            ({"space": "nowhere"}, SpecError, "no search space and no file is called 'nowhere'"),
            ({"data": Path("/nowhere")}, DataError, "must be an existing folder"),
            ({"agent_url": "https://pi.local:8765"}, SettingsError, "agent_url names a device for meter remote"),
            ({"meter": "remote"}, SettingsError, "meter remote needs agent_url"),
            ({"storage": "nosql://here"}, SearchError, "nosql://here"),
            *(
                ({"meter_device": "cuda", "meter": meter, **named}, SettingsError, f"onnxruntime, got meter {meter};")
                for meter, named in (("openvino", {}), ("adb", {}), ("remote", {"agent_url": "https://pi.local:8765"}))
            ),
            ({"meter_device": "cuda", "cost": "energy", "target_cost": 1.0}, SettingsError, "meter_device must be cpu"),
        ],
    )
    def test_what_is_wrong_is_told_before_anything_is_made(self, data, tmp_path, chosen, error, message):
        with pytest.raises(error, match=message):
            run_search(replace(tiny_searching(data, tmp_path), **chosen))
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize("meter", ["torch", "onnxruntime"])
    @pytest.mark.parametrize("begin", [forecast, run_search])
    def test_a_gpu_that_is_not_there_is_told(self, begin, meter, data, tmp_path, monkeypatch):
        monkeypatch.setattr("mnasnet.runtime.session._may_have_driver", lambda: False)
        asked = tiny_searching(data, tmp_path, cost="latency", target_latency_ms=50.0, meter=meter, meter_device="cuda")

        with pytest.raises(
            SettingsError, match=f"cuda was asked for but {meter} reaches no NVIDIA GPU on this machine"
        ):
            begin(asked)
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize(
        ("storage", "message"),
        [
            ("{}/space.json/trials.journal", "trials cannot be kept in .*: Not a directory; set storage to a file"),
            ("{}", "trials cannot be kept in .*: Is a directory; set storage to a file"),
            ("{}/nowhere/trials.journal", "trials cannot be kept in .*: there is no folder .*nowhere; set storage to"),
            ("sqlite:///{}/nowhere/trials.db", "the database sqlite.* does not let us in: unable to open database"),
            ("nosql://here", "no database is called nosql"),
        ],
    )
    @pytest.mark.parametrize("begin", [forecast, run_search])
    def test_a_storage_that_cannot_be_opened_is_told(self, begin, storage, message, data, tmp_path):
        with pytest.raises(SearchError, match=message):
            begin(tiny_searching(data, tmp_path, storage=storage.format(tmp_path)))
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize(
        ("place", "error", "message"),
        [
            ("space.json", SearchError, "cannot make a run folder in .*space.json: Not a directory; set output_folder"),
            ("space.json/runs", SearchError, "cannot make a run folder in .*: Not a directory; set output_folder"),
            ("photos/red", SettingsError, "output_folder must lie outside of the dataset"),
        ],
    )
    @pytest.mark.parametrize("begin", [forecast, run_search])
    def test_a_place_where_no_run_folder_can_be_made_is_told(self, begin, place, error, message, data, tmp_path):
        asked = tiny_searching(data, tmp_path, storage=f"sqlite:///{tmp_path}/trials.db")
        (tmp_path / "photos").symlink_to(data)

        with pytest.raises(error, match=message):
            begin(replace(asked, output_folder=tmp_path / place))
        assert not (tmp_path / "trials.db").exists()

    def test_a_disk_without_room_for_the_winners_training_is_told_before_anything_is_measured(
        self, data, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=9_000_000))

        with pytest.raises(SearchError, match=r"needs 1\d MB of disk, .*9 MB free; make room or set output_folder"):
            run_search(tiny_searching(data, tmp_path))

        assert not list((tmp_path / "runs").iterdir())

    @pytest.mark.parametrize("begin", [forecast, run_search])
    def test_a_cluster_that_is_away_is_told_before_anything_is_trained(self, begin, data, tmp_path):
        pytest.importorskip("ray", reason="Ray is not installed")
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))  # and does not listen
            address = f"127.0.0.1:{listener.getsockname()[1]}"

            with pytest.raises(SearchError, match=f"no Ray cluster can be reached at {address}"):
                begin(tiny_searching(data, tmp_path, ray=address))
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize("storage", ["{}/trials.journal", "sqlite:///{}/trials.db"])
    def test_a_forecast_makes_no_storage(self, storage, data, tmp_path):
        forecast(tiny_searching(data, tmp_path, storage=storage.format(tmp_path)))

        assert {path.name for path in tmp_path.iterdir()} == {"space.json"}

    @pytest.mark.parametrize(
        ("chosen", "told"),
        [
            (
                {"target_cost": 1000.0},
                "even the smallest network is far above the limits: multiply_adds .*, limit 1,000;",
            ),
            ({"max_parameters": 0.9}, "even the smallest network is above the limits: parameters .*; hardly one meets"),
            (
                {"target_cost": 1000.0, "strict": False},
                "above the target: multiply_adds .*, target 1,000; twice the cost must bring 2 times the accuracy",
            ),
            (
                {"target_cost": 1000.0, "reward": "absolute"},
                "target 1,000; a tenth of the target more must bring an accuracy 1.0% higher",
            ),
            ({"target_cost": 1000.0, "reward": "soft"}, None),
            ({}, None),
        ],
    )
    def test_a_forecast_tells_what_no_network_of_the_space_is_likely_to_meet(self, chosen, told, data, tmp_path):
        asked = tiny_searching(data, tmp_path, **chosen)
        if "max_parameters" in chosen:  # as a share of what the smallest has
            asked = replace(asked, max_parameters=chosen["max_parameters"] * PARAMETERS_OF_SMALLEST)

        text = forecast(asked).text

        assert re.search(told, text) if told else "even the smallest" not in text
