"""Make Ikomia find the plugins of this checkout: links (copies on Windows) in its plugin folder.

python tools/install_plugins.py [--home FOLDER]
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = ("infer_torchvision_mnasnet", "train_torchvision_mnasnet", "search_mnasnet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, default=Path.home(), help="the home folder that Ikomia uses")
    for path in install(parser.parse_args().home):
        print(path)


def install(home: Path) -> list[Path]:
    """Link each plugin that this checkout has into ``home``; a plugin of the same name there is kept as NAME.old."""
    folder = home / "Ikomia" / "Plugins" / "Python"
    folder.mkdir(parents=True, exist_ok=True)
    installed = []
    for name in PLUGINS:
        if not (ROOT / name).is_dir():
            continue
        target = folder / name
        if target.is_symlink():
            target.unlink()
        elif target.exists():
            shutil.move(target, folder / f"{name}.old")
        if sys.platform == "win32":
            shutil.copytree(ROOT / name, target)
        else:
            target.symlink_to(ROOT / name)
        installed.append(target)
    return installed


if __name__ == "__main__":
    main()
