"""Tables on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console as RichConsole
from rich.table import Table as RichTable
from rich.text import Text

from mirrorsync.cli.console import Table

_ANY_WIDTH = 100_000


def print_table(table: Table) -> None:
    """Print a table to stdout. Cells are text, never markup: names and messages come from elsewhere."""
    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in table.heading:
        shown.add_column(heading, no_wrap=True)
    for row in table.rows:
        style = table.styles.get(row[0], "")
        shown.add_row(*(Text(cell, style=style if number == 0 else "") for number, cell in enumerate(row)))
    console = RichConsole(highlight=False)
    # At its natural width, as kubectl does: a name that the table breaks in two cannot be copied.
    wanted = console.measure(shown, options=console.options.update(max_width=_ANY_WIDTH)).maximum
    console.width = max(console.width, wanted)
    console.print(shown)
