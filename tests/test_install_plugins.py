"""Installing the plugins of a checkout, as often as one likes."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))

import install_plugins


@pytest.mark.parametrize("copy", [False, True])
def test_installing_three_times_over_foreign_plugins_keeps_each_of_them(tmp_path, copy):
    target = tmp_path / "Ikomia" / "Plugins" / "Python" / "infer_torchvision_mnasnet"
    for mark in ("first", "second"):
        if target.is_symlink():
            target.unlink()
        elif target.exists():
            install_plugins.shutil.rmtree(target)
        target.mkdir(parents=True)
        (target / "mine.txt").write_text(mark)
        for _ in range(3):
            assert target in install_plugins.install(tmp_path, copy=copy)

    kept = sorted(path.read_text() for path in (tmp_path / "Ikomia" / "Plugins" / "replaced").rglob("mine.txt"))
    assert kept == ["first", "second"]
    assert (target / "infer_torchvision_mnasnet_process.py").exists()
    assert target.is_symlink() is not copy
