"""A search with shared weights against one that trains every network: order, cost, result and budgets.

    python benchmarks/shared_weights.py --zip cifar10-train.zip --out runs/shared_weights

The zip holds ``<folder>/<class>/<image>``, 5,000 photos of 32 x 32 pixels in each of 10 classes; 500 of each are the
test, chosen by the seed of ``tools/train_bundled.py``. Of the others a tenth validates
(``--val-fraction``), the rest trains. Five parts:

* repeat: the order of networks by shared weights on one half of the validation photos against that on the other, by
  the share of right answers and by the mean probability of the right class: an order that does not repeat is noise;
* ranking: networks spread over the space are trained alone for a few epochs; Kendall's tau of shared weights,
  parameter count, multiply-adds and synaptic flow against that, with 95 % intervals;
* budgets: for each of several latency budgets (ONNX Runtime, one thread) a search with shared weights, ``--finalists``
  compared by short training as in ``python -m mnasnet search``, and the best measured afresh;
* cost: the hours of supernet, searches and finalists against those of as many networks by short training;
* result: the found networks, for each budget the largest that was judged, and MobileNetV2, MnasNet-A1 and B1 at the
  middle budget, all trained alike.

Everything is kept in ``--out``: a run that was killed goes on where it was. ``--images``, ``--candidates``, the epochs
and ``--trials`` scale it down; what is printed says what was run. Photos have 32 pixels, so stems do not reduce them:
the space and the published networks all have stem stride 1.
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray

from mnasnet.data.folder import Dataset, scan
from mnasnet.files import write_atomic
from mnasnet.latency.agreement import kendall_tau
from mnasnet.latency.isolated import IsolatedMeter
from mnasnet.latency.remembered import RememberingMeter, quietest
from mnasnet.latency.table import TableMeter
from mnasnet.machine import usable_cores
from mnasnet.network.build import build
from mnasnet.network.count import count
from mnasnet.search.counts import CountMeter
from mnasnet.search.curriculum import Curriculum, Rule
from mnasnet.search.device import LatencyCost, profiled
from mnasnet.search.images import SearchImages, divide
from mnasnet.search.problem import Evaluator, Report, SearchProblem
from mnasnet.search.ranking import RankedNetwork, Ranking, check_ranking, recorded, spread
from mnasnet.search.records import TrialRecord, records, winner
from mnasnet.search.references import REFERENCES, at_cost
from mnasnet.search.shared_weights import SharedWeights
from mnasnet.search.short_training import ShortTraining
from mnasnet.search.storage import open_storage
from mnasnet.search.study import Budget, create_study, search
from mnasnet.space import Candidate
from mnasnet.spaces import around_a1_space
from mnasnet.spec import ArchitectureSpec
from mnasnet.train.checkpoint import CheckpointStore
from mnasnet.train.evaluate import true_class_probabilities
from mnasnet.train.events import EpochEnded, Event
from mnasnet.train.objective import predict_logits
from mnasnet.train.own_thread import in_own_thread
from mnasnet.train.recipe import recipe_for
from mnasnet.train.report import machine_description
from mnasnet.train.team import Team
from mnasnet.train.trainer import fit

PIXELS = 32
TEST_PER_CLASS, TEST_SEED = 500, 2026  # as in tools/train_bundled.py
SPACE = replace(around_a1_space(), name="photos", stem_stride=1, widths=(0.2, 0.35, 0.5))
COMPARED = ("MobileNetV2", "MnasNet-A1", "MnasNet-B1")
QUANTILES = (0.15, 0.3, 0.45, 0.6, 0.75)  # of the space's latencies: the budgets where none are given
PAUSED = 100  # times the middle one: no trial of a search lasts so long
SAMPLE = 40  # networks whose latencies the budgets are taken from


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zip", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/shared_weights"))
    parser.add_argument("--images", type=int, default=45_000, help="photos to learn from and to validate on, of 45,000")
    parser.add_argument("--val-fraction", type=float, default=0.1, help="of those, the share that validates")
    parser.add_argument("--rule", choices=("sandwich", "single"), default=Curriculum().rule)
    parser.add_argument("--warmup", type=float, default=Curriculum().warmup, help="of the steps, by the largest alone")
    parser.add_argument("--shared-epochs", type=int, default=50)
    parser.add_argument("--short-epochs", type=int, default=5)
    parser.add_argument("--full-epochs", type=int, default=30)
    parser.add_argument("--shared-seed", type=int, default=0, help="of the training of shared weights")
    parser.add_argument("--alone", type=Path, help="ranking_*.json of the same images: its single trainings are taken")
    parser.add_argument("--candidates", type=int, default=24, help="networks trained alone for the ranking")
    parser.add_argument("--trials", type=int, default=200, help="networks judged for each budget")
    parser.add_argument("--finalists", type=int, default=1, help="of each budget, compared by short training")
    parser.add_argument("--budgets", type=float, nargs="*", help="milliseconds; five quantiles of the space's else")
    parser.add_argument("--seeds", type=int, default=1, help="full trainings of each network")
    parser.add_argument("--no-largest", action="store_true", help="do not train the largest that were judged")
    parser.add_argument("--parts", nargs="*", default=["repeat", "ranking", "budgets", "result"])
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    bench = Bench.prepared(options)
    report = [f"{machine_description(options.device, options.threads)}, {datetime.date.today().isoformat()}", ""]
    report += bench.data_lines()
    bench.shared.train([Lines("supernet")])
    if "repeat" in options.parts:
        report += ["", *bench.repeat_lines(options.candidates)]
    ranking = bench.ranking(options.candidates) if "ranking" in options.parts else None
    if ranking is not None:
        report += ["", ranking.table(), ranking.sentence(options.short_epochs)]
    if "budgets" in options.parts:
        found = bench.searched(options.budgets or bench.budgets(), options.trials, options.finalists)
        report += ["", *budget_lines(found)]
        if ranking is not None:
            report += ["", *bench.cost_lines(ranking, found)]
        if "result" in options.parts:
            results = bench.results(found, options.full_epochs, options.seeds, largest=not options.no_largest)
            report += ["", *result_lines(results)]
    text = "\n".join(report)
    write_atomic(options.out / "report.txt", f"{text}\n".encode())
    print(text)


@dataclass(frozen=True)
class Found:
    """The network found for a budget: what the search thought of it and what it measures afresh.

    ``largest`` has the most multiply-adds of those that were judged, all of them within the budget. ``finalists_s`` is
    the time of their short trainings.
    """

    budget_ms: float
    architecture: ArchitectureSpec
    largest: ArchitectureSpec
    shared: float
    search_ms: float
    measured_ms: float
    trials: int
    seconds: float
    finalists_s: float = 0.0


@dataclass(frozen=True)
class Result:
    """A network after full trainings, one accuracy for each seed."""

    name: str
    measured_ms: float
    parameters: int
    multiply_adds: int
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.accuracies))


@dataclass(frozen=True)
class Lines:
    """One line an epoch, so that a long run can be watched."""

    name: str

    def hear(self, event: Event) -> None:
        if isinstance(event, EpochEnded):
            row = event.row
            print(
                f"{self.name}: epoch {row['epoch']}/{event.epochs}, {row['seconds']:.0f} s, "
                f"training {row['train_accuracy']:.1%}, validation {row['val_accuracy']:.1%}",
                flush=True,
            )


@dataclass(frozen=True)
class TakenOver:
    """Tells the accuracies of an earlier run; a network that was not trained there is trained here."""

    known: Mapping[str, RankedNetwork]
    evaluator: Evaluator

    def evaluate(self, candidate: Candidate, report: Report) -> float:
        if candidate.fingerprint in self.known:
            return self.known[candidate.fingerprint].alone
        return self.evaluator.evaluate(candidate, report)


@dataclass(frozen=True)
class Bench:
    """Everything that the parts share."""

    out: Path
    dataset: Dataset
    images: SearchImages
    shared: SharedWeights
    short: ShortTraining
    device: IsolatedMeter
    threads: int
    alone: Mapping[str, RankedNetwork]  # networks that were trained alone in an earlier run, by fingerprint

    @classmethod
    def prepared(cls, options: argparse.Namespace) -> Bench:
        torch.set_num_threads(options.threads)
        dataset = scan(unpacked(options.zip, options.out / f"images{options.images}", options.images))
        images = SearchImages(
            dataset.folder,
            divide(dataset, val_fraction=options.val_fraction),
            PIXELS,
            PIXELS,
            device=options.device,
            threads=options.threads,
        )
        rule: Rule = options.rule
        curriculum = Curriculum(rule, warmup=options.warmup)
        name = f"supernet_{rule}_{options.warmup:g}_{options.images}_{options.shared_epochs}_{options.shared_seed}"
        shared = SharedWeights(
            SPACE,
            images,
            PIXELS,
            options.shared_epochs,
            CheckpointStore(options.out / name),
            curriculum,
            seed=options.shared_seed,
            threads=options.threads,
        )
        short = ShortTraining(images, PIXELS, epochs=options.short_epochs, threads=options.threads)
        device = IsolatedMeter("onnxruntime", threads=1, num_classes=images.num_classes)
        return cls(options.out, dataset, images, shared, short, device, options.threads, recorded(options.alone))

    def data_lines(self) -> list[str]:
        parts = self.images.parts
        return [
            f"{len(parts.train)} photos train, {len(parts.val)} validate, {len(parts.test)} test; space of "
            f"{SPACE.size:.1e} networks; supernet {self.shared.epochs} epochs ({self.shared.curriculum.rule}, "
            f"warm-up {self.shared.curriculum.warmup:.0%}), short training {self.short.epochs}"
        ]

    def repeat_lines(self, candidates: int) -> list[str]:
        """How far the order by shared weights is the same on both halves of the validation photos."""
        val, preprocess = self.images.val(PIXELS), self.images.preprocess(PIXELS)
        first = np.arange(len(val.labels)) % 2 == 0  # photos lie in order of their classes
        marks: dict[str, list[NDArray[np.float64]]] = {"right answers": [], "probability of the right class": []}
        for candidate in spread(SPACE, candidates, input_size=PIXELS):
            logits = predict_logits(self.shared.cut_out(candidate), val, preprocess)
            assert logits is not None
            marks["right answers"].append((logits.argmax(1) == val.labels).astype(np.float64))
            marks["probability of the right class"].append(true_class_probabilities(logits, val.labels))
        steps = f"{sum(row['seconds'] for row in self.shared.history):.0f} s of training"
        lines = [f"{candidates} networks after {steps}: {'mean':>8}{'least':>8}{'most':>8}{'tau of halves':>15}"]
        for name, images in marks.items():
            by_network = np.stack(images)  # networks x photos
            scores = by_network.mean(1)
            tau = kendall_tau(by_network[:, first].mean(1), by_network[:, ~first].mean(1))
            lines.append(f"{name:32}{scores.mean():8.1%}{scores.min():8.1%}{scores.max():8.1%}{tau:15.2f}")
        return lines

    def ranking(self, candidates: int) -> Ranking:
        def tell(network: RankedNetwork) -> None:
            print(
                f"ranking: shared {network.shared:.1%}, alone {network.alone:.1%}, {network.alone_s:.0f} s", flush=True
            )

        ranking = check_ranking(
            SPACE,
            candidates,
            shared=self.shared,
            alone=TakenOver(self.alone, self.short),
            input_size=PIXELS,
            num_classes=self.images.num_classes,
            clock=time.perf_counter,
            record=self.out / f"ranking_{self._settings()}.json",
            on_network=tell,
        )
        assert ranking is not None
        return replace(ranking, networks=tuple(self._with_its_time(network) for network in ranking.networks))

    def _with_its_time(self, network: RankedNetwork) -> RankedNetwork:
        """The seconds that its single training took where that was done, should it have been taken over."""
        earlier = self.alone.get(network.fingerprint)
        return network if earlier is None else replace(network, alone_s=earlier.alone_s)

    def budgets(self) -> list[float]:
        """Quantiles of the latencies of random networks of the space."""
        meter, rng = self._remembering(), random.Random(0)
        times = [meter.measure(SPACE.random(rng).architecture, PIXELS).undisturbed_ms for _ in range(SAMPLE)]
        return [round(float(value), 3) for value in np.quantile(times, QUANTILES)]

    def searched(self, budgets: Sequence[float], trials: int, finalists: int) -> list[Found]:
        """The network found for each budget, and that network's time in a fresh measurement."""
        meter = self._remembering()
        names = {ms: f"found_{self._settings()}_{ms:g}_{trials}" for ms in budgets}
        of = f"_best_of_{finalists}" if finalists > 1 else ""
        kept_in = {ms: self.out / f"{name}{of}.json" for ms, name in names.items()}
        is_over = all(kept.exists() for kept in kept_in.values())
        today = datetime.date.today().isoformat()
        table = None if is_over else profiled(SPACE, self.device, PIXELS, most_seconds=600, rounds_s=600, made_on=today)
        found = []
        for budget_ms, kept in kept_in.items():
            problem = SearchProblem(
                SPACE,
                self.shared,
                {"latency_ms": LatencyCost(meter, PIXELS)},
                limits={"latency_ms": budget_ms},
                estimates={"latency_ms": LatencyCost(TableMeter(table), PIXELS)} if table else {},
            )
            self.out.mkdir(parents=True, exist_ok=True)
            study = create_study(problem, storage=open_storage(self.out / f"{names[budget_ms]}.journal"))
            if not kept.exists():
                search(study, problem, Budget(evaluations=trials))
                best, finalists_s = (
                    self._best_finalist(study, finalists) if finalists > 1 else (winner(study, problem), 0.0)
                )
                architecture = SPACE.candidate(dict(best.params)).architecture
                row = {
                    "finalists_s": finalists_s,
                    "architecture": architecture.to_dict(),
                    "shared": best.accuracy,
                    "search_ms": best.costs["latency_ms"],
                    "measured_ms": self._measured(architecture),
                    "trials": len([trial for trial in study.get_trials(deepcopy=False) if trial.values]),
                }
                write_atomic(kept, json.dumps(row).encode())
            values: dict[str, Any] = json.loads(kept.read_bytes())
            values["architecture"] = ArchitectureSpec.from_dict(values["architecture"])
            values["seconds"] = seconds_of(study)
            judged = [SPACE.candidate(one.params).architecture for one in records(study) if one.state == "done"]
            largest = max(judged, key=lambda spec: count(spec, PIXELS).multiply_adds)
            found.append(Found(budget_ms, largest=largest, **values))
            print(f"budget {budget_ms:g} ms: {found[-1].shared:.1%}, {found[-1].measured_ms:.3f} ms", flush=True)
        return found

    def _best_finalist(self, study: optuna.Study, count: int) -> tuple[TrialRecord, float]:
        """That of highest accuracy after a short training, and the seconds that the trainings of all took.

        They are chosen as :func:`mnasnet.search.selection.finalist_trials` does: by turns those that shared weights
        put first and the largest. Those of an earlier run are not trained again.
        """
        kept = self.out / f"finalists_{self._settings()}.json"
        known: dict[str, tuple[float, float]] = json.loads(kept.read_bytes()) if kept.exists() else {}
        size = CountMeter("multiply_adds", PIXELS, self.images.num_classes)
        candidates = {one.fingerprint: SPACE.candidate(one.params) for one in records(study) if one.state == "done"}
        judged = {one.fingerprint: one for one in records(study) if one.state == "done"}
        first = sorted(judged, key=lambda name: -(judged[name].accuracy or 0.0))
        largest = sorted(judged, key=lambda name: -size.measure(candidates[name]))
        turns = [name for pair in zip(first, largest, strict=True) for name in pair]
        chosen = list(dict.fromkeys(turns))[:count]
        for name in chosen:
            if name not in known:
                began = time.perf_counter()
                accuracy = self.short.evaluate(candidates[name], lambda step, accuracy: None)
                known[name] = accuracy, time.perf_counter() - began
                write_atomic(kept, json.dumps(known).encode())
            print(f"finalist: shared {judged[name].accuracy:.1%}, alone {known[name][0]:.1%}", flush=True)
        return judged[max(chosen, key=lambda name: known[name][0])], sum(known[name][1] for name in chosen)

    def cost_lines(self, ranking: Ranking, found: Sequence[Found]) -> list[str]:
        """Hours of both ways to judge the networks of all searches; those of short training from the mean of the
        networks that were trained so."""
        trials = sum(one.trials for one in found)
        each_s = float(np.mean([network.alone_s for network in ranking.networks]))
        supernet_s = sum(row["seconds"] for row in self.shared.history)
        search_s, finalists_s = sum(one.seconds for one in found), sum(one.finalists_s for one in found)
        short_s, shared_s = trials * each_s, supernet_s + search_s + finalists_s
        return [
            f"{'':34}{'hours':>8}",
            f"{'supernet':34}{supernet_s / 3600:8.3f}",
            f"{f'{trials} networks by shared weights':34}{search_s / 3600:8.3f}",
            f"{'their finalists':34}{finalists_s / 3600:8.3f}",
            f"{'together':34}{shared_s / 3600:8.3f}",
            f"{f'{trials} networks by short training':34}{short_s / 3600:8.3f}  ({each_s:.0f} s each, mean of "
            f"{len(ranking.networks)})",
            f"{'ratio without finalists':34}{short_s / (supernet_s + search_s):8.1f}",
            f"{'ratio':34}{short_s / shared_s:8.1f}",
        ]

    def results(self, found: Sequence[Found], epochs: int, seeds: int, largest: bool) -> list[Result]:
        """All found networks, the ``largest`` ones if wanted, and the published ones at the middle budget, trained
        alike."""
        middle = found[len(found) // 2]
        specs = {f"found for {one.budget_ms:g} ms": one.architecture for one in found}
        if largest:
            specs |= {f"largest for {one.budget_ms:g} ms": one.largest for one in found}
        specs |= self.published(middle.budget_ms)
        return [self._result(name, spec, epochs, seeds) for name, spec in specs.items()]

    def published(self, budget_ms: float) -> dict[str, ArchitectureSpec]:
        """The published networks, scaled to a budget; widths are kept, as another measurement would choose others."""
        kept = self.out / f"published_{budget_ms:g}.json"
        if not kept.exists():
            specs = {}
            for name in COMPARED:
                scaled, width = at_cost(replace(REFERENCES[name], stem_stride=1), budget_ms, self._measured)
                specs[f"{name} x{width:g}"] = scaled.to_dict()
            write_atomic(kept, json.dumps(specs).encode())
        return {name: ArchitectureSpec.from_dict(spec) for name, spec in json.loads(kept.read_bytes()).items()}

    def _result(self, name: str, spec: ArchitectureSpec, epochs: int, seeds: int) -> Result:
        counts = count(spec, PIXELS, self.images.num_classes)
        accuracies = tuple(self._trained(spec, epochs, seed) for seed in range(seeds))
        print(f"{name}: {', '.join(f'{accuracy:.2%}' for accuracy in accuracies)}", flush=True)
        return Result(name, self._measured(spec), counts.parameters, counts.multiply_adds, accuracies)

    def _trained(self, spec: ArchitectureSpec, epochs: int, seed: int) -> float:
        """The test accuracy after a full training with the recipe for so many epochs."""
        folder = self.out / "full" / f"{spec.fingerprint}_{len(self.images.parts.train)}_{epochs}_{seed}"
        kept = folder / "test.json"
        if not kept.exists():
            train, val, preprocess = self.images.train(), self.images.val(PIXELS), self.images.preprocess(PIXELS)
            recipe = recipe_for("auto", images=len(train.labels), epochs=epochs, pretrained=False)
            torch.manual_seed(seed)
            network = build(spec, self.images.num_classes, dropout=recipe.dropout, identity_start=recipe.identity_start)
            team = Team(device=self.images.device)

            def work() -> float:
                result = fit(
                    network,
                    train,
                    val,
                    recipe,
                    preprocess,
                    epochs=epochs,
                    seed=seed,
                    balance="auto",
                    team=team,
                    store=CheckpointStore(folder),
                    listeners=[Lines(f"{spec.fingerprint[:6]} seed {seed}")],
                )
                parts = self.images.parts
                test = replace(self.images, parts=replace(parts, val=parts.test)).val(PIXELS)
                logits = predict_logits(result.average, test, preprocess, team)
                assert logits is not None
                return float(np.mean(logits.argmax(1) == test.labels))

            write_atomic(kept, json.dumps(in_own_thread(work, threads=self.threads)).encode())
        return float(json.loads(kept.read_bytes()))

    def _measured(self, spec: ArchitectureSpec) -> float:
        """Milliseconds in a fresh measurement."""
        return quietest(lambda: self.device.measure(spec, PIXELS)).undisturbed_ms

    def _remembering(self) -> RememberingMeter:
        return RememberingMeter(self.device, self.out / "latencies.jsonl")

    def _settings(self) -> str:
        """What files of a run are called by, so that another run does not take them for its own."""
        rule, warmup = self.shared.curriculum.rule, self.shared.curriculum.warmup
        supernet = f"{rule}_{warmup:g}_{len(self.images.parts.train)}_{self.shared.epochs}_{self.shared.seed}"
        return f"{supernet}_{self.short.epochs}"


def seconds_of(study: optuna.Study) -> float:
    """What the trials took together. One that was taken up again after a kill began before the pause and ended after
    it: it counts as the middle one.
    """
    each_s = [trial.duration.total_seconds() for trial in study.trials if trial.duration is not None]
    middle_s = float(np.median(each_s))
    return sum(one_s if one_s < PAUSED * middle_s else middle_s for one_s in each_s)


def unpacked(archive: Path, folder: Path, images: int) -> Path:
    """``train/`` and ``test/`` with the zip's photos, ``images`` of those to learn from, evenly of each class."""
    if (folder / "complete").exists():
        return folder
    with zipfile.ZipFile(archive) as file:
        by_class: dict[str, list[str]] = {}
        for name in sorted(file.namelist()):
            if name.endswith((".jpg", ".png")):
                by_class.setdefault(name.split("/")[-2], []).append(name)
        for label, names in by_class.items():
            random.Random(TEST_SEED).shuffle(names)
            parts = {
                "test": names[:TEST_PER_CLASS],
                "train": names[TEST_PER_CLASS : TEST_PER_CLASS + images // len(by_class)],
            }
            for part, chosen in parts.items():
                (folder / part / label).mkdir(parents=True, exist_ok=True)
                for name in chosen:
                    (folder / part / label / Path(name).name).write_bytes(file.read(name))
    (folder / "complete").touch()
    return folder


def budget_lines(found: Sequence[Found]) -> list[str]:
    lines = [f"{'budget ms':>10}{'networks':>10}{'minutes':>9}{'shared':>9}{'in search':>11}{'afresh ms':>11}  within"]
    for one in found:
        within = "yes" if one.measured_ms <= one.budget_ms else "no"
        lines.append(
            f"{one.budget_ms:10.3f}{one.trials:10}{one.seconds / 60:9.1f}{one.shared:9.1%}{one.search_ms:11.3f}"
            f"{one.measured_ms:11.3f}  {within}"
        )
    return lines


def result_lines(results: Sequence[Result]) -> list[str]:
    """The table, and the two comparisons that a search is made for."""
    lines = [f"{'network':26}{'ms':>8}{'weights':>12}{'multiply-adds':>15}{'test accuracy':>15}{'spread':>9}"]
    for one in results:
        spread = max(one.accuracies) - min(one.accuracies)
        lines.append(
            f"{one.name:26}{one.measured_ms:8.3f}{one.parameters:12,}{one.multiply_adds:15,}{one.mean:15.2%}{spread:9.2%}"
        )
    found = [one for one in results if one.name.startswith(("found", "largest"))]
    for reference in results:
        if reference in found:
            continue
        rivals = [one for one in found if one.measured_ms <= reference.measured_ms]
        if rivals:
            best = max(rivals, key=lambda one: one.mean)
            lines.append(
                f"no slower than {reference.name}: {best.name}, {100 * (best.mean - reference.mean):+.2f} points"
            )
        equals = [one for one in found if one.mean >= reference.mean]
        if equals:
            fastest = min(equals, key=lambda one: one.measured_ms)
            lines.append(
                f"no less accurate than {reference.name}: {fastest.name}, "
                f"{reference.measured_ms / fastest.measured_ms:.2f} times as fast"
            )
        else:
            lines.append(f"no less accurate than {reference.name}: none of those found")
    return lines


if __name__ == "__main__":
    main()
