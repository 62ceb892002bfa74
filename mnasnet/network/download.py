"""Published ImageNet weights: what there is, and how it comes whole and checked into the user's cache."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLError
from typing import Any

from mnasnet.errors import DownloadError
from mnasnet.files import user_cache
from mnasnet.locks import locked
from mnasnet.machine import has_terminal
from mnasnet.preprocess import Preprocess

_log = logging.getLogger(__name__)

Progress = Callable[[int, "int | None"], None]
"""Hears of the bytes so far and of all bytes, None when the server does not say how many."""

_TORCHVISION = "https://download.pytorch.org/models"
_TIMM = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights"
_BICUBIC = Preprocess(interpolation="bicubic")  # crop share 0.875 of timm: 224 / 256

_ATTEMPTS = 3
_PAUSE_S = 1.0  # before the second attempt where a server is busy, and twice that before the third
_BUSY = {429, 502, 503, 504}
_TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 16
_MOST_BYTES = 256 << 20  # published weights have some 30 MB


@dataclass(frozen=True, slots=True)
class Published:
    """One file of ImageNet weights, 1000 classes in ILSVRC 2012 order.

    ``sha256_prefix`` are the first digits of the file's SHA-256. Both libraries publish them inside the file name
    (the convention of ``torch.hub.load_state_dict_from_url(check_hash=True)``); longer sums are not published.
    """

    name: str
    url: str
    sha256_prefix: str
    preprocess: Preprocess
    top1_percent: float
    top5_percent: float
    licence: str

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]


IMAGENET_CLASSES = 1000  # of the published weights; networks that nobody published any of are counted with as many

_BSD = "code BSD-3-Clause; the weights carry no licence text of their own"
_APACHE = "Apache-2.0"

# Sources: torchvision/models/mnasnet.py (weights' meta and transforms); timm/models/efficientnet.py (default_cfgs)
# and timm's results/results-imagenet.csv.
PUBLISHED: dict[str, Published] = {
    weights.name: weights
    for weights in (
        Published(
            "mnasnet0_5",
            f"{_TORCHVISION}/mnasnet0.5_top1_67.823-3ffadce67e.pth",
            "3ffadce67e",
            Preprocess(),
            67.734,
            87.490,
            _BSD,
        ),
        Published(
            "mnasnet0_75",
            f"{_TORCHVISION}/mnasnet0_75-7090bc5f.pth",
            "7090bc5f",
            Preprocess(resize=232),
            71.180,
            90.496,
            _BSD,
        ),
        Published(
            "mnasnet1_0",
            f"{_TORCHVISION}/mnasnet1.0_top1_73.512-f206786ef8.pth",
            "f206786ef8",
            Preprocess(),
            73.456,
            91.510,
            _BSD,
        ),
        Published(
            "mnasnet1_3",
            f"{_TORCHVISION}/mnasnet1_3-a4c69d6f.pth",
            "a4c69d6f",
            Preprocess(resize=232),
            76.506,
            93.522,
            _BSD,
        ),
        Published("mnasnet_100", f"{_TIMM}/mnasnet_b1-74cb7081.pth", "74cb7081", _BICUBIC, 74.672, 92.108, _APACHE),
        Published("semnasnet_100", f"{_TIMM}/mnasnet_a1-d9418771.pth", "d9418771", _BICUBIC, 75.452, 92.608, _APACHE),
        Published(
            "semnasnet_075", f"{_TIMM}/semnasnet_075-18710866.pth", "18710866", _BICUBIC, 73.000, 91.124, _APACHE
        ),
        Published(
            "mnasnet_small", f"{_TIMM}/mnasnet_small_lamb-aff75073.pth", "aff75073", _BICUBIC, 66.204, 86.470, _APACHE
        ),
    )
}


def published_by_content(path: Path) -> Published | None:
    """The published weights that this file is, whatever it is called."""
    digest = sha256_of(path)
    return next((weights for weights in PUBLISHED.values() if digest.startswith(weights.sha256_prefix)), None)


def fetch(
    weights: Published,
    *,
    folder: Path | None = None,
    base_url: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """The file of ``weights``, from ``folder`` (the user's cache) or else downloaded into it.

    An interrupted download goes on where it stopped; a file counts only with the right SHA-256. ``base_url`` is a
    mirror that has the file under the same name. Without ``progress`` a terminal shows a bar. Raises DownloadError.
    """
    folder = folder or _cache()
    target = folder / weights.file_name
    if _is_right(target, weights):
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(target.with_name(f"{target.name}.lock")):
            if not _is_right(target, weights):  # another process may have brought it while this one waited
                if target.is_file():
                    _log.warning("%s is damaged or another file (its SHA-256 is wrong); downloading it again", target)
                url = weights.url if base_url is None else f"{base_url.rstrip('/')}/{weights.file_name}"
                with _shown(weights, progress) as listener:
                    _download(weights, url, target, listener)
    except OSError as error:
        raise DownloadError(
            f"cannot keep {weights.file_name}, the weights of {weights.name}: {folder} cannot be written "
            f"({error.strerror or error}); set the environment variable MNASNET_CACHE to a folder that can, or use the "
            "bundled model photos10, which needs no download"
        ) from error
    return target


def is_here(weights: Published) -> bool:
    """Whether the user's cache has the file, whole, so that nothing is downloaded."""
    return _is_right(_cache() / weights.file_name, weights)


def _cache() -> Path:
    return user_cache() / "weights"


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _is_right(path: Path, weights: Published) -> bool:
    return path.is_file() and sha256_of(path).startswith(weights.sha256_prefix)


def _download(weights: Published, url: str, target: Path, progress: Progress) -> None:
    """Bring the file into ``target``; the part so far waits beside it as ``.part`` for the next try."""
    part = target.with_name(f"{target.name}.part")
    reason = ""
    for attempt in range(_ATTEMPTS):
        resumed = part.exists() and part.stat().st_size > 0
        try:
            complete = _receive(url, part, progress)
        except urllib.error.HTTPError as error:
            if error.code in _BUSY and attempt + 1 < _ATTEMPTS:
                time.sleep(_PAUSE_S * 2**attempt)
                continue
            complete = error.code == 416 and resumed  # nothing is left to send: the part is whole, or something else
            if not complete:
                answer = f"the server answered {error.code} {error.reason}{_through_proxy(url)}"
                raise DownloadError(_advice(weights, target, answer)) from error
        except (urllib.error.URLError, TimeoutError, ConnectionError, SSLError, http.client.HTTPException) as error:
            reason = _reason(error) + _through_proxy(url)
            if not part.exists() or isinstance(error, urllib.error.URLError):
                break  # nobody there: trying again at once will not help
            continue
        if not complete:
            reason = "the connection ended early"
            continue
        digest = sha256_of(part)
        if digest.startswith(weights.sha256_prefix):
            _log.info("%s has SHA-256 %s", weights.file_name, digest)
            part.replace(target)
            return
        is_page = _is_web_page(part)
        part.unlink()
        if is_page:
            reason = "a web page came in its place, as from a network that asks you to sign in first"
            break
        reason = f"its SHA-256 begins with {digest[:10]} instead of {weights.sha256_prefix}"
        if not resumed:
            break
        _log.warning("%s: %s; starting over (attempt %d)", weights.file_name, reason, attempt + 1)
    raise DownloadError(_advice(weights, target, reason))


def _is_web_page(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(200).lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _receive(url: str, part: Path, progress: Progress) -> bool:
    """Append to ``part`` what it lacks; True when the server's whole file is there."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "mnasnet"} | ({"Range": f"bytes={have}-"} if have else {})
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.build_opener(_StaysSecret).open(request, timeout=_TIMEOUT_S) as answer:
        continues = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        have = have if continues else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length and length.isdecimal() else None
        with part.open("ab" if continues else "wb") as file:
            progress(have, total)
            while chunk := answer.read(_CHUNK_BYTES):
                file.write(chunk)
                have += len(chunk)
                if have > _MOST_BYTES:
                    return True  # a server without end; its SHA-256 will be wrong
                progress(have, total)
            file.flush()
            os.fsync(file.fileno())
    return total is None or have == total


class _StaysSecret(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but none that leaves https."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The request of the new address; raises URLError for one that anybody in between could answer."""
        if req.type == "https" and urllib.parse.urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError(f"the server leads from https to {newurl}, where anybody could answer")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, OSError):
        return cause.strerror or str(cause) or type(cause).__name__
    return str(cause) or type(cause).__name__


def _through_proxy(url: str) -> str:
    """Which proxy of the environment stands between; it may hold a password, so only its place is told."""
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or urllib.request.proxy_bypass(parts.netloc):
        return ""
    return f" (through the proxy {proxy.rpartition('@')[2].rpartition('//')[2].rstrip('/')})"


def _advice(weights: Published, target: Path, reason: str) -> str:
    return (
        f"cannot download {weights.file_name}, the weights of {weights.name}: {reason}; check the network and "
        f"run again, or bring the file by hand to {target}, or use the bundled model photos10, which needs no download"
    )


@contextmanager
def _shown(weights: Published, progress: Progress | None) -> Iterator[Progress]:
    """The caller's listener, else a bar on a terminal, else a line in the log."""
    if progress is not None:
        yield progress
        return
    if not has_terminal():
        _log.info("downloading %s", weights.file_name)
        yield lambda done, total: None
        return
    from tqdm import tqdm

    with tqdm(desc=weights.file_name, unit="B", unit_scale=True, unit_divisor=1024) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
