"""README.md is short and correct: its spec is valid, it leads to every page, and it names what the tests install.

Its commands are run by tests/pages/test_commands.py.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.parts.mirrorsync import Mirrorsync

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
MAX_LINES = 120


def test_its_spec_is_valid(mirrorsync: Mirrorsync) -> None:
    ((block,)) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (mirrorsync.directory / "mirror.yaml").write_text(block)
    assert mirrorsync("validate", code=0).out.startswith("mirror.yaml is valid")


def test_it_is_at_most_120_lines() -> None:
    assert len(README.splitlines()) <= MAX_LINES


def test_it_leads_to_every_page_for_users_and_for_maintainers() -> None:
    pages = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
    assert len(pages) > 9
    assert [page for page in pages if f"]({page})" not in README] == []


def test_its_links_have_targets() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists()


def test_it_names_every_package_that_the_tests_install() -> None:
    script = (ROOT / "tests/run").read_text("utf-8")
    packages = re.findall(r"[a-z-]+:([a-z0-9-]+)", script[script.index("needed=(") : script.index(")\n")])
    assert len(packages) > 5
    assert [package for package in packages if package not in README] == []
