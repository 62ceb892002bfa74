"""What lies in the zips that the HUB hands out."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from io import BytesIO
from pathlib import Path

import draw_icons
import pack_plugins
import pytest
from PIL import Image

import mnasnet

ROOT = Path(__file__).parent.parent.parent
PLUGINS = [name for name in pack_plugins.PLUGINS if (ROOT / name).is_dir()]
HUB = "https://raw.githubusercontent.com/Ikomia-hub"
WHEEL = f"mnasnet-{mnasnet.__version__}-py3-none-any.whl"

every_plugin = pytest.mark.parametrize("name", PLUGINS)


def files_in(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


@every_plugin
def test_a_zip_holds_the_plugins_files_at_its_top_and_nothing_else(packed, name):
    assert set(files_in(packed / f"{name}.zip")) == {
        "__init__.py",
        f"{name}.py",
        f"{name}_process.py",
        f"{name}_widget.py",
        f"{name}_test.py",
        "requirements.txt",
        "README.md",
        "LICENSE",
        f"icons/{name}.png",
        f"wheels/{WHEEL}",
    }


@every_plugin
def test_requirements_take_the_package_from_the_wheel_beside_them(packed, name):
    first, second, *others = files_in(packed / f"{name}.zip")["requirements.txt"].decode().splitlines()

    assert (first, second) == ("--find-links wheels", f"mnasnet=={mnasnet.__version__}")
    assert others
    assert [line for line in others if not re.fullmatch(r"[\w-]+>=[\d.]+", line)] == []


@every_plugin
def test_every_zip_carries_the_same_wheel(packed, name):
    assert files_in(packed / f"{name}.zip")[f"wheels/{WHEEL}"] == (packed / WHEEL).read_bytes()


def test_the_wheel_is_the_whole_package(packed):
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "mnasnet").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert {name for name in files_in(packed / WHEEL) if ".dist-info/" not in name} == sources


def test_a_source_archive_is_the_package_without_tests_that_lack_their_helpers(tmp_path):
    pytest.importorskip("setuptools", minversion="77", reason="licences as pyproject.toml has them")
    shutil.copytree(ROOT / "mnasnet", tmp_path / "mnasnet", ignore=pack_plugins.LEFT_OUT)
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=pack_plugins.LEFT_OUT)
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, tmp_path)

    build = "from setuptools.build_meta import build_sdist; build_sdist('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)

    with tarfile.open(*(tmp_path / "dist").glob("*.tar.gz")) as packed:
        names = packed.getnames()
    assert f"mnasnet-{mnasnet.__version__}/mnasnet/models/photos10.safetensors" in names
    assert [name for name in names if "/tests" in name] == []


def test_the_wheel_asks_for_what_the_package_needs_and_no_more(packed):
    (text,) = [content for name, content in files_in(packed / WHEEL).items() if name.endswith(".dist-info/METADATA")]
    metadata = Parser().parsestr(text.decode())

    assert metadata["Version"] == mnasnet.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    plain = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert "ikomia" not in " ".join(plain) and "PyQt" not in " ".join(plain)


def test_links_and_pictures_of_the_package_s_page_lead_into_the_repository(packed):
    (text,) = [content for name, content in files_in(packed / WHEEL).items() if name.endswith(".dist-info/METADATA")]
    page = Parser().parsestr(text.decode()).get_payload()

    inside = re.findall(r"\]\(https://(?:github|raw\.githubusercontent)\.com/.+?/main/([^)#]+)", page)
    assert f"]({HUB}/infer_torchvision_mnasnet/main/docs/images/classified_cat.png)" in page
    assert "](https://github.com/Ikomia-hub/infer_torchvision_mnasnet/blob/main/docs/classify.md)" in page
    assert [path for path in inside if not (ROOT / path).exists()] == []
    assert re.findall(r"\]\((?!https:|#).*?\)", page) == []


@every_plugin
def test_the_readme_has_the_hubs_sections_in_order(packed, name):
    sections = re.findall(r"^## :(\w+):", files_in(packed / f"{name}.zip")["README.md"].decode(), flags=re.MULTILINE)

    assert sections == ["rocket", "sunny", "pencil", "mag", "fast_forward"]


@every_plugin
def test_the_readme_begins_as_the_hubs_do_with_pictures_that_are_there(packed, name):
    head, *_ = files_in(packed / f"{name}.zip")["README.md"].decode().partition("## :rocket:")
    icon, title, licence, picture = (
        re.search(pattern, head)
        for pattern in (
            rf'<img src="{HUB}/{name}/main/(.+?)"',
            r"<h1 .*>(.+)</h1>",
            r"badge/License-([\w.]+)--",
            rf"!\[.+\]\({HUB}/infer_torchvision_mnasnet/main/(.+)\)",
        )
    )

    assert icon.start() < title.start() < licence.start() < picture.start()
    assert (title[1], licence[1]) == (name, "Apache")
    assert (ROOT / icon[1]).is_file() and (ROOT / picture[1]).is_file()


@every_plugin
def test_the_icon_is_the_one_that_the_script_draws(packed, name, tmp_path, monkeypatch):
    monkeypatch.setattr(draw_icons, "FOLDER", tmp_path)
    draw_icons.main()

    with Image.open(BytesIO(files_in(packed / f"{name}.zip")[f"icons/{name}.png"])) as icon:
        with Image.open(tmp_path / f"{name}.png") as drawn:
            assert icon.tobytes() == drawn.tobytes(), "run: python tools/draw_icons.py"


@every_plugin
def test_each_plugin_looks_for_the_package_and_names_the_cure_in_the_same_words(name):
    """The text must stand in each plugin, since it is for the time when nothing of ours can be imported."""

    def guard(plugin: str) -> str:
        lines = (ROOT / plugin / f"{plugin}_process.py").read_text()
        cure = re.search(r"^FOLDER = .*?^CURE = .*?$", lines, flags=re.DOTALL | re.MULTILINE)
        refusal = re.search(r"^except ImportError.*?^    \) from error$", lines, flags=re.DOTALL | re.MULTILINE)
        return cure.group() + refusal.group()

    assert guard(name) == guard(PLUGINS[0])


@pytest.mark.slow
def test_the_same_sources_make_the_same_zips(packed, tmp_path):
    for path in pack_plugins.pack(tmp_path):
        assert path.read_bytes() == (packed / path.name).read_bytes()
