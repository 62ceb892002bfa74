"""A table adds up what it has seen, corrects the sum, knows its error, and names what it lacks."""

import contextlib
import json
import logging
import random
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from small_disk import room_for

from mnasnet import modelfile
from mnasnet.cli import main
from mnasnet.errors import LatencyError, SettingsError
from mnasnet.latency.agreement import agreement, kendall_tau
from mnasnet.latency.contract import LatencyMeterContract
from mnasnet.latency.meter import Latency
from mnasnet.latency.meters import open_meter
from mnasnet.latency.pieces import pieces_of, pieces_of_space, random_probes
from mnasnet.latency.table import Correction, LatencyTable, TableMeter, learn, profile
from mnasnet.network.count import count
from mnasnet.presets import PRESETS
from mnasnet.search.open_search import require_table_of_classes
from mnasnet.space import BlockChoices, SearchSpace
from mnasnet.spaces import space
from mnasnet.spec import ArchitectureSpec, BlockSpec
from mnasnet.testing import TINY, random_model

pytestmark = pytest.mark.usefixtures("first_passes_count")


class CountingMeter:
    """A device whose time is the number of multiply-adds, plus a call's and a layer's fixed share."""

    def __init__(self):
        self.measured = []

    def measure(self, architecture, input_size):
        self.measured.append((architecture, input_size))
        layers = sum(block.repeats for block in architecture.blocks)
        ms = 0.5 + 0.01 * layers + count(architecture, input_size, 10).multiply_adds / 1e7
        return Latency("a counter", "counting", "1", "fp32", 1, 1, input_size, 50, ms, ms, ms)


@pytest.fixture(scope="module")
def networks():
    rng, own = random.Random(0), space("tiny")
    return list(dict.fromkeys(own.random(rng).architecture for _ in range(24)))


@pytest.fixture(scope="module")
def table(networks):
    return profile(
        pieces_of_space(space("tiny"), 64), [(one, 64) for one in networks], CountingMeter(), 64, made_on="2026-01-01"
    )


class TestTableMeter(LatencyMeterContract):
    network = PRESETS["mnasnet_small"]

    @pytest.fixture
    def meter(self, table, tmp_path):
        table.save(tmp_path / "table.json")
        return open_meter("table", table=tmp_path / "table.json")


def test_an_additive_device_is_predicted_exactly(table, networks):
    meter = CountingMeter()

    for network in networks[:5]:
        assert TableMeter(table).measure(network, 64).median_ms == pytest.approx(meter.measure(network, 64).median_ms)
    assert table.error.mape_percent < 0.01
    assert table.error.kendall_tau > 0.99  # equal networks are ordered by rounding


def test_every_piece_is_timed_once_a_round():
    meter = CountingMeter()

    profile([*pieces_of(TINY, 64), *pieces_of(TINY, 64)], [], meter, 64, rounds=1)

    assert len(meter.measured) == len(set(meter.measured))


class RestlessMeter(CountingMeter):
    """Every first measurement of a network is disturbed and takes twice as long."""

    def measure(self, architecture, input_size):
        is_first = (architecture, input_size) not in self.measured
        latency = super().measure(architecture, input_size)
        if not is_first:
            return latency
        return replace(latency, undisturbed_ms=2 * latency.undisturbed_ms, median_ms=2 * latency.median_ms,
                       p90_ms=2 * latency.p90_ms, quiet=False, note="not quiet")  # fmt: skip


def test_of_several_rounds_the_fastest_time_of_each_piece_counts():
    restless, calm = RestlessMeter(), CountingMeter()

    table = profile(pieces_of(TINY, 64), [], restless, 64, rounds=2)

    assert table.piece_ms == pytest.approx(profile(pieces_of(TINY, 64), [], calm, 64, rounds=1).piece_ms)
    assert restless.measured == [*calm.measured, *reversed(calm.measured)]


def test_a_further_round_begins_only_where_it_would_end_in_time():
    class Slow(CountingMeter):
        def measure(self, architecture, input_size):
            time["s"] += 1.0
            return super().measure(architecture, input_size)

    def rounds_within(seconds):
        time["s"], meter = 0.0, Slow()
        profile(pieces_of(TINY, 64), [], meter, 64, rounds=3, most_seconds=seconds, clock=lambda: time["s"])
        return len(meter.measured) / len(set(meter.measured))

    time = {"s": 0.0}
    calm = CountingMeter()
    profile(pieces_of(TINY, 64), [], calm, 64, rounds=1)
    pieces = len(calm.measured)

    assert [rounds_within(share * pieces) for share in (0.1, 1.9, 2.1, 3.0)] == [1, 1, 2, 3]


