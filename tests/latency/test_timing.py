"""Repeated timing: engines in turn, statistics of the passes, and the signs of a disturbed machine."""

import itertools
import os
import time

import numpy as np
import pytest

from mnasnet import machine
from mnasnet.errors import LatencyError
from mnasnet.latency import timing
from mnasnet.latency.probe import READS, STARTS, MachineProbe, machine_probe
from mnasnet.latency.timing import (
    BLOCK,
    PATIENCE,
    QUICK_RUNS,
    RUNS,
    Timing,
    engines_for,
    frequency_note,
    latency_of,
    open_in_turn,
    pinned,
    time_calls,
)


@pytest.mark.parametrize(
    ("governor", "note"), [("performance\n", ""), ("powersave\n", "clock governor powersave"), (None, "")]
)
def test_a_clock_that_may_slow_down_is_noted(governor, note, monkeypatch):
    real = timing.Path.read_text

    def read(path, **options):
        if path.name != "scaling_governor":
            return real(path, **options)
        if governor is None:
            raise FileNotFoundError(path)
        return governor

    monkeypatch.setattr(timing.Path, "read_text", read)

    assert frequency_note() == note
    assert latency_under(Timing((1.0,) * 4)).note == "; ".join(filter(None, (note, "made up")))


def latency_under(timed):
    """The latency that ``timed`` comes to, of made-up conditions."""
    return latency_of(timed, device="a board", runtime="onnxruntime", precision="int8", threads=2, batch=4,
                      input_size=64, note="made up")  # fmt: skip


def test_a_latency_has_the_figures_of_its_runs_their_conditions_and_what_disturbed_them():
    latency = latency_under(Timing(tuple(range(11, 0, -1))))

    assert (latency.undisturbed_ms, latency.median_ms, latency.p90_ms) == (1, 6, 10)
    assert (latency.n, latency.spread) == (11, pytest.approx(8 / 6))
    assert (latency.device, latency.precision, latency.threads, latency.batch) == ("a board", "int8", 2, 4)
    assert not latency.quiet and latency.note.startswith("not quiet: runs spread by 133%, speed changed by -61% mean")
    assert latency.note.endswith("; made up")
    assert latency_under(Timing((1.0,) * 11)).quiet


def test_an_engine_that_gives_no_numbers_in_any_pass_is_no_fast_one():
    opening = iter([lambda: np.zeros((1, 3)), lambda: np.array([[0.5, np.nan, 0.5]])])

    with pytest.raises(LatencyError, match="onnxruntime gave scores that are no numbers; its time would mean nothing"):
        open_in_turn(lambda: next(opening), runtime="onnxruntime", runs=RUNS)


def test_one_core_is_one_core(monkeypatch):
    monkeypatch.setattr(machine, "usable_cores", lambda: 1)

    assert machine.processor_description().endswith(", 1 core")
    assert machine.without_cores(machine.processor_description()) == machine.processor_name()


def test_statistics_are_of_the_runs_alone():
    ticks = iter(np.arange(0, 1, 0.001))

    timing = time_calls(lambda: None, warmups=3, runs=50, clock=lambda: next(ticks))

    assert len(timing.times_ms) == 50
    assert timing.median_ms == pytest.approx(1.0) and timing.p90_ms == pytest.approx(1.0)
    assert timing.disturbance == ""


@pytest.mark.parametrize(("warm_ms", "cold"), [(0.5, 4), (6.0, 1)])
def test_what_the_probe_put_out_of_the_caches_is_back_before_a_pass_is_timed(warm_ms, cold):
    probe = probe_of([*QUIET, *[1.0] * 6])
    calls, clock = itertools.count(), Ticking(itertools.repeat(0.0))

    def after_a_reading():
        first = next(calls) < cold
        clock.now += warm_ms * (2 if first else 1) / 1e3

    read = probe.read

    def emptying():
        nonlocal calls
        calls = itertools.count()
        return read()

    probe.read = emptying

    timing = time_calls(after_a_reading, runs=50, probe=probe, clock=clock)

    assert timing.times_ms == pytest.approx([warm_ms] * 50)


def test_engines_take_turns_so_that_none_speaks_for_all():
    clock = Ticking(itertools.cycle([0.005]))
    turns = []

    def engine(name):
        return lambda: (turns.append(name), clock.call())

    time_calls(*map(engine, "abc"), warmups=3, runs=50, clock=clock)

    blocks = [turns[3:][start : start + BLOCK + 1] for start in range(0, 5 * (BLOCK + 1), BLOCK + 1)]
    assert turns[:3] == ["a", "b", "c"]
    assert [set(block) for block in blocks] == [{"a"}, {"b"}, {"c"}, {"a"}, {"b"}]


