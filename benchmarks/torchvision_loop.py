"""The peer of ``benchmarks/training.py``: torchvision's reference classification loop, done plainly.

    python benchmarks/torchvision_loop.py FOLDER --network mnasnet0_5 --epochs 2

``FOLDER`` holds ``train/`` and ``val/``. Images are opened by PIL and changed by v2 transforms in DataLoader workers;
tensors are contiguous, numbers fp32, the optimiser is SGD. The numbers are the defaults of torchvision's
``references/classification/train.py``: batch 32, learning rate 0.1, momentum 0.9, weight decay 1e-4, a tenth of the
rate every 30 epochs, random resized crop and mirror, no smoothing, no averaging. Each epoch prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from mnasnet.network.build import build
from mnasnet.preprocess import IMAGENET_MEAN, IMAGENET_STD
from mnasnet.presets import PRESETS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--network", default="mnasnet0_5", help="a name of torchvision.models or of our presets")
    parser.add_argument("--input-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=90)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    train, val = loaders(options.folder, options.input_size, options.batch, options.workers)
    model = network(options.network, len(train.dataset.classes))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), options.learning_rate, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30, gamma=0.1)
    for epoch in range(options.epochs):
        began = time.perf_counter()
        loss = train_one_epoch(model, criterion, optimizer, train)
        train_seconds = time.perf_counter() - began
        schedule.step()
        accuracy = evaluate(model, val)
        line = {
            "epoch": epoch + 1,
            "loss": loss,
            "accuracy": accuracy,
            "train_seconds": train_seconds,
            "seconds": time.perf_counter() - began,
        }
        print(json.dumps(line), flush=True)


def network(name: str, classes: int) -> nn.Module:
    """Torchvision's network of this name, or one that torchvision lacks, from our builder."""
    if name in PRESETS and not hasattr(torchvision.models, name):
        return build(PRESETS[name], classes)
    return torchvision.models.get_model(name, weights=None, num_classes=classes)


def loaders(folder: Path, size: int, batch: int, workers: int) -> tuple[DataLoader, DataLoader]:
    to_tensor = [
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        v2.ToPureTensor(),
    ]
    changing = v2.Compose([v2.RandomResizedCrop(size, antialias=True), v2.RandomHorizontalFlip(), *to_tensor])
    # 256 to 224, as for ImageNet, in proportion
    fixed = v2.Compose([v2.Resize(round(size * 256 / 224), antialias=True), v2.CenterCrop(size), *to_tensor])
    train, val = ImageFolder(str(folder / "train"), changing), ImageFolder(str(folder / "val"), fixed)
    return (
        DataLoader(train, batch, shuffle=True, num_workers=workers),
        DataLoader(val, batch, num_workers=workers),
    )


def train_one_epoch(
    model: nn.Module, criterion: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader
) -> float:
    """The mean loss."""
    model.train()
    total = 0.0
    for images, labels in loader:
        loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(images)
    return total / len(loader.dataset)


@torch.inference_mode()
def evaluate(model: nn.Module, loader: DataLoader) -> float:
    """The share of images whose most likely class is right."""
    model.eval()
    right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in loader)
    return right / len(loader.dataset)


if __name__ == "__main__":
    main()
