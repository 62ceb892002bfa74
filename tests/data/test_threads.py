import threading
import time

import pytest

from mnasnet.data.threads import Companion, in_threads


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


def test_a_companion_works_in_a_thread_of_its_own_and_is_waited_for():
    workers = {}
    companion = Companion("beside")

    for _ in range(100):
        companion.beside(
            lambda: workers.__setitem__("theirs", threading.current_thread().name),
            lambda: workers.__setitem__("ours", threading.current_thread().name),
        )
        assert workers.pop("theirs") == "beside"
        assert workers.pop("ours") == threading.current_thread().name


@pytest.mark.parametrize("failing", ["theirs", "ours"])
def test_an_error_on_either_side_is_raised_after_both_ended_and_the_companion_goes_on(failing):
    def fail():
        raise ValueError("five")

    ended = []
    companion = Companion("beside")
    with pytest.raises(ValueError, match="five"):
        companion.beside(*((fail, lambda: ended.append(1)) if failing == "theirs" else (lambda: ended.append(1), fail)))

    assert ended == [1]
    companion.beside(lambda: ended.append(2), lambda: None)
    assert ended == [1, 2]


def test_calls_from_several_threads_do_not_mix():
    companion = Companion("beside")

    def squares(number):
        found = []
        companion.beside(lambda: found.append(number), lambda: found.append(number))
        return found == [number, number]

    assert all(in_threads(squares, range(500), 8))


def test_the_thread_ends_with_its_companion():
    companion = Companion("short-lived")
    assert "short-lived" in {thread.name for thread in threading.enumerate()}

    del companion

    deadline = time.monotonic() + 5
    while "short-lived" in {thread.name for thread in threading.enumerate()}:
        assert time.monotonic() < deadline
