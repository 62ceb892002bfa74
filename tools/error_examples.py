"""Mistakes made on purpose: each function raises the error that an entry of the page of errors shows."""

from __future__ import annotations

import contextlib
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from mnasnet.errors import MnasNetError


def message_of(mistake: Callable[[], object], family: type[MnasNetError]) -> str:
    """What the code says to the mistake, which must be of ``family``; runs in the current folder."""
    try:
        mistake()
    except family as error:
        return f"error: {error}"
    raise AssertionError(f"{mistake.__name__} raised nothing")


@contextlib.contextmanager
def empty_folder() -> Iterator[None]:
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


def even_kernel() -> object:
    from mnasnet.spec import BlockSpec

    return BlockSpec("inverted", 24, kernel=4, expansion=3)


def unknown_space() -> object:
    from mnasnet.spaces import space

    return space("smal")


def misspelt_space_file() -> object:
    from mnasnet.space_file import load_space

    return load_space(_written("mine.yaml", b"start: mnasnet_a1\nvary: {kernal: [3, 5]}\n"))


def future_architecture() -> object:
    from mnasnet.spec import ArchitectureSpec

    return ArchitectureSpec.from_dict({"schema": 9, "blocks": []})


# -- settings ----------------------------------------------------------------------------------------------------------


def misspelt_parameter() -> object:
    from mnasnet.settings import TrainSettings

    return TrainSettings.parse({"epoch": "30"})


def wrong_values() -> object:
    from mnasnet.settings import TrainSettings

    return TrainSettings.parse({"epochs": "many", "batch_size": "1", "augment": "strong"})


def network_without_weights() -> object:
    from mnasnet.settings import InferSettings

    return InferSettings.parse({"model_name": "mnasnet_a1"})


def agent_in_the_open() -> object:
    from mnasnet.latency.remote import AgentAddress

    return AgentAddress("http://192.168.1.20:8765")


# -- images and folders ------------------------------------------------------------------------------------------------


def missing_dataset() -> object:
    from mnasnet.data.folder import scan

    return scan(Path("photoz"))


def archive() -> object:
    from mnasnet.data.folder import scan

    return scan(_written("photos.zip", b"PK\x05\x06" + bytes(18)))


def single_class() -> None:
    from mnasnet.data.check import examine
    from mnasnet.data.folder import scan
    from mnasnet.testing import write_image_folder

    examine(scan(write_image_folder(Path("one"), colours={"cat": (200, 90, 40)}, per_class=5))).require_usable()


def no_image() -> object:
    from mnasnet.data.images import read_image

    return read_image(_written("photo.jpg", b"<html>404</html>"))


# -- weights -----------------------------------------------------------------------------------------------------------


def web_page() -> object:
    from mnasnet.network.weights import load_weights

    return load_weights(_written("model.pth", b"<!doctype html><title>Sign in</title>"))


def code_in_a_pickle() -> object:
    from mnasnet.network.weights import load_weights

    return load_weights(_written("whole_model.pth", pickle.dumps(print, protocol=2)))


def no_class_names() -> object:
    import torch

    from mnasnet import modelfile
    from mnasnet.testing import random_model
    from mnasnet.zoo import open_model

    torch.save(modelfile.network_of(random_model()).state_dict(), "weights.pth")
    return open_model("weights.pth", expected=random_model().architecture)


def half_a_model_file() -> object:
    from mnasnet import modelfile
    from mnasnet.testing import random_model

    modelfile.save(random_model(), Path("best.safetensors"))
    return modelfile.load(_written("best.safetensors", Path("best.safetensors").read_bytes()[:50_000]))


def nothing_to_download() -> object:
    from mnasnet.network.download import PUBLISHED, fetch

    nowhere = Path("mirror").absolute().as_uri()
    return fetch(PUBLISHED["mnasnet1_0"], folder=Path("cache"), base_url=nowhere, progress=lambda have, total: None)


# -- runtimes, exports, devices ----------------------------------------------------------------------------------------


def missing_runtime() -> object:
    from mnasnet.packages import require

    return require("a_runtime")


def unknown_format() -> object:
    from mnasnet.export.exporter import open_exporter

    return open_exporter("coreml")


def too_few_to_calibrate() -> object:
    from mnasnet.export.quantize import enough

    return enough([])


def agent_away() -> object:
    from mnasnet.latency.remote import AgentAddress, RemoteMeter

    return RemoteMeter(AgentAddress("http://127.0.0.1:1"), sleep=lambda pause_s: None).health()


def no_table() -> object:
    from mnasnet.latency.table import LatencyTable

    return LatencyTable.load(_written("pi.json", b"{}"))


# -- runs --------------------------------------------------------------------------------------------------------------


def no_run() -> object:
    from mnasnet.train.run_folder import open_run_folder

    return open_run_folder(Path("runs/train/flower"))


def damaged_checkpoints() -> object:
    from mnasnet.train.checkpoint import CheckpointStore

    store = CheckpointStore(Path("weights"))
    store.folder.mkdir()
    store.last.write_bytes(b"half")
    return store.load()


def steps_too_large() -> object:
    from mnasnet.testing import write_image_folder
    from mnasnet.train.plan import Training
    from mnasnet.train.run import train

    photos = write_image_folder(Path("photos"))
    small = {"model": "mnasnet_small", "pretrained": False, "input_size": 32, "batch_size": 6, "val_fraction": 0.5}
    return train(Training(photos, learning_rate=1e20, threads=1, **small))


def no_search() -> object:
    from mnasnet.search.folder import open_search_folder

    folder = Path("runs/train/flowers")
    folder.mkdir(parents=True)
    return open_search_folder(folder)


def storage_of_another_kind() -> object:
    from mnasnet.search.storage import require_storage

    return require_storage(str(_written("coco.json", b'{"images": []}')))


def damaged_journal() -> object:
    from mnasnet.search.storage import open_storage

    return open_storage(_written("study.journal", b'{"op_code":\0\0\0\n{"op_code":4}\n'))


def out_of_reach() -> object:
    import optuna

    from mnasnet.search.problem import FunctionEvaluator, FunctionMeter, SearchProblem
    from mnasnet.search.records import winner
    from mnasnet.search.study import Budget, create_study, search
    from mnasnet.spaces import space

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
