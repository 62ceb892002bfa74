"""Whether two trainings came to the same bits: their last checkpoints, without what tells of time."""

from __future__ import annotations

import hashlib
import json

from mnasnet.train.checkpoint import CheckpointStore, from_bytes

TIME_COLUMNS = ("seconds", "images_per_second")  # of a history row; the only values that differ between equal runs


def checkpoint_digest(store: CheckpointStore) -> str:
    """A digest of a store's last checkpoint without its times: equal for runs that are equal."""
    data = store.load()
    if data is None:
        return ""
    checkpoint = from_bytes(data)
    history = [{key: row[key] for key in row if key not in TIME_COLUMNS} for row in checkpoint.values["history"]]
    best = {key: value for key, value in (checkpoint.values["best"] or {}).items() if key not in TIME_COLUMNS}
    values = {**checkpoint.values, "seconds": 0, "epoch_seconds": 0, "history": history, "best": best}
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for name, tensor in sorted(checkpoint.tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
