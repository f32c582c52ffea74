"""The page of `inspect` on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console as RichConsole
from rich.text import Text

_LABEL_WIDTH = 11


def print_sections(sections: Iterable[tuple[tuple[str, str], Sequence[str]]]) -> None:
    """Print labels with their facts and rows. They are text, never markup: names and messages come from elsewhere."""
    console = RichConsole(highlight=False)
    for (label, fact), rows in sections:
        head = Text.assemble((label.ljust(_LABEL_WIDTH), "bold cyan"), "  ", fact)
        # Lines are left to the terminal to wrap: a digest that is broken by us cannot be copied.
        console.print(head, soft_wrap=True)
        for row in rows:
            console.print(Text(row), soft_wrap=True)
