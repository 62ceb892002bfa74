"""The image files of a folder: which are found, in which order, and what is passed over."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mnasnet.data.find import iter_images
from mnasnet.errors import DataError
from mnasnet.testing import coloured_image


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names_in(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in iter_images([folder])]


def test_a_folder_gives_its_images_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "10.jpg", "2.JPG", "1.png", "b/3.webp", "a20/x.jpg", "a3/y.jpg", "notes.txt")

    assert names_in(tmp_path) == ["1.png", "2.JPG", "10.jpg", "a3/y.jpg", "a20/x.jpg", "b/3.webp"]


def test_junk_is_passed_over(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "a.jpg",
        ".hidden.jpg",
        "._a.jpg",
        "Thumbs.db",
        ".ipynb_checkpoints/a.jpg",
        "__MACOSX/a.jpg",
        ".git/a.jpg",
        "lost+found/a.jpg",
        "System Volume Information/a.jpg",
    )

    assert names_in(tmp_path) == ["a.jpg"]


def test_photos_without_a_telling_suffix_are_known_by_their_first_bytes(tmp_path: Path) -> None:
    for name in ("photo", "photo.jpg_large", "photo.jpg.1"):
        coloured_image((1, 2, 3)).save(tmp_path / name, "JPEG")
    touch(tmp_path, "notes", "notes.bak")

    assert names_in(tmp_path) == ["photo", "photo.jpg.1", "photo.jpg_large"]


def test_charts_of_a_run_are_no_photos_unless_its_folder_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "runs/train/x/args.yaml", "runs/train/x/results.png")

    assert names_in(tmp_path) == ["a.jpg"]
    assert names_in(tmp_path / "runs/train/x") == ["results.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_that_go_round_end(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "b/a").symlink_to(tmp_path / "a")
    (tmp_path / "a/lost.jpg").symlink_to(tmp_path / "nowhere.jpg")

    assert names_in(tmp_path) == ["a/1.jpg", "a/lost.jpg", "b/2.jpg"]


def test_a_file_named_directly_is_given_whatever_its_name(tmp_path: Path) -> None:
    touch(tmp_path, ".odd", "b/1.jpg")

    assert list(iter_images([tmp_path / ".odd", tmp_path / "b"])) == [tmp_path / ".odd", tmp_path / "b/1.jpg"]


def test_a_missing_path_is_an_error_before_any_work(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")

    with pytest.raises(DataError, match=r"no file or folder .*lost"):
        iter_images([tmp_path, tmp_path / "lost"])


def test_folders_are_read_only_when_their_turn_comes(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/2.jpg")
    paths = iter_images([tmp_path])
    next(paths)

    (tmp_path / "b/2.jpg").unlink()

    assert list(paths) == []
