"""The meters by name: each engine of this machine, a table, and those of other devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from mnasnet.errors import SettingsError
from mnasnet.latency.adb import AdbMeter, AndroidPhone
from mnasnet.latency.meter import LatencyMeter, MeterPrecision
from mnasnet.latency.remote import AgentAddress, RemoteMeter
from mnasnet.latency.session import SessionMeter
from mnasnet.latency.table import LatencyTable, TableMeter
from mnasnet.latency.timing import QUICK_RUNS
from mnasnet.runtime.session import RUNTIMES, Device, Runtime

DISTANT = ("remote", "adb")  # the meters of devices other than this machine
METERS = (*RUNTIMES, "table", *DISTANT)


def open_meter(
    name: str,
    *,
    device: Device = "cpu",
    precision: MeterPrecision = "fp32",
    threads: int = 1,
    batch: int = 1,
    num_classes: int = 1000,
    runs: int = QUICK_RUNS,
    table: Path | None = None,
    agent: AgentAddress | None = None,
    phone: AndroidPhone | None = None,
) -> LatencyMeter:
    """The meter called ``name``.

    ``table`` is the file that the meter ``table`` reads, ``agent`` where the meter ``remote`` sends networks, and
    ``phone`` the device of the meter ``adb``, by default the only one connected.
    Raises SettingsError for an unknown name and for what a meter cannot do, and RuntimeMissingError with the install
    line for a runtime that is not installed.
    """
    if name not in METERS:
        raise SettingsError(f"a meter is one of {', '.join(METERS)}, got {name!r}")
    if name == "table":
        if table is None:
            raise SettingsError("the meter 'table' needs the file that `python -m mnasnet profile` wrote, got none")
        return TableMeter(LatencyTable.load(table))
    options: dict[str, Any] = {
        "precision": precision,
        "threads": threads,
        "batch": batch,
        "num_classes": num_classes,
        "runs": runs,
    }
    if name not in DISTANT:
        return SessionMeter(cast("Runtime", name), device=device, **options)
    require_device_there(name, device)
    if name == "adb":
        return AdbMeter.open(phone, **options)
    if agent is None:
        raise SettingsError("the meter 'remote' needs --agent-url (agent_url), such as http://127.0.0.1:8765, got none")
    return RemoteMeter(agent, **options)


def require_device_there(meter: str, device: str) -> None:
    """Raise SettingsError for a device other than the processor, which alone another device times."""
    if device != "cpu":
        raise SettingsError(f"the meter {meter!r} times processor cores, got device {device!r}; set device to cpu")
