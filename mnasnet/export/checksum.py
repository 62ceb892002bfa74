"""The checksums of exported files: a flipped bit, or a second file of another export, gives no answers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from mnasnet.errors import WeightsError

FILE_KEY = "mnasnet_file_sha256"  # metadata beside the header: of all bytes of the file
CHECKSUM_KEY = "mnasnet_weights_sha256"  # of OpenVINO's second file, of ExecuTorch programs; older files have it alone
SHOWN = 12  # letters

_SAYS = "SHA-256 of this file with 64 zeros here: "
NOT_YET = _SAYS + 64 * "0"
"""The text under FILE_KEY until the rest of the file is known."""
_FOUND = re.compile(re.escape(_SAYS.encode()) + b"(.{64})", re.DOTALL)  # without understanding a file that is damaged


def with_checksum(content: bytes) -> bytes:
    """``content``, a whole file that says NOT_YET, with its checksum in that place."""
    return content.replace(NOT_YET.encode(), f"{_SAYS}{hashlib.sha256(content).hexdigest()}".encode())


def require_whole(content: bytes, path: Path) -> None:
    """Raise WeightsError unless ``content``, read from ``path``, is as it was written; older files do not say."""
    if (told := _FOUND.search(content)) is None:
        return
    found = hashlib.sha256(content.replace(told[0], NOT_YET.encode())).hexdigest()
    expected = told[1].decode(errors="replace")
    if found != expected:
        raise WeightsError(
            f"{path} is damaged: it has other bytes than were exported (SHA-256 {found[:SHOWN]}..., expected "
            f"{expected[:SHOWN]}...); copy it again, or export the model again. Where a tool of yours was to change "
            f"it, remove {FILE_KEY} from its metadata"
        )


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
