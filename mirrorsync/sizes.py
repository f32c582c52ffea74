"""Sizes as people write them: `500KiB`, `20MiB`, `50GiB`, `1.5GB`."""

from __future__ import annotations

import re
from typing import Final

from mirrorsync.errors import GrammarError
from mirrorsync.text import printable

# The units of IEC 80000-13 are powers of 1024, those of the SI powers of 1000. `20M` and `20m` are refused: docker
# takes them for the one and disks are sold by the other.
_BYTES: Final = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_SHAPE = re.compile(r"(\d{1,12})(?:\.(\d{1,3}))?([A-Za-z]{1,3})", re.ASCII)
# A size has to fit into a signed 64-bit number: databases and libcurl count in those.
_LARGEST: Final = 2**63 - 1


def size(text: str) -> int:
    """Return a size in bytes, rounded down. Raises: GrammarError if it is malformed, less than a byte or over 8 EiB."""
    found = _SHAPE.fullmatch(text.strip())
    unit = _BYTES.get(found[3]) if found else None
    if found is None or unit is None:
        raise GrammarError(
            f"{printable(text, 60)!r} is not a size", remedy="write a number with its unit: 500KiB, 20MiB, 50GiB, 1.5GB"
        )
    thousandths = int(found[1]) * 1000 + int((found[2] or "").ljust(3, "0"))
    total = thousandths * unit // 1000
    if not 0 < total <= _LARGEST:
        raise GrammarError(
            f"{printable(text, 60)!r} is {'not a whole byte' if total < 1 else 'more than can be counted'}",
            remedy="write a size of at least 1B and at most 8000000TiB",
        )
    return total