@pytest.mark.parametrize(("pass_s", "passes"), [(0.02, 240), (0.1, 100), (3.0, 50)])
def test_a_slow_network_is_passed_fewer_times_but_never_less_than_one_of_a_search(pass_s, passes):
    clock = Ticking(itertools.repeat(pass_s))

    timing = time_calls(clock.call, warmups=0, runs=240, clock=clock)

    assert len(timing.times_ms) == pytest.approx(passes, abs=BLOCK)


def test_the_fewer_passes_the_fewer_engines_are_opened_for_them():
    assert [engines_for(runs) for runs in (1, 29, 30, QUICK_RUNS, RUNS, 1000)] == [1, 1, 2, 3, 12, 12]


@pytest.mark.parametrize(("pass_s", "engines"), [(0.02, 12), (0.1, 6), (0.4, 3), (3.0, 3)])
def test_a_slow_network_which_takes_much_memory_is_opened_fewer_times(pass_s, engines):
    clock = Ticking(itertools.repeat(pass_s))

    def passed():
        clock.call()
        return np.zeros(1)

    assert len(open_in_turn(lambda: passed, runtime="litert", runs=RUNS, clock=clock)) == engines


@pytest.mark.parametrize("raised", [MemoryError(), RuntimeError("Exception: std::bad_alloc")])
def test_where_memory_has_no_room_for_another_engine_the_last_gives_its_own_back(raised):
    three = [lambda: np.zeros(1), lambda: np.zeros(1), lambda: np.zeros(1)]
    opening = iter(three)

    def open_pass():
        for one in opening:
            return one
        raise LatencyError(f"onnxruntime failed to open: {raised}") from raised

    assert open_in_turn(open_pass, runtime="onnxruntime", runs=RUNS) == three[:2]
    with pytest.raises(LatencyError, match="failed to open"):
        open_in_turn(open_pass, runtime="onnxruntime", runs=RUNS)


def test_another_engine_that_fails_for_another_reason_ends_the_measurement():
    opening = iter([lambda: np.zeros(1)])

    with pytest.raises(StopIteration):
        open_in_turn(lambda: next(opening), runtime="onnxruntime", runs=RUNS)


def test_a_core_shared_with_others_is_noticed():
    assert "other work took the core 40% of the time" in Timing((1.0,) * 50, (0.6,) * 50).disturbance


def test_processor_time_sees_through_other_work():
    timing = Timing((1.0, 3.0, 9.0, 2.0), (0.9, 0.91, 0.92, 0.9))

    assert timing.undisturbed_ms == pytest.approx(0.9)
    assert Timing((1.0, 3.0, 9.0, 2.0)).undisturbed_ms == 1.0
    assert Timing((1.0, 3.0, 9.0, 2.0), (2.6,) * 4).undisturbed_ms == 2.5  # never more than the clock says


def test_one_run_in_ten_may_be_slower_than_the_90th_percentile_and_faster_than_the_undisturbed_time():
    runs = tuple(map(float, range(11, 0, -1)))

    assert Timing(runs).p90_ms == 10
    assert Timing(runs, runs).undisturbed_ms == 2
    assert Timing(runs).spread == pytest.approx((10 - 2) / 6)


@pytest.mark.parametrize(
    ("quiet", "disturbed"),
    [
        (Timing((1.0, 1.05) * 24), Timing((1.0, 1.08) * 24)),
        (Timing((1.0,) * 25 + (1.04,) * 25), Timing((1.0,) * 25 + (1.055,) * 25)),
        (Timing((1.0,) * 50, (0.96,) * 50), Timing((1.0,) * 50, (0.94,) * 50)),
        (Timing((1.0,) * 50, slowdown={"memory": 0.03}), Timing((1.0,) * 50, slowdown={"memory": 0.05})),
    ],
)
def test_a_quiet_machine_is_within_a_few_percent(quiet, disturbed):
    assert quiet.disturbance == ""
    assert disturbed.disturbance.count("%") == 1


def test_engines_that_differ_at_rest_are_no_disturbance_but_one_that_differs_from_itself_is():
    turns = (0,) * 10 + (1,) * 10 + (0,) * 10 + (1,) * 10

    assert Timing(((1.0,) * 10 + (1.1,) * 10) * 2, engines=turns).disturbance == ""
    assert Timing(((1.0, 1.1) * 5 + (1.1, 1.21) * 5) * 2, engines=turns).spread == pytest.approx(0.2 / 2.1)


def test_a_timing_knows_which_engine_each_pass_went_through():
    clock = Ticking(itertools.cycle([0.005]))

    timing = time_calls(*[clock.call] * 3, runs=45, clock=clock)

    assert timing.engines == (0,) * 10 + (1,) * 10 + (2,) * 10 + (0,) * 10 + (1,) * 5


def test_one_interruption_disturbs_no_measurement():
    assert Timing((*(1.0,) * 49, 50.0)).disturbance == ""


