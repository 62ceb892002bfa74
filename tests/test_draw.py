"""Labels and boxes: what is drawn, where, and that it can be read."""

from __future__ import annotations

import itertools
import logging
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from work import calls_in

from mnasnet.draw import colour_of, draw_boxes, draw_labels, percent
from mnasnet.draw.tags import Edges, around, arranged
from mnasnet.draw.text import shortened
from mnasnet.errors import DataError

FIVE = [("cat", 0.61), ("golden retriever", 0.22), ("кошка", 0.09), ("קטה", 0.05), ("قطة", 0.001)]


def plain(width: int, height: int, level: int = 128) -> NDArray[np.uint8]:
    return np.full((height, width, 3), level, np.uint8)


def changed(image: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what was drawn."""
    rows, columns = np.nonzero((image != drawn).any(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def contrast(drawn: NDArray[np.uint8]) -> float:
    """Between the brightest and the darkest pixel, as WCAG 2 defines it; 4.5 is asked of text."""
    linear = np.where(drawn <= 10, drawn / 255 / 12.92, ((drawn / 255 + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    return float((luminance.max() + 0.05) / (luminance.min() + 0.05))


@pytest.mark.parametrize("style", ["plate", "outline", "none"])
def test_the_input_is_never_written_to(style: str) -> None:
    image = plain(200, 150)
    image.flags.writeable = False

    for drawn in (draw_labels(image, FIVE, style), draw_boxes(image, [(10, 30, 90, 80)], FIVE[:1], style)):
        assert drawn is not image
        assert drawn.shape == image.shape
        assert (drawn == image).all() == (style == "none")
    assert (image == 128).all()


@pytest.mark.parametrize("level", [0, 60, 128, 200, 255])
@pytest.mark.parametrize("style", ["plate", "outline"])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (640, 480)])
def test_text_stands_out_on_every_brightness(level: int, style: str, width: int, height: int) -> None:
    image = plain(width, height, level)

    drawn = draw_labels(image, [("cat", 0.97)], style)

    left, top, right, bottom = changed(image, drawn)
    assert contrast(drawn[top:bottom, left:right]) > 7


def test_letters_grow_with_the_image() -> None:
    heights = []
    for width, height in ((64, 64), (640, 480), (3840, 2160)):
        image = plain(width, height, 0)
        _, top, _, bottom = changed(image, draw_labels(image, [("HHH", 0.5)], "outline"))
        heights.append(bottom - top)

    assert 8 <= heights[0] <= heights[1] < heights[2]  # 8 pixels: letters of this height can be read
    assert heights[2] > 2160 / 45


@pytest.mark.parametrize(("width", "height"), [(2, 2), (5, 90), (90, 5), (16, 16), (64, 64), (3000, 40), (40, 3000)])
def test_images_of_every_shape_keep_part_of_themselves(width: int, height: int) -> None:
    image = plain(width, height, 255)
    many = [(f"class number {number} of very many", 0.5) for number in range(100)]

    drawn = draw_labels(image, many)

    assert drawn.shape == image.shape
    if min(width, height) >= 64:
        assert changed(image, drawn)[3] <= 0.7 * height


def test_a_bar_is_as_long_as_its_line_is_sure() -> None:
    drawn = draw_labels(plain(640, 480), [("cat", 0.8), ("dog", 0.2), ("bird", 2.0), ("horse", 1.0)])

    lengths = (drawn == (79, 152, 255)).all(axis=2).sum(axis=1)
    first, second, third, fourth = (length for length, _ in itertools.groupby(lengths) if length > 20)
    assert first == pytest.approx(4 * second, abs=3)
    assert third == fourth == pytest.approx(5 * second, abs=3)


@pytest.mark.parametrize("character", ["\U0001f469\u200d\U0001f680", "\U0001f44d\U0001f3fd", "e\u0301"])
def test_a_name_is_cut_between_characters_as_people_see_them(character: str) -> None:
    for room in range(60, 120, 3):
        kept = shortened(20 * character, 12, room, is_bold=False).text.removesuffix("…")

        assert kept == character * kept.count(character)


def test_on_a_thumbnail_the_first_lines_are_kept() -> None:
    image = plain(64, 64, 255)

    assert np.array_equal(draw_labels(image, FIVE), draw_labels(image, FIVE[:2]))


def test_a_long_name_ends_in_an_ellipsis_and_keeps_its_percentage() -> None:
    image = plain(200, 150)
    name = "a name that goes on and on and on and on"

    drawn = draw_labels(image, [(name, 0.61)])

    assert changed(image, drawn)[2] <= 200
    assert np.array_equal(drawn, draw_labels(image, [(name + " for longer still", 0.61)]))
    assert not np.array_equal(drawn, draw_labels(image, [(name, 0.41)]))


@pytest.mark.parametrize("width", [448, 640, 1920])
def test_a_name_of_180_letters_leaves_a_third_of_the_frames_width_free(width: int) -> None:
    image, name = plain(width, width * 3 // 4), 20 * "long name"

    on_whole = changed(image, draw_labels(image, [(name, 0.93)]))
    at_box = changed(image, draw_boxes(image, [(0, width / 4, width / 8, width / 8)], [(name, 0.93)]))

    assert width / 2 < on_whole[2] < width * 2 / 3 and width / 2 < at_box[2] < width * 2 / 3


@pytest.mark.parametrize("letters", [10, 18, 19, 20, 21, 40])
def test_a_frame_with_room_for_it_keeps_the_percentage_of_a_name_of_any_length(letters: int) -> None:
    image, name = plain(640, 480), letters * "m"

    assert not np.array_equal(
        draw_labels(image, [(name, 0.61)], "outline"), draw_labels(image, [(name, 0.41)], "outline")
    )


@pytest.mark.parametrize("name", ["airplane", "cat"])
def test_on_a_thumbnail_a_whole_name_is_worth_more_than_its_percentage(name: str) -> None:
    image = plain(64, 64)

    drawn = draw_labels(image, [(name, 0.97)], "outline")

    assert np.array_equal(drawn, draw_labels(image, [(name, 0.61)], "outline")) == (name == "airplane")


def test_a_name_too_long_for_a_thumbnail_keeps_as_many_letters_as_fit() -> None:
    image = plain(64, 64)

    drawn = draw_labels(image, [("Egyptian cat", 0.62)], "outline")

    assert np.array_equal(drawn, draw_labels(image, [("Egyptian cat", 0.31)], "outline"))
    assert not np.array_equal(drawn, draw_labels(image, [("Egret", 0.62)], "outline"))


@pytest.mark.parametrize(("width", "height"), [(2, 2), (10, 10), (12, 200), (3000, 2)])
def test_an_image_without_room_for_a_letter_stays_as_it_is(width: int, height: int) -> None:
    image = plain(width, height)

    np.testing.assert_array_equal(image, draw_labels(image, FIVE))


def test_tags_of_neighbouring_boxes_do_not_cover_each_other() -> None:
    image, label = plain(640, 480), ("golden retriever", 0.97)
    boxes = [(200.0, 200.0, 150.0, 120.0), (210.0, 202.0, 150.0, 120.0)]

    alone = [(draw_boxes(image, [box], [label]) != image).any(axis=2).sum() for box in boxes]
    frames = [(draw_boxes(image, [box], [label]) != image).any(axis=2) for box in boxes]
    together = (draw_boxes(image, boxes, [label, label]) != image).any(axis=2)

    shared = (frames[0] & frames[1]).sum()
    assert together.sum() > sum(alone) - shared + 1000  # the second tag found a place of its own


@pytest.mark.parametrize("style", ["plate", "outline"])
@pytest.mark.parametrize(("width", "height", "side"), [(640, 480, 12), (3840, 2160, 40)])
def test_tags_of_a_crowd_of_small_objects_cover_neither_each_other_nor_an_object(
    width: int, height: int, side: int, style: str
) -> None:
    image, label = plain(width, height), ("horse", 0.97)
    boxes = [
        (width / 2 + 1.2 * side * place, height / 2 + shift, side, side) for place, shift in enumerate((0, 4, 2, 5, 0))
    ]

    alone = (draw_boxes(image, boxes[:1], [label], style) != image).any(axis=2).sum()
    drawn = draw_boxes(image, boxes, [label] * 5, style)

    assert (drawn != image).any(axis=2).sum() > 0.98 * 5 * (alone - side * side)
    for x, y, *_ in boxes:
        middle = drawn[round(y + side / 2), round(x + side / 2)]
        assert (middle == 128).all()  # the inside of each frame stays free


def test_tags_in_a_row_of_narrow_boxes_leave_the_boxes_to_be_seen() -> None:
    image = plain(1920, 1080)
    boxes = [(20 + 94 * place, 500.0, 80.0, 220.0) for place in range(20)]
    labels = [(("person", "golden retriever", "traffic light", "cat")[place % 4], 0.97) for place in range(20)]

    drawn = draw_boxes(image, boxes, labels)

    for x, y, width, height in boxes:
        inside = drawn[round(y + 9) : round(y + height - 9), round(x + 9) : round(x + width - 9)]
        assert (inside == 128).all(axis=2).mean() > 0.8


@pytest.mark.parametrize(("seed", "count", "spread"), [(0, 8, 150), (2, 12, 200)])
def test_letters_shrink_in_a_crowd_until_tags_cover_no_object_no_tag_and_no_line(
    seed: int, count: int, spread: int
) -> None:
    draw = random.Random(seed)
    spans = ((960 - spread, 960 + spread), (540 - spread // 2, 540 + spread // 2), (30, 60), (30, 60))
    boxes = [tuple(draw.randint(*span) for span in spans) for _ in range(count)]

    tags = arranged(boxes, [("horse", 0.97)] * count, (1080, 1920, 3))

    for tag, (x, y, width, height) in itertools.product(tags, boxes):
        assert shared(tag.edges, (x, y, x + width, y + height)) <= 0.25 * width * height
    for tag, other in itertools.permutations(tags, 2):
        assert shared(tag.edges, other.edges) == shared(tag.edges, around(other.line)) == 0


def shared(edges: Edges, other: Edges) -> int:
    """What two rectangles share, in pixels."""
    wide, high = (min(edges[end + 2], other[end + 2]) - max(edges[end], other[end]) for end in (0, 1))
    return max(wide, 0) * max(high, 0)


@pytest.mark.parametrize("name", ["horse", "cat", "bird", "ship", "automobile", "frog", "deer", "truck", "unknown"])
def test_letters_on_a_tag_stand_out_from_the_colour_of_their_class(name: str) -> None:
    (tag,) = arranged([(300, 200, 150, 120)], [(name, 0.97)], (480, 640, 3))

    assert contrast(np.asarray(tag.picture("plate"))[..., :3]) >= 4.5


def test_few_boxes_on_a_large_frame_keep_large_letters() -> None:
    image = plain(3840, 2160)
    boxes = [(400, 300, 900, 1200), (1800, 500, 700, 700), (2900, 1200, 300, 300)]

    _, top, _, _ = changed(image, draw_boxes(image, boxes, [("golden retriever", 0.97), ("person", 0.8), ("cat", 0.5)]))

    assert 300 - top > 2160 / 20


def test_the_work_for_a_box_does_not_grow_with_the_number_of_boxes_elsewhere() -> None:
    def calls(side: int) -> int:
        boxes = [(150.0 * x + 60, 100.0 * y + 60, 40.0, 40.0) for x in range(side) for y in range(side)]
        return calls_in(lambda: arranged(boxes, [("cat", 0.9)] * len(boxes), (1080, 1920, 3)))

    calls(6)  # fonts are opened once

    assert calls(12) < 1.2 * 4 * calls(6)  # four times the boxes


def test_boxes_elsewhere_do_not_move_a_tag() -> None:
    crowd = [(320 + 14 * place, 240 + shift, 12, 12) for place, shift in enumerate((0, 4, 2, 5, 0))]
    elsewhere = [(1200 + 14 * place, 800 + shift, 12, 12) for place, shift in enumerate((0, 4, 2, 5, 0))]

    both = arranged(elsewhere + crowd, [("horse", 0.97)] * 10, (1080, 1920, 3))
    alone = arranged(crowd, [("horse", 0.97)] * 5, (1080, 1920, 3))

    assert [(tag.edges, tag.line) for tag in both[5:]] == [(tag.edges, tag.line) for tag in alone]


def test_a_line_leads_from_each_tag_that_stands_apart_to_its_box() -> None:
    image, label = plain(640, 480), ("horse", 0.97)
    boxes = [(320 + 14 * place, 240 + shift, 12, 12) for place, shift in enumerate((0, 4, 2, 5, 0))]

    drawn = (draw_boxes(image, boxes, [label] * 5) != image).any(axis=2)
    reached = Image.fromarray(drawn.astype(np.uint8)).copy()
    ImageDraw.floodfill(reached, (320, 240), 2)

    assert not (np.asarray(reached) == 1).any()  # nothing is drawn that does not hang together with the boxes


def test_a_line_to_a_box_is_seen_on_an_image_of_its_own_colour() -> None:
    image, labels = np.full((480, 640, 3), colour_of("horse"), np.uint8), [("horse", 0.97)] * 5
    boxes = [(320 + 14 * place, 240 + shift, 12, 12) for place, shift in enumerate((0, 4, 2, 5, 0))]
    lines = [tag.line for tag in arranged(boxes, labels, image.shape) if tag.line]

    drawn = draw_boxes(image, boxes, labels)

    for (x, y), (other_x, other_y) in lines:
        column, row = (x + other_x) // 2, (y + other_y) // 2
        assert drawn[row - 3 : row + 4, column - 3 : column + 4].max(axis=2).min() < 60


@pytest.mark.parametrize(("width", "height", "edges"), [(12, 200, (99, 121)), (200, 3, (0, 3))])
def test_where_no_letter_fits_a_box_has_its_frame_alone(width: int, height: int, edges: tuple[int, int]) -> None:
    image = plain(width, height)

    left, top, right, bottom = changed(image, draw_boxes(image, [(2, 100 % height, 8, 20)], [("golden retriever", 1)]))

    assert (left, right, top, bottom) == (1, 11, *edges)


def test_tags_find_room_on_a_thumbnail() -> None:
    image, label = plain(64, 64), ("cat", 0.9)
    boxes = [(2.0, 2.0, 20.0, 20.0), (40.0, 0.0, 24.0, 20.0), (30.0, 30.0, 30.0, 30.0)]

    alone = (draw_boxes(image, [(2.0, 2.0, 0.0, 0.0)], [label]) != image).any(axis=2).sum()
    together = (draw_boxes(image, boxes, [label] * 3) != image).any(axis=2).sum()

    assert together >= 3 * (alone - 9)  # 9: the frame of a box without size


def test_no_lines_draw_nothing() -> None:
    assert (draw_labels(plain(64, 64), []) == 128).all()


@pytest.mark.parametrize("text", ["", "   ", "a\nb", "\t", "e\u0301\u200d", "x" * 5000, "\ud800", "\0"])
def test_odd_names_are_drawn_somehow(text: str) -> None:
    drawn = draw_labels(plain(100, 80), [(text, 0.5)])

    assert (drawn != 128).any()


@pytest.mark.parametrize("confidence", [float("nan"), -1.0, 2.0, 0.0, 1.0])
def test_odd_confidences_are_drawn_somehow(confidence: float) -> None:
    assert (draw_labels(plain(100, 80), [("cat", confidence)]) != 128).any()


@pytest.mark.parametrize(
    ("confidence", "text"),
    [(1.0, "100%"), (0.9996, ">99%"), (0.974, "97%"), (0.045, "4%"), (0.005, "<1%"), (0.004, "<1%"), (0.0, "0%")],
)
def test_confidences_are_rounded_as_people_read_them(confidence: float, text: str) -> None:
    assert percent(confidence) == text


def test_what_is_unknown_is_framed_in_grey_and_no_class_is() -> None:
    drawn = draw_boxes(plain(640, 480), [(100, 200, 150, 120)], [("unknown", 0.3)])

    red, green, blue = map(int, drawn[260, 100])
    assert max(red, green, blue) - min(red, green, blue) < 20
    assert all(max(colour_of(name)) - min(colour_of(name)) > 100 for name in ("cat", "dog", "Unknown", ""))


def test_a_box_is_framed_in_the_colour_of_its_class() -> None:
    image = plain(640, 480)

    drawn = draw_boxes(image, [(100, 200, 150, 120)], [("cat", 0.97)])

    assert tuple(drawn[260, 100]) == colour_of("cat")
    assert tuple(drawn[319, 175]) == colour_of("cat")
    assert (drawn[220:300, 120:230] == 128).all()  # the inside stays free
    assert changed(image, drawn)[1] < 200  # the label stands above


@pytest.mark.parametrize(
    "box", [(-50, -50, 80, 80), (600, 440, 200, 200), (0, 0, 640, 480), (9, 9, 0, 0), (900, 9, 5, 5)]
)
def test_labels_stay_inside_the_image(box: tuple[int, int, int, int]) -> None:
    image = plain(640, 480)
    label = [("golden retriever", 0.97)]
    left, top, right, bottom = changed(
        image, draw_boxes(image, [(300, 200, 0, 0)], label)
    )  # next to nothing but a label

    around = changed(image, draw_boxes(image, [box], label))

    assert around[2] - around[0] >= right - left - 4  # the frame of the free label sticks out a little
    assert around[3] - around[1] >= bottom - top - 4


def test_boxes_on_a_tiny_image_do_no_harm() -> None:
    assert draw_boxes(plain(3, 3), [(0, 0, 3, 3)], [("cat", 0.97)]).shape == (3, 3, 3)


def test_boxes_and_labels_must_go_together() -> None:
    with pytest.raises(DataError, match="got 2 boxes and 1 labels"):
        draw_boxes(plain(64, 64), [(0, 0, 9, 9), (9, 9, 9, 9)], [("cat", 0.97)])


@pytest.mark.parametrize(
    "image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((9, 9, 4), np.uint8), None]
)
def test_only_rgb_is_drawn_on(image: NDArray[np.uint8]) -> None:
    with pytest.raises(DataError, match="drawing needs an RGB image"):
        draw_labels(image, FIVE)


@pytest.mark.parametrize("text", ["Ägypten", "кошка", "γάτα", "قطة", "חתול", "½ → ∞"])
def test_scripts_of_the_main_font_are_drawn_with_its_glyphs(text: str, caplog: pytest.LogCaptureFixture) -> None:
    image = plain(300, 100)

    drawn = draw_labels(image, [(text, 0.5)])

    assert not np.array_equal(drawn, draw_labels(image, [("□" * len(text), 0.5)]))
    assert not caplog.records


def test_arabic_letters_join() -> None:
    image = plain(300, 100, 0)

    joined = changed(image, draw_labels(image, [("قطة", 0.5)], "outline"))
    apart = changed(image, draw_labels(image, [("ق ط ة", 0.5)], "outline"))

    assert joined[2] < apart[2]


def test_a_script_without_font_is_said_once_and_drawn_as_boxes(caplog: pytest.LogCaptureFixture) -> None:
    image = plain(300, 100)

    with caplog.at_level(logging.WARNING):
        first = draw_labels(image, [("a \U00012000\U00012001", 0.5)])  # cuneiform; no usual machine has it
        draw_labels(image, [("\U00012002", 0.5)])

    if caplog.records:
        assert np.array_equal(first, draw_labels(image, [("a □□", 0.5)]))
        assert len(caplog.records) == 1
        assert "no font on this machine draws cuneiform characters" in caplog.text


def square_font(path: Path, characters: str) -> None:
    """A font with one glyph, a large filled square, for all ``characters``."""
    pen = TTGlyphPen(None)
    pen.moveTo((50, 0))
    for corner in ((50, 800), (950, 800), (950, 0)):
        pen.lineTo(corner)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap({ord(character): "square" for character in characters})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 50)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Square", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    path.parent.mkdir(parents=True, exist_ok=True)
    builder.save(path)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="fonts of the user lie elsewhere there")
def test_a_font_of_the_machine_is_found_by_its_glyphs(tmp_path: Path) -> None:
    square_font(tmp_path / "fonts/some/NotoSansSquare.ttf", "\U00012345")
    script = (
        "import numpy as np, sys\n"
        "from mnasnet.draw import draw_labels\n"
        "image = np.zeros((100, 300, 3), np.uint8)\n"
        "drawn = draw_labels(image, [('a \\U00012345', 0.5)], 'outline')\n"
        "print(int((drawn == 255).all(axis=2).sum()))\n"
        "assert 'matplotlib' not in sys.modules and 'torch' not in sys.modules\n"
    )
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}

    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)

    assert int(run.stdout) > 60  # the square is filled; the sign for a missing glyph is hollow
    assert "no font" not in run.stderr


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="fonts of the user lie elsewhere there")
def test_of_two_fonts_the_one_for_emoji_draws_them_and_the_other_draws_letters(tmp_path: Path) -> None:
    for name in ("NotoSansCJK", "NotoSansEmoji"):  # by their families the first is the better one
        square_font(tmp_path / f"fonts/{name}.ttf", "\U00012345\U0001f436")
    script = (
        "from pathlib import Path\n"
        "from mnasnet.draw.text import fonts_beside_main\n"
        "print(*(Path(path).stem for text in '\U00012345\U0001f436' for path in fonts_beside_main(text)))\n"
    )
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}

    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)

    assert run.stdout.split() == ["NotoSansCJK", "NotoSansEmoji"]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="fonts of the user lie elsewhere there")
def test_charts_draw_names_in_a_font_of_the_machine_too(tmp_path: Path) -> None:
    square_font(tmp_path / "with/fonts/some/NotoSansSquare.ttf", "\U00012345")
    script = (
        "import io, numpy as np\n"
        "from PIL import Image\n"
        "from mnasnet.train.evaluate import evaluate\n"
        "from mnasnet.train.figures import confusion_matrix, mistakes\n"
        "name = 'a \U00012345\U00012345\U00012345'\n"
        "evaluation = evaluate(np.eye(2, dtype=np.float32), np.array([0, 1]), (name, 'b'))\n"
        "white = np.full((8, 8, 3), 255, np.uint8)\n"
        "for png in (confusion_matrix(evaluation, normalised=False), mistakes([white], [name], ['b'], [0.9])):\n"
        "    print(int((np.array(Image.open(io.BytesIO(png)).convert('RGB')).max(2) < 60).sum()))  # a cell is blue\n"
    )
    dark = {}

    for fonts in ("with", "without"):
        environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / fonts)}
        run = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        dark[fonts] = [int(line) for line in run.stdout.split()]

    # the squares are filled, the sign for a missing glyph is hollow; each is over ten pixels wide
    assert all(found > hollow + 100 for found, hollow in zip(dark["with"], dark["without"], strict=True))
