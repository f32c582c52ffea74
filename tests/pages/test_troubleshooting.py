"""docs/troubleshooting.md quotes messages that the program has, and docs/exit-codes.md has every exit code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from mirrorsync.errors import ExitCode
from tests.pages.markdown import ROOT, read, table

MESSAGES = re.findall(r"^### `(.+)`$", read("docs/troubleshooting.md"), re.MULTILINE)
# What stands for a name or a number: `...` in a page, a field of an f-string in the program.
GAP = "\0"


def _texts(node: ast.AST) -> Iterator[str]:
    """Yield the texts of a module; those of an f-string as one, with gaps."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in child.values)
        elif isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value
        yield from _texts(child)


@cache
def texts() -> tuple[str, ...]:
    """Return every text of the product but docstrings, which no user sees."""
    found: list[str] = []
    for path in (ROOT / "mirrorsync").rglob("*.py"):
        module = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(module):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
                ast.get_docstring(node) is not None
            ):
                node.body = node.body[1:]
        found += _texts(module)
    return tuple(found)


def is_said(message: str) -> bool:
    """Return whether the program has a message, with a name or number in place of each `...`."""
    return any(_fits(message.split("..."), text) for text in texts())


def _fits(parts: list[str], text: str) -> bool:
    """Return whether a text has the parts in this order, with a gap between any two of them."""
    end = 0
    for number, part in enumerate(parts):
        at = text.find(part, end + 1 if number else 0)
        if at < 0 or (number and GAP not in text[end:at]):
            return False
        end = at + len(part)
    return True


@pytest.mark.parametrize("message", MESSAGES)
def test_a_quoted_message_is_in_the_program(message: str) -> None:
    assert is_said(message)


def test_a_message_that_the_program_does_not_have_would_be_found() -> None:
    assert len(MESSAGES) > 40
    assert not is_said("the registry is tired")
    assert not is_said("the credential helper ... is not in the mood")


def test_the_page_on_exit_codes_has_every_code_once() -> None:
    rows = table(read("docs/exit-codes.md"))
    codes = [int(number) for row in rows for number in row[0].split(",")]
    assert sorted(codes) == sorted(code.value for code in ExitCode)
    assert all(cell for row in rows for cell in row)
