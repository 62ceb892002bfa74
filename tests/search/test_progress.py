"""Those who hear of a search are treated as those of a training: heard of when they fail, and never in its way."""

from __future__ import annotations

import pytest

from mnasnet.errors import SettingsError
from mnasnet.search.progress import Progress, audience_of
from mnasnet.search.run import run_search
from mnasnet.search.searching import Searching


class Faulty:
    def hear(self, progress: Progress) -> None:
        raise ConnectionError("no answer from http://me:s3cret@127.0.0.1:9/api")


def test_the_password_of_a_listeners_server_is_not_shown(caplog):
    audience_of([Faulty()]).hear(Progress("preparing", 0.0, "the search begins"))

    assert "Faulty hears no more of this search, which goes on" in caplog.text
    assert "http://127.0.0.1:9/api" in caplog.text and "s3cret" not in caplog.text


def test_what_cannot_hear_is_refused_before_anything_is_searched(tmp_path):
    with pytest.raises(SettingsError, match=r"a listener has a method hear\(event\), got <built-in function print>"):
        run_search(Searching(data=tmp_path, trials=1), listeners=[print])  # type: ignore[list-item]
