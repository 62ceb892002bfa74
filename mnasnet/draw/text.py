"""Lines of text in any script, as large as they can be read.

Fonts come from Matplotlib's DejaVu, the same on every machine, and from the machine's own fonts for the scripts that
DejaVu lacks.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import struct
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from PIL import Image, ImageDraw, ImageFont

from mnasnet.draw.colours import BLACK, WHITE, Colour, luminance

_log = logging.getLogger(__name__)

LabelStyle = Literal["plate", "outline", "none"]
"""``plate`` lays a dark translucent plate under the text, ``outline`` rings the letters, ``none`` draws nothing."""

MIN_FONT_PX = 11  # smaller letters cannot be told apart
_FONT_SHARE = 0.036  # of the image's shorter side
_NAME_SHARE = 0.5  # of the room; a longer name would hide what is beside the thing that it names
_ENOUGH_LETTERS = 18  # letter sizes, some 30 letters; so much of a name may take all the room
_FEW_LETTERS = 4  # letter sizes; a name cut to less cannot be guessed
ELLIPSIS = "…"
_MISSING = "□"


def percent(confidence: float) -> str:
    """A confidence as people read it: 97%, 4%, <1%; never 100% for what is not certain."""
    if 0 < confidence <= 0.005:
        return "<1%"
    if 0.995 <= confidence < 1:
        return ">99%"
    return f"{confidence:.0%}"


def font_size(width: int, height: int) -> int:
    """Letter size in pixels: readable on a thumbnail, in proportion on a large frame, never larger than the image."""
    short = min(width, height)
    return max(4, min(max(MIN_FONT_PX, round(_FONT_SHARE * short)), int(short * 0.6)))


def row_height(size: int) -> int:
    """Pixels from one line of letters of ``size`` to the next."""
    return round(size * 1.5)


def gap_of(size: int) -> int:
    """Space between a name and its percentage."""
    return round(size * 0.6)


def fit_rows(lines: Sequence[tuple[str, float]], size: int, room: int) -> list[tuple[Text, Text]]:
    """Name and percentage of each line, the names shortened so that both fit well into ``room`` pixels.

    The name counts more: a percentage yields to a name that is whole without it, or that would be left a few letters.
    """
    most = min(room, max(round(_NAME_SHARE * room), _ENOUGH_LETTERS * size))
    rows = []
    for rank, (name, confidence) in enumerate(lines):
        number = Text(percent(confidence), size, is_bold=rank == 0)
        alone = shortened(name, size, most, is_bold=rank == 0)
        beside = room - number.width - gap_of(size)
        if alone.width <= beside:
            rows.append((alone, number))
        elif not alone.is_shortened or beside < _FEW_LETTERS * size:
            rows.append((alone, Text("", size, is_bold=False)))
        else:
            rows.append((shortened(name, size, beside, is_bold=rank == 0), number))
    return rows


def shortened(text: str, size: int, room: int, *, is_bold: bool) -> Text:
    """``text``, or as much of its beginning as fits into ``room`` pixels, with an ellipsis."""
    text = " ".join(text.split()) or "?"
    whole = Text(text, size, is_bold=is_bold)
    if whole.width <= room:
        return whole
    clusters = list(_clusters(text))
    low, high = 0, len(clusters)  # the longest beginning that fits lies in low..high
    while low < high:
        middle = (low + high + 1) // 2
        candidate = Text("".join(clusters[:middle]).rstrip() + ELLIPSIS, size, is_bold=is_bold)
        low, high = (middle, high) if candidate.width <= room else (low, middle - 1)
    return Text("".join(clusters[:low]).rstrip() + ELLIPSIS, size, is_bold=is_bold)


def _clusters(text: str) -> Iterator[str]:
    """Characters as people see them: a letter with its marks, an emoji with its parts."""
    cluster = ""
    for character in text:
        if cluster and not (_belongs_to_previous(character) or cluster[-1] == "\u200d"):
            yield cluster
            cluster = ""
        cluster += character
    if cluster:
        yield cluster


def _belongs_to_previous(character: str) -> bool:
    return (
        unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf") or "\U0001f3fb" <= character <= "\U0001f3ff"
    )  # the range holds the skin tones


class Text:
    """One line of text, split into runs that one font each can draw."""

    def __init__(self, text: str, size: int, *, is_bold: bool) -> None:
        self.text = text
        self.is_shortened = text.endswith(ELLIPSIS)
        self.is_empty = text == ELLIPSIS  # nothing of the name is left
        self._size = size
        self._runs = [(part, _font(path, size)) for part, path in _runs(text, is_bold)]
        self._widths = [font.width(part) for part, font in self._runs]
        self.width = round(sum(self._widths))

    def draw(self, layer: Image.Image, left: float, top: int, height: int, colour: Colour, style: LabelStyle) -> None:
        """Draw on an RGBA ``layer``, the line's middle in the middle of ``top`` to ``top + height``."""
        baseline = top + round((height + self._size * 0.72) / 2)  # capitals are 0.72 of the size high
        for (part, font), width in zip(self._runs, self._widths, strict=True):
            font.draw(layer, part, round(left), baseline, colour, self._ring(style))
            left += width

    def _ring(self, style: LabelStyle) -> int:
        return max(1, round(self._size * 0.1)) if style == "outline" else 0


