"""What long work tells and asks while it goes on."""

from __future__ import annotations

from collections.abc import Callable

Counted = Callable[[int, int], None]  # hears how many are done, and of how many; may raise to end the work
Stop = Callable[[], bool]  # whether to end the work early; asked often
