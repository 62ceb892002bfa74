from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("ikomia")

import ikomia  # noqa: F401  # before cv2, as in every Ikomia program
from ikomia import dataprocess

from mnasnet.plugin.labels import show_pairs

pytestmark = pytest.mark.ikomia

DOGS = [
    ("American Staffordshire terrier, Staffordshire terrier, American pit bull terrier, pit bull terrier", 0.61),
    ("CARDIGAN WELSH CORGI " * 3, 0.38),
    ("pug", 0.01),
]


def shown(pairs, width, height):
    """The graphics of ``pairs`` on an image of that size: Ikomia's output and the texts in it."""
    graphics = dataprocess.CGraphicsOutput()
    show_pairs(graphics, "dogs", pairs, (height, width))
    return graphics, [item["text"] for item in json.loads(graphics.to_json())["items"]]


def burnt(graphics, width, height):
    """Where Ikomia changes pixels when it saves ``graphics`` in a black frame: a boolean height x width."""
    frame = dataprocess.CImageIO()
    frame.set_image(np.zeros((height, width, 3), np.uint8))
    return frame.get_image_with_graphics(graphics).any(axis=2)


@pytest.mark.parametrize(("width", "height"), [(1080, 2400), (1920, 1080), (480, 640), (120, 160)])
def test_long_names_are_shortened_so_that_a_saved_frame_has_their_confidence(width, height):
    graphics, texts = shown(DOGS, width, height)

    assert [text.rpartition(" ")[2] for text in texts] == ["61%", "38%", "1%"]
    assert texts[0].startswith("American") and texts[2] == "pug 1%"
    assert not burnt(graphics, width, height)[:, -2:].any()


def test_names_that_fit_are_whole_in_a_portrait_frame():
    _, texts = shown([("Cardigan Welsh corgi", 0.998)], 1080, 2400)

    assert texts == ["Cardigan Welsh corgi >99%"]


def test_the_labels_of_another_image_take_the_place_of_those_before():
    graphics, _ = shown(DOGS, 640, 480)

    show_pairs(graphics, "dogs", [("cat", 0.9)], (480, 640))

    assert [item["text"] for item in json.loads(graphics.to_json())["items"]] == ["cat 90%"]


def test_the_first_line_is_whole_in_a_saved_frame():
    graphics, _ = shown(DOGS[2:], 640, 480)

    rows = np.flatnonzero(burnt(graphics, 640, 480).any(axis=1))

    assert 0 < rows[0] < rows[-1] < 40


def test_a_thumbnail_keeps_the_names_that_studio_shows_beyond_its_edge():
    _, texts = shown(DOGS, 32, 32)

    assert texts == [f"{DOGS[0][0]} 61%", f"{DOGS[1][0]} 38%"]
