"""How much memory a JSON document would take once it is parsed: asked before, since a few bytes can become hundreds."""

from __future__ import annotations

from typing import Final

# Of CPython 3.11, in bytes, on the safe side: an empty object or list with its place in another, and any other value.
_CONTAINER: Final = 240
_VALUE: Final = 64

# What a document from elsewhere may become, in bytes. A manifest of the largest size with 30,000 layers, or a list of
# 200,000 tags on one page, stay well below it; `[[],[],[]...` of 4 MiB does not.
MAX_WEIGHT: Final = 48 * 1024 * 1024


def json_weight(raw: bytes) -> int:
    """Return about how many bytes of memory `raw` takes when it is parsed, at most."""
    containers = raw.count(b"[") + raw.count(b"{")
    return len(raw) + _VALUE * raw.count(b",") + _CONTAINER * containers
