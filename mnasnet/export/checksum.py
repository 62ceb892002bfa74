"""The checksum of an exported file's weights: a flipped bit, or a second file of another export, gives no answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from mnasnet.errors import WeightsError

CHECKSUM_KEY = "mnasnet_weights_sha256"  # metadata of graphs beside the header
SHOWN = 12  # letters


def checksum(weights: Iterable[bytes]) -> str:
    """SHA-256 of ``weights``, each with its length, as hexadecimal letters."""
    digest = hashlib.sha256()
    for part in weights:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def require_weights(told: str, weights: Iterable[bytes], path: Path) -> None:
    """Raise WeightsError unless ``weights``, read from ``path``, have the checksum ``told``; "" is of older files."""
    if told and (found := checksum(weights)) != told:
        raise WeightsError(
            f"{path} has other weights than were exported (SHA-256 {found[:SHOWN]}..., expected {told[:SHOWN]}...): it "
            "was damaged or belongs to another export; copy all files again, or export the model again. Where a tool "
            f"of yours was to change it, remove {CHECKSUM_KEY} from its metadata"
        )
