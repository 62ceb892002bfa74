"""The bundled model on the 5,000 photos kept aside, through the classifier that users call.

    python tools/evaluate_bundled.py cifar10-train.zip [--model photos10]

Prints the accuracy as thumbnails and enlarged to 256 px, and each class's recall.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from train_bundled import answers_of, read_split

from mnasnet.classify import Classifier
from mnasnet.train.evaluate import wilson_interval


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zip", type=Path)
    parser.add_argument("--model", default="photos10")
    options = parser.parse_args()
    names, _, (images, labels) = read_split(options.zip)
    thumbnails = [image.permute(1, 2, 0).numpy() for image in images]
    enlarged = [np.asarray(Image.fromarray(image).resize((256, 256), Image.Resampling.BICUBIC)) for image in thumbnails]
    truth = [names[label] for label in labels.tolist()]
    classifier = Classifier.load(options.model)
    for kind, photos in (("thumbnails", thumbnails), ("enlarged to 256 px", enlarged)):
        right = [answer == name for answer, name in zip(answers_of(classifier, photos), truth, strict=True)]
        print(f"{kind:19} {percent(sum(right), len(right))}", flush=True)
        for name in names if kind == "thumbnails" else ():
            of_class = [one for one, its in zip(right, truth, strict=True) if its == name]
            print(f"    {name:12} {percent(sum(of_class), len(of_class))}")


def percent(right: int, total: int) -> str:
    """The share with its 95 % Wilson interval."""
    low, high = wilson_interval(right, total)
    return f"{right / total:6.2%}  ({low:.1%} to {high:.1%}, {total} photos)"


if __name__ == "__main__":
    main()
