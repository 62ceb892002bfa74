"""A network as the file that another device runs, and the numbers that it can be sent in."""

from __future__ import annotations

from mnasnet.errors import LatencyError, MnasNetError, SettingsError
from mnasnet.export.exported import ExportedModel, in_memory
from mnasnet.export.formats import FORMATS
from mnasnet.export.int8_timing import int8_for_timing, is_made_up
from mnasnet.latency.meter import MeterPrecision
from mnasnet.modelfile import ModelFile
from mnasnet.packages import AgentRuntime


def graph_to_send(model: ModelFile | ExportedModel, runtime: AgentRuntime, precision: MeterPrecision) -> ExportedModel:
    """``model`` as ``runtime`` reads it, with ``precision`` int8 in made-up numbers; an exported file as it is.

    Raises LatencyError for a network that cannot be written so.
    """
    kind = FORMATS[runtime]
    try:
        return int8_for_timing(model, runtime) if is_made_up(model, precision) else in_memory(model, kind)
    except MnasNetError as error:
        raise LatencyError(f"{model.name or 'this network'} cannot be sent as {kind}: {error}") from error


def require_precision_there(meter: str, precision: MeterPrecision) -> None:
    """Raise SettingsError for a precision that networks sent to another device cannot have."""
    if precision not in ("fp32", "int8"):
        raise SettingsError(
            f"the meter {meter!r} sends networks in fp32 or int8, got precision {precision!r}; choose one of them"
        )