class _Font:
    """A font at a size in pixels; colour bitmap fonts, which have one size only, are scaled."""

    def __init__(self, path: str, size: int) -> None:
        self._scale = 1.0
        if not path:
            self._font: Any = ImageFont.load_default(size)  # Pillow's own, for machines without Matplotlib
            return
        try:
            self._font = ImageFont.truetype(path, size)
        except OSError:  # "invalid pixel size": a bitmap font
            self._font, self._scale = _bitmap_font(path, size)

    def width(self, text: str) -> float:
        return float(self._font.getlength(text)) * self._scale

    def draw(self, layer: Image.Image, text: str, left: int, baseline: int, colour: Colour, ring: int) -> None:
        ring_colour = BLACK if luminance(colour) > 0.18 else WHITE
        if self._scale == 1.0:
            ImageDraw.Draw(layer).text(
                (left, baseline),
                text,
                fill=(*colour, 255),
                font=self._font,
                anchor="ls",
                stroke_width=ring,
                stroke_fill=(*ring_colour, 255),
                embedded_color=ring == 0,
            )
            return
        ascent, descent = self._font.getmetrics()
        large = Image.new("RGBA", (max(1, round(self._font.getlength(text))), ascent + descent), (0, 0, 0, 0))
        ImageDraw.Draw(large).text((0, ascent), text, font=self._font, anchor="ls", embedded_color=True)
        small = large.resize((max(1, round(large.width * self._scale)), max(1, round(large.height * self._scale))))
        top = baseline - round(ascent * self._scale)
        layer.alpha_composite(small, (left, max(0, top)), (0, max(0, -top)))


@functools.lru_cache(maxsize=256)
def _font(path: str, size: int) -> _Font:
    return _Font(path, size)


def _bitmap_font(name: str, size: int) -> tuple[Any, float]:
    """An emoji font at the one size it has: 109 Noto, 136 newer Noto, 160 and less Apple."""
    for strike in (109, 136, 128, 160, 96, 64, 52, 48, 40, 32, 26, 20):
        try:
            return ImageFont.truetype(name, strike), size / strike
        except OSError:
            continue
    _log.warning("font %s cannot be used at any size", name)
    return ImageFont.load_default(size), 1.0


def _runs(text: str, is_bold: bool) -> list[tuple[str, str]]:
    """Parts of ``text`` with the font file of each; a font that has all of it is preferred to several."""
    main = _main_font(is_bold)
    if text.isascii():
        return [(text, main)]
    characters = {ord(character) for character in text if not _is_invisible(character)}
    if characters <= _code_points(main):
        return [(text, main)]
    for path in dict.fromkeys(_font_for(chr(code), is_bold) for code in sorted(characters, reverse=True)):
        if path is not None and characters <= _code_points(path):
            return [(text, path)]
    return _mixed_runs(text, is_bold)


def fonts_beside_main(text: str) -> list[str]:
    """Font files of this machine for what of ``text`` the main font, DejaVu Sans, lacks."""
    found = [_font_for(character, is_bold=False) for character in text]
    return [path for path in dict.fromkeys(found) if path and path != _main_font(is_bold=False)]


def _mixed_runs(text: str, is_bold: bool) -> list[tuple[str, str]]:
    runs: list[tuple[str, str]] = []
    for cluster in _clusters(text):
        path = _font_for(cluster[0], is_bold)
        if path is None:
            cluster, path = _MISSING, _main_font(is_bold)
        if runs and runs[-1][1] == path:
            runs[-1] = (runs[-1][0] + cluster, runs[-1][1])
        else:
            runs.append((cluster, path))
    return runs


