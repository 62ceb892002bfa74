"""Checkpoints: all that a training needs to go on to the same bits, in one safetensors file with a checksum.

Two are kept. A write that fails or is killed leaves the older one whole, and loading falls back to it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mnasnet.errors import NewerSchemaError, TrainingError
from mnasnet.files import is_full, patiently, write_atomic

_log = logging.getLogger(__name__)

SCHEMA = 1
GONE = "the run's folder was moved or removed meanwhile; resume it where it lies now, or start a new run"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Tensors by name and plain JSON values: everything of a training that is not settings or data."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CheckpointStore:
    """The two checkpoints of a run: the last one and the one before it."""

    folder: Path

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.folder / "checkpoint.safetensors"

    @property
    def before_last(self) -> Path:
        """The one before the newest."""
        return self.folder / "checkpoint-1.safetensors"

    @property
    def holds_any(self) -> bool:
        """Whether a training can go on from here, should one of the two be whole."""
        return self.last.exists() or self.before_last.exists()

    def save(self, checkpoint: Checkpoint) -> None:
        """Write ``checkpoint`` as the last one; raises TrainingError, the older files whole, when it cannot."""
        data = to_bytes(checkpoint)
        try:
            self.folder.mkdir(exist_ok=True)  # never that of a run that was moved away
            self._keep_last()
            write_atomic(self.last, data)
        except OSError as error:
            raise TrainingError(self._failure(error, len(data))) from error

    def load(self) -> bytes | None:
        """The newest whole checkpoint's bytes; None when none was written. Says so when it has to fall back.

        Raises TrainingError when files are there but none is whole, NewerSchemaError where a newer release wrote it.
        """
        damaged = []
        for path in (self.last, self.before_last):
            if not path.exists():
                continue
            data = path.read_bytes()
            try:
                from_bytes(data)
            except TrainingError as error:
                damaged.append(f"{path.name}: {error}")
                continue
            if damaged:
                _log.warning("%s; going on from the one before it, %s", damaged[0], path.name)
            return data
        if damaged:
            raise TrainingError(f"no whole checkpoint in {self.folder} ({'; '.join(damaged)}); train again")
        return None

    def _keep_last(self) -> None:
        """Give the last file its second name, so that at every moment one whole checkpoint exists.

        A damaged last file is not worth that name: the one before it may be the only whole one.
        """
        if not _is_whole(self.last):
            return
        spare = self.folder / ".checkpoint-1.tmp"
        spare.unlink(missing_ok=True)
        try:
            os.link(self.last, spare)
        except OSError:  # a file system without hard links
            with contextlib.suppress(OSError):
                self.last.replace(self.before_last)
            return
        patiently(lambda: spare.replace(self.before_last))

    def _failure(self, error: OSError, size: int) -> str:
        whole = next((path for path in (self.last, self.before_last) if _is_whole(path)), None)
        kept = f"the checkpoint before it is whole ({whole})" if whole else "no whole one was written before"
        if is_full(error):
            free = shutil.disk_usage(self.folder).free / 1e6 if self.folder.exists() else 0.0
            return (
                f"a checkpoint of {size / 1e6:.0f} MB does not fit on the disk ({error.strerror}, {free:.0f} MB free); "
                f"{kept}; make room, then resume"
            )
        if not self.folder.parent.exists():
            return f"cannot write the checkpoint {self.last}: {GONE}"
        return f"cannot write the checkpoint {self.last}: {error.strerror or error}; {kept}"


def _is_whole(path: Path) -> bool:
    try:
        from_bytes(path.read_bytes())
    except (OSError, TrainingError):
        return False
    return True


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """The file's content."""
    from safetensors.torch import save

    tensors = {name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()}
    text = json.dumps({"schema": SCHEMA, **checkpoint.values})
    data: bytes = save(tensors, metadata={"state": text, "sha256": _checksum(tensors, text)})
    return data


def from_bytes(data: bytes) -> Checkpoint:
    """The inverse of :func:`to_bytes`; raises TrainingError when a byte is wrong, NewerSchemaError for a newer one."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        tensors = load(data)
        values = json.loads(metadata["state"])
        checksum = metadata["sha256"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"not a whole checkpoint ({error})") from error
    if _checksum(tensors, metadata["state"]) != checksum:
        raise TrainingError("its checksum is wrong, the disk or a copy has damaged it")
    if values["schema"] > SCHEMA:
        raise NewerSchemaError(
            f"checkpoint schema {values['schema']} is newer than {SCHEMA}; update the mnasnet package, then resume"
        )
    return Checkpoint(tensors, values)


def _checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    sha256 = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        sha256.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        sha256.update(tensors[name].contiguous().numpy().reshape(-1).data)
    return sha256.hexdigest()
