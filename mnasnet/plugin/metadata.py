"""What the HUB shows of the three plugins and has in common for all of them."""

from __future__ import annotations

from typing import Any

from ikomia import core

HOME = "https://github.com/Ikomia-hub"


def describe(
    info: Any,
    *,
    name: str,
    version: str,
    short_description: str,
    keywords: str,
    algo_type: core.AlgoType,
    algo_tasks: str,
    min_cpu: int,
    min_ram_gb: int,
) -> None:
    """Fill the ``info`` of a task factory; ``keywords`` are separated by commas."""
    info.name = name
    info.version = version
    info.short_description = short_description
    info.keywords = keywords
    info.algo_type = algo_type
    info.algo_tasks = algo_tasks
    info.hardware_config.min_cpu = min_cpu
    info.hardware_config.min_ram = min_ram_gb
    info.hardware_config.gpu_required = False
    info.hardware_config.min_vram = 0
    info.path = "Plugins/Python/Classification"
    info.icon_path = f"icons/{name}.png"
    info.repository = info.documentation_link = f"{HOME}/{name}"
    info.original_repository = "https://github.com/tensorflow/tpu/tree/master/models/official/mnasnet"
    info.license = "Apache-2.0"
    info.authors = "M. Tan, B. Chen, R. Pang, V. Vasudevan, M. Sandler, A. Howard, Q. V. Le"
    info.article = "MnasNet: Platform-Aware Neural Architecture Search for Mobile"
    info.article_url = "https://arxiv.org/abs/1807.11626"
    info.journal = "Conference on Computer Vision and Pattern Recognition (CVPR)"
    info.year = 2019
    info.min_ikomia_version = "0.16.0"
    info.min_python_version = "3.10.0"
    info.max_python_version = "3.13.0"