def test_a_processor_that_slows_down_is_noticed():
    assert "speed changed by +30% meanwhile" in Timing((1.0,) * 25 + (1.3,) * 25).disturbance
    assert "speed changed by -23% meanwhile" in Timing((1.3,) * 25 + (1.0,) * 25).disturbance


def probe_of(memory_ms, arithmetic_ms=None):
    """A probe that reads these milliseconds; its clock is asked twice for each of its four times of each."""
    pairs = zip(memory_ms, arithmetic_ms or [1.0] * len(memory_ms), strict=True)
    ticks = (tick for pair in pairs for ms in pair for _ in range(READS) for tick in (0.0, ms / 1e3))
    return MachineProbe(clock=lambda: next(ticks))


QUIET = [1.0] * STARTS


@pytest.mark.parametrize("slow", ["memory", "arithmetic"])
def test_passes_beside_a_slow_machine_do_not_count(slow):
    disturbed = [*QUIET, 1.0, 1.0, 1.2, 1.0, 1.0, 1.0, 1.0, 1.0]  # the second and third block
    quiet = [1.0] * len(disturbed)
    probe = probe_of(disturbed, quiet) if slow == "memory" else probe_of(quiet, disturbed)
    passes = iter([0.010] * (10 + 1 + BLOCK) + [0.030] * 2 * (BLOCK + 1) + [0.010] * 4 * (BLOCK + 1))
    clock = Ticking(passes)

    timing = time_calls(clock.call, runs=50, probe=probe, clock=clock)

    assert timing.slowdown == {"memory": 0.0, "arithmetic": 0.0} and timing.disturbance == ""
    assert timing.p90_ms == pytest.approx(10) and len(timing.times_ms) == 50


def test_a_machine_that_stays_slow_is_noticed():
    blocks = 5 * PATIENCE + 1
    probe = probe_of([*QUIET, *[1.3] * blocks], [*QUIET, *[1.5] * blocks])
    clock = Ticking(iter([0.010] * 1000))

    timing = time_calls(clock.call, runs=50, probe=probe, clock=clock)

    assert timing.disturbance == (
        "not quiet: memory was 30% slower than it can be, arithmetic was 50% slower than it can be"
    )
    assert len(timing.times_ms) == 50


def test_no_machine_is_waited_for_long(monkeypatch):
    monkeypatch.setattr(timing, "PATIENCE_S", 0.0)
    probe, clock = probe_of([*QUIET, *[1.3] * 6]), Ticking(itertools.repeat(0.010))

    assert len(time_calls(clock.call, runs=50, probe=probe, clock=clock).times_ms) == 50


def test_the_passes_that_count_are_as_many_as_asked_for_and_in_the_order_of_time():
    probe = probe_of([*QUIET, 1.0, 1.03, 1.02, 1.0])
    clock = Ticking(itertools.count(0.010, 0.001))

    times_ms = time_calls(clock.call, warmups=0, runs=25, probe=probe, clock=clock).times_ms

    assert len(times_ms) == 25 and list(times_ms) == sorted(times_ms)


def in_ticks(clock):
    """The clock as Windows counts processor time: it stands still for 15.6 ms, then jumps."""
    return lambda: clock() // 0.015625 * 0.015625


def test_a_processor_clock_of_whole_ticks_is_not_measured_with():
    pixels = np.ones(1 << 20)

    probe = machine_probe(in_ticks(time.thread_time))
    timing = time_calls(pixels.sum, one_thread=True, probe=probe, cpu_clock=in_ticks(time.process_time))

    assert probe.best_ms("memory") > 0 and probe.best_ms("arithmetic") > 0 and timing.slowdown
    assert timing.cpu_ms == () and timing.undisturbed_ms == min(timing.times_ms)


class Ticking:
    """A clock that a call moves on by the next of ``durations`` in seconds."""

    def __init__(self, durations):
        self.now, self.durations = 0.0, durations

    def __call__(self):
        return self.now

    def call(self):
        self.now += next(self.durations)


def test_scattered_runs_are_noticed():
    assert "runs spread by 67%" in Timing((1.0, 2.0) * 25).disturbance


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system cannot pin")
def test_pinning_is_undone():
    before = os.sched_getaffinity(0)

    with pinned(1):
        inside = os.sched_getaffinity(0)

    assert len(inside) == 1 and inside <= before
    assert os.sched_getaffinity(0) == before


def test_the_fastest_cores_are_taken_and_of_equal_ones_the_last(monkeypatch):
    given = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: given.append(cores), raising=False)
    monkeypatch.setattr(timing, "max_frequency", {0: 2, 1: 3, 2: 2, 3: 1}.get)

    with pinned(2):
        assert given == [{1, 2}]


def test_where_pinning_is_forbidden_it_is_measured_all_the_same(monkeypatch):
    def forbidden(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbidden, raising=False)

    with pinned(1):
        pass
