"""Train the bundled model again: everyday photos, ten classes, from scratch, on the CPU.

    python tools/train_bundled.py cifar10-train.zip --out mnasnet/models/photos10.safetensors

The zip holds ``<folder>/<class>/<image>`` with 5,000 images of 32 x 32 pixels in each of 10 classes. In each
class the file names are sorted, shuffled by ``random.Random(2026)`` and the first 500 kept aside as the test set.
The network is a point of MnasNet's space made of regular convolutions: at 64 pixels a processor trains it several
times as fast as depthwise ones. The first epochs train small images, the last ones mix sizes up to 224 pixels, so that
``input_size`` may be changed.
"""

from __future__ import annotations

import argparse
import io
import random
import time
import zipfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mnasnet import modelfile
from mnasnet.classify import Classifier
from mnasnet.modelfile import ModelFile, network_of, weights_of
from mnasnet.network.build import build
from mnasnet.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from mnasnet.spec import ArchitectureSpec, BlockSpec

TEST_SEED = 2026
TEST_PER_CLASS = 500
INPUT_SIZE = 64
NETWORK = ArchitectureSpec(
    name="photos10",
    source="tools/train_bundled.py",
    stem_channels=24,
    head_channels=512,
    blocks=(
        BlockSpec("conv", 32, stride=2),
        BlockSpec("conv", 64, repeats=2),
        BlockSpec("conv", 128, stride=2, repeats=2),
        BlockSpec("conv", 192, stride=2, repeats=2),
    ),
)
MEAN = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
STD = torch.tensor(IMAGENET_STD).view(3, 1, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zip", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--mixed-epochs", type=int, default=7)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=0.15)
    parser.add_argument("--start", type=Path, help="a model file of this script to go on from")
    parser.add_argument("--plain", action="store_true", help="only shift, zoom and flip the images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    names, train, test = read_split(options.zip)
    network = build(NETWORK, len(names), dropout=0.1).to(memory_format=torch.channels_last)
    if options.start:
        network.load_state_dict(network_of(modelfile.load(options.start)).state_dict())
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995), use_buffers=True
    )
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": 5e-4}, {"params": others, "weight_decay": 0.0}],
        lr=options.learning_rate,
        momentum=0.9,
        nesterov=True,
        foreach=True,
    )
    steps = len(train[1]) // options.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.learning_rate, total_steps=steps * options.epochs, pct_start=0.15, cycle_momentum=False
    )
    sizes = random.Random(options.seed)
    for epoch in range(options.epochs):
        began = time.monotonic()
        network.train()
        mixed = epoch >= options.epochs - options.mixed_epochs
        order = torch.randperm(len(train[1]))
        total = 0.0
        for step in range(steps):
            index = order[step * options.batch : (step + 1) * options.batch]
            size = INPUT_SIZE if options.start else batch_size_px(sizes, mixed)
            if size > 96:  # large images are dear: fewer of them in a step
                index = index[: options.batch * 96 * 96 // (size * size)]
            batch = augment(train[0][index], size, plain=options.plain)
            with torch.autocast("cpu", torch.bfloat16):  # dense convolutions gain, depthwise ones would lose
                logits = network(batch)
            loss = F.cross_entropy(logits.float(), train[1][index], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
            total += loss.item()
        seconds = time.monotonic() - began
        line = f"epoch {epoch + 1}/{options.epochs} loss {total / steps:.4f} {seconds:.0f} s"
        if epoch % 4 == 3 or epoch == options.epochs - 1 or mixed:
            line += f" test@64 {accuracy(average.module, test, 64):.4f}"
        print(line, flush=True)
        save(options.out, average.module, names, options)
    recalibrate(average.module, train[0])
    save(options.out, average.module, names, options)
    model = modelfile.load(options.out)
    answers = answers_of(Classifier(model), list(test[0].permute(0, 2, 3, 1).numpy()))
    share = sum(answer == names[label] for answer, label in zip(answers, test[1], strict=True)) / len(answers)
    metrics = {f"accuracy_at_{INPUT_SIZE}_px": share, "test_images": len(answers)}
    modelfile.save(replace(model, metrics=metrics), options.out, half=True)
    print(f"{share:.2%} of {len(answers):,} test images", flush=True)


def read_split(path: Path) -> tuple[list[str], tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Class names, then images (N x 3 x 32 x 32 uint8) and labels of the training and of the test set."""
    files = defaultdict(list)
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if not name.endswith("/"):
                files[name.split("/")[-2]].append(name)
        names = sorted(files)
        chosen = test_files(files)
        parts: dict[bool, tuple[list[np.ndarray], list[int]]] = {True: ([], []), False: ([], [])}
        for label, name in enumerate(names):
            for file in files[name]:
                pixels = np.asarray(Image.open(io.BytesIO(archive.read(file))).convert("RGB"))
                parts[file in chosen][0].append(pixels)
                parts[file in chosen][1].append(label)
    tensors = {
        kept: (torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels))
        for kept, (images, labels) in parts.items()
    }
    return names, tensors[False], tensors[True]


def test_files(files: dict[str, list[str]]) -> set[str]:
    """The file names kept aside, by the documented seed."""
    chosen = set()
    for name in sorted(files):
        shuffled = sorted(files[name])
        random.Random(TEST_SEED).shuffle(shuffled)
        chosen.update(shuffled[:TEST_PER_CLASS])
    return chosen


def batch_size_px(rng: random.Random, mixed: bool) -> int:
    """The side of the next batch's images in pixels."""
    if mixed:
        return rng.choices((64, 96, 128, 224), (0.86, 0.06, 0.04, 0.04))[0]
    return rng.choices((40, 48, 64), (0.2, 0.5, 0.3))[0]


def augment(images: Tensor, size: int, *, plain: bool = False) -> Tensor:
    """Shift, zoom, flip, light, sharpness and a hidden square; N x 3 x size x size, normalised."""
    n = len(images)
    x = images.float() / 255
    zoom = 1.0 - 0.2 * torch.rand(n)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = zoom * (1 - 2 * (torch.rand(n) < 0.5).float())  # mirrored half of the time
    theta[:, 1, 1] = zoom * (1 + 0.1 * (torch.rand(n) - 0.5))
    theta[:, :, 2] = (torch.rand(n, 2) - 0.5) * 2 * (1.2 - zoom)[:, None] * 0.6
    mode = "bicubic" if torch.rand(()) < 0.3 else "bilinear"
    grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)
    x = F.grid_sample(x, grid, mode=mode, padding_mode="reflection", align_corners=False)
    if not plain and torch.rand(()) < 0.4:  # photos of 200 px and more are sharper than enlarged thumbnails
        blurred = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        x = x + (x - blurred) * (1.5 * torch.rand(n, 1, 1, 1))
    gain = 1 + 0.2 * (torch.rand(n, 1, 1, 1) - 0.5) + 0.1 * (torch.rand(n, 3, 1, 1) - 0.5)
    mean = x.mean((1, 2, 3), keepdim=True)
    x = ((x - mean) * (1 + 0.3 * (torch.rand(n, 1, 1, 1) - 0.5)) + mean) * gain
    x = (x.clamp(0, 1) - MEAN) / STD
    hidden = size // 4
    for i in range(0 if plain else n):
        if torch.rand(()) < 0.3:
            top, left = (int(v) for v in torch.randint(0, size - hidden, (2,)))
            x[i, :, top : top + hidden, left : left + hidden] = 0
    return x.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def recalibrate(network: torch.nn.Module, images: Tensor, batches: int = 40) -> None:
    """Take the batch statistics anew at the input size that the model is used at."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain average
    network.train()
    for _ in range(batches):
        network(augment(images[torch.randperm(len(images))[:256]], INPUT_SIZE))
    network.eval()


@torch.inference_mode()
def accuracy(network: torch.nn.Module, test: tuple[Tensor, Tensor], size: int) -> float:
    """The share of test images whose most likely class is right, at ``size`` pixels."""
    network.eval()
    right = 0
    for images, labels in zip(test[0].split(100), test[1].split(100), strict=True):
        x = F.interpolate(images.float(), (size, size), mode="bilinear", antialias=True) / 255
        scores = network(((x - MEAN) / STD).contiguous(memory_format=torch.channels_last))
        right += int((scores.argmax(1) == labels).sum())
    return right / len(test[1])


def answers_of(classifier: Classifier, photos: list[np.ndarray]) -> list[str]:
    """The most likely class of each photo, through the classifier that users call."""
    starts = range(0, len(photos), 100)
    return [one.label for start in starts for one in classifier.predict(photos[start : start + 100], 1)]


def save(path: Path, network: torch.nn.Module, names: list[str], options: argparse.Namespace) -> None:
    """Write the model file that the package ships, in half precision."""
    model = ModelFile(
        architecture=network.spec,
        weights=weights_of(network),
        class_names=tuple(names),
        preprocess=Preprocess(INPUT_SIZE, INPUT_SIZE),
        training={
            "data": f"{len(names)} classes of photos, 32 x 32 pixels; {TEST_PER_CLASS} of each kept for the test, "
            f"chosen by seed {TEST_SEED}",
            "epochs": options.epochs,
            "went_on_from_a_training": options.start is not None,
            "input_sizes": [INPUT_SIZE, INPUT_SIZE],  # the smallest and the largest that it may be used at
            "mixed_size_epochs": options.mixed_epochs,
            "batch_size": options.batch,
            "learning_rate": options.learning_rate,
            "seed": options.seed,
        },
        name="photos10",
    )
    modelfile.save(model, path, half=True)


if __name__ == "__main__":
    main()
