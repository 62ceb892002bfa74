"""Drawings of the documentation that follow from the code: its layers, the paper's equations, the form of rewards.

All are SVG text. The layers are read from the contract that the import checker enforces, so the picture is the rule.
"""

from __future__ import annotations

import io
import re
import sys
from html import escape
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
#: name of the picture -> the equation in TeX, as docs/how_the_search_works.md quotes it
EQUATIONS = {
    "equation_goal": r"\mathrm{maximise}_m \;\; ACC(m) \times \left[\frac{LAT(m)}{T}\right]^{w}",
    "equation_exponent": r"w = \alpha \;\;\mathrm{if}\;\; LAT(m) \leq T, \;\;\mathrm{else}\;\; \beta",
    "equation_soft": r"1.05 \times 2^{\beta} = 1 \;\;\Rightarrow\;\; \beta = -0.07",
    "equation_absolute": r"ACC(m) + \beta \left| \frac{LAT(m)}{T} - 1 \right|",
    "equation_space": r"S^{B} = 432^{5} \approx 10^{13} \quad\mathrm{instead\ of}\quad S^{B \cdot N} \approx 10^{39}",
    "equation_controller": r"J = E_{P(a_{1:T};\, \theta)} \left[ R(m) \right]",
    "equation_ppo": r"L(\theta) = E_t \left[ \min\left( r_t A_t, \; \mathrm{clip}(r_t, 1 - \epsilon, 1 + \epsilon)"
    r" A_t \right) \right]",
}
_FONT = "font-family='system-ui, sans-serif'"
_BLUE, _GREEN, _BROWN, _GREY = "#1b5e8c", "#2e7d50", "#8c4a1b", "#5f6b76"
#: the uppermost module of each group -> what the group is, and its colour
_GROUPS = {
    "infer_torchvision_mnasnet": ("Ikomia tasks", _BROWN),
    "cli": ("commands", _BLUE),
    "plugin": ("Ikomia and Qt", _BROWN),
    "search": ("services", _BLUE),
    "latency": ("parts", _GREEN),
    "settings": ("values", _GREY),
}


def drawings() -> dict[Path, str]:
    """Every drawing as SVG, by path."""
    made = {"layers": layers(), "reward_forms": reward_forms(), "search_loop": search_loop(), "space": space_drawing()}
    made |= {name: equation(tex) for name, tex in EQUATIONS.items()}
    return {IMAGES / f"{name}.svg": text for name, text in made.items()}


