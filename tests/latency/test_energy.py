"""Energy by the processor's counter: read where it can be, refused clearly where not."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from mnasnet.errors import LatencyError, SettingsError
from mnasnet.latency.energy import WARMUPS, EnergyMeter, energy_of, open_counter
from mnasnet.testing import TINY


def zone(root: Path, name: str, energy_uj: int, range_uj: int = 1_000_000) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return folder


def test_a_call_costs_what_the_counter_moved_by(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", 0)
    spent = itertools.count(5000, 5000)  # microjoules a call

    def call() -> None:
        (package / "energy_uj").write_text(str(next(spent)))

    ticks = itertools.count()
    assert energy_of(call, open_counter(tmp_path), seconds=10, clock=lambda: float(next(ticks))) == 5.0


def test_first_calls_which_cost_more_do_not_count(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", 0)
    spent = itertools.accumulate(itertools.chain(WARMUPS * [50_000], itertools.repeat(5000)))

    def call() -> None:
        (package / "energy_uj").write_text(str(next(spent)))

    ticks = itertools.count()
    assert energy_of(call, open_counter(tmp_path), seconds=10, clock=lambda: float(next(ticks))) == 5.0


def test_a_network_that_cannot_run_costs_no_energy_but_an_error(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", 5)

    with pytest.raises(LatencyError, match="this network's energy cannot be measured at 8 px: "):
        EnergyMeter(open_counter(tmp_path), num_classes=3, seconds=0.01).measure_mj(TINY, 8)


def test_packages_add_up_and_parts_of_them_do_not_count_twice(tmp_path: Path) -> None:
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
        zone(tmp_path, name, 7)

    assert open_counter(tmp_path).read_uj() == (7, 7)


def test_the_whole_laptop_is_no_package_of_its_processor(tmp_path: Path) -> None:
    (zone(tmp_path, "intel-rapl:0", 7) / "name").write_text("package-0\n")
    (zone(tmp_path, "intel-rapl:1", 20) / "name").write_text("psys\n")

    assert open_counter(tmp_path).read_uj() == (7,)


def test_a_counter_that_ran_over_goes_on_from_zero(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", 0, range_uj=10_000)

    assert open_counter(tmp_path).spent_mj((9_000,), (1_000,)) == 2.0


def test_a_machine_without_a_counter_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="has no intel-rapl here; choose cost latency"):
        open_counter(tmp_path)


def test_a_counter_that_may_not_be_read_is_refused_with_its_file(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", 0)
    package = zone(tmp_path, "intel-rapl:1", 0)
    (package / "energy_uj").unlink()
    (package / "energy_uj").mkdir()  # as little readable, also for root

    with pytest.raises(SettingsError, match="intel-rapl:1/energy_uj may not be read"):
        open_counter(tmp_path)


def test_a_counter_that_stands_still_is_no_energy(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", 5)

    with pytest.raises(LatencyError, match="did not move"):
        EnergyMeter(open_counter(tmp_path), num_classes=3, seconds=0.01).measure_mj(TINY, 64)
