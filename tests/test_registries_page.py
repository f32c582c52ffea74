"""docs/registries.md is correct: every statement names a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/registries.md").read_text("utf-8")
TESTS = re.findall(r"<!-- (test_\w+\.py): (test_\w+) -->", PAGE)


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_every_named_test_exists(file: str, name: str) -> None:
    texts = [
        (ROOT / "tests" / folder / file) for folder in ("stores/registry", "stores/registry/auth", "credentials", "cli")
    ]
    defined = rf"^def {name}\("
    assert any(path.exists() and re.search(defined, path.read_text("utf-8"), re.MULTILINE) for path in texts)


def test_every_statement_has_a_test() -> None:
    # A statement is an item of a list, up to its end or to an example that belongs to it.
    statements = re.findall(r"^(?:-|\d\.) .*(?:\n  .*)*", PAGE, re.MULTILINE)
    assert len(statements) > 60
    assert [one for one in statements if not one.endswith(("-->", ":"))] == []


def test_the_readme_links_to_it() -> None:
    assert "](docs/registries.md)" in (ROOT / "README.md").read_text("utf-8")
