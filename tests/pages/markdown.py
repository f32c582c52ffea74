"""The pages, and the blocks of code in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page. line: of its first line of code, from 1."""

    page: str
    line: int
    language: str
    text: str


def read(page: str) -> str:
    """Return the text of a page; its path is relative to the repository."""
    return (ROOT / page).read_text("utf-8")


def blocks(page: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    text = read(page)
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start(2)) + 1
        yield Block(page, line, found[1], found[2])


def section(page: str, heading: str) -> str:
    """Return the text of a page below a heading, up to the next one of its level or above."""
    level = re.match("#+", heading)
    assert level is not None, heading
    text = read(page)
    assert f"\n{heading}\n" in text, f"{page} has no heading {heading!r}"
    rest = text.partition(f"\n{heading}\n")[2]
    ends = re.search(rf"^#{{1,{len(level[0])}}} ", rest, re.MULTILINE)
    return rest[: ends.start()] if ends else rest


def table(text: str) -> list[list[str]]:
    """Return the rows of the first table in a text, without its head; each cell is stripped."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if re.fullmatch(r"[|\-: ]+", line) and "-" in line)
    rows = []
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows
