"""A search prices networks by a device's table and never takes an unmeasured one for fast."""

import math
import random
from dataclasses import replace
from unittest.mock import ANY

import pytest

from mnasnet.errors import LatencyError
from mnasnet.latency.isolated import IsolatedMeter
from mnasnet.latency.meter import Latency
from mnasnet.latency.pieces import pieces_of, pieces_of_space
from mnasnet.latency.session import SessionMeter
from mnasnet.latency.table import LatencyTable, TableMeter, profile
from mnasnet.network.count import count
from mnasnet.search.device import FIRST_PIECES, LatencyCost, profiled
from mnasnet.spaces import space


class SmallCache:
    """A device that is twice as slow with images of 96 pixels and more."""

    def measure(self, architecture, input_size):
        ms = count(architecture, input_size, 10).multiply_adds / 1e6 * (1 if input_size < 96 else 2)
        return replace(BOARD, input_size=input_size, undisturbed_ms=ms, median_ms=ms, p90_ms=ms)


BOARD = Latency("a board", "fixed", "1", "fp32", 1, 1, 64, 50, 1.0, 1.0, 1.0)


@pytest.fixture
def table():
    return LatencyTable(BOARD, {piece.key: 0.5 for piece in pieces_of_space(space("tiny"), 64)})


def test_a_search_reads_its_cost_from_the_table(table):
    candidate = space("tiny").random(random.Random(0))

    pieces = len(list(pieces_of(candidate.architecture, 64)))
    assert LatencyCost(TableMeter(table), 64).measure(candidate) == pytest.approx(0.5 * pieces)


def test_a_table_tells_its_error_over_all_input_sizes_of_a_space():
    own, device = replace(space("tiny"), input_sizes=(64, 96, 32)), SmallCache()

    table = profiled(own, device, 224, most_seconds=60, made_on="2026-01-01")

    candidates = [own.random(random.Random(seed)) for seed in range(100, 200)]
    cost, truth = LatencyCost(TableMeter(table)), LatencyCost(device)
    errors = [abs(cost.measure(one) / truth.measure(one) - 1) for one in candidates]
    assert table.error.mape_percent == pytest.approx(100 * sum(errors) / len(errors), rel=0.5)  # of 24 networks


def test_a_table_that_takes_too_long_is_left_out_and_further_rounds_keep_their_time():
    class Slow(SmallCache):
        timings = 0

        def measure(self, architecture, input_size):
            self.timings += 1
            return super().measure(architecture, input_size)

    def made(most_seconds, rounds_s):
        device = Slow()
        table = profiled(space("tiny"), device, 64, most_seconds=most_seconds, rounds_s=rounds_s, made_on="2026-01-01",
                         clock=lambda: float(device.timings))  # a second for each  # fmt: skip
        return table, device.timings

    _, one_round = made(math.inf, 0.0)

    assert made(one_round + 1, 2.5 * one_round) == (ANY, 2 * one_round)
    assert made(one_round - 1, math.inf) == (None, FIRST_PIECES)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "litert"])
@pytest.mark.parametrize("precision", ["fp32", pytest.param("int8", marks=pytest.mark.slow)])
def test_a_search_reads_its_cost_from_any_engine_and_precision(runtime, precision):
    candidate = space("tiny").random(random.Random(0))

    with IsolatedMeter(runtime, precision=precision, num_classes=3) as meter:
        latency = meter.measure(candidate.architecture, 32)
        cost = LatencyCost(meter, 32).measure(candidate)

    assert (latency.runtime, latency.precision, latency.predicted) == (runtime, precision, False)
    assert 0 < cost < 1000


@pytest.mark.parametrize(
    ("runtime", "precision"), [("litert", "fp32"), pytest.param("openvino", "int8", marks=pytest.mark.slow)]
)
def test_a_table_of_any_engine_prices_networks(runtime, precision):
    own = space("tiny")
    candidate = own.random(random.Random(0))
    meter = SessionMeter(runtime, precision=precision, num_classes=3, warmups=1, runs=3)

    table = profile(pieces_of(candidate.architecture, 32), [(candidate.architecture, 32)], meter, 32, rounds=1)
    price = TableMeter(table).measure(candidate.architecture, 32)

    assert price.predicted and (price.runtime, price.precision) == (runtime, precision)
    assert LatencyCost(TableMeter(table), 32).measure(candidate) == price.undisturbed_ms


def test_a_network_outside_the_table_has_no_cost(table):
    with pytest.raises(LatencyError, match="lacks the piece"):
        LatencyCost(TableMeter(table), 64).measure(space("small").random(random.Random(0)))