def test_what_stays_disturbed_says_so():
    class NeverQuiet(CountingMeter):
        def measure(self, architecture, input_size):
            return replace(super().measure(architecture, input_size), quiet=False, note="not quiet")

    table = profile(pieces_of(TINY, 64), [], NeverQuiet(), 64, rounds=2)

    assert not table.conditions.quiet


def test_a_table_is_never_of_two_devices():
    class Exchanged(CountingMeter):
        def measure(self, architecture, input_size):
            latency = super().measure(architecture, input_size)
            return latency if len(self.measured) < 5 else replace(latency, device="another board")

    with pytest.raises(LatencyError, match="never mixed: so far it was a counter, .*, now it is another board, "):
        profile(pieces_of(TINY, 64), [], Exchanged(), 64)


@pytest.mark.parametrize("name", ["around_a1", "resolution_width"])
def test_a_space_has_the_pieces_of_all_its_networks(name):
    own, rng = replace(space(name), head_channels=24), random.Random(1)
    keys = {piece.key for piece in pieces_of_space(own, 104)}

    for _ in range(20):
        candidate = own.random(rng)
        for size in {candidate.input_size or 104, 104}:
            assert {piece.key for piece in pieces_of(candidate.architecture, size)} <= keys


GATES_OF_ALL = ArchitectureSpec((BlockSpec("inverted", 8, expansion=3, se_ratio=1.0),), 8, 1, 40)
ROUNDED_GATE = ArchitectureSpec((BlockSpec("inverted", 8, expansion=3, se_ratio=0.7),), 22)  # 15 / 22 * 22 < 15


@pytest.mark.parametrize(
    ("architecture", "input_size"),
    [(PRESETS["semnasnet_100"], 224), (TINY, 97), (GATES_OF_ALL, 33), (ROUNDED_GATE, 64)],
)
def test_a_piece_is_timed_in_a_network_that_has_it_beside_one_that_has_not(architecture, input_size):
    for piece in pieces_of(architecture, input_size):
        assert piece.key in {inner.key for inner in pieces_of(*piece.probe)}
        if piece.base is not None:
            assert piece.key not in {inner.key for inner in pieces_of(*piece.base)}


def test_pieces_are_at_the_sides_that_their_maps_have():
    sides = [int(piece.key.rpartition("@")[2]) for piece in pieces_of(PRESETS["mnasnet_b1"], 97)]

    # a stride takes every second pixel, from the first on
    assert list(dict.fromkeys(sides)) == [97, 49, 25, 13, 7, 4]


def test_pieces_that_differ_in_anything_have_names_of_their_own():
    block = BlockSpec("inverted", 16, kernel=3, stride=1, expansion=3, se_ratio=0.0, skip="none")
    changes = ({}, {"channels": 24}, {"kernel": 5}, {"stride": 2}, {"expansion": 6}, {"se_ratio": 0.25},
               {"se_ratio": 0.5}, {"skip": "pool"}, {"skip": "identity"}, {"operator": "separable", "expansion": 1},
               {"operator": "conv", "expansion": 1})  # fmt: skip
    networks = [ArchitectureSpec((replace(block, **change),), stem_channels=16, head_channels=8) for change in changes]
    others = [replace(networks[0], stem_channels=8), replace(networks[0], stem_stride=1)]

    assert len({[*pieces_of(one, 64)][1].key for one in networks}) == len(networks)
    assert len({next(pieces_of(one, 64)).key for one in (networks[0], *others)}) == 3


def test_random_networks_are_as_many_as_asked_for_as_long_as_the_space_has_so_many():
    blocks = [BlockChoices.fixed(block) for block in TINY.blocks]
    own = SearchSpace((replace(blocks[0], kernel=(3, 5, 7)), *blocks[1:]), stem_channels=8)

    assert len(random_probes(own, 3, 64, random.Random(0))) == 3
    assert len(random_probes(own, 9, 64, random.Random(0))) == 3


def test_predictions_say_that_they_are_predicted(table):
    latency = TableMeter(table).measure(PRESETS["mnasnet_small"], 64)

    assert latency.predicted and latency.n == 0
    assert "predicted" in latency.sentence and "from a table with a mean error of 0.0%" in latency.sentence


