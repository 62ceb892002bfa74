import threading
import time

import pytest

from mnasnet.data.threads import in_threads


def test_results_come_in_the_order_of_the_items():
    assert list(in_threads(lambda number: number * number, range(1000), 7)) == [
        number * number for number in range(1000)
    ]


def test_only_a_few_items_are_taken_ahead_of_the_results():
    taken = []

    def items():
        for number in range(10_000):
            taken.append(number)
            yield number

    results = in_threads(lambda number: number, items(), 2)
    next(results)

    assert len(taken) < 20
    results.close()


def test_an_exception_is_raised_in_its_turn_and_threads_end():
    def fails_at_5(number):
        if number == 5:
            raise ValueError("five")
        return number

    results = in_threads(fails_at_5, range(100), 3)

    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="five"):
        next(results)
    deadline = time.monotonic() + 5
    while any(thread.name.startswith("images") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
