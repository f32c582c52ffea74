"""Tables for people: coloured on a terminal, plain columns elsewhere."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mirrorsync.cli.output.stdio import write_stderr, write_stdout

_ANY_WIDTH: Final = 100_000
_WIDTH: Final = 80


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for people. styles: the colour of a row's first cell on a terminal, by its text."""

    heading: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    styles: dict[str, str]


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows that fit the width of the terminal, 80 columns elsewhere.

    rows: cells in columns, and details, which go to a line of their own if the row is too wide; each further line of
    the details has a line of its own. Names in cells are never cut or broken: they could not be copied. styles: the
    colour of a row's first cell, by its text.
    """

    rows: Sequence[tuple[tuple[str, ...], str]]
    styles: Mapping[str, str] = field(default_factory=dict)


def print_listing(listing: Listing) -> None:
    """Print rows to stdout. Cells are text, never markup."""
    terminal = sys.stdout.isatty()
    lines = list(_listed(listing.rows, shutil.get_terminal_size().columns if terminal else _WIDTH))
    if not (terminal and listing.styles):
        for _, line in lines:
            write_stdout(line)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for first, line in lines:
        text = Text(line)
        text.stylize(listing.styles.get(first, ""), 0, len(first))
        console.print(text, soft_wrap=True)


def _listed(rows: Sequence[tuple[tuple[str, ...], str]], width: int) -> Iterator[tuple[str, str]]:
    """Yield lines, each with the first cell of its row; "" for a line that continues a row."""
    columns = max((len(cells) for cells, _ in rows), default=0)
    widths = [max((len(cells[at]) for cells, _ in rows if at < len(cells) - 1), default=0) for at in range(columns)]
    heads = [
        "".join(f"{cell.ljust(size)}  " for cell, size in zip(cells[:-1], widths, strict=False)) for cells, _ in rows
    ]
    under = [detail.split("\n")[1:] for _, detail in rows]
    rows = [(cells, detail.partition("\n")[0]) for cells, detail in rows]
    rooms = [width - len(head) - 2 - len(detail) for head, (_, detail) in zip(heads, rows, strict=True)]
    # Details are aligned behind the longest name that leaves room for its own.
    names = max(
        (len(cells[-1]) for (cells, _), room in zip(rows, rooms, strict=True) if len(cells[-1]) <= room), default=0
    )
    for (cells, detail), head, room, more in zip(rows, heads, rooms, under, strict=True):
        name = cells[-1]
        if not detail or len(name) > room:
            yield cells[0], f"{head}{name}"
            yield from (("", line) for line in _wrapped(detail, len(head) + 2, width))
        else:
            yield cells[0], f"{head}{name.ljust(min(names, room))}  {detail}"
        yield from (("", line) for one in more for line in _wrapped(one, len(head) + 2, width))


def _wrapped(text: str, indent: int, width: int) -> list[str]:
    """Return lines of whole words, each indented."""
    wide = max(width, indent + 40)
    lines = textwrap.wrap(text, wide - indent, break_long_words=False, break_on_hyphens=False)
    return [" " * indent + line for line in lines]


def print_failures(lines: Iterable[str], *, coloured: bool) -> None:
    """Print lines of failures to stderr. They are text, never markup: messages come from servers."""
    if not coloured:
        for line in lines:
            write_stderr(line)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    for line in lines:
        word, colon, rest = line.partition(":")
        shown = Text(line) if line.startswith(" ") else Text.assemble((word, "bold red"), colon, rest)
        console.print(shown, soft_wrap=True)


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
