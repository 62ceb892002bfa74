"""A search whose latencies come from a table of prices: the user's own, or one that is made at the start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_search import SPACE, tiny_searching

from mnasnet.errors import LatencyError, SettingsError
from mnasnet.latency.agreement import agreement
from mnasnet.latency.meter import Latency
from mnasnet.latency.pieces import pieces_of_space
from mnasnet.latency.table import LatencyTable
from mnasnet.machine import processor_name
from mnasnet.search.folder import SearchFolder
from mnasnet.search.prepare import forecast, prepared
from mnasnet.search.results import answer_of
from mnasnet.search.run import NothingFoundError, Searching, run_search
from mnasnet.space_file import space_of
from mnasnet.spec import ArchitectureSpec

pytestmark = pytest.mark.usefixtures("quick_latencies")


def priced_by(parent: Path, input_size: int = 32, **conditions: object) -> str:
    """The file of a table in which each piece of the tiny space takes half a millisecond on this machine."""
    latency = Latency(f"{processor_name()}, 999 cores", "onnxruntime", "1", "fp32", 1, 1, input_size, 9, 1.0, 1.0, 1.0)
    pieces = pieces_of_space(space_of(SPACE), input_size)
    file = parent / "table.json"
    LatencyTable(replace(latency, **conditions), {piece.key: 0.5 for piece in pieces}).save(file)
    return str(file)


class FixedDevice:
    """Takes as long for every network."""

    def __init__(self, latency: Latency) -> None:
        self.latency = latency

    def measure(self, architecture: ArchitectureSpec, input_size: int) -> Latency:
        return replace(self.latency, input_size=input_size)


class DroppingOut:
    """A device that is away for one of its first measurements."""

    def __init__(self) -> None:
        self.measured = 0

    def measure(self, architecture: ArchitectureSpec, input_size: int) -> Latency:
        self.measured += 1
        if self.measured == 5:
            raise LatencyError("the device is away")
        return Latency("a board", "fixed", "1", "fp32", 1, 1, input_size, 9, 1.0, 1.0, 1.0)


class TestATableOfTheUsers:
    def asked(self, data: Path, parent: Path, table: str, latency: str = "table") -> Searching:
        return tiny_searching(
            data, parent, cost="latency", target_latency_ms=50.0, latency=latency, latency_table=table, profile=False
        )

    @pytest.mark.parametrize("latency", ["table", "measured"])
    def test_for_images_of_another_size_is_refused_before_the_plan(self, data, tmp_path, latency):
        asked = self.asked(data, tmp_path, priced_by(tmp_path, input_size=224), latency)

        for begin in (forecast, run_search):
            with pytest.raises(LatencyError, match="is for 224 px, networks take 32 px here; profile with --input-si"):
                begin(asked)
        assert not list((tmp_path / "runs").glob("*"))

    @pytest.mark.parametrize(
        ("latency", "conditions"),
        [
            ("table", {"device": "Raspberry Pi 5, 4 cores"}),
            ("measured", {"device": "Raspberry Pi 5, 4 cores"}),
            ("table", {"runtime": "litert"}),
            ("table", {"precision": "int8"}),
            ("table", {"threads": 4}),
        ],
    )
    def test_of_another_device_or_setting_is_not_mixed_with_measurements(self, data, tmp_path, latency, conditions):
        asked = self.asked(data, tmp_path, priced_by(tmp_path, **conditions), latency)

        with pytest.raises(SettingsError, match="the latency table is of .*; this search measures on .*; set") as told:
            forecast(asked)
        table, measured = str(told.value).split("; ")[:2]
        assert str(next(iter(conditions.values()))) in table
        assert processor_name() in measured and "onnxruntime" in measured and "fp32, 1 thread" in measured

    def test_of_this_machine_with_more_cores_is_taken_and_tells_what_networks_take(self, data, tmp_path):
        told = forecast(self.asked(data, tmp_path, priced_by(tmp_path)))
        low_and_high = "predicted by the table of the device, the smallest and the largest network of the space"

        # a stem and a head around three blocks of one layer, of which the second may have two
        assert told.costs["latency_ms"] == (2.5, 3.0)
        assert f"latency   2.5 to 3 ms {low_and_high}" in told.text

    def test_takes_no_minutes_of_the_forecast_for_one_to_be_made(self, data, tmp_path):
        asked = replace(self.asked(data, tmp_path, priced_by(tmp_path)), profile=True, trials=0, minutes=60.0)

        assert forecast(asked).times.total_s > 3600 - 60  # one to be made is given a tenth: 360 s

    def test_that_hardly_orders_networks_is_told_at_the_start_and_in_the_answer(self, data, tmp_path, caplog):
        file = Path(priced_by(tmp_path))
        replace(LatencyTable.load(file), error=agreement([1.0, 2.0, 3.0], [3.0, 2.0, 1.0])).save(file)
        (tmp_path / "run").mkdir()

        search = prepared(self.asked(data, tmp_path, str(file)), SearchFolder(tmp_path / "run"))

        notes = answer_of(search, [], "done", "", 0.0).notes
        reason = "it hardly orders networks as the device does; profile again"
        assert f"do not trust the latency table of {search.table.conditions.measured_on}: {reason}" in caplog.text
        assert any(note.startswith("the table of") and reason in note for note in notes)

    @pytest.mark.parametrize(
        ("ms", "version", "told"),
        [
            (0.1, "1", ["prices the smallest network at 2.5 ms, measured it took 0.1 ms; profile the device again"]),
            (25.0, "1", ["prices the smallest network at 2.5 ms, measured it took 25 ms; profile the device again"]),
            (2.0, "2", ["was made on 2026-01-31 with onnxruntime 1, the device has 2 now; profile it again where"]),
            (2.0, "1", []),
        ],
    )
    def test_that_the_first_measurement_speaks_against_is_told_at_the_start_and_in_the_answer(
        self, ms, version, told, data, tmp_path, monkeypatch, caplog
    ):
        file = Path(priced_by(tmp_path))
        table = replace(LatencyTable.load(file), made_on="2026-01-31")
        table.save(file)
        meter = FixedDevice(replace(table.conditions, undisturbed_ms=ms, runtime_version=version))
        monkeypatch.setattr("mnasnet.search.open_search.open_device_meter", lambda *_: meter)
        (tmp_path / "run").mkdir()

        search = prepared(self.asked(data, tmp_path, str(file)), SearchFolder(tmp_path / "run"))

        notes = [note for note in answer_of(search, [], "done", "", 0.0).notes if "profile" in note]
        assert len(notes) == len(told) and notes == [line for line in caplog.messages if "profile" in line]
        assert all(text in note for text, note in zip(told, notes, strict=True))

    def test_is_named_where_no_network_meets_a_limit_by_its_prices(self, data, tmp_path, monkeypatch):
        file = priced_by(tmp_path)
        meter = FixedDevice(replace(LatencyTable.load(Path(file)).conditions, undisturbed_ms=0.1))
        monkeypatch.setattr("mnasnet.search.open_search.open_device_meter", lambda *_: meter)
        asked = replace(self.asked(data, tmp_path, file), reward="hard", target_latency_ms=1.0, trials=2)

        prices = "raise the limit .*; latencies are prices of the table; the table of .* prices the smallest network at"
        with pytest.raises(NothingFoundError, match=f"no network met the limits; .* {prices} 2.5 ms, measured it took"):
            run_search(asked)

    @pytest.mark.slow
    def test_is_named_in_the_answer_which_says_that_the_target_never_bound(self, data, tmp_path):
        asked = replace(self.asked(data, tmp_path, priced_by(tmp_path)), trials=2, proxy_epochs=1)

        stopped = run_search(asked, stop=lambda: bool(list(tmp_path.glob("runs/tiny/trained"))))
        notes = stopped.answer.notes

        dearest_ms = max(record.costs["latency_ms"] for record in stopped.answer.records)
        device = f"{processor_name()}, 999 cores, onnxruntime 1 fp32, 1 thread, batch 1"
        assert f"the table of {device}: of unknown error, prices every trial" in notes
        assert [note for note in notes if note.startswith("the target")] == [
            f"the target of 50 ms never bound: the dearest network tried has latency {dearest_ms:g} ms; a larger space "
            "or input_size would make use of the rest, a smaller target would favour cheaper networks"
        ]


class TestADeviceThatDropsOutOfItsTable:
    @pytest.fixture
    def asked(self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Searching:
        meter = DroppingOut()
        monkeypatch.setattr("mnasnet.search.open_search.open_device_meter", lambda *_: meter)
        (tmp_path / "run").mkdir()
        return tiny_searching(data, tmp_path, cost="latency", target_latency_ms=50.0)

    def test_costs_the_search_no_more_than_the_table_that_would_have_steered_it(self, asked, tmp_path, caplog):
        search = prepared(asked, SearchFolder(tmp_path / "run"))

        assert search.table is None and search.folder.latencies.exists()
        assert "the device is away; the search goes without a table of the device" in caplog.text

    def test_is_told_how_a_table_of_prices_is_made_in_several_goes(self, asked, tmp_path):
        with pytest.raises(LatencyError, match="the device is away; .*mnasnet profile.* goes on where it was stopped"):
            prepared(replace(asked, latency="table"), SearchFolder(tmp_path / "run"))


class TestAnAnswerIn8Bits:
    def test_says_that_its_accuracy_is_of_float32_and_how_to_have_both(self, data, tmp_path):
        file = priced_by(tmp_path, precision="int8")
        asked = tiny_searching(
            data,
            tmp_path,
            cost="latency",
            target_latency_ms=50.0,
            latency="table",
            latency_table=file,
            precision="int8",
        )
        (tmp_path / "run").mkdir()

        search = prepared(asked, SearchFolder(tmp_path / "run"))

        told = "latency is of 8 bits made up for timing, accuracy and size are of float32: python -m mnasnet export RUN"
        assert f"{told} --int8 --data {data} makes and judges the file" in answer_of(search, [], "done", "", 0.0).notes
