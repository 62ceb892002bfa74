"""A search's design beside the published networks at the same latency, by more than one seed.

    python -m mnasnet promote RUN --references     # scales, trains and measures them once
    python benchmarks/equal_latency.py RUN --seeds 3

Seed 0 is what ``promote`` left in ``RUN/references``: fresh weights, one recipe, one division of the images. Every
other seed trains the same networks again, weights and order of images being all that differs, and keeps them in
``RUN/references_by_seed``: a run that was killed goes on where it was. Printed are test accuracies and how far the
design is ahead, its error being that of the seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

from mnasnet import modelfile
from mnasnet.data.folder import scan
from mnasnet.data.split import read_split
from mnasnet.latency.session import device_name
from mnasnet.modelfile import ModelFile
from mnasnet.train.plan import Training
from mnasnet.train.run import resume, train
from mnasnet.train.run_folder import RunFolder, read_yaml

DESIGN = "trial"  # what the folder of a search's own design begins with


@dataclass(frozen=True)
class Network:
    """A network that was trained as all others were, and its test accuracy by each seed."""

    run: RunFolder
    model: ModelFile
    accuracies: list[float]

    @property
    def name(self) -> str:
        return self.run.path.name

    @property
    def is_design(self) -> bool:
        return self.name.startswith(DESIGN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a search that was promoted with --references")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    folders = sorted(path for path in (options.run / "references").glob("*") if RunFolder(path).best.exists())
    if not any(path.name.startswith(DESIGN) for path in folders) or len(folders) < 2:
        parser.error(
            f"{options.run} has no references with a design; run: python -m mnasnet promote {options.run} --references"
        )
    print(f"machine: {device_name()}, date: {time.strftime('%Y-%m-%d')}, seeds: {options.seeds}", flush=True)
    networks = [first(RunFolder(path)) for path in folders]
    for seed in range(1, options.seeds):
        for network in networks:
            network.accuracies.append(accuracy_by(seed, network, options.run / "references_by_seed"))
            print(f"  seed {seed}  {network.name:36} {network.accuracies[-1]:.2%}", flush=True)
    print_table(networks)


def first(run: RunFolder) -> Network:
    """What ``promote`` trained."""
    model = modelfile.load(run.best)
    return Network(run, model, [float(model.metrics["test_accuracy"])])


def accuracy_by(seed: int, network: Network, folder: Path) -> float:
    """Test accuracy of the same training by another seed; an unfinished one goes on."""
    run = RunFolder(folder / f"{network.name}_seed{seed}")
    finished = run.best.exists() and "test_accuracy" in modelfile.load(run.best).metrics
    if not finished and run.arguments.exists():
        resume(run.path)
    elif not finished:
        asked = Training.from_dict(read_yaml(network.run.arguments)["asked"])
        again = replace(asked, seed=seed, output_folder=folder, name=run.path.name, report=False, max_minutes=0.0)
        train(again, parts=read_split(network.run.split, scan(asked.data)))
    return float(modelfile.load(run.best).metrics["test_accuracy"])


def print_table(networks: list[Network]) -> None:
    """Each network's accuracy and latency, and the lead of the first design over it, seed by seed."""
    design = next(network for network in networks if network.is_design)
    images = int(design.model.metrics["test_images"])
    print(f"\n{'':36} {'measured':>9} {'test accuracy of ' + str(images) + ' images':32} lead of the design")
    for network in sorted(networks, key=lambda one: -statistics.mean(one.accuracies)):
        latency = network.model.latencies[0]["undisturbed_ms"] if network.model.latencies else float("nan")
        print(f"  {network.name:34} {latency:6.2f} ms {spread(network.accuracies):32} {lead(design, network)}")
    found = {network.name: network.accuracies for network in networks}
    print(json.dumps({"test_images": images, "test_accuracy": found}))


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.2%} ({min(values):.2%} to {max(values):.2%})"


def lead(design: Network, other: Network) -> str:
    """Points of accuracy, mean and its standard error over the seeds."""
    if other is design:
        return ""
    points = [100 * (ours - theirs) for ours, theirs in zip(design.accuracies, other.accuracies, strict=True)]
    error = f" +- {statistics.stdev(points) / len(points) ** 0.5:.1f}" if len(points) > 1 else ""
    return f"{statistics.mean(points):+.1f}{error} points"


if __name__ == "__main__":
    main()
