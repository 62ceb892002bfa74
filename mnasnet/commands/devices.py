"""The options that name another device: an agent's address, or a phone."""

from __future__ import annotations

import argparse
from typing import cast, get_args

from mnasnet.commands.values import a_path
from mnasnet.errors import SettingsError
from mnasnet.latency.adb import AndroidPhone
from mnasnet.latency.meter import MeterPrecision, RunnableMeter
from mnasnet.latency.meters import open_meter
from mnasnet.latency.remote import AgentAddress
from mnasnet.latency.timing import QUICK_RUNS
from mnasnet.latency.token import VARIABLE
from mnasnet.packages import AgentRuntime

DEFAULT_RUNTIME: AgentRuntime = "onnxruntime"


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of commands that measure on another device."""
    group = parser.add_argument_group("another device, see docs/devices.md")
    group.add_argument("--agent-url", metavar="URL", help="an agent, such as https://pi.local:8765")
    group.add_argument(
        "--agent-token-file", type=a_path, metavar="FILE", help=f"its token; default: the variable {VARIABLE}"
    )
    group.add_argument("--agent-ca-file", type=a_path, metavar="FILE", help="its certificate, where it is self-made")
    group.add_argument(
        "--agent-wait-minutes", type=float, default=0.0, metavar="N", help="how long to wait while it is away (0)"
    )
    group.add_argument(
        "--agent-runtime",
        default=DEFAULT_RUNTIME,
        choices=get_args(AgentRuntime),
        help=f"engine of the device behind the agent (default {DEFAULT_RUNTIME})",
    )
    group.add_argument("--adb-serial", default="", metavar="SERIAL", help="the phone, where several are connected")
    group.add_argument("--adb-tool", type=a_path, metavar="FILE", help="a benchmark_model to put on the phone")


def require_meter_of_device(arguments: argparse.Namespace) -> None:
    """Raise SettingsError where a device was named and another one would be measured."""
    of_agent = arguments.agent_url or arguments.agent_token_file or arguments.agent_ca_file
    for meter, named in (
        ("remote", of_agent or arguments.agent_wait_minutes or arguments.agent_runtime != DEFAULT_RUNTIME),
        ("adb", arguments.adb_serial or arguments.adb_tool),
    ):
        if named and arguments.meter != meter:
            option = "--agent-..." if meter == "remote" else "--adb-..."
            raise SettingsError(
                f"{option} names a device for --meter {meter}, got --meter {arguments.meter}; add --meter {meter}, or "
                "leave it out"
            )


def distant_meter(
    arguments: argparse.Namespace, *, batch: int, num_classes: int, precision: MeterPrecision = "fp32"
) -> RunnableMeter:
    """The meter of the device that ``--meter remote`` or ``--meter adb`` means; raises as these meters do."""
    meter = open_meter(
        arguments.meter,
        precision=precision,
        threads=arguments.threads,
        batch=batch,
        num_classes=num_classes,
        runs=arguments.runs or QUICK_RUNS,
        agent=agent_of(arguments),
        phone=phone_of(arguments),
    )
    return cast("RunnableMeter", meter)


def agent_of(arguments: argparse.Namespace) -> AgentAddress | None:
    """The agent that was named, None without one; raises SettingsError."""
    if not arguments.agent_url:
        return None
    return AgentAddress(
        arguments.agent_url,
        token_file=arguments.agent_token_file,
        ca_file=arguments.agent_ca_file,
        wait_minutes=arguments.agent_wait_minutes,
        runtime=arguments.agent_runtime,
    )


def phone_of(arguments: argparse.Namespace) -> AndroidPhone:
    """The phone that was named, by default the only one."""
    return AndroidPhone(arguments.adb_serial, arguments.adb_tool)
