"""Make the photographs of the documentation: real trainings and a search on images that packages bring along.

python tools/docs_pictures.py [SEARCH_RUN]

With the folder of a search that was made by SEARCH below, only its pictures.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

import demo

IMAGES = demo.ROOT / "docs" / "images"
# a space and a size for minutes; the target lies among its networks' latencies, so that some are too slow
SEARCH = (
    "search digits --target-ms 0.34 --trials 20 --minutes 0 --space tiny --input-size 64 --evaluator short "
    "--proxy-epochs 3 --train-threads 1 --finalists 3 --finalist-epochs 6 --final-epochs 15 --profile false "
    "--references false --flip false --name digits"
)


def main() -> None:
    if len(sys.argv) > 1:
        search_pictures(Path(sys.argv[1]))
        return
    demo.main()
    for made, kept in (
        ("classified_chelsea", "classified_cat"),
        ("digits_classified", "classified_digits"),
        ("digits_curves", "digits_curves"),
        ("digits_confusion", "digits_confusion"),
    ):
        small(Image.open(demo.DEMO / f"{made}.png"), IMAGES / f"{kept}.png")
    print(f"python -m mnasnet {SEARCH}")
    subprocess.run([sys.executable, "-m", "mnasnet", *SEARCH.split()], cwd=demo.DEMO, check=True)
    search_pictures(max((demo.DEMO / "runs" / "search").glob("digits*"), key=lambda path: path.stat().st_mtime))


def search_pictures(run: Path) -> None:
    """What a search on digits shows: its trade-offs, and the top of its report in a real browser."""
    shutil.copy(run / "pareto.png", IMAGES / "digits_pareto.png")
    sys.path.insert(0, str(demo.ROOT / "tests"))
    from browser import Browser

    whole = IMAGES / "search_report.png"
    page = run / "page.html"  # under another name than the report's it shows no path of this machine
    shutil.copy(run / "report.html", page)
    browser = Browser()
    try:
        browser.open(page, width=1100)
        browser.screenshot(whole)
    finally:
        browser.close()
        page.unlink()
    picture = Image.open(whole).convert("RGB")
    small(picture.crop((0, 0, picture.width, min(picture.height, 1500))), whole)


def small(picture: Image.Image, path: Path, width: int = 1000) -> None:
    """Save ``picture`` at most ``width`` pixels wide, with a palette: charts need few colours."""
    picture = picture.convert("RGB")
    if picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    if path.stem != "classified_cat":  # a photo
        # rare colours are kept: those of a few points in a chart
        picture = picture.quantize(128, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    picture.save(path, optimize=True)


if __name__ == "__main__":
    main()
