"""The main job on real images, with no download beyond packages: ``make demo``.

Runs real Ikomia workflows in a home folder of its own, ``demo/home``, so that yours stays untouched, and names
every picture it writes.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "demo"


def main() -> None:
    began = time.monotonic()
    prepare_home()
    photos = write_photos(DEMO / "photos")
    classify(photos)
    print(f"\nthe demo took {time.monotonic() - began:.0f} s; all pictures are in {DEMO}")


def prepare_home() -> None:
    """A fresh home for Ikomia with this checkout's plugins; must run before ``import ikomia``."""
    import install_plugins

    home = DEMO / "home"
    home.mkdir(parents=True, exist_ok=True)
    os.environ["HOME"] = os.environ["USERPROFILE"] = str(home)
    os.environ["IKOMIA_AUTO_COMPLETION"] = "false"
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    install_plugins.install(home)


def write_photos(folder: Path) -> list[Path]:
    """Real photos that come with scikit-image."""
    import skimage
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in ("chelsea.png", "rocket.jpg", "motorcycle_left.png", "coffee.png"):
        source = Path(skimage.__file__).parent / "data" / name
        path = folder / f"{source.stem}.jpg"
        Image.open(source).convert("RGB").save(path, quality=92)
        paths.append(path)
    return paths


def classify(photos: list[Path]) -> None:
    """Each photo through an Ikomia workflow, annotated as STUDIO would show it."""
    from ikomia.dataprocess.workflow import Workflow
    from PIL import Image

    print("\nClassify: an Ikomia workflow with infer_torchvision_mnasnet and the bundled model\n")
    workflow = Workflow("classify")
    task = workflow.add_task(name="infer_torchvision_mnasnet", auto_connect=True, public_hub=False)
    task.set_parameters({"top_k": "3", "confidence_threshold": "0.5"})
    for photo in photos:
        workflow.run_on(path=str(photo))
        target = DEMO / f"classified_{photo.stem}.png"
        Image.fromarray(task.get_image_with_graphics()).save(target)
        (name, confidence), *_ = task.get_results()
        print(f"  {photo.name:22} {name:12} {confidence:6.1%}   {target}")


if __name__ == "__main__":
    main()
