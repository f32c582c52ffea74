"""The page of `inspect` on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console as RichConsole
from rich.text import Text

_LABEL_WIDTH = 11


def print_sections(sections: Iterable[tuple[tuple[str, str], Sequence[str]]]) -> None:
    """Print labels with values and rows. They are text, never markup: names and messages come from servers."""
    console = RichConsole(highlight=False)
    for (label, value), rows in sections:
        head = Text.assemble((label.ljust(_LABEL_WIDTH), "bold cyan"), "  ", value)
        # The terminal wraps long lines: a digest that is broken into two lines by us could not be copied.
        console.print(head, soft_wrap=True)
        for row in rows:
            console.print(Text(row), soft_wrap=True)
