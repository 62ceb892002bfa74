"""A run told to people: ``per_class.csv``, ``model_card.md`` and one self-contained ``report.html``."""

from __future__ import annotations

import base64
import html
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mnasnet
from mnasnet.modelfile import ModelFile
from mnasnet.network.count import count
from mnasnet.train.evaluate import ClassScore, Evaluation
from mnasnet.train.listeners import csv_bytes, duration


@dataclass(frozen=True, eq=False)
class Story:
    """All that card and report tell of one run.

    ``evaluations`` are by split: ``validation``, maybe ``test``. ``pictures`` are PNG contents by file name.
    ``warnings`` are sentences about the data. ``asked`` is what the user set, ``recipe`` what was made of it.
    """

    title: str
    model: ModelFile
    status: str
    history: Sequence[Mapping[str, Any]]
    best_epoch: int
    evaluations: Mapping[str, Evaluation]
    images: Mapping[str, int]
    asked: Mapping[str, Any]
    recipe: Mapping[str, Any]
    started_from: str
    seconds: float
    machine: str
    made_on: str
    warnings: Sequence[str] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    files: Sequence[str] = ()


def per_class_csv(evaluation: Evaluation) -> bytes:
    """Images, precision, recall and F1 of each class."""
    return csv_bytes([_class_row(score) for score in evaluation.classes])


def _class_row(score: ClassScore) -> dict[str, Any]:
    def rounded(value: float | None) -> Any:
        return "" if value is None else round(value, 4)

    return {
        "class": score.name,
        "images": score.images,
        "precision": rounded(score.precision),
        "recall": rounded(score.recall),
        "f1": rounded(score.f1),
    }


def machine_description(device: str, threads: int) -> str:
    """What trained: processor or GPU, threads, versions."""
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor()
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}, {versions}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def model_card(story: Story) -> str:
    """What the model is, how good it is, on what it was trained and where it must not be trusted, as Markdown."""
    model, recipe = story.model, story.model.preprocess
    counts = count(model.architecture, recipe.input_size, len(model.class_names), model.in_channels)
    lines = [
        f"# {_md(story.title)}",
        "",
        f"An image classifier for {len(model.class_names)} classes, a network of the MnasNet family "
        f"(arXiv 1807.11626), trained with mnasnet {mnasnet.__version__} on {story.made_on}.",
        "",
        "## Model",
        "",
        f"- network: {_md(model.architecture.name or 'unnamed')}, {counts.parameters:,} parameters, "
        f"{counts.multiply_adds / 1e6:.1f} million multiply-adds",
        f"- input: {recipe.input_size} x {recipe.input_size} pixels RGB, {recipe.crop} crop from "
        f"{recipe.resize}, {recipe.interpolation}; mean {recipe.mean}, standard deviation {recipe.std}",
        f"- started from: {_md(story.started_from)}",
        f"- weights: {model.fingerprint}",
        f"- classes: {', '.join(_md(name) for name in model.class_names)}",
        "",
        "## How good it is",
        "",
        "| images | number | accuracy | 95 % interval | macro F1 | worst recall | calibration error |",
        "|---|---|---|---|---|---|---|",
    ]
    for split, result in story.evaluations.items():
        low, high = result.interval
        lines.append(
            f"| {split} | {result.images} | {result.accuracy:.2%} | {low:.2%} to {high:.2%} | {result.macro_f1:.3f} "
            f"| {result.worst_recall:.2%} | {result.calibration_error:.3f} |"
        )
    main = next(iter(story.evaluations.values()), None)
    if main is not None:
        lines += ["", "| class | images | precision | recall | F1 |", "|---|---|---|---|---|"]
        lines += [
            f"| {_md(score.name)} | {score.images} | {_share(score.precision)} | {_share(score.recall)} "
            f"| {_share(score.f1)} |"
            for score in main.classes
        ]
    lines += [
        "",
        "## Training",
        "",
        f"- images: {', '.join(f'{number} {name}' for name, number in story.images.items())}",
        f"- {story.status}; best epoch {story.best_epoch} of {len(story.history)}; {duration(story.seconds)} on "
        f"{_md(story.machine)}",
        *(f"- {name}: {_md(_plain(value))}" for name, value in story.recipe.items()),
        "",
        "## Limits",
        "",
        *(f"- {_md(warning)}" for warning in story.warnings),
        *(f"- {limit}" for limit in _limits(story)),
        "",
    ]
    return "\n".join(lines)