def layer_names() -> list[list[str]]:
    """The layers of the package from top to bottom, each a list of modules side by side, from pyproject.toml."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (contract,) = (contract for contract in contracts if contract["type"] == "layers")
    return [[name.strip().removeprefix("mnasnet.") for name in re.split("[:|]", layer)] for layer in contract["layers"]]


def layers() -> str:
    """The layer picture: what lies higher may import what lies lower, never the other way round."""
    rows = [["infer_torchvision_mnasnet", "train_torchvision_mnasnet", "search_mnasnet"], *layer_names()]
    width, row, left, right = 860, 36, 40, 130
    shapes, colour = [], _GREY
    for place, names in enumerate(rows):
        top = 16 + place * row
        step = (width - left - right) / len(names)
        if names[0] in _GROUPS:
            group, colour = _GROUPS[names[0]]
            shapes.append(_label(width - right / 2 + 4, top + 19, group))
        shapes += [_box(left + i * step, top, step - 6, row - 8, colour, name) for i, name in enumerate(names)]
    height = 16 + len(rows) * row + 6
    arrow = (
        f"<line x1='18' y1='22' x2='18' y2='{height - 26}' stroke='{_GREY}' stroke-width='3'/>"
        f"<path d='M10 {height - 28} h16 l-8 14 z' fill='{_GREY}'/>"
    )
    return _svg(width, height, arrow + "".join(shapes), "Layers of the package; imports point down only")


def search_loop() -> str:
    """The sample-evaluate-update loop with the two things that are measured."""
    boxes = (
        (20, 70, 170, 56, _BROWN, "search algorithm", "guided, ppo, ..."),
        (270, 70, 150, 56, _BLUE, "a network", "of the space"),
        (500, 16, 220, 56, _GREEN, "latency on the device", "LAT(m), in milliseconds"),
        (500, 124, 220, 56, _GREEN, "accuracy on your images", "ACC(m), a short training"),
        (240, 200, 210, 44, _BROWN, "reward", "one number"),
    )
    arrows = ((190, 98, 268, 98), (420, 88, 498, 48), (420, 108, 498, 148), (610, 222, 452, 222), (238, 222, 105, 128))
    both = f"<path d='M720 44 h14 v178 h-126 M610 222 v-42' fill='none' stroke='{_GREY}' stroke-width='2.5'/>"
    shapes = both + "".join(_arrow(*ends) for ends in arrows) + "".join(_tall_box(*box) for box in boxes)
    return _svg(750, 256, shapes, "A search proposes networks, measures both sides of each, and learns from the reward")


def space_drawing() -> str:
    """Seven blocks of MnasNet-A1, each with its own layer design, repeated."""
    from mnasnet.presets import MNASNET_A1

    top, left = 20, 80
    shapes = [_tall_box(8, top, 66, 56, _GREY, "stem", "3x3")]
    for number, block in enumerate(MNASNET_A1.blocks):
        name = f"MBConv{block.expansion}" if block.operator == "inverted" else "SepConv"
        extra = " SE" if block.se_ratio else ""
        for layer in range(block.repeats - 1, 0, -1):  # the repeated layers as sheets behind
            shapes.append(_sheet(left + 3 * layer, top - 3 * layer, 84, 56))
        shapes.append(_tall_box(left, top, 84, 56, _BLUE, name, f"{block.kernel}x{block.kernel}{extra}"))
        shapes.append(_label(left + 42, top + 74, f"block {number}"))
        shapes.append(_label(left + 42, top + 90, f"{block.repeats} x {block.channels} ch."))
        left += 98
    shapes.append(_tall_box(left, top, 66, 56, _GREY, "head", "1x1"))
    return _svg(left + 76, 122, "".join(shapes), "MnasNet-A1: one layer design for each block, repeated inside it")


def equation(tex: str) -> str:
    """An equation as SVG paths, its TeX kept as the title."""
    return _figure(lambda pyplot: _equation(pyplot, tex), title=tex)


def reward_forms() -> str:
    """The rewards of this package against latency, at one accuracy."""
    return _figure(_reward_forms, title="Reward against latency at accuracy 0.7, target 8 ms")


def _equation(pyplot, tex):  # type: ignore[no-untyped-def]
    figure = pyplot.figure(figsize=(0.01, 0.01))
    figure.text(0, 0, f"${tex}$", fontsize=15)
    return figure


def _reward_forms(pyplot):  # type: ignore[no-untyped-def]
    import numpy as np

    from mnasnet.reward import Reward

    figure, axes = pyplot.subplots(figsize=(6.4, 3.2))
    latencies = np.linspace(2.0, 20.0, 200)
    for form, colour in (("hard", _BLUE), ("soft", _GREEN), ("absolute", _BROWN)):
        reward = Reward(8.0, form)
        axes.plot(latencies, [reward(0.7, latency) for latency in latencies.tolist()], color=colour, label=form, lw=2)
    axes.axvline(8.0, color=_GREY, ls=":", lw=1.5)
    axes.set_xlabel("latency of the network, ms (target 8)")
    axes.set_ylabel("reward at accuracy 0.7")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _figure(draw, *, title: str) -> str:  # type: ignore[no-untyped-def]
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    with mpl.rc_context({"svg.hashsalt": "mnasnet", "svg.fonttype": "path", "mathtext.fontset": "cm"}):
        figure = draw(pyplot)
        file = io.StringIO()
        figure.savefig(
            file, format="svg", bbox_inches="tight", pad_inches=0.08, metadata={"Date": None, "Title": title}
        )
        pyplot.close(figure)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def _svg(width: float, height: float, inside: str, title: str) -> str:
    spaced = inside.replace("><", ">\n<")
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:g} {height:g}' width='{width:g}' role='img'>\n"
        f"<title>{escape(title)}</title>\n<rect width='100%' height='100%' fill='#ffffff'/>\n{spaced}\n</svg>\n"
    )


def _box(x: float, y: float, width: float, height: float, colour: str, name: str) -> str:
    return (
        f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' rx='5' fill='{colour}'/>"
        f"<text x='{x + width / 2:g}' y='{y + height / 2 + 5:g}' text-anchor='middle' fill='#ffffff' font-size='13' "
        f"{_FONT}>{escape(name)}</text>"
    )


def _tall_box(x: float, y: float, width: float, height: float, colour: str, name: str, below: str) -> str:
    middle = x + width / 2
    return (
        f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' rx='7' fill='{colour}' stroke='#ffffff'/>"
        f"<text x='{middle:g}' y='{y + height / 2 - 3:g}' text-anchor='middle' fill='#ffffff' font-size='14' {_FONT}>"
        f"{escape(name)}</text>"
        f"<text x='{middle:g}' y='{y + height / 2 + 15:g}' text-anchor='middle' fill='#ffffff' font-size='12' {_FONT}>"
        f"{escape(below)}</text>"
    )


def _sheet(x: float, y: float, width: float, height: float) -> str:
    return f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' rx='7' fill='#7ba7c4' stroke='#ffffff'/>"


def _label(x: float, y: float, text: str) -> str:
    return f"<text x='{x:g}' y='{y:g}' text-anchor='middle' fill='{_GREY}' font-size='12' {_FONT}>{escape(text)}</text>"


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    base_x, base_y = x2 - 11 * dx, y2 - 11 * dy
    corners = (
        f"{x2:.1f},{y2:.1f} {base_x - 5 * dy:.1f},{base_y + 5 * dx:.1f} {base_x + 5 * dy:.1f},{base_y - 5 * dx:.1f}"
    )
    return (
        f"<line x1='{x1:g}' y1='{y1:g}' x2='{base_x:.1f}' y2='{base_y:.1f}' stroke='{_GREY}' stroke-width='2.5'/>"
        f"<polygon points='{corners}' fill='{_GREY}'/>"
    )
