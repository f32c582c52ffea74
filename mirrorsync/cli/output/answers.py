"""Answer codes as text, and as QR codes that a camera reads from a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import zip_longest
from typing import Final

from mirrorsync.cli.output.console import Console
from mirrorsync.cli.output.render import count
from mirrorsync.sync.bundle.imported import Incomplete
from mirrorsync.text import printable

# Two modules above each other are one character. Light is drawn: most terminals are dark.
_HALVES: Final = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}
_QUIET_ZONE: Final = 4
# 69 modules and the quiet zone are 77 columns.
_MAX_VERSION: Final = 13


def qr_option_default(console: Console) -> bool:
    """Return whether a QR code is shown without being asked for: if a person looks at a terminal."""
    return console.level >= 0 and not console.as_json and sys.stdout.isatty()


def code_lines(code: str, *, qr: bool) -> Iterator[str]:
    """Yield an answer code, "" = none, as one line; with a QR code above it if that fits 80 columns."""
    if not code:
        return
    if qr:
        yield _drawn(code)
    yield f"answer code: {code}"


def incomplete_line(found: Incomplete, destination: str) -> str:
    """Return what is lacking, as one line."""
    bundle, where = found.bundle, printable(destination)
    if not found.waiting:
        return f"nothing is missing: {where} has all that {bundle.stem} needs"
    return (
        f"{where} lacks {count(len(found.lacking), 'object')} for {count(len(found.waiting), 'image')} of {bundle.stem}"
    )


def _drawn(code: str) -> str:
    import segno  # only here: most runs draw nothing

    made = segno.make_qr(code, error="l")
    if int(made.version) > _MAX_VERSION:
        return "the answer code is too long for a QR code on a screen"
    rows = [[module == 0 for module in row] for row in made.matrix_iter(border=_QUIET_ZONE)]
    pairs = zip_longest(rows[::2], rows[1::2], fillvalue=[False] * len(rows))
    return "\n".join("".join(_HALVES[pair] for pair in zip(*both, strict=True)) for both in pairs)