def _limits(story: Story) -> list[str]:
    limits = []
    result = story.evaluations.get("validation")
    if result is not None:
        low, high = result.interval
        limits.append(
            f"The best epoch was chosen by the validation images, which flatters their accuracy a little; with "
            f"{result.images} images differences below {(high - low) / 2:.1%} mean nothing."
        )
        weak = [score for score in result.classes if score.recall is not None and score.recall < 0.5]
        if weak:
            names = ", ".join(_md(score.name) for score in weak[:10])
            limits.append(f"Fewer than half of the images are recognised in: {names}.")
    if "test" not in story.evaluations:
        limits.append("There were no test images; the accuracy on new images is not known better than by validation.")
    limits.append("An image of none of these classes is given one of them too; use a confidence threshold.")
    return limits


def _md(text: str) -> str:
    """``text`` as plain Markdown: what would be markup or a tag is escaped."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>&~])", r"\\\1", " ".join(text.split()))


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def report_html(story: Story) -> str:
    """The whole run as one page that needs no other file and no network."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters["share"] = _share
    environment.filters["plain"] = _plain
    environment.filters["percent"] = lambda value: "–" if value is None else f"{value:.1%}"
    counts = count(
        story.model.architecture,
        story.model.preprocess.input_size,
        len(story.model.class_names),
        story.model.in_channels,
    )
    return environment.from_string(_PAGE).render(
        story=story,
        model=story.model,
        counts=counts,
        duration=duration(story.seconds),
        version=mnasnet.__version__,
        pictures={name: base64.b64encode(content).decode() for name, content in story.pictures.items()},
        captions=_CAPTIONS,
        limits=[html.unescape(re.sub(r"\\(.)", r"\1", limit)) for limit in _limits(story)],
    )


_CAPTIONS = {
    "results.png": "Training and validation, epoch by epoch",
    "confusion_matrix_normalized.png": "Which classes are taken for which, in percent of the true class",
    "confusion_matrix.png": "The same in numbers of images",
    "most_wrong.png": "The surest mistakes: look here for wrong labels",
}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ story.title }}</title>
<style>
:root { --ink: #1f2933; --soft: #6b7280; --line: #e3e7ec; --accent: #2563a8; --paper: #fff; --ground: #f5f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaef; --soft: #9aa5b1; --line: #2f3943; --accent: #78b0e8; --paper: #1b2229; --ground: #12171c; }
}
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 0 0 12px; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 20px;
  margin-top: 18px; }