def test_the_table_names_the_missing_piece(table):
    with pytest.raises(LatencyError, match=r"table of a counter lacks the piece 'stem 3>32 s2 @64'; profile .* 64$"):
        TableMeter(table).measure(PRESETS["mnasnet_b1"], 64)


def test_the_table_names_the_input_size_that_it_lacks(table):
    with pytest.raises(LatencyError, match=r"is for 64 px, networks take 128 px here; profile with --input-size 128"):
        TableMeter(table).measure(PRESETS["mnasnet_small"], 128)


def test_a_table_survives_its_file(table, tmp_path):
    table.save(tmp_path / "t.json")

    again = LatencyTable.load(tmp_path / "t.json")

    assert again.conditions == table.conditions and again.error == table.error
    assert again.correction == table.correction and again.networks == table.networks
    assert again.made_on == table.made_on == "2026-01-01"
    assert again.predict_ms(PRESETS["mnasnet_small"], 64) == pytest.approx(
        table.predict_ms(PRESETS["mnasnet_small"], 64), rel=1e-3
    )


def test_a_table_that_an_editor_saved_with_a_mark_in_front_is_read(table, tmp_path):
    table.save(tmp_path / "t.json")
    text = (tmp_path / "t.json").read_text(encoding="utf-8")
    (tmp_path / "t.json").write_text(text, encoding="utf-8-sig")

    assert LatencyTable.load(tmp_path / "t.json").conditions == table.conditions


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"schema": 1}', '{"schema": "x"}', pytest.param("[" * 200_000, id="deep")]
)
def test_a_damaged_table_is_named(content, tmp_path):
    (tmp_path / "t.json").write_text(content)

    with pytest.raises(LatencyError, match="t.json is not a latency table"):
        LatencyTable.load(tmp_path / "t.json")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("conditions", "device"), None),
        (("conditions", "threads"), "1"),
        (("conditions", "median_ms"), 10**400),
        (("correction", "scale"), "1"),
        (("correction", "layer_ms"), float("nan")),
        (("error", "mape_percent"), "little"),
        (("error", "kendall_tau"), float("nan")),
        (("error", "tau_interval"), [0.9, True]),
        (("error", "networks"), 3.5),
        (("piece_ms", "a piece"), float("nan")),
        (("piece_ms", "a piece"), 10**400),
    ],
)
def test_a_table_of_numbers_that_are_none_is_refused_where_it_is_read(place, value, table, tmp_path):
    table.save(tmp_path / "t.json")
    values = json.loads((tmp_path / "t.json").read_text())
    values[place[0]][place[1]] = value
    (tmp_path / "t.json").write_text(json.dumps(values))

    with pytest.raises(LatencyError, match="t.json is not a latency table"):
        LatencyTable.load(tmp_path / "t.json")


def test_a_table_that_is_not_there_says_how_to_make_one(tmp_path):
    with pytest.raises(LatencyError, match="No such file or directory; measure one on the device with `python -m"):
        LatencyTable.load(tmp_path / "t.json")


def test_a_table_of_the_future_asks_for_an_update(table, tmp_path):
    table.save(tmp_path / "t.json")
    (tmp_path / "t.json").write_text((tmp_path / "t.json").read_text().replace('"schema": 1', '"schema": 2'))

    with pytest.raises(LatencyError, match="schema 2, newer than 1; update"):
        LatencyTable.load(tmp_path / "t.json")


def test_few_networks_fit_a_scale_and_tell_no_error(networks):
    table = profile(pieces_of_space(space("tiny"), 64), [(one, 64) for one in networks[:2]], CountingMeter(), 64)

    assert table.error is None and table.correction.layer_ms == 0


@pytest.mark.parametrize(("count", "has_all"), [(5, False), (6, False), (7, False), (8, True)])
def test_the_error_is_of_a_correction_of_the_form_that_is_kept(count, has_all, networks):
    pieces, checks = pieces_of_space(space("tiny"), 64), [(one, 64) for one in networks[:count]]

    table = profile(pieces, checks, CountingMeter(), 64, rounds=1)

    assert (table.correction.offset_ms != 0.0) == has_all
    # sums need three coefficients here, with which the networks that were held out are predicted exactly
    assert (table.error.mape_percent < 0.01) == has_all


@pytest.fixture(scope="module")
def noisy(table, networks):
    """The table's sums with nothing to correct them, networks, and times that their sums and pieces tell roughly."""
    sums, probes = replace(table, correction=Correction()), [(network, 64) for network in networks[:12]]
    noise = np.random.default_rng(0).uniform(0.8, 1.25, len(probes))
    exact = [0.8 * sums.predict_ms(*probe) + 0.02 * len(list(pieces_of(*probe))) + 0.3 for probe in probes]
    return sums, probes, list(exact * noise)


