"""Checkpoints: whole or absent, checked by a sum, two of them, clear words when the disk is full."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
import torch
from small_disk import room_for

from mnasnet.errors import NewerSchemaError, TrainingError
from mnasnet.train.checkpoint import Checkpoint, CheckpointStore, from_bytes, to_bytes


def checkpoint(value: float = 1.0) -> Checkpoint:
    tensors = {"b": torch.full((2, 3), value), "a": torch.arange(4)}
    return Checkpoint(tensors, {"epoch": 2, "history": [{"loss": 0.1}], "name": "café"})


def test_a_checkpoint_survives_its_bytes() -> None:
    read = from_bytes(to_bytes(checkpoint()))

    assert torch.equal(read.tensors["b"], checkpoint().tensors["b"])
    assert read.values["history"] == [{"loss": 0.1}]


def test_floats_come_back_to_the_last_bit() -> None:
    third = 1 / 3 + 1e-16

    assert from_bytes(to_bytes(Checkpoint({"x": torch.zeros(1)}, {"sum": third}))).values["sum"] == third


@pytest.mark.parametrize("place", [20, -3])
def test_a_single_wrong_bit_is_noticed(place: int) -> None:
    data = bytearray(to_bytes(checkpoint()))
    data[place] ^= 1

    with pytest.raises(TrainingError):
        from_bytes(bytes(data))


def test_a_checkpoint_of_a_newer_release_asks_for_an_update_and_is_not_passed_over(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.before_last.write_bytes(to_bytes(checkpoint()))
    store.last.write_bytes(to_bytes(Checkpoint({"x": torch.zeros(1)}, {"schema": 2})))

    with pytest.raises(NewerSchemaError, match="^checkpoint schema 2 is newer than 1; update the mnasnet package, t"):
        store.load()


@pytest.mark.parametrize("has_links", [True, False])
def test_the_last_two_are_kept(has_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("Operation not permitted")

    if not has_links:  # as on the file systems of memory sticks
        monkeypatch.setattr(os, "link", refuse)
    store = CheckpointStore(tmp_path)
    for value in (1.0, 2.0, 3.0):
        store.save(checkpoint(value))

    values = [float(from_bytes(path.read_bytes()).tensors["b"][0, 0]) for path in (store.last, store.before_last)]
    assert values == [3.0, 2.0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1.safetensors", "checkpoint.safetensors"]


def test_a_reader_of_an_older_checkpoint_is_waited_for_on_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, replace = CheckpointStore(tmp_path), Path.replace
    refused: set[Path] = set()

    def refusing(self: Path, target: Path) -> Path:
        if target not in refused:
            refused.add(target)
            raise PermissionError(13, "The process cannot access the file because it is being used")
        return replace(self, target)

    store.save(checkpoint(1.0))
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(Path, "replace", refusing)

    store.save(checkpoint(2.0))

    assert refused == {store.last, store.before_last}


def test_an_empty_store_has_nothing_to_load(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path).load() is None


def test_a_write_that_does_not_fit_leaves_the_older_checkpoint_whole_and_says_so(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(Checkpoint({"x": torch.zeros(1000)}, {"epoch": 1}))

    with room_for(20_000), pytest.raises(TrainingError, match=r"does not fit on the disk.* make room, then resume"):
        store.save(Checkpoint({"x": torch.zeros(100_000)}, {"epoch": 2}))

    data = store.load()
    assert data is not None and from_bytes(data).values["epoch"] == 1
    assert not list(tmp_path.glob(".*tmp"))


def test_a_damaged_last_checkpoint_does_not_replace_the_whole_one_before_it(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(Checkpoint({"x": torch.zeros(1000)}, {"epoch": 1}))
    store.save(Checkpoint({"x": torch.zeros(1000)}, {"epoch": 2}))
    store.last.write_bytes(store.last.read_bytes()[:100])

    whole = re.escape(f"the checkpoint before it is whole ({store.before_last})")
    with room_for(20_000), pytest.raises(TrainingError, match=whole):
        store.save(Checkpoint({"x": torch.zeros(100_000)}, {"epoch": 3}))

    data = store.load()
    assert data is not None and from_bytes(data).values["epoch"] == 1
