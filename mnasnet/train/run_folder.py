"""The folder of a run: ``runs/train/<name>{N}``, made new for each run, with every file's place."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from mnasnet.data.folder import require_outside
from mnasnet.data.report import REPORT_FILE
from mnasnet.data.split import SPLIT_FILE
from mnasnet.errors import TrainingError
from mnasnet.files import exists, expanded, is_full, obstacle, remove_leftovers, write_atomic
from mnasnet.locks import try_lock
from mnasnet.train.checkpoint import CheckpointStore


class RunFolderError(TrainingError):
    """A folder that is none of a run, or lacks what going on needs."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where each file of a run lies."""

    path: Path

    @property
    def arguments(self) -> Path:
        """What was asked for and what was made of it; a resumed run reads it."""
        return self.path / "args.yaml"

    @property
    def split(self) -> Path:
        """Which images train and which validate."""
        return self.path / SPLIT_FILE

    @property
    def dataset_report(self) -> Path:
        """What was found in the dataset before the first epoch."""
        return self.path / REPORT_FILE

    @property
    def classes(self) -> Path:
        """One class name a line, in the order of the network's outputs."""
        return self.path / "classes.txt"

    @property
    def results(self) -> Path:
        """One line an epoch."""
        return self.path / "results.csv"

    @property
    def per_class(self) -> Path:
        """How well each class was recognised, one a line."""
        return self.path / "per_class.csv"

    @property
    def report(self) -> Path:
        """The page that tells the whole run."""
        return self.path / "report.html"

    @property
    def best(self) -> Path:
        """The model file of the best epoch, in a fold of the last one."""
        return self.path / "weights" / "best.safetensors"

    @property
    def best_whole_epoch(self) -> Path:
        """The model file of the best whole epoch, where time ended within a better one; a resumed run takes it back."""
        return self.path / "weights" / "best_whole_epoch.safetensors"

    @property
    def last(self) -> Path:
        """The model file of the end."""
        return self.path / "weights" / "last.safetensors"

    @property
    def store(self) -> CheckpointStore:
        """The checkpoints."""
        return CheckpointStore(self.path / "weights")

    def results_to_share(self) -> tuple[Path, ...]:
        """The files that a tracking service keeps beside a run's numbers, those that exist."""
        names = (
            "results.csv",
            "mistakes.csv",
            "results.png",
            "confusion_matrix.png",
            "confusion_matrix_normalized.png",
        )
        wanted = [self.best, self.classes, *(self.path / name for name in (*names, "model_card.md")), self.report]
        return tuple(path for path in wanted if path.is_file())

    def files(self) -> list[str]:
        """The names of all its files, for its report; checkpoints and hidden files are left out."""
        return sorted(
            (Path(root) / name).relative_to(self.path).as_posix()
            for root, _, names in os.walk(self.path)
            for name in names
            if not name.startswith((".", "checkpoint"))
        )


