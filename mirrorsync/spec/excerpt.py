"""The line of a spec that a problem is in, with a caret under the value, for people. Lines with secrets are not shown.

The text may be no YAML at all, so secrets are searched for in its lines and not in its values: what could be a password
under a misspelt key, the rest of a password of several lines, and what is before an '@'.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from mirrorsync.problems import Problem
from mirrorsync.schema_files import load_schema
from mirrorsync.text import printable

_WIDTH: Final = 100  # characters of a line that are shown; more are cut on both sides of the caret
_LONG: Final = 2000  # characters; longer lines are not searched for keys, which takes their length squared
_BREAK: Final = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # as libyaml counts lines
_SECRET: Final = re.compile(r"pass|secret|token|credential", re.IGNORECASE)
_USER: Final = re.compile(r"""[^\s"'\[{,(]@(?!sha256:|sha512:|\d)""")
_KEY: Final = re.compile(r"""["']?(?P<key>[^\s"'{\[,:]+)["']?\s*:(?=\s|$)""")
_TOP_KEY: Final = re.compile(r"""["']?(?P<key>\w+)["']?\s*:""")


def excerpts(text: str, problems: Iterable[Problem]) -> dict[Problem, tuple[str, str]]:
    """Return two lines for each problem: the line that it is in, and a caret. A line with a secret has none."""
    lines = _BREAK.split(text)
    hidden, settings = set(_secret_lines(lines)), set(_setting_lines(lines))
    known = _known_keys(load_schema("mirror"))
    found = {}
    for problem in problems:
        if (
            not problem.file
            and problem.line
            and problem.column
            and problem.line <= len(lines)
            and problem.line not in hidden
        ):
            shown: str | None = lines[problem.line - 1]
            if problem.line in settings:
                shown = _without_unknown(lines[problem.line - 1], problem.column, known)
            if shown is not None:
                found[problem] = _with_caret(shown, problem.line, problem.column)
    return found


def _secret_lines(lines: Sequence[str]) -> Iterator[int]:
    """Yield the numbers of lines that could have a part of a password."""
    inside: int | None = None  # the indentation of the secret's key, while its value may go on
    for number, line in enumerate(lines, 1):
        indentation = len(line) - len(line.lstrip())
        found = _SECRET.search(line) or _USER.search(line)
        if found:
            yield number
            # Without a value in the line, and with an open quote, the value is in the lines below, however indented.
            rest = line[found.end() :].partition(":")[2].strip(" ,}")
            open_quote = rest[:1] in ("'", '"') and rest.count(rest[0]) % 2 == 1
            inside = -1 if open_quote or rest[:1] in ("", "|", ">") else indentation
        elif inside is not None:
            if inside >= 0 and line.strip() and indentation <= inside:
                inside = None
            else:
                yield number
                if line.strip() and inside < 0 and _KEY.search(line[:_LONG]):
                    inside = None


def _setting_lines(lines: Sequence[str]) -> Iterator[int]:
    """Yield the numbers of lines that are in `registries:`, or may be, since the file is not written in blocks."""
    inside = True
    for number, line in enumerate(lines, 1):
        top = _TOP_KEY.match(line)
        if top:
            inside = top["key"] not in ("version", "destinations", "defaults", "mirrors")
        if inside:
            yield number


def _without_unknown(line: str, column: int, known: Container[str]) -> str | None:
    """Return a line without values of unknown keys, which could be a misspelt password; None if they are in the way."""
    if len(line) > _LONG:
        return None
    for found in _KEY.finditer(line):
        key = found["key"]
        host = ("." in key or key.isdigit()) and line[found.end() :].strip()[:1] in ("", "{")
        if key not in known and not host:
            return f"{line[: found.end()]} ..." if found.start() >= column - 1 else None
    return line


def _known_keys(schema: Mapping[str, Any]) -> frozenset[str]:
    parts = (schema, *schema["$defs"].values())
    return frozenset(key for part in parts for key in part.get("properties", {}))


def _with_caret(line: str, number: int, column: int) -> tuple[str, str]:
    before, after = line[: column - 1], line[column - 1 :]
    if len(before) > _WIDTH // 2:
        before = f"...{before[-_WIDTH // 2 :]}"
    prefix = printable(before)
    margin = f"{number:>5} | "
    shown = f"{margin}{prefix}{printable(after, _WIDTH - len(before))}"
    return shown.rstrip(), f"{'| ':>{len(margin)}}{' ' * _width(prefix)}^"


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
