"""Words for people."""

import pytest

from mnasnet.words import duration, printable


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")])
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("caf\u00e9 \u732b", "caf\u00e9 \u732b"),
        ("\U0001f469\u200d\U0001f52c", "\U0001f469\u200d\U0001f52c"),  # one picture of two, joined
        ("two\nlines\u2028more", r"two\nlines\u2028more"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("half \udcff", r"half \udcff"),
        ("\u202egpj.exe", r"\u202egpj.exe"),  # shown from right to left
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown
