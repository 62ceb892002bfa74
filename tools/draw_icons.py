"""Draw the icons of the three Ikomia plugins into icons/; run it again after a change of shape or colour."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

SIDE_PX = 256
SCALE = 4  # drawn larger and reduced, for smooth edges
FOLDER = Path(__file__).parent.parent / "icons"
INK, PAPER = (255, 255, 255), (255, 255, 255)
BACKGROUNDS = {
    "infer_torchvision_mnasnet": (27, 94, 140),
    "train_torchvision_mnasnet": (46, 125, 80),
    "search_mnasnet": (140, 74, 27),
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, draw_motif in (
        ("infer_torchvision_mnasnet", draw_label),
        ("train_torchvision_mnasnet", draw_curve),
        ("search_mnasnet", draw_front),
    ):
        image = Image.new("RGBA", (SIDE_PX * SCALE, SIDE_PX * SCALE), (0, 0, 0, 0))
        draw = ImageDraw.Draw(image)
        draw.rounded_rectangle(box(8, 8, 248, 248), radius=44 * SCALE, fill=BACKGROUNDS[name])
        draw_network(draw)
        draw_motif(draw, BACKGROUNDS[name])
        image.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS).save(FOLDER / f"{name}.png", optimize=True)


def draw_network(draw: ImageDraw.ImageDraw) -> None:
    """Feature maps that shrink from left to right: the network that all three share."""
    for left, height, width in ((36, 120, 18), (64, 96, 20), (94, 70, 24), (128, 46, 30), (168, 26, 48)):
        top = 96 - height // 2
        draw.rounded_rectangle(box(left, top, left + width, top + height), radius=5 * SCALE, fill=INK)


def draw_label(draw: ImageDraw.ImageDraw, background: tuple[int, int, int]) -> None:
    """A tag with a line of text: a class name."""
    points = [(64, 172), (198, 172), (224, 196), (198, 220), (64, 220)]
    draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=PAPER)
    draw.rounded_rectangle(box(36, 172, 96, 220), radius=10 * SCALE, fill=PAPER)
    draw.rounded_rectangle(box(54, 189, 150, 203), radius=7 * SCALE, fill=background)
    draw.ellipse(box(190, 189, 204, 203), fill=background)


def draw_curve(draw: ImageDraw.ImageDraw, background: tuple[int, int, int]) -> None:
    """Accuracy that rises and settles."""
    points = [(40, 220), (70, 198), (100, 184), (140, 176), (220, 170)]
    draw.line([(x * SCALE, y * SCALE) for x, y in points], fill=PAPER, width=11 * SCALE, joint="curve")
    for x, y in points:
        draw.ellipse(box(x - 8, y - 8, x + 8, y + 8), fill=PAPER)
        draw.ellipse(box(x - 4, y - 4, x + 4, y + 4), fill=background)


def draw_front(draw: ImageDraw.ImageDraw, background: tuple[int, int, int]) -> None:
    """Candidates and the one that wins."""
    for x, y in ((52, 212), (92, 196), (120, 214), (196, 212), (216, 184)):
        draw.ellipse(box(x - 9, y - 9, x + 9, y + 9), fill=PAPER)
    draw.ellipse(box(136, 158, 180, 202), fill=PAPER)
    draw.ellipse(box(146, 168, 170, 192), fill=background)


def box(left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
    return left * SCALE, top * SCALE, right * SCALE, bottom * SCALE


if __name__ == "__main__":
    main()
