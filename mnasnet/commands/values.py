"""Values on the command line: argparse types that name the rule and the value received."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path

from mnasnet.files import expanded, is_file, obstacle, unquoted


def whole(minimum: int, maximum: int) -> Callable[[str], int]:
    """A whole number from ``minimum`` to ``maximum``."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if not minimum <= value <= maximum:
            raise argparse.ArgumentTypeError(f"must be a whole number from {minimum} to {maximum}, got {text!r}")
        return value

    return parse


def a_path(text: str) -> Path:
    """A path; an empty one, as an unset variable of the shell gives, would mean the folder one stands in."""
    path = unquoted(text)
    if not path.strip():
        raise argparse.ArgumentTypeError("must be a path, got an empty one; `.` is the folder you are in")
    place = expanded(path)  # a shell leaves `~` alone behind `=`
    if place.parts[:1] == ("~",):
        raise argparse.ArgumentTypeError(f"must be a path without `~`, this user has no home folder: {path}")
    return place


def folder_to_write(text: str) -> Path:
    """A path where a folder is or may be made."""
    path = a_path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"takes a folder to write into, {path} is a file; name a folder")
    return path


def folder_of_results(text: str) -> Path:
    """A path where a folder is or may be made, other than that of a run, whose own files would be replaced."""
    path = folder_to_write(text)
    if is_file(path / "args.yaml"):
        raise argparse.ArgumentTypeError(
            f"takes a folder to write into, {path} is that of a run, whose files would be replaced; name another folder"
        )
    if reason := obstacle(path, is_folder=True):
        raise argparse.ArgumentTypeError(
            f"takes a folder to write into, {path} cannot be written: {reason}; name another folder"
        )
    return path


def file_to_write(text: str) -> Path:
    """A path where a file is or may be made; what a link leads to is written there, and the link stays."""
    path = a_path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"takes a file to write, {path} is a folder; name a file in it")
    if path.exists() and not path.is_file():  # writing whole or not at all would put a file in its place
        raise argparse.ArgumentTypeError(f"takes a file to write, {path} is a device or a pipe; name a file")
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def share(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}")
    return value