def test_the_correction_is_that_of_the_least_relative_errors(noisy):
    sums, probes, truth = noisy
    own = [(sums.predict_ms(*probe), len(list(pieces_of(*probe)))) for probe in probes]

    found = sums.calibrated(probes, truth).correction

    def squares(correction):
        return sum((correction(*one) / ms - 1) ** 2 for one, ms in zip(own, truth, strict=True))

    for name, value in asdict(found).items():
        assert squares(found) < min(squares(replace(found, **{name: value + step})) for step in (-1e-3, 1e-3))


def test_the_error_is_of_networks_that_their_correction_has_not_seen(noisy):
    sums, probes, truth = noisy
    before = sums.calibrated(probes, truth)

    slow = [3 * ms if place == 7 else ms for place, ms in enumerate(truth)]
    after = sums.calibrated(probes, slow)

    assert after.networks[7] == (before.networks[7][0], slow[7])
    assert after.networks[8][0] != before.networks[8][0]  # those of other folds learn from it
    assert after.error == agreement(*zip(*after.networks, strict=True))


def test_a_table_is_learned_from_whole_networks(networks):
    meter = CountingMeter()
    rng, own = random.Random(7), space("tiny")
    many = list(dict.fromkeys(own.random(rng).architecture for _ in range(150)))
    times = [meter.measure(network, 64).median_ms for network in many]

    table = learn(many[:100], times[:100], 64, meter.measure(many[0], 64))

    predicted = [table.predict_ms(network, 64) for network in many[100:]]
    # the data has no noise; only the ridge keeps it from being exact
    assert agreement(predicted, times[100:]).mape_percent < 0.1


def test_kendall_tau_equals_scipys():
    scipy_stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 60).astype(float), rng.integers(0, 9, 60).astype(float)

    assert kendall_tau(a, b) == pytest.approx(scipy_stats.kendalltau(a, b).statistic)


def test_a_prediction_that_tells_no_networks_apart_has_no_order_and_the_error_is_in_percent_of_what_was_measured():
    found = agreement([2.0, 2.0, 2.0], [1.0, 2.0, 2.5])

    assert found.kendall_tau == 0.0
    assert found.mape_percent == pytest.approx((100 + 0 + 20) / 3)


def test_intervals_hold_the_value_and_two_networks_are_too_few():
    rng = np.random.default_rng(0)
    truth, factors = rng.uniform(1, 2, 50), rng.normal(1, 0.03, 50)
    found = agreement(list(truth * factors), list(truth))

    half = 1.96 * 100 * np.abs(factors - 1).std() / np.sqrt(50)
    # of a mean of 50 the interval is nearly the normal one
    assert found.mape_interval == pytest.approx((found.mape_percent - half, found.mape_percent + half), abs=0.2 * half)
    assert found.mape_interval[0] < found.mape_percent < found.mape_interval[1]
    assert found.tau_interval[0] < found.kendall_tau < found.tau_interval[1]
    with pytest.raises(LatencyError, match="three or more networks"):
        agreement([1.0, 2.0], [1.0, 2.0])


def test_a_perfect_order_of_five_networks_is_no_certainty():
    found = agreement([1.0, 2.0, 3.0, 4.0, 5.0], [1.1, 2.1, 3.0, 4.2, 5.0])

    assert found.kendall_tau == 1.0
    assert found.tau_interval == (pytest.approx(0.2, abs=0.005), 1.0)  # by Mallows' model
    opposite = agreement([5.0, 4.0, 3.0, 2.0, 1.0], [1.1, 2.1, 3.0, 4.2, 5.0])
    assert opposite.tau_interval == (-1.0, pytest.approx(-0.2, abs=0.005))


@pytest.mark.parametrize(("runtime", "precision"), [("onnxruntime", "fp32"), ("litert", "int8")])
def test_profile_writes_a_table_that_the_meter_reads(runtime, precision, tmp_path, capsys):
    path = tmp_path / "t.json"

    options = [
        "--input-size",
        "32",
        "--checks",
        "3",
        "--runs",
        "3",
        "--rounds",
        "1",
        "--classes",
        "10",
        "--out",
        str(path),
        "--json",
    ]
    assert main(["profile", "tiny", "--runtime", runtime, "--precision", precision, *options]) == 0

    report = json.loads(capsys.readouterr().out)
    assert (report["conditions"]["runtime"], report["conditions"]["precision"]) == (runtime, precision)
    assert report["error"]["networks"] == 3
    assert open_meter("table", table=path).measure(PRESETS["mnasnet_small"], 32).predicted


