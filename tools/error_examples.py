"""The page of errors: each family with messages that the code itself raises for mistakes made here on purpose."""

from __future__ import annotations

import contextlib
import inspect
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import mnasnet.errors as errors
from mnasnet.errors import MnasNetError

_HEAD = """# Errors

Every error of this package is one sentence: the rule, what was received, the next step. The command line prints it
after `error:` and ends with exit code 2; an Ikomia task shows it in its log and fails; in Python it is an exception
of the family named here, all of them children of `mnasnet.errors.MnasNetError`. The messages on this page were
raised by the code when the page was made; the site that `make docs` makes has every other one below them.

Something else, with a stack of lines of code above it, is a fault of ours:
[please tell us](../CONTRIBUTING.md#report-a-fault).
"""


@dataclass(frozen=True)
class Example:
    """A mistake: ``family`` of the error it raises, what was ``done``, the call that does it, and what helps."""

    family: type[MnasNetError]
    done: str
    make: Callable[[], object]
    cure: str


def error_page() -> str:
    """The page: a table of families, then every family's messages."""
    families = [kind for kind in _FAMILIES if kind is not MnasNetError]
    lines = [_HEAD, "| Error | Means | Is also a |", "| --- | --- | --- |"]
    for kind in families:
        lines.append(f"| [`{kind.__name__}`](#{kind.__name__.lower()}) | {_meaning(kind)} | `{_also(kind)}` |")
    with _empty_folder():
        for kind in families:
            lines += ["", f"## {kind.__name__}", "", _meaning(kind)]
            for example in (example for example in EXAMPLES if example.family is kind):
                lines += ["", f"**{example.done}**", "", "```text", message(example), "```", "", example.cure]
    return "\n".join(lines) + "\n"


def message(example: Example) -> str:
    """What the code says to the mistake; runs in the current folder."""
    try:
        example.make()
    except MnasNetError as error:
        named = next(kind for kind in type(error).__mro__ if kind in _FAMILIES)  # the nearest that users can import
        if named is example.family:
            return f"error: {error}"
        raise AssertionError(f"{example.done!r} raised {type(error).__name__}: {error}") from error
    raise AssertionError(f"{example.done!r} raised nothing")


_FAMILIES = tuple(kind for kind in vars(errors).values() if inspect.isclass(kind))


def _meaning(kind: type[MnasNetError]) -> str:
    return (kind.__doc__ or "").strip()


def _also(kind: type[MnasNetError]) -> str:
    """The nearest other class that an ``except`` may name."""
    return next(base.__name__ for base in kind.__mro__[1:] if base is not MnasNetError)


