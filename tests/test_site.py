"""The documentation as a site, built as `make docs` does and opened in a real browser."""

import os
import re
import subprocess
import sys

import pytest
from browser import CHROMIUM, Browser
from documents import ROOT

pytest.importorskip("mkdocs")
PHONE_PX = 390
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", site],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=True,
    )
    return sorted(site.glob("*.html"))


def test_no_page_loads_anything_from_elsewhere(pages):
    loads = re.compile(r'<(?:img|script|iframe)[^>]* src="http|<link[^>]* rel="(?:stylesheet|icon)"[^>]* href="http')

    assert [page.name for page in pages if loads.search(page.read_text(encoding="utf-8"))] == []


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_every_page_fits_a_phone(pages):
    browser = Browser()
    try:
        wide = []
        for page in pages:
            browser.open(page, width=PHONE_PX)
            if browser.run("document.documentElement.scrollWidth") > PHONE_PX:
                wide.append(page.name)
    finally:
        browser.close()

    assert wide == []


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_no_drawing_lies_as_a_white_plate_on_a_dark_page(pages):
    (page,) = [page for page in pages if page.name == "how_the_search_works.html"]
    browser = Browser()
    try:
        browser.open(page, dark=True)
        drawings = "[...document.querySelectorAll('.md-content img')]"
        filters = browser.run(f"{drawings}.map(image => getComputedStyle(image).filter)")
    finally:
        browser.close()

    assert filters
    assert [drawn for drawn in filters if "invert(1)" not in drawn] == []
