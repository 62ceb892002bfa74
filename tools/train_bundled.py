"""Train the bundled model again: everyday photos, ten classes, from scratch, on the CPU.

    python tools/train_bundled.py cifar10-train.zip --out mnasnet/models/photos10.safetensors

The zip holds ``<folder>/<class>/<image>`` with 5,000 images of 32 x 32 pixels in each of 10 classes. In each
class the file names are sorted, shuffled by ``random.Random(2026)`` and the first 500 kept aside as the test set.
The network is a point of MnasNet's space made of regular convolutions: at 64 pixels a processor trains it several
times as fast as depthwise ones. Most images are only mirrored and moved by whole pixels, which blurs nothing.
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
from mnasnet.modelfile import ModelFile, weights_of
from mnasnet.network.build import build
from mnasnet.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from mnasnet.spec import ArchitectureSpec, BlockSpec

TEST_SEED = 2026
TEST_PER_CLASS = 500
INPUT_SIZE = 64
OPEN_EPOCHS = 4  # the last ones, in which no part of an image is hidden
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
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    names, train, test = read_split(options.zip)
    network = build(NETWORK, len(names), dropout=0.1).to(memory_format=torch.channels_last)
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
        optimizer,
        options.learning_rate,
        total_steps=steps * options.epochs,
        pct_start=0.15,
        anneal_strategy="linear",
        cycle_momentum=False,
        final_div_factor=1000,
    )
    for epoch in range(options.epochs):
        began = time.monotonic()
        network.train()
        order = torch.randperm(len(train[1]))
        total = 0.0
        for step in range(steps):
            index = order[step * options.batch : (step + 1) * options.batch]
            batch = augment(train[0][index], hide=epoch < options.epochs - OPEN_EPOCHS)
            with torch.autocast("cpu", torch.bfloat16):  # a gain on processors with instructions for it alone
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
        if epoch % 4 == 3 or epoch == options.epochs - 1:
            line += f" test@64 {accuracy(average.module, test, 64):.4f}"
        print(line, flush=True)
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


def augment(images: Tensor, *, hide: bool) -> Tensor:
    """Mirror and move all images, zoom, sharpen and light some, hide a square of half of them; as network input."""
    n = len(images)
    zoom = torch.where(torch.rand(n, 1) < 0.3, 1 + 0.2 * (torch.rand(n, 2) - 0.5), torch.ones(n, 2))
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = zoom[:, 0] * (1 - 2 * (torch.rand(n) < 0.5).float())
    theta[:, 1, 1] = zoom[:, 1]
    theta[:, :, 2] = torch.randint(-3, 4, (n, 2)) * (2 / images.shape[-1])  # whole pixels
    grid = F.affine_grid(theta, [n, 3, INPUT_SIZE, INPUT_SIZE], align_corners=False)
    mode = "bicubic" if torch.rand(()) < 0.3 else "bilinear"
    x = F.grid_sample(images.float() / 255, grid, mode=mode, padding_mode="reflection", align_corners=False)
    if torch.rand(()) < 0.3:  # photos of 200 px and more are sharper than enlarged thumbnails
        x = x + (x - F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)) * (1.5 * torch.rand(n, 1, 1, 1))
    mean = x.mean((1, 2, 3), keepdim=True)
    contrast = 1 + 0.2 * (torch.rand(n, 1, 1, 1) - 0.5)
    light = 1 + 0.1 * (torch.rand(n, 1, 1, 1) - 0.5) + 0.05 * (torch.rand(n, 3, 1, 1) - 0.5)
    x = normalised((((x - mean) * contrast + mean) * light).clamp(0, 1))
    for i in torch.nonzero(torch.rand(n) < 0.5).flatten().tolist() if hide else ():
        half = int(torch.randint(INPUT_SIZE // 8, INPUT_SIZE // 4 + 1, ()))
        y, z = torch.randint(0, INPUT_SIZE, (2,)).tolist()
        x[i, :, max(0, y - half) : y + half, max(0, z - half) : z + half] = 0
    return x


def normalised(images: Tensor) -> Tensor:
    """Values of 0 to 1 as the network takes them."""
    return ((images - MEAN) / STD).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def accuracy(network: torch.nn.Module, test: tuple[Tensor, Tensor], size: int) -> float:
    """The share of test images whose most likely class is right, at ``size`` pixels."""
    network.eval()
    right = 0
    for images, labels in zip(test[0].split(100), test[1].split(100), strict=True):
        x = F.interpolate(images.float(), (size, size), mode="bilinear", antialias=True) / 255
        right += int((network(normalised(x)).argmax(1) == labels).sum())
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
            "input_sizes": [INPUT_SIZE, INPUT_SIZE],  # the smallest and the largest that it may be used at
            "batch_size": options.batch,
            "learning_rate": options.learning_rate,
            "seed": options.seed,
        },
        name="photos10",
    )
    modelfile.save(model, path, half=True)


if __name__ == "__main__":
    main()
