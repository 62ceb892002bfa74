"""A search prices networks by a device's table and never takes an unmeasured one for fast."""

import random

import pytest

from mnasnet.errors import LatencyError
from mnasnet.latency.meter import Latency
from mnasnet.latency.pieces import pieces_of, pieces_of_space
from mnasnet.latency.table import LatencyTable, TableMeter
from mnasnet.search.device import LatencyCost
from mnasnet.space import space

BOARD = Latency("a board", "fixed", "1", "fp32", 1, 1, 64, 50, 1.0, 1.0, 1.0)


@pytest.fixture
def table():
    return LatencyTable(BOARD, {piece.key: 0.5 for piece in pieces_of_space(space("tiny"), 64)})


def test_a_search_reads_its_cost_from_the_table(table):
    candidate = space("tiny").random(random.Random(0))

    pieces = len(list(pieces_of(candidate.architecture, 64)))
    assert LatencyCost(TableMeter(table), 64).measure(candidate) == pytest.approx(0.5 * pieces)


def test_a_network_outside_the_table_has_no_cost(table):
    with pytest.raises(LatencyError, match="lacks the piece"):
        LatencyCost(TableMeter(table), 64).measure(space("small").random(random.Random(0)))