@contextlib.contextmanager
def _empty_folder() -> Iterator[None]:
    """A folder of its own as the current one, so that messages name short paths."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def _written(name: str, content: bytes) -> Path:
    path = Path(name)
    path.write_bytes(content)
    return path


# -- architectures and spaces ------------------------------------------------------------------------------------------


def _even_kernel() -> object:
    from mnasnet.spec import BlockSpec

    return BlockSpec("inverted", 24, kernel=4, expansion=3)


def _unknown_space() -> object:
    from mnasnet.space import space

    return space("smal")


def _misspelt_space_file() -> object:
    from mnasnet.space import load_space

    return load_space(_written("mine.yaml", b"start: mnasnet_a1\nvary: {kernal: [3, 5]}\n"))


def _future_architecture() -> object:
    from mnasnet.spec import ArchitectureSpec

    return ArchitectureSpec.from_dict({"schema": 9, "blocks": []})


# -- settings ----------------------------------------------------------------------------------------------------------


def _misspelt_parameter() -> object:
    from mnasnet.settings import TrainSettings

    return TrainSettings.parse({"epoch": "30"})


def _wrong_values() -> object:
    from mnasnet.settings import TrainSettings

    return TrainSettings.parse({"epochs": "many", "batch_size": "1", "augment": "strong"})


def _network_without_weights() -> object:
    from mnasnet.settings import InferSettings

    return InferSettings.parse({"model_name": "mnasnet_a1"})


def _agent_in_the_open() -> object:
    from mnasnet.latency.remote import AgentAddress

    return AgentAddress("http://192.168.1.20:8765")


# -- images and folders ------------------------------------------------------------------------------------------------


def _missing_dataset() -> object:
    from mnasnet.data.folder import scan

    return scan(Path("photoz"))


def _archive() -> object:
    from mnasnet.data.folder import scan

    return scan(_written("photos.zip", b"PK\x05\x06" + bytes(18)))


def _single_class() -> object:
    from mnasnet.data.check import check
    from mnasnet.data.folder import scan
    from mnasnet.testing import write_image_folder

    return check(scan(write_image_folder(Path("one"), colours={"cat": (200, 90, 40)}, per_class=5)))


def _no_image() -> object:
    from mnasnet.data.images import read_image

    return read_image(_written("photo.jpg", b"<html>404</html>"))


# -- weights -----------------------------------------------------------------------------------------------------------


def _web_page() -> object:
    from mnasnet.network.weights import load_weights

    return load_weights(_written("model.pth", b"<!doctype html><title>Sign in</title>"))


def _code_in_a_pickle() -> object:
    from mnasnet.network.weights import load_weights

    return load_weights(_written("whole_model.pth", pickle.dumps(print, protocol=2)))


def _no_class_names() -> object:
    import torch

    from mnasnet import modelfile
    from mnasnet.testing import random_model
    from mnasnet.zoo import open_model

    torch.save(modelfile.network_of(random_model()).state_dict(), "weights.pth")
    return open_model("weights.pth", expected=random_model().architecture)


def _half_a_model_file() -> object:
    from mnasnet import modelfile
    from mnasnet.testing import random_model

    modelfile.save(random_model(), Path("best.safetensors"))
    return modelfile.load(_written("best.safetensors", Path("best.safetensors").read_bytes()[:50_000]))


def _nothing_to_download() -> object:
    from mnasnet.network.download import PUBLISHED, fetch

    nowhere = Path("mirror").absolute().as_uri()
    return fetch(PUBLISHED["mnasnet1_0"], folder=Path("cache"), base_url=nowhere, progress=lambda have, total: None)


# -- runtimes, exports, devices ----------------------------------------------------------------------------------------


def _missing_runtime() -> object:
    from mnasnet.export.exporter import require

    return require("a_runtime")


def _unknown_format() -> object:
    from mnasnet.export.exporter import open_exporter

    return open_exporter("coreml")


def _too_few_to_calibrate() -> object:
    from mnasnet.export.quantize import enough

    return enough([])


def _agent_away() -> object:
    from mnasnet.latency.remote import AgentAddress, RemoteMeter

    return RemoteMeter(AgentAddress("http://127.0.0.1:1"), sleep=lambda pause_s: None).health()


def _no_table() -> object:
    from mnasnet.latency.table import LatencyTable

    return LatencyTable.load(_written("pi.json", b"{}"))


# -- runs --------------------------------------------------------------------------------------------------------------


def _no_run() -> object:
    from mnasnet.train.run_folder import open_run_folder

    return open_run_folder(Path("runs/train/flower"))


def _damaged_checkpoints() -> object:
    from mnasnet.train.checkpoint import CheckpointStore

    store = CheckpointStore(Path("weights"))
    store.folder.mkdir()
    store.last.write_bytes(b"half")
    return store.load()


def _no_search() -> object:
    from mnasnet.search.folder import open_search_folder

    return open_search_folder(Path("runs/train/flowers"))


def _out_of_reach() -> object:
    import optuna

    from mnasnet.search.problem import FunctionEvaluator, FunctionMeter, SearchProblem
    from mnasnet.search.study import Budget, create_study, search, winner
    from mnasnet.space import space

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problem = SearchProblem(
        space=space("tiny"),
        evaluator=FunctionEvaluator(lambda candidate: 0.5),
        meters={"latency_ms": FunctionMeter(lambda candidate: 9.4)},
        limits={"latency_ms": 8.0},
    )
    study = create_study(problem, algorithm="random")
    search(study, problem, Budget(evaluations=1, max_idle=1))
    return winner(study, problem)


EXAMPLES = (
    Example(
        errors.SpecError,
        "An architecture or a block that cannot be built",
        _even_kernel,
        "Change the value the sentence names. Choices of a block are in [the paper's space]"
        "(how_the_search_works.md#the-space).",
    ),
    Example(
        errors.SpecError,
        "A search space under a name that does not exist",
        _unknown_space,
        "`python -m mnasnet spaces` lists the built-in ones.",
    ),
    Example(
        errors.SpecError,
        "A search space file with a slip of the pen",
        _misspelt_space_file,
        "Correct the file; [a space of your own](search.md#a-space-of-your-own) has an example.",
    ),
    Example(
        errors.NewerSchemaError,
        "A file of a newer release",
        _future_architecture,
        "Update this package; files of older releases always load.",
    ),
    Example(
        errors.SettingsError,
        "A parameter that does not exist",
        _misspelt_parameter,
        "[All parameters](parameters.md).",
    ),
    Example(
        errors.SettingsError,
        "Values out of bounds: all of them are named at once",
        _wrong_values,
        "Each rule is in the sentence. Nothing was changed or started.",
    ),
    Example(
        errors.SettingsError,
        "A network for which nobody has published weights",
        _network_without_weights,
        "Take one of the names listed, or train it: `python -m mnasnet train DATA --model mnasnet_a1`.",
    ),
    Example(
        errors.SettingsError,
        "A token that would travel unprotected",
        _agent_in_the_open,
        "[Measure your own device](devices.md) shows the tunnel and the certificate.",
    ),
    Example(
        errors.DataError,
        "A dataset folder that is not there",
        _missing_dataset,
        "Correct the path. In an Ikomia workflow: `wf.set_directory_input(folder=...)`.",
    ),
    Example(
        errors.DataError,
        "An archive instead of a folder",
        _archive,
        "Unpack it. Nothing is ever unpacked or written for you inside your data.",
    ),
    Example(
        errors.DataError,
        "A folder with a single class",
        _single_class,
        "One folder for each class; `python -m mnasnet check FOLDER` says what else would spoil a training.",
    ),
    Example(
        errors.DataError,
        "A file that is no image",
        _no_image,
        "Other images of a folder go on; `classify` names such files and a training leaves them out, up to `max_bad`.",
    ),
    Example(
        errors.WeightsError,
        "A download that was a web page",
        _web_page,
        "The same is said of empty files, Git LFS pointers and files cut short.",
    ),
    Example(
        errors.WeightsError,
        "A PyTorch file that holds more than numbers",
        _code_in_a_pickle,
        "Loading it could run anything, so it is never done here. If you trust where the file comes from, the command "
        "makes a safe file of it. [Security](../SECURITY.md) has the rules.",
    ),
    Example(
        errors.WeightsError,
        "Weights without class names",
        _no_class_names,
        "A [model file](model_file.md) of this package has them inside.",
    ),
    Example(
        errors.WeightsError,
        "A model file that was cut short",
        _half_a_model_file,
        "Copy it again. Ours are written whole or not at all.",
    ),
    Example(
        errors.DownloadError,
        "Published weights that cannot be fetched",
        _nothing_to_download,
        "The sentence names the file and its place, so another machine can bring it. The bundled model and your own "
        "files need no network.",
    ),
    Example(
        errors.RuntimeMissingError,
        "An engine that is not installed",
        _missing_runtime,
        "Run the command. `onnxruntime` and `torch` are always there; `openvino` and `litert` are extras.",
    ),
    Example(
        errors.ExportError,
        "A format that is not written",
        _unknown_format,
        "ONNX is read by most other tools.",
    ),
    Example(
        errors.ExportError,
        "8 bits without images to set their ranges",
        _too_few_to_calibrate,
        "Give `--data` a folder with more images. An export whose answers differ from the original's is refused in "
        "this family too, with the difference.",
    ),
    Example(
        errors.LatencyError,
        "A device that does not answer",
        _agent_away,
        "Start `python -m mnasnet agent` there, or give `--agent-wait-minutes`. In a search such a trial is "
        "`unmeasured`, never fast.",
    ),
    Example(
        errors.LatencyError,
        "A file that is no table of latencies",
        _no_table,
        "`python -m mnasnet profile small --out pi.json` makes one.",
    ),
    Example(
        errors.TrainingError,
        "A folder that is not a run's",
        _no_run,
        "`resume` takes the folder that `train` named at its end.",
    ),
    Example(
        errors.TrainingError,
        "Checkpoints that a disk or a copy has damaged",
        _damaged_checkpoints,
        "Two are kept, and the older one is taken where the newer is damaged; this says that neither is whole. A full "
        "disk, memory that does not suffice and a loss that is no number are told in this family, with the setting "
        "that helps.",
    ),
    Example(
        errors.SearchError,
        "A training where a search was expected",
        _no_search,
        "`extend`, `promote` and `report` take folders of searches.",
    ),
    Example(
        errors.SearchError,
        "No network meets the limit",
        _out_of_reach,
        "All trials are kept. `python -m mnasnet report RUN` shows what is possible; raise the target or take a space "
        "with smaller networks, such as `tiny`.",
    ),
)
