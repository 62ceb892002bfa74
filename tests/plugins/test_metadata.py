"""What the HUB and STUDIO show of the three plugins."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("ikomia")

from ikomia.core import AlgoType
from ikomia.dataprocess.registry import ik_registry
from PIL import Image

from tests.plugins.own_process import ROOT

pytestmark = pytest.mark.ikomia

every_plugin = pytest.mark.parametrize(
    "name", ["infer_torchvision_mnasnet", "train_torchvision_mnasnet", "search_mnasnet"]
)


@pytest.fixture
def info(name):
    ik_registry.create_algorithm(name, public_hub=False)
    return ik_registry.get_algorithm_info(name)


@every_plugin
def test_the_hubs_fields_are_filled(info, name):
    assert info.name == name
    for field in ("short_description", "authors", "article", "article_url", "journal", "repository", "keywords"):
        assert getattr(info, field), field
    assert info.license == "Apache-2.0"


@pytest.mark.parametrize(
    ("name", "kind", "tasks"),
    [
        ("infer_torchvision_mnasnet", AlgoType.INFER, "CLASSIFICATION"),
        ("train_torchvision_mnasnet", AlgoType.TRAIN, "CLASSIFICATION"),
        ("search_mnasnet", AlgoType.OTHER, "OTHER"),
    ],
)
def test_each_plugin_is_of_its_kind(info, kind, tasks):
    assert (info.algo_type, info.algo_tasks) == (kind, tasks)


@every_plugin
def test_the_icon_is_a_square_png(info):
    with Image.open(ROOT / info.icon_path) as icon:
        assert icon.format == "PNG" and icon.size == (256, 256)


@every_plugin
def test_versions_are_what_the_hub_compares(info):
    for version in (info.version, info.min_ikomia_version, info.min_python_version, info.max_python_version):
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert info.max_ikomia_version == ""  # no end is known


@every_plugin
def test_the_pythons_are_those_of_the_package(info):
    lowest = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())[1]

    assert info.min_python_version == f"{lowest}.0"
    assert info.os.name == "ALL"


@every_plugin
def test_a_small_machine_without_a_gpu_is_enough(info):
    hardware = info.hardware_config

    assert 1 <= hardware.min_cpu <= 2 and 1 <= hardware.min_ram <= 8  # cores, GB
    assert (hardware.gpu_required, hardware.min_vram) == (False, 0)


@every_plugin
def test_keywords_are_words_between_commas_once_each(info):
    keywords = info.keywords.split(",")

    assert "mnasnet" in keywords and len(set(keywords)) == len(keywords)
    assert [word for word in keywords if not re.fullmatch(r"[\w -]+", word) or word != word.strip()] == []


@every_plugin
def test_the_article_is_the_papers_and_links_lead_to_the_plugin(info, name):
    assert (info.article, info.year) == ("MnasNet: Platform-Aware Neural Architecture Search for Mobile", 2019)
    assert info.article_url == "https://arxiv.org/abs/1807.11626"
    assert info.repository == info.documentation_link == f"https://github.com/Ikomia-hub/{name}"
    assert info.path == "Plugins/Python/Classification"
