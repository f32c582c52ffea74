"""Tables for people: coloured on a terminal, plain columns elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mirrorsync.cli.output.stdio import write_stdout

_ANY_WIDTH: Final = 100_000


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for people. styles: the colour of a row's first cell on a terminal, by its text."""

    heading: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    styles: dict[str, str]


def print_table(table: Table) -> None:
    """Print a table to stdout. Cells are text, never markup: names and messages come from servers."""
    if not table.rows:
        return
    if sys.stdout.isatty():
        _print_rich(table)
        return
    widths = [max(map(len, column)) for column in zip(*table.rows, strict=True)]
    for row in table.rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        write_stdout("  ".join(cells).rstrip())


def _print_rich(table: Table) -> None:
    # Imported here: output to a pipe or to cron does not need rich, which takes 40 ms to import.
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
    # At its natural width, as kubectl does: a name that is broken into two lines could not be copied.
    wanted = console.measure(shown, options=console.options.update(max_width=_ANY_WIDTH)).maximum
    console.width = max(console.width, wanted)
    console.print(shown)
