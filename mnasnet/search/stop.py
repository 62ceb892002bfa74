"""How a search is stopped: by an exception of its own, from wherever it works at the moment."""

from __future__ import annotations

from mnasnet.progress import Counted, Stop


class SearchStopped(BaseException):  # no Exception: a search must not take it for a failed trial
    """The user asked to stop while a network was judged; its trial is judged again on resume."""


def stopping(stop: Stop) -> Counted:
    """A progress hook that raises SearchStopped when ``stop`` says so."""

    def watch(done: int, total: int) -> None:
        if stop():
            raise SearchStopped

    return watch