def new_run_folder(parent: Path, name: str, *, data: Path) -> RunFolder:
    """Make ``parent/<name>``, or ``<name>2``, ``<name>3`` ...; two processes never get the same one.

    Where the name itself ends in a digit it is ``<name>_2``: photos2024 is not followed by a photos20242.

    Raises SettingsError for a place within the dataset, where it would be taken for a class.
    """
    require_place(parent, data=data)
    plain = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name).strip(" .") or "train"
    base = f"{plain}_" if plain[-1].isdigit() else plain
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 100_000):
            folder = parent / _not_reserved(plain if number == 1 else f"{base}{number}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return RunFolder(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.ENAMETOOLONG:
            raise _no_place(parent, f"{reason} ({len(plain)} characters)", "set name to a shorter one") from error
        raise _no_place(parent, reason) from error
    raise TrainingError(f"{parent} holds 100,000 runs called {plain}; choose another name")


def require_place(parent: Path, *, data: Path) -> None:
    """Raise what :func:`new_run_folder` would, as far as that shows without making anything."""
    require_outside(parent, data)
    if reason := obstacle(parent, is_folder=True):
        raise _no_place(parent, reason)


def _no_place(parent: Path, reason: str, cure: str = "set output_folder to a place you may write to") -> TrainingError:
    return TrainingError(f"cannot make a run folder in {parent.absolute()}: {reason}; {cure}")


def cannot_write(folder: Path, error: OSError) -> TrainingError:
    """What to tell when a run cannot begin in its folder."""
    return TrainingError(
        f"cannot write into {folder}: {error.strerror or error}; make room, or set output_folder to a place on another "
        "disk"
    )


def _not_reserved(name: str) -> str:
    """``name``, with a line before it where Windows means a device by it, whatever its ending."""
    is_device = re.fullmatch(r"con|prn|aux|nul|(com|lpt)[0-9¹²³]", name.partition(".")[0].rstrip(), re.IGNORECASE)
    return f"_{name}" if is_device else name


def open_run_folder(path: Path | str) -> RunFolder:
    """An existing run; also found by one of its files. Raises RunFolderError where there is none."""
    path = expanded(path)
    if not exists(path):
        raise RunFolderError(f"there is no folder {path}; give the one that the run named when it began")
    for candidate in (path, path.parent, path.parent.parent):
        if (candidate / "args.yaml").is_file():
            return RunFolder(candidate)
    raise RunFolderError(
        f"{path} is not the folder of a run: it has no args.yaml; give the one that the run named when it began, or "
        "begin anew where that was killed earlier"
    )


def asked_of(path: Path | str) -> dict[str, Any]:
    """What the user set when the run in ``path`` began, but where it lies; raises RunFolderError."""
    asked = read_yaml(open_run_folder(path).arguments).get("asked")
    return {name: value for name, value in asked.items() if name != "output_folder"} if isinstance(asked, dict) else {}


@contextlib.contextmanager
def only_user(run: RunFolder) -> Iterator[None]:
    """Keep a second process out of the run while this one trains in it; the system lifts the lock at any death.

    Files that such a death left half written, as large as a checkpoint each, are removed. It says whose it is.
    Raises TrainingError, with the way on, also where the disk is full meanwhile.
    """
    try:
        lock = open(run.path / ".lock", "a+b", opener=_not_through_a_link)  # noqa: SIM115
    except OSError as error:
        raise TrainingError(f"{run.path} cannot be written to ({error.strerror}); give it write access") from error
    with lock:
        require_no_links(run)
        is_ours = True
        with contextlib.suppress(OSError):  # a file system without locks
            is_ours = try_lock(lock)
            if is_ours:
                remove_leftovers(run.path)
                _sign(lock)
        if not is_ours:
            raise TrainingError(f"{run.path} is in use by another process{_signature(lock)}; wait for it or stop it")
        try:
            yield
        except OSError as error:
            if not is_full(error):
                raise
            raise TrainingError(
                f"the disk is full ({error.strerror}); what is done is kept in {run.path}: make room, then resume"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                lock.truncate(0)  # a run that nobody has in use says nothing of who had


def require_no_links(run: RunFolder) -> None:
    """Raise TrainingError where a file or folder of the run is a link: writing would change what lies elsewhere.

    Links further down belong to trainings with run folders of their own.
    """
    for path in (*run.path.glob("*"), *run.path.glob("*/*")):
        if path.is_symlink():
            raise TrainingError(
                f"{path} is a link to {path.readlink()}, and nothing is written through links; put what it leads to "
                "in its place"
            )


def _sign(lock: BinaryIO) -> None:
    """Write into the file who has it; from its second byte on, since Windows lets nobody read a byte that is locked."""
    lock.truncate(0)
    since = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    os.write(lock.fileno(), f" ({os.getpid()} on {socket.gethostname()}, since {since})".encode())


def _signature(lock: BinaryIO) -> str:
    """What :func:`_sign` wrote, if anything."""
    with contextlib.suppress(OSError):
        lock.seek(1)
        if written := lock.read(300).decode(errors="replace"):
            return f" {written}"
    return ""


def _not_through_a_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)  # Windows has no such flag


def require_space(run: RunFolder, model_bytes: int) -> None:
    """Raise TrainingError unless the disk has room for the run's files.

    That is two checkpoints and one being written, each with weights, average and at most two optimiser values, the
    two model files, and a little. Weights of a run that goes on lie there already; it needs room for one checkpoint
    and one model file at least.
    """
    checkpoint_bytes = 4 * model_bytes
    whole = 3 * checkpoint_bytes + 3 * model_bytes + 10_000_000
    needed = max(whole - _size_of(run.store.folder), checkpoint_bytes + model_bytes)
    free = shutil.disk_usage(run.path).free
    if free >= needed:
        return
    has_free = f"{run.path} has {free / 1e6:.0f} MB free"
    if run.store.holds_any:
        raise TrainingError(
            f"this run needs {needed / 1e6:.0f} MB of disk more, {has_free}; make room, or move the run to another "
            "disk and resume it there"
        )
    raise TrainingError(
        f"a run needs {needed / 1e6:.0f} MB of disk, {has_free}; make room or set output_folder to another disk"
    )


def _size_of(folder: Path) -> int:
    """The bytes of the files in ``folder``; those of a file with two names, as a checkpoint may have, count once."""
    stats = [path.stat() for path in folder.iterdir()] if folder.exists() else []
    return sum({one.st_ino: one.st_size for one in stats}.values())


def write_yaml(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values as YAML."""
    import yaml

    write_atomic(path, yaml.safe_dump(dict(values), allow_unicode=True, sort_keys=False).encode())


def read_yaml(path: Path) -> dict[str, Any]:
    """Read plain values; raises RunFolderError when the file is not what :func:`write_yaml` wrote."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunFolderError(f"cannot read {path}: {error.strerror or error}; give it read access") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or "it is no text"
        place = f"in line {mark.line + 1} {problem}" if mark else problem
        raise RunFolderError(f"{path} is damaged: {place}; bring it back, or start a new run") from error
    if not isinstance(values, dict):
        raise RunFolderError(f"{path} holds no settings of a run; start a new run")
    return values


def write_classes(path: Path, class_names: Sequence[str]) -> None:
    """One name a line, UTF-8; line breaks inside a name become spaces."""
    write_atomic(path, "".join(f"{' '.join(name.splitlines())}\n" for name in class_names).encode())
