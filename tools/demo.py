"""The main job on real images, with no download beyond packages: ``make demo``.

Runs real Ikomia workflows in a home folder of its own, ``demo/home``, so that yours stays untouched, and names
every picture it writes.
"""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "demo"
SEARCH_SIZE_PX = 64
PROMISED = 0.97  # of the held-out digits, by the network that was trained
SHORT_SEARCH = {
    "space": "tiny",
    "minutes": 0,
    "trials": 6,
    "evaluator": "short",
    "proxy_epochs": 3,
    "finalists": 2,
    "finalist_epochs": 4,
    "final_epochs": 15,
    "references": False,  # the demo is for minutes
    "profile": False,
    "flip": False,  # a mirrored digit is another sign
}


def main() -> None:
    began = time.monotonic()
    prepare_home()
    classify(write_photos(DEMO / "photos"))
    digits = write_digits(DEMO / "digits")
    train_and_classify(digits)
    search_and_classify(digits)
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


def write_digits(folder: Path) -> Path:
    """The 1,797 handwritten digits that come with scikit-learn, as a user would bring them: 70 % train, 10 % val.

    The other 20 %, in ``test``, are looked at when training is over.
    """
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    splits = ("test", "train", "train", "train", "val", "test", "train", "train", "train", "train")
    for index, (ink, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        target = folder / splits[index % len(splits)] / str(digit)
        target.mkdir(parents=True, exist_ok=True)
        grey = 255 - np.clip(16 * ink, 0, 255).astype(np.uint8)  # 8 x 8 with 0 to 16: dark ink on white paper
        Image.fromarray(grey).resize((32, 32), Image.Resampling.BICUBIC).save(target / f"{index:04d}.png")
    return folder


def train_and_classify(digits: Path) -> None:
    """Train on a folder in one Ikomia workflow, then classify in another."""
    from ikomia.dataprocess.workflow import Workflow
    from PIL import Image

    print("\nTrain: an Ikomia workflow with train_torchvision_mnasnet, on 1,257 handwritten digits\n")
    workflow = Workflow("train")
    training = workflow.add_task(name="train_torchvision_mnasnet", auto_connect=True, public_hub=False)
    training.set_parameters({"flip": False})  # a mirrored digit is another sign
    workflow.set_directory_input(folder=str(digits))
    began = time.monotonic()
    workflow.run()
    model = training.get_output(0).get_path()
    for index, name in ((1, "curves"), (2, "confusion")):
        Image.fromarray(training.get_output(index).get_image()).save(DEMO / f"digits_{name}.png")
    print(f"\n  trained in {time.monotonic() - began:.0f} s")
    right = classify_digits(model, digits, DEMO / "digits_classified.png")
    if right < PROMISED:
        raise SystemExit(f"the trained network should name {PROMISED:.0%} of the digits, not {right:.1%}")
    print(f"  pictures: {DEMO / 'digits_classified.png'}, digits_curves.png and digits_confusion.png beside it")


def search_and_classify(digits: Path) -> None:
    """Search for this machine's processor in one Ikomia workflow, then classify with the winner in another."""
    from ikomia.dataprocess.workflow import Workflow
    from PIL import Image

    from mnasnet import architecture
    from mnasnet.latency.meters import open_meter
    from mnasnet.search.curriculum import cheapest_and_dearest
    from mnasnet.spaces import space

    ends = cheapest_and_dearest(space(SHORT_SEARCH["space"]), SEARCH_SIZE_PX)
    networks = [*(end.architecture for end in ends), architecture("mnasnet_small")]
    meter = open_meter("onnxruntime", num_classes=10)
    small_ms, large_ms, known_ms = (meter.measure(one, SEARCH_SIZE_PX).undisturbed_ms for one in networks)
    target_ms = (small_ms + large_ms) / 2
    print("\nSearch: an Ikomia workflow with search_mnasnet, for this machine's processor\n")
    print(f"  networks of the space take {small_ms:.3f} to {large_ms:.3f} ms here, MnasNet-small {known_ms:.3f} ms")
    print(f"  asked for: at most {target_ms:.3f} ms\n")
    workflow = Workflow("search")
    search = workflow.add_task(name="search_mnasnet", auto_connect=True, public_hub=False)
    search.set_parameters({"target_latency_ms": target_ms, "input_size": SEARCH_SIZE_PX, **SHORT_SEARCH})
    workflow.set_directory_input(folder=str(digits))
    began = time.monotonic()
    workflow.run()
    Image.fromarray(search.get_output(1).get_image()).save(DEMO / "digits_pareto.png")
    print(f"\n  searched and trained the winner in {time.monotonic() - began:.0f} s")
    classify_digits(search.get_output(0).get_path(), digits, DEMO / "digits_of_the_winner.png")
    print(f"  pictures: {DEMO / 'digits_pareto.png'}, digits_of_the_winner.png beside it")
    print(f"  report: {json.loads(search.get_output(5).to_json())['report']}")


def classify_digits(model: str, digits: Path, picture: Path) -> float:
    """Classify what the training never saw in an Ikomia workflow and draw some of it: the share that is right."""
    from ikomia.dataprocess.workflow import Workflow

    workflow = Workflow("digits")
    task = workflow.add_task(name="infer_torchvision_mnasnet", auto_connect=True, public_hub=False)
    task.set_parameters({"model_weight_file": model})
    logging.getLogger("ikomia").setLevel(logging.WARNING)  # not one line a digit
    answers = []
    for path in sorted((digits / "test").rglob("*.png")):
        workflow.run_on(path=str(path))
        name, confidence = task.get_results()[0]
        answers.append((path, name, confidence))
    right = sum(name == path.parent.name for path, name, _ in answers)
    print(f"  held-out digits: {right} of {len(answers)} right, {right / len(answers):.1%}")
    draw_answers(answers, picture)
    return right / len(answers)


def draw_answers(answers: list[tuple[Path, str, float]], target: Path, columns: int = 8, rows: int = 4) -> None:
    """A board of digits with the class that was found, wrong ones first, in red."""
    from PIL import Image, ImageDraw, ImageFont

    wrong = [answer for answer in answers if answer[1] != answer[0].parent.name]
    others = [answer for answer in answers if answer not in wrong]
    count = max(1, columns * rows - len(wrong))
    chosen = (wrong + others[:: max(1, len(others) // count)])[: columns * rows]
    side, line = 96, 26
    board = Image.new("RGB", (columns * (side + 16) + 16, rows * (side + line + 16) + 16), "white")
    draw, font = ImageDraw.Draw(board), ImageFont.load_default(18)
    for place, (path, name, confidence) in enumerate(chosen):
        left, top = 16 + place % columns * (side + 16), 16 + place // columns * (side + line + 16)
        board.paste(Image.open(path).convert("RGB").resize((side, side), Image.Resampling.NEAREST), (left, top))
        draw.rectangle((left, top, left + side, top + side), outline="#b0b0b0")
        colour = "#1a1a1a" if name == path.parent.name else "#c02020"
        draw.text((left, top + side + 2), f"{name}  {confidence:.0%}", fill=colour, font=font)
    board.save(target)


if __name__ == "__main__":
    main()