@functools.lru_cache(maxsize=4096)
def _font_for(character: str, is_bold: bool) -> str | None:
    """The first font with a glyph for ``character``; without any, that is logged once per character."""
    if _is_invisible(character) or ord(character) in _code_points(_main_font(is_bold)):
        return _main_font(is_bold)
    for path in _machine_fonts(is_emoji=_is_emoji(character)):
        if ord(character) in _code_points(path):
            return path
    _warn_missing(character)
    return None


_reported_scripts: set[str] = set()  # each is said once


def _warn_missing(character: str) -> None:
    script = "emoji" if _is_emoji(character) else unicodedata.name(character, "unnamed").split()[0].lower()
    if script in _reported_scripts:
        return
    _reported_scripts.add(script)
    _log.warning(
        "no font on this machine draws %s characters such as %s (U+%04X), %s stands for them; "
        "install a font that does, for example from the Noto family",
        script,
        character if character.isprintable() else ascii(character),
        ord(character),
        _MISSING,
    )


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cf", "Zs", "Mn", "Cc") or "\ufe00" <= character <= "\ufe0f"


def _is_emoji(character: str) -> bool:
    return character >= "\U0001f000" or "\u2600" <= character <= "\u27bf"


@functools.cache
def _main_font(is_bold: bool) -> str:
    """DejaVu Sans: Latin, Greek, Cyrillic, Arabic, Hebrew and many signs. An empty text stands for Pillow's own."""
    name = "DejaVuSans-Bold.ttf" if is_bold else "DejaVuSans.ttf"
    package = importlib.util.find_spec("matplotlib")  # found, not imported
    folders = [Path(package.origin).parent / "mpl-data/fonts/ttf"] if package and package.origin else []
    for folder in [*folders, Path("/usr/share/fonts/truetype/dejavu")]:
        if (folder / name).is_file():
            return str(folder / name)
    return ""


@functools.lru_cache(maxsize=32)
def _code_points(path: str) -> frozenset[int]:
    """What a font has glyphs for; nothing when it cannot be read."""
    if not path:
        return frozenset(range(0x20, 0x17F))  # Pillow's own font: Latin
    from fontTools.ttLib import TTFont, TTLibError  # type: ignore[import-untyped]  # late: names beyond ASCII only

    try:
        with TTFont(path, fontNumber=0, lazy=True) as font:
            return frozenset(font.getBestCmap() or ())
    except (TTLibError, OSError, KeyError, ValueError, AssertionError, struct.error) as error:
        _log.debug("font %s cannot be read: %s", path, error)
        return frozenset()


def _machine_fonts(*, is_emoji: bool) -> list[str]:
    """Font files of this machine, the likely ones first: upright regular sans serif of a known family."""
    emoji_last = 0 if is_emoji else 1
    return sorted(_font_files(), key=lambda path: (_rank(Path(path).stem.lower(), emoji_last), path))


@functools.cache
def _font_files() -> frozenset[str]:
    return frozenset(
        str(file)
        for folder in _font_folders()
        for parent, _, names in os.walk(folder)
        for file in (Path(parent) / name for name in names)
        if file.suffix.lower() in (".ttf", ".otf", ".ttc", ".otc") and "lastresort" not in file.name.lower()
    )


def _font_folders() -> list[Path]:
    home = Path.home()
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA", home / "AppData/Local"))
        return [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts", local / "Microsoft/Windows/Fonts"]
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), data / "fonts", home / ".fonts"]


_FAMILIES = (
    "notosanscjk", "notosans", "msyh", "yugoth", "meiryo", "malgun", "msjh", "pingfang", "hiragino", "applesdgothic",
    "segoeui", "nirmala", "leelaw", "wqy", "droidsansfallback", "unifont",
)  # fmt: skip
_UNWANTED = ("bold", "italic", "oblique", "mono", "serif", "black", "light", "thin", "condensed")


def _rank(stem: str, emoji_last: int) -> tuple[int, int, int]:
    is_emoji_font = "emoji" in stem or stem == "seguiemj"
    family = next((place for place, family in enumerate(_FAMILIES) if family in stem), len(_FAMILIES))
    return (emoji_last if is_emoji_font else 1 - emoji_last, sum(word in stem for word in _UNWANTED), family)
