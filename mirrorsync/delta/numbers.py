"""Numbers and byte strings of the format, written one after the other and read with limits."""

from __future__ import annotations

from typing import Protocol

from mirrorsync.errors import Malformed


class Source(Protocol):
    """What has a `read` like a binary file."""

    def read(self, count: int, /) -> bytes:
        """Return at most `count` bytes, b"" at the end."""


def number(value: int) -> bytes:
    """Return a number >= 0 as LEB128: seven bits a byte, the lowest first."""
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)


def string(data: bytes) -> bytes:
    """Return bytes with their length before them."""
    return number(len(data)) + data


class Reader:
    """Reads what `number` and `string` wrote. Raises: Malformed if it ends early or a value is above its limit."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def exactly(self, count: int) -> bytes:
        """Return exactly `count` bytes."""
        parts = []
        while count:
            data = self._source.read(count)
            if not data:
                raise Malformed("the delta ends early")
            parts.append(data)
            count -= len(data)
        return b"".join(parts)

    def number(self, limit: int) -> int:
        """Return a number of at most `limit`."""
        value = shift = 0
        while True:
            byte = self.exactly(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if value > limit or shift > 63:
                raise Malformed(f"the delta has a number above its limit of {limit}")
            if byte < 128:
                return value

    def string(self, limit: int) -> bytes:
        """Return a byte string of at most `limit` bytes."""
        return self.exactly(self.number(limit))