.soft { color: var(--soft); }
.figures { display: flex; flex-wrap: wrap; gap: 12px 36px; margin-top: 16px; }
.figure b { display: block; font-size: 1.7rem; line-height: 1.2; color: var(--accent); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; }
td.left { text-align: left; overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 600; }
.scroll { overflow-x: auto; }
figure { margin: 0 0 18px; }
figcaption { color: var(--soft); margin-bottom: 6px; }
img { max-width: 100%; background: #fff; border-radius: 6px; }
.bar { display: inline-block; height: 8px; border-radius: 4px; background: var(--accent); vertical-align: middle; }
.warning { border-left: 3px solid #d9822b; padding-left: 10px; margin: 6px 0; overflow-wrap: anywhere; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 0 28px; }
code { overflow-wrap: anywhere; }
</style>
</head>
<body>
<main>
<h1>{{ story.title }}</h1>
<div class="soft">{{ model.class_names | length }} classes · {{ model.architecture.name }} · {{ story.made_on }}
 · mnasnet {{ version }} · {{ story.status }}</div>

<section>
<h2>How good it is</h2>
<div class="figures">
{% for split, result in story.evaluations.items() %}
<div class="figure"><b>{{ result.accuracy | percent }}</b>of {{ result.images }} {{ split }} images right<br>
<span class="soft">95 % interval {{ result.interval[0] | percent }} to {{ result.interval[1] | percent }}</span></div>
{% endfor %}
{% for result in story.evaluations.values() %}{% if loop.first %}
<div class="figure"><b>{{ result.macro_f1 | share }}</b>macro F1</div>
<div class="figure"><b>{{ result.worst_recall | percent }}</b>recall of the worst class</div>
{% endif %}{% endfor %}
<div class="figure"><b>{{ "{:,.2f}".format(counts.parameters / 1e6) }} M</b>parameters<br>
<span class="soft">{{ "{:,.0f}".format(counts.multiply_adds / 1e6) }} M multiply-adds at
 {{ model.preprocess.input_size }} px</span></div>
</div>
</section>

{% if story.warnings or limits %}
<section>
<h2>Read this before you trust it</h2>
{% for warning in story.warnings %}<div class="warning">{{ warning }}</div>{% endfor %}
{% for limit in limits %}<div class="warning">{{ limit }}</div>{% endfor %}
</section>
{% endif %}

{% if pictures %}
<section>
<h2>Pictures</h2>
{% for name, caption in captions.items() if name in pictures %}
<figure><figcaption>{{ caption }}</figcaption>
<img alt="{{ caption }}" src="data:image/png;base64,{{ pictures[name] }}"></figure>
{% endfor %}
</section>
{% endif %}

{% for split, result in story.evaluations.items() %}
<section>
<h2>Classes, {{ split }} images</h2>
<div class="scroll">
<table>
<tr><th>Class</th><th>Images</th><th>Precision</th><th>Recall</th><th>F1</th><th></th></tr>
{% for score in result.classes %}
<tr><td>{{ score.name }}</td><td>{{ score.images }}</td><td>{{ score.precision | share }}</td>
<td>{{ score.recall | share }}</td><td>{{ score.f1 | share }}</td>
<td style="text-align:left;width:22%"><span class="bar" style="width:{{ (100 * (score.f1 or 0)) | round | int }}%">
</span></td></tr>
{% endfor %}
</table>
</div>
</section>
{% endfor %}

<section>
<h2>Training</h2>
<p>{{ story.status }}; best epoch {{ story.best_epoch }} of {{ story.history | length }}; {{ duration }} on
{{ story.machine }}. Started from {{ story.started_from }}. Weights <code>{{ model.fingerprint }}</code>.</p>
<div class="two">
<table>
<tr><th>Images</th><th></th></tr>
{% for name, number in story.images.items() %}<tr><td>{{ name }}</td><td>{{ number }}</td></tr>{% endfor %}
<tr><th>Asked for</th><th></th></tr>
{% for name, value in story.asked.items() %}
<tr><td>{{ name }}</td><td class="left">{{ value | plain }}</td></tr>{% endfor %}
</table>
<table>
<tr><th>Recipe</th><th></th></tr>
{% for name, value in story.recipe.items() %}
<tr><td>{{ name }}</td><td class="left">{{ value | plain }}</td></tr>{% endfor %}
</table>
</div>
</section>

<section>
<h2>Epochs</h2>
<div class="scroll">
<table>
<tr><th>Epoch</th><th>Learning rate</th><th>Train loss</th><th>Train accuracy</th><th>Val loss</th><th>Val accuracy</th>
<th>Images/s</th></tr>
{% for row in story.history %}
<tr><td>{{ row.epoch }}{{ " ★" if row.epoch == story.best_epoch else "" }}</td>
<td>{{ "%.3g" | format(row.learning_rate) }}</td><td>{{ "%.4f" | format(row.train_loss) }}</td>
<td>{{ row.train_accuracy | percent }}</td><td>{{ "%.4f" | format(row.val_loss) }}</td>
<td>{{ row.val_accuracy | percent }}</td><td>{{ "%.0f" | format(row.images_per_second) }}</td></tr>
{% endfor %}
</table>
</div>
</section>

{% if story.files %}
<section>
<h2>Files of this run</h2>
<p>{% for file in story.files %}<code>{{ file }}</code>{{ ", " if not loop.last else "" }}{% endfor %}</p>
</section>
{% endif %}
</main>
</body>
</html>
"""
