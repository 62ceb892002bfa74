"""Make Ikomia find the plugins of this checkout: links (copies on Windows) in its plugin folder.

python tools/install_plugins.py [--home FOLDER]
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OWN_COPY = ".copied_by_install_plugins"
PLUGINS = ("infer_torchvision_mnasnet", "train_torchvision_mnasnet", "search_mnasnet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, default=Path.home(), help="the home folder that Ikomia uses")
    for path in install(parser.parse_args().home):
        print(path)


def install(home: Path, *, copy: bool = sys.platform == "win32") -> list[Path]:
    """Link or copy each plugin that this checkout has into ``home``.

    Our own links and copies are replaced; a foreign plugin of the same name is moved to ``Ikomia/Plugins/replaced``.
    """
    folder = home / "Ikomia" / "Plugins" / "Python"
    folder.mkdir(parents=True, exist_ok=True)
    installed = []
    for name in PLUGINS:
        if not (ROOT / name).is_dir():
            continue
        target = folder / name
        if target.is_symlink():
            target.unlink()
        elif (target / OWN_COPY).exists():
            shutil.rmtree(target)
        elif target.exists():
            shutil.move(target, free_path(home / "Ikomia" / "Plugins" / "replaced" / name))
        if copy:
            shutil.copytree(ROOT / name, target)
            (target / OWN_COPY).touch()
        else:
            target.symlink_to(ROOT / name)
        installed.append(target)
    return installed


def free_path(wanted: Path) -> Path:
    """``wanted``, or with a number at its end where it is taken; its folder is made."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    number, path = 1, wanted
    while path.exists():
        number += 1
        path = wanted.with_name(f"{wanted.name}_{number}")
    return path


if __name__ == "__main__":
    main()
