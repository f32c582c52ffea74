"""An estimate of the memory that a parsed JSON document takes, made before parsing: a few bytes can become hundreds."""

from __future__ import annotations

from typing import Final

# Of CPython 3.11, in bytes, rounded up: an empty object or list with its slot in the outer one, and any other value.
_CONTAINER: Final = 240
_VALUE: Final = 64

# The limit for a document from outside, in bytes. A manifest of the largest size with 30,000 layers, or a list of
# 200,000 tags on one page, stay well below it; `[[],[],[]...` of 4 MiB does not.
MAX_WEIGHT: Final = 48 * 1024 * 1024


def json_weight(raw: bytes) -> int:
    """Return an upper estimate of the memory in bytes that `raw` takes once it is parsed."""
    containers = raw.count(b"[") + raw.count(b"{")
    return len(raw) + _VALUE * raw.count(b",") + _CONTAINER * containers
