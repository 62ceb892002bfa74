"""Just enough of the FlatBuffers format to look into a file without a library, and without trusting it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MOST_ENTRIES = 100_000


class DamagedError(ValueError):
    """An offset that leads outside of the file."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its fields are found through the list of offsets that it points back to."""

    content: bytes
    position: int

    def int8(self, field: int) -> int:
        """A signed byte, 0 where the field is missing."""
        return self._scalar(field, "<b")

    def int32(self, field: int) -> int:
        """A signed number of four bytes, 0 where the field is missing."""
        return self._scalar(field, "<i")

    def table(self, field: int) -> Table | None:
        """The table in a field, None where it is missing."""
        place = self._place(field)
        return None if place is None else Table(self.content, place + _at(self.content, "<I", place))

    def tables(self, field: int) -> list[Table]:
        """The tables in a vector, none where the field is missing."""
        entries = self._entries(field, MOST_ENTRIES)
        return [Table(self.content, entry + _at(self.content, "<I", entry)) for entry in entries]

    def int32s(self, field: int, most: int) -> list[int]:
        """The numbers in a vector of up to ``most``, none where the field is missing."""
        return [_at(self.content, "<i", entry) for entry in self._entries(field, most)]

    def only_float(self, field: int) -> float | None:
        """The number in a vector of one, None where it has more or the field is missing."""
        entries = self._entries(field, MOST_ENTRIES)
        return _read(self.content, "<f", entries[0]) if len(entries) == 1 else None

    def _entries(self, field: int, most: int) -> range:
        """Where each entry of a vector lies, of four bytes each."""
        if (place := self._place(field)) is None:
            return range(0)
        vector = place + _at(self.content, "<I", place)
        size = _at(self.content, "<I", vector)
        if size > most:
            raise DamagedError(f"more than {most} entries")
        return range(vector + 4, vector + 4 + 4 * size, 4)

    def _scalar(self, field: int, kind: str) -> int:
        place = self._place(field)
        return 0 if place is None else _at(self.content, kind, place)

    def _place(self, field: int) -> int | None:
        offsets = self.position - _at(self.content, "<i", self.position)
        at = 4 + 2 * field
        if at + 2 > _at(self.content, "<H", offsets):
            return None
        offset = _at(self.content, "<H", offsets + at)
        return self.position + offset if offset else None


def root(content: bytes) -> Table:
    """The outermost table; raises DamagedError."""
    return Table(content, _at(content, "<I", 0))


def _at(content: bytes, kind: str, position: int) -> int:
    return int(_read(content, kind, position))


def _read(content: bytes, kind: str, position: int) -> float:
    if position < 0 or position + struct.calcsize(kind) > len(content):
        raise DamagedError("an offset leads outside of the file")
    (value,) = struct.unpack_from(kind, content, position)
    return float(value) if kind == "<f" else int(value)
