"""A MkDocs hook: pages of the site that lie elsewhere in the repository, and links that fit both places.

A text exists once: the README is the site's first page, and its links are written for those who read the repository.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from error_catalogue import messages_page

ROOT = Path(__file__).resolve().parent.parent
SOURCE = "https://github.com/Ikomia-hub/infer_torchvision_mnasnet/blob/main"
RAW = "https://raw.githubusercontent.com/Ikomia-hub/infer_torchvision_mnasnet/main/"  # pictures as the HUB shows them
#: page of the site -> its text in the repository; the texts in docs/ are pages under their own names
ELSEWHERE = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "benchmarks.md": "benchmarks/README.md",
    "search_algorithms.md": "benchmarks/search_algorithms.md",
    "infer_torchvision_mnasnet.md": "infer_torchvision_mnasnet/README.md",
    "train_torchvision_mnasnet.md": "train_torchvision_mnasnet/README.md",
    "search_mnasnet.md": "search_mnasnet/README.md",
}
LOGO = "icons/infer_torchvision_mnasnet.png"
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_BADGES = re.compile(r"\A<div.*</p>\s*", re.DOTALL)
_SIGN = re.compile(r"^(#+ ):\w+: ", re.MULTILINE)  # the HUB's pictures before headings


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie outside ``docs/``."""
    from mkdocs.structure.files import File

    for page, path in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    files.append(File.generated(config, "images/logo.png", abs_src_path=str(ROOT / LOGO)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turn links for readers of the repository into links for readers of the site."""
    place = page.file.src_uri
    source = ELSEWHERE.get(place, f"docs/{place}")
    markdown, badges = _BADGES.subn("", markdown)
    if badges:  # a page of the HUB: its head is made for there
        markdown = f"# {Path(source).parent.name}\n\n" + _SIGN.sub(r"\1", markdown)
    if place == "errors.md":  # made here, so that no change of a message has to be repeated in docs/
        markdown += f"\n{messages_page()}"
    return with_site_links(markdown, source, place)


def with_site_links(markdown: str, source: str, place: str) -> str:
    """``markdown`` of the repository file ``source`` with links that work on the site's page ``place``."""
    pages = {path: page for page, path in ELSEWHERE.items()}

    def rewritten(link: re.Match[str]) -> str:
        opening, target, anchor, closing = link.groups(default="")
        if target.startswith(RAW):
            path = target.removeprefix(RAW)
        elif ":" in target:
            return link.group()
        else:
            path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        inside = pages.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else "")
        shown = posixpath.relpath(inside, posixpath.dirname(place) or ".") if inside else f"{SOURCE}/{path}"
        return f"{opening}{shown}{anchor}{closing}"

    return _LINK.sub(rewritten, markdown)
