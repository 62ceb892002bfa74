"""Pack each Ikomia plugin of this checkout as the HUB expects it, the package that it needs inside.

python tools/pack_plugins.py [--output dist]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from install_plugins import PLUGINS, ROOT

PACKAGE_SOURCES = ("mnasnet", "pyproject.toml", "README.md", "LICENSE")
PAGES = "https://github.com/Ikomia-hub/infer_torchvision_mnasnet/blob/main"
PICTURES = "https://raw.githubusercontent.com/Ikomia-hub/infer_torchvision_mnasnet/main"
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")
WHEELS = "wheels"  # folder inside a zip
MADE_AT_S = 315_532_800  # the start of 1980 in wheel and zip: the same sources make the same files, byte for byte
MADE_ON = (1980, 1, 1, 0, 0, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="folder for the wheel and the zips")
    for path in pack(parser.parse_args().output):
        print(path)


def pack(output: Path, checkout: Path = ROOT) -> list[Path]:
    """Write the wheel and one zip a plugin into ``output``; the wheel is the first path returned."""
    output.mkdir(parents=True, exist_ok=True)
    wheel = build_wheel(output, checkout)
    return [wheel, *(write_zip(checkout / name, wheel, output) for name in PLUGINS if (checkout / name).is_dir())]


def build_wheel(output: Path, checkout: Path) -> Path:
    """The wheel of the package, built from a copy: what older builds left in the checkout must not get in."""
    with tempfile.TemporaryDirectory() as folder:
        source, built = Path(folder) / "source", Path(folder) / "built"
        source.mkdir()
        for name in PACKAGE_SOURCES:
            if (checkout / name).is_dir():
                shutil.copytree(checkout / name, source / name, ignore=LEFT_OUT)
            else:
                shutil.copy2(checkout / name, source)
        readme = source / "README.md"
        readme.write_text(with_absolute_links(readme.read_text(encoding="utf-8")), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", built, source]
        subprocess.run(command, check=True, env={**os.environ, "SOURCE_DATE_EPOCH": str(MADE_AT_S)})
        (wheel,) = built.glob("mnasnet-*.whl")
        return Path(shutil.copy2(wheel, output))


def with_absolute_links(readme: str) -> str:
    """The README for where the repository is not beside it, as on the page of a package index."""
    readme = re.sub(r"(!\[[^\]]*\]\()(?!https?:|#)", rf"\1{PICTURES}/", readme)
    return re.sub(r"\]\((?!https?:|#)", f"]({PAGES}/", readme)


def write_zip(plugin: Path, wheel: Path, output: Path) -> Path:
    """``plugin``'s files at the top level, as Ikomia unpacks them, with requirements that find the wheel inside."""
    version = wheel.name.split("-")[1]
    files = {path.name: path.read_bytes() for path in plugin.iterdir() if path.suffix in (".py", ".md")}
    files["requirements.txt"] = packed_requirements((plugin / "requirements.txt").read_text(), version).encode()
    files["LICENSE"] = (plugin.parent / "LICENSE").read_bytes()
    files[f"icons/{plugin.name}.png"] = (plugin.parent / "icons" / f"{plugin.name}.png").read_bytes()
    files[f"{WHEELS}/{wheel.name}"] = wheel.read_bytes()
    target = output / f"{plugin.name}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, MADE_ON)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            packed.writestr(entry, content)
    return target


def packed_requirements(requirements: str, version: str) -> str:
    """``requirements`` of a checkout with the package taken from the wheel that lies beside them.

    pip reads ``wheels`` relative to the requirements file, whatever folder it is started in.
    """
    lines = [line for line in requirements.splitlines() if not re.match(r"mnasnet\b", line)]
    return "\n".join((f"--find-links {WHEELS}", f"mnasnet=={version}", *lines)) + "\n"


if __name__ == "__main__":
    main()