class DyingMeter(CountingMeter):
    """A device that dies after some measurements."""

    def __init__(self, alive, device="a counter"):
        super().__init__()
        self.alive, self.device = alive, device

    def measure(self, architecture, input_size):
        if len(self.measured) == self.alive:
            raise LatencyError("the device is away")
        return replace(super().measure(architecture, input_size), device=self.device)


@pytest.fixture
def profiled(tmp_path, monkeypatch):
    """Run the command through a meter, with further options."""

    def run(meter, *options):
        monkeypatch.setattr("mnasnet.commands.profile._meter", lambda arguments: meter)
        words = ["profile", "tiny", "--input-size", "64", "--rounds", "2", "--checks", "4"]
        return main([*words, "--out", str(tmp_path / "t.json"), *options])

    return run


def test_a_profile_that_was_stopped_goes_on_where_it_was(profiled, tmp_path, capsys, caplog):
    caplog.set_level(logging.INFO)
    whole = CountingMeter()
    assert profiled(whole) == 0
    made = json.loads((tmp_path / "t.json").read_text())
    (tmp_path / "t.json").unlink()

    dying = DyingMeter(30)
    assert profiled(dying) == 2
    assert "30 timings are kept in " in caplog.text and "the same command goes on" in caplog.text
    with (tmp_path / "t.json.unfinished").open("a") as file:
        file.write("[" * 200_000 + '\n{"network": "torn by a kil')

    rest = CountingMeter()
    assert profiled(rest) == 0
    assert "going on after 30 timings" in caplog.text
    assert dying.measured + rest.measured == whole.measured
    assert json.loads((tmp_path / "t.json").read_text()) == made
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="the limit stands in for a full disk")
def test_a_profile_that_a_full_disk_cuts_short_is_told_with_its_file_and_goes_on(profiled, tmp_path, capsys, caplog):
    caplog.set_level(logging.INFO)
    with room_for(5_000):  # for some of the timings
        assert profiled(CountingMeter()) == 2

    told = f"error: cannot write {tmp_path / 't.json'}: File too large; make room, then give the same command again"
    assert told in capsys.readouterr().err and "timings are kept in " in caplog.text

    assert profiled(CountingMeter()) == 0
    assert "going on after" in caplog.text and [path.name for path in tmp_path.iterdir()] == ["t.json"]


def test_a_place_where_no_table_can_be_written_is_told_with_the_way_on(profiled, tmp_path, capsys):
    (tmp_path / "file").touch()
    table = tmp_path / "file" / "t.json"

    assert profiled(CountingMeter(), "--out", str(table)) == 2

    assert f"error: cannot write {table}: File exists; name a file in another folder\n" in capsys.readouterr().err


def test_a_profile_of_other_settings_or_another_device_takes_over_nothing(profiled, tmp_path, capsys):
    assert profiled(DyingMeter(30)) == 2
    fresh = DyingMeter(5)
    assert profiled(fresh, "--classes", "10") == 2
    assert len(fresh.measured) == 5

    assert profiled(DyingMeter(1, device="another"), "--classes", "10") == 2
    assert "latencies of two devices are never mixed" in capsys.readouterr().err
    assert not (tmp_path / "t.json").exists()

    rest = CountingMeter()
    assert profiled(rest, "--classes", "10") == 0  # the first device again
    assert len(fresh.measured + rest.measured) == 2 * len(set(fresh.measured + rest.measured))  # each in two rounds


@pytest.mark.parametrize(
    "option", ["--classes=10", "--runs=5", "--threads=2", "--meter=openvino", "--precision=bf16", "--device=cuda"]
)
def test_a_profile_that_ends_leaves_the_timings_of_other_settings(option, profiled, caplog):
    caplog.set_level(logging.INFO)
    assert profiled(DyingMeter(30)) == 2

    assert profiled(CountingMeter(), option) == 0

    assert "30 timings with other settings stay in" in caplog.text
    assert profiled(CountingMeter()) == 0
    assert "going on after 30 timings" in caplog.text


