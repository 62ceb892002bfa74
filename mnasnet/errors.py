"""The errors a user can meet: each is one sentence with the rule, the value received and the next step."""


class MnasNetError(Exception):
    """Base of every error that this package raises on purpose; its text is meant for the user.

    ``done`` is what a command had finished all the same, plain values for programs that read its JSON.
    """

    done: dict[str, object] | None = None


class SpecError(MnasNetError, ValueError):
    """An architecture, block or search space that cannot exist."""


class NewerSchemaError(SpecError):
    """A file written by a newer release of this package."""


class SettingsError(MnasNetError, ValueError):
    """A parameter with an unknown name, a wrong type or a value out of bounds."""

    names: tuple[str, ...] = ()  # of the parameters whose values are wrong, where a settings model tells


class DataError(MnasNetError, ValueError):
    """An image, video or dataset folder that cannot be used."""


class WeightsError(MnasNetError, ValueError):
    """A weights or model file that cannot be read, trusted or fitted to the network."""


class DownloadError(WeightsError):
    """Published weights that could not be fetched; the text says where to put the file by hand."""


class RuntimeMissingError(MnasNetError, ImportError):
    """An optional runtime that is not installed; the text has the install line."""


class ExportError(MnasNetError, RuntimeError):
    """An export that failed or does not agree with the original network."""


class LatencyError(MnasNetError, RuntimeError):
    """A latency that could not be measured."""


class TrainingError(MnasNetError, RuntimeError):
    """A training that cannot go on; the text gives the cause."""


class DivergedError(TrainingError):
    """A training whose loss or weights are no numbers any more; gone on with, it fails again."""


class SearchError(MnasNetError, RuntimeError):
    """A search that has no answer or cannot go on; the text gives the cause and the nearest result."""
