"""What a run leaves at its end: scores, tables, pictures, card, report, exports."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mnasnet import modelfile
from mnasnet.data.folder import Dataset
from mnasnet.data.split import Split
from mnasnet.files import write_atomic
from mnasnet.modelfile import ModelFile
from mnasnet.network.build import MnasNet
from mnasnet.network.statedict import state_dict_of
from mnasnet.runtime.session import open_session
from mnasnet.train import figures, report
from mnasnet.train.batches import DecodedSquares
from mnasnet.train.evaluate import Evaluation, evaluate, log_softmax, most_wrong
from mnasnet.train.plan import Plan, Training
from mnasnet.train.reading import decoded, readable, squares, unreadable_paths
from mnasnet.train.run_folder import (
    RunFolder,
    exists_in,
)
from mnasnet.train.team import Team
from mnasnet.train.trainer import FitResult

MISTAKES_SHOWN = 18


def write_results(
    training: Training,
    plan: Plan,
    dataset: Dataset,
    parts: Split,
    run: RunFolder,
    team: Team,
    val_images: DecodedSquares,
    result: FitResult[MnasNet],
) -> Evaluation:
    """Judge the best model as users will run it, and write tables, pictures, card, report and exports."""
    model = modelfile.load(run.best)
    logits = _scores(model, val_images, plan.threads)
    evaluations = {"validation": evaluate(logits, val_images.labels, plan.class_names)}
    if parts.test:
        cache = decoded(dataset.folder, parts.test, plan.preprocess, 0, plan.threads)
        test_images = squares(cache, parts, parts.test, unreadable_paths(run, Team()))
        if len(test_images.labels):
            test_logits = _scores(model, test_images, plan.threads)
            evaluations["test"] = evaluate(test_logits, test_images.labels, plan.class_names)
    main = evaluations["validation"]
    metrics = {**model.metrics, **main.summary()}
    if "test" in evaluations:
        metrics |= {f"test_{key}": value for key, value in evaluations["test"].summary().items()}
    model = replace(model, metrics=metrics)
    modelfile.save(model, run.best)
    _export(training, model, run)
    write_atomic(run.path / "per_class.csv", report.per_class_csv(main))
    if not training.report:
        return main
    pictures = {
        "confusion_matrix.png": figures.confusion_matrix(main, normalised=False),
        "confusion_matrix_normalized.png": figures.confusion_matrix(main, normalised=True),
        "most_wrong.png": _mistakes(val_images, logits, plan.class_names),
    }
    best_epoch = result.best["epoch"] if result.best else 0
    if best_epoch:
        pictures["results.png"] = figures.curves(result.history, best_epoch)
    for name, content in pictures.items():
        write_atomic(run.path / name, content)
    written = {*exists_in(run.path), "model_card.md", "report.html"}
    story = report.Story(
        title=run.path.name,
        model=model,
        status=result.reason,
        history=result.history,
        best_epoch=best_epoch,
        evaluations=evaluations,
        images=readable(parts, unreadable_paths(run, Team())),
        asked=_asked(training),
        recipe=plan.recipe.to_dict(),
        started_from=plan.started_from,
        seconds=sum(row["seconds"] for row in result.history),
        machine=report.machine_description(team.device, plan.threads),
        made_on=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        warnings=json.loads(run.dataset_report.read_bytes())["warnings"],
        pictures=pictures,
        files=sorted(written),
    )
    write_atomic(run.path / "model_card.md", report.model_card(story).encode(errors="surrogateescape"))
    write_atomic(run.path / "report.html", report.report_html(story).encode(errors="replace"))
    return main


def _asked(training: Training) -> dict[str, Any]:
    """What the user set, without folders of this machine: a report is made to be passed on."""
    defaults = Training(data=training.data)
    names = [field.name for field in fields(Training) if field.name not in ("data", "output_folder", "name", "model")]
    changed = {name: getattr(training, name) for name in names if getattr(training, name) != getattr(defaults, name)}
    return {"data": training.data.absolute().name, "model": Path(training.model).name, **changed}


def _scores(model: ModelFile, images: DecodedSquares, threads: int) -> NDArray[np.float32]:
    """Scores of all images through the engine that inference uses, N x classes."""
    session = open_session(model, device="cpu", threads=threads)
    starts = range(0, len(images.labels), 64)
    return np.concatenate(
        [session.run(images.read(np.arange(start, min(start + 64, len(images.labels))))) for start in starts]
    )


def _mistakes(images: DecodedSquares, logits: NDArray[np.float32], class_names: Sequence[str]) -> bytes:
    chosen = most_wrong(logits, images.labels, MISTAKES_SHOWN)
    confidence = np.exp(log_softmax(logits[chosen]).max(1)) if len(chosen) else np.zeros(0)
    return figures.mistakes(
        list(images.read(chosen)) if len(chosen) else [],
        [class_names[images.labels[index]] for index in chosen],
        [class_names[logits[index].argmax()] for index in chosen],
        confidence.tolist(),
    )


def _export(training: Training, model: ModelFile, run: RunFolder) -> None:
    """The same weights for other programs: a plain torch state dict, an ONNX graph."""
    if training.export_pth:
        import io

        content = io.BytesIO()
        torch.save(state_dict_of(model.weights, json.dumps(modelfile.header_of(model), ensure_ascii=False)), content)
        write_atomic(run.best.with_suffix(".pth"), content.getvalue())
    if training.export_onnx:
        from mnasnet.export.onnx import to_onnx

        write_atomic(run.best.with_suffix(".onnx"), to_onnx(model).SerializeToString())


def scores_by_name(evaluation: Evaluation) -> dict[str, float]:
    """Scores as tracking services take them: of the whole, then of each class."""
    scores = {f"best_val_{name}": float(value) for name, value in evaluation.summary().items()}
    for one in evaluation.classes:
        for name in ("precision", "recall", "f1"):
            value = getattr(one, name)
            if value is not None:
                scores[f"{name}/{one.name}"] = value
    return scores
