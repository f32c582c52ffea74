"""Tables for people: coloured on a terminal, plain columns elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mirrorsync.cli.output.stdio import give

_ANY_WIDTH: Final = 100_000


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for people. style: how a row is coloured on a terminal, by its first cell."""

    heading: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    styles: dict[str, str]


def print_table(table: Table) -> None:
    """Print a table to stdout. Cells are text, never markup: names and messages come from elsewhere."""
    if not table.rows:
        return
    if sys.stdout.isatty():
        _print_rich(table)
        return
    widths = [max(map(len, column)) for column in zip(*table.rows, strict=True)]
    for row in table.rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        give("  ".join(cells).rstrip())


def _print_rich(table: Table) -> None:
    # Imported here: what goes into a pipe or to cron needs no rich, which takes 40 ms.
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in table.heading:
        shown.add_column(heading, no_wrap=True)
    for row in table.rows:
        style = table.styles.get(row[0], "")
        shown.add_row(*(Text(cell, style=style if number == 0 else "") for number, cell in enumerate(row)))
    console = Console(highlight=False)
    # At its natural width, as kubectl does: a name that the table breaks in two cannot be copied.
    wanted = console.measure(shown, options=console.options.update(max_width=_ANY_WIDTH)).maximum
    console.width = max(console.width, wanted)
    console.print(shown)