def test_a_table_is_for_the_classes_and_the_random_networks_of_the_seed_that_were_asked_for(profiled, tmp_path):
    meters = [CountingMeter() for _ in range(3)]

    for meter, seed in zip(meters, ("1", "1", "2"), strict=True):
        assert profiled(meter, "--classes", "10", "--seed", seed) == 0

    first, again, other = (set(meter.measured) for meter in meters)
    assert first == again != other
    assert json.loads((tmp_path / "t.json").read_text())["num_classes"] == 10


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_table_that_hardly_orders_networks_is_told_to_people_and_programs(profiled, capsys, monkeypatch):
    assert profiled(CountingMeter(), "--json") == 0
    trusted = json.loads(capsys.readouterr().out)
    monkeypatch.setattr("mnasnet.latency.table.LEAST_TAU", 1.1)  # which no order reaches
    assert profiled(CountingMeter()) == profiled(CountingMeter(), "--json") == 0

    *text, line = capsys.readouterr().out.splitlines()
    distrust = json.loads(line)["distrust"]
    assert trusted["distrust"] == "" and distrust.startswith("it hardly orders networks as the device does")
    assert f"         do not trust this table: {distrust}" in text


def test_a_profile_goes_where_a_link_leads_and_the_link_stays(profiled, tmp_path):
    (tmp_path / "t.json").symlink_to("real.json")

    assert profiled(CountingMeter()) == 0

    assert (tmp_path / "t.json").is_symlink() and (tmp_path / "real.json").is_file()


def test_profile_of_named_networks_prints_for_people(tmp_path, capsys):
    path = tmp_path / "t.json"

    assert (
        main(["profile", "mnasnet_small", "--input-size", "32", "--runs", "2", "--rounds", "1", "--out", str(path)])
        == 0
    )

    shown = capsys.readouterr().out
    assert "pieces" in shown and "error    unknown: fewer than three" in shown and str(path) in shown


def test_a_network_for_other_than_rgb_is_not_profiled_as_one_for_rgb(tmp_path, capsys):
    modelfile.save(random_model(in_channels=1), tmp_path / "grey.safetensors")

    assert main(["profile", str(tmp_path / "grey.safetensors"), "--out", str(tmp_path / "t.json")]) == 2

    assert "networks are timed on RGB images" in capsys.readouterr().err and not (tmp_path / "t.json").exists()


@pytest.mark.parametrize("size", [0, -5])
def test_a_size_that_no_network_takes_is_refused_at_once(size, table, tmp_path, capsys):
    words = ["profile", "tiny", "--input-size", str(size), "--out", str(tmp_path / "t.json")]
    with contextlib.suppress(SystemExit):  # argparse ends the program
        main(words)

    assert f"must be a whole number from 32 to 2048, got '{size}'" in capsys.readouterr().err
    with pytest.raises(
        LatencyError, match=f"cannot be priced at {size} px: input_size must be >= 32 pixels, got {size}"
    ):
        TableMeter(table).measure(TINY, size)


def test_fewer_than_no_networks_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["profile", "mnasnet_small", "--checks", "-1", "--out", str(tmp_path / "t.json")])

    assert "--checks: must be a whole number from 0 to 10000, got '-1'" in capsys.readouterr().err


@pytest.mark.parametrize("latency_ms", [0.0, -1.0, float("nan"), float("inf")])
def test_a_latency_that_cannot_be_teaches_nothing(table, networks, latency_ms):
    networks, conditions = networks[:2], table.conditions

    with pytest.raises(LatencyError, match="a latency must be a number of milliseconds above 0"):
        learn(networks, [1.0, latency_ms], 64, conditions)
    with pytest.raises(LatencyError, match="networks with one latency each, got 2 and 1"):
        learn(networks, [1.0], 64, conditions)
    with pytest.raises(LatencyError, match="networks with one latency each, got 1 and 2"):
        table.calibrated([(networks[0], 64)], [1.0, 1.0])


def test_a_table_remembers_for_how_many_classes_it_is(networks, tmp_path):
    table = profile(
        pieces_of_space(space("tiny"), 64), [(one, 64) for one in networks[:5]], CountingMeter(), 64, num_classes=1000
    )
    table.save(tmp_path / "t.json")

    found = LatencyTable.load(tmp_path / "t.json")

    assert found.num_classes == 1000
    require_table_of_classes(found, 1000)
    require_table_of_classes(replace(found, num_classes=0), 2)
    with pytest.raises(SettingsError, match=r"is of networks for 1,000 classes, these images have 2; .* --classes 2$"):
        require_table_of_classes(found, 2)
