"""Just enough of protobuf's wire format to walk through a file without a library, and without trusting it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

MOST_FIELDS = 200_000  # of one message; the largest real graphs have some thousand
MOST_NUMBER = 2**29 - 1  # of a field, by the format


class DamagedError(ValueError):
    """Bytes that are no message."""


@dataclass(frozen=True, slots=True)
class Message:
    """The fields of one message by their number: whole numbers, or the bytes of texts and messages."""

    fields: dict[int, list[int | memoryview]]

    def has(self, number: int) -> bool:
        """Whether the field occurs."""
        return number in self.fields

    def number(self, number: int) -> int:
        """The last value of a whole-number field, 0 where it is missing."""
        values = [value for value in self.fields.get(number, ()) if isinstance(value, int)]
        return values[-1] if values else 0

    def text(self, number: int) -> str:
        """The last value of a text field, "" where it is missing."""
        values = [value for value in self.fields.get(number, ()) if isinstance(value, memoryview)]
        try:
            return bytes(values[-1]).decode() if values else ""
        except UnicodeDecodeError as error:
            raise DamagedError("a text that is no UTF-8") from error

    def messages(self, number: int) -> list[Message]:
        """All values of a field that holds messages."""
        values = self.fields.get(number, ())
        if any(isinstance(value, int) for value in values):
            raise DamagedError("a number in place of a message")
        return [read(value) for value in values if isinstance(value, memoryview)]


def read(content: bytes | memoryview) -> Message:
    """The message in ``content``; raises DamagedError."""
    view = memoryview(content)
    fields: defaultdict[int, list[int | memoryview]] = defaultdict(list)
    position = count = 0
    while position < len(view):
        count += 1
        if count > MOST_FIELDS:
            raise DamagedError(f"more than {MOST_FIELDS} fields")
        start = position
        key, position = _varint(view, position)
        number, kind = key >> 3, key & 7
        if not 0 < number <= MOST_NUMBER or position - start > 5:  # other readers cut such a tag to a number of theirs
            raise DamagedError(f"a field must be numbered 1 to {MOST_NUMBER}, got {number}")
        value: int | memoryview
        if kind == 0:
            value, position = _varint(view, position)
        elif kind in (1, 2, 5):
            size = {1: 8, 5: 4}.get(kind, 0)
            if kind == 2:
                size, position = _varint(view, position)
            if size > len(view) - position:
                raise DamagedError("it ends too early")
            value, position = view[position : position + size], position + size
        else:
            raise DamagedError(f"a field of kind {kind}")
        fields[number].append(value)
    return Message(dict(fields))


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(view):
            raise DamagedError("it ends too early")
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise DamagedError("a number of more than ten bytes")
